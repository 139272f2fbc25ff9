"""Optical flow: against known motion, beside OpenCV's, and blind to what is not the face's own motion."""

import numpy as np
import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn import functional

from aullm_hf.model.flow import (
    OpticalFlow,
    _kept,
    face_motion,
    flows_of,
    head_motion,
    smooth,
    solve_by_cofactors,
    strain,
    warp,
)
from support.tiny import tiny_config

SIZE = 64


def textured(count: int = 4, seed: int = 0) -> torch.Tensor:
    """Pictures (count, 1, SIZE, SIZE) in 0..1 with structures of several sizes, as skin has."""
    noise = torch.randn(count, 1, SIZE, SIZE, generator=torch.Generator().manual_seed(seed))
    picture = sum(smooth(noise, sigma) * sigma for sigma in (1.0, 2.0, 4.0))
    return (0.5 + 0.15 * picture / picture.std()).clamp(0, 1)


def displacements(length: float, seed: int = 1) -> torch.Tensor:
    """Smooth fields (4, 2, SIZE, SIZE) whose longest displacement is `length` pixels."""
    field = smooth(torch.randn(4, 2, SIZE, SIZE, generator=torch.Generator().manual_seed(seed)), 7.0)
    return length * field / field.square().sum(dim=1, keepdim=True).sqrt().amax(dim=(2, 3), keepdim=True)


def moved(field: torch.Tensor, noise: float = 0.0) -> tuple[torch.Tensor, torch.Tensor]:
    """A first and a second picture: what is at p in the first is at p + field in the second."""
    second = textured()
    y, x = torch.meshgrid(torch.arange(SIZE), torch.arange(SIZE), indexing="ij")
    where = torch.stack([x + field[:, 0], y + field[:, 1]], dim=-1) / (SIZE - 1) * 2 - 1
    first = functional.grid_sample(second, where, mode="bicubic", padding_mode="border", align_corners=True)
    grain = noise * torch.randn(2, *first.shape, generator=torch.Generator().manual_seed(2))
    return first + grain[0], second + grain[1]


