"""A to E, from the cell of a table to a matrix beside the labels: 0 where absent, NaN where nobody has marked it."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aullm_hf import load_clips
from aullm_hf.data import AUS, check_clips, intensity_matrix, label_matrix, report_of
from aullm_hf.data.annotations import au_intensities, au_numbers, parse_aus
from aullm_hf.training.data import shuffle_labels
from support.clip_trees import write_frames, write_xlsx

MARKS = {"": np.nan, "A": 1, "B": 2, "C": 3, "D": 4, "E": 5, "A/B": 1.5, "D/E": 4.5}
tokens = st.dictionaries(
    st.sampled_from(sorted(AUS)), st.tuples(st.sampled_from(["", "L", "R"]), st.sampled_from([*MARKS])), max_size=6
)


@settings(max_examples=200, deadline=None)
@given(written=tokens, order=st.randoms(use_true_random=False), task=st.permutations(sorted(AUS)))
def test_what_was_marked_is_read_back_whatever_the_order(written, order, task):
    parts = [f"{side}{number}{mark}" for number, (side, mark) in written.items()]
    order.shuffle(parts)
    units = parse_aus("+".join(parts) or "0").resolve()
    row = {"aus": au_numbers(units), "intensities": au_intensities(units)}
    expected = [MARKS[written[number][1]] if number in written else 0 for number in task]
    found = intensity_matrix([row], task)
    np.testing.assert_array_equal(found, np.array([expected], np.float32))
    np.testing.assert_array_equal(found != 0, label_matrix([row], task) == 1)  # NaN differs from 0


@pytest.mark.parametrize(
    ("cell", "expected"),
    [("L12A+R12C", [3]), ("12+R12B", [2]), ("R12B+12", [2]), ("12+R12", [None]), ("ref(7B)+43E", [2, 5]), ("0", [])],
)
def test_of_an_au_that_is_named_twice_the_highest_counts(cell, expected):
    assert au_intensities(parse_aus(cell).resolve()) == expected


def test_samm_and_ones_own_tables_carry_what_they_mark(samm, tmp_path, load):
    clips = load("samm", samm)
    assert [row["intensities"] for row in clips] == [[None], [None, None], [2, None]]
    assert report_of(clips).marked == {7: 1}
    assert "intensity marked: 1 of 5 AUs of clips" in str(report_of(clips))
    assert "AUs with an intensity" in str(check_clips("samm", samm, face="none"))

    own = tmp_path / "own"
    cells = ["1C+L4A/B", "4", "0"]
    for name in "xyz":
        write_frames(own / name, "img{}.jpg", range(1, 5))
    write_xlsx(own / "clips.xlsx", [["clip", "subject", "aus"], *zip("xyz", "abc", cells, strict=True)])
    rows = load("own", own)
    np.testing.assert_array_equal(intensity_matrix(rows, [1, 4]), [[3, 1.5], [0, np.nan], [0, 0]])
    write_xlsx(
        own / "clips.xlsx", [["clip", "subject", "AU1", "AU4"], *zip("xyz", "abc", [1, 0, 0], [1, 1, 0], strict=True)]
    )
    rows = load("own", own)
    np.testing.assert_array_equal(intensity_matrix(rows, [1, 4]), [[np.nan, np.nan], [0, np.nan], [0, 0]])


def test_synthetic_clips_are_marked_where_their_domain_marks():
    samm = load_clips("synthetic", domain="samm", difficulty="standard", subjects=4, clips_per_subject=5, size=16)
    levels, labels = (matrix(samm, "samm") for matrix in (intensity_matrix, label_matrix))
    assert np.isfinite(levels).all() and len(np.unique(levels)) > 3
    for options in ({"domain": "casme2"}, {"difficulty": "wild"}):
        clips = load_clips("synthetic", subjects=3, clips_per_subject=4, size=16, **options)
        levels, labels = (matrix(clips, [1, 4, 12]) for matrix in (intensity_matrix, label_matrix))
        assert labels.any() and np.isnan(levels[labels == 1]).all() and (levels[labels == 0] == 0).all()


def test_shuffled_labels_keep_their_intensities():
    clips = load_clips("synthetic", domain="samm", subjects=3, clips_per_subject=8, size=16)
    shuffled = shuffle_labels(clips, seed=0)
    pairs, moved = (list(zip(one["aus"], one["intensities"], strict=True)) for one in (clips, shuffled))
    assert moved != pairs and sorted(moved) == sorted(pairs)


def test_clips_exported_without_intensities_are_still_read(tmp_path):
    clips = load_clips("synthetic", subjects=2, clips_per_subject=2, size=16).remove_columns("intensities")
    clips.save_to_disk(str(tmp_path / "old"))
    assert load_clips(tmp_path / "old")["aus"] == clips["aus"]


@pytest.mark.parametrize("levels", [None, [1.0]])
def test_intensities_that_do_not_stand_beside_the_aus_are_refused(levels):
    with pytest.raises(ValueError, match=r"intensities is .*aus \[4, 12\]; there is one for each AU, or null"):
        intensity_matrix([{"aus": [4, 12], "intensities": levels}], [4])
    with pytest.raises(ValueError, match=r"row 0 of dataset .* with 'intensities'"):
        intensity_matrix([{"aus": [4]}], [4])
