"""Inspection: each fault of labelled texts is named, with its row and the way out, before anything is trained."""

import math
from typing import Any

import numpy as np
import pytest

from llmguide.inspection import check_labels, check_texts, check_tokens, compare_splits, empty_rows

NAMES = ("bad", "good", "fine")


@pytest.mark.parametrize(
    ("texts", "said"),
    [
        (["a", "b", "c", None], r"texts\[3\] is None; leave the row out"),
        (["a", math.nan], r"texts\[1\] is NaN, a missing value of pandas; .*read_csv"),
        (["a", 7], r"texts\[1\] is of type int \(7\), not a text"),
        ("one text", "texts is one text .*give a list"),
    ],
)
def test_what_is_no_text_is_named_with_its_row(texts: Any, said: str) -> None:
    with pytest.raises(TypeError, match=said):
        check_texts(texts)


def test_empty_texts_stay_and_are_warned_of_once() -> None:
    with pytest.warns(UserWarning, match=r"2 empty texts \(the first is texts\[1\]\)") as warned:
        assert check_texts(["a", "", " \n"]) == ["a", "", " \n"]

    assert len(warned) == 1
    assert empty_rows(["a", "", " \n"]) == (1, 2)


def test_no_texts_are_no_fault() -> None:
    assert check_texts([]) == []


def test_labels_are_numbers_or_names_of_classes() -> None:
    assert check_labels([0, "fine", np.int64(1)], NAMES, texts=3) == [0, 2, 1]


@pytest.mark.parametrize(
    ("labels", "error", "said"),
    [
        ([0, 1, 7], ValueError, r"row 2: label 7, allowed 0\.\.2 \(bad, good, fine\)"),
        ([0, -1, 1], ValueError, r"row 1: label -1, allowed 0\.\.2"),
        ([-100, -100, -100], ValueError, "no labelled rows"),
        ([0, 1.0, 1], TypeError, r"row 1: label 1\.0 is of type float; .*write int\(label\), here 1"),
        ([0, 1.5, 1], TypeError, r"row 1: label 1\.5 is of type float; a class is a whole number or a name$"),
        ([True, False, True], TypeError, "row 0: label True is of type bool"),
        (["bad", "god", "good"], ValueError, "row 1: label 'god' is none of bad, good, fine"),
        ([0, 1], ValueError, "3 texts, 2 labels"),
        ([1, 1, 1], ValueError, r"only one class \(good\) in 3 rows of training data"),
    ],
)
def test_a_label_that_cannot_be_is_named(labels: list[Any], error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said):
        check_labels(labels, NAMES, texts=3)


def test_one_class_is_enough_to_judge_by() -> None:
    assert check_labels([1, 1], NAMES, texts=2, one_class=True) == [1, 1]


def test_texts_on_both_sides_are_counted_whatever_their_case_and_spaces() -> None:
    with pytest.warns(
        UserWarning, match=r"2 of 3 test texts are also in the training data \(the first is row 0: 'A  b'\)"
    ):
        assert compare_splits(["a b", "c"], ["A  b", "d", "c "]) == 2


def test_a_class_that_the_test_lacks_is_warned_of() -> None:
    with pytest.warns(UserWarning, match="no test text of class good, fine: its F1 is unknown"):
        compare_splits(["a"], ["b"], test_labels=[0], names=NAMES)


def test_a_long_text_is_cut_before_its_end_token_with_one_warning() -> None:
    with pytest.warns(UserWarning, match="text 1 has 6 tokens, the model takes 4; 2 cut") as warned:
        assert check_tokens([[2, 9, 3], [2, 9, 8, 7, 6, 3]], limit=4, unknown=1, special=(2, 3)) == [
            [2, 9, 3],
            [2, 9, 8, 3],
        ]

    assert len(warned) == 1


def test_several_long_texts_are_one_warning_too() -> None:
    with pytest.warns(
        UserWarning, match="2 of 3 texts are too long: text 2 has 4 tokens, the model takes 2; 2 cut"
    ) as w:
        assert check_tokens([[5], [6, 7, 8], [6, 7, 8, 9]], limit=2, unknown=None) == [[5], [6, 7], [6, 7]]

    assert len(w) == 1


def test_a_long_text_is_an_error_on_request() -> None:
    with pytest.raises(
        ValueError, match=r"texts\[0\] has 3 tokens, the model takes 2; shorten it, or pass on_long='cut'"
    ):
        check_tokens([[4, 5, 6]], limit=2, unknown=None, on_long="error")
    with pytest.raises(ValueError, match="on_long is 'truncate'; it must be 'cut' or 'error'"):
        check_tokens([[4]], limit=2, unknown=None, on_long="truncate")


def test_texts_that_the_tokenizer_cannot_read_are_warned_of_with_their_share() -> None:
    with pytest.warns(UserWarning, match=r"1 of 2 texts are mostly unknown .*text 1: 100% of its tokens; 25% of all"):
        check_tokens([[2, 9, 8, 3], [2, 1, 1, 3]], limit=9, unknown=1, special=(2, 3))