def between(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """The flow from one picture to the other."""
    return next(flows_of(torch.stack([first, second], dim=1)))


def error(flow: torch.Tensor, field: torch.Tensor) -> float:
    """Mean end-point error in pixels."""
    return float((flow - field).square().sum(dim=1).sqrt().mean())


@pytest.mark.parametrize(("length", "most"), [(0.3, 0.06), (1.0, 0.10), (3.0, 0.30)])
def test_known_motion_is_found(length, most):
    field = displacements(length)
    flow = between(*moved(field, noise=0.004))
    assert error(flow, field) < most


@pytest.mark.parametrize("length", [0.3, 1.0, 3.0, 6.0])
def test_at_least_as_exact_as_opencv(length):
    cv2 = pytest.importorskip("cv2")
    field = displacements(length)
    first, second = moved(field, noise=0.01)
    flow = between(first, second)
    dis = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    others = {"Farneback": [], "DIS": []}
    for pair in zip(first[:, 0], second[:, 0], strict=True):
        one, other = (np.pad((frame.clamp(0, 1) * 255).byte().numpy(), 16, mode="edge") for frame in pair)
        farneback = cv2.calcOpticalFlowFarneback(one, other, None, 0.5, 3, 15, 3, 5, 1.2, 0)
        for name, found in (("Farneback", farneback), ("DIS", dis.calc(one, other, None))):
            others[name].append(torch.from_numpy(found[16:-16, 16:-16]).permute(2, 0, 1))
    for name, flows in others.items():
        assert error(flow, field) < error(torch.stack(flows), field), name


def test_the_heads_own_motion_is_taken_out_and_the_faces_is_left():
    """A shift, a turn and a zoom of the whole picture, and a bump of one pixel at one place."""
    y, x = torch.meshgrid(torch.linspace(-1, 1, SIZE), torch.linspace(-1, 1, SIZE), indexing="ij")
    head = torch.stack([1.5 + 0.8 * x - 0.5 * y, -1.0 + 0.5 * x + 0.8 * y]).expand(4, -1, -1, -1)
    bump = torch.exp(-((x - 0.4) ** 2 + (y - 0.5) ** 2) / 0.1)
    face = torch.stack([torch.zeros_like(bump), -bump]).expand(4, -1, -1, -1)
    flow = between(*moved(head + face))
    left = flow - head_motion(flow)
    away = bump < 0.01
    assert float(left[:, :, away].square().sum(dim=1).sqrt().mean()) < 0.12
    peak = left[:, 1, bump > 0.9].mean()
    assert -1.1 < float(peak) < -0.75


def test_a_still_clip_does_not_move_and_light_is_not_motion():
    frames = textured()[:, None].expand(-1, 6, -1, -1, -1)
    assert float(face_motion(frames).abs().max()) < 1e-4
    lit = frames * torch.linspace(1, 1.2, 6)[:, None, None, None]
    assert float(face_motion(lit).abs().max()) < 0.02


def test_equal_frames_say_nothing_of_who_is_in_them():
    """Not even by rounding, which a network could learn to amplify: a control without motion would not be one."""
    pictures = torch.rand(3, 1, 1, 40, 40, generator=torch.Generator().manual_seed(0)).expand(-1, 4, -1, -1, -1)
    motion = face_motion(pictures)  # (3, 3, 3, 40, 40)
    assert motion[:, :, :2].abs().max() == 0
    assert torch.equal(motion[0], motion[1]) and torch.equal(motion[0], motion[2])


def test_the_range_of_the_pixels_does_not_matter():
    field = displacements(1.0)
    frames = torch.stack(moved(field), dim=1)
    assert torch.allclose(face_motion(frames), face_motion(frames * 255), atol=1e-3)


def test_strain_is_that_of_a_known_field():
    """u = 0.1 x, v = 0.04 x in pixels: stretched by 0.1, sheared by 0.04."""
    x = torch.arange(SIZE).float().expand(SIZE, -1)
    flow = torch.stack([0.1 * x, 0.04 * x])[None]
    expected = (0.1**2 + 0.04**2 / 2) ** 0.5
    assert torch.allclose(strain(flow)[0, 0, 5:-5, 5:-5], torch.tensor(expected), atol=1e-5)


def test_a_batch_is_its_clips_and_the_scales_learn():
    flow = OpticalFlow(tiny_config(motion="flow"))
    flow.reset_parameters()
    frames = torch.stack(moved(displacements(1.0)), dim=1)
    whole = flow(frames)
    assert whole.shape == (4, 3, 1, SIZE, SIZE) and whole.dtype == torch.float32
    assert torch.allclose(whole[1:2], flow(frames[1:2]), atol=1e-4)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(flow(frames), whole)
    whole.square().mean().backward()
    assert (flow.log_scale.grad != 0).all()
    half, six = ((torch.tensor(pixels) / flow.log_scale.detach().exp()[0]).asinh() for pixels in (0.5, 6.0))
    assert 1 < float(half) < float(six) < 4  # both tell


def test_cofactors_solve_what_the_solver_solves():
    """The formula that takes the solver's place where the network is exported."""
    generator = torch.Generator().manual_seed(0)
    rows = torch.randn(20, 100, 3, generator=generator)
    normal, right = rows.transpose(1, 2) @ rows, torch.randn(20, 3, 2, generator=generator)
    torch.testing.assert_close(solve_by_cofactors(normal, right), torch.linalg.solve(normal, right))


def test_what_is_kept_between_calls_is_never_of_a_trace():
    """A constant made for fake tensors, or in inference mode, would break whoever comes next."""
    frames = torch.stack(moved(displacements(1.0)), dim=1)
    _kept.cache_clear()
    with FakeTensorMode() as mode:
        face_motion(mode.from_tensor(frames))
    with torch.inference_mode():
        first = face_motion(frames).clone()
    maps = torch.rand(1, 1, SIZE, SIZE, requires_grad=True)
    warp(smooth(maps, 1.5), torch.zeros(1, 2, SIZE, SIZE)).sum().backward()
    assert maps.grad.isfinite().all() and maps.grad.any()
    assert torch.equal(face_motion(frames), first)
    before = _kept.cache_info()
    face_motion(frames)
    assert _kept.cache_info().misses == before.misses and _kept.cache_info().hits > before.hits
