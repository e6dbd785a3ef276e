"""Decisions: what to do about a text when the model says how sure it is."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy.typing import ArrayLike, NDArray

from llmguide import inspection

Probabilities = Float[np.ndarray, "N C"]  # of N texts and C classes; each row sums to 1
COLDEST, HOTTEST = 1 / 64, 64.0  # between which the temperature is sought
SMALLEST = 1e-12  # a probability of exactly 0 has no logarithm


@dataclass(frozen=True)
class Decision:
    """What was decided about one text."""

    label: str | None  # the most probable class, or None: no class is probable enough, and a person must read it
    probability: float  # of the most probable class
    probabilities: Mapping[str, float]
    alarm: bool  # the classes that must not be missed are together probable enough


@dataclass(frozen=True, kw_only=True)
class Sorter:
    """A classifier that says so when it does not know, and raises an alarm when missing a text would cost more.

    Args:
        score: texts to the probability of each class: (texts, classes).
        labels: the names of the classes.
        temperature: what `fit_temperature` found; 1 leaves the probabilities as they are.
        least: below this probability of the best class there is no answer.
        urgent: the classes that must not be missed.
        threshold: the alarm is raised from this probability of an urgent class; `cost_threshold` gives it.

    Raises:
        ValueError: a value that cannot be; the message names it.

    Taught in: applications/classification
    """

    score: Callable[[list[str]], NDArray[np.floating]]
    labels: tuple[str, ...]
    temperature: float = 1.0
    least: float = 0.0
    urgent: tuple[str, ...] = field(default=())
    threshold: float = 0.5

    def __post_init__(self) -> None:
        if len(self.labels) < 2 or len(set(self.labels)) < len(self.labels):
            raise ValueError(f"labels is {self.labels}; a sorter needs at least 2 classes, each with a name of its own")
        unknown = [name for name in self.urgent if name not in self.labels]
        if unknown:
            raise ValueError(f"urgent names {unknown[0]!r}, which is none of {', '.join(self.labels)}")
        _positive(temperature=self.temperature)
        for name in ("least", "threshold"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} is {getattr(self, name)}; it is a probability, from 0 to 1")

    def __call__(self, texts: Sequence[str]) -> list[Decision]:
        """What to do about each text.

        Raises:
            TypeError: `texts` is one text and not a list of them, or a row is no text.
            ValueError: a text is empty: nothing can be decided about it.
        """
        if isinstance(texts, str):
            raise TypeError(f"texts is one text ({texts[:40]!r}); put it into a list")
        empty = [row for row, text in enumerate(texts) if isinstance(text, str) and not text.strip()]
        if empty:
            raise ValueError(f"texts[{empty[0]}] is empty: there is nothing to sort; leave it out")
        texts = inspection.check_texts(texts)
        if not texts:
            return []
        found = tempered(np.asarray(self.score(texts), dtype=np.float64), self.temperature)
        if found.shape != (len(texts), len(self.labels)):
            raise ValueError(
                f"score gave an array of shape {found.shape} for {len(texts)} texts and {len(self.labels)} classes"
            )
        return [self._decide(row) for row in found]

    def _decide(self, row: NDArray[np.float64]) -> Decision:
        best = int(row.argmax())
        named = {name: float(value) for name, value in zip(self.labels, row, strict=True)}
        return Decision(
            label=self.labels[best] if row[best] >= self.least else None,
            probability=float(row[best]),
            probabilities=named,
            alarm=bool(self.urgent) and sum(named[name] for name in self.urgent) >= self.threshold,
        )


def tempered(probabilities: Probabilities, temperature: float) -> Float[np.ndarray, "N C"]:
    r"""Probabilities made less sure (T > 1) or more sure (T < 1): $p_c^{1/T} / \sum_k p_k^{1/T}$.

    It is the softmax of the logits over T, because a softmax forgets what is added to all of its logits. The order of
    the classes stays, and with it every answer.

    Raises:
        ValueError: the temperature is not above 0, or the rows are no probabilities.

    Taught in: applications/classification
    Source: guo2017calibration, section 4.2
    """
    _positive(temperature=temperature)
    scaled = np.log(np.maximum(_rows(probabilities), SMALLEST)) / temperature
    raised = np.exp(scaled - scaled.max(axis=1, keepdims=True))
    return np.asarray(raised / raised.sum(axis=1, keepdims=True))


def fit_temperature(probabilities: Probabilities, labels: Sequence[int] | Int[np.ndarray, " N"]) -> float:
    r"""The temperature at which held-out labels surprise least: $\arg\min_T -\frac1N \sum_n \ln p^{(T)}_{n, y_n}$.

    In $1/T$ this mean is convex, so that a search by halves finds the one minimum between 1/64 and 64. Where every
    answer is right, surer is always better, and 1/64 comes back.

    Args:
        probabilities: of texts that the model was not trained on.

    Raises:
        ValueError: no texts, as many labels as not texts, or a label that is no class.

    Taught in: applications/classification
    Source: guo2017calibration, section 4.2
    """
    logs = np.log(np.maximum(_rows(probabilities), SMALLEST))
    true = np.asarray(labels)
    if len(true) != len(logs) or len(true) == 0:
        raise ValueError(f"{len(logs)} rows of probabilities and {len(true)} labels; give one label a row")
    if not ((true >= 0) & (true < logs.shape[1])).all():
        raise ValueError(f"a label is a number from 0 to {logs.shape[1] - 1}; got {true.min()} to {true.max()}")
    right = logs[np.arange(len(true)), true].mean()

    def slope(cold: float) -> float:
        """Of the mean surprise in 1/T: what the tempered model expects of its own logs, minus those of the labels."""
        scaled = logs * cold
        weights = np.exp(scaled - scaled.max(axis=1, keepdims=True))
        weights /= weights.sum(axis=1, keepdims=True)
        return float((weights * logs).sum(axis=1).mean() - right)

    low, high = 1 / HOTTEST, 1 / COLDEST
    if slope(low) >= 0:
        return HOTTEST
    if slope(high) <= 0:
        return COLDEST
    while high / low > 1 + 1e-9:
        middle = (low * high) ** 0.5
        low, high = (middle, high) if slope(middle) < 0 else (low, middle)
    return 1 / low


def cost_threshold(*, miss: float, alarm: float) -> float:
    r"""From which probability on an alarm is cheaper than silence: $1 / (1 + \text{miss} / \text{alarm})$.

    Silence costs $p \cdot \text{miss}$ on average, an alarm $(1 - p) \cdot \text{alarm}$; the threshold is where the
    two are equal. It is right if p is: see `metrics.calibration`.

    Args:
        miss: what it costs to keep silent about a text that mattered.
        alarm: what it costs to raise the alarm for one that did not, in the same unit.

    Raises:
        ValueError: a cost that is not above 0.

    Taught in: applications/classification
    Source: elkan2001foundations
    """
    _positive(miss=miss, alarm=alarm)
    return alarm / (alarm + miss)


def mean_cost(
    mattered: Bool[np.ndarray, " N"], probabilities: ArrayLike, threshold: float, *, miss: float, alarm: float
) -> float:
    """What a text costs on average if the alarm is raised from this probability on.

    Raises:
        ValueError: no texts, lengths that differ, or a cost that is not above 0.

    Taught in: applications/classification
    """
    _positive(miss=miss, alarm=alarm)
    p = np.asarray(probabilities, dtype=np.float64)
    if p.shape != mattered.shape or len(p) == 0:
        raise ValueError(f"{p.shape} probabilities and {mattered.shape} outcomes; give one each a text, at least one")
    raised = p >= threshold
    return float((miss * (mattered & ~raised) + alarm * (~mattered & raised)).mean())


def cheapest_threshold(
    mattered: Bool[np.ndarray, " N"], probabilities: ArrayLike, *, miss: float, alarm: float
) -> float:
    """The threshold with the least `mean_cost` on these texts, found by trying all; of equals the lowest.

    It needs no calibration, but it is chosen on few texts, and for one pair of costs. A probability of exactly 1 raises
    the alarm at every threshold.

    Raises:
        ValueError: as `mean_cost`.

    Taught in: applications/classification
    """
    p = np.sort(np.asarray(probabilities, dtype=np.float64).ravel())
    between = [0.0, *((p[1:] + p[:-1]) / 2), 1.0]
    costs = [mean_cost(mattered, probabilities, each, miss=miss, alarm=alarm) for each in between]
    return float(between[int(np.argmin(costs))])


def _positive(**values: float) -> None:
    for name, value in values.items():
        if not 0 < value < float("inf"):
            raise ValueError(f"{name} is {value}; it must be a finite number above 0")


def _rows(probabilities: Probabilities) -> NDArray[np.float64]:
    rows = np.asarray(probabilities, dtype=np.float64)
    if rows.size and not ((rows >= 0).all() and np.allclose(rows.sum(axis=1), 1, atol=1e-3)):
        raise ValueError("each row is the probabilities of one text and sums to 1; put logits through a softmax")
    return rows
