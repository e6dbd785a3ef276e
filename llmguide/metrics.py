"""Metrics: numbers a reader compares, and how far chance alone could move them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from math import exp, log
from typing import Any, Literal, SupportsFloat

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

Column = Sequence[Any] | NDArray[Any] | Tensor  # one value an example
Metric = Callable[..., SupportsFloat]  # of one or more columns


@dataclass(frozen=True)
class Calibration:
    """How far the probabilities a model claims are from what comes true, bin by bin; empty bins are left out."""

    error: float  # the expected calibration error, 0 to 1
    claimed: NDArray[np.float64]  # the mean probability claimed in each bin
    observed: NDArray[np.float64]  # the share that came true in each bin
    counts: NDArray[np.int64]  # how many examples each bin holds


@dataclass(frozen=True)
class Interval:
    """A number measured on a sample of examples, and the bounds between which chance could move it."""

    value: float  # what the examples themselves give
    low: float
    high: float
    resamples: int  # how many the bounds rest on

    def __str__(self) -> str:
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"


@dataclass(frozen=True)
class Comparison:
    """Two models on the same examples."""

    difference: Interval  # the second's metric minus the first's
    first_only: int  # examples that only the first model gets right
    second_only: int
    p: float  # McNemar's exact two-sided p: how often fair coins split these examples at least as unevenly


def accuracy(labels: Column, predictions: Column) -> float:
    """The share of examples whose prediction is the label.

    Raises:
        ValueError: no examples, or not as many predictions as labels.

    Taught in: finetuning/sentiment
    """
    true, predicted = _columns(labels=labels, predictions=predictions)
    return float((true == predicted).mean())


def f1(
    labels: Column, predictions: Column, *, average: Literal["binary", "macro"] = "macro", positive: object = 1
) -> float:
    r"""Precision and recall in one number: $2\,TP / (2\,TP + FP + FN)$ of one class, or the mean over classes.

    Args:
        average: `binary` scores the class `positive` alone; `macro` takes the plain mean over all classes that occur
            among labels or predictions, so that a rare class counts as much as a common one.

    Returns:
        0 for a class that is never predicted, or never right: no warning, and no NaN.

    Raises:
        ValueError: no examples, lengths that differ, labels of one class only, no such positive class.
    """
    classes, counts = _confusion(labels, predictions)
    present = classes[counts.sum(axis=1) > 0].tolist()
    if len(present) < 2:
        raise ValueError(f"F1 needs labels of at least 2 classes; all {counts.sum()} labels are {present[0]!r}")
    scores = 2 * counts.diagonal() / (counts.sum(axis=0) + counts.sum(axis=1))  # each class occurs: no 0 / 0
    if average == "macro":
        return float(scores.mean())
    if len(classes) > 2 or positive not in present:
        raise ValueError(f"binary F1 needs two classes, one of them {positive!r}; there are {classes.tolist()}")
    return float(scores[classes.tolist().index(positive)])


def confusion(labels: Column, predictions: Column, *, classes: Sequence[Any] | None = None) -> NDArray[np.int64]:
    """How many examples of each class (rows) were predicted as each class (columns).

    Args:
        classes: the order of rows and columns, and classes that do not occur; None takes what occurs, sorted.

    Raises:
        ValueError: no examples, lengths that differ, or an example of a class that `classes` lacks.
    """
    found, counts = _confusion(labels, predictions)
    if classes is None:
        return counts
    unknown = sorted(set(found.tolist()) - set(classes))
    if unknown:
        raise ValueError(f"{unknown} occur among labels or predictions and are not in classes {list(classes)}")
    result = np.zeros((len(classes), len(classes)), dtype=np.int64)
    places = [list(classes).index(name) for name in found.tolist()]
    result[np.ix_(places, places)] = counts
    return result


def calibration(outcomes: Column, probabilities: Column, *, bins: int = 10) -> Calibration:
    r"""Does what a model calls 80 % sure come true 8 times in 10? Claimed and observed, in bins of equal width.

    The expected calibration error is $\sum_m \frac{n_m}{N} |\text{observed}_m - \text{claimed}_m|$. For two classes
    give the labels and the probabilities of class 1; for more, `predictions == labels` and the largest probabilities.

    Args:
        outcomes: 1 (or True) where what the probability speaks of came true, else 0.
        probabilities: what the model claimed, 0 to 1. A bin holds its upper edge, not its lower one.

    Raises:
        ValueError: no examples, lengths that differ, a probability outside 0..1, an outcome that is not 0 or 1.

    Taught in: finetuning/sentiment
    Source: guo2017calibration
    """
    came_true, claims = _columns(outcomes=outcomes, probabilities=probabilities)
    if bins < 1:
        raise ValueError(f"bins is {bins}; it must be at least 1")
    wrong = claims[~((claims >= 0) & (claims <= 1))]  # written so that NaN is wrong too
    if len(wrong):
        raise ValueError(f"a probability lies between 0 and 1; got {wrong[0]} (logits go through a softmax first)")
    if not np.isin(came_true, (0, 1)).all():
        raise ValueError(f"an outcome is 0 or 1; got {came_true[~np.isin(came_true, (0, 1))][0]}")
    places = np.searchsorted(np.linspace(0, 1, bins + 1)[1:-1], claims)
    counts = np.bincount(places, minlength=bins)
    held = counts > 0
    claimed = np.bincount(places, weights=claims, minlength=bins)[held] / counts[held]
    observed = np.bincount(places, weights=came_true, minlength=bins)[held] / counts[held]
    error = float((counts[held] * np.abs(observed - claimed)).sum() / len(claims))
    return Calibration(error, claimed, observed, counts[held])


def bootstrap(metric: Metric, *columns: Column, resamples: int = 1000, level: float = 0.95, seed: int = 0) -> Interval:
    """Between what bounds would a metric lie on other test sets of this size? Examples are drawn again, with repeats.

    The interval holds the middle `level` of the metric over the resamples (the percentile bootstrap). It speaks of
    chance in the choice of examples, and of nothing else: not of another seed in training.

    Args:
        metric: a function of the columns: `accuracy`, `f1`, scikit-learn's, the reader's own.
        columns: what the metric takes, one value an example: labels and predictions, say. Rows stay together.

    Raises:
        ValueError: no examples, lengths that differ, or a metric that more than half of the resamples leave undefined
            (it raises ValueError or gives NaN, as F1 does without a class); fewer are left out.

    Taught in: finetuning/sentiment
    Source: efron1979bootstrap
    """
    if resamples < 2 or not 0 < level < 1:
        raise ValueError(f"bootstrap needs 2 resamples or more and a level between 0 and 1; got {resamples}, {level}")
    arrays = _columns(**{f"column {place}": column for place, column in enumerate(columns, 1)})
    value = float(metric(*arrays))
    generator = np.random.default_rng(seed)
    found = []
    for _ in range(resamples):
        rows = generator.integers(len(arrays[0]), size=len(arrays[0]))
        try:
            found.append(float(metric(*(array[rows] for array in arrays))))
        except ValueError:  # the metric of all examples was fine: this resample lost a class
            continue
    defined = np.array([number for number in found if number == number])
    if 2 * len(defined) < resamples:
        raise ValueError(
            f"the metric is undefined in {resamples - len(defined)} of {resamples} resamples of {len(arrays[0])} "
            "examples; a class is too rare to resample"
        )
    low, high = np.quantile(defined, [(1 - level) / 2, (1 + level) / 2])
    return Interval(value, float(low), float(high), len(defined))


def compare(
    labels: Column,
    first: Column,
    second: Column,
    *,
    metric: Metric = accuracy,
    resamples: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> Comparison:
    r"""Is the second model better than the first, or luckier? Both are judged on the same examples, pair by pair.

    The difference has a paired bootstrap interval: each resample draws examples, and with each the answers of both.
    McNemar's test looks only at the n examples that one model gets right and the other wrong: with k on the rarer side,
    $p = \min(1, 2 \sum_{i \le k} \binom{n}{i} / 2^n)$.

    Args:
        first: the first model's predictions.
        second: the second model's predictions, of the same examples in the same order.
        metric: a function of labels and predictions.

    Raises:
        ValueError: as `bootstrap`.

    Taught in: finetuning/sentiment
    Source: koehn2004statistical; mcnemar1947note
    """
    true, a, b = _columns(labels=labels, first=first, second=second)

    def difference(true: Column, a: Column, b: Column) -> float:
        return float(metric(true, b)) - float(metric(true, a))

    interval = bootstrap(difference, true, a, b, resamples=resamples, level=level, seed=seed)
    first_only, second_only = int(((a == true) & (b != true)).sum()), int(((a != true) & (b == true)).sum())
    n, fewer = first_only + second_only, min(first_only, second_only)
    ways = accumulate(range(fewer), lambda ways, i: ways * (n - i) // (i + 1), initial=1)  # n over 0, 1, ..., fewer
    p = min(1.0, 2 * sum(ways) / 2**n)
    return Comparison(interval, first_only, second_only, p)


def perplexity(nats: SupportsFloat, tokens: int) -> float:
    """Among how many equally likely tokens the model hesitates: exp of the mean surprise a token.

    Args:
        nats: the sum of -log p over all tokens (a mean of means of batches is something else).

    Raises:
        ValueError: no tokens, or a sum that is negative or NaN.

    Taught in: objective/maximum-likelihood
    """
    return exp(_surprise(nats, tokens, "token"))


def bits_per_byte(nats: SupportsFloat, size: int) -> float:
    r"""The surprise of a text a byte, comparable between tokenizers: $\text{nats} / (\ln 2 \cdot \text{bytes})$.

    Args:
        nats: the sum of -log p over all tokens of the text.
        size: the text's length in bytes, `len(text.encode())`.

    Raises:
        ValueError: no bytes, or a sum that is negative or NaN.

    Taught in: objective/maximum-likelihood
    """
    return _surprise(nats, size, "byte") / log(2)


def entropy(probabilities: Float[Tensor, "*B S"]) -> Float[Tensor, "*B"]:
    r"""How spread out a distribution is, in nats: 0 for a certain choice, ln S for S equal ones.

    $-\sum_s p_s \ln p_s$, with $0 \ln 0 = 0$.

    Taught in: attention/masks-and-heads
    """
    return -torch.special.xlogy(probabilities, probabilities).sum(dim=-1)


def _surprise(nats: SupportsFloat, count: int, unit: str) -> float:
    if count < 1:
        raise ValueError(f"a surprise per {unit} needs at least one {unit}, got {count}")
    if not float(nats) >= 0:
        raise ValueError(f"a sum of -log p is 0 or more, got {float(nats)}")
    return float(nats) / count


def _columns(**columns: Column) -> list[NDArray[Any]]:
    """The columns as arrays: one axis each, of one length."""
    arrays = {name: _array(column) for name, column in columns.items()}
    shapes = {name: array.shape for name, array in arrays.items()}
    if len(set(shapes.values())) != 1 or any(len(shape) != 1 for shape in shapes.values()):
        raise ValueError(f"each column holds one value an example, all of one length; got shapes {shapes}")
    if (0,) in shapes.values():
        raise ValueError(f"no examples: {' and '.join(shapes)} are empty")
    return list(arrays.values())


def _array(column: Column) -> NDArray[Any]:
    if isinstance(column, Tensor):
        column = column.detach().cpu()
        return np.asarray(column.float() if column.dtype == torch.bfloat16 else column)
    return np.asarray(column)


def _confusion(labels: Column, predictions: Column) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """The classes that occur, sorted, and the counts of (label, prediction)."""
    true, predicted = _columns(labels=labels, predictions=predictions)
    classes = np.unique(np.concatenate([true, predicted]))
    size = len(classes)
    cells = np.searchsorted(classes, true) * size + np.searchsorted(classes, predicted)
    return classes, np.bincount(cells, minlength=size * size).reshape(size, size)
