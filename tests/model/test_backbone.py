"""The 3D-CNN against the order of layers the paper gives."""

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from aullm_hf.model.backbone import HighLevelHead, MotionBackbone, SqueezeExcitation
from aullm_hf.training.cpu import is_emulated
from support.tiny import tiny_config


def in_the_papers_order(net: MotionBackbone, motion: torch.Tensor) -> torch.Tensor:
    low = net.norm1(torch.nn.functional.max_pool3d(torch.relu(net.conv1(motion)), (1, 3, 3), (1, 3, 3)))
    mid = net.norm2(torch.relu(net.conv2(low)))
    scale = torch.stack(
        [
            torch.sigmoid(net.attention.excite(torch.relu(net.attention.squeeze(mid[:, :, t].mean(dim=(2, 3))))))
            for t in range(mid.shape[2])
        ],
        dim=2,
    )  # (B, C, T): a vector for each time step
    return torch.nn.functional.max_pool3d(mid * scale[..., None, None], 2)


def test_output_and_gradient_are_those_of_the_papers_order():
    """Against the layers as they are written, one after the other, in float64."""
    torch.manual_seed(0)
    config = tiny_config(image_size=64, backbone_channels=[32, 64], se_reduction=16)
    net = MotionBackbone(config).train()
    exact = copy.deepcopy(net).double()
    motion = torch.randn(3, 1, 5, 64, 64)
    expected = in_the_papers_order(exact, motion.double())
    assert expected.shape == (3, 64, 2, 9, 9)
    torch.testing.assert_close(_folded(exact, motion.double()), expected, atol=1e-10, rtol=1e-10)
    weight = torch.randn_like(expected)
    wanted = torch.autograd.grad((expected * weight).sum(), list(exact.parameters()))
    found, attention = net(motion)
    found = net.pool2(found)
    torch.testing.assert_close(found.double(), expected, atol=5e-5, rtol=5e-5)
    assert attention.shape == (3, 4, 64)
    for a, b in zip(torch.autograd.grad((found * weight.float()).sum(), list(net.parameters())), wanted, strict=True):
        torch.testing.assert_close(a.double(), b, atol=1e-3, rtol=1e-3)


SIZES = st.fixed_dictionaries(
    {
        "batch": st.integers(1, 4),
        "frames": st.integers(3, 8),
        "height": st.integers(16, 40),
        "width": st.integers(16, 40),
        "channels": st.tuples(st.integers(1, 9), st.integers(1, 9)),
    }
)


def _net_and_motion(batch, frames, height, width, channels):
    config = tiny_config(num_frames=frames + 1, backbone_channels=list(channels), se_reduction=1)
    torch.manual_seed(batch + frames + height + width)
    return MotionBackbone(config).train(), torch.randn(batch, 1, frames, height, width)


def _folded(net, motion):
    return net.pool2(net(motion)[0])


def _pass(forward, net, motion):
    """Output, gradients of the input and of every parameter, and batch norm's statistics."""
    motion = motion.clone().requires_grad_()
    out = forward(net, motion)
    weight = torch.linspace(-1, 1, out.numel()).view(out.shape)
    (out * weight).sum().backward()
    gradients = {name: parameter.grad for name, parameter in net.named_parameters()}
    return {"out": out.detach(), "motion": motion.grad, **gradients, **dict(net.named_buffers())}


@settings(max_examples=25, deadline=None)
@given(SIZES)
def test_time_in_the_batch_is_the_convolution_in_three_dimensions(sizes):
    """In float64, where nothing but another sum could differ: output, every gradient, the statistics."""
    net, motion = _net_and_motion(**sizes)
    expected = _pass(in_the_papers_order, copy.deepcopy(net).double(), motion.double())
    found = _pass(_folded, net.double(), motion.double())
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, atol=1e-8, rtol=1e-8, msg=name)


@settings(max_examples=10, deadline=None)
@given(SIZES)
def test_in_float32_they_differ_by_rounding(sizes):
    net, motion = _net_and_motion(**sizes)
    expected = _pass(in_the_papers_order, copy.deepcopy(net), motion)
    found = _pass(_folded, net, motion)
    # A bias's gradient is what is left of a large sum: its rounding is that of the layer's largest gradients.
    largest = max(gradient.abs().max().item() for name, gradient in expected.items() if name not in ("out", "motion"))
    for name, value in expected.items():
        scale = 1 if name in ("out", "motion") or "running" in name else max(1, largest)
        torch.testing.assert_close(found[name], value, atol=1e-5 * scale, rtol=1e-5, msg=name)


@pytest.mark.parametrize("frames", [3, 5])
def test_in_bfloat16_it_is_as_close_as_three_dimensions_are(frames):
    """Both round; neither is further from float32 than eight bits of each sum explain.

    Where bfloat16 is emulated, the gradient of the folded bias, what is left of a large sum, is held to the size of
    its layer's gradients.
    """
    net, motion = _net_and_motion(4, frames, 64, 64, (8, 8))
    exact = _pass(in_the_papers_order, copy.deepcopy(net), motion)
    errors = {}
    for name, forward in {"3d": in_the_papers_order, "folded": _folded}.items():
        with torch.autocast("cpu", torch.bfloat16):
            rounded = _pass(forward, copy.deepcopy(net), motion)
        sizes = {key: value.norm() for key, value in exact.items() if value.is_floating_point()}
        if is_emulated(torch.bfloat16):
            sizes["conv1.bias"] = sizes["conv1.weight"]
        errors[name] = {key: ((rounded[key] - exact[key]).norm() / size).item()
                        for key, size in sizes.items() if size > 1e-3}  # fmt: skip
    assert errors["folded"]["out"] < 0.02
    for key, error in errors["folded"].items():
        assert error < max(2 * errors["3d"][key], 0.02), key


def test_dropout_takes_whole_channels_for_all_frames():
    net = MotionBackbone(tiny_config(vision_dropout=0.5, backbone_channels=[16, 8])).train()
    seen = []
    net.conv2.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    net(torch.randn(2, 1, 5, 32, 32))
    gone = seen[0].eq(0).all(dim=(3, 4))  # (B, C, T)
    assert torch.equal(gone.any(dim=2), gone.all(dim=2)) and 0 < gone.float().mean() < 1


def test_attention_of_one_step_ignores_the_others():
    layer = SqueezeExcitation(8, 4)
    maps = torch.randn(2, 8, 4, 5, 5)
    _, attention = layer(maps)
    changed = maps.clone()
    changed[:, :, 1] += 1
    _, other = layer(changed)
    assert torch.equal(attention[:, [0, 2, 3]], other[:, [0, 2, 3]]) and not torch.equal(attention[:, 1], other[:, 1])


def test_high_level_features_have_the_configured_size():
    config = tiny_config()
    assert HighLevelHead(config)(torch.randn(2, *config.mid_shape)).shape == (2, 16)
