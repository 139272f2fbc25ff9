import math

import numpy as np
import pytest

from aullm_hf.data.annotations import au_numbers, parse_aus
from aullm_hf.data.errors import AnnotationError


def numbers(cell, **policies):
    return au_numbers(parse_aus(cell).resolve(**{"either": "first", **policies}))


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        ("L1+L2", [1, 2]),
        ("4+9+L10+14", [4, 9, 10, 14]),
        ("R4+R10", [4, 10]),
        (14, [14]),
        (4.0, [4]),
        (np.int64(7), [7]),
        (np.float64(12.0), [12]),
        ("4.0", [4]),
        ("A1B+A2C", [1, 2]),
        ("L12A", [12]),
        ("43E", [43]),
        ("7D", [7]),
        ("T18", [18]),
        ("B23", [23]),
        ("10A/B", [10]),
        ("A/L12", [12]),
        ("ref(7B)+43", [7, 43]),
        ("7B+ ref(43)", [7, 43]),
        ("ref(L10)+A12B", [10, 12]),
        ("R14+17+soft focus", [14, 17]),
        ("L12 + 61", [12, 61]),
        ("7B+56", [7, 56]),
        ("12+15 ", [12, 15]),
        ("AU4(k)+L7", [4, 7]),
        ("AUR2+12(k)+45", [2, 12, 45]),
        ("4，7", [4, 7]),
        ("4,7,12", [4, 7, 12]),
        ("４＋７", [4, 7]),
        ("4?+7", [4, 7]),
        ("L1+R1", [1]),
        ("0", []),
        ("none", []),
        ("?", []),
        ([4, "R12"], [4, 12]),
        (np.array([1, 2]), [1, 2]),
        ("[4, 12]", [4, 12]),
        ("['AU4', 'L12']", [4, 12]),
        ("[]", []),
    ],
)
def test_the_notation_of_every_table_is_read(cell, expected):
    assert numbers(cell) == expected


def test_a_token_keeps_all_that_the_coder_wrote():
    (unit, other) = parse_aus("ref(A/L12A/B) + AUR2(k)?").parts
    assert (unit.number, unit.side, unit.intensity, unit.ref) == (12, "A/L", "A/B", True)
    assert (other.number, other.side, other.static, other.uncertain) == (2, "R", True, True)


@pytest.mark.parametrize(
    ("cell", "first", "drop"),
    [
        ("R12 or R14", [12], []),
        ("(R6 or R12)+R15", [6, 15], [15]),
        ("R14A or 17A or 24A", [14], []),
        ("12/14+4", [4, 12], [4]),
        ("(1+2) or 4", [1, 2], []),
    ],
)
def test_alternatives_follow_the_policy(cell, first, drop):
    assert numbers(cell, either="first") == first
    assert numbers(cell, either="drop") == drop
    with pytest.raises(AnnotationError, match=r"no published reading.*either='first'.*either='drop'"):
        numbers(cell, either="literature")
    assert numbers(cell, either="literature", reading="R14") == [14]


def test_ref_and_static_follow_the_policy():
    assert numbers("ref(7B)+43", ref="drop") == [43]
    assert numbers("AUR2+12(k)+45", static="drop") == [2, 45]
    with pytest.raises(ValueError, match="ref='maybe' is not allowed; choose one of 'keep', 'drop'"):
        numbers("4", ref="maybe")


@pytest.mark.parametrize(
    ("cell", "named"),
    [
        ("R12R14", "R12R14"),
        ("1214", "1214"),
        ("AU99", "99"),
        ("4++7", "missing beside a separator"),
        ("4+", "missing beside a separator"),
        ("hello", "HELLO"),
        ("4 7", "'7'"),
        ("12F", "12F"),
        ("=1+2", "=1"),
        ("#REF!", "#REF!"),
        ("(4", "closing parenthesis"),
        ("4)", r"\)"),
        ("((((((((((4))))))))))", "more than 8 deep"),
        (4.5, "4.5"),
        (True, "True"),
        (-4, "-4"),
        (None, "empty"),
        ("  ", "empty"),
        (math.nan, "empty"),
        (float("inf"), "inf"),
    ],
)
def test_what_is_not_in_the_grammar_is_an_error_that_names_it(cell, named):
    with pytest.raises(AnnotationError, match=named):
        numbers(cell)


def test_a_date_is_recognised_as_the_spreadsheet_programs_doing():
    import datetime

    with pytest.raises(AnnotationError, match="has read it as a date"):
        parse_aus(datetime.date(2024, 4, 7))


def test_any_text_gives_aus_or_an_annotation_error():
    from hypothesis import given, settings
    from hypothesis import strategies as st

    @settings(max_examples=300)
    @given(st.one_of(st.text(max_size=40), st.text("LRATB0123456789ABCDE+/()?k, orefAU", max_size=30)))
    def holds(cell):
        try:
            units = parse_aus(cell).resolve(either="first")
        except AnnotationError as error:
            assert str(error)
        else:
            assert all(1 <= unit.number <= 98 for unit in units)

    holds()
