"""Two ways to do the same work, timed in turns, so that what else the machine does falls on both."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median, quantiles

Work = Callable[[], object]


@dataclass(frozen=True)
class Contest:
    """The same work done by us and by a peer.

    Args:
        goal: how many times as fast as the peer we want to be at least; None where there is nothing to win.
    """

    name: str
    peer: str
    ours: Work
    theirs: Work
    goal: float | None = None


@dataclass(frozen=True)
class Result:
    """Seconds of one piece of work, ours and theirs, in the order of the turns."""

    contest: Contest
    ours: list[float]
    theirs: list[float]

    @property
    def ratios(self) -> list[float]:
        """How many times as fast we are, turn by turn."""
        return [theirs / ours for ours, theirs in zip(self.ours, self.theirs, strict=True)]

    @property
    def ratio(self) -> float:
        return median(self.ratios)

    @property
    def spread(self) -> tuple[float, float]:
        """Between these lies the middle half of the turns."""
        low, _, high = quantiles(self.ratios, n=4, method="inclusive")
        return low, high

    @property
    def reached(self) -> bool:
        return self.contest.goal is None or self.ratio >= self.contest.goal


def run(contest: Contest, *, turns: int, seconds: float) -> Result:
    """Time both, one after the other, after a warm-up; who goes first changes with every turn.

    Args:
        turns: how often each is timed, at least 2.
        seconds: how long one timing lasts at least; short work is repeated to fill it.
    """
    for work in (contest.ours, contest.theirs):
        work()  # the first time allocates and compiles
    times = max(1, round(seconds / _timed(contest.ours)))
    seen: dict[Work, list[float]] = {contest.ours: [], contest.theirs: []}
    for turn in range(turns):
        order = (contest.ours, contest.theirs) if turn % 2 == 0 else (contest.theirs, contest.ours)
        for work in order:
            seen[work].append(_timed(work, times=times))
    return Result(contest, seen[contest.ours], seen[contest.theirs])


def _timed(work: Work, *, times: int = 1) -> float:
    start = time.perf_counter()
    for _ in range(times):
        work()
    return (time.perf_counter() - start) / times
