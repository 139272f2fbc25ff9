"""Records to Arrow: every frame is decoded once, made gray, cropped, resized and written as uint8, on several threads.

OpenCV releases the interpreter's lock while it decodes and resizes, so threads are enough and nothing is copied
between processes. Clips are written in the table's order, whichever thread is done first.
"""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np

from .errors import ERROR, ClipError, DataError, FaceError, Problem, UnsafePathError, error_from
from .faces import FaceFinder, FaceRecipe, crop_clip
from .reading.images import import_cv2, read_gray
from .reading.records import RawDataset, Record
from .report import Report
from .schema import clip_features
from .threads import map_in_threads


def gray_frames(record: Record, raw: RawDataset) -> Iterator[np.ndarray]:
    """The clip's frames, one at a time, all of one size."""
    if record.video is not None:
        from .reading.videos import read_video

        path = raw.tree.absolute(record.video)
        yield from read_video(path, record.video, record.onset, record.offset, to_end=record.to_end)
        return
    first = None
    for frame in record.frames:
        image = read_gray(raw.tree.absolute(frame.path), frame.path)
        first = first if first is not None else (frame.path, image.shape)
        if image.shape != first[1]:
            raise ClipError(
                f"{frame.path} has {image.shape[1]} x {image.shape[0]} pixels, but {first[0]} has "
                f"{first[1][1]} x {first[1][0]}; the frames of a clip have one size"
            )
        yield image


def problem_of(error: DataError, record: Record) -> Problem:
    """A clip that failed while its frames were read, as an entry of the report."""
    kind = {FaceError: "face", UnsafePathError: "unsafe"}.get(type(error), "image")
    return Problem(ERROR, kind, str(error), file=record.file, row=record.row, clip=record.name)


def crop_record(record: Record, raw: RawDataset, recipe: FaceRecipe, finder: FaceFinder | None):
    """(T, size, size) uint8, or the Problem that makes the clip unusable."""
    try:
        crops = crop_clip(gray_frames(record, raw), recipe, finder)[0]
        if record.to_end:
            record.offset = record.onset + len(crops) - 1
        return crops
    except DataError as error:
        return problem_of(error, record)


def check_record(record: Record, raw: RawDataset) -> Problem | None:
    """Decode every frame and keep none; all unreadable frames of a clip are named, not the first only."""
    if record.video is not None:
        try:
            for _ in gray_frames(record, raw):
                pass
        except DataError as error:
            return problem_of(error, record)
        return None
    failed, shapes = [], {}
    for frame in record.frames:
        try:
            shapes.setdefault(read_gray(raw.tree.absolute(frame.path), frame.path).shape, frame.path)
        except DataError as error:
            failed.append(str(error))
    if len(shapes) > 1:
        failed.append(
            "frames of different sizes: " + ", ".join(f"{path} {w} x {h}" for (h, w), path in shapes.items())
        )
    if not failed:
        return None
    more = f"; and {len(failed) - 5} more" if len(failed) > 5 else ""
    return Problem(ERROR, "image", "; ".join(failed[:5]) + more, file=record.file, row=record.row, clip=record.name)


def map_clips(work: Callable, records: Iterable[Record], workers: int) -> Iterator:
    """`work` on every record, on threads, in order; OpenCV's own threads would only compete with these."""
    cv2 = import_cv2()
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1 if workers > 1 else threads)
    try:
        yield from map_in_threads(work, records, workers)
    finally:
        cv2.setNumThreads(threads)


def progress(items: Iterable, total: int, title: str):
    """A bar that `datasets.disable_progress_bars()` silences."""
    from datasets.utils import tqdm

    return tqdm(items, total=total, desc=title, unit=" clips")


def check_frames(raw: RawDataset, workers: int) -> list[Problem]:
    """The problems that decoding every frame brings to light."""
    results = map_clips(lambda record: check_record(record, raw), raw.records, workers)
    return [problem for problem in progress(results, len(raw.records), f"{raw.title}: checking") if problem]


def build(
    raw: RawDataset,
    report: Report,
    recipe: FaceRecipe,
    finder: FaceFinder | None,
    directory: Path,
    *,
    on_error: str,
    workers: int,
) -> None:
    """Write the clips as a Dataset directory (`load_from_disk` reads it), with the report as its description."""
    from datasets import Dataset, DatasetInfo
    from datasets.arrow_writer import ArrowWriter

    title = f"{raw.title} below {raw.tree.root}"
    errors = [problem for problem in raw.problems if problem.level == ERROR]
    if on_error == "raise" and errors:  # nothing is built, but all else that is wrong is reported as well
        raise error_from([*errors, *check_frames(raw, workers)], title)
    features = clip_features(recipe.size)
    loaded: list[Record] = []
    failed: list[Problem] = []
    shard = directory / "data-00000-of-00001.arrow"
    work = map_clips(lambda record: (record, crop_record(record, raw, recipe, finder)), raw.records, workers)
    with ArrowWriter(features=features, path=str(shard), writer_batch_size=64) as writer:
        for record, crops in progress(work, len(raw.records), f"{raw.title}: building"):
            if isinstance(crops, Problem):
                failed.append(crops)
                continue
            loaded.append(record)
            writer.write(row_of(record, crops))
        writer.finalize()
    if failed and on_error == "raise":
        known = {problem.clip for problem in failed}
        unread = [problem for problem in check_frames(raw, workers) if problem.clip in known]
        raise error_from(
            [problem for problem in failed if problem.clip not in {p.clip for p in unread}] + unread, title
        )
    report.problems = [*raw.problems, *failed]
    if not loaded:
        raise error_from(report.problems, f"{title}: no clip can be used")
    report.count(loaded)
    dataset = Dataset.from_file(str(shard), info=DatasetInfo(description=report.description(), features=features))
    write_manifest(dataset, directory, shard.name)


def row_of(record: Record, crops: np.ndarray) -> dict:
    return {
        "clip_id": record.clip_id,
        "dataset": record.dataset,
        "subject": record.subject,
        "clip": record.clip,
        "frames": crops,
        "onset": record.onset,
        "apex": record.apex,
        "offset": record.offset,
        "fps": record.fps,
        "aus": record.aus,
        "intensities": record.intensities,
        "au_text": record.au_text,
        "emotion": record.emotion,
    }


def write_manifest(dataset, directory: Path, shard: str) -> None:
    """The two files beside the Arrow data that make the folder one `load_from_disk` reads."""
    import json

    state = {
        "_data_files": [{"filename": shard}],
        "_fingerprint": directory.name.split("-")[0],
        "_format_columns": None,
        "_format_kwargs": {},
        "_format_type": None,
        "_output_all_columns": False,
        "_split": None,
    }
    (directory / "state.json").write_text(json.dumps(state), encoding="utf-8")
    dataset.info.write_to_directory(str(directory))
