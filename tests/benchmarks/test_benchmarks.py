"""Every benchmark runs, small and untimed, so that none can rot; what it says of the times is computed rightly."""

import itertools
import sys
import time
from collections.abc import Callable
from functools import partial

import pytest

from tests.benchmarks import __main__ as program
from tests.benchmarks import contests, race
from tests.benchmarks.race import Contest, Result

SMALL = {"layers": 1, "heads": 2, "width": 8, "goal": 1.0}
SMALLEST = {
    contests.fused_beside_torchs: {"length": 5, "heads": 2, "width": 3},
    contests.fused_beside_explicit: {"length": 5, "heads": 2, "width": 3},
    contests.training_step: SMALL | {"context": 5, "batch": 2},
    contests.generation: SMALL | {"new_tokens": 3},
    contests.tokenizer_training: {"characters": 5_000, "vocabulary": 300},
    contests.encoding: {"characters": 5_000, "vocabulary": 300},
}


def nothing() -> None: ...


def test_every_contest_can_be_made_small() -> None:
    assert {make.func for make in contests.CONTESTS} == SMALLEST.keys()


@pytest.mark.parametrize("make", contests.CONTESTS, ids=lambda make: make.func.__name__)
def test_a_contest_runs(make: partial[Contest]) -> None:
    small = make.func(**make.keywords | SMALLEST[make.func])

    result = race.run(small, turns=2, seconds=0)

    assert len(result.ours) == len(result.theirs) == 2
    assert small.name in program.line(result)


def test_the_ratio_is_the_median_of_the_turns_and_the_spread_their_middle_half() -> None:
    result = Result(Contest("a", "b", nothing, nothing, goal=3.0), ours=[1.0] * 5, theirs=[5.0, 1.0, 4.0, 2.0, 3.0])

    assert result.ratios == [5.0, 1.0, 4.0, 2.0, 3.0]
    assert result.ratio == 3.0
    assert result.spread == (2.0, 4.0)
    assert result.reached


def test_each_side_goes_first_in_turn() -> None:
    calls: list[str] = []

    race.run(Contest("a", "b", lambda: calls.append("a"), lambda: calls.append("b")), turns=4, seconds=0)

    assert calls[3:] == ["a", "b", "b", "a", "a", "b", "b", "a"]  # after the warm-up


def test_short_work_is_repeated_to_fill_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = itertools.count()
    monkeypatch.setattr(time, "perf_counter", lambda: float(next(ticks)))  # one second from look to look
    calls: list[str] = []

    race.run(Contest("a", "b", lambda: calls.append("a"), nothing), turns=2, seconds=7.0)

    assert len(calls) == 1 + 1 + 2 * 7  # warm-up, calibration, two turns


@pytest.mark.parametrize(
    ("arguments", "goal", "status"), [([], 1e9, 0), (["--strict"], 1e9, 1), (["--strict"], 1e-9, 0)]
)
def test_a_missed_goal_fails_a_strict_run_only(
    arguments: list[str],
    goal: float,
    status: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    make: Callable[[], Contest] = partial(contests.generation, **SMALL | {"new_tokens": 3, "goal": goal})
    monkeypatch.setattr(contests, "CONTESTS", [make])
    monkeypatch.setattr(sys, "argv", ["bench", "--threads", "1", "--turns", "2", "--seconds", "0", *arguments])

    assert program.main() == status

    printed = capsys.readouterr().out
    assert ("MISSED" in printed, "1 goal missed" in printed) == (goal > 1, goal > 1)
