import numpy as np
import pytest

from aullm_hf.data import AUS, PUBLISHED_AUS, au_info, au_name, au_names, aus_of, label_matrix, multi_hot


def test_published_lists_are_those_of_the_papers():
    assert aus_of("casme2") == (1, 2, 4, 7, 12, 14, 15, 17)
    assert aus_of("samm") == aus_of("cross_domain") == (2, 4, 7, 12)
    assert len(aus_of("cd6me")) == 12
    assert all(number in AUS for numbers in PUBLISHED_AUS.values() for number in numbers)


def test_a_list_of_ones_own():
    assert aus_of([12, "AU4", "7"]) == (12, 4, 7)
    assert au_names([12, 4]) == ["AU12", "AU4"]
    assert au_info(np.int64(12)) == au_info(12)  # as arrays hold them
    for wrong, named in ((["AU99"], "AU99"), ([4.5], "4.5"), ([], "empty"), ([4, "AU4"], "twice"), ("nope", "casme2")):
        with pytest.raises(ValueError, match=named):
            aus_of(wrong)


def test_multi_hot_follows_the_lists_order():
    np.testing.assert_array_equal(multi_hot([4, 7, 43], [7, 12, 4]), np.array([1, 0, 1], np.float32))
    with pytest.raises(ValueError, match="no AU annotation"):
        multi_hot(None, "samm")


def test_label_matrix_of_rows():
    rows = [{"aus": [4]}, {"aus": []}, {"aus": [2, 12]}]
    np.testing.assert_array_equal(label_matrix(rows, "samm"), [[0, 1, 0, 0], [0, 0, 0, 0], [1, 0, 0, 1]])


def test_every_code_of_the_tables_is_named():
    for number in (1, 2, 4, 5, 6, 7, 9, 10, 12, 14, 15, 16, 17, 18, 20, 24, 25, 26, 38, 43, 45, 56, 61):
        assert au_name(number).startswith(f"AU{number} ")
    assert AUS[12].half == "lower" and AUS[4].half == "upper" and AUS[12].sided and not AUS[17].sided
    assert not AUS[56].muscle and AUS[45].muscle
