"""Batches agree with the processor, and what is drawn depends on nothing but what it is drawn for."""

import zlib

import numpy as np
import pytest
import torch

from aullm_hf.data import load_clips
from aullm_hf.model.processing_aullm import AULLMVideoProcessor, sample_last_frame
from aullm_hf.training.batches import Augmentation, Batches
from aullm_hf.training.clips import Clips, Resident, clips_of, storage_device
from aullm_hf.training.sampling import ClipSampler, balanced_weights
from aullm_hf.training.uniforms import uniforms
from support import processes


@pytest.fixture(scope="module")
def dataset():
    return load_clips("synthetic", subjects=2, clips_per_subject=4, size=16)


@pytest.fixture(scope="module")
def clips(dataset):
    return clips_of(dataset, [1, 4])


def _lengths(*lengths, size=16):
    """Clips whose every pixel is the number of its frame."""
    frames = np.concatenate([np.arange(n, dtype=np.uint8) for n in lengths])
    frames = np.broadcast_to(frames[:, None, None], (len(frames), size, size))
    starts = np.concatenate([[0], np.cumsum(lengths)])
    table = {key: [str(i) for i in range(len(lengths))] for key in ("clip_id", "dataset", "subject", "aus")}
    return Clips(frames, starts, np.zeros((len(lengths), 2), np.float32), table)


def test_frames_and_labels_are_the_data_sets(dataset, clips):
    for row, clip in enumerate(dataset):
        there = clips.frames[clips.starts[row] : clips.starts[row + 1]]
        assert np.array_equal(there, np.asarray(clip["frames"]))
        assert clips.labels[row].tolist() == [1 in clip["aus"], 4 in clip["aus"]]


@pytest.mark.parametrize("rows", [[5, 0, 3], [1], []])
def test_a_selection_and_a_concatenation_are_read_right(dataset, rows):
    from datasets import concatenate_datasets

    chosen = concatenate_datasets([dataset.select(rows), dataset.select([7, 2])])
    clips = clips_of(chosen, [1, 4])
    for row, clip in enumerate(chosen):
        assert np.array_equal(clips.frames[clips.starts[row] : clips.starts[row + 1]], np.asarray(clip["frames"]))


def test_a_whole_clip_is_what_the_processor_makes_of_it(dataset, clips):
    processor = AULLMVideoProcessor(num_frames=6, size=16, value_range="byte")
    batch = Batches(clips, processor).whole([3, 0, 7])
    expected = processor([np.asarray(dataset[row]["frames"]) for row in (3, 0, 7)])["pixel_values"]
    assert torch.equal(batch["pixel_values"], expected)
    assert torch.equal(batch["labels"], torch.from_numpy(clips.labels[[3, 0, 7]]))


@pytest.mark.parametrize("include_last", [False, True])
def test_training_samples_end_where_the_published_ones_do(include_last):
    processor = AULLMVideoProcessor(num_frames=6, size=16, value_range="byte", include_last=include_last)
    batches = Batches(_lengths(*range(1, 13)), processor, seed=3)
    for row, length in enumerate(range(1, 13)):
        pixels = batches([(row, epoch, 0) for epoch in range(200)])["pixel_values"]
        ends = set(pixels[:, -1, 0, 0, 0].int().tolist())
        assert pixels[:, 0].eq(0).all()
        generator = torch.Generator().manual_seed(0)
        assert ends == {sample_last_frame(length, 6, generator, include_last) for _ in range(300)}


def test_what_is_drawn_does_not_depend_on_the_batch(clips):
    augmentation = Augmentation(flip=0.5, shift=2, zoom=0.1, brightness=0.2)
    processor = AULLMVideoProcessor(num_frames=6, size=16)
    one = Batches(clips, processor, seed=1, fold="sub01", augmentation=augmentation)
    draws = [(0, 0, 0), (3, 0, 0), (3, 0, 1), (3, 1, 0)]
    together = one(draws)["pixel_values"]
    again = Batches(clips, processor, seed=1, fold="sub01", augmentation=augmentation)
    for index in (2, 0, 3, 1):
        assert torch.equal(again([draws[index]])["pixel_values"][0], together[index])
    for other in (Batches(clips, processor, seed=2, fold="sub01", augmentation=augmentation),
                  Batches(clips, processor, seed=1, fold="sub02", augmentation=augmentation)):  # fmt: skip
        assert not torch.equal(other(draws)["pixel_values"], together)
    assert len({tuple(frame.flatten().tolist()) for frame in together}) == 4


def test_the_last_frame_follows_from_seed_fold_epoch_row_and_repeat():
    processor = AULLMVideoProcessor(num_frames=6, size=16, value_range="byte")
    batches = Batches(_lengths(100, 60, 100), processor, seed=5, fold="sub07")
    draws = [(0, 0, 0), (1, 0, 0), (2, 0, 0), (0, 1, 0), (0, 0, 1)]
    words = torch.tensor([[5, zlib.crc32(b"sub07"), epoch, row, again] for row, epoch, again in draws])
    spans = torch.tensor([100, 60, 100, 100, 100]) - 1 - 6  # from frame 6 to the last but one
    expected = 6 + (uniforms(words, 1)[:, 0].double() * spans).floor()
    assert batches(draws)["pixel_values"][:, -1, 0, 0, 0].tolist() == expected.tolist()


def test_the_last_frame_is_never_past_the_end():
    """The largest uniform number there is, for every length: a rounding up would read the next clip's frames."""
    batches = Batches(_lengths(*range(1, 300)), AULLMVideoProcessor(num_frames=6, size=16, include_last=True))
    last = batches._last(torch.arange(299), torch.tensor(1 - 2.0**-24))
    assert torch.equal(last, torch.arange(299))


