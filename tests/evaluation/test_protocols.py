import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aullm_hf.evaluation import (
    Fold,
    cross_domain,
    holdout,
    inner_holdout,
    leave_one_dataset_out,
    leave_one_subject_out,
)
from support.fake_run import fake_dataset


def two_datasets() -> dict:
    one, two = fake_dataset(4, 6, dataset="casme2"), fake_dataset(3, 5, dataset="samm", seed=1)
    return {key: one[key] + two[key] for key in one}


@settings(max_examples=25)
@given(st.integers(0, 10_000), st.integers(3, 12), st.integers(1, 6))
def test_no_test_subject_is_ever_in_train_or_inner(seed, subjects, clips):
    data = fake_dataset(subjects, clips, seed=seed)
    folds = leave_one_subject_out(data, seed=seed)
    tested = []
    for fold in folds:
        assert not fold.test_subjects & fold.seen_subjects
        assert not fold.train_subjects & fold.inner_subjects
        assert {fold.subject_of_row[row] for row in fold.test} == fold.test_subjects
        assert sorted(fold.train + fold.inner + fold.test) == list(range(len(data["subject"])))
        assert len(fold.inner_subjects) == max(1, round(0.2 * (subjects - 1)))
        tested += fold.test
    assert sorted(tested) == list(range(len(data["subject"])))  # every clip is tested once


@settings(max_examples=25)
@given(st.integers(0, 10_000), st.integers(1, 20))
def test_fewer_training_clips_come_evenly_from_the_subjects_and_more_of_them_hold_the_fewer(seed, count):
    fold = leave_one_subject_out(fake_dataset(5, 8, seed=seed))[0]
    fewer, more = fold.with_train_clips(count, seed), fold.with_train_clips(count + 1, seed)
    assert len(fewer.train) == count and set(fewer.train) < set(more.train) <= set(fold.train)
    assert (fewer.test, fewer.inner) == (fold.test, fold.inner)
    clips = [sum(fold.subject_of_row[row] == subject for row in fewer.train) for subject in fold.train_subjects]
    assert max(clips) - min(clips) <= 1


def test_more_training_clips_than_there_are_are_refused():
    fold = leave_one_subject_out(fake_dataset(3, 4))[0]
    for count in (0, 5):
        with pytest.raises(ValueError, match=f"train_clips is {count}; fold 'sub01' allows 1 to 4"):
            fold.with_train_clips(count, 0)


def test_a_fold_that_leaks_cannot_be_made():
    keys = ("casme2:01", "casme2:01", "casme2:02", "casme2:03")
    with pytest.raises(ValueError, match="fold 'x': casme2:01 would stand in both train and test"):
        Fold("x", keys, train=(0, 2), test=(1,))
    with pytest.raises(ValueError, match="casme2:02 would stand in both inner and test"):
        Fold("x", keys, train=(0,), test=(2,), inner=(2,))
    with pytest.raises(ValueError, match="casme2:01 would stand in both train and inner"):
        Fold("x", keys, train=(0,), test=(3,), inner=(1,))
    with pytest.raises(ValueError, match="has no test clips"):
        Fold("x", keys, train=(0,), test=())
    with pytest.raises(ValueError, match=r"test has rows 9\.\.9, but the data set has rows 0\.\.3"):
        Fold("x", keys, train=(0,), test=(9,))


def test_the_same_name_in_two_data_sets_is_two_people():
    folds = leave_one_subject_out(two_datasets())
    assert [fold.name for fold in folds][:2] == ["casme2-sub01", "casme2-sub02"]
    assert len(folds) == 7
    assert folds[0].test_subjects == {"casme2:sub01"}
    assert "samm:sub01" in folds[0].seen_subjects


def test_fold_names_are_folders_and_branches():
    data = {"dataset": ["casme3"] * 3, "subject": ["spNO.1", "spNO.2", "006"], "aus": [[1], [1], [2]]}
    assert [f.name for f in leave_one_subject_out(data, inner="none")] == ["sub006", "spNO-1", "spNO-2"]
    data["subject"] = ["a.b", "a-b", "c"]
    with pytest.raises(ValueError, match="two subjects would share the fold name a-b"):
        leave_one_subject_out(data, inner="none")


