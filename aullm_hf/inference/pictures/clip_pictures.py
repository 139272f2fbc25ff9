"""Everything that can be drawn of one clip, by name."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from .face_map import face_map
from .film_strip import attention_over_time, film_strip
from .granularity import granularity
from .probability_bars import probability_bars
from .relation_graph import relation_graph

if TYPE_CHECKING:
    import pandas as pd

    from ...model.explaining import ClipExplanation
    from ..detecting import AUDetector
    from ..reading.cropping import ReadClip

PICTURES = {  # name -> what a person who does not see it is told
    "probabilities": "How likely each Action Unit is, beside its threshold",
    "face": "A drawn face with the muscles of the Action Units, darker the likelier",
    "film_strip": "The frames the model read, and over them where the evidence for each Action Unit lies",
    "attention": "Which channels of the network were attended to, step by step in time",
    "granularity": "At which granularity the network read the clip, and where",
    "relations": "Which Action Units listened to which others, and how much",
}


def explain_clip(
    detector: "AUDetector", clip: "ReadClip", aus: str | list[str] = "active"
) -> tuple[np.ndarray, "ClipExplanation"]:
    """The frames as the model got them, (T, H, W) uint8, and why it said what it said."""
    from ...model.processing_aullm import VALUE_RANGES

    pixel_values = detector.processor([clip.frames])["pixel_values"]  # (1, T, 1, H, W)
    explanation = detector.model.explain(pixel_values.to(detector.device), aus)[0]
    largest = VALUE_RANGES[detector.processor.value_range]
    return (pixel_values[0, :, 0] * (255 / largest)).round().byte().numpy(), explanation


def clip_pictures(
    frames: np.ndarray,
    explanation: "ClipExplanation",
    *,
    span: tuple[float, float] | None = None,
    title: str = "",
    width: float | None = None,
) -> dict:
    """Name -> Figure: the keys of PICTURES, without "granularity" and "relations" where the model has none.

    Args:
        frames: (T, H, W), as `explain_clip` gives them.
        span: the seconds of the first and the last of them.
        title: of every picture; its further lines are what a reader has to know.
        width: inches of every picture, None for each one's own.
    """
    from ...model.explaining import pixel_map

    def on_pixels(cells):
        return pixel_map(cells.float().cpu(), frames.shape[-1]).numpy()

    size = {} if width is None else {"width": width}
    likely, thresholds = explanation.probabilities, explanation.thresholds
    maps = {one.au: on_pixels(one.cells) for one in explanation.evidence}
    times = None if span is None else np.linspace(*span, len(frames))
    pictures = {
        "probabilities": probability_bars(likely, thresholds, title=title, **size),
        "face": face_map(likely, thresholds, title=title, **size),
        "film_strip": film_strip(
            frames, maps, explanation.evidence[0].method, probabilities=likely, times=times, title=title, **size
        ),
        "attention": attention_over_time(explanation.channel_attention.float().cpu().numpy(), title=title, **size),
    }
    if explanation.granularity:
        branches = {name: (weight, on_pixels(share)) for name, (weight, share) in explanation.granularity.items()}
        pictures["granularity"] = granularity(frames, branches, title=title, **size)
    if explanation.relations:
        strengths = None if explanation.strengths is None else explanation.strengths.float().cpu().numpy()
        pictures["relations"] = relation_graph(
            explanation.labels,
            explanation.relations,
            strengths,
            probabilities=likely,
            thresholds=thresholds,
            title=title,
            **size,
        )
    return pictures


def title_of(clip: "ReadClip", of: int = 1) -> str:
    """'talk.mp4, 1.50 to 2.00 s, face 1', without what says nothing."""
    parts = [Path(clip.source).name or clip.source]
    if of > 1 and clip.start is not None and clip.end is not None:
        parts.append(f"{clip.start:.2f} to {clip.end:.2f} s")
    if clip.face_id:
        parts.append(f"face {clip.face_id}")
    return ", ".join(parts)


def strongest_windows(table: "pd.DataFrame", labels: list[str], most: int) -> list[int]:
    """The rows (by their index) in which some AU stands highest above its threshold, at most `most`, in order.

    Rows that have a reason instead of probabilities are never among them.
    """
    above = np.stack([(table[f"p_{label}"] - table[f"threshold_{label}"]).to_numpy(float) for label in labels])
    highest = above.max(axis=0)  # NaN where nothing was read
    ranked = [at for at in np.argsort(-highest, kind="stable") if not np.isnan(highest[at])]
    return sorted(int(table.index[at]) for at in ranked[:most])


__all__ = ["PICTURES", "clip_pictures", "explain_clip", "strongest_windows", "title_of"]
