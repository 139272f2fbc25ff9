"""What the figures of a run and of a comparison share: ink, bare axes, figures without global state.

Colours are from Okabe and Ito's colour-blind safe set. Needs the extra `viz`.
"""

INK, LINE, FAINT = "#333333", "#0072B2", "#BBBBBB"


def new_figure(width: float, height: float):
    """A matplotlib Figure in inches, made without pyplot: nothing global is touched."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError('figures need matplotlib: pip install "aullm-hf[viz]"') from error
    return Figure(figsize=(width, height), layout="constrained")


def plain_axes(axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=8)
    axes.grid(axis="y", color="#EEEEEE", linewidth=0.8)
    axes.set_axisbelow(True)
