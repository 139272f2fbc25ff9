"""Maps over F_mid's cells that line up with the pixels, and MGE, which starts as the identity."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from aullm_hf.model import AULLMConfig, AULLMForAUDetection
from aullm_hf.model.backbone import MotionBackbone
from aullm_hf.model.evidence import MultiGranularityEvidence, laplacian, pixel_map
from support.tiny import PROJECTORS, clips, labels, tiny_config, tiny_model


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
            backbone.pool2(backbone(x)[0])[..., cell[0], cell[1]].sum().backward()
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


@settings(deadline=None)
@given(st.integers(2, 9), st.integers(0, 100))
def test_a_pixel_map_keeps_constants_and_bounds(side, seed):
    torch.manual_seed(seed)
    cells = torch.rand(2, side, side, dtype=torch.float64)
    shown = pixel_map(cells, 6 * side + 10)
    assert shown.min() >= cells.min() - 1e-12 and shown.max() <= cells.max() + 1e-12
    torch.testing.assert_close(pixel_map(torch.full((2, side, side), 0.3), 64), torch.full((2, 64, 64), 0.3))


def _block(seed: int = 0) -> MultiGranularityEvidence:
    torch.manual_seed(seed)
    block = MultiGranularityEvidence(tiny_config(backbone_channels=[4, 3], se_reduction=1)).double()
    for parameter in block.parameters():
        torch.nn.init.normal_(parameter, std=0.7)
    return block.eval()


def _around(x: np.ndarray, reach: int, edge: str) -> np.ndarray:
    """(C, H, W) -> (C, H, W, 2 reach + 1, 2 reach + 1), what lies around each value."""
    padded = np.pad(x, ((0, 0), (reach, reach), (reach, reach)), mode=edge)
    return np.lib.stride_tricks.sliding_window_view(padded, (2 * reach + 1,) * 2, axis=(1, 2))


def test_the_block_is_what_its_formula_says():
    """Frame by frame in NumPy: branches, norm, mix, gate, residual, and each branch's share."""
    block, x = _block(), torch.randn(2, 3, 4, 6, 5, dtype=torch.float64)
    fused, weights, shares = block(x)
    value = {name: parameter.detach().numpy() for name, parameter in block.named_parameters()}
    cross = np.array([[0, 1, 0], [1, -4, 1], [0, 1, 0]])
    for b in range(2):
        maps = np.zeros((4, 3, 4, 6, 5))
        for step in range(4):
            frame = x[b, :, step].numpy()
            looks = [
                np.einsum("chwij,cij->chw", _around(frame, 1, "constant"), value["meso3.weight"][:, 0]),
                np.einsum("chwij,cij->chw", _around(frame, 2, "constant"), value["meso5.weight"][:, 0]),
                np.broadcast_to(frame.mean(axis=(1, 2), keepdims=True), frame.shape),
                np.einsum("chwij,ij->chw", _around(frame, 1, "edge"), cross) * value["gain"][:, None, None],
            ]
            for k, look in enumerate(looks):
                normed = (look - look.mean()) / np.sqrt(look.var() + 1e-5)
                scale, shift = value[f"harmonise.{k}.0.weight"], value[f"harmonise.{k}.0.bias"]
                normed = normed * scale[:, None, None] + shift[:, None, None]
                mixed = np.einsum("oc,chw->ohw", value[f"harmonise.{k}.1.weight"][..., 0, 0], normed)
                maps[k, :, step] = mixed + value[f"harmonise.{k}.1.bias"][:, None, None]
        scores = value["gate.weight"] @ np.abs(maps).mean(axis=(2, 3, 4)).ravel() + value["gate.bias"]
        gate = np.exp(scores - scores.max()) / np.exp(scores - scores.max()).sum()
        parts = maps * gate[:, None, None, None, None] * value["scale"][:, None, None, None]
        own = x[b].numpy()
        np.testing.assert_allclose(weights[b].detach(), gate, atol=1e-10)
        np.testing.assert_allclose(fused[b].detach(), own + parts.sum(axis=0), atol=1e-10)
        sizes = np.sqrt((np.concatenate([own[None], parts]) ** 2).sum(axis=1))  # (5, T, H, W)
        share = (sizes / sizes.sum(axis=0))[1:, :, :, :4].reshape(4, 2, 2, 3, 2, 2, 2).mean(axis=(2, 4, 6))
        np.testing.assert_allclose(shares[b], share, atol=1e-10)
    assert torch.autograd.gradcheck(lambda one: block(one)[0], x[:1].clone().requires_grad_())


@settings(deadline=None)
@given(st.integers(0, 100))
def test_the_laplacian_is_zero_where_the_map_is_flat_and_at_slopes_inside_it(seed):
    torch.manual_seed(seed)
    slope, height = torch.rand(2, dtype=torch.float64), torch.rand(1, dtype=torch.float64)
    plane = (
        height
        + slope[0] * torch.arange(5, dtype=torch.float64)[:, None]
        + slope[1] * torch.arange(7, dtype=torch.float64)
    )
    torch.testing.assert_close(laplacian(plane[None, None])[..., 1:-1, 1:-1], torch.zeros(1, 1, 3, 5).double())
    assert laplacian(torch.full((1, 1, 4, 4), 0.3)).abs().max() < 1e-6


@pytest.mark.parametrize("projector", PROJECTORS)
def test_a_fresh_block_changes_no_bit(projector):
    """Also not the start of the modules elsewhere, nor what they draw in training."""
    plain, fused = (tiny_model(randomized=False, seed=7, projector=projector, mge=mge) for mge in (False, True))
    x, y = clips(), labels()
    assert torch.equal(plain(x).logits, fused(x).logits)
    assert {name for name in fused.state_dict() if "mge" not in name} == set(plain.state_dict())
    for model in (plain, fused):
        model.config.projector_dropout = 0.3
        torch.manual_seed(0)
        model.train()(x, labels=y).loss.backward()
    theirs = dict(fused.named_parameters())
    assert all(torch.equal(one.grad, theirs[name].grad) for name, one in plain.trained_parameters().items()
               if one.grad is not None)  # fmt: skip


def test_what_the_block_has_learned_reaches_the_logits_and_the_evidence():
    model = tiny_model(mge=True)
    x = clips()
    before = model(x, output_evidence=True)
    assert before.evidence.branch_shares.abs().max() == 0, "a fresh block adds nothing"
    torch.nn.init.ones_(model.model.mge.scale)
    after = model(x, output_evidence=True)
    assert not torch.allclose(before.logits, after.logits, atol=1e-4)
    assert 0 < after.evidence.branch_shares.min() and after.evidence.branch_shares.sum(dim=1).max() < 1


def test_the_published_size_and_what_the_modules_add():
    """MGE and the graph together stay below a fiftieth of EFP."""
    config = AULLMConfig(mge=True, graph=True, ccr_weight=0.1)
    config.prompt_segments = [[1], *config.token_slots]
    with torch.device("meta"):
        body = AULLMForAUDetection(config).model
    sizes = {name: sum(p.numel() for p in getattr(body, name).parameters()) for name in ("mge", "graph", "projector")}
    assert sizes["mge"] + sizes["graph"] < sizes["projector"] / 50
