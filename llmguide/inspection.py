"""Inspection: what is wrong with labelled texts, said before anything is trained on them."""

import math
import warnings
from collections.abc import Sequence
from typing import Any

from llmguide.losses import IGNORE


def check_texts(texts: Sequence[Any]) -> list[str]:
    """The texts as a list, every one of them a string.

    Empty texts stay, with one warning: a model answers them, but the answer means nothing.

    Raises:
        TypeError: a row is no text (None, NaN, a number), or `texts` is one text and not a list of them.

    Taught in: concepts/text-to-tokens
    """
    if isinstance(texts, str):
        raise TypeError(f"texts is one text ({texts[:40]!r}); give a list of texts")
    for row, text in enumerate(texts):
        if text is None:
            raise TypeError(f"texts[{row}] is None; leave the row out or give it a text")
        if isinstance(text, float) and math.isnan(text):
            raise TypeError(
                f"texts[{row}] is NaN, a missing value of pandas; read the file with llmguide.corpora.read_csv, "
                "or with keep_default_na=False"
            )
        if not isinstance(text, str):
            raise TypeError(f"texts[{row}] is of type {type(text).__name__} ({text!r}), not a text; write it in quotes")
    empty = empty_rows(texts)
    if empty:
        warnings.warn(
            f"{len(empty)} empty text{'s' * (len(empty) > 1)} (the first is texts[{empty[0]}]): "
            "whatever a model says of it means nothing",
            stacklevel=2,
        )
    return list(texts)


def empty_rows(texts: Sequence[str]) -> tuple[int, ...]:
    """The rows whose text is empty or blank."""
    return tuple(row for row, text in enumerate(texts) if not text.strip())


def check_labels(labels: Sequence[Any], names: Sequence[str], *, texts: int, one_class: bool = False) -> list[int]:
    """The labels as numbers of classes, from 0: what a loss can take.

    Args:
        labels: numbers, or names of classes.
        names: the names of the classes, in the order of their numbers.
        texts: how many texts they belong to.
        one_class: whether one class is enough (to judge by, not to learn from).

    Raises:
        TypeError: a label is a fraction, a truth value, a list.
        ValueError: more or fewer labels than texts, a label that is no class, no labelled row, or only one class.

    Taught in: finetuning/sentiment
    """
    if len(labels) != texts:
        raise ValueError(f"{texts} texts, {len(labels)} labels; give one label a text")
    if not labels or all(label == IGNORE for label in labels):
        raise ValueError(f"no labelled rows: {len(labels)} rows, and no label other than {IGNORE}; label some of them")
    numbers = [_number(row, label, names) for row, label in enumerate(labels)]
    if len(set(numbers)) < 2 and not one_class:
        raise ValueError(
            f"only one class ({names[numbers[0]]}) in {len(numbers)} rows of training data: "
            "there is nothing to tell apart; add rows of another class"
        )
    return numbers


def compare_splits(
    train: Sequence[str], test: Sequence[str], *, test_labels: Sequence[int] = (), names: Sequence[str] = ()
) -> int:
    """Warn of what makes a score on `test` mean less than it says; returns how many of its texts were trained on.

    Warns:
        UserWarning: texts that are in both (the same but for case and spaces), and classes that `test` does not hold.

    Taught in: concepts/text-to-tokens

    Taught in: finetuning/sentiment
    """
    seen = {_same(text) for text in train}
    repeated = [row for row, text in enumerate(test) if _same(text) in seen]
    if repeated:
        warnings.warn(
            f"{len(repeated)} of {len(test)} test texts are also in the training data (the first is row "
            f"{repeated[0]}: {test[repeated[0]][:40]!r}); the score will flatter. Remove them from one side",
            stacklevel=2,
        )
    absent = [name for number, name in enumerate(names) if number not in set(test_labels)]
    if test_labels and absent:
        warnings.warn(
            f"no test text of class {', '.join(absent)}: its F1 is unknown, and macro-F1 is over the other classes",
            stacklevel=2,
        )
    return len(repeated)


def check_tokens(
    rows: Sequence[Sequence[int]], *, limit: int, unknown: int | None, on_long: str = "cut", special: Sequence[int] = ()
) -> list[list[int]]:
    """Encoded texts cut to what a model takes, with a warning where that costs something.

    The last token stays where it is a special one ([SEP], an end of text), so that a cut text still ends.

    Args:
        limit: the tokens the model takes.
        unknown: the id that stands for what the vocabulary lacks; None where there is none (byte-level tokenizers).
        on_long: "cut" or "error".
        special: ids that are put around a text and are no part of it.

    Raises:
        ValueError: a text is longer than the model takes, and `on_long` is "error".

    Warns:
        UserWarning: texts were cut, or half of the tokens of a text or more are unknown.

    Taught in: concepts/text-to-tokens
    """
    if on_long not in ("cut", "error"):
        raise ValueError(f"on_long is {on_long!r}; it must be 'cut' or 'error'")
    long = [row for row, ids in enumerate(rows) if len(ids) > limit]
    if long:
        worst = max(long, key=lambda row: len(rows[row]))
        count = len(rows[worst])
        if on_long == "error":
            raise ValueError(
                f"texts[{worst}] has {count} tokens, the model takes {limit}; shorten it, or pass on_long='cut'"
            )
        which = f"text {worst}" if len(long) == 1 else f"{len(long)} of {len(rows)} texts are too long: text {worst}"
        warnings.warn(f"{which} has {count} tokens, the model takes {limit}; {count - limit} cut", stacklevel=2)
    if unknown is not None:
        shares = [_share(ids, unknown, special) for ids in rows]
        total = sum(len(ids) for ids in rows)
        bad = [row for row, share in enumerate(shares) if share >= 0.5]
        if bad:
            lost = sum(list(ids).count(unknown) for ids in rows)
            warnings.warn(
                f"{len(bad)} of {len(rows)} texts are mostly unknown to this tokenizer (text {bad[0]}: "
                f"{shares[bad[0]]:.0%} of its tokens; {lost / total:.0%} of all): it cannot read their script. "
                "Choose a model that was trained on this language",
                stacklevel=2,
            )
    return [_cut(ids, limit, special) for ids in rows]


def _number(row: int, label: Any, names: Sequence[str]) -> int:
    if isinstance(label, str):
        if label not in names:
            raise ValueError(f"row {row}: label {label!r} is none of {', '.join(names)}; correct one of them")
        return list(names).index(label)
    if isinstance(label, bool) or not hasattr(label, "__index__"):
        way_out = f"write int(label), here {int(label)}" if isinstance(label, float) and label.is_integer() else ""
        raise TypeError(
            f"row {row}: label {label!r} is of type {type(label).__name__}; a class is a whole number or a name"
            + (f" ({way_out})" if way_out else "")
        )
    number = label.__index__()
    if not 0 <= number < len(names):
        raise ValueError(f"row {row}: label {number}, allowed 0..{len(names) - 1} ({', '.join(names)})")
    return int(number)


def _same(text: str) -> str:
    return " ".join(text.lower().split())


def _share(ids: Sequence[int], unknown: int, special: Sequence[int]) -> float:
    inner = [token for token in ids if token == unknown or token not in special]
    return inner.count(unknown) / len(inner) if inner else 0.0


def _cut(ids: Sequence[int], limit: int, special: Sequence[int]) -> list[int]:
    if len(ids) <= limit:
        return list(ids)
    return [*ids[: limit - 1], ids[-1]] if ids[-1] in special else list(ids[:limit])
