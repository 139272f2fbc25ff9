"""Film strips: drawn for every kind of clip, with the right frames in them."""

import builtins

import matplotlib.image
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aullm_hf.data.preview import estimate_flow, plot_clips, strip_positions
from aullm_hf.data.synthetic.clips import synthetic_clips


@pytest.fixture(scope="module")
def clips():
    return synthetic_clips(subjects=2, clips_per_subject=2, fps=30.0)


@pytest.mark.parametrize("how", [{"clips": 9, "columns": 3}, {"clips": [1], "amplitude": 4.0}])
def test_a_picture_is_drawn(clips, tmp_path, how):
    plot_clips(clips, tmp_path / "preview.png", **how)
    picture = matplotlib.image.imread(tmp_path / "preview.png")
    assert picture.shape[0] > 300 and picture[..., :3].std() > 0.1


def test_clips_are_named_by_their_id(clips, tmp_path):
    plot_clips(clips, tmp_path / "one.png", clips=[clips[2]["clip_id"]])
    plot_clips(clips, tmp_path / "two.png", clips=[2])
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()
    with pytest.raises(ValueError, match=r"clip 'nobody/1' is not in the data set; its 4 clips are"):
        plot_clips(clips, tmp_path / "x.png", clips=["nobody/1"])
    with pytest.raises(ValueError, match="nothing to draw"):
        plot_clips(clips, tmp_path / "x.png", clips=0)
    with pytest.raises(ValueError, match="columns=2"):
        plot_clips(clips, tmp_path / "x.png", columns=2)


@pytest.mark.parametrize(
    "change", [{"apex": None}, {"aus": None, "au_text": None}, {"aus": []}, {"emotion": None, "fps": None}]
)
def test_what_a_table_may_lack(clips, tmp_path, change):
    plot_clips([{**clips[0], **change}], tmp_path / "preview.png", clips=1)
    assert (tmp_path / "preview.png").stat().st_size > 10_000


@given(st.integers(0, 50), st.integers(1, 200), st.floats(0, 1), st.integers(3, 12), st.booleans())
def test_onset_apex_and_offset_are_among_the_frames(onset, span, place, columns, has_apex):
    apex = onset + round(place * span) if has_apex else None
    shown = strip_positions(onset, apex, onset + span, span + 1, columns)
    assert len(shown) == columns and shown == sorted(shown)
    assert (shown[0], shown[-1]) == (0, span)
    if has_apex and onset < apex < onset + span:
        assert apex - onset in shown


def test_arrows_point_where_the_skin_goes():
    rng = np.random.default_rng(0)
    texture = rng.normal(size=(66, 66)).cumsum(0).cumsum(1)
    texture = 128 + 40 * (texture - texture.mean()) / texture.std()
    _, right, down = estimate_flow(texture[1:65, 1:65], texture[:64, 1:65])  # one row down
    assert np.median(down) == pytest.approx(1, abs=0.3) and abs(np.median(right)) < 0.2


def test_without_matplotlib_the_extra_is_named(clips, tmp_path, monkeypatch):
    real = builtins.__import__

    def without(name, *rest, **more):
        if name.startswith("matplotlib"):
            raise ImportError(name)
        return real(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ImportError, match=r"pip install aullm-hf\[viz\]"):
        plot_clips(clips, tmp_path / "x.png")
