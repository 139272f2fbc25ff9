"""Clips out of the cache: Parquet, folders of `save_to_disk`, and the Hub, where licensed faces stay private.

The agreements of the micro-expression data sets forbid redistribution of faces and labels, and a repository is public
by default; `push_clips` therefore looks at the licence first. It is a check, not a lock: `load_clips` gives a plain
`datasets.Dataset`, whose own `push_to_hub`, and any copy of an exported file, ask nobody.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..arguments import check_path
from .errors import DataError, LicenceError
from .schema import COLUMNS, check_dataset

FREE = "synthetic"  # data sets of this prefix show nobody


def licensed_names(dataset) -> list[str]:
    """The data sets among the rows that show people; "unnamed" where the column is missing."""
    if "dataset" not in dataset.column_names:
        return ["unnamed"]
    names = set(dataset.with_format(None).select_columns("dataset")["dataset"])
    return sorted(name for name in names if not str(name).startswith(FREE))


def check_push(dataset, repo_id: str, private: bool | None, i_hold_the_rights: bool, token=None) -> bool | None:
    """What `private` has to be; LicenceError where the clips may not go to that repository."""
    names = licensed_names(dataset)
    if not names or i_hold_the_rights:
        return private
    reason = f"{', '.join(names)} shows people under an agreement that forbids publishing faces and labels"
    if private is False:
        raise LicenceError(
            f"push_clips(.., {repo_id!r}, private=False) is refused: {reason}; "
            "leave private out, or pass i_hold_the_rights=True if you may publish them"
        )
    from huggingface_hub import HfApi
    from huggingface_hub.errors import RepositoryNotFoundError

    try:  # private=True does nothing to a repository that exists
        if not HfApi(token=token).repo_info(repo_id, repo_type="dataset").private:
            raise LicenceError(
                f"push_clips(.., {repo_id!r}) is refused: the repository exists and is public; {reason}"
            )
    except RepositoryNotFoundError:
        pass
    return True


def push_clips(dataset, repo_id: str, *, private: bool | None = None, i_hold_the_rights: bool = False, **kwargs):
    """`Dataset.push_to_hub` with a look at the licence: clips that show people go to private repositories only.

    Args:
        dataset: a `datasets.Dataset` of clips, whole or a part of it; rows of data sets named `synthetic..` are free.
        repo_id: the repository, such as "me/clips".
        private: None makes the repository private where the clips show people, and is the Hub's default otherwise.
        i_hold_the_rights: True says that you may publish these faces and labels; nothing is checked then.
        kwargs: passed on to `Dataset.push_to_hub`, such as `token`.

    Raises:
        LicenceError: if clips that show people would go to a public repository.

    Example:

    ```python
    >>> from aullm_hf import load_clips
    >>> from aullm_hf.data import push_clips
    >>> clips = load_clips("synthetic", subjects=2, clips_per_subject=2)
    >>> push_clips(clips, "me/synthetic-clips")  # doctest: +SKIP

    ```
    """
    check_dataset("dataset", dataset)
    private = check_push(dataset, repo_id, private, i_hold_the_rights, kwargs.get("token"))
    return dataset.push_to_hub(repo_id, private=private, **kwargs)


def to_parquet(dataset, path) -> Path:
    """Write the clips as one Parquet file; `load_clips(path)` reads it back.

    Args:
        dataset: a `datasets.Dataset` of clips.
        path: the file to write; its folder is made.

    Example:

    ```python
    >>> from aullm_hf import load_clips
    >>> from aullm_hf.data import to_parquet
    >>> clips = load_clips("synthetic", subjects=2, clips_per_subject=2)
    >>> load_clips(to_parquet(clips, "clips.parquet"))["aus"] == clips["aus"]
    True

    ```
    """
    check_dataset("dataset", dataset)
    check_path("path", path, "the file to write")
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with without_bars():
        dataset.with_format(None).to_parquet(str(path))
    return path


def save_clips(dataset, directory: str | Path) -> None:
    """`Dataset.save_to_disk` that says nothing: at the end of a build there is nothing to wait for."""
    with without_bars():
        dataset.save_to_disk(str(directory))


@contextmanager
def without_bars() -> Iterator[None]:
    """Around what `datasets` writes in a moment: no progress bar. The builder's own bars stay as they are."""
    import datasets

    shown = not datasets.utils.are_progress_bars_disabled()
    datasets.disable_progress_bars()
    try:
        yield
    finally:
        if shown:
            datasets.enable_progress_bars()


def load_export(path: Path):
    """Clips of `save_to_disk` or of Parquet files; None for a folder that is neither."""
    from datasets import Dataset, load_from_disk

    if path.is_dir() and (path / "dataset_dict.json").is_file():
        raise DataError(f"{path} holds a DatasetDict; pass one of its splits' folders")
    if path.is_dir() and (path / "state.json").is_file() and (path / "dataset_info.json").is_file():
        try:
            dataset = load_from_disk(str(path))
        except Exception as error:
            raise DataError(
                f"{path} looks like a saved Dataset but cannot be read ({error}); save it again"
            ) from error
        return _checked(dataset, path)
    files = [path] if path.suffix == ".parquet" else sorted(path.glob("*.parquet")) if path.is_dir() else []
    if files and all(_has_frames(file) for file in files):
        return _checked(Dataset.from_parquet([str(file) for file in files]), path)
    if path.is_file():
        raise DataError(f"{path} is a file without clips; pass the folder your clips and their table lie in")
    return None


def _has_frames(file: Path) -> bool:
    import pyarrow.parquet as parquet
    from pyarrow import ArrowException

    try:
        return "frames" in parquet.read_schema(file).names
    except (ArrowException, OSError, ValueError):
        return False


def _checked(dataset, path: Path):
    needed = [name for name in COLUMNS if name != "intensities"]  # clips exported without them are still read
    if missing := [name for name in needed if name not in dataset.column_names]:
        raise DataError(f"{path} lacks the column {', '.join(missing)}; clips have {', '.join(needed)}")
    return dataset
