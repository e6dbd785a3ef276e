"""Questions about a text whose answer is a span of it: the world's, SQuAD's, or the reader's own in SQuAD's format."""

import json
import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from llmguide import corpora, runtime, tasks, telling
from llmguide.corpora import FIRST_SEED, HELD_OUT, SEEDS_A_CORPUS, Passage
from llmguide.telling import Telling

SQUAD = "rajpurkar/squad_v2"
ANSWERED = 4  # questions a story at most, beside one that it does not answer


@dataclass(frozen=True)
class Asked:
    """A question about a text; the answer is the span that begins at `start`, or "" and None: the text does not say.

    Raises:
        ValueError: the text does not have the answer there.
    """

    question: str
    text: str
    answer: str = ""
    start: int | None = None

    def __post_init__(self) -> None:
        if (self.start is None) != (self.answer == ""):
            raise ValueError(f"answer {self.answer!r} and start {self.start}: give both, or '' and None for no answer")
        if self.start is not None and not self.text.startswith(self.answer, self.start):
            there = self.text[self.start : self.start + len(self.answer)]
            raise ValueError(
                f"the answer to {self.question!r} is {self.answer!r}, and at {self.start} the text has {there!r}"
            )


@dataclass(frozen=True)
class Questions:
    """Questions to train on, to choose by (dev) and to report on (test); no text is in two of them."""

    train: tuple[Asked, ...]
    dev: tuple[Asked, ...]
    test: tuple[Asked, ...]


def reading(*, stories: int = 200, sentences: int | None = 5, seed: int = 0) -> Questions:
    """Questions to learn reading from, a fifth and more without an answer.

    Book scale: stories of the miniature world, or excerpts of them, up to four questions each with their spans and one
    that the text does not answer. Full scale: SQuAD 2.0, through `datasets`; the arguments play no part, dev is a tenth
    of the articles of the training split, and test is the hub's validation split.

    Args:
        stories: how many to train on; dev and test have a fifth as many each.
        sentences: the neighbouring sentences of an excerpt, the one with the answer among them; None: whole stories.

    Raises:
        FileNotFoundError: the data are not in the cache and cannot be fetched; the message says what to do.
        ValueError: a number that is too small or too large.

    Taught in: applications/question-answering
    Source: rajpurkar2018know
    """
    if runtime.scale() == "full":
        return _squad_from_hub()
    held_out = max(1, stories // 5)
    if not 1 <= stories <= SEEDS_A_CORPUS // 2:
        raise ValueError(f"stories is {stories}; it must be between 1 and {SEEDS_A_CORPUS // 2:,}")
    if sentences is not None and sentences < 2:
        raise ValueError(f"sentences is {sentences}; a feeling stands a sentence after its cause: give 2 or more")
    first = FIRST_SEED + seed * SEEDS_A_CORPUS
    bounds = (first, first + stories, first + stories + held_out, first + stories + 2 * held_out)
    return Questions(
        *(
            tuple(asked for number in range(*part) for asked in of_story(number, sentences=sentences))
            for part in pairwise(bounds)
        )
    )


def of_story(seed: int, *, sentences: int | None = None, answered: int | None = ANSWERED) -> tuple[Asked, ...]:
    """Questions about the story of a seed: some that it answers (None: all), and one that it does not.

    Taught in: applications/question-answering
    """
    told, _ = telling.sample(seed=seed)
    chance = random.Random(seed)
    found = list(tasks.questions(told))
    chance.shuffle(found)
    return tuple(
        _excerpt(told, question, sentences, chance)
        for question in [*found[:answered], tasks.unanswerable(told, seed=seed)]
    )


def of_passages(passages: Iterable[Passage]) -> tuple[Asked, ...]:
    """The questions of the bundled passages; an answer that occurs twice counts where it comes first.

    Taught in: applications/question-answering
    """
    return tuple(
        Asked(each.question, passage.text, each.answer, passage.text.index(each.answer))
        for passage in passages
        for each in passage.questions
    )


def read_squad(path: str | Path) -> tuple[Asked, ...]:
    """The reader's own questions, in the JSON format of SQuAD that annotation tools write; the first answer counts.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is not JSON, has no questions, lacks a field, or has an answer where it says it is not.

    Source: rajpurkar2016squad
    """
    path = Path(path)
    try:
        articles = json.loads(path.read_text(encoding="utf-8"))["data"]
        found = tuple(
            Asked(each["question"], paragraph["context"], *_first_answer(each["answers"]))
            for article in articles
            for paragraph in article["paragraphs"]
            for each in paragraph["qas"]
        )
    except (KeyError, TypeError) as error:
        raise ValueError(
            f"{path} is not in SQuAD's format ({type(error).__name__}: {error}); it needs data, paragraphs, context, "
            "qas, question and answers with text and answer_start"
        ) from error
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    if not found:
        raise ValueError(f"{path} has no questions")
    return found


def _first_answer(answers: Iterable[dict[str, Any]]) -> tuple[str, int | None]:
    for answer in answers:
        return answer["text"], answer["answer_start"]
    return "", None


def _squad_from_hub() -> Questions:
    rows = corpora.from_hub(SQUAD)
    articles = sorted(set(rows["train"]["title"]))
    random.Random(0).shuffle(articles)
    dev = set(articles[: max(1, len(articles) // HELD_OUT)])
    return Questions(
        tuple(asked for title, asked in _asked(rows["train"]) if title not in dev),
        tuple(asked for title, asked in _asked(rows["train"]) if title in dev),
        tuple(asked for _, asked in _asked(rows["validation"])),
    )


def _asked(rows: Any) -> Iterator[tuple[str, Asked]]:
    for row in rows:
        answers = row["answers"]  # a column each of the texts and of the places where they begin
        answer = (answers["text"][0], answers["answer_start"][0]) if answers["text"] else ("", None)
        yield row["title"], Asked(row["question"], row["context"], *answer)


def _excerpt(told: Telling, question: tasks.Question, sentences: int | None, chance: random.Random) -> Asked:
    """The question about the whole story, or about neighbouring sentences with the one that shows the answer."""
    count = len(told.sentences)
    first, last = 0, count
    if sentences is not None and sentences < count:
        # the sentence before the one that shows an answer belongs to it: "Mia sang by the well. She was happy."
        support = chance.randrange(count) if question.support is None else question.support
        first = min(max(0, support - chance.randrange(1, sentences)), count - sentences)
        last = first + sentences
    text = " ".join(told.sentences[first:last])
    if question.start is None or question.answer is None:
        return Asked(question.text, text)
    gone = sum(len(sentence) + 1 for sentence in told.sentences[:first])
    return Asked(question.text, text, question.answer, question.start - gone)
