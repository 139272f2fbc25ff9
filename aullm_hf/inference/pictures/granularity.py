"""At which granularity MGE read a clip, and where: a face for each branch, and the gate's weights."""

import math
from collections.abc import Mapping

import numpy as np

from .drawing import INK, SOFT, new_figure, set_title, wrapped
from .film_strip import lay_over


def granularity(
    frames: np.ndarray,
    branches: Mapping[str, tuple[float, np.ndarray]],
    *,
    title: str = "",
    width: float = 6.5,
):
    """frames (T, H, W), those the model read; branches: name -> the gate's weight, and its share (T', H, W).

    Shares are means over time, relative to the largest of all branches; what is left of 1 is the 3D-CNN's own map.
    """
    frames = np.asarray(frames, dtype=np.float32)
    shares = {name: np.asarray(share, dtype=np.float32).mean(axis=0) for name, (_, share) in branches.items()}
    largest = max(float(share.max()) for share in shares.values())
    words = wrapped(
        "above: the gate's weight of each branch; laid over the face: its share of the fused map, "
        f"at most {largest:.1%}; the rest is the 3D-CNN's own",
        width,
        8,
    )
    columns = len(branches) if width > 5 else 2  # on a phone two beside each other
    rows = math.ceil(len(branches) / columns)
    side = (width - 0.16) / columns
    figure = new_figure(width, rows * (side + 0.2) + 0.4 + 0.14 * words.count("\n") + (0.3 if title else 0))
    low, high = np.percentile(frames, (0.5, 99.5))
    places = figure.subplots(rows, columns).flat
    for axes, (name, (weight, _)) in zip(places, branches.items(), strict=True):
        axes.imshow(frames[len(frames) // 2], cmap="gray", vmin=low, vmax=max(high, low + 1), interpolation="bicubic")
        if largest > 0:
            lay_over(axes, shares[name] / largest)
        axes.axis("off")
        axes.set_title(f"{name}   {weight:.2f}", fontsize=9, color=INK)
    figure.supxlabel(words, x=0.08 / width, ha="left", fontsize=8, color=SOFT)
    set_title(figure, title)
    return figure


__all__ = ["granularity"]
