"""Uniform numbers without a generator: each is a function of what it is drawn for, whatever was drawn before.

splitmix64 (Steele, Lea and Flood, "Fast Splittable Pseudorandom Number Generators", 2014) by counters: the integers
that name a draw are mixed in one after another, and the result is the start of a stream of its own. Integer arithmetic
on tensors, so a whole batch is drawn at once, with the same bits on any device.
"""

import torch


def _signed(word: int) -> int:
    """The 64 bits as torch's int64, which wraps around like the unsigned arithmetic that is meant."""
    return word - (1 << 64) if word >> 63 else word


GAMMA = _signed(0x9E3779B97F4A7C15)
FIRST, SECOND = _signed(0xBF58476D1CE4E5B9), _signed(0x94D049BB133111EB)


def uniforms(names: torch.Tensor, count: int) -> torch.Tensor:
    """(B, integers) int64 -> (B, count) float32 in [0, 1): row i is the stream that the integers of row i name."""
    state = torch.zeros_like(names[:, 0]) if names.shape[1] else names.new_zeros(len(names))
    for integer in names.unbind(dim=1):
        state = _mix(state + integer + GAMMA)
    place = torch.arange(1, count + 1, device=names.device)
    bits = _shift_right(_mix(state[:, None] + place * GAMMA), 40)  # (B, count): 24 bits, which float32 holds exactly
    return bits.float() * 2.0**-24


def _mix(z: torch.Tensor) -> torch.Tensor:
    z = (z ^ _shift_right(z, 30)) * FIRST
    z = (z ^ _shift_right(z, 27)) * SECOND
    return z ^ _shift_right(z, 31)


def _shift_right(z: torch.Tensor, places: int) -> torch.Tensor:
    """As unsigned integers: int64's own shift fills up with the sign."""
    return (z >> places) & ((1 << (64 - places)) - 1)
