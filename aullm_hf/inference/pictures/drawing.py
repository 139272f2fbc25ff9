"""What all pictures share: colours, figures without global state, how they are saved.

Colours are from Okabe and Ito's colour-blind safe set. Nothing is told by colour alone: what is active is also darker,
outlined or in bold, so that a grey print says the same. Needs the extra `viz`.
"""

import textwrap
import threading
from collections.abc import Sequence
from pathlib import Path

from ...data.facs import au_info
from ...whole_files import replacing

INK, SOFT, FAINT, PAPER = "#1A1A1A", "#5F5F5F", "#D9D9D9", "#FFFFFF"
ACTIVE, QUIET = "#0072B2", "#CFE4F2"  # an AU that is active, one that is not
DEEP = "#00497A"  # probability 1 on a scale that starts at paper
THRESHOLD = "#D55E00"
EVIDENCE = "#E69F00"
TOGETHER, AGAINST = "#0072B2", "#D55E00"  # AUs that go together, AUs that exclude each other
FORMATS = (".png", ".pdf", ".svg")
_saving = threading.Lock()  # matplotlib's settings are everybody's


def new_figure(width: float, height: float):
    """A matplotlib Figure in inches, made without pyplot: nothing global is touched, any thread may draw."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError('Pictures need matplotlib: pip install "aullm-hf[viz]".') from error
    figure = Figure(figsize=(width, height), layout="constrained", facecolor=PAPER)
    figure.get_layout_engine().set(w_pad=0.08, h_pad=0.08)
    return figure


def save_figure(figure, path: str | Path, dpi: int = 150) -> Path:
    """Write a picture; its ending says how. The same picture gives the same bytes."""
    path = Path(path)
    if path.suffix.lower() not in FORMATS:
        raise ValueError(f"{path.name!r} ends in {path.suffix!r}; pictures are saved as {', '.join(FORMATS)}.")
    undated = {".png": {"Software": None}, ".pdf": {"CreationDate": None}, ".svg": {"Date": None}}
    import matplotlib

    # Text stays text in a vector file, and the ids in it do not change from one run to the next.
    settings = {"svg.fonttype": "none", "svg.hashsalt": "aullm", "pdf.fonttype": 42}
    with _saving, matplotlib.rc_context(settings), replacing(path) as part:
        figure.savefig(part, format=path.suffix.lower()[1:], dpi=dpi, metadata=undated[path.suffix.lower()])
    return path


def au_number(label: str) -> int:
    """'AU12' -> 12."""
    return int(label.removeprefix("AU"))


def spelled_out(label: str) -> str:
    """'AU12' -> 'AU12 Lip corner puller'."""
    return f"{label} {au_info(au_number(label)).name}"


def muscle_of(label: str, width: float | None = None) -> str:
    """'AU12' -> 'zygomaticus major'; where no single muscle acts, where to look. Cut to `width` inches of 8 points."""
    info = au_info(au_number(label))
    muscle = info.muscle or f"seen at the {info.place}"
    return muscle if width is None else textwrap.shorten(muscle, int(width / 0.056), placeholder=" ..")


def shade(value: float) -> str:
    """0 (paper) .. 1 (deep blue), as a colour; as even in grey."""
    value = min(max(float(value), 0.0), 1.0)
    ends = [tuple(int(colour[at : at + 2], 16) for at in (1, 3, 5)) for colour in (PAPER, DEEP)]
    return "#" + "".join(f"{round(low + (high - low) * value):02X}" for low, high in zip(*ends, strict=True))


def on_shade(value: float) -> str:
    """The ink that is legible on `shade(value)`."""
    return PAPER if value > 0.7 else INK


def wrapped(text: str, width: float, size: float) -> str:
    """Lines that fit `width` inches at a font size in points."""
    return "\n".join(textwrap.wrap(text, max(int((width - 0.2) * 72 / (0.53 * size)), 12)))


def title_lines(title: str, width: float) -> list[str]:
    """A picture's title as it is broken into lines."""
    return [part for line in title.splitlines() for part in wrapped(line, width, 12).splitlines()]


def title_height(title: str, width: float) -> float:
    """Inches that a title takes above a picture."""
    return 0.19 * len(title_lines(title, width)) + 0.1 if title else 0.0


def set_title(figure, title: str) -> None:
    if title:
        width, height = figure.get_size_inches()
        place = {} if figure.get_layout_engine() else {"y": 1 - 0.06 / height}  # where nothing else makes room for it
        words = "\n".join(title_lines(title, width))
        figure.suptitle(words, x=0.08 / width, ha="left", va="top", fontsize=11, color=INK, fontweight="bold", **place)


def plain_axes(axes, hide: Sequence[str] = ("top", "right")) -> None:
    axes.spines[list(hide)].set_visible(False)
    for spine in axes.spines.values():
        spine.set_color(SOFT)
    axes.tick_params(labelsize=8, colors=INK)


__all__ = ["FORMATS", "muscle_of", "new_figure", "save_figure", "spelled_out"]
