"""Metrics: numbers with known answers, those of scikit-learn and scipy, and intervals that cover what they promise."""

import time
from collections.abc import Callable, Sequence
from math import exp, log
from typing import Any

import numpy as np
import pytest
import sklearn.metrics
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest
from sklearn.calibration import calibration_curve

from llmguide.metrics import (
    accuracy,
    bits_per_byte,
    bootstrap,
    calibration,
    compare,
    confusion,
    entropy,
    f1,
    perplexity,
)

pairs = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1)
LABELS, PREDICTIONS = [0, 0, 0, 1, 1, 2], [0, 0, 1, 1, 0, 0]


def answers(examples: int, *, right: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Labels of two classes, and predictions of which this share is right, give or take chance."""
    generator = np.random.default_rng(seed)
    labels = generator.integers(2, size=examples)
    return labels, np.where(generator.random(examples) < right, labels, 1 - labels)


# Accuracy, F1, confusion


@given(pairs=pairs)
def test_accuracy_and_confusion_are_those_of_scikit_learn(pairs: list[tuple[int, int]]) -> None:
    labels, predictions = zip(*pairs, strict=True)

    assert accuracy(labels, predictions) == pytest.approx(sklearn.metrics.accuracy_score(labels, predictions))
    assert np.array_equal(
        confusion(labels, predictions, classes=range(4)),
        sklearn.metrics.confusion_matrix(labels, predictions, labels=range(4)),
    )


@given(pairs=pairs.filter(lambda pairs: len({label for label, _ in pairs}) > 1))
def test_macro_f1_is_that_of_scikit_learn_which_counts_an_undefined_class_as_0(pairs: list[tuple[int, int]]) -> None:
    labels, predictions = zip(*pairs, strict=True)

    expected = sklearn.metrics.f1_score(labels, predictions, average="macro", zero_division=0)
    assert f1(labels, predictions) == pytest.approx(expected)


@given(pairs=st.lists(st.tuples(st.booleans(), st.booleans())), positive=st.booleans())
def test_binary_f1_is_that_of_scikit_learn(pairs: list[tuple[bool, bool]], positive: bool) -> None:
    labels, predictions = zip((False, True), (True, False), *pairs, strict=True)

    expected = sklearn.metrics.f1_score(labels, predictions, pos_label=positive, zero_division=0)
    assert f1(labels, predictions, average="binary", positive=positive) == pytest.approx(expected)


def test_a_classifier_that_always_says_the_common_class_is_accurate_and_has_half_an_f1() -> None:
    labels, predictions = [0] * 9 + [1], [0] * 10

    assert accuracy(labels, predictions) == 0.9
    assert f1(labels, predictions) == pytest.approx((18 / 19 + 0) / 2)  # 2 TP / (2 TP + FP + FN), and a class at 0
    assert f1(labels, predictions, average="binary") == 0.0


def test_a_confusion_matrix_has_a_row_for_each_label_and_a_column_for_each_prediction() -> None:
    assert confusion(LABELS, PREDICTIONS).tolist() == [[2, 1, 0], [1, 1, 0], [1, 0, 0]]


def test_classes_set_the_order_and_may_be_absent() -> None:
    assert confusion(["b", "a"], ["b", "b"], classes=["b", "a", "c"]).tolist() == [[1, 0, 0], [1, 0, 0], [0, 0, 0]]


@pytest.mark.parametrize("kind", [list, tuple, np.array, torch.tensor])
def test_lists_tuples_arrays_and_tensors_will_do(kind: Callable[[Sequence[int]], Any]) -> None:
    labels, predictions = kind(LABELS), kind(PREDICTIONS)

    assert type(accuracy(labels, predictions)) is type(f1(labels, predictions)) is float
    assert accuracy(labels, predictions) == 0.5
    assert confusion(labels, predictions).sum() == 6
    assert bootstrap(accuracy, labels, predictions, resamples=10).value == 0.5


def test_tensors_of_half_precision_and_with_a_gradient_will_do() -> None:
    claims = torch.tensor([0.25, 0.75], dtype=torch.bfloat16, requires_grad=True)

    assert calibration([0, 1], claims).error == 0.25


# Calibration


def test_calibration_bins_are_those_of_scikit_learn() -> None:
    generator = np.random.default_rng(0)
    claims = generator.random(500) ** 2  # the last bins thin out
    outcomes = generator.random(500) < 0.3

    found = calibration(outcomes, claims, bins=20)

    observed, claimed = calibration_curve(outcomes, claims, n_bins=20)
    np.testing.assert_allclose(found.observed, observed)
    np.testing.assert_allclose(found.claimed, claimed)
    assert found.counts.sum() == 500


def test_the_calibration_error_weighs_each_bin_by_its_examples() -> None:
    found = calibration([1, 1, 0, 1], [0.9, 0.9, 0.9, 0.5], bins=10)

    assert found.counts.tolist() == [1, 3]
    assert found.error == pytest.approx(1 / 4 * abs(1 - 0.5) + 3 / 4 * abs(2 / 3 - 0.9))


def test_edges_belong_to_the_bin_below_and_0_to_the_first() -> None:
    assert calibration([0, 0, 1, 1], [0.0, 0.5, 0.75, 1.0], bins=2).counts.tolist() == [2, 2]


def test_a_model_that_tells_the_truth_is_calibrated_and_one_that_boasts_is_not() -> None:
    generator = np.random.default_rng(0)
    claims = generator.random(20_000)
    outcomes = generator.random(20_000) < claims

    assert calibration(outcomes, claims).error < 0.02  # chance moves a bin of 2,000 by about 0.01
    boasts = np.where(claims > 0.5, 1.0, 0.0)
    assert calibration(outcomes, boasts).error == pytest.approx(0.25, abs=0.02)  # the mean distance to 0 or 1


# Intervals


def test_an_interval_covers_the_truth_as_often_as_it_says() -> None:
    intervals = [bootstrap(accuracy, *answers(200, right=0.8, seed=seed), resamples=200) for seed in range(200)]

    covered = sum(interval.low <= 0.8 <= interval.high for interval in intervals)
    assert 0.90 <= covered / 200 <= 0.99  # 0.95 promised; two deviations of chance are 0.03


def test_an_interval_of_accuracy_is_as_wide_as_the_normal_one() -> None:
    labels, predictions = answers(2000, right=0.9, seed=0)

    interval = bootstrap(accuracy, labels, predictions)

    share = accuracy(labels, predictions)
    assert interval.value == share
    half = 1.96 * (share * (1 - share) / 2000) ** 0.5
    assert interval.high - interval.low == pytest.approx(2 * half, rel=0.15)


def test_what_lies_outside_is_split_evenly_between_the_two_sides() -> None:
    one_of_a_thousand = bootstrap(lambda numbers: numbers[0], np.arange(1000), level=0.8)

    assert one_of_a_thousand.low == pytest.approx(100, abs=30)  # three deviations of a quantile of 1,000 draws
    assert one_of_a_thousand.high == pytest.approx(900, abs=30)


def test_a_seed_gives_the_same_interval_and_another_seed_another() -> None:
    columns = answers(100, right=0.7, seed=0)

    assert bootstrap(f1, *columns, seed=3) == bootstrap(f1, *columns, seed=3) != bootstrap(f1, *columns, seed=4)


def test_a_higher_level_gives_a_wider_interval() -> None:
    columns = answers(100, right=0.7, seed=0)
    half, most = bootstrap(f1, *columns, level=0.5), bootstrap(f1, *columns, level=0.99)

    assert most.low < half.low < half.high < most.high


def test_rows_stay_together_when_examples_are_drawn() -> None:
    numbers = np.arange(50)

    interval = bootstrap(lambda a, b: float(np.abs(a - b).max()), numbers, numbers + 7)

    assert (interval.low, interval.high) == (7, 7)


def test_any_metric_of_any_columns_will_do() -> None:
    labels, claims = [0, 1, 1, 0, 1], [0.1, 0.4, 0.8, 0.5, 0.9]

    assert bootstrap(np.mean, claims).value == pytest.approx(0.54)
    assert bootstrap(sklearn.metrics.brier_score_loss, labels, claims, resamples=10).value > 0


def test_resamples_that_lose_a_class_are_left_out_of_an_interval_of_f1() -> None:
    labels = [1] * 2 + [0] * 18

    interval = bootstrap(f1, labels, labels)

    assert (interval.value, interval.low, interval.high) == (1, 1, 1)
    assert interval.resamples == pytest.approx(1000 * (1 - 0.9**20), abs=50)


def test_a_class_too_rare_to_resample_is_an_error() -> None:
    labels = [1] + [0] * 3

    with pytest.raises(ValueError, match="undefined in .* of 1000 resamples of 4 examples; a class is too rare"):
        bootstrap(lambda labels: np.nan if len(set(labels)) < 2 or sum(labels) != 1 else 1.0, labels)


@pytest.mark.parametrize("metric", [accuracy, f1])
def test_a_thousand_resamples_of_two_thousand_examples_take_well_under_a_second(metric: Callable[..., float]) -> None:
    columns = answers(2000, right=0.9, seed=0)
    start = time.process_time()

    bootstrap(metric, *columns)

    assert time.process_time() - start < 1


def test_an_interval_reads_as_one_prints_it() -> None:
    assert str(bootstrap(accuracy, [1, 1], [1, 1])) == "1.000 [1.000, 1.000]"


# Two models on the same examples


@given(first_only=st.integers(0, 40), second_only=st.integers(0, 40))
def test_mcnemars_p_is_that_of_a_fair_coin(first_only: int, second_only: int) -> None:
    labels = np.ones(first_only + second_only + 5, dtype=int)
    first = np.array([1] * first_only + [0] * second_only + [1, 1, 1, 0, 0])
    second = np.array([0] * first_only + [1] * second_only + [1, 1, 1, 0, 0])

    found = compare(labels, first, second, resamples=2)

    assert (found.first_only, found.second_only) == (first_only, second_only)
    fair = binomtest(first_only, first_only + second_only).pvalue if first_only + second_only else 1.0
    assert found.p == pytest.approx(fair)


def test_a_difference_of_pairs_is_narrower_than_two_intervals_suggest() -> None:
    labels, first = answers(500, right=0.8, seed=0)
    second = first.copy()
    (wrong,) = np.nonzero(first != labels)
    second[wrong[:20]] = labels[wrong[:20]]  # the same model, with 20 mistakes mended

    found = compare(labels, first, second)

    assert found.difference.value == pytest.approx(20 / 500)
    assert found.difference.low > 0
    assert found.p == pytest.approx(2 / 2**20)
    assert bootstrap(accuracy, labels, first).high > bootstrap(accuracy, labels, second).low  # they overlap


def test_swapping_the_models_turns_the_sign_and_keeps_p() -> None:
    labels, first = answers(200, right=0.8, seed=0)
    second = answers(200, right=0.5, seed=1)[1]

    forth, back = compare(labels, first, second, metric=f1), compare(labels, second, first, metric=f1)

    assert back.difference.value == -forth.difference.value
    assert back.p == forth.p


# Surprise


def test_a_uniform_guess_has_the_perplexity_of_the_vocabulary() -> None:
    assert perplexity(12 * log(976), 12) == pytest.approx(976)
    assert perplexity(torch.tensor(0.0), 12) == 1.0


def test_bits_per_byte_do_not_depend_on_how_a_text_is_cut() -> None:
    assert bits_per_byte(5 * log(256), 5) == pytest.approx(8)  # a uniform guess at each byte
    assert bits_per_byte(log(2) * 30, 10) == 3


def test_perplexity_and_bits_per_byte_tell_of_the_same_surprise() -> None:
    assert perplexity(7.0, 3) == pytest.approx(exp(bits_per_byte(7.0, 3) * log(2)))


# Errors


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda: accuracy([], []), "no examples: labels and predictions are empty"),
        (lambda: f1([0, 1], [0]), r"one value an example, all of one length; got .*'labels': \(2,\)"),
        (lambda: accuracy([[0, 1]], [[0, 1]]), r"got shapes {'labels': \(1, 2\)"),
        (lambda: f1([1, 1], [1, 0]), "labels of at least 2 classes; all 2 labels are 1"),
        (lambda: f1([0, 1, 2], [0, 1, 2], average="binary"), r"one of them 1; there are \[0, 1, 2\]"),
        (lambda: f1(["a", "b"], ["a", "b"], average="binary"), r"one of them 1; there are \['a', 'b'\]"),
        (lambda: confusion([0, 3], [0, 1], classes=[0, 1]), r"\[3\] occur .* not in classes \[0, 1\]"),
        (lambda: calibration([0, 1], [0.2, 1.5]), r"between 0 and 1; got 1.5 \(logits"),
        (lambda: calibration([0, 1], [0.2, float("nan")]), "between 0 and 1; got nan"),
        (lambda: calibration([0, 2], [0.2, 0.5]), "an outcome is 0 or 1; got 2"),
        (lambda: calibration([0, 1], [0.2, 0.5], bins=0), "bins is 0"),
        (lambda: bootstrap(accuracy, [], []), "no examples"),
        (lambda: bootstrap(accuracy, [0], [0, 1]), "'column 2'"),
        (lambda: bootstrap(f1, [0, 0], [0, 1]), "at least 2 classes"),
        (lambda: bootstrap(accuracy, [0], [0], level=95), "got 1000, 95"),
        (lambda: compare([0, 1], [0, 1], [0]), r"'second': \(1,\)"),
        (lambda: perplexity(1.0, 0), "at least one token, got 0"),
        (lambda: bits_per_byte(float("nan"), 3), "0 or more, got nan"),
        (lambda: perplexity(-1.0, 3), "0 or more, got -1.0"),
    ],
)
def test_what_makes_no_sense_is_refused_in_words(wrong: Callable[[], object], message: str, unchecked: None) -> None:
    with pytest.raises(ValueError, match=message):
        wrong()


# Entropy


@given(size=st.integers(1, 1000))
def test_equal_choices_have_the_entropy_ln_s(size: int) -> None:
    uniform = torch.full((size,), 1 / size, dtype=torch.float64)

    assert entropy(uniform).item() == pytest.approx(log(size))


def test_a_certain_choice_has_none() -> None:
    assert entropy(torch.tensor([0.0, 1.0, 0.0])).item() == 0.0


def test_entropy_is_that_of_torch(generator: torch.Generator) -> None:
    probabilities = torch.rand(2, 3, 5, generator=generator, dtype=torch.float64)
    probabilities /= probabilities.sum(-1, keepdim=True)

    torch.testing.assert_close(entropy(probabilities), torch.distributions.Categorical(probabilities).entropy())


def test_two_independent_choices_add_up(generator: torch.Generator) -> None:
    a, b = torch.rand(2, 5, generator=generator, dtype=torch.float64).softmax(-1)

    torch.testing.assert_close(entropy(torch.outer(a, b).flatten()), entropy(a) + entropy(b))
