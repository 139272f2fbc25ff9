"""A run to the Hub: one repository per run, one branch per fold, and `main` for the final fit, card and tables.

A push can be repeated at any time: what the Hub already holds, by content, is not sent again. It never deletes a local
file and never writes a token to a log or an exception. Every branch holds run.json, by which a push recognises its own
run: a repository with anything else in it is refused. What may leave the run is decided by `evaluation/publishing.py`,
how often a request is sent by `hub_client.py`.
"""

import hashlib
import logging
import re
import shlex
import tempfile
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi, get_token
from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled
from huggingface_hub.hf_api import RepoFile

from .evaluation.labels import is_licensed
from .evaluation.publishing import BranchContent, check_right, publishable_branches, run_differences
from .evaluation.run_folder import read_json
from .hub_client import HubUnreachable, backoff, be_patient

logger = logging.getLogger(__name__)

_OVERTAKEN = {409, 412}  # another commit came first, or ours did and the answer was lost: compare again
_COMPARISONS = 5
_FROM_THE_HUB = {".gitattributes"}  # what a new repository holds
_AGAIN = "nothing local was touched, push again later"
_XET_STATUS = re.compile(r"HTTP status \w+ error \((\d{3} [^)]*)\)")  # hf_xet's words, in a ConnectionError
_ADVICE = {
    401: " (it does not know the token, or there is none; log in with `hf auth login`, or set HF_TOKEN)",
    403: " (the token has no right to write there; make one that has, at https://huggingface.co/settings/tokens, and "
    "log in with it: `hf auth login`)",
}


class HubPushError(RuntimeError):
    """A push that could not be finished. Nothing local was touched; push again to send what is missing."""


@dataclass
class BranchPush:
    """What happened to one branch."""

    uploaded: list[str] = field(default_factory=list)
    deleted: list[str] = field(default_factory=list)  # on the Hub
    unchanged: int = 0
    left_out: list[str] = field(default_factory=list)  # local files that are not published


@dataclass
class Push:
    """What happened to the repository, branch by branch; `advice` says what is missing in it, and how to add it."""

    url: str
    branches: dict[str, BranchPush] = field(default_factory=dict)
    advice: str = ""

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
    """Push a run's finished folds to their branches, then `main`.

    Args:
        run_dir: the run folder.
        repo_id: `user/name` or `organisation/name`. A repository that this makes is private unless `private=False`; an
            existing one keeps its visibility, and is refused where it holds anything but this run.
        folds: only these folds, named as under folds/ (default: all that are finished).
        main: also push `main`: the final fit, the card, the tables and the figures.
        private: whether a new repository is private.
        push_labels: publish the labels of licensed data too; needs `right`.
        right: a sentence that says by what right labels of licensed data, or weights trained on it in a public
            repository, are published; it stands in the cards.
        overwrite: write over what else the repository holds.
        token: a token of the Hub (default: that of `hf auth login` or HF_TOKEN).
        endpoint: another Hub than huggingface.co.
        attempts: how often each request is tried, 1, 2, 4 .. 60 s apart or as the Hub asks.

    Example:
        >>> from aullm_hf.hub import push_run
        >>> push = push_run("runs/quickstart", "YOU/REPOSITORY")  # doctest: +SKIP
        >>> push.branches["main"].uploaded  # doctest: +SKIP
        ['README.md', 'folds.json', 'predictions.parquet', 'results.json', 'run.json', ...]
    """
    with tempfile.TemporaryDirectory() as staging:
        contents = publishable_branches(
            run_dir,
            Path(staging),
            repo_id=repo_id,
            folds=folds,
            main=main,
            public=not private,
            push_labels=push_labels,
            right=right,
        )
        be_patient(attempts)
        info = read_json(Path(run_dir) / "run.json")
        repository = _Repository(HfApi(endpoint=endpoint, token=token), repo_id, None if overwrite else info)
        push = Push(url=str(repository.call("create the repository", repository.create, private)))
        if private and is_licensed(info) and not repository.call("look at the visibility", repository.is_private):
            check_right(info, public=True, push_labels=push_labels, right=right)
        repository.call("look into the branches", repository.refuse_others, ["main", *(c.branch for c in contents)])
        for content in contents:
            push.branches[content.branch] = repository.call(f"push {content.branch}", repository.mirror, content)
            if content.branch == "main" and "config.json" not in content.files:
                push.advice = _final_fit_advice(Path(run_dir), info, repo_id, contents)
    return push


