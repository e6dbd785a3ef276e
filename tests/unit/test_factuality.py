"""Factuality: facts counted by hand, and summaries of told stories."""

from itertools import pairwise

import pytest

from llmguide.factuality import FIRST, KEPT, check, facts
from llmguide.tasks import journeys, summary
from llmguide.telling import sample

HAPPENED = {"hat": (("Ada", "Lily"), None), "key": ((), "well")}


def test_a_fact_is_a_step_of_a_journey() -> None:
    assert facts(HAPPENED) == {
        ("hat", FIRST, "Ada"),
        ("hat", "Ada", "Lily"),
        ("hat", "Lily", KEPT),
        ("key", FIRST, "well"),
    }


@pytest.mark.parametrize(
    ("text", "precision", "recall", "false", "right"),
    [
        ("The hat went from Ada to Lily. Nobody took the key, and it was by the well in the end.", 1, 1, False, True),
        ("Nobody took the key, and it was by the well in the end. The hat went from Ada to Lily.", 1, 1, False, True),
        ("The hat went from Ada to Lily.", 1, 3 / 4, False, False),
        ("The hat went from Lily to Ada.", 0, 0, True, False),
        ("Ada kept the hat.", 1 / 2, 1 / 4, True, False),
        ("The hat went from Ada to Lily. It rained.", 3 / 4, 3 / 4, False, False),
        ("The hat went from Ada to Lily. Lily kept the hat.", 3 / 4, 3 / 4, True, False),
        ("It rained.", 0, 0, False, False),
        ("", 1, 0, False, False),
    ],
)
def test_claims_are_counted_fact_by_fact(text: str, precision: float, recall: float, false: bool, right: bool) -> None:
    truth = check(text, HAPPENED)

    assert (truth.precision, truth.recall) == (pytest.approx(precision), pytest.approx(recall))
    assert (truth.false, truth.right) == (false, right)


def test_sentences_that_claim_nothing_known_are_kept() -> None:
    assert check("It rained. Ada kept the hat. Ada kept", HAPPENED).unread == ("It rained.", "Ada kept")


@pytest.mark.usefixtures("unchecked")
def test_the_summary_of_a_story_is_right_and_that_of_another_is_not() -> None:
    stories = [sample(seed=seed)[0].story for seed in range(200)]

    assert all(check(summary(story), journeys(story)).right for story in stories)
    others = pairwise(stories)
    assert not any(check(summary(other), journeys(story)).right for story, other in others if story != other)


def test_where_nothing_happened_nothing_is_missing() -> None:
    assert check("", {}).right
