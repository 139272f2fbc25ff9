"""What may leave a run, and as what: one branch per fold, and `main` for the final fit, the card and the tables.

Labels of licensed data stay at home unless the caller states the right to publish them; so does all that would give
them back. Pickles, links and hidden files are never published, nor is any folder of this machine. Nothing here
reaches the Hub, and nothing of the run is changed: what has to be rewritten is written into `staging`.
"""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..arguments import shown
from .cards import fold_card, run_card
from .figures import FIGURE_FILES
from .labels import is_licensed, without_labels
from .provenance import Provenance
from .redacting import redact, redact_model_paths
from .run_folder import (
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
from .scoring import Scores
from .tables import TABLE_FILES, About

_PICKLES = {".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".joblib"}  # run code when loaded
_TABLES_AND_FACES = {".parquet", ".csv", ".tsv", ".xlsx", ".arrow", ".npy", ".npz", ".png", ".jpg", ".jpeg", ".bmp",
                     ".gif", ".webp", ".mp4", ".avi"}  # fmt: skip
_FOLD_FIELDS = ("fold", "seed", "seen_subjects", "test_subjects", "calibration", "thresholds", "flagged",
                "flag_reasons", "seconds", "batch_in_parts")  # fmt: skip
# With the published scores, the exact steps of these curves would give the labels back.
_SHOWS_LABELS = {"precision_recall.png"}


@dataclass
class BranchContent:
    """What one branch of the repository is to hold."""

    branch: str
    files: dict[str, Path] = field(default_factory=dict)  # path in the repository -> local file
    left_out: list[str] = field(default_factory=list)  # local files that are not published


def publishable_branches(
    run_dir: str | Path,
    staging: Path,
    *,
    repo_id: str,
    folds: Sequence[str] | None = None,
    main: bool = True,
    public: bool = False,
    push_labels: bool = False,
    right: str = "",
) -> list[BranchContent]:
    """The branches of a run: one per finished fold (or per fold named as under folds/), then `main`.

    Refuses damaged folds, incomplete checkpoints, links, a report that is not of these predictions, a run that does
    not say what it was trained on, and what `check_right` refuses.
    """
    path = Path(run_dir)
    info = read_json(path / "run.json")
    if missing := Provenance.of_info(info).missing:
        raise ValueError(
            f"'{path / 'run.json'}' does not say what the run was trained on ({', '.join(missing)}), so nobody could "
            "know who may use it: it is not pushed. Push the folder that `aullm train` wrote"
        )
    licensed = is_licensed(info)
    check_right(info, public=public, push_labels=push_labels, right=right)
    right, labels = (right, push_labels) if licensed else ("", True)
    folders = _wanted_folds(path, folds)
    final = path / "final"
    refuse_damaged([*folders, *([final] if main and (final / "fold.json").is_file() else [])])
    card = {"repo_id": repo_id, "labels_here": labels, "right": right}
    name = info.get("name") or path.name
    branches = [_fold_branch(folder, info, name, staging / "folds" / folder.name, card) for folder in folders]
    if main:
        branches.append(_main_branch(read_run(path), staging / "main", card))
    return branches


def check_right(info: Mapping, *, public: bool, push_labels: bool, right: str) -> None:
    """Refuse to publish labels of licensed data, or weights trained on it, without the statement of the right to."""
    if not is_licensed(info) or not (public or push_labels) or len(right.split()) >= 4:
        return
    datasets = ", ".join((info.get("data") or {}).get("datasets") or ["unknown"])
    what = "push_labels=True" if push_labels else "a public repository"
    otherwise = "" if push_labels else ", or push to a private one"
    raise ValueError(
        f"{what} for licensed data ({datasets}) needs the statement of your right to publish what was made of it, got "
        f'right="{right}"; write a sentence such as "The owners allowed me in writing on 3 May to publish this"'
        f"{otherwise}"
    )


def run_differences(own: Mapping, other: object) -> list[str]:
    """Of what makes a run this run, what differs in another's run.json. Versions may: a run can go on with newer ones.

    `own` is the run.json of the folder, `other` what a run.json on the Hub holds.
    """
    if not isinstance(other, Mapping):
        return ["run.json"]
    own = redact(own)
    setup = "identity" if "identity" in own else "config"
    names = [name for name in (setup, "aus", "protocol", "seeds", "model_kind") if own.get(name) != other.get(name)]
    data, other_data = own.get("data") or {}, other.get("data") or {}
    fingerprints = ("datasets", "fingerprint", "labels_fingerprint")
    return names + [f"data.{name}" for name in fingerprints if data.get(name) != other_data.get(name)]


def _wanted_folds(path: Path, wanted: Sequence[str] | None) -> list[Path]:
    folders = finished_folds(path)
    if wanted is None:
        return folders
    names = {folder.name for folder in folders}
    if missing := sorted(set(wanted) - names):
        raise ValueError(f"no finished fold '{missing[0]}' with a checkpoint; there are {', '.join(sorted(names))}")
    return [folder for folder in folders if folder.name in set(wanted)]


def _fold_branch(folder: Path, info: Mapping, name: str, staging: Path, card: Mapping[str, Any]) -> BranchContent:
    content = BranchContent(f"fold-{folder.name}")
    _add_checkpoint(content, folder / "checkpoint", staging, info)
    content.files["run.json"] = staging / "run.json"
    write_json(with_digest(redact(info)), content.files["run.json"])
    if "README.md" not in content.files:
        content.files["README.md"] = staging / "README.md"
        text = str(fold_card(info, name, read_json(folder / "fold.json"), branch=content.branch, **card))
        write_text(text, content.files["README.md"])
    return content


def _add_checkpoint(content: BranchContent, folder: Path, staging: Path, info: Mapping) -> None:
    """Left out: pickles, links, hidden files, and tables and pictures beside licensed data."""
    if folder.is_symlink() or folder.parent.is_symlink():
        raise ValueError(
            f"'{folder}' is a link or lies behind one: what it leads to is not pushed; push that run itself"
        )
    unwanted = _PICKLES | (_TABLES_AND_FACES if is_licensed(info) else set())
    for file in sorted(folder.rglob("*")):
        name = file.relative_to(folder).as_posix()
        if file.is_dir() and not file.is_symlink():
            continue
        hidden = any(part.startswith(".") or part == "__pycache__" for part in name.split("/"))
        if file.is_symlink() or hidden or file.suffix.lower() in unwanted:
            content.left_out.append(name)
        else:
            content.files[name] = file
    if "config.json" not in content.files:
        raise FileNotFoundError(f"'{folder}' has no config.json: it is not a complete checkpoint and is not pushed")
    config = read_json(content.files["config.json"])
    if (begun := config.get("begun_from") or []) != (info["data"].get("begun_from") or []):
        raise ValueError(
            f"'{folder}' began from weights trained on {shown(begun)}, which the run's run.json does not say: its "
            "card would leave out whose terms hold; it is not pushed"
        )
    trained_on, datasets = config.get("training_data"), info["data"]["datasets"]
    if trained_on and not any(str(trained_on).startswith(str(name)) for name in datasets):
        raise ValueError(
            f"'{folder}' was trained on {shown(trained_on)}, but the run's run.json names {', '.join(datasets)}: its "
            "card would say of other data than was used; it is not pushed"
        )
    if (redacted := redact_model_paths(config)) != config:
        content.files["config.json"] = staging / "config.json"
        write_json(redacted, content.files["config.json"])


def _main_branch(run: Run, staging: Path, card: Mapping[str, Any]) -> BranchContent:
    """The final fit where there is one, and the run's tables, figures and card, as they may be published."""
    content = BranchContent("main")
    if others := set(run.predictions["dataset"]) - set(run.info["data"]["datasets"]):
        raise ValueError(
            f"'{run.path}' has predictions of {', '.join(sorted(others))}, which its run.json does not name: the card "
            "would say of other data than was used; it is not pushed"
        )
    final = run.path / "final" / "checkpoint"
    if final.is_dir():
        _add_checkpoint(content, final, staging, run.info)
    results, labels = _results(run), card["labels_here"]
    tables = {"predictions": run.predictions if labels else without_labels(run.predictions)}
    if run.inner is not None and labels:
        tables["inner"] = run.inner
    elif run.inner is not None:  # a and b follow from few inner labels so exactly that the inner scores give them back
        content.left_out.append("inner.parquet")
    for name, table in tables.items():
        write_table(table, staging / f"{name}.parquet")
    write_json([{key: e[key] for key in _FOLD_FIELDS if key in e} for e in run.folds], staging / "folds.json")
    write_json(with_digest(redact(run.info)), staging / "run.json")
    shutil.copyfile(run.path / "results.json", staging / "results.json")
    for folder, names in (("tables", TABLE_FILES), ("figures", FIGURE_FILES)):
        (staging / folder).mkdir()
        for name in names:
            if not _is_own(run.path / folder / name):
                continue
            if name in _SHOWS_LABELS and not labels:
                content.left_out.append(f"{folder}/{name}")
            else:
                shutil.copyfile(run.path / folder / name, staging / folder / name)
    figures = [name for name in FIGURE_FILES if (staging / "figures" / name).is_file()]
    about = About.of_run(run)
    write_text(str(run_card(run, results, Scores(results), about, figures=figures, **card)), staging / "README.md")
    staged = (file for file in sorted(staging.rglob("*")) if file.is_file())
    content.files |= {file.relative_to(staging).as_posix(): file for file in staged}
    return content


def _results(run: Run) -> dict:
    """results.json, refused where it is not of the run's predictions."""
    path = run.path / "results.json"
    results = read_json(path) if _is_own(path) else {}
    clips = len(run.predictions[["dataset", "clip_id"]].drop_duplicates())
    if results.get("n_clips") == clips:
        return results
    problem = f"a results.json of {results['n_clips']} clips beside {clips} predicted ones" if results else ""
    raise FileNotFoundError(
        f"'{run.path}' has {problem or 'no results.json'}; make it with `aullm evaluate {run.path}`, then push"
    )


def _is_own(file: Path) -> bool:
    """A file that is there, and neither a link nor in a folder that is one: what a link leads to is not the run's."""
    return file.is_file() and not file.is_symlink() and not file.parent.is_symlink()


__all__ = ["BranchContent", "check_right", "publishable_branches", "run_differences"]
