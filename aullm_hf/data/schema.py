"""What a row looks like: one row per clip, all frames of onset..offset in one uint8 array."""

from typing import Any

from ..arguments import check_whole, shown

COLUMNS = (
    "clip_id",
    "dataset",
    "subject",
    "clip",
    "frames",
    "onset",
    "apex",
    "offset",
    "fps",
    "aus",
    "intensities",
    "au_text",
    "emotion",
)


def clip_features(size: int = 64):
    """The declared Features. `aus` is null for a clip without annotation, and empty where no AU is active."""
    from datasets import Array3D, Features, List, Value

    check_whole("size", size, 1, 4097)
    return Features(
        {
            "clip_id": Value("string"),  # dataset/subject/clip/onset: the key that tables are joined by
            "dataset": Value("string"),
            "subject": Value("string"),
            "clip": Value("string"),
            "frames": Array3D(shape=(None, size, size), dtype="uint8"),  # (T, size, size)
            "onset": Value("int32"),
            "apex": Value("int32"),  # null where the table has none
            "offset": Value("int32"),
            "fps": Value("float32"),
            "aus": List(Value("int32")),
            "intensities": List(Value("float32")),  # beside `aus`: 1 to 5 for A to E, null where none is marked
            "au_text": Value("string"),  # the cell as read
            "emotion": Value("string"),
        }
    )


def clip_id(dataset: str, subject: str, clip: str, onset: int) -> str:
    """Onset is part of the key: up to 17 clips of CAS(ME)^3 share subject and name."""
    return f"{dataset}/{subject}/{clip}/{onset}"


def check_dataset(name: str, given: Any) -> None:
    """TypeError for what is not a `datasets.Dataset`; its columns may be any."""
    if not (hasattr(given, "with_format") and hasattr(given, "column_names")):
        raise TypeError(f"{name}={shown(given)} is not a data set; give a datasets.Dataset, as load_clips returns it")


def frames_only(dataset):
    """A fast view for training: only the frames, as torch uint8 (T, size, size); labels come from `label_matrix`.

    Args:
        dataset: a `datasets.Dataset` of clips.

    Example:

    ```python
    >>> from aullm_hf import load_clips
    >>> from aullm_hf.data import frames_only
    >>> clips = load_clips("synthetic", subjects=2, clips_per_subject=2)
    >>> frames_only(clips)[0]["frames"].shape[1:]
    torch.Size([64, 64])

    ```
    """
    import torch

    check_dataset("dataset", dataset)
    return dataset.with_format("torch", columns=["frames"], dtype=torch.uint8)
