"""Evaluation: a report whose numbers are those of the metrics, of scipy's test and of sacrebleu, and plain words."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import permutation_test

from llmguide.evaluation import holm, randomised, report
from llmguide.metrics import accuracy, compare, f1
from llmguide.overlap import bleu, exact_match, rouge, token_f1

RIGHT = ["Ada kept the lantern.", "The rope went from Tom to Clara.", "Nobody took the map.", "Clara has the old key."]
GOOD = ["Ada kept the lantern.", "The rope went from Tom to Ada.", "Nobody took a map.", "Clara has the key."]
POOR = ["Ada.", "the the the the", "", "Clara has the old key."]


def test_a_report_on_texts_has_the_numbers_of_the_metrics() -> None:
    lines = {line.metric: line for line in report(RIGHT, POOR, GOOD, kind="texts", resamples=50).lines}

    for name, metric in {"exact match": exact_match, "word F1": token_f1, "ROUGE-1": rouge}.items():
        scores = [metric(text, right) for text, right in zip(GOOD, RIGHT, strict=True)]
        assert lines[name].second.value == pytest.approx(np.mean(scores)), name
    longest = [rouge(text, right, of="L") for text, right in zip(POOR, RIGHT, strict=True)]
    assert lines["ROUGE-L"].first.value == pytest.approx(np.mean(longest))
    for system, interval in ((POOR, lines["BLEU"].first), (GOOD, lines["BLEU"].second)):
        assert interval.value == pytest.approx(bleu(system, RIGHT) / 100)
    for line in lines.values():
        assert line.difference.value == pytest.approx(line.second.value - line.first.value)
        assert line.difference.low <= line.difference.value <= line.difference.high


def test_a_report_on_labels_has_accuracy_and_macro_f1() -> None:
    true, a, b = ["x", "y", "y", "x", "y", "y"], ["x", "y", "x", "x", "y", "x"], ["x", "y", "y", "x", "y", "y"]

    found = report(true, a, b, kind="labels", names=("old", "new"), resamples=200)

    assert [line.metric for line in found.lines] == ["accuracy", "macro-F1"]
    assert found.lines[0].first.value == accuracy(true, a)
    assert found.lines[1].first.value == pytest.approx(f1(true, a))
    assert found.lines[1].second.value == 1
    assert "old" in str(found)
    assert str(found).endswith("6 examples; difference: new minus old")


def test_labels_of_one_class_have_an_accuracy_only() -> None:
    assert [line.metric for line in report([1, 1], [1, 1], [1, 1], kind="labels", resamples=10).lines] == ["accuracy"]


def test_the_same_system_twice_is_never_better() -> None:
    for line in report(RIGHT, GOOD, GOOD, kind="texts", resamples=50).lines:
        assert (line.difference.low, line.difference.high, line.p, line.adjusted) == (0, 0, 1, 1)


def test_the_randomisation_test_is_that_of_scipy() -> None:
    generator = np.random.default_rng(0)
    a, b = generator.random((2, 40)) + np.array([[0.0], [0.12]])
    both = np.array([a, b])

    ours = randomised(lambda rows, swap: both[swap[rows].astype(int), rows].mean(), examples=40, resamples=9999)

    theirs = permutation_test(
        (b, a), lambda x, y: np.mean(x) - np.mean(y), permutation_type="samples", n_resamples=9999, rng=generator
    )
    assert ours == pytest.approx(theirs.pvalue, abs=0.015)  # two standard errors of each


def test_on_accuracies_the_test_agrees_with_mcnemars() -> None:
    true = [1] * 60
    a, b = [1] * 30 + [0] * 30, [1] * 24 + [0] * 6 + [1] * 16 + [0] * 14  # 6 against 16; a class the references lack

    p = report(true, a, b, kind="labels", resamples=5000).lines[0].p

    assert p == pytest.approx(compare(true, a, b).p, abs=0.015)


@given(st.lists(st.floats(0, 1), max_size=8))
def test_holm_lies_between_no_correction_and_bonferronis(p_values: list[float]) -> None:
    for p, adjusted in zip(p_values, holm(p_values), strict=True):
        assert p <= adjusted <= min(1.0, len(p_values) * p) + 1e-12


def test_holm_by_hand() -> None:
    # sorted: 0.01 x 4, 0.02 x 3, 0.03 x 2 -> 0.06 (not below the one before), 0.5 x 1
    assert holm([0.03, 0.01, 0.5, 0.02]) == pytest.approx([0.06, 0.04, 0.5, 0.06])


def test_a_p_value_outside_its_range_is_refused() -> None:
    with pytest.raises(ValueError, match=r"a p value lies between 0 and 1; got 1\.5"):
        holm([0.2, 1.5])


@pytest.mark.parametrize(
    ("columns", "kind", "message"),
    [
        ((RIGHT, GOOD[:3], POOR), "texts", "4 references, 3 first, 4 second: give each system's answers"),
        (([], [], []), "texts", "0 references, 0 first, 0 second"),
        ((RIGHT, "Ada", POOR), "texts", "first is one string; give a list"),
        ((RIGHT, GOOD, [*POOR[:3], None]), "texts", r"second, row 3: the answer is missing \(None\)"),
        ((RIGHT, GOOD, [*POOR[:3], 7]), "texts", "second, row 3: 7 is of type int, not a text"),
        (([*RIGHT[:3], " "], GOOD, POOR), "texts", "references, row 3: the reference is empty"),
        ((["yes", "no"], ["yes", "No "], ["no", "no"]), "labels", "first, row 1: label 'No '; did you mean 'no'"),
        (([0, 1], [0, 1], ["0", "1"]), "labels", "second, row 0: label '0' is of type str; write all labels as names"),
        (([0, 1], [0, math.nan], [0, 1]), "labels", r"first, row 1: the answer is missing \(nan\)"),
        (([0, 1], [0, 1], [0, 1]), "numbers", "kind is 'numbers'; it must be 'labels' or 'texts'"),
    ],
)
@pytest.mark.usefixtures("unchecked")
def test_bad_input_is_answered_in_words(columns: tuple[Any, Any, Any], kind: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        report(*columns, kind=kind)


def test_an_answer_that_no_reference_has_is_wrong_and_no_error() -> None:
    assert report(["yes", "no"], ["yes", "perhaps"], ["yes", "no"], kind="labels").lines[0].first.value == 0.5


def test_two_systems_need_two_names() -> None:
    with pytest.raises(ValueError, match="two names that differ"):
        report([0, 1], [0, 1], [0, 1], kind="labels", names=("a", "a"))
