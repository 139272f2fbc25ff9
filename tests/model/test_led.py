"""The temporal filter against its definition."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from aullm_hf.model.led import TemporalFilter
from support.tiny import tiny_config

open_unit = st.floats(0.02, 0.98)


def make_filter(alpha=10.0, r1=0.4, r2=0.05, num_frames=6) -> TemporalFilter:
    led = TemporalFilter(tiny_config(num_frames=num_frames, led_alpha=alpha, led_r1=r1, led_r2=r2))
    led.reset_parameters()
    return led


def filter_by_loops(frames: torch.Tensor, alpha: float, r1: float, r2: float) -> torch.Tensor:
    """The formula, entry by entry, in float64."""
    length = frames.shape[1]
    frames = frames.double()
    out = [frames[:, 0]]
    for j in range(1, length):
        total, weight = torch.zeros_like(frames[:, 0]), torch.zeros_like(frames[:, 0])
        for i in range(length):
            if j > i:
                w = alpha * ((1 - r1) ** (j - i) * r1 ** min(1, i) - (1 - r2) ** (j - i) * r2 ** min(1, i))
            else:
                w = alpha * (r1 - r2) if i == j else 0.0
            total, weight = total + frames[:, i] * w, weight + frames[:, i].abs() * abs(w)
        out.append(total / (weight + 1e-8))
    return torch.stack(out, dim=1)


@settings(max_examples=40, deadline=None)
@given(alpha=st.floats(0.5, 50), r1=open_unit, r2=open_unit, num_frames=st.integers(4, 9), seed=st.integers(0, 999))
def test_equals_the_double_loop(alpha, r1, r2, num_frames, seed):
    if abs(r1 - r2) <= 0.01:
        return
    frames = torch.rand(2, num_frames, 1, 5, 4, generator=torch.Generator().manual_seed(seed))
    led = make_filter(alpha, r1, r2, num_frames)
    torch.testing.assert_close(led(frames).double(), filter_by_loops(frames, alpha, r1, r2), atol=1e-6, rtol=0)


@settings(max_examples=60, deadline=None)
@given(
    alpha=st.floats(0.1, 100),
    r1=open_unit,
    r2=open_unit,
    seed=st.integers(0, 999),
    scale=st.sampled_from([1.0, 255.0]),
)
def test_a_still_clip_gives_nothing_also_under_bfloat16_autocast(alpha, r1, r2, seed, scale):
    if abs(r1 - r2) <= 0.01:
        return
    still = torch.rand(2, 1, 1, 8, 8, generator=torch.Generator().manual_seed(seed)).expand(-1, 6, -1, -1, -1) * scale
    led = make_filter(alpha, r1, r2)
    assert led(still)[:, 1:].abs().max() < 1e-6
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = led(still)
    assert out.dtype == torch.float32
    assert out[:, 1:].abs().max() < 1e-6


def test_columns_but_the_first_sum_to_zero_and_the_matrix_is_upper_triangular():
    weights = make_filter().weights()
    assert weights.dtype == torch.float64
    assert weights.sum(dim=0)[1:].abs().max() < 1e-12
    torch.testing.assert_close(weights.diagonal(), torch.full((6,), 3.5, dtype=torch.float64), atol=1e-5, rtol=0)
    assert weights.tril(-1).abs().max() == 0


def test_alpha_and_a_change_of_brightness_cancel():
    frames = torch.rand(2, 6, 1, 8, 8) + 0.1
    led = make_filter()
    torch.testing.assert_close(led(frames)[:, 1:], make_filter(alpha=3.0)(frames)[:, 1:], atol=1e-6, rtol=0)
    torch.testing.assert_close(led(frames * 255)[:, 1:], led(frames)[:, 1:], atol=1e-6, rtol=0)


def test_the_first_frame_is_the_inputs_own():
    frames = torch.rand(2, 6, 1, 8, 8)
    assert torch.equal(make_filter()(frames)[:, 0], frames[:, 0])


def test_gradient_reaches_r1_and_r2():
    led = make_filter()
    (led(torch.rand(3, 6, 1, 8, 8))[:, 1:] ** 2).sum().backward()
    assert led.logit_r1.grad.abs() > 1e-4
    assert led.logit_r2.grad.abs() > 1e-4


def test_half_precision_weights_do_not_lower_the_filter():
    led = make_filter().to(torch.bfloat16)
    still = torch.rand(2, 1, 1, 8, 8).expand(-1, 6, -1, -1, -1)
    assert led(still)[:, 1:].abs().max() < 1e-6