def test_a_still_clip_stays_still_whatever_is_done_to_it():
    clips = _lengths(20)
    still = Clips(np.repeat(np.random.default_rng(0).integers(0, 255, (1, 16, 16), np.uint8), 20, 0), *_rest(clips))
    everything = Augmentation(flip=1.0, shift=3, zoom=0.2, brightness=0.3)
    batches = Batches(still, AULLMVideoProcessor(num_frames=6, size=16), augmentation=everything)
    pixels = batches([(0, epoch, 0) for epoch in range(20)])["pixel_values"]
    assert pixels.eq(pixels[:, :1]).all()


def _rest(clips):
    return clips.starts, clips.labels, clips.table


def test_shifts_are_whole_pixels_and_flips_are_exact():
    frames = torch.rand(1, 6, 16, 16)
    draws = torch.tensor([[0.0, 0.99, 0.5, 0.5, 0.5]])
    assert torch.equal(Augmentation(flip=1.0)(frames, draws), frames.flip(-1))
    moved = Augmentation(shift=2)(frames, draws)  # two pixels along the width
    assert torch.allclose(moved[..., :-2], frames[..., 2:], atol=1e-5)
    assert torch.allclose(moved[..., -1], frames[..., -1], atol=1e-5)
    assert torch.allclose(Augmentation(brightness=0.2)(frames, torch.full((1, 5), 0.5)), frames)


def test_onset_only_shows_one_frame(clips):
    batches = Batches(clips, AULLMVideoProcessor(num_frames=6, size=16), only_onset=True)
    for pixels in (batches([(2, 0, 0)])["pixel_values"], batches.whole([2])["pixel_values"]):
        assert pixels.eq(pixels[:, :1]).all()


def test_on_the_cpu_the_frames_are_the_clips_own_memory(clips):
    assert Resident.of(clips).frames.data_ptr() == clips.frames.ctypes.data


@pytest.mark.parametrize(("free", "home"), [(2**30, "there"), (1000, "cpu")])
def test_clips_that_would_fill_a_device_stay_in_memory_and_it_is_said_once(clips, monkeypatch, capsys, free, home):
    monkeypatch.setattr(torch.accelerator, "get_memory_info", lambda device: (free, free))
    device = torch.device("cuda", 3)
    assert storage_device(clips, device) == (device if home == "there" else torch.device("cpu"))
    shown = capsys.readouterr().out
    assert ("stay in the host's memory" in shown and "cuda:3" in shown) == (home == "cpu") == bool(shown)


ELSEWHERE = """
import numpy as np, torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils.backend_registration import _setup_privateuseone_for_python_backend
_setup_privateuseone_for_python_backend("elsewhere")
from aullm_hf.training.batches import Augmentation, Batches, Views
from aullm_hf.training.clips import Clips, Resident
from aullm_hf.baselines.views import BaselineVideoProcessor
from aullm_hf.model.processing_aullm import AULLMVideoProcessor

frames = np.zeros((40, 16, 16), np.uint8)
clips = Clips(frames, np.array([0, 3, 20, 40]), np.zeros((3, 2), np.float32), {})
augmentation = Augmentation(flip=0.5, shift=2, zoom=0.1, brightness=0.2)
with FakeTensorMode():
    pair = Views(clips, BaselineVideoProcessor("pair", size=16), device="elsewhere")
    made = [pair([(0, 0, 0), (2, 0, 0)]), pair.whole([2, 1])]
    for free, home in ((2**30, "elsewhere"), (1000, "cpu")):
        torch.accelerator.get_memory_info = lambda device: (free, 2**30)
        resident = Resident.of(clips, "elsewhere")
        assert resident.frames.device.type == home
        batches = Batches(clips, AULLMVideoProcessor(size=16), resident=resident, augmentation=augmentation)
        made += [batches([(0, 0, 0), (2, 0, 0), (2, 0, 1)]), batches.whole([1, 0])]
devices = [tensor.device.type for batch in made for tensor in batch.values()]
assert len(devices) == 12 and set(devices) == {"elsewhere"}, devices
"""


def test_everything_happens_where_the_frames_are_and_nothing_waits():
    """On tensors without values, which refuse an operation over two devices, and one whose result the host must know.

    The device is one of Python's own; no accelerator is needed, and none is measured.
    """
    done = processes.run(processes.python, ELSEWHERE)
    assert done.returncode == 0, done.stderr[-2000:]


def test_another_size_is_refused(clips):
    with pytest.raises(ValueError, match="frames are 16 x 16, the model reads 32 x 32: set image_size"):
        Batches(clips, AULLMVideoProcessor(size=32))


def test_an_epoch_is_every_clip_once_in_an_order_of_its_own():
    sampler = ClipSampler([4, 7, 9], seed=1, fold="a")
    epochs = []
    for epoch in (0, 1, 0):
        sampler.set_epoch(epoch)
        epochs.append(list(sampler))
    assert epochs[0] == epochs[2] and {row for row, _, _ in epochs[1]} == {4, 7, 9}
    assert [(epoch, again) for _, epoch, again in epochs[1]] == [(1, 0)] * 3
    orders = set()
    for epoch in range(20):
        sampler.set_epoch(epoch)
        orders.add(tuple(row for row, _, _ in sampler))
    assert len(orders) > 3


def test_balanced_sampling_shows_rare_aus_more_often_and_counts_repeats():
    labels = np.zeros((100, 2), np.float32)
    labels[:50, 0], labels[50:52, 1] = 1, 1
    weights = balanced_weights(labels)
    assert weights[0] == 1 and weights[50] == 25 and weights[99] == 1
    drawn = list(ClipSampler(range(100), seed=0, fold="a", weights=weights))
    rare = [again for row, _, again in drawn if row == 50]
    assert rare == list(range(len(rare))) and len(rare) > 5
