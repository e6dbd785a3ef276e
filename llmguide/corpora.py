"""Corpora: texts to learn from, bundled with the book, told by its world, fetched from the hub, or the reader's own."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import resources
from typing import Any

from llmguide import telling

DATA = resources.files("llmguide") / "data"  # one JSON object a line

# Where the seeds of the corpora's stories begin: above those the storyteller was trained on, a block a corpus.
FIRST_SEED, SEEDS_A_CORPUS = 1_000_000_000, 10_000_000
HELD_OUT = 10  # for each tenth story to train on there is one in dev and one in test


@dataclass(frozen=True)
class Example:
    """A text with its class, an index into the labels' names; `tag` says what is hard about it, where that is known."""

    text: str
    label: int
    tag: str = ""


@dataclass(frozen=True)
class Splits:
    """Labelled texts to train on, to choose by (dev) and to report on (test), and the names of the labels."""

    train: tuple[Example, ...]
    dev: tuple[Example, ...]
    test: tuple[Example, ...]
    labels: tuple[str, ...]


@dataclass(frozen=True)
class TextCorpus:
    """Texts to model. `entropy`: what the source itself pays for a text of the test split, in nats; None: unknown."""

    train: tuple[str, ...]
    dev: tuple[str, ...]
    test: tuple[str, ...]
    entropy: float | None


@dataclass(frozen=True)
class PassageQuestion:
    """A question about a passage; the answer is a span of its text."""

    question: str
    answer: str


@dataclass(frozen=True)
class Passage:
    """A short text and questions that it answers."""

    title: str
    text: str
    questions: tuple[PassageQuestion, ...]


@dataclass(frozen=True)
class Translation:
    """One sentence in two languages."""

    english: str
    chinese: str


def sentiment() -> Splits:
    """Film reviews, negative (0) or positive (1): bundled ones, written for this book and tagged by what is hard."""
    return _reviews()


def language_modelling(stories: int = 2000, seed: int = 0) -> TextCorpus:
    r"""Texts to model: stories of the miniature world, whose exact entropy is known.

    No seed is in two splits, in two corpora, or among those the storyteller was trained on.

    Args:
        stories: how many to train on; dev and test have a tenth as many each (at least one).

    Returns:
        The stories. The entropy is the mean of $-\ln P(\text{text})$ over the test split: no model of the source can
        expect to pay less.
    """
    held_out = max(1, stories // HELD_OUT)
    first = FIRST_SEED + seed * SEEDS_A_CORPUS
    told = [telling.sample(seed=number) for number in range(first, first + stories + 2 * held_out)]
    texts = tuple(story.text for story, _ in told)
    test = [log_probability for _, log_probability in told[-held_out:]]
    return TextCorpus(
        train=texts[:stories],
        dev=texts[stories : stories + held_out],
        test=texts[-held_out:],
        entropy=-sum(test) / held_out,
    )


def passages() -> tuple[Passage, ...]:
    """Short texts with questions whose answers are spans of them, written for this book."""
    return tuple(
        Passage(row["title"], row["text"], tuple(PassageQuestion(**question) for question in row["questions"]))
        for row in _bundled("passages.jsonl")
    )


def translations() -> tuple[Translation, ...]:
    """Sentences in English and Chinese, written for this book."""
    return tuple(Translation(**row) for row in _bundled("translations.jsonl"))


def _reviews() -> Splits:
    splits: dict[str, list[Example]] = {"train": [], "dev": [], "test": []}
    for row in _bundled("reviews.jsonl"):
        splits[row["split"]].append(Example(row["text"], row["label"], row["tag"]))
    return Splits(**{name: tuple(rows) for name, rows in splits.items()}, labels=("negative", "positive"))


def _bundled(name: str) -> Iterator[dict[str, Any]]:
    with (DATA / name).open(encoding="utf-8") as file:
        yield from map(json.loads, file)
