"""Pictures say what they are given: read back from their artists, in colour, in grey, and from several threads."""

import itertools
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from aullm_hf.data.facs import AUS as FACS
from aullm_hf.inference.pictures.clip_pictures import (
    PICTURES,
    clip_pictures,
    explain_clip,
    strongest_windows,
    title_of,
)
from aullm_hf.inference.pictures.drawing import au_number, muscle_of, on_shade, save_figure, shade, spelled_out
from aullm_hf.inference.pictures.face_map import MUSCLES, Band, band_shape, face_map, ring_shape, spread
from aullm_hf.inference.pictures.film_strip import attention_over_time, film_strip, on_frames
from aullm_hf.inference.pictures.probability_bars import probability_bars
from aullm_hf.inference.pictures.relation_graph import relation_graph
from aullm_hf.inference.pictures.timeline import merged, timeline, window_spans
from aullm_hf.inference.reading.cropping import ReadClip
from aullm_hf.model.explaining import pixel_map
from support.explanations import AUS, RELATIONS, explanation, peak
from support.tiny import clips as random_clips

FRAMES = np.random.default_rng(0).integers(0, 256, (6, 64, 64), dtype=np.uint8)


def texts(figure) -> list[str]:
    from matplotlib.text import Text

    return [text.get_text() for text in figure.findobj(Text) if text.get_visible() and text.get_text()]


