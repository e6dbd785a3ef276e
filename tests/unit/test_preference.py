"""Preference: scores that a logistic regression and closed forms agree with, and words for what cannot be scored."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression

from llmguide.preference import Battle, Ranking, battles_needed, bradley_terry, win_rates

Z = 1.959964  # the normal quantile of 97.5 %


def duel(won: int, lost: int, ties: int = 0) -> list[Battle]:
    return [*[Battle("a", "b", 1.0)] * won, *[Battle("b", "a", 1.0)] * lost, *[Battle("a", "b", 0.5)] * ties]


def tournament(seed: int, *, position: float = 0.0, length: float = 0.0) -> tuple[list[Battle], np.ndarray]:
    generator = np.random.default_rng(seed)
    strengths = {"a": -0.8, "b": 0.0, "c": 0.3, "d": 0.5}
    battles, lengths = [], generator.normal(size=2000)
    for x in lengths:
        first, second = generator.permutation(list(strengths))[:2]
        odds = strengths[first] - strengths[second] + position + length * x
        battles.append(Battle(str(first), str(second), float(generator.random() < 1 / (1 + math.exp(-odds)))))
    return battles, lengths


def test_two_systems_stand_as_far_apart_as_their_odds() -> None:
    ranking = bradley_terry(duel(30, 10))

    difference = ranking.difference("a", "b")
    error = (1 / (40 * 0.75 * 0.25)) ** 0.5  # of a logit
    assert ranking.names == ("a", "b")
    assert difference.value == pytest.approx(math.log(3))
    assert (difference.low, difference.high) == pytest.approx(
        (math.log(3) - Z * error, math.log(3) + Z * error), abs=1e-6
    )
    assert ranking.interval("a").value == pytest.approx(math.log(3) / 2)
    assert ranking.win_rate("b", "a").value == pytest.approx(0.25)


def test_a_tie_is_half_a_win_each() -> None:
    assert bradley_terry(duel(3, 1, ties=2)).win_rate("a", "b").value == pytest.approx(4 / 6)


@pytest.mark.parametrize("term", ["none", "position", "covariate"])
def test_scores_are_those_of_a_logistic_regression(term: str) -> None:
    battles, lengths = tournament(0, position=0.4, length=0.7)
    names = ["a", "b", "c", "d"]
    columns = [[float(b.first == n) - float(b.second == n) for n in names] for b in battles]
    design = np.array(columns)[:, 1:]  # the first system is the origin
    if term == "covariate":
        design = np.column_stack([design, lengths])
    theirs = LogisticRegression(C=np.inf, fit_intercept=term == "position", tol=1e-10, max_iter=1000)
    theirs.fit(design, [b.won for b in battles])

    ours = bradley_terry(battles, position=term == "position", covariate=lengths if term == "covariate" else None)

    found = [ours.difference(name, "a").value for name in names[1:]]
    assert found == pytest.approx(theirs.coef_[0, :3], abs=1e-4)
    assert ours.position == pytest.approx(theirs.intercept_[0] if term == "position" else 0, abs=1e-4)
    assert ours.covariate == pytest.approx(theirs.coef_[0, 3] if term == "covariate" else 0, abs=1e-4)
    assert ours.scores.mean() == pytest.approx(0, abs=1e-9)


def test_an_interval_holds_the_truth_as_often_as_it_says() -> None:
    """150 tournaments with a position bias; 95 % intervals: between 88 % and 99 % hold it."""
    held = []
    for seed in range(150):
        ranking = bradley_terry(tournament(seed, position=0.4)[0][:400], position=True)
        difference, (position, _) = ranking.difference("d", "a"), ranking.effects()
        held.append([difference.low <= 1.3 <= difference.high, position.low <= 0.4 <= position.high])

    assert np.all((np.mean(held, axis=0) > 0.88) & (np.mean(held, axis=0) < 0.99))


@given(seed=st.integers(0, 1000))
def test_names_and_orders_of_the_battles_do_not_matter(seed: int) -> None:
    battles, _ = tournament(seed)
    battles = battles[:200]
    turned = [Battle(b.second, b.first, 1 - b.won) for b in reversed(battles)]

    ours, theirs = bradley_terry(battles), bradley_terry(turned)

    assert ours.names == theirs.names
    assert ours.scores == pytest.approx(theirs.scores)


def test_win_rates_count_both_orders_and_leave_blank_who_never_met() -> None:
    names, rates = win_rates([*duel(3, 1), Battle("c", "a", 0.5)])

    assert names == ("a", "b", "c")
    np.testing.assert_array_equal(rates, [[np.nan, 0.75, 0.5], [0.25, np.nan, np.nan], [0.5, np.nan, np.nan]])


@pytest.mark.parametrize("p", [0.5, 0.8])
def test_as_many_battles_as_needed_give_the_margin(p: float) -> None:
    n = battles_needed(p, margin=0.05)

    assert Z * (p * (1 - p) / n) ** 0.5 <= 0.05 < Z * (p * (1 - p) / (n - 1)) ** 0.5


@pytest.mark.parametrize(
    ("battles", "message"),
    [
        ([], "no battles"),
        ([("a", "b", 1)], r"battle 0 is \('a', 'b', 1\); write Battle"),
        ([Battle("a", "a", 1.0)], "battle 0: 'a' against itself"),
        ([Battle("a", "b", 2.0)], "battle 0: won is 2.0; 1 the first was preferred"),
        ([Battle("a", "b", math.nan)], "won is nan"),
        (duel(5, 0), "b never won against a, not even by way of others"),
        ([*duel(2, 1), Battle("c", "d", 1.0), Battle("d", "c", 1.0)], "a never won against c, d"),
    ],
)
@pytest.mark.usefixtures("unchecked")
def test_battles_that_give_no_scores_are_refused(battles: list[Battle], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        bradley_terry(battles)


def test_a_position_that_decides_everything_is_refused() -> None:
    with pytest.raises(ValueError, match=r"position or covariate decides \(nearly\) every battle"):
        bradley_terry([Battle("a", "b", 1.0), Battle("b", "a", 1.0)] * 5, position=True)


def test_a_covariate_that_only_names_the_systems_is_refused() -> None:
    battles = duel(30, 10)

    with pytest.raises(ValueError, match="cannot be told apart from the systems: vary it within each pair"):
        bradley_terry(battles, covariate=[1.0 if battle.first == "a" else -1.0 for battle in battles])


def test_a_covariate_of_another_length_and_a_level_that_is_none_are_refused() -> None:
    with pytest.raises(ValueError, match="one finite number for each of 3 battles"):
        bradley_terry(duel(2, 1), covariate=[1.0])
    with pytest.raises(ValueError, match="level is 95.0; it must lie between 0 and 1"):
        bradley_terry(duel(2, 1), level=95.0)
    with pytest.raises(ValueError, match="margin is 5.0; it must lie between 0 and 1"):
        battles_needed(0.5, margin=5.0)


def test_an_unknown_system_is_named() -> None:
    ranking: Ranking = bradley_terry(duel(2, 1))

    with pytest.raises(ValueError, match="'z' is none of the systems: a, b"):
        ranking.interval("z")
