"""The flow that is computed once per run: the same batches as frames would give, and when it is taken."""

import json

import numpy as np
import pytest
import torch

from aullm_hf.model import AULLMVideoProcessor
from aullm_hf.model.flow import strain
from aullm_hf.training.batches import Augmentation, Batches
from aullm_hf.training.clips import Clips
from aullm_hf.training.motion import WARP_DRAWS, Motions, reads_fixed_motion, strengthen, warped
from aullm_hf.training.parsing import load_run_config
from support.tiny import tiny_config, tiny_model
from support.tiny_run import tiny_yaml, train

AUS, SIZE, COUNT = 3, 32, 6


@pytest.fixture(scope="module")
def clips() -> Clips:
    """Clips of 5 to 7 frames in which a textured picture moves."""
    rng = np.random.default_rng(0)
    lengths = [5, 6, 7, 6, 7, 5]
    frames = []
    for length in lengths:
        picture = np.kron(rng.integers(40, 215, (12, 12)), np.ones((4, 4)))
        frames += [picture[at : at + SIZE, 2 * at : 2 * at + SIZE] for at in range(length)]
    names = [f"a/{row}" for row in range(COUNT)]
    return Clips(
        frames=np.array(frames, dtype=np.uint8),
        starts=np.concatenate([[0], np.cumsum(lengths)]),
        labels=rng.integers(0, 2, (COUNT, AUS)).astype(np.float32),
        table={"clip_id": names, "dataset": ["a"] * COUNT, "subject": ["s"] * COUNT, "aus": [[]] * COUNT},
    )


def test_batches_of_motion_lead_to_the_logits_of_batches_of_frames(clips):
    model = tiny_model(motion="flow", image_size=SIZE)
    processor = AULLMVideoProcessor.for_config(model.config)
    draws = [(row, epoch, 0) for epoch in range(3) for row in range(COUNT)]
    frames = Batches(clips, processor, seed=3, fold="x", augmentation=Augmentation(flip=0.5))
    motions = Motions(Batches(clips, processor)).drawing(seed=3, fold="x", flip=0.5)
    assert motions.motion.shape == (COUNT, processor.num_frames - 1, 3, SIZE, SIZE)
    for one, other in ((frames(draws), motions(draws)), (frames.whole([2, 0]), motions.whole([2, 0]))):
        assert torch.equal(one["labels"], other["labels"])
        with torch.no_grad():
            logits = [model(batch["pixel_values"]).logits for batch in (one, other)]
        assert torch.allclose(*logits, atol=0.02) and logits[0].std() > 0.05
    drawn = motions(draws)["pixel_values"].unflatten(0, (3, COUNT))
    assert not torch.equal(drawn[0], drawn[1])  # some are mirrored in one epoch and not in another


def test_it_is_taken_only_where_nothing_else_changes_a_clip(tmp_path):
    def training(**fields):
        return load_run_config(
            tiny_yaml(tmp_path, training={"augment_flip": 0.5, "augment_shift": 0, **fields})
        ).training

    flow = tiny_config(motion="flow")
    assert reads_fixed_motion(flow, training(), 7)
    assert not reads_fixed_motion(flow, training(), 8)  # of which frames are drawn
    for field in ("augment_shift", "augment_zoom", "augment_brightness"):
        assert not reads_fixed_motion(flow, training(**{field: 1}), 7)
    for motion in ("led", "both"):
        assert not reads_fixed_motion(tiny_config(motion=motion), training(), 7)


def test_a_run_on_held_out_subjects_with_few_false_alarms(tmp_path, monkeypatch):
    """One fold, motion computed once, thresholds that keep to the share: a whole run on wild clips."""
    import pandas as pd

    from aullm_hf.training import loop

    made = []
    monkeypatch.setattr(loop, "Motions", lambda *args: made.append(1) or Motions(*args))
    config = tiny_yaml(
        tmp_path,
        model={"motion": "flow"},
        data={"difficulty": "wild", "subjects": 8, "clips_per_subject": 6, "aus": [4, 12, 25]},
        protocol={"protocol": "holdout", "test_fraction": 0.25, "inner_fraction": 0.4, "false_alarms": 0.1},
        training={"augment_shift": 0, "num_train_epochs": 1},
    )
    assert train(config, tmp_path / "run") == 0 and made == [1]
    tested, inner = (pd.read_parquet(tmp_path / "run" / f"{name}.parquet") for name in ("predictions", "inner"))
    assert set(tested["fold"]) == {"holdout"} and tested["subject"].nunique() == 2
    assert not set(tested["subject"]) & set(inner["subject"])
    checkpoint = tmp_path / "run" / "folds" / "holdout" / "checkpoint"
    thresholds = json.loads((checkpoint / "config.json").read_text())["thresholds"]
    idle = inner[inner[[f"y_{au}" for au in thresholds]].sum(axis=1) == 0]
    active = np.any([idle[f"p_{au}"] >= threshold for au, threshold in thresholds.items()], axis=0)
    assert len(idle) > 5 and active.mean() <= 0.1


