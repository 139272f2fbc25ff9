"""What people pass by mistake, and what nobody would: the values that every public argument is tried with."""

import decimal
import pathlib

import numpy as np
import pandas as pd
import torch
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

PLAIN = (
    None, True, False, 0, 1, -1, 2, 2**70, 1.5, -0.5, 0.5, float("nan"), float("inf"), -float("inf"), 1e308,
    "", " ", "x", "AU4", "AU 4", "au4", "4", "4.0", "nan", "True", "../../x", "/no-such-folder", "\x00", "a\udcffb",
    "é" * 3000, b"x", b"", (1 + 2j), decimal.Decimal("1.5"), pathlib.Path("no-such-folder/x"), object(), object, len,
    range(3), ..., pd.NA, pd.NaT,
)  # fmt: skip
NESTED = (
    [], {}, (), set(), [None], ["x"], [[1]], [1, 2], [1.5], [True], [1, 1], [99], [-1], [10**30], [float("nan")],
    ["AU1", "AU1"], ["AU 4"], [4.0, "4"], {"a": 1}, {1: 2}, {1, 2}, [{}], [[]], (1, (2, (3,))), [b"x"], {"x": [1]},
)  # fmt: skip
ARRAYS = (
    np.array([]), np.array(5), np.array([1, 2]), np.array([np.nan]), np.array(["a"]), np.array([None]),
    np.zeros((2, 3)), np.zeros((0, 3)), np.zeros((2, 3), complex), np.zeros((2, 3), bool), np.float64(0.5),
    np.int64(3), np.bool_(True), np.datetime64("2020-01-01"), np.zeros(2, [("a", "u1")]),
)  # fmt: skip
TENSORS = (
    torch.tensor([]), torch.zeros(2, 3), torch.tensor(1), torch.tensor([1j]), torch.zeros(2, 3).to_sparse(),
    torch.zeros(2, 3, device="meta"), torch.full((2, 3), float("nan")), torch.zeros(2, 3, dtype=torch.int64),
    torch.zeros(2, 3).to(torch.float8_e4m3fn),
)  # fmt: skip
FRAMES = (pd.DataFrame(), pd.DataFrame({"a": [1]}), pd.Series([1]), pd.Series(["x"]), pd.Index([1]))
WRONG = (*PLAIN, *NESTED, *ARRAYS, *TENSORS, *FRAMES)

TRIED = settings(max_examples=40, database=None, suppress_health_check=list(HealthCheck))
_LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.binary(max_size=4)
MADE_UP = st.recursive(
    _LEAVES,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4) | st.integers(), inner, max_size=3)
    ),
    max_leaves=8,
)


def wrong_values(*more: object) -> st.SearchStrategy:
    """Any of the above, or something that hypothesis makes up; `more` are near misses of the argument at hand."""
    return st.sampled_from((*more, *WRONG)) | MADE_UP
