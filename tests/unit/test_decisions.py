"""Decisions: temperatures, thresholds and costs against references, and a sorter that knows its limits."""

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.optimize import minimize_scalar  # type: ignore[import-untyped]

from llmguide.decisions import (
    COLDEST,
    HOTTEST,
    Sorter,
    cheapest_threshold,
    cost_threshold,
    fit_temperature,
    mean_cost,
    tempered,
)

LABELS = ("bill", "joke", "poem")


@pytest.fixture
def logits() -> np.ndarray[Any, np.dtype[np.float64]]:
    return np.random.default_rng(0).normal(size=(400, 5))


def softmax(logits: Any) -> Any:
    return torch.tensor(logits).softmax(dim=-1).numpy()


def drawn(probabilities: Any, seed: int = 1) -> Any:
    """Labels that come true as often as the probabilities say."""
    rng = np.random.default_rng(seed)
    return np.array([rng.choice(len(row), p=row) for row in probabilities])


# Temperature


def test_tempering_is_the_softmax_of_divided_logits(logits: Any) -> None:
    for temperature in (0.3, 1.0, 4.0):
        np.testing.assert_allclose(tempered(softmax(logits), temperature), softmax(logits / temperature), rtol=1e-9)


def test_tempering_changes_no_answer_and_bears_a_zero(logits: Any) -> None:
    assert (tempered(softmax(logits), 9.0).argmax(axis=1) == logits.argmax(axis=1)).all()
    assert np.isfinite(tempered(np.array([[1.0, 0.0]]), 0.1)).all()


@pytest.mark.parametrize("too_sure", [0.4, 1.0, 3.0])
def test_the_temperature_is_the_one_a_general_optimiser_finds(logits: Any, too_sure: float) -> None:
    labels, claimed = drawn(softmax(logits)), softmax(logits * too_sure)

    def surprise(log_temperature: float) -> float:
        scaled = torch.tensor(logits * too_sure) / float(np.exp(log_temperature))
        return F.cross_entropy(scaled, torch.tensor(labels)).item()

    reference = np.exp(minimize_scalar(surprise, bounds=(-4, 4), method="bounded", options={"xatol": 1e-9}).x)
    assert fit_temperature(claimed, labels) == pytest.approx(reference, rel=1e-5)
    assert fit_temperature(claimed, labels) == pytest.approx(too_sure, rel=0.3)  # labels were drawn at 1


def test_a_model_without_an_error_is_made_surest_and_one_without_knowledge_unsure() -> None:
    sharp = np.array([[0.9, 0.1], [0.1, 0.9]])

    assert fit_temperature(sharp, [0, 1]) == COLDEST
    assert fit_temperature(sharp, [1, 0]) == HOTTEST


