"""Uniform numbers without a generator: each is a function of what it is drawn for, whoever asks, in whatever order.

splitmix64 (Steele, Lea and Flood, "Fast Splittable Pseudorandom Number Generators", 2014) by counters: the words that
name a draw are mixed in one after another, and what is left is the start of a stream of its own. Plain integer
arithmetic on tensors, so that a batch is drawn at once, on any device, to the bit.
"""

import torch


def _signed(word: int) -> int:
    """The 64 bits as torch's int64 has them, which wraps around like the unsigned arithmetic that is meant."""
    return word - (1 << 64) if word >> 63 else word


GAMMA = _signed(0x9E3779B97F4A7C15)
FIRST, SECOND = _signed(0xBF58476D1CE4E5B9), _signed(0x94D049BB133111EB)


def uniforms(words: torch.Tensor, count: int) -> torch.Tensor:
    """(B, words) int64 -> (B, count) float32 in [0, 1): row i is the stream that the words of row i name."""
    state = torch.zeros_like(words[:, 0]) if words.shape[1] else words.new_zeros(len(words))
    for word in words.unbind(dim=1):
        state = _mix(state + word + GAMMA)
    place = torch.arange(1, count + 1, device=words.device)
    bits = _shifted(_mix(state[:, None] + place * GAMMA), 40)  # (B, count): the upper 24, what float32 holds exactly
    return bits.float() * 2.0**-24


def _mix(z: torch.Tensor) -> torch.Tensor:
    z = (z ^ _shifted(z, 30)) * FIRST
    z = (z ^ _shifted(z, 27)) * SECOND
    return z ^ _shifted(z, 31)


def _shifted(z: torch.Tensor, places: int) -> torch.Tensor:
    """To the right as unsigned: int64's own shift fills up with the sign."""
    return (z >> places) & ((1 << (64 - places)) - 1)
