"""A run to the Hub: one repository a run, one branch a fold, and `main` for the final fit, the card and the tables.

A push can be repeated at any time: what the Hub already holds, by content hash, is not sent again. It retries when
the Hub is busy or the line is cut, never deletes a local file, and never writes a token to a log or an exception.
Every branch holds run.json, by which a later push knows its own: a repository with anything else in it is refused.
Labels of licensed data stay at home unless the caller states the right to publish them, and of this machine no path.
"""

import hashlib
import json
import logging
import re
import shutil
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi, get_token
from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled
from huggingface_hub.hf_api import RepoFile

from .evaluation.cards import fold_card, public, run_card, without_places
from .evaluation.figures import FIGURES
from .evaluation.labels import is_licensed, without_labels
from .evaluation.run_folder import (
    Run,
    finished_folds,
    read_json,
    read_run,
    refuse_damaged,
    with_digest,
    write_json,
    write_table,
    write_text,
)
from .evaluation.scoring import Scores
from .evaluation.tables import TABLES, About
from .hub_client import BUSY, backoff, be_patient, wait_of

logger = logging.getLogger(__name__)

_OVERTAKEN = {409, 412}  # somebody else has just committed, or we have, and the answer was lost: compare anew
_GIVEN = {".gitattributes"}  # what a new repository holds
_PICKLES = {".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".joblib"}  # run code when loaded: never published
_TABLES_AND_FACES = {".parquet", ".csv", ".tsv", ".xlsx", ".arrow", ".npy", ".npz", ".png", ".jpg", ".jpeg", ".bmp",
                     ".gif", ".webp", ".mp4", ".avi"}  # fmt: skip
_FOLD_FIELDS = ("fold", "seed", "seen_subjects", "test_subjects", "calibration", "thresholds", "flagged",
                "flag_reasons", "seconds", "batch_in_parts")  # fmt: skip
# With the published scores, the exact steps of these curves would give the labels back.
_TELL_LABELS = {"precision_recall.png"}


class HubPushError(RuntimeError):
    """A push that could not be finished. Nothing local was touched; push again to send what is missing."""


@dataclass
class BranchPush:
    """What happened to one branch."""

    uploaded: list[str] = field(default_factory=list)
    deleted: list[str] = field(default_factory=list)  # on the Hub, on fold branches only
    unchanged: int = 0
    left_out: list[str] = field(default_factory=list)  # local files that are not published


@dataclass
class Push:
    """What happened to the repository, branch by branch."""

    url: str
    branches: dict[str, BranchPush] = field(default_factory=dict)

    @property
    def uploaded(self) -> int:
        return sum(len(branch.uploaded) for branch in self.branches.values())


def push_run(
    run_dir: str | Path,
    repo_id: str,
    *,
    folds: Sequence[str] | None = None,
    main: bool = True,
    private: bool = True,
    push_labels: bool = False,
    right: str = "",
    overwrite: bool = False,
    token: str | None = None,
    endpoint: str | None = None,
    attempts: int = 8,
) -> Push:
    """Push a run's folds (all that are finished, or those named as under folds/) to their branches, then `main`.

    A repository that is made by this is private unless `private=False`; an existing one keeps its visibility, and is
    refused where it holds anything but this run, unless `overwrite` says that it may be written over.
    `push_labels` of licensed data needs `right`: a sentence saying by what right you publish them; it stands in the
    card. The token comes from `hf auth login` or HF_TOKEN unless it is given.
    """
    path = Path(run_dir)
    info = read_json(path / "run.json")
    licensed = is_licensed(info)
    if push_labels and licensed and len(right.split()) < 4:
        datasets = ", ".join(info.get("data", {}).get("datasets", ["unknown"]))
        raise ValueError(
            f"push_labels=True for licensed data ({datasets}) needs the statement of your right to publish them, got "
            f'right="{right}"; write a sentence such as "The owners allowed me in writing on 3 May to publish these"'
        )
    finished = _finished(path, folds)
    refuse_damaged([path / "final"] if main and (path / "final" / "fold.json").is_file() else [])
    be_patient()
    hub = _Hub(HfApi(endpoint=endpoint, token=token), repo_id, attempts)
    report = Push(url=str(hub.call("create the repository", _create, private=private)))
    if not overwrite:
        branches = ["main", *(branch for branch, *_ in finished)]
        hub.call("look into the branches", _refuse_others, branches=branches, info=info)
    for branch, folder, entry in finished:
        with tempfile.TemporaryDirectory() as temporary:
            staging = Path(temporary)
            files, left_out = _checkpoint_files(folder / "checkpoint", staging, licensed)
            files["run.json"] = staging / "run.json"
            write_json(with_digest(public(info)), files["run.json"])
            if "README.md" not in files:
                card = fold_card(info, info.get("name") or path.name, entry, repo_id=repo_id, branch=branch)
                files["README.md"] = staging / "README.md"
                write_text(str(card), files["README.md"])
            report.branches[branch] = hub.mirror(branch, files, exact=True)
            report.branches[branch].left_out = left_out
    if main:
        with tempfile.TemporaryDirectory() as staging:
            files, left_out = _main_files(read_run(path), Path(staging), repo_id, push_labels or not licensed, right)
            report.branches["main"] = hub.mirror("main", files, exact=False)
            report.branches["main"].left_out = left_out
    return report


def _finished(path: Path, wanted: Sequence[str] | None) -> list[tuple[str, Path, dict]]:
    """(branch, folder, its entry) of the finished folds, by name."""
    folders = finished_folds(path)
    names = {folder.name for folder in folders}
    refuse_damaged(folder for folder in folders if wanted is None or folder.name in wanted)
    found = [(f"fold-{folder.name}", folder, read_json(folder / "fold.json")) for folder in folders]
    if wanted is None:
        return found
    if missing := sorted(set(wanted) - names):
        raise ValueError(f"no finished fold '{missing[0]}' with a checkpoint; there are {', '.join(sorted(names))}")
    return [item for item in found if item[1].name in set(wanted)]


def _checkpoint_files(folder: Path, staging: Path, licensed: bool) -> tuple[dict[str, Path], list[str]]:
    """Path in the repository -> local file. Left out: pickles, links, and tables and pictures beside licensed data.

    A configuration that names folders of this machine is staged with their last names only.
    """
    if folder.is_symlink() or folder.parent.is_symlink():
        raise ValueError(
            f"'{folder}' is a link or lies behind one: what it leads to is not pushed; push that run itself"
        )
    files, left_out = {}, []
    for file in sorted(folder.rglob("*")):
        name = file.relative_to(folder).as_posix()
        if file.is_dir() and not file.is_symlink():
            continue
        unwanted = _PICKLES | (_TABLES_AND_FACES if licensed else set())
        hidden = any(part.startswith(".") or part == "__pycache__" for part in name.split("/"))
        if file.is_symlink() or hidden or file.suffix.lower() in unwanted:
            left_out.append(name)
        else:
            files[name] = file
    if "config.json" not in files:
        raise FileNotFoundError(f"'{folder}' has no config.json: it is not a complete checkpoint and is not pushed")
    config = read_json(files["config.json"])
    if (placeless := without_places(config)) != config:
        files["config.json"] = staging / "config.json"
        write_json(placeless, files["config.json"])
    return files, left_out


def _is_own(file: Path) -> bool:
    """A file that is there, and neither a link nor in a folder that is one: what a link leads to is not the run's."""
    return file.is_file() and not file.is_symlink() and not file.parent.is_symlink()


def _main_files(run: Run, staging: Path, repo_id: str, labels: bool, right: str) -> tuple[dict[str, Path], list[str]]:
    """The final fit where there is one, and the run's tables, figures and card, as they may be published."""
    licensed = is_licensed(run.info)
    files, left_out = {}, []
    final = run.path / "final" / "checkpoint"
    if final.is_dir():
        files, left_out = _checkpoint_files(final, staging, licensed)
    results = read_json(run.path / "results.json") if _is_own(run.path / "results.json") else {}
    clips = len(run.predictions[["dataset", "clip_id"]].drop_duplicates())
    if results.get("n_clips") != clips:
        found = (
            f"a results.json of {results['n_clips']} clips beside {clips} predicted ones"
            if results
            else "no results.json"
        )
        raise FileNotFoundError(f"'{run.path}' has {found}; make it with `aullm evaluate {run.path}`, then push")
    write_table(run.predictions if labels else without_labels(run.predictions), staging / "predictions.parquet")
    if run.inner is not None and labels:
        # (a, b) follow from few inner labels so exactly that with the inner scores they would give them back.
        write_table(run.inner, staging / "inner.parquet")
    elif run.inner is not None:
        left_out.append("inner.parquet")
    write_json([{key: e[key] for key in _FOLD_FIELDS if key in e} for e in run.folds], staging / "folds.json")
    write_json(with_digest(public(run.info)), staging / "run.json")
    shutil.copyfile(run.path / "results.json", staging / "results.json")
    for folder, names in (("tables", TABLES), ("figures", FIGURES)):
        (staging / folder).mkdir()
        for name in names:
            if not _is_own(run.path / folder / name):
                continue
            if name in _TELL_LABELS and not labels:
                left_out.append(f"{folder}/{name}")
            else:
                shutil.copyfile(run.path / folder / name, staging / folder / name)
    drawn = [name for name in FIGURES if (staging / "figures" / name).is_file()]
    card = run_card(
        run,
        results,
        Scores(results),
        About.of_run(run),
        repo_id=repo_id,
        figures=drawn,
        right=right if licensed and labels else "",
    )
    write_text(str(card), staging / "README.md")
    staged = {file.relative_to(staging).as_posix(): file for file in sorted(staging.rglob("*")) if file.is_file()}
    return files | staged, left_out


class _Hub:
    """One repository, reached with patience."""

    def __init__(self, api: HfApi, repo_id: str, attempts: int):
        self.api, self.repo_id, self.attempts = api, repo_id, attempts

    def mirror(self, branch: str, files: dict[str, Path], *, exact: bool) -> BranchPush:
        """Bring the branch to hold `files`, in one commit, sending only what differs from what it holds.

        `exact` removes what else is on it, except .gitattributes: a fold's branch starts as a copy of `main`.
        """
        if branch != "main":
            self.call(f"create branch {branch}", _create_branch, branch=branch)
        tries: list[BranchPush] = []  # the first one saw what was missing before anything was sent
        self.call(f"push {branch}", _commit_difference, branch=branch, files=files, exact=exact, tries=tries)
        return tries[0]

    def call(self, what: str, action: Callable, **arguments):
        """Try until it works: 1, 2, 4 .. 60 s apart, or as long as the Hub says. The last error carries no token.

        Each request has been tried a few times by itself before it counts as failed here (hub_client.py).
        """
        for attempt in range(1, self.attempts + 1):
            try:
                return action(self.api, self.repo_id, **arguments)
            except Exception as error:
                reason, wait = _judge(error, attempt)
                message = self._clean(f"could not {what} of '{self.repo_id}': {reason}")
                if wait is None and reason is None:
                    raise
            # Outside of the handler: the new error must not drag the old one along, whose request holds the token.
            if wait is None:
                raise HubPushError(message)
            if attempt < self.attempts:
                logger.warning("%s; trying again in %g s (%d of %d)", message, wait, attempt + 1, self.attempts)
                time.sleep(wait)
        raise HubPushError(f"{message}, {self.attempts} times; nothing local was touched, push again later")

    def _clean(self, text: str) -> str:
        secret = self.api.token if isinstance(self.api.token, str) else get_token()
        text = text.replace(secret, "***") if secret else text
        return re.sub(r"\bhf_\w{8,}", "***", " ".join(text.split()))


def _judge(error: BaseException, attempt: int) -> tuple[str | None, float | None]:
    """(reason, seconds to wait): no wait where trying again is useless, no reason where it is not the Hub's doing."""
    wait = backoff(attempt)
    for cause in _chain(error):
        if isinstance(cause, _OthersThere):
            return str(cause), None
        if isinstance(cause, OfflineModeIsEnabled):
            return "offline mode is on: unset HF_HUB_OFFLINE and TRANSFORMERS_OFFLINE", None
        if isinstance(cause, HfHubHTTPError):
            status = cause.response.status_code
            if status in BUSY | _OVERTAKEN or status >= 500:
                return f"the Hub answered {status}", wait_of(cause.response.headers, wait)
            said = cause.server_message or "no reason given"
            return f"the Hub answered {status}{_RIGHTS.get(status, '')}: {said}", None
        if _is_transport_error(cause):
            return f"the line was cut ({type(cause).__name__})", wait
        if isinstance(cause, json.JSONDecodeError):
            return "the Hub answered something that is not JSON", wait
        if type(cause).__module__.split(".")[0] == "hf_xet":
            return f"the upload was cut ({type(cause).__name__})", wait
    return None, None


_RIGHTS = {
    401: " (it does not know the token, or there is none; log in with `hf auth login`, or set HF_TOKEN)",
    403: " (the token has no right to write there; make one that has, at https://huggingface.co/settings/tokens, and "
    "log in with it: `hf auth login`)",
}


def _is_transport_error(error: BaseException) -> bool:
    """By name: which HTTP library the client stands on (httpx, httpx2) changes with its version."""
    named = any(base.__name__ == "TransportError" for base in type(error).__mro__)
    return named or isinstance(error, ConnectionError | TimeoutError)


def _chain(error: BaseException | None):
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


# -------------------------------------------------------------------- what is asked of the Hub


class _OthersThere(Exception):
    """The repository is taken."""


def _create(api: HfApi, repo_id: str, *, private: bool):
    return api.create_repo(repo_id, private=private, exist_ok=True)


def _create_branch(api: HfApi, repo_id: str, *, branch: str) -> None:
    if branch not in _branches(api, repo_id):
        api.create_branch(repo_id, branch=branch, exist_ok=True)


def _branches(api: HfApi, repo_id: str) -> set[str]:
    return {ref.name for ref in api.list_repo_refs(repo_id).branches}


def _files_at(api: HfApi, repo_id: str, revision: str) -> dict[str, RepoFile]:
    tree = api.list_repo_tree(repo_id, recursive=True, revision=revision)
    return {entry.path: entry for entry in tree if isinstance(entry, RepoFile)}


def _refuse_others(api: HfApi, repo_id: str, *, branches: list[str], info: dict) -> None:
    """Each branch has to be new, empty, or of this run, as its run.json says."""
    there = _branches(api, repo_id)
    for branch in branches:
        if branch not in there or not (files := set(_files_at(api, repo_id, branch)) - _GIVEN):
            continue
        theirs = None
        if "run.json" in files:
            with tempfile.TemporaryDirectory() as staging:
                found = api.hf_hub_download(repo_id, "run.json", revision=branch, local_dir=staging)
                try:
                    theirs = read_json(found)
                except ValueError:  # somebody else's file of that name
                    pass
        if theirs is None:
            what = f"{len(files)} files that are no run's ({', '.join(sorted(files)[:3])})"
        elif differing := _differing(public(info), theirs):
            name = theirs.get("name") if isinstance(theirs, dict) else None
            what = f"another run ({name or 'without a name'}: {', '.join(differing)} differ)"
        else:
            continue
        raise _OthersThere(
            f"its branch {branch} holds {what}; choose another repository, or write over it with --overwrite "
            "(overwrite=True)"
        )


def _differing(ours: dict, theirs: dict) -> list[str]:
    """Of what makes a run the run it is, what differs. Versions and commits may: a run can go on with newer ones."""
    if not isinstance(theirs, dict):
        return ["run.json"]
    setup = "identity" if "identity" in ours else "config"
    names = [name for name in (setup, "aus", "protocol", "seeds", "model_kind") if ours.get(name) != theirs.get(name)]
    data, other = ours.get("data") or {}, theirs.get("data") or {}
    prints = ("datasets", "fingerprint", "labels_fingerprint")
    return names + [f"data.{name}" for name in prints if data.get(name) != other.get(name)]


def _commit_difference(api, repo_id, *, branch: str, files: dict[str, Path], exact: bool, tries: list) -> None:
    """Compared anew on every try, against a commit that must still be the newest when ours arrives.

    So a commit that arrived although its answer was lost is refused when it is sent again, and found to be there.
    """
    newest = api.repo_info(repo_id, revision=branch).sha
    there = _files_at(api, repo_id, newest)
    differing = [name for name, file in files.items() if name not in there or not _same(file, there[name])]
    surplus = sorted(set(there) - set(files) - _GIVEN) if exact else []
    tries.append(BranchPush(uploaded=differing, deleted=surplus, unchanged=len(files) - len(differing)))
    if differing or surplus:
        operations = [CommitOperationAdd(path_in_repo=name, path_or_fileobj=str(files[name])) for name in differing]
        operations += [CommitOperationDelete(path_in_repo=name) for name in surplus]
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="It seems that you are about to commit a data file")
            api.create_commit(
                repo_id,
                operations,
                commit_message=f"{len(differing)} files of {branch}"
                if branch != "main"
                else "Card, tables and figures",
                revision=branch,
                parent_commit=newest,
            )


def _same(file: Path, there: RepoFile) -> bool:
    """By content: SHA-256 where the Hub keeps the file apart (LFS), git's own hash otherwise."""
    if file.stat().st_size != there.size:
        return False
    digest = hashlib.sha256() if there.lfs else hashlib.sha1(b"blob %d\0" % there.size, usedforsecurity=False)
    with file.open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest() == (there.lfs.sha256 if there.lfs else there.blob_id)


__all__ = ["BranchPush", "HubPushError", "Push", "push_run"]
