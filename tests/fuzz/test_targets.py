"""Each fuzzer for a moment, by random mutations of its seeds, and everything that `make fuzz` has found before."""

import importlib
import random

import pytest

from fuzz import TARGETS

# A codec that nobody knows, and words about the file that are no text.
_BROKEN = [
    seed.replace(old, new)
    for seed in importlib.import_module("fuzz.videos").seeds()
    for old, new in ((b"V_VP8", b"V_XX8"), (b"Lav", b"\xff\xce\x86"), (b"MJPG", b"ZZZZ"))
    if old in seed
]
FOUND = {
    "configurations": (b"\xff", b"training: {learning_rate: .nan}", b"a: 2001-99-99", b"[" * 3000, b"a: !!int x"),
    "au_grammar": (b"(" * 50, "\u0664".encode(), b"\xed\xb3\xbb", b"9" * 5000),
    "processor": (bytes([9, 3, 3, 4, 4, 0, 0, 0]), bytes([0, 0, 0, 0, 0, 0, 0, 0]), bytes([11, 3, 3, 4, 4, 0, 4, 0])),
    "spreadsheets": (b"", b"\0PK\3\4", b"\1<a/>", b"\3\xff\xfe", b"\5PAR1"),
    "videos": (b"", b"\0\0", b"\2GIF89a", b"\4\xff\xd8\xff", *_BROKEN),
}
MUTANTS = {"au_grammar": 400, "configurations": 25, "spreadsheets": 60, "processor": 250, "videos": 40}


def mutant(seeds: list[bytes], rng: random.Random) -> bytes:
    """One seed with a few bytes changed, cut, doubled or taken from another."""
    data = bytearray(rng.choice(seeds))
    for _ in range(rng.choice((1, 1, 2, 4, 8))):
        at, length = rng.randrange(len(data) + 1), rng.randrange(1, 9)
        kind = rng.randrange(4)
        if kind == 0:
            data[at : at + length] = rng.randbytes(length)
        elif kind == 1:
            del data[at : at + length]
        elif kind == 2:
            data[at:at] = data[at : at + length] * rng.randrange(1, 4)
        else:
            other = rng.choice(seeds)
            start = rng.randrange(len(other) + 1)
            data[at:at] = other[start : start + length]
    return bytes(data)


@pytest.mark.filterwarnings("ignore")  # of the libraries, about what is fed to them
@pytest.mark.parametrize("name", TARGETS)
def test_a_moment_of_each(name):
    target = importlib.import_module(f"fuzz.{name}")
    seeds, rng = target.seeds(), random.Random(0)
    assert "answered" in {target.attempt(seed) for seed in seeds}
    for data in (*FOUND[name], *(mutant(seeds, rng) for _ in range(MUTANTS[name]))):
        try:
            target.attempt(data)
        except Exception as error:
            raise AssertionError(f"{name} with {data!r}") from error
