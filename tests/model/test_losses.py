"""The asymmetric loss against its formula, and at the edges of the number line."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from aullm_hf.model.losses import asymmetric_loss

exponents = st.one_of(st.just(0.0), st.floats(1.0, 6.0))


def formula(z, y, gamma_pos, gamma_neg, margin):
    """Entry by entry in float64, as printed in the paper."""
    z, y = z.double(), y.double()
    p = torch.sigmoid(z)
    p_m = (p - margin).clamp(min=0)
    loss = y * (1 - p) ** gamma_pos * p.log() + (1 - y) * p_m**gamma_neg * (1 - p_m).log()
    return -loss.sum(dim=1).mean()


@settings(max_examples=60, deadline=None)
@given(g_pos=exponents, g_neg=exponents, margin=st.floats(0, 0.5), seed=st.integers(0, 9999))
def test_equals_the_formula(g_pos, g_neg, margin, seed):
    generator = torch.Generator().manual_seed(seed)
    z = torch.randn(7, 5, generator=generator) * 3
    y = torch.randint(0, 2, (7, 5), generator=generator)
    expected = formula(z, y, g_pos, g_neg, margin)
    torch.testing.assert_close(asymmetric_loss(z, y, g_pos, g_neg, margin).double(), expected, atol=1e-6, rtol=1e-6)


def test_without_exponents_and_margin_it_is_cross_entropy_summed_over_aus():
    z, y = torch.randn(6, 4), torch.randint(0, 2, (6, 4)).float()
    cross_entropy = torch.nn.functional.binary_cross_entropy_with_logits(z, y, reduction="none").sum(dim=1).mean()
    torch.testing.assert_close(asymmetric_loss(z, y, 0, 0, 0), cross_entropy)


@pytest.mark.parametrize("focus_gradient", [False, True])
@pytest.mark.parametrize("margin", [0.0, 0.05])
@pytest.mark.parametrize("g_pos", [0.0, 1.0, 2.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_finite_value_and_gradient_far_out(focus_gradient, margin, g_pos, dtype):
    extreme = torch.tensor([[1e4, -1e4, 0.0, 88.0, -88.0, 1e-30]])
    for y in (torch.zeros(1, 6), torch.ones(1, 6)):
        z = extreme.clone().to(dtype).requires_grad_()
        with torch.autocast("cpu", dtype=torch.bfloat16 if dtype == torch.bfloat16 else torch.float16):
            loss = asymmetric_loss(z, y, g_pos, 4.0, margin, focus_gradient)
        loss.backward()
        assert loss.dtype == torch.float32
        assert torch.isfinite(loss)
        assert torch.isfinite(z.grad).all()


def test_the_focusing_weight_carries_gradient_only_if_asked():
    z, y = torch.randn(5, 3, dtype=torch.float64), torch.zeros(5, 3)
    plain, focused = z.clone().requires_grad_(), z.clone().requires_grad_()
    asymmetric_loss(plain, y).backward()
    asymmetric_loss(focused, y, focus_gradient=True).backward()
    p_m = (z.sigmoid() - 0.05).clamp(min=0)
    by_hand = p_m**4 * torch.autograd.functional.jacobian(
        lambda v: -(1 - (v.sigmoid() - 0.05).clamp(min=0)).log().sum(), z
    )
    torch.testing.assert_close(plain.grad, by_hand / 5, atol=1e-6, rtol=1e-5)
    assert not torch.allclose(plain.grad, focused.grad)
    assert torch.autograd.gradcheck(
        lambda v: formula(v, y, 0, 4, 0.05), (z.clone().requires_grad_(),)
    )  # the formula's own gradient ..
    by_formula = z.clone().requires_grad_()
    formula(by_formula, y, 0, 4, 0.05).backward()
    torch.testing.assert_close(focused.grad, by_formula.grad, atol=1e-6, rtol=1e-4)  # .. is the focused one


def test_easy_negatives_below_the_margin_cost_nothing():
    assert asymmetric_loss(torch.full((2, 3), -4.0), torch.zeros(2, 3)) == 0
