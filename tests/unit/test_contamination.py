"""Contamination: what is shared is counted as by hand, and a secret that nobody planted has no exposure."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmguide.contamination import exposure, shared_ngrams

TEXT = "Ada took the lantern to the mill and left it there."


def test_a_copy_shares_all_and_a_stranger_nothing() -> None:
    found = shared_ngrams([TEXT, "Nothing of this stands anywhere in the other text."], ["Once. " + TEXT.upper()], n=5)

    np.testing.assert_array_equal(found, [1, 0])


def test_one_changed_word_costs_the_runs_it_stands_in() -> None:
    # 11 words have 9 runs of 3; the word "lantern", the fourth, stands in 3 of them
    changed = TEXT.replace("lantern", "kettle")

    assert shared_ngrams([TEXT], [changed], n=3)[0] == pytest.approx(6 / 9)


def test_a_short_text_is_one_run_and_runs_do_not_cross_texts() -> None:
    assert shared_ngrams(["to the mill"], [TEXT], n=8)[0] == 1
    assert shared_ngrams(["to the mill"], ["to the", "mill"], n=8)[0] == 0


def test_training_texts_may_come_one_by_one() -> None:
    assert shared_ngrams([TEXT], (text for text in [TEXT]), n=4)[0] == 1


@given(st.permutations([0.5, 1.0, 2.0, 3.0, 5.0, 8.0, 13.0]))
def test_the_least_surprising_secret_is_fully_exposed_and_the_last_not_at_all(others: list[float]) -> None:
    first, last = exposure(0.1, others), exposure(20.0, others)

    assert (first.rank, first.bits) == (1, 3.0)  # log2 of 8
    assert (last.rank, last.bits, last.others) == (8, 0.0, 7)


def test_a_tie_gives_no_rank_away() -> None:
    assert exposure(1.0, [1.0, 1.0, 1.0]).bits == 0


def test_a_secret_that_was_not_planted_is_exposed_by_log2_of_e_on_average() -> None:
    generator = np.random.default_rng(0)
    draws = [exposure(values[0], values[1:]).bits for values in generator.random((2000, 1000))]

    assert np.mean(draws) == pytest.approx(math.log2(math.e), abs=0.1)  # the standard error is 0.03


@pytest.mark.parametrize(
    ("tests", "n", "message"),
    [
        ([], 8, "no test texts"),
        ("one string", 8, "give lists of texts, not one string"),
        (["fine", " - "], 8, "test text 1 has no word: ' - '"),
        (["fine"], 0, "n is 0; a run has at least 1 word"),
    ],
)
def test_texts_that_cannot_be_compared_are_refused(tests: list[str], n: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        shared_ngrams(tests, [TEXT], n=n)


def test_a_secret_needs_others_and_numbers() -> None:
    with pytest.raises(ValueError, match=r"other secrets to rank among, one number each; got shape \(0,\)"):
        exposure(1.0, [])
    with pytest.raises(ValueError, match="a surprise is NaN"):
        exposure(1.0, [1.0, math.nan])
