"""Clips in every form a person has them, against plain arithmetic."""

import json

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from transformers import AutoProcessor

from aullm_hf.data.faces import resize_square
from aullm_hf.model import AULLMVideoProcessor
from aullm_hf.model.processing_aullm import evenly_spaced, resize_weights, sample_last_frame, square

processor = AULLMVideoProcessor()


def video(frames=9, height=64, width=64, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (frames, height, width), dtype=np.uint8)


def values(clip, **settings):
    return AULLMVideoProcessor(**settings)(clip)["pixel_values"]


@pytest.mark.parametrize("length", range(1, 9))
def test_short_clips_repeat_their_nearest_frames(length):
    clip = video(length)
    indices = [round(i * (length - 1) / 5) for i in range(6)]  # Python rounds half to even as well
    np.testing.assert_array_equal(values(clip)[0, :, 0].numpy(), (clip[indices] / 255).astype(np.float32))


@given(length=st.integers(1, 200), frames=st.integers(1, 12))
def test_evaluation_spreads_over_the_whole_clip(length, frames):
    indices = evenly_spaced(frames, length - 1)
    assert indices[0] == 0 and (frames == 1 or indices[-1] == length - 1)
    assert (np.diff(indices) >= 0).all() and np.diff(indices).max(initial=0) - np.diff(indices).min(initial=999) <= 1


@settings(max_examples=50)
@given(length=st.integers(1, 40), include_last=st.booleans(), seed=st.integers(0, 99))
def test_training_ends_where_the_recipe_says(length, include_last, seed):
    generator = torch.Generator().manual_seed(seed)
    drawn = {sample_last_frame(length, 6, generator, include_last) for _ in range(200)}
    if length - 1 <= 6:
        assert drawn == {length - 1}
    else:
        assert drawn <= set(range(6, length if include_last else length - 1))
        assert length > 20 or drawn == set(range(6, length if include_last else length - 1))


def test_training_draws_differ_and_a_seed_repeats_them():
    clip = video(60)
    first, again, other = (
        processor(clip, train=True, generator=torch.Generator().manual_seed(s))["pixel_values"] for s in (1, 1, 2)
    )
    assert torch.equal(first, again) and not torch.equal(first, other)


def test_every_form_of_the_same_clip_gives_the_same_values():
    clip = video(7)
    expected = values(clip)
    assert expected.shape == (1, 6, 1, 64, 64) and expected.dtype == torch.float32
    forms = {
        "list of arrays": list(clip),
        "tensor": torch.from_numpy(clip),
        "channels last": clip[..., None],
        "channels first": torch.from_numpy(clip)[:, None],
        "PIL": [Image.fromarray(frame) for frame in clip],
        "list of tensors": list(torch.from_numpy(clip)),
        "float": clip / 255.0,
        "int64": clip.astype(np.int64),
        "batch of one": [clip],
        "5-D": clip[None, ..., None],
    }
    for name, form in forms.items():
        assert torch.equal(values(form), expected), name
    gray_as_colour = np.repeat(clip[..., None], 3, axis=-1)
    for name, form in {"RGB": gray_as_colour, "RGB first": np.moveaxis(gray_as_colour, -1, 1)}.items():
        assert (values(form) - expected).abs().max() <= 1.01 / 255, name


def test_colours_are_weighed_as_opencv_does():
    colour = np.random.default_rng(0).integers(0, 256, (6, 64, 64, 3), dtype=np.uint8)
    gray = np.stack([cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in colour])
    assert torch.equal(values(colour)[0, :, 0], values(gray)[0, :, 0])
    assert torch.equal(values([Image.fromarray(frame) for frame in colour]), values(colour))
    assert (values(colour / 255.0) - values(gray)).abs().max() <= 1.01 / 255


@settings(max_examples=60, deadline=None)
@given(height=st.integers(1, 300), width=st.integers(1, 300), size=st.sampled_from([32, 64]))
def test_frames_of_any_shape_become_square_as_in_the_training_data(height, width, size):
    """A value of 255 levels may differ by one where it lies halfway between two."""
    frames = np.random.default_rng(height * width).integers(0, 256, (1, height, width), dtype=np.uint8)
    difference = np.abs(square(frames, size)[0].astype(int) - resize_square(frames[0], size))
    assert difference.max() <= 1 and (difference > 0).mean() < 0.01


@pytest.mark.parametrize("side", [64, 96, 128, 150, 192, 640])
def test_areas_are_averaged_as_opencv_does(side):
    clip = video(6, side, side)
    by_opencv = np.stack([cv2.resize(frame, (64, 64), interpolation=cv2.INTER_AREA) for frame in clip])
    assert np.array_equal(square(clip, 64), by_opencv)


