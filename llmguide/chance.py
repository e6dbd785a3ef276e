"""Chance: programs that make choices, run at random or through all their choices, with exact probabilities."""

import math
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar, runtime_checkable

T = TypeVar("T")


@runtime_checkable
class Chooser(Protocol):
    """Whatever decides: chance while a world is sampled, a counter while it is enumerated."""

    def pick(self, options: Sequence[T], weights: Sequence[float] | None = None) -> T:
        """One of the options, with probability in proportion to its weight (equal where None)."""


@dataclass
class Chance:
    """Decides at random and keeps the log-probability, in nats, of everything it has decided."""

    generator: random.Random
    log_probability: float = 0.0

    def pick(self, options: Sequence[T], weights: Sequence[float] | None = None) -> T:
        """One option by chance."""
        chances = _normalised(len(options), weights)
        index = self.generator.choices(range(len(options)), chances)[0]
        self.log_probability += math.log(chances[index])
        return options[index]


def enumerate_all(program: Callable[[Chooser], T]) -> Iterator[tuple[T, float]]:
    """Every result a program of choices can have, with the log-probability of the choices that lead to it.

    For worlds that were cut down to a few choices: the number of paths grows exponentially.
    """
    pending: list[tuple[int, ...]] = [()]
    while pending:
        path = _Path(pending.pop())
        yield program(path), path.log_probability
        taken = path.taken
        for depth in range(len(path.forced), len(taken)):
            pending.extend((*taken[:depth], index) for index in range(1, path.widths[depth]))


@dataclass
class _Path:
    """Follows forced choices, then always takes the first: enough to visit every path once."""

    forced: tuple[int, ...]
    taken: tuple[int, ...] = ()
    widths: tuple[int, ...] = ()
    log_probability: float = 0.0

    def pick(self, options: Sequence[T], weights: Sequence[float] | None = None) -> T:
        """The forced option, or the first."""
        depth = len(self.taken)
        index = self.forced[depth] if depth < len(self.forced) else 0
        self.taken, self.widths = (*self.taken, index), (*self.widths, len(options))
        self.log_probability += math.log(_normalised(len(options), weights)[index])
        return options[index]


def _normalised(count: int, weights: Sequence[float] | None) -> list[float]:
    weights = [1.0] * count if weights is None else list(weights)
    total = sum(weights)
    return [weight / total for weight in weights]