@pytest.mark.parametrize(
    ("probabilities", "labels", "message"),
    [
        ([[0.5, 0.5]], [0, 1], "1 rows of probabilities and 2 labels"),
        ([[0.5, 0.5]], [2], "a label is a number from 0 to 1; got 2 to 2"),
        ([[2.0, -1.0]], [0], "put logits through a softmax"),
        ([[3.0, 1.0]], [0], "put logits through a softmax"),
    ],
)
def test_a_temperature_of_nothing_is_refused(probabilities: Any, labels: list[int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        fit_temperature(np.array(probabilities), labels)


@pytest.mark.parametrize("temperature", [0.0, -1.0, float("nan"), float("inf")])
def test_a_temperature_is_above_zero(temperature: float) -> None:
    with pytest.raises(ValueError, match=f"temperature is {temperature}; it must be a finite number above 0"):
        tempered(np.array([[0.5, 0.5]]), temperature)


# Costs


def test_at_the_threshold_silence_and_alarm_cost_the_same() -> None:
    p = cost_threshold(miss=10.0, alarm=2.0)

    assert p * 10 == pytest.approx((1 - p) * 2)
    assert cost_threshold(miss=1.0, alarm=1.0) == 0.5
    assert cost_threshold(miss=9.0, alarm=1.0) == 0.1


def test_the_derived_threshold_is_the_cheapest_where_the_probabilities_are_true() -> None:
    rng = np.random.default_rng(0)
    p = rng.uniform(size=200_000)
    mattered = rng.uniform(size=len(p)) < p
    costs = {t: mean_cost(mattered, p, t, miss=9.0, alarm=1.0) for t in np.linspace(0.02, 0.5, 25).round(2).tolist()}

    assert min(costs, key=lambda t: costs[t]) == pytest.approx(cost_threshold(miss=9.0, alarm=1.0), abs=0.021)


def test_a_mean_cost_counts_misses_and_false_alarms() -> None:
    mattered, p = np.array([True, True, False, False, False]), [0.9, 0.1, 0.6, 0.2, 0.1]

    assert mean_cost(mattered, p, 0.5, miss=10.0, alarm=1.0) == (10 + 1) / 5
    assert mean_cost(mattered, p, 0.1, miss=10.0, alarm=1.0) == 3 / 5  # at the threshold the alarm is raised
    assert mean_cost(mattered, p, 0.95, miss=10.0, alarm=1.0) == 20 / 5


def test_the_cheapest_threshold_is_cheaper_than_any_other() -> None:
    rng = np.random.default_rng(2)
    p, mattered = rng.uniform(size=60), rng.uniform(size=60) < 0.3
    found = cheapest_threshold(mattered, p, miss=4.0, alarm=1.0)

    best = mean_cost(mattered, p, found, miss=4.0, alarm=1.0)
    assert all(best <= mean_cost(mattered, p, t, miss=4.0, alarm=1.0) for t in np.linspace(0, 1, 201).tolist())
    assert cheapest_threshold(np.array([False, False]), [0.3, 0.7], miss=1.0, alarm=1.0) > 0.7
    assert cheapest_threshold(np.array([True, True]), [0.3, 0.7], miss=1.0, alarm=1.0) == 0.0


@pytest.mark.parametrize(
    ("costs", "message"),
    [({"miss": 0.0, "alarm": 1.0}, "miss is 0.0"), ({"miss": 1.0, "alarm": -2.0}, "alarm is -2.0")],
)
def test_costs_are_above_zero(costs: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        cost_threshold(**costs)


def test_each_text_has_one_probability() -> None:
    with pytest.raises(ValueError, match=r"\(3,\) probabilities and \(2,\) outcomes"):
        mean_cost(np.array([True, False]), [0.1, 0.2, 0.3], 0.5, miss=1.0, alarm=1.0)


# Sorting


def score(texts: list[str]) -> Any:
    return np.array([[0.7, 0.2, 0.1] if "pay" in text else [0.25, 0.4, 0.35] for text in texts])


def test_a_sorter_answers_alarms_and_abstains() -> None:
    sort = Sorter(score=score, labels=LABELS, least=0.5, urgent=("bill", "poem"), threshold=0.65)
    sure, unsure = sort(["please pay", "a horse walks in"])

    assert (sure.label, sure.alarm, sure.probability) == ("bill", True, pytest.approx(0.7))
    assert (unsure.label, unsure.alarm) == (None, False)
    assert unsure.probabilities == pytest.approx({"bill": 0.25, "joke": 0.4, "poem": 0.35})
    assert sort([]) == []


def test_a_sorter_without_urgent_classes_never_alarms() -> None:
    assert not any(each.alarm for each in Sorter(score=score, labels=LABELS, threshold=0.0)(["pay", "play"]))


def test_the_temperature_of_a_sorter_is_applied() -> None:
    cold, plain = (Sorter(score=score, labels=LABELS, temperature=t)(["pay"])[0] for t in (0.5, 1.0))

    assert cold.probability == pytest.approx(0.49 / (0.49 + 0.04 + 0.01))
    assert plain.probability == pytest.approx(0.7)


@pytest.mark.parametrize(
    ("texts", "error", "message"),
    [
        ("please pay", TypeError, "texts is one text .'please pay'.; put it into a list"),
        (["pay", "  "], ValueError, r"texts\[1\] is empty: there is nothing to sort"),
        (["pay", None], TypeError, r"texts\[1\] is None"),
        ([3], TypeError, r"texts\[0\] is of type int"),
    ],
)
def test_what_is_no_list_of_texts_is_refused(unchecked: None, texts: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        Sorter(score=score, labels=LABELS)(texts)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"labels": ("bill",)}, "needs at least 2 classes"),
        ({"labels": ("bill", "bill")}, "each with a name of its own"),
        ({"urgent": ("fire",)}, "urgent names 'fire', which is none of bill, joke, poem"),
        ({"least": 1.5}, "least is 1.5; it is a probability"),
        ({"threshold": -0.1}, "threshold is -0.1; it is a probability"),
        ({"temperature": 0.0}, "temperature is 0.0"),
    ],
)
def test_a_sorter_that_cannot_be_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Sorter(**{"score": score, "labels": LABELS} | changes)


def test_a_score_of_another_shape_is_refused() -> None:
    with pytest.raises(ValueError, match=r"score gave an array of shape \(1, 3\) for 1 texts and 2 classes"):
        Sorter(score=score, labels=("bill", "joke"))(["pay"])