@given(size_in=st.integers(1, 200), size_out=st.integers(1, 100))
def test_resizing_shares_out_every_pixel(size_in, size_out):
    weights = resize_weights(size_in, size_out)
    np.testing.assert_allclose(weights.sum(axis=1), 1)
    np.testing.assert_allclose(weights.sum(axis=0).sum(), size_out)
    if size_in >= size_out:
        np.testing.assert_allclose(weights.sum(axis=0), size_out / size_in)


def test_nothing_is_squashed_or_cut_off():
    clip = np.zeros((6, 96, 48), np.uint8)
    clip[:, :, 20:28] = 255  # a vertical bar, 8 of 48 wide, over the whole height
    out = values(clip)[0, 0, 0]
    assert (out.sum(dim=1) > 0).all()
    assert abs(out.mean().item() - 8 / 96) < 0.01  # its width is still 8 of 96


def test_value_range_and_json_round_trip(tmp_path):
    byte = AULLMVideoProcessor(value_range="byte", face={"template": "a", "size": [1, 2]}, include_last=True)
    assert torch.allclose(byte(video())["pixel_values"], values(video()) * 255)
    byte.save_pretrained(tmp_path)
    assert "machine" not in json.dumps(byte.to_dict())
    loaded = AULLMVideoProcessor.from_pretrained(tmp_path)
    assert loaded.to_dict() == byte.to_dict()
    assert AutoProcessor.from_pretrained(tmp_path, trust_remote_code=True).to_dict() == byte.to_dict()


@pytest.mark.parametrize("fps", [25, 200])
def test_video_files_equal_their_frames(tmp_path, fps):
    import av

    path = tmp_path / "clip.mkv"
    frames = [np.repeat(frame[..., None], 3, axis=-1) for frame in video(5)]
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=fps, options={"level": "3"})
        stream.width, stream.height, stream.pix_fmt = 64, 64, "bgr0"
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24").reformat(format="bgr0")))
        container.mux(stream.encode())
    for form in (str(path), path, [path]):
        assert torch.equal(values(form), values(np.stack(frames)))


BAD = [
    (np.zeros((0, 8, 8), np.uint8), "N >= 1"),
    (np.zeros((3, 8, 8, 7), np.uint8), "expected frames"),
    (np.full((3, 8, 8), np.nan), "not finite"),
    (np.full((3, 8, 8), 200.0), "expected 0..1"),
    (np.full((3, 8, 8), -1), "expected 0..255"),
    (np.full((3, 8, 8), 300), "expected 0..255"),
    (np.zeros((3, 8, 8), bool), "dtype bool"),
    (np.zeros((3, 8, 8), "U1"), "dtype"),
    ([], "empty list"),
    ([np.zeros((8, 8), np.uint8), np.zeros((9, 9), np.uint8)], "several sizes"),
    ([[]], "at least one frame"),
    (["nowhere.mp4"], "could not be read as a video"),
]


@pytest.mark.parametrize(("clip", "message"), BAD, ids=[message for _, message in BAD])
def test_bad_clips_end_in_errors_that_say_what_is_wrong(clip, message):
    with pytest.raises(ValueError, match=message):
        processor(clip)


def test_other_types_and_options_are_refused():
    with pytest.raises(TypeError, match="got int"):
        processor(7)
    with pytest.raises(TypeError, match="do_flip"):
        processor(video(), do_flip=True)
    with pytest.raises(ValueError, match="value_range is 'half'"):
        AULLMVideoProcessor(value_range="half")
    with pytest.raises(ValueError, match="size is 0"):
        AULLMVideoProcessor(size=0)


def test_a_text_file_named_mp4(tmp_path):
    path = tmp_path / "clip.mp4"
    path.write_text("not a video")
    with pytest.raises(ValueError, match=r"clip\.mp4.*could not be read as a video"):
        processor(path)


@pytest.mark.parametrize("mode", ["P", "CMYK", "HSV", "YCbCr", "1", "LA", "RGBA"])
def test_pictures_of_every_mode_are_read_as_their_colours(mode):
    colour = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    picture = Image.fromarray(colour).convert(mode)
    gray = np.asarray(picture.convert("RGB").convert("L"), dtype=float)
    assert np.abs(values([picture] * 6)[0, 0, 0].numpy() * 255 - gray).max() <= 1.01


def test_what_could_be_frames_or_clips_is_asked():
    with pytest.raises(ValueError, match="frames with their channel first, or clips"):
        processor([torch.zeros(3, 32, 32) for _ in range(9)])
    with pytest.raises(ValueError, match="is a picture, not a video"):
        processor(["0.png", "1.png"])


def test_bfloat16_tensors_and_misspelled_settings():
    assert values(torch.full((6, 64, 64), 0.5, dtype=torch.bfloat16)).shape == (1, 6, 1, 64, 64)
    with pytest.raises(ValueError, match="Did you mean 'num_frames'"):
        AULLMVideoProcessor(num_frame=7)
    with pytest.raises(ValueError, match="include_last is 'yes'"):
        AULLMVideoProcessor(include_last="yes")
