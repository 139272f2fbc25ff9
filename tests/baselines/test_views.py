"""What a baseline is shown: flow of known motion, patterns counted by hand, and the same in training as afterwards."""

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter, map_coordinates

from aullm_hf.baselines import BaselineConfig, BaselineVideoProcessor
from aullm_hf.baselines.views import LBP_BLOCKS, VIEWS, lbp_top, optical_flow
from aullm_hf.model import AULLMVideoProcessor
from support.tiny_baselines import random_clips
from support.tiny_run import ROOT  # puts the runner's modules on the path

assert ROOT
INSIDE = (slice(12, 52), slice(12, 52))


def texture(seed=0, size=64):
    noise = gaussian_filter(np.random.default_rng(seed).standard_normal((size, size)), 2.0)
    return 128 + 60 * noise / np.abs(noise).max()


def moved(picture, dx, dy):
    """The picture whose content has moved by (dx, dy), which may be fields."""
    y, x = np.mgrid[: picture.shape[0], : picture.shape[1]].astype(float)
    return map_coordinates(picture, [y - dy, x - dx], order=3, mode="nearest")


def bytes_of(picture):
    return np.clip(np.round(picture), 0, 255).astype(np.uint8)


@pytest.mark.parametrize(("dx", "dy"), [(0.6, 0.0), (0.0, -0.8), (1.2, 0.7)])
def test_flow_is_the_motion_in_pixels_and_a_shift_strains_nothing(dx, dy):
    picture = texture()
    u, v, strain = optical_flow(bytes_of(picture), bytes_of(moved(picture, dx, dy)))
    assert np.median(u[INSIDE]) == pytest.approx(dx, abs=0.15) and np.median(v[INSIDE]) == pytest.approx(dy, abs=0.15)
    assert np.median(strain[INSIDE]) < 0.06


def test_strain_is_what_a_stretch_leaves():
    picture = texture(1)
    x = np.mgrid[:64, :64][1] - 31.5
    _, _, strain = optical_flow(bytes_of(picture), bytes_of(moved(picture, 0.06 * x, 0 * x)))
    assert np.median(strain[INSIDE]) == pytest.approx(0.06, rel=0.35)  # du/dx alone


def test_a_clip_that_stands_still_shows_no_flow():
    still = bytes_of(texture())
    assert np.abs(optical_flow(still, still)).max() < 1e-3


def test_lbp_top_counts_every_pixel_of_a_block_once_a_plane():
    histograms = lbp_top(random_clips(1, 64)[0][:10]).reshape(3, LBP_BLOCKS**2, 59)
    assert np.allclose(histograms.sum(axis=2), 1) and (histograms >= 0).all()


def test_lbp_top_finds_the_same_patterns_as_a_count_by_hand():
    """Uniform codes have at most two changes around the circle; here the eight neighbours sit on the circle's grid
    points and, bilinearly, between them."""
    clip = random_clips(1, 16, seed=3)[0][:6].astype(float)
    angles = 2 * np.pi * np.arange(8) / 8

    def uniform_share(slices):
        """Share of uniform patterns inside the first axis's slices, borders counting as zero beyond the picture."""
        found, total = 0, 0
        for picture in slices:
            padded = np.pad(picture, 2)
            for row in range(picture.shape[0]):
                for column in range(picture.shape[1]):
                    ring = []
                    for angle in angles:
                        y, x = row + 2 - np.sin(angle), column + 2 + np.cos(angle)
                        y0, x0 = int(np.floor(y + 1e-9)), int(np.floor(x + 1e-9))
                        fy, fx = y - y0, x - x0
                        value = (
                            (1 - fy) * (1 - fx) * padded[y0, x0] + (1 - fy) * fx * padded[y0, x0 + 1]
                            + fy * (1 - fx) * padded[y0 + 1, x0] + fy * fx * padded[y0 + 1, x0 + 1]
                        )  # fmt: skip
                        ring.append(value >= picture[row, column])
                    changes = sum(ring[i] != ring[i - 1] for i in range(8))
                    found, total = found + (changes <= 2), total + 1
        return found / total

    histograms = lbp_top(clip.astype(np.uint8)).reshape(3, LBP_BLOCKS**2, 59)
    assert 1 - histograms[0, :, 58].mean() == pytest.approx(uniform_share(clip[1:-1]), abs=0.02)


@pytest.mark.parametrize(("view", "shape"), [
    ("frames", (6, 1, 32, 32)), ("pair", (2, 1, 32, 32)), ("flow", (1, 3, 32, 32)), ("lbp-top", (3 * 64 * 59,)),
])  # fmt: skip
def test_every_view_is_the_same_in_training_and_after_it(view, shape):
    """What the runner keeps of its clips is what a stranger's processor makes of the same clip."""
    from aullm_hf.training.batches import Batches, Views
    from aullm_hf.training.clips import Clips

    clips = random_clips(4)
    starts = np.concatenate([[0], np.cumsum([len(clip) for clip in clips])])
    held = Clips(np.concatenate(clips), starts, np.eye(4, 3, dtype=np.float32), {})
    processor = BaselineVideoProcessor.for_config(BaselineConfig(image_size=32), view=view)
    kept = (Batches if view == "frames" else Views)(held, processor)
    assert torch.equal(kept.whole([2, 0])["pixel_values"], processor([clips[2], clips[0]])["pixel_values"])
    assert processor(clips)["pixel_values"].shape == (4, *shape)
    if view != "frames":  # nothing is drawn
        drawn = kept([(2, 0, 0), (0, 5, 1)])
        assert torch.equal(drawn["pixel_values"], kept.whole([2, 0])["pixel_values"])
        assert torch.equal(drawn["labels"], torch.tensor([[0.0, 0, 1], [1, 0, 0]]))


def test_a_pair_is_the_onset_and_the_middle_frame():
    clip = np.arange(9, dtype=np.uint8)[:, None, None] * np.ones((1, 16, 16), dtype=np.uint8)
    pixels = BaselineVideoProcessor("pair", size=16)(clip)["pixel_values"]
    assert (255 * pixels[0, :, 0, 0, 0]).round().tolist() == [0, 4]


@pytest.mark.parametrize("view", VIEWS)
def test_a_clip_of_one_frame_is_seen_too(view):
    pixels = BaselineVideoProcessor(view, size=32)(random_clips(1)[0][:1])["pixel_values"]
    assert torch.isfinite(pixels).all() and len(pixels) == 1


def test_frames_are_aullms():
    clips = random_clips(3)
    ours, theirs = BaselineVideoProcessor(size=32), AULLMVideoProcessor(size=32)
    assert torch.equal(ours(clips)["pixel_values"], theirs(clips)["pixel_values"])


def test_an_unknown_view_lists_those_there_are():
    with pytest.raises(ValueError, match=r"view is 'flows'; allowed: 'frames', 'pair', 'flow', 'lbp-top'"):
        BaselineVideoProcessor("flows")
