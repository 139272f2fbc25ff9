"""Maps over F_mid's cells that line up with the pixels, and a gate that every reader of the map sees."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from aullm_hf.model import AULLMConfig, AULLMForAUDetection
from aullm_hf.model.backbone import MotionBackbone
from aullm_hf.model.evidence import EvidenceCells, pixel_map
from support.tiny import clips, tiny_config, tiny_model


@pytest.mark.parametrize("size", [32, 40, 64])
def test_a_cells_pixels_are_those_that_it_sees(size):
    """By gradient: the pixels that can change a cell lie around the place where its map peaks."""
    config = tiny_config(image_size=size)
    backbone = MotionBackbone(config).eval()
    side = config.mid_shape[2]
    pixels = torch.arange(size, dtype=torch.float32)
    for cell in [(0, 0), (side - 1, 1), (side // 2, side - 1)]:
        reach = torch.zeros(size, size)
        for _ in range(8):  # poolings pass the gradient of one value only
            x = torch.rand(1, 1, config.num_frames - 1, size, size, requires_grad=True)
            backbone(x)[0][..., cell[0], cell[1]].sum().backward()
            reach += x.grad.abs().sum(dim=(0, 1, 2))
        for axis, index in enumerate(cell):
            seen = (reach.sum(dim=1 - axis) > 0).nonzero().flatten()
            assert 6 * index <= seen.min() <= 6 * index + 3 and 6 * index + 12 <= seen.max() <= 6 * index + 15
        one = torch.zeros(side, side)
        one[cell] = 1.0
        shown = pixel_map(one, size)
        assert shown.shape == (size, size) and shown.max() > 0.8
        centre = [(shown.sum(dim=1 - axis) * pixels).sum() / shown.sum() for axis in (0, 1)]
        for axis, index in enumerate(cell):
            if 0 < index < side - 1:
                assert centre[axis] == pytest.approx(6 * index + 7.5, abs=1e-3)


@given(st.integers(2, 9), st.integers(0, 100))
def test_a_pixel_map_keeps_constants_and_bounds(side, seed):
    torch.manual_seed(seed)
    cells = torch.rand(2, side, side, dtype=torch.float64)
    shown = pixel_map(cells, 6 * side + 10)
    assert shown.min() >= cells.min() - 1e-12 and shown.max() <= cells.max() + 1e-12
    torch.testing.assert_close(pixel_map(torch.full((2, side, side), 0.3), 64), torch.full((2, 64, 64), 0.3))


@settings(deadline=None)
@given(st.lists(st.integers(1, 9), min_size=1, max_size=4), st.integers(0, 100))
def test_coarse_weights_are_spread_over_their_own_area_and_none_is_lost(grids, seed):
    torch.manual_seed(seed)
    config = tiny_config(image_size=64)
    cells = EvidenceCells(config, 4, grids)
    weights = torch.rand(3, config.mid_shape[1] * sum(grid**2 for grid in grids), dtype=torch.float64)
    spread = cells.on_finest(weights)
    assert spread.shape == (3, *config.mid_shape[1:])
    torch.testing.assert_close(spread.flatten(1).sum(dim=1), weights.sum(dim=1))
    one = torch.zeros_like(weights[:1])
    one[0, -1] = 1  # the last cell of the last granularity, in the last step
    f_mid = torch.rand(1, *config.mid_shape, dtype=torch.float64, requires_grad=True)
    pooled = torch.nn.functional.adaptive_avg_pool3d(f_mid, (config.mid_shape[1], grids[-1], grids[-1]))
    (reach,) = torch.autograd.grad(pooled[0, 0, -1, -1, -1], f_mid)
    torch.testing.assert_close(cells.on_finest(one)[0], reach[0, 0], msg="a cell lies where it looked")


def test_pooling_at_every_granularity_is_the_mean_of_its_cells():
    config = tiny_config(image_size=64, projector="mge")
    assert config.grids == [9, 3, 1]
    cells = EvidenceCells(config, 8, config.grids)
    f_mid = torch.randn(2, *config.mid_shape)
    contents, places = cells(f_mid)
    assert contents.shape == (2, 2 * (81 + 9 + 1), 8) and places.shape == (182, 8)
    block = f_mid[:, :, 1, 3:6, 6:9].mean(dim=(2, 3))  # the sixth of the nine, in the second step
    torch.testing.assert_close(contents[:, 2 * 81 + 9 + 5], cells.content(block))
    torch.testing.assert_close(contents[:, -1], cells.content(f_mid[:, :, 1].mean(dim=(2, 3))))


@pytest.mark.parametrize("projector", ["efp", "high", "mid", "linear", "prompt", "mge"])
def test_where_the_gate_is_shut_no_reader_sees_anything(projector):
    model = tiny_model(projector=projector, evidence_gate=True, graph=projector != "prompt")
    body = model.model
    f_mid, other = (body.encode_frames(clips(2, seed=seed))[0] for seed in (0, 1))
    gate = torch.ones(2, *model.config.mid_shape[1:])
    gate[:, :, 1] = 0
    mixed = torch.where(gate[:, None] > 0, f_mid, other)
    with torch.no_grad():
        gated = [body.run_llm(one, gate).last_hidden_state for one in (f_mid, mixed)]
        plain = [body.run_llm(one).last_hidden_state for one in (f_mid, mixed)]
    torch.testing.assert_close(*gated)
    assert not torch.allclose(*plain, atol=1e-4)


def test_the_multi_granularity_projector_is_small():
    """At most a tenth of EFP's weights at the published size, and a fold's checkpoint below 60 MB in float32."""
    sizes = {}
    for projector, graph in (("efp", False), ("mge", True)):
        config = AULLMConfig(projector=projector, graph=graph, ccr_weight=float(graph))
        config.prompt_segments = [[1], *config.token_slots]
        with torch.device("meta"):
            model = AULLMForAUDetection(config)
        sizes[projector] = sum(p.numel() for p in model.model.projector.parameters())
        trained = sum(p.numel() for p in model.trained_parameters().values())
    assert sizes["mge"] <= sizes["efp"] / 10
    assert 4 * trained < 60e6