def test_strengthened_motion_is_a_multiple_and_a_field_of_second_degree():
    rng = torch.Generator().manual_seed(0)
    motion, draw = torch.randn(40, 5, 3, 16, 16, generator=rng), torch.rand(40, 10, generator=rng)
    stronger = strengthen(motion, draw, gain=4.0, turn=0.0)
    factor = (stronger[:, :, :2] / motion[:, :, :2]).flatten(1)
    assert torch.allclose(factor, factor[:, :1].expand_as(factor), rtol=1e-3)  # one for each clip
    assert 1 <= factor.min() < 1.3 and 3 < factor.max() <= 4
    turned = strengthen(motion, draw, gain=1.0, turn=3.0)
    added = turned[:, :, :2] - motion[:, :, :2]
    lengths = added.square().sum(dim=2).sqrt().flatten(1).amax(dim=1)
    assert 1 < lengths.max() <= 3.001 and 5 < (lengths == 0).sum() < 25
    third = added.diff(n=3, dim=-1).abs().max()  # of a second degree, third differences vanish
    assert third < 1e-4 and added.diff(n=2, dim=-1).abs().max() > 1e-3
    for changed in (stronger, turned):
        again = strain(changed[:, :, :2].flatten(0, 1)).unflatten(0, (40, 5))
        assert torch.allclose(changed[:, :, 2:], again)


def places_of_the_largest(motion: torch.Tensor) -> torch.Tensor:
    """(B, T-1, 3, H, W) -> (B, 2): x and y of what moves most."""
    size = motion[:, 0, 0].abs().flatten(1).argmax(dim=1)
    return torch.stack([size % motion.shape[-1], size // motion.shape[-1]], dim=1)


def test_warped_motion_lies_elsewhere_and_is_as_large():
    y, x = torch.meshgrid(torch.arange(64.0), torch.arange(64.0), indexing="ij")
    bump = torch.exp(-((x - 40).square() + (y - 24).square()) / 50)
    motion = bump.expand(50, 5, 3, 64, 64) * torch.tensor([2.0, -1.0, 0.5])[:, None, None]
    still = torch.full((50, WARP_DRAWS), 0.5)
    assert torch.allclose(warped(motion, still, 4.0), motion, atol=1e-4)
    moved = still.clone()
    moved[:, 3] = 1.0  # what is read lies to the right, so that what is shown moves to the left
    assert torch.allclose(warped(motion, moved, 4.0)[..., 8:-8], motion.roll(-4, dims=-1)[..., 8:-8], atol=1e-4)
    draw = torch.rand(50, WARP_DRAWS, generator=torch.Generator().manual_seed(0))
    elsewhere = warped(motion, draw, 4.0)
    away = (places_of_the_largest(elsewhere) - places_of_the_largest(motion)).abs()
    assert 2 < away.max() <= 4 * 3.5 and len(away.unique(dim=0)) > 10
    largest = elsewhere.abs().amax(dim=(3, 4))  # (50, 5, 3)
    assert torch.allclose(largest, torch.tensor([2.0, 1.0, 0.5]).expand_as(largest), rtol=0.02)


def test_it_is_refused_where_flow_is_not_computed_once(tmp_path, capsys):
    config = tiny_yaml(tmp_path, training={"augment_gain": 2.0})
    assert train(config, tmp_path / "run") == 2
    assert "change optical flow that is computed once" in capsys.readouterr().err
    assert not (tmp_path / "run" / "run.json").exists(), "the next command would be told that this is another run"
