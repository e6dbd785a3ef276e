"""Factuality: what a summary claims, held against what happened, fact by fact."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

from llmguide.tasks import SUMMARY_SENTENCES, stated

Journeys = Mapping[str, tuple[tuple[str, ...], str | None]]  # as `tasks.journeys` and `tasks.stated` have them
Fact = tuple[str, str, str]  # a thing, where it was, and where it was next: one step of its journey
FIRST, KEPT = "(first)", "(kept)"  # before the first step of a journey, and after one that ends in somebody's hands


@dataclass(frozen=True)
class Truth:
    """What a summary claims beside what happened; a fact is one step of a thing's journey.

    Args:
        unread: sentences that claim nothing a reader can look up; each counts as one false claim.
    """

    claimed: frozenset[Fact]
    happened: frozenset[Fact]
    unread: tuple[str, ...] = ()

    @property
    def precision(self) -> float:
        """The share of what is claimed that happened; 1 where nothing is claimed."""
        claims = len(self.claimed) + len(self.unread)
        return len(self.claimed & self.happened) / claims if claims else 1.0

    @property
    def recall(self) -> float:
        """The share of what happened that is claimed; 1 where nothing happened."""
        return len(self.claimed & self.happened) / len(self.happened) if self.happened else 1.0

    @property
    def false(self) -> bool:
        """Something is claimed that did not happen."""
        return bool(self.claimed - self.happened)

    @property
    def right(self) -> bool:
        """Everything that happened is claimed, and nothing else."""
        return self.claimed == self.happened and not self.unread


def facts(of: Journeys) -> frozenset[Fact]:
    """The steps of every journey: who had a thing first, each passing on, and where it was in the end.

    Taught in: applications/summarization
    """
    steps = set()
    for thing, (held, place) in of.items():
        path = (FIRST, *held, KEPT if place is None else place)
        steps |= {(thing, before, after) for before, after in pairwise(path)}
    return frozenset(steps)


def check(text: str, happened: Journeys) -> Truth:
    """Hold a summary against what happened, fact by fact.

    Taught in: applications/summarization
    """
    claimed: set[Fact] = set()
    unread = []
    for sentence in SUMMARY_SENTENCES.split(text.strip()):
        try:
            claimed |= facts(stated(sentence))
        except ValueError:
            unread.append(sentence)
    return Truth(frozenset(claimed), facts(happened), tuple(each for each in unread if each))