def _final_fit_advice(run_dir: Path, info: Mapping, repo_id: str, contents: Sequence[BranchContent]) -> str:
    """What is missing on `main` without a final fit, and how others can use the run until it is there."""
    train = shlex.join(["aullm", "train", f"{run_dir}/config.yaml", "--output_dir", str(run_dir), "--final_fit"])
    advice = (
        f"main has no weights, because the run has no final fit. To make one, then push again: `{train}` (finished "
        "folds are not trained again)"
    )
    fold = next((content.branch for content in contents if content.branch != "main"), "fold-NAME")
    if info.get("model_kind") not in (None, "aullm"):  # a baseline is not for `aullm predict`
        return advice
    return f"{advice}. Until then others can load a fold: `aullm predict CLIP --model {repo_id} --revision {fold}`"


class _TakenRepository(Exception):
    """The repository holds something else than this run."""


class _Repository:
    """One repository on the Hub; `info` is the run.json of the run it may hold (None: it may hold anything)."""

    def __init__(self, api: HfApi, repo_id: str, info: Mapping | None):
        self.api, self.repo_id, self.info = api, repo_id, info
        self.own: set[str] = set()  # blobs of run.json that were found to be of this run

    def call(self, what: str, action: Callable, *arguments):
        """Run the action; what the Hub refuses ends in one line, without the token."""
        try:
            return action(*arguments)
        except Exception as error:
            if (reason := _reason(error)) is None:
                raise
        # Outside of the handler: the new error must not drag the old one along, whose request holds the token.
        raise HubPushError(self._without_token(f"could not {what} of '{self.repo_id}': {reason}"))

    def create(self, private: bool) -> str:
        return self.api.create_repo(self.repo_id, private=private, exist_ok=True)

    def is_private(self) -> bool:
        return bool(self.api.repo_info(self.repo_id).private)

    def refuse_others(self, branches: Sequence[str]) -> None:
        for branch in sorted(set(branches) & self._branches()):
            self._refuse_other(branch, branch, self._files(branch))

    def mirror(self, content: BranchContent) -> BranchPush:
        """Bring a branch to hold the content, in one commit, sending only what differs from what it holds.

        The commit names the one it was compared with, which must still be the newest when it arrives: otherwise the
        branch is looked at again. So two pushes at once do not overwrite each other, and a commit that arrived
        although its answer was lost is found to be there. What else a fold's branch holds is removed (it starts as a
        copy of `main`); on `main` only what must not be published is.
        """
        branch, first = content.branch, None
        if branch != "main" and branch not in self._branches():
            self.api.create_branch(self.repo_id, branch=branch, exist_ok=True)
        for comparison in range(1, _COMPARISONS + 1):
            parent = self.api.repo_info(self.repo_id, revision=branch).sha
            there = self._files(parent)
            self._refuse_other(branch, parent, there)
            uploaded = [name for name, file in content.files.items() if not _is_there(file, there.get(name))]
            unwanted = set(there) - set(content.files) - _FROM_THE_HUB
            deleted = sorted(unwanted & set(content.left_out) if branch == "main" else unwanted)
            first = first or BranchPush(uploaded, deleted, len(content.files) - len(uploaded), content.left_out)
            if not uploaded and not deleted:
                return first
            try:
                self._commit(content, uploaded, deleted, parent)
                return first
            except HfHubHTTPError as error:
                if error.response.status_code not in _OVERTAKEN or comparison == _COMPARISONS:
                    raise
            time.sleep(backoff(comparison))
        raise AssertionError("unreachable")

    def _commit(self, content: BranchContent, uploaded: list[str], deleted: list[str], parent: str) -> None:
        operations = [CommitOperationAdd(name, str(content.files[name])) for name in uploaded]
        operations += [CommitOperationDelete(name) for name in deleted]
        is_main = content.branch == "main"
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="It seems that you are about to commit a data file")
            self.api.create_commit(
                self.repo_id,
                operations,
                commit_message="Card, tables and figures" if is_main else f"{len(uploaded)} files of {content.branch}",
                revision=content.branch,
                parent_commit=parent,
            )

    def _branches(self) -> set[str]:
        return {ref.name for ref in self.api.list_repo_refs(self.repo_id).branches}

    def _files(self, revision: str) -> dict[str, RepoFile]:
        tree = self.api.list_repo_tree(self.repo_id, recursive=True, revision=revision)
        return {entry.path: entry for entry in tree if isinstance(entry, RepoFile)}

    def _refuse_other(self, branch: str, revision: str, files: Mapping[str, RepoFile]) -> None:
        """A branch has to be empty or of this run, as its run.json says."""
        names = sorted(set(files) - _FROM_THE_HUB)
        blob = files["run.json"].blob_id if "run.json" in names else None
        if self.info is None or not names or blob in self.own:
            return
        other = None
        if blob is not None:
            with tempfile.TemporaryDirectory() as folder:
                path = self.api.hf_hub_download(self.repo_id, "run.json", revision=revision, local_dir=folder)
                try:
                    other = read_json(path)
                except ValueError:  # somebody else's file of that name
                    pass
        if other is None:
            what = f"{len(names)} files that belong to no run ({', '.join(names[:3])})"
        elif differing := run_differences(self.info, other):
            name = other.get("name") if isinstance(other, dict) else None
            what = f"another run ({name or 'without a name'}: {', '.join(differing)} differ)"
        else:
            self.own.add(blob)
            return
        raise _TakenRepository(
            f"its branch {branch} holds {what}; choose another repository, or write over it with --overwrite "
            "(overwrite=True)"
        )

    def _without_token(self, text: str) -> str:
        token = self.api.token if isinstance(self.api.token, str) else get_token()
        text = text.replace(token, "***") if token else text
        return re.sub(r"\bhf_\w{8,}", "***", " ".join(text.split()))


