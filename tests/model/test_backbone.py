"""The 3D-CNN against the order of layers the paper gives."""

import torch

from aullm_hf.model.backbone import HighLevelHead, MotionBackbone, SqueezeExcitation
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
    config = tiny_config(image_size=64, backbone_channels=[32, 64], se_reduction=16)
    net = MotionBackbone(config).train()
    motion = torch.randn(3, 1, 5, 64, 64)
    expected = in_the_papers_order(net, motion)
    assert expected.shape == (3, 64, 2, 9, 9)
    weight = torch.randn_like(expected)
    wanted = torch.autograd.grad((expected * weight).sum(), list(net.parameters()))
    found, attention = net(motion)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
    assert attention.shape == (3, 4, 64)
    for a, b in zip(torch.autograd.grad((found * weight).sum(), list(net.parameters())), wanted, strict=True):
        torch.testing.assert_close(a, b, atol=1e-3, rtol=1e-3)


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