def boxes_of(figure, wanted) -> list:
    """Where texts lie on the page, in pixels."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.text import Text

    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    found = [text for text in figure.findobj(Text) if wanted(text.get_text())]
    return [text.get_window_extent(canvas.get_renderer()) for text in found]


def luminance(colour: str) -> float:
    """Relative luminance as WCAG defines it."""
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def windows(probabilities, start=0.0, length=0.5, stride=0.25, missing=()) -> pd.DataFrame:
    """A table as a detector gives it: one AU, one row per window."""
    count = len(probabilities)
    begin = start + stride * np.arange(count)
    reason = ["no face" if at in missing else "" for at in range(count)]
    p = pd.Series(probabilities, dtype=float).mask([bool(text) for text in reason])
    active = (p >= 0.5).astype("boolean").mask(p.isna())
    return pd.DataFrame({"source": "talk.mp4", "face_id": 0, "start": begin, "end": begin + length, "reason": reason,
                         "p_AU12": p, "active_AU12": active, "threshold_AU12": 0.5})  # fmt: skip


# ------------------------------------------------------------------- all of them


@pytest.mark.parametrize("graph", [True, False])
def test_a_clip_has_every_picture_that_its_model_can_give(graph):
    pictures = clip_pictures(FRAMES, explanation(graph=graph), span=(0.0, 0.25), title="clip 7")
    assert set(pictures) == set(PICTURES) - (set() if graph else {"granularity", "relations"})
    assert all("clip 7" in texts(figure) for figure in pictures.values())


def test_pictures_of_a_real_explanation(make_detector):
    detector = make_detector()
    clip = next(iter(detector.read(FRAMES)))
    frames, why = explain_clip(detector, clip, "all")
    row = detector.rows([clip]).iloc[0]
    assert frames.shape == (detector.model.config.num_frames, 32, 32) and frames.dtype == np.uint8
    assert why.probabilities == pytest.approx({label: row[f"p_{label}"] for label in detector.labels}, abs=1e-5)
    assert set(clip_pictures(frames, why)) == set(PICTURES) - {"granularity", "relations"}


@pytest.mark.parametrize("ending", [".png", ".pdf", ".svg"])
def test_the_same_picture_gives_the_same_bytes_from_any_thread(ending, tmp_path):
    def draw(name: str) -> bytes:
        figure = face_map(explanation().probabilities, explanation().thresholds)
        return save_figure(figure, tmp_path / name / f"face{ending}", dpi=60).read_bytes()

    alone = draw("alone")
    with ThreadPoolExecutor(2) as pool:
        assert set(pool.map(draw, ["one", "two", "three"])) == {alone}


def test_a_picture_is_saved_as_what_its_name_says(tmp_path):
    figure = probability_bars({"AU1": 0.5}, {"AU1": 0.5})
    with pytest.raises(ValueError, match=r"'face.gif' ends in '.gif'; pictures are saved as .png, .pdf, .svg."):
        save_figure(figure, tmp_path / "face.gif")


def test_nothing_global_is_touched():
    code = (
        "import sys; from aullm_hf.inference.pictures.probability_bars import probability_bars; "
        "probability_bars({'AU1': 0.5}, {'AU1': 0.5}); assert 'matplotlib.pyplot' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_without_matplotlib_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match=r'need matplotlib: pip install "aullm-hf\[viz\]"'):
        probability_bars({"AU1": 0.5}, {"AU1": 0.5})


def test_likelier_is_darker_in_grey_and_what_is_written_on_it_stays_legible():
    levels = [luminance(shade(p)) for p in np.linspace(0, 1, 21)]
    assert all(np.diff(levels) < 0)
    for p in np.linspace(0, 1, 101):
        pair = sorted([luminance(shade(p)), luminance(on_shade(p))])
        assert (pair[1] + 0.05) / (pair[0] + 0.05) >= 3.5


# -------------------------------------------------------------------------- bars


def test_bars_are_as_long_as_the_probabilities_and_marks_stand_at_the_thresholds():
    why = explanation()
    axes = probability_bars(why.probabilities, why.thresholds).axes[0]
    shown = [bar.get_width() for bar in axes.patches[1::2]]  # every other bar is the track behind
    marks = [line.get_xdata()[0] for line in axes.lines]
    assert shown == pytest.approx([why.probabilities[au] for au in AUS])
    assert marks == pytest.approx([why.thresholds[au] for au in AUS])


def test_bars_spell_out_names_and_muscles_and_who_is_active():
    figure = probability_bars({"AU12": 0.93, "AU15": 0.1}, {"AU12": 0.93, "AU15": 0.4})
    said = texts(figure)
    assert {"AU12 Lip corner puller", "zygomaticus major", "0.93  active", "0.10  not active"} <= set(said)


# ---------------------------------------------------------------------- timeline


@given(
    st.integers(2, 12).flatmap(
        lambda n: st.tuples(
            arrays(float, n, elements=st.floats(0.01, 3)), arrays(float, n, elements=st.floats(0.1, 2))
        )
    )
)
def test_windows_speak_for_times_that_never_overlap(steps_and_lengths):
    steps, lengths = steps_and_lengths
    start = np.cumsum(steps)
    end = np.maximum.accumulate(start + lengths)  # windows end in the order in which they begin
    spans = window_spans(start, end)
    assert spans[0, 0] == start[0] and spans[-1, 1] == end[-1]
    assert np.all(spans[:, 1] >= spans[:, 0] - 1e-9)
    assert np.all(spans[1:, 0] >= spans[:-1, 1] - 1e-9)


def test_neighbouring_spans_are_one():
    assert merged(np.array([[0, 1], [1, 2], [3, 4]])) == [(0.0, 2.0), (3.0, 4.0)]
    assert merged(np.empty((0, 2))) == []


def test_active_spans_are_counted_and_underlined_where_they_are():
    figure = timeline(windows([0.1, 0.9, 0.8, 0.2, 0.7, 0.1]))
    axes = figure.axes[0]
    assert axes.get_title("right") == "active 2 times" and axes.get_title("left") == spelled_out("AU12")
    lines = [
        tuple(line.get_xdata()) for line in axes.lines if len(line.get_xdata()) == 2 and max(line.get_ydata()) < 0
    ]
    # Windows of 0.5 s every 0.25 s meet halfway between their middles: 0.25 s each, the first from 0.375.
    assert lines == [pytest.approx((0.375, 0.875)), pytest.approx((1.125, 1.375))]


def test_nothing_read_is_hatched_and_breaks_the_line():
    figure = timeline(windows([0.6, 0.6, 0.6, 0.6], missing=(1, 2)))
    axes = figure.axes[0]
    assert [patch.get_hatch() for patch in axes.patches].count("////") == 1
    assert "hatched: nothing read" in axes.get_xlabel().replace("\n", " ")
    drawn = next(line for line in axes.lines if len(line.get_ydata()) > 2)
    assert np.isnan(drawn.get_ydata().astype(float)).any()
    assert "hatched" not in timeline(windows([0.6, 0.6])).axes[0].get_xlabel()


def test_windows_without_overlap_leave_no_gap_for_a_frame():
    table = windows([0.9, 0.9, 0.9], length=0.46, stride=0.5)  # at 25 frames a second, 0.04 s between two windows
    assert timeline(table).axes[0].get_title("right") == "active 1 time"
    apart = windows([0.9, 0.9, 0.9], length=0.2, stride=2.0)
    assert timeline(apart).axes[0].get_title("right") == "active 3 times"


def test_a_timeline_needs_times():
    table = windows([0.1, 0.2]).assign(start=np.nan)
    with pytest.raises(
        ValueError, match=r"each of its 2 windows in seconds; 2 have none. Give frames with their rate"
    ):
        timeline(table)


# -------------------------------------------------------------------- film strip


def test_a_strip_has_the_frames_and_a_row_for_each_au():
    maps = {"AU12": np.zeros((2, 64, 64)), "AU1": pixel_map(peak(0, 1, 4), 64).numpy()}
    figure = film_strip(FRAMES, maps, "grad-cam", probabilities={"AU12": 0.25, "AU1": 0.75}, times=np.arange(6) / 10)
    rows = np.array(figure.axes).reshape(3, 6)
    for at, axes in enumerate(rows[0]):
        np.testing.assert_array_equal(axes.images[0].get_array(), FRAMES[at])
    said = " ".join(texts(figure))
    assert "Grad-CAM" in said and "AU1 Inner brow raiser   0.75" in said and "0.50 s" in said
    assert "AU12 Lip corner puller   0.25   (no place stands out)" in said
    assert [len(axes.images) for axes in rows[1]] == [1] * 6  # nothing is laid over the face where nothing stands out
    assert [len(axes.images) for axes in rows[2]] == [2] * 6


@given(st.integers(0, 1), st.integers(0, 8), st.integers(0, 8))
def test_evidence_lies_on_the_pixels_and_frames_of_its_cell(time, row, column):
    strength = on_frames(pixel_map(peak(time, row, column), 64).numpy(), 6)  # (T, H, W)
    frame = 2 * time + 2  # the middle of what the cell saw
    assert strength.shape == (6, 64, 64) and strength.min() >= 0 and strength.max() <= 1
    best = np.argwhere(strength[frame] == strength[frame].max()).mean(axis=0)
    edge = [abs(index - 4) == 4 for index in (row, column)]  # beyond the outermost centre the map goes on
    for got, index, is_edge in zip(best, (row, column), edge, strict=True):
        assert is_edge or got == pytest.approx(6 * index + 7.5, abs=0.51)
    assert strength[frame].max() == strength.max() and strength[2 - 2 * time + 2].max() == 0  # the other cell's middle


def test_the_veil_is_opaque_where_the_evidence_is():
    maps = {"AU1": pixel_map(peak(0, 3, 5), 64).numpy()}
    figure = film_strip(FRAMES, maps, "attention")
    veil = figure.axes[6 + 2].images[1].get_array()[..., 3]
    row, column = np.unravel_index(np.argmax(veil), veil.shape)
    assert abs(row - 25.5) <= 1 and abs(column - 37.5) <= 1 and veil[50, 10] == 0


def test_attention_is_channels_by_steps_strongest_on_top():
    attention = np.random.default_rng(1).random((4, 16))
    shown = attention_over_time(attention).axes[0].images[0].get_array()
    assert shown.shape == (16, 4)
    assert np.all(np.diff(shown.mean(axis=1)) <= 1e-7)
    np.testing.assert_allclose(np.sort(shown, axis=0), np.sort(attention.T, axis=0), rtol=1e-6)


# ---------------------------------------------------------------- relation graph


def arrows(figure) -> list:
    from matplotlib.patches import FancyArrowPatch

    return [patch for patch in figure.axes[0].patches if isinstance(patch, FancyArrowPatch)]


def test_kinds_of_relations_differ_in_more_than_colour():
    def style(kinds) -> tuple:
        figure = relation_graph(["AU1", "AU4"], [("AU1", "AU4", kind) for kind in kinds])
        (arrow,) = arrows(figure)  # without strengths one line a pair
        return arrow.get_linestyle()

    styles = [style(["co-occurring"]), style(["opposing"]), style(["co-occurring", "opposing"])]
    assert all(one != other for one, other in itertools.combinations(map(str, styles), 2))


def test_an_arrow_points_at_the_listener_and_is_as_wide_as_its_strength():
    strengths = np.array([[0.3, 0.7], [0.1, 0.9]])  # AU1 hears AU2 much, AU2 hears AU1 little
    why = explanation()
    figure = relation_graph(["AU1", "AU2"], RELATIONS[:1], strengths, probabilities=why.probabilities)
    weak, strong = sorted(arrows(figure), key=lambda arrow: arrow.get_linewidth())
    assert strong.get_linewidth() > 2 * weak.get_linewidth()
    begin, end = strong._posA_posB  # AU1 stands on top, AU2 below
    assert begin[1] < end[1]
    assert "0.70" in texts(figure) and "0.10" in texts(figure)


@pytest.mark.parametrize("width", [3.6, 5.5])
def test_twelve_aus_can_be_told_apart(width):
    why = explanation()
    figure = relation_graph(why.labels, why.relations, why.strengths.numpy(), probabilities=why.probabilities,
                            thresholds=why.thresholds, width=width)  # fmt: skip
    names = {FACS[au_number(label)].name.split()[0] for label in why.labels}
    boxes = boxes_of(
        figure, lambda text: text in why.labels or (text.split(maxsplit=1)[:1] and text.split()[0] in names)
    )
    assert len(boxes) == 24
    overlaps = [(a, b) for a, b in itertools.combinations(boxes, 2) if a.overlaps(b)]
    assert not overlaps
    assert all(box.x0 >= 0 and box.x1 <= figure.bbox.width for box in boxes)


@pytest.mark.parametrize("name", sorted(PICTURES))
def test_on_a_phone_words_are_large_enough_inside_the_picture_and_under_no_title(name):
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.text import Text

    note = "Trained on drawn faces: means nothing on real ones"
    figure = clip_pictures(FRAMES, explanation(), title=note, width=3.6)[name]
    FigureCanvasAgg(figure).draw()
    off = [axes for axes in figure.axes if not axes.axison]
    ticks = {label for axes in off for label in (*axes.get_xticklabels(), *axes.get_yticklabels())}
    words = [text for text in figure.findobj(Text) if text.get_text() and text.get_visible() and text not in ticks]
    assert min(text.get_fontsize() for text in words) * 350 / 3.6 / 72 > 10.5  # where it is 350 pixels wide
    boxes = {text: text.get_window_extent() for text in words}
    title = boxes.pop(figure._suptitle)
    assert title.y1 <= figure.bbox.height and not any(title.overlaps(box) for box in boxes.values())
    assert all(box.x0 >= 0 and box.x1 <= figure.bbox.width + 1 for box in boxes.values())


def test_a_model_without_relations_has_no_graph():
    with pytest.raises(ValueError, match="needs at least one relation"):
        relation_graph(["AU1", "AU4"], [])


# -------------------------------------------------------------------------- face


def outline_of(number: int) -> np.ndarray:
    muscle = MUSCLES[number]
    return band_shape(muscle)[0] if isinstance(muscle, Band) else ring_shape(muscle)[0][0]


@pytest.mark.parametrize("number", sorted(MUSCLES))
def test_a_muscle_lies_in_the_half_of_the_face_where_its_au_shows(number):
    middle = outline_of(number).mean(axis=0)
    assert np.abs(outline_of(number)[:, 0]).max() < 0.9 and -1.6 < middle[1] < 1.25
    assert middle[1] > 0.15 if FACS[number].half == "upper" else middle[1] < 0.1


def test_antagonists_lie_on_opposite_sides():
    height = {number: outline_of(number).mean(axis=0)[1] for number in MUSCLES}
    assert height[12] > height[15] and height[10] > height[16] and height[1] > height[4] > height[7]
    assert outline_of(1).mean(axis=0)[0] < outline_of(2).mean(axis=0)[0]  # inner and outer brow


def test_every_muscle_of_the_published_aus_is_drawn():
    published = {1, 2, 4, 5, 6, 7, 9, 10, 12, 14, 15, 16, 17, 18, 20, 23, 24, 25, 26}
    assert published <= set(MUSCLES)


def test_the_face_tags_each_au_and_says_what_is_not_drawn():
    likely = {"AU12": 0.93, "AU61": 0.2}
    said = texts(face_map(likely, {"AU12": 0.5, "AU61": 0.5}))
    assert {"AU12  0.93", "AU12 Lip corner puller", "zygomaticus major", "AU61 Eyes turn left (not drawn)"} <= set(
        said
    )
    assert "AU61  0.20" not in said


def test_active_muscles_are_outlined_heavily_on_both_sides():
    from matplotlib.patches import PathPatch

    axes = face_map({"AU12": 0.93, "AU15": 0.1}, {"AU12": 0.5, "AU15": 0.5}).axes[0]
    widths = sorted(patch.get_linewidth() for patch in axes.patches if isinstance(patch, PathPatch))
    assert len(widths) == 4 and widths[0] == widths[1] < widths[2] == widths[3]


@pytest.mark.parametrize("width", [3.6, 5.0])
def test_no_tag_covers_another(width):
    why = explanation()
    figure = face_map(why.probabilities, why.thresholds, width=width)
    boxes = boxes_of(figure, lambda text: text.startswith("AU") and "  " in text)
    assert len(boxes) == 12 and not any(a.overlaps(b) for a, b in itertools.combinations(boxes, 2))


@given(st.lists(st.floats(-1, 1), min_size=1, max_size=8).map(lambda values: sorted(values, reverse=True)))
def test_tags_move_apart_and_no_further(heights):
    moved = spread(heights, gap=0.2)
    assert all(a - b >= 0.2 - 1e-9 for a, b in itertools.pairwise(moved))
    if all(a - b >= 0.2 for a, b in itertools.pairwise(heights)):
        assert moved == pytest.approx(heights, abs=1e-9)
    assert sum(moved) == pytest.approx(sum(heights), abs=1e-6)  # least squares moves no centre of gravity


# ------------------------------------------------------------------------- words


def test_muscles_are_spelled_out_and_where_there_is_none_the_place():
    assert muscle_of("AU12") == "zygomaticus major" and muscle_of("AU61") == "seen at the eyes"


def test_the_clearest_windows_are_those_furthest_above_a_threshold(make_detector):
    table = windows([0.1, 0.9, 0.4, 0.8], missing=(1,))
    assert strongest_windows(table, ["AU12"], 1) == [3]
    assert strongest_windows(table, ["AU12"], 5) == [0, 2, 3]
    assert strongest_windows(table.iloc[[0, 2]], ["AU12"], 1) == [2]


def test_titles_say_what_tells_clips_apart():
    clip = ReadClip("/data/talk.mp4", start=1.5, end=2.0, face_id=1)
    assert title_of(clip, 4) == "talk.mp4, 1.50 to 2.00 s, face 1"
    assert title_of(ReadClip("/data/talk.mp4", start=0.0, end=0.3)) == "talk.mp4"


def test_random_clips_are_drawn_whatever_the_model_says(make_detector):
    detector = make_detector()
    for pixels in random_clips(2, detector.model.config):
        why = detector.model.explain(pixels[None], "all")[0]
        assert set(clip_pictures((pixels[:, 0] * 255).byte().numpy(), why)) >= {"face", "film_strip"}
