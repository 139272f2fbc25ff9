"""Where on the face and when: the frames the model read, under each AU's evidence; and the channels it attended to."""

from collections.abc import Mapping

import numpy as np

from .drawing import (
    EVIDENCE,
    INK,
    SOFT,
    THRESHOLD,
    new_figure,
    plain_axes,
    set_title,
    spelled_out,
    title_height,
    wrapped,
)

METHODS = {
    "attention": "attention of the AU's node in the relation graph",
    "contribution": "contribution to the AU's node in the relation graph",
    "grad-cam": "Grad-CAM",
}
HALF = 0.5  # of an AU's strongest evidence: what is outlined


def film_strip(
    frames: np.ndarray,
    maps: Mapping[str, np.ndarray],
    method: str,
    *,
    probabilities: Mapping[str, float] | None = None,
    times: np.ndarray | None = None,
    title: str = "",
    width: float = 6.5,
):
    """frames (T, H, W), those the model read; maps: AU -> (T', H, W), lined up with the pixels (`pixel_map`).

    Evidence is laid over the face the more opaque the stronger, relative to the AU's own maximum in the clip, and
    outlined where it reaches half of it. `times`: seconds of the frames.
    """
    frames = np.asarray(frames, dtype=np.float32)
    count, names = len(frames), [None, *maps]
    legend = wrapped(f"evidence: {METHODS.get(method, method)}; outlined: at least half of the strongest", width, 8)
    side, gap = (width - 0.16) / count, 0.26  # inches: a frame, and the words above a row
    above, below = max(title_height(title, width), 0.05), 0.14 * (legend.count("\n") + 1) + 0.12
    height = above + len(names) * (side + gap) + below
    figure = new_figure(width, height)
    figure.set_layout_engine("none")  # every place is known, and words may run over several frames
    low, high = np.percentile(frames, (0.5, 99.5))
    for row, label in enumerate(names):
        top = height - above - row * (side + gap) - gap
        strength = None if label is None else on_frames(np.asarray(maps[label], dtype=np.float32), count)
        even = strength is not None and np.ptp(strength) < 1e-6
        for at in range(count):
            axes = figure.add_axes(
                (
                    (0.08 + at * side) / width,
                    (top - side) / height,
                    0.97 * side / width,
                    0.97 * side / height,
                )
            )
            axes.imshow(frames[at], cmap="gray", vmin=low, vmax=max(high, low + 1), interpolation="bicubic")
            if strength is not None and not even:
                lay_over(axes, strength[at])
            axes.axis("off")
            if label is None:
                when = f"{at + 1}" if times is None else f"{times[at]:.2f} s"
                axes.set_title(when, fontsize=8, color=SOFT, pad=2)
        if label is not None:
            likely = f"   {probabilities[label]:.2f}" if probabilities is not None else ""
            nowhere = "   (no place stands out)" if even else ""
            words = spelled_out(label) + likely + nowhere
            figure.text(0.08 / width, (top + 0.03) / height, words, fontsize=9, color=INK, fontweight="bold")
    figure.text(0.08 / width, 0.08 / height, legend, fontsize=8, color=INK)
    set_title(figure, title)
    return figure


def lay_over(axes, strength: np.ndarray) -> None:
    """Strength (H, W) in 0..1 as a veil over the face, with a line at half."""
    veil = np.empty((*strength.shape, 4), dtype=np.float32)
    veil[..., :3] = [int(EVIDENCE[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    veil[..., 3] = 0.75 * strength
    axes.imshow(veil, interpolation="bilinear")
    if strength.max() > HALF > strength.min():
        axes.contour(strength, levels=[HALF], colors=[THRESHOLD], linewidths=1.2)


def on_frames(maps: np.ndarray, count: int) -> np.ndarray:
    """Maps (T', H, W) of F_mid's time cells -> (T, H, W) in 0..1 at the frames the model read.

    Time cell k sees the motion of frames 2 k + 1 .. 2 k + 3 (the filter has none for frame 0; kernel 2, pooling 2), so
    its middle is 2 k + 2. Between middles the map is interpolated; before the first and after the last it stays.
    """
    where = np.clip((np.arange(count) - 2) / 2, 0, len(maps) - 1)
    low = np.minimum(np.floor(where).astype(int), max(len(maps) - 2, 0))
    high = np.minimum(low + 1, len(maps) - 1)
    share = (where - low)[:, None, None]
    mixed = maps[low] * (1 - share) + maps[high] * share
    return mixed / max(float(maps.max()), 1e-12)


def attention_over_time(channel_attention: np.ndarray, *, title: str = "", width: float = 5.0):
    """The squeeze-and-excitation attention (steps, channels) as a picture, channels x steps, strongest on top."""
    attention = np.asarray(channel_attention, dtype=np.float32)
    steps, channels = attention.shape
    order = np.argsort(-attention.mean(axis=0), kind="stable")
    figure = new_figure(width, 3.6 + title_height(title, width))
    axes = figure.subplots()
    picture = axes.imshow(attention[:, order].T, cmap="cividis", aspect="auto", interpolation="nearest")
    axes.set_xticks(range(steps), [f"{step + 2}, {step + 3}" for step in range(steps)])
    axes.set_xlabel("frames whose motion the step sees", fontsize=8, color=INK)
    axes.set_ylabel(f"{channels} channels of the network, the strongest on top", fontsize=8, color=INK)
    axes.set_yticks([])
    plain_axes(axes, hide=("top", "right", "left", "bottom"))
    bar = figure.colorbar(picture, ax=axes, fraction=0.05, pad=0.02)
    bar.set_label("attention", fontsize=8, color=INK)
    bar.ax.tick_params(labelsize=8)
    bar.outline.set_visible(False)
    set_title(figure, title)
    return figure


__all__ = ["METHODS", "attention_over_time", "film_strip", "lay_over", "on_frames"]
