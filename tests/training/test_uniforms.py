"""The uniform numbers: splitmix64's own, uniform, independent of their neighbours, and the same in any company."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from aullm_hf.training.uniforms import uniforms

WORD = st.integers(-(2**63), 2**63 - 1)
MASK = 2**64 - 1


def by_hand(words, count):
    """The same on Python's integers, one number at a time."""

    def mix(z):
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
        return z ^ (z >> 31)

    state, gamma = 0, 0x9E3779B97F4A7C15
    for word in words:
        state = mix((state + word + gamma) & MASK)
    return [(mix((state + (k + 1) * gamma) & MASK) >> 40) / 2**24 for k in range(count)]


def test_without_words_it_is_splitmix64_from_zero():
    """The first outputs of the reference implementation."""
    known = [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F, 0xF88BB8A8724C81EC]
    assert uniforms(torch.empty(1, 0, dtype=torch.int64), 4)[0].tolist() == [(word >> 40) / 2**24 for word in known]


@given(st.lists(st.lists(WORD, min_size=3, max_size=3), min_size=1, max_size=5))
def test_a_row_is_what_its_words_say_in_any_batch(rows):
    together = uniforms(torch.tensor(rows), 6)
    assert together.dtype == torch.float32
    for row, numbers in zip(rows, together.tolist(), strict=True):
        assert numbers == by_hand(row, 6) == uniforms(torch.tensor([row]), 6)[0].tolist()


def _grid(**sizes):
    """Draws of (seed, fold, epoch, row, again) over small numbers, as a run counts them: (.., 6 draws)."""
    axes = [torch.arange(sizes.get(name, 1)) for name in ("seed", "fold", "epoch", "row", "again")]
    words = torch.cartesian_prod(*axes)
    return uniforms(words, 6).view(*(len(axis) for axis in axes), 6).numpy()


def test_they_are_uniform_along_every_word():
    drawn = _grid(seed=3, fold=3, epoch=40, row=255, again=2)
    assert stats.kstest(drawn.ravel(), "uniform").pvalue > 1e-3
    counts, _ = np.histogram(drawn, bins=256, range=(0, 1))
    assert stats.chisquare(counts).pvalue > 1e-3
    for which in range(6):
        assert stats.kstest(drawn[..., which].ravel(), "uniform").pvalue > 1e-3


@pytest.mark.parametrize("axis", range(6), ids=["seed", "fold", "epoch", "row", "again", "which draw"])
def test_neighbours_know_nothing_of_each_other(axis):
    """Pairs that differ by one in one word fill the unit square evenly, and so do a number and its neighbour's sum."""
    drawn = np.moveaxis(_grid(seed=4, fold=4, epoch=8, row=64, again=4), axis, 0)
    one, next_one = drawn[:-1].ravel(), drawn[1:].ravel()
    cells, _, _ = np.histogram2d(one, next_one, bins=16, range=[(0, 1), (0, 1)])
    assert stats.chisquare(cells.ravel()).pvalue > 1e-3
    assert stats.kstest((one + next_one) % 1, "uniform").pvalue > 1e-3
    assert abs(np.corrcoef(one, next_one)[0, 1]) < 4 / np.sqrt(len(one))


def test_no_two_draws_of_a_run_are_named_alike():
    """Words that trade places, or add up to the same, name other streams."""
    words = torch.tensor([[1, 2, 3], [2, 1, 3], [3, 2, 1], [1, 3, 2], [0, 3, 3], [2, 2, 2], [0, 0, 6], [1, 2, -3]])
    assert len({tuple(row) for row in uniforms(words, 2).tolist()}) == len(words)
