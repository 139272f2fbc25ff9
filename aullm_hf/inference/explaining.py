"""Pictures and sentences of many clips, in a folder each, with all of it as JSON beside them."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from ..whole_files import replacing
from .pictures.clip_pictures import clip_pictures, explain_clip, strongest_windows, title_of
from .pictures.drawing import save_figure
from .pictures.timeline import timeline
from .pictures.wording import entries
from .reading.sources import expand_sources
from .training_note import training_note

if TYPE_CHECKING:
    from .detecting import AUDetector
    from .reading.cropping import ReadClip

MEANING = (
    "probability: calibrated; strength: share of what an AU hears; effect: how far its probability falls without that "
    "neighbour; counterfactual: how far it falls without its evidence"
)


def explain_clips(
    detector: "AUDetector",
    sources: Any,
    out: str | Path,
    *,
    aus: str | list[str] = "active",
    most: int = 3,
    format: str = "png",
) -> dict[str, Any]:
    """Pictures of every clip below `out`, and what they show as explanation.json, which is also returned.

    Args:
        detector: the model and how clips are read.
        sources: a path, a pattern, a table of paths, an array, or a list of those, as for `detect_aus`.
        out: the folder; each clip has one in it.
        aus: "active" (where none is, the likeliest), "all", or names such as ["AU4", "AU12"].
        most: windows explained per recording and face, those in which an AU is highest above its threshold; all
            windows are in its timeline.
        format: "png", "pdf" or "svg".

    Example:
        >>> from aullm_hf.inference import AUDetector, explain_clips
        >>> explained = explain_clips(AUDetector("CHECKPOINT_FOLDER"), "VIDEO.mp4", "pictures")
        >>> explained["clips"][0]["aus"][0]["sentence"]  # doctest: +ELLIPSIS
        'AU... is active: its probability is ...'
    """
    detector.check_explains()
    check_aus(aus, detector.labels)
    check_most(most)
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    taken: set[str] = set()
    records: list[dict] = []
    not_explained = 0
    for source in expand_sources(sources, detector.fps):
        if source.ignored:
            continue
        clips = list(detector.read(source))
        table = detector.rows(clips)
        records += [_record(clip, title_of(clip, len(clips))) for clip in clips if clip.reason]
        for face in sorted({clip.face_id for clip in clips if not clip.reason}):
            rows = table[(table["face_id"] == face) & table["reason"].eq("")]
            chosen = strongest_windows(rows, detector.labels, most)
            not_explained += len(rows) - len(chosen)
            timed = len(rows) > 1 and clips[rows.index[0]].start is not None
            of_person = table[(table["face_id"] == face) | table["reason"].ne("")] if timed else None
            for at in chosen:
                title = title_of(clips[at], len(clips))
                folder = out / _folder_name(title, clips[at].source, taken)
                records.append(_explain(detector, clips[at], title, folder, aus, format, of_person))
                of_person = None  # the whole recording is drawn once, beside its first explained window
    explained = {
        "model": detector.name,
        "revision": detector.revision,
        "trained_on": detector.trained_on,
        "warning": detector.warning,
        "meaning": MEANING,
        "clips": records,
        "not_explained": not_explained,
    }
    with replacing(out / "explanation.json") as part:
        part.write_text(json.dumps(explained, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return explained


def check_aus(aus: str | list[str], labels: list[str]) -> None:
    if isinstance(aus, list) and (unknown := sorted(set(aus) - set(labels))):
        raise ValueError(
            f"aus holds {', '.join(map(repr, unknown))}; allowed: 'active', 'all', or {', '.join(labels)}."
        )


def check_most(most: int) -> None:
    if most < 1:
        raise ValueError(f"most is {most}; allowed: 1 or more windows per recording and face.")


def _explain(
    detector: "AUDetector",
    clip: "ReadClip",
    title: str,
    folder: Path,
    aus: str | list[str],
    format: str,
    recording: pd.DataFrame | None,
) -> dict[str, Any]:
    """One clip's pictures in its folder, and its record. `recording`: the rows for a timeline beside them."""
    frames, explanation = explain_clip(detector, clip, aus)
    span = None if clip.start is None or clip.end is None else (clip.start, clip.end)
    note = training_note(detector.trained_on, brief=True)
    pictures = clip_pictures(frames, explanation, span=span, title=f"{title}\n{note}".strip())
    if recording is not None:
        pictures["timeline"] = timeline(recording, title=f"{clip.source}\n{note}".strip())
    names = [save_figure(figure, folder / f"{name}.{format}").name for name, figure in pictures.items()]
    return _record(clip, title) | {"folder": folder.name, "pictures": names} | entries(explanation)


def _record(clip: "ReadClip", title: str) -> dict[str, Any]:
    names = ("source", "clip", "face_id", "onset", "offset", "start", "end", "fps", "frames_read", "face_found")
    return {
        "title": title,
        **{name: getattr(clip, name) for name in names},
        "box": None if clip.box is None else [float(value) for value in clip.box],
        "reason": clip.reason,
        "warning": clip.warning,
        "columns": dict(clip.columns),
        "folder": None,
        "pictures": [],
        "probabilities": {},
        "thresholds": {},
        "aus": [],
    }


def _folder_name(title: str, source: str, taken: set[str]) -> str:
    """A name that every file system takes, and no other clip has."""
    path = Path(source)
    words = title.replace(path.name, path.stem, 1)
    plain = re.sub(r"[^\w.-]+", "_", words).strip("._")[:80] or "clip"
    name, number = plain, 2
    while name.casefold() in taken:
        name, number = f"{plain}_{number}", number + 1
    taken.add(name.casefold())
    return name


def sentences(record: dict[str, Any]) -> Iterator[str]:
    """What a record says to a person."""
    yield from filter(None, (record["reason"], record["warning"], *(au["sentence"] for au in record["aus"])))


__all__ = ["check_aus", "check_most", "explain_clips", "sentences"]