def _is_there(file: Path, entry: RepoFile | None) -> bool:
    """Whether the Hub holds this content, by the hash that it states: SHA-256 of large files, git's own of others.

    Other servers than huggingface.co state others; the hash's length says which.
    """
    if entry is None or entry.size != file.stat().st_size:
        return False
    stated = entry.lfs.sha256 if entry.lfs else entry.blob_id
    algorithm = {32: "md5", 40: "sha1", 64: "sha256", 128: "sha512"}.get(len(stated or ""))
    if algorithm is None:
        return False
    heads = [b""] if entry.lfs else [b"blob %d\0" % entry.size, b""]
    digests = [hashlib.new(algorithm, head, usedforsecurity=False) for head in heads]
    with file.open("rb") as stream:
        while block := stream.read(1 << 20):
            for digest in digests:
                digest.update(block)
    return stated in [digest.hexdigest() for digest in digests]


def _reason(error: BaseException | None) -> str | None:
    """What the Hub or the line to it did; None where the error is of another kind."""
    while error is not None:
        if isinstance(error, _TakenRepository):
            return str(error)
        if isinstance(error, HubUnreachable):
            return f"{error}; {_AGAIN}"
        if isinstance(error, OfflineModeIsEnabled):
            return "offline mode is on: unset HF_HUB_OFFLINE and TRANSFORMERS_OFFLINE"
        if isinstance(error, HfHubHTTPError):
            status = error.response.status_code
            again = f"; {_AGAIN}" if status >= 500 or status in _OVERTAKEN else ""
            return f"the Hub answered {status}{_ADVICE.get(status, '')}: {error.server_message or 'no reason'}{again}"
        if status := _XET_STATUS.search(str(error)):
            return f"the Hub answered {status[1]} to Xet; if it has no Xet, set HF_HUB_DISABLE_XET=1 and push again"
        if _is_transport_error(error):
            return f"the line was cut ({type(error).__name__}: {error}); {_AGAIN}"
        error = error.__cause__ or error.__context__
    return None


def _is_transport_error(error: BaseException) -> bool:
    """By name: the HTTP library changes with huggingface_hub's version, and Xet has errors of its own."""
    names = {base.__name__ for base in type(error).__mro__}
    is_xet = type(error).__module__.split(".")[0] == "hf_xet"
    return "TransportError" in names or is_xet or isinstance(error, ConnectionError | TimeoutError)


__all__ = ["BranchPush", "HubPushError", "Push", "push_run"]