def test_cross_domain_chooses_from_the_source_only():
    (fold,) = cross_domain(two_datasets(), "casme2", "samm")
    assert fold.name == "casme2-to-samm"
    assert all(subject.startswith("casme2:") for subject in fold.seen_subjects)
    assert all(subject.startswith("samm:") for subject in fold.test_subjects)
    assert len(fold.test) == 15 and len(fold.refit) == 24
    with pytest.raises(ValueError, match="no clip of data set 'smic'; the table has casme2, samm"):
        cross_domain(two_datasets(), "casme2", "smic")


def test_leave_one_dataset_out():
    folds = leave_one_dataset_out(two_datasets(), inner="refit")
    assert [fold.name for fold in folds] == ["casme2", "samm"]
    assert {s.split(":")[0] for s in folds[1].seen_subjects} == {"casme2"}


def test_the_inner_choice_is_seeded_stratified_and_of_the_fold_alone():
    data = fake_dataset(26, 10, aus=(1, 2, 4, 7))
    folds = leave_one_subject_out(data, seed=3)
    assert folds == leave_one_subject_out(data, seed=3)
    assert folds != leave_one_subject_out(data, seed=4)
    assert inner_holdout(folds[5], data, seed=3) == folds[5]  # alone as among the others
    for fold in folds:
        assert len(fold.inner_subjects) == 5
        for au in (1, 2, 4, 7):
            held = sum(au in data["aus"][row] for row in fold.inner)
            total = sum(au in data["aus"][row] for row in fold.refit)
            assert abs(held / total - 0.2) < 0.06


def test_a_rare_au_gets_its_three_inner_positives_where_it_can():
    data = fake_dataset(10, 8, aus=(4,))
    for row in range(80):  # AU9: 4 clips of one subject, 4 of another
        if row in (0, 1, 2, 3, 8, 9, 10, 11):
            data["aus"][row] = [*data["aus"][row], 9]
    fold = leave_one_subject_out(data, aus=(4, 9))[5]
    assert sum(9 in data["aus"][row] for row in fold.inner) == 4
    assert sum(9 in data["aus"][row] for row in fold.train) == 4


def test_errors_say_what_to_do():
    data = fake_dataset(2, 3)
    with pytest.raises(ValueError, match="trains on one subject, synthetic:sub02: nobody can be held out; use inner"):
        leave_one_subject_out(data)
    assert len(leave_one_subject_out(data, inner="none")) == 2
    with pytest.raises(ValueError, match="inner='cv' is not allowed; choose one of 'holdout', 'refit', 'none'"):
        leave_one_subject_out(data, inner="cv")
    with pytest.raises(ValueError, match="no column 'subject'; a protocol reads"):
        leave_one_subject_out({"dataset": ["a"]})
    with pytest.raises(ValueError, match="at least 2 subjects, got 1"):
        leave_one_subject_out(fake_dataset(1, 3))
    bare = fake_dataset(4, 3) | {"aus": [None] * 12}
    with pytest.raises(ValueError, match="no AU annotation"):
        leave_one_subject_out(bare)


def test_a_datasets_dataset_will_do():
    datasets = pytest.importorskip("datasets")
    data = fake_dataset(5, 4)
    assert leave_one_subject_out(datasets.Dataset.from_dict(data)) == leave_one_subject_out(data)
    assert np.array(leave_one_subject_out(data)[0].train).dtype.kind == "i"


def test_held_out_subjects_are_a_share_drawn_with_the_seed():
    data = {
        "dataset": ["mine"] * 60,
        "subject": [f"{row // 3:02d}" for row in range(60)],
        "aus": [[4] if row % 2 else [12] for row in range(60)],
    }
    (fold,) = holdout(data, test_fraction=0.2, inner_fraction=0.25)
    assert fold.name == "holdout"
    assert [len(part) for part in (fold.test_subjects, fold.inner_subjects, fold.train_subjects)] == [4, 4, 12]
    (other,) = holdout(data, test_fraction=0.2, inner_fraction=0.25, seed=1)
    assert other.test_subjects != fold.test_subjects and len(other.test) == 12
    (smallest,) = holdout(data, test_fraction=0.001, inner="none")
    assert len(smallest.test_subjects) == 1 and len(smallest.train) == 57
    with pytest.raises(ValueError, match="at least 2 subjects"):
        holdout({name: cells[:3] for name, cells in data.items()})
