"""Corpora: texts to learn from, bundled with the book, told by its world, fetched from the hub, or the reader's own."""

import json
import random
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any, Literal

from llmguide import runtime, telling
from llmguide.tables import read_table

DATA = resources.files("llmguide") / "data"  # one JSON object a line
UNLABELLED = -1  # the label of a text whose class is not known

# Where the seeds of the corpora's stories begin: far above those the storyteller was trained on, a block a corpus.
FIRST_SEED, SEEDS_A_CORPUS = 1_000_000_000, 10_000_000
HELD_OUT = 10  # one story, or one text of the hub's training split, in so many is held out

# The hub's labelled film reviews: the column of the text, and the split to report on.
FILM_REVIEWS = {"imdb": ("stanfordnlp/imdb", "text", "test"), "sst2": ("stanfordnlp/sst2", "sentence", "validation")}
TOPICS = ("politics", "business", "sport", "science", "bill", "appointment", "complaint", "advertisement")
ARTICLE = re.compile(r" = [^=].* = \n?")  # the line that begins an article of WikiText; a section has " = = "


@dataclass(frozen=True)
class Example:
    """A text, its class (an index into the labels' names, or -1: `UNLABELLED`), and what is hard about it, or ""."""

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


def sentiment(name: Literal["imdb", "sst2"] = "imdb") -> Splits:
    """Film reviews, negative (0) or positive (1).

    Book scale: 600 and more reviews written for this book, tagged by what is hard about them; `name` plays no part.
    Full scale: IMDB, or by name SST-2, fetched through `datasets` and kept in its cache. The hub has no dev split of
    IMDB and no labels for the test split of SST-2. So the dev split of both is a tenth of the training split, drawn
    with a fixed seed and gone from train, repeats included, and the test split of SST-2 is the hub's validation split.
    It is not drawn from train, because SST-2 trains on phrases: nearly every phrase drawn from there is part of one
    that stays. For the same reason its dev split flatters.

    Raises:
        FileNotFoundError: the data are not in the cache and cannot be fetched; the message says what to do.
        ValueError: the name is another.

    Taught in: finetuning/sentiment
    Source: maas2011learning; socher2013recursive
    """
    if name not in FILM_REVIEWS:
        raise ValueError(f"name is {name!r}; it must be one of {', '.join(FILM_REVIEWS)}")
    labels = ("negative", "positive")
    if runtime.scale() == "book":
        return _bundled_splits("reviews.jsonl", labels)
    return _labelled_from_hub(*FILM_REVIEWS[name], labels=labels)


def topics() -> Splits:
    """Short news items and e-mails by what they are about.

    Book scale: 448 texts written for this book, 56 for each of four topics of news and four kinds of mail. Those tagged
    `decoy` use the words of another class. Full scale: AG News (world, sport, business, science; no mail), whose dev
    split is a tenth of the training split, as in `sentiment`.

    Raises:
        FileNotFoundError: the data are not in the cache and cannot be fetched; the message says what to do.

    Taught in: applications/classification
    Source: zhang2015character
    """
    if runtime.scale() == "book":
        return _bundled_splits("topics.jsonl", TOPICS)
    return _labelled_from_hub("fancyzhx/ag_news", "text", "test", labels=("world", "sport", "business", "science"))


