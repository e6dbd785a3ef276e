"""Preference: which of two answers somebody likes better, many times over, becomes a score with an interval."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from llmguide.metrics import Interval

MOST_STEPS, FARTHEST = 50, 15.0  # of Newton's method; log-odds beyond it are on their way to infinity
TINY = 1e-10  # what rounding makes of a zero: scores are free up to a constant


@dataclass(frozen=True)
class Battle:
    """Two systems answered one question, and somebody judged.

    Args:
        first: the system whose answer was shown first.
        second: the system whose answer was shown second.
        won: 1 where the first was preferred, 0 where the second was, 0.5 for a tie.
    """

    first: str
    second: str
    won: float


@dataclass(frozen=True)
class Ranking:
    """Bradley-Terry scores of several systems.

    Args:
        names: the systems, best first.
        scores: in nats of odds, their mean 0: a system 1 above another is preferred with odds of e to 1.
        position: what being shown first adds, on the same scale; 0 where it was not fitted.
        covariate: what one unit of the covariate adds; 0 where there was none.
        covariance: of the scores, position and covariate, in this order.
        level: of every interval.
    """

    names: tuple[str, ...]
    scores: NDArray[np.float64]
    position: float
    covariate: float
    covariance: NDArray[np.floating]
    battles: int
    level: float

    def interval(self, name: str) -> Interval:
        """A system's score, with its interval by Fisher's information."""
        return self._interval(np.eye(len(self.covariance))[self._place(name)])

    def difference(self, first: str, second: str) -> Interval:
        """How far `first` stands above `second`: not the difference of two intervals, since scores vary together."""
        unit = np.eye(len(self.covariance))
        return self._interval(unit[self._place(first)] - unit[self._place(second)])

    def win_rate(self, first: str, second: str) -> Interval:
        """How often `first` is preferred to `second`, other things being equal: the logistic of the difference."""
        found = self.difference(first, second)
        value, low, high = (float(_logistic(number)) for number in (found.value, found.low, found.high))
        return Interval(value, low, high, self.battles)

    def effects(self) -> tuple[Interval, Interval]:
        """What position and covariate add."""
        *_, position, covariate = np.eye(len(self.covariance))
        return self._interval(position), self._interval(covariate)

    def _place(self, name: str) -> int:
        if name not in self.names:
            raise ValueError(f"{name!r} is none of the systems: {', '.join(self.names)}")
        return self.names.index(name)

    def _interval(self, weights: NDArray[np.float64]) -> Interval:
        value = float(np.array([*self.scores, self.position, self.covariate]) @ weights)
        width = NormalDist().inv_cdf((1 + self.level) / 2) * float(weights @ self.covariance @ weights) ** 0.5
        return Interval(value, value - width, value + width, self.battles)


def win_rates(battles: Sequence[Battle]) -> tuple[tuple[str, ...], Float[np.ndarray, "N N"]]:
    """How often each system (row) was preferred to each other one (column), ties by halves; NaN where they never met.

    Raises:
        ValueError: no battles, or one that cannot be.

    Taught in: applications/evaluation
    """
    names, first, second, won = _checked(battles)
    wins, met = np.zeros((len(names), len(names))), np.zeros((len(names), len(names)))
    np.add.at(wins, (first, second), won)
    np.add.at(wins, (second, first), 1 - won)
    np.add.at(met, (first, second), 1)
    np.add.at(met, (second, first), 1)
    return names, np.divide(wins, met, out=np.full_like(wins, np.nan), where=met > 0)


def bradley_terry(
    battles: Sequence[Battle],
    *,
    position: bool = False,
    covariate: Sequence[float] | Float[np.ndarray, " N"] | None = None,
    level: float = 0.95,
) -> Ranking:
    r"""One score a system, so that differences of scores explain who was preferred to whom.

    $P(\text{first preferred}) = \sigma(s_{\text{first}} - s_{\text{second}} + b + c\,x)$, with the logistic function
    $\sigma$, $b$ what being shown first adds and $c\,x$ what a covariate adds. It is a logistic regression, fitted by
    maximum likelihood with Newton's method; intervals are those of Fisher's information.

    Args:
        position: fit $b$; otherwise it is 0.
        covariate: $x$, one number a battle, such as how much longer the first answer is; None: no such term.
        level: of the intervals.

    Raises:
        ValueError: no battles, or one that cannot be; a group of systems that never lost to the others, or never met
            them, for then no finite scores fit best; a position or covariate that decides every battle, or that
            cannot be told apart from the systems.

    Taught in: applications/evaluation
    Source: bradley1952rank; davidson1977extending for the position
    """
    names, first, second, won = _checked(battles)
    if not 0 < level < 1:
        raise ValueError(f"level is {level}; it must lie between 0 and 1")
    _check_connected(names, first, second, won)
    count, rows = len(names), np.arange(len(won))
    design = np.zeros((len(won), count + 2))
    design[rows, first] += 1
    design[rows, second] -= 1
    design[:, count] = position
    if covariate is not None:
        values = np.asarray(covariate, dtype=float)
        if values.shape != won.shape or not np.isfinite(values).all():
            raise ValueError(f"the covariate needs one finite number for each of {len(won)} battles")
        design[:, count + 1] = values
    free = count - 1 + int(position) + int(covariate is not None)  # scores are free up to a constant
    if np.linalg.matrix_rank(design) < free:
        raise ValueError(
            "position or covariate cannot be told apart from the systems: vary it within each pair of systems "
            "(show both orders, other lengths), or leave the term out"
        )
    found, information = np.zeros(count + 2), np.zeros((count + 2, count + 2))
    for _ in range(MOST_STEPS):
        expected = _logistic(design @ found)
        information = design.T @ ((expected * (1 - expected))[:, None] * design)
        step = np.linalg.pinv(information, rcond=TINY, hermitian=True) @ (
            design.T @ (won - expected)
        )  # keeps the mean score at 0
        found += step
        if np.abs(design @ found).max() > 2 * FARTHEST or np.abs(step).max() < 1e-10:
            break
    if np.abs(design @ found).max() > FARTHEST:
        raise ValueError(
            "position or covariate decides (nearly) every battle, so that no finite scores fit best; "
            "show both orders, collect more battles, or leave the term out"
        )
    order = np.argsort(-found[:count], kind="stable")
    places = [*order, count, count + 1]
    covariance = np.linalg.pinv(information, rcond=TINY, hermitian=True)[np.ix_(places, places)]
    return Ranking(
        names=tuple(names[place] for place in order),
        scores=found[order],
        position=float(found[count]),
        covariate=float(found[count + 1]),
        covariance=covariance,
        battles=len(won),
        level=level,
    )


def battles_needed(win_rate: float, *, margin: float, level: float = 0.95) -> int:
    r"""How many battles of two systems put the win rate within `margin`: $n = z^2 p (1 - p) / m^2$, rounded up.

    Args:
        win_rate: $p$, the rate that one expects; 0.5 asks for the most.
        margin: $m$, half the width of the interval.

    Raises:
        ValueError: a rate, margin or level that is not between 0 and 1.

    Taught in: applications/evaluation
    """
    for name, value in (("win_rate", win_rate), ("margin", margin), ("level", level)):
        if not 0 < value < 1:
            raise ValueError(f"{name} is {value}; it must lie between 0 and 1")
    z = NormalDist().inv_cdf((1 + level) / 2)
    return int(np.ceil(z**2 * win_rate * (1 - win_rate) / margin**2))


def _logistic(x: NDArray[np.float64] | float) -> NDArray[np.float64]:
    return np.asarray(1 / (1 + np.exp(-np.clip(x, -500, 500))))


def _checked(
    battles: Sequence[Battle],
) -> tuple[tuple[str, ...], NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    if not battles:
        raise ValueError("no battles; give at least one")
    for number, battle in enumerate(battles):
        if not isinstance(battle, Battle):
            raise ValueError(f"battle {number} is {battle!r}; write Battle(first, second, won)")
        if battle.first == battle.second:
            raise ValueError(f"battle {number}: {battle.first!r} against itself")
        if not 0 <= battle.won <= 1:  # written so that NaN is wrong too
            raise ValueError(
                f"battle {number}: won is {battle.won}; 1 the first was preferred, 0 the second, 0.5 a tie"
            )
    names = tuple(sorted({name for battle in battles for name in (battle.first, battle.second)}))
    places = {name: place for place, name in enumerate(names)}
    first = np.array([places[battle.first] for battle in battles])
    second = np.array([places[battle.second] for battle in battles])
    return names, first, second, np.array([float(battle.won) for battle in battles])


def _check_connected(
    names: tuple[str, ...], first: NDArray[np.int64], second: NDArray[np.int64], won: NDArray[np.float64]
) -> None:
    """Whoever is asked, a way of wins leads to everybody else; without one some score would be infinite."""
    beat = np.eye(len(names), dtype=bool)
    beat[first[won > 0], second[won > 0]] = True
    beat[second[won < 1], first[won < 1]] = True
    for middle in range(len(names)):
        beat |= beat[:, [middle]] & beat[[middle], :]
    for place, name in enumerate(names):
        missed = [other for other, reached in zip(names, beat[place], strict=True) if not reached]
        if missed:
            raise ValueError(
                f"{name} never won against {', '.join(missed)}, not even by way of others, so that no finite scores "
                "fit best; collect more battles between them"
            )