def language_modelling(*, stories: int = 2000, seed: int = 0) -> TextCorpus:
    r"""Texts to model.

    Book scale: stories of the miniature world, whose exact entropy is known. No story's seed is in two splits, in two
    corpora, or among those the storyteller was trained on. Full scale: the articles of WikiText-2, as they are; nobody
    knows their entropy, and `stories` and `seed` play no part.

    Args:
        stories: how many to train on; dev and test have a tenth as many each (at least one).

    Returns:
        The texts. The entropy is the mean of $-\ln P(\text{text})$ over the test split: nobody expects to pay less.

    Raises:
        FileNotFoundError: the data are not in the cache and cannot be fetched; the message says what to do.
        ValueError: `stories` or `seed` is too small or too large.

    Source: merity2016pointer
    """
    held_out = max(1, stories // HELD_OUT)
    if not 1 <= stories <= SEEDS_A_CORPUS // 2:
        raise ValueError(f"stories is {stories}; it must be between 1 and {SEEDS_A_CORPUS // 2:,}")
    if seed < 0:
        raise ValueError(f"seed is {seed}; it must be at least 0")
    if runtime.scale() == "full":
        rows = from_hub("Salesforce/wikitext", "wikitext-2-raw-v1")
        train, dev, test = (_articles(rows[split]["text"]) for split in ("train", "validation", "test"))
        return TextCorpus(train, dev, test, entropy=None)
    first = FIRST_SEED + seed * SEEDS_A_CORPUS
    told = [telling.sample(seed=number) for number in range(first, first + stories + 2 * held_out)]
    texts = tuple(story.text for story, _ in told)
    return TextCorpus(
        train=texts[:stories],
        dev=texts[stories:-held_out],
        test=texts[-held_out:],
        entropy=-sum(log_probability for _, log_probability in told[-held_out:]) / held_out,
    )


def passages() -> tuple[Passage, ...]:
    """Short texts with questions whose answers are spans of them, written for this book."""
    return tuple(
        Passage(row["title"], row["text"], tuple(PassageQuestion(**question) for question in row["questions"]))
        for row in _bundled("passages.jsonl")
    )


def translations() -> tuple[Translation, ...]:
    """Sentences in English and Chinese, written for this book.

    Taught in: concepts/text-to-tokens
    """
    return tuple(Translation(**row) for row in _bundled("translations.jsonl"))


def read_csv(
    path: str | Path, *, text: str = "text", label: str | None = "label", labels: Sequence[str] | None = None
) -> tuple[tuple[Example, ...], tuple[str, ...]]:
    """The reader's own texts: a CSV in UTF-8 with a header (`.tsv` or `.tab`: tabs instead of commas).

    Every field is text as it stands: `NA` and `null` are words. Rows are counted as a spreadsheet shows them, the
    header being row 1.

    Args:
        text: the column of the texts.
        label: the column of the classes; None where there is none to read, and every label is then -1.
        labels: the names of the classes, in the order of their numbers; None: the file's, sorted (numbers by size).

    Returns:
        The examples, and the names of the labels.

    Raises:
        FileNotFoundError: there is no such file.
        IsADirectoryError: the path is a folder.
        ValueError: the file is not UTF-8, lacks a column, has no rows, or has a row that does not fit; which, and why.
    """
    rows = read_table(path, [text] if label is None else [text, label])
    if label is None:
        return tuple(Example(fields[0], UNLABELLED) for _, fields in rows), tuple(labels or ())
    for number, (_, name) in rows:
        if not name or name != name.strip():
            raise ValueError(f"{path}, row {number}: label {name!r} is empty or has spaces around it; correct it there")
        if labels is not None and name not in labels:
            raise ValueError(
                f"{path}, row {number}: label {name!r} is none of {', '.join(labels)}; correct one of them"
            )
    names = tuple(labels if labels is not None else sorted({name for _, (_, name) in rows}, key=_by_number))
    numbers = {name: index for index, name in enumerate(names)}
    return tuple(Example(each, numbers[name]) for _, (each, name) in rows), names


# Bundled and fetched


def from_hub(name: str, config: str | None = None) -> Any:
    """The rows of a dataset, by split: from the hub where it answers, else from the cache of `datasets`.

    Args:
        name: as on the hub, `owner/dataset`.
        config: which of its versions, where it has several.

    Raises:
        FileNotFoundError: the data are not in the cache and cannot be fetched; the message says what to do.
    """
    online = runtime.hub_answers()
    import datasets  # type: ignore[import-untyped]  # a second that book scale need not pay

    forbidden = datasets.config.HF_HUB_OFFLINE
    try:
        datasets.config.HF_HUB_OFFLINE = not online  # straight to the cache, without half a minute of retries
        return datasets.load_dataset(name, config)
    except Exception as error:  # half a dozen libraries work on it, each with errors of its own
        if online:
            reason = (str(error) or type(error).__name__).splitlines()[0]
            why = f"it could not be fetched from {runtime.hub_endpoint()} ({reason})"
        elif runtime.offline():
            why = "HF_HUB_OFFLINE forbids asking the hub"
        else:
            why = f"{runtime.hub_endpoint()} does not answer"
        raise FileNotFoundError(
            f"the dataset {name} is not in the local cache, and {why}; set LLMGUIDE_SCALE=book for the bundled data, "
            "or HF_ENDPOINT to a mirror before Python starts, or copy the cache (HF_HOME) of a machine that fetched it "
            "(book: How to use it)"
        ) from error
    finally:
        datasets.config.HF_HUB_OFFLINE = forbidden


def _bundled(name: str) -> Iterator[dict[str, Any]]:
    with (DATA / name).open(encoding="utf-8") as file:
        yield from map(json.loads, file)


def _bundled_splits(name: str, labels: tuple[str, ...]) -> Splits:
    splits: dict[str, list[Example]] = {"train": [], "dev": [], "test": []}
    for row in _bundled(name):
        label = row["label"] if isinstance(row["label"], int) else labels.index(row["label"])
        splits[row["split"]].append(Example(row["text"], label, row["tag"]))
    return Splits(**{split: tuple(rows) for split, rows in splits.items()}, labels=labels)


def _labelled_from_hub(name: str, text: str, test: str, *, labels: tuple[str, ...]) -> Splits:
    rows = from_hub(name)
    reported, train = (
        [Example(each.strip(), label) for each, label in zip(rows[split][text], rows[split]["label"], strict=True)]
        for split in (test, "train")
    )
    random.Random(0).shuffle(train)  # the hub's are sorted by class
    count = len(train) // HELD_OUT
    dev = train[:count]
    seen = {example.text for example in (*dev, *reported)}
    train = [example for example in train[count:] if example.text not in seen]
    return Splits(tuple(train), tuple(dev), tuple(reported), labels)


def _articles(lines: Iterable[str]) -> tuple[str, ...]:
    articles: list[list[str]] = [[]]
    for line in lines:
        if ARTICLE.fullmatch(line):
            articles.append([])
        articles[-1].append(line)
    return tuple(text for text in ("".join(article).strip() for article in articles) if text)


def _by_number(name: str) -> tuple[bool, float, str]:
    number = re.fullmatch(r"[+-]?\d+(\.\d+)?", name)
    return (number is None, float(name) if number else 0.0, name)
