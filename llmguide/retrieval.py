"""Retrieval: which of many texts a question is about. BM25 and TF-IDF count words, dense vectors compare meanings."""

import re
from collections import Counter
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int

Scores = Float[np.ndarray, "Q N"]  # one row a question, one column a text; the higher the better


def words(text: str) -> list[str]:
    """The words of a text as a search sees them: lower case, letters and digits.

    Taught in: applications/question-answering
    """
    return re.findall(r"[^\W_]+", text.lower())


def tf_idf(questions: Sequence[str], texts: Sequence[str]) -> Scores:
    r"""The cosine of the weighted word counts of a question and a text.

    A word's weight is its count times $\ln\frac{1+N}{1+n_w} + 1$, with $N$ texts, of which $n_w$ have the word.

    Raises:
        ValueError: no texts, or one string in place of a list.

    Taught in: applications/question-answering
    """
    _check(questions, texts)
    place, counts = _counted(texts)
    weight = np.log((1 + len(texts)) / (1 + (counts > 0).sum(axis=0))) + 1
    asked = np.zeros((len(questions), len(place)))
    for row, question in enumerate(questions):
        for word, count in Counter(words(question)).items():
            if word in place:
                asked[row, place[word]] = count
    return cosine(asked * weight, counts * weight)


def bm25(questions: Sequence[str], texts: Sequence[str], *, saturation: float = 1.5, length: float = 0.75) -> Scores:
    r"""Okapi BM25: a rare word counts more, a word said again counts less each time, and a long text gets no bonus.

    The sum over the question's words $w$ of $r_w\,c_w\,(k + 1) / (c_w + k\,(1 - b + b\,l / \bar l))$, where the word's
    rarity is $r_w = \ln(1 + (N - n_w + 0.5) / (n_w + 0.5))$,
    with $N$ texts, $n_w$ of them with the word, $c_w$ its count in this text, $l$ the text's length in words.

    Args:
        saturation: k; 0 counts a word once, however often it occurs.
        length: b; 0 forgives a text its length, 1 divides by it.

    Raises:
        ValueError: no texts, one string in place of a list, or settings out of range.

    Taught in: applications/question-answering
    Source: robertson2009probabilistic
    """
    _check(questions, texts)
    if saturation < 0 or not 0 <= length <= 1:
        raise ValueError(f"saturation is {saturation} (0 or more), length is {length} (0 to 1)")
    place, counts = _counted(texts)
    holding = (counts > 0).sum(axis=0)
    rarity = np.log(1 + (len(texts) - holding + 0.5) / (holding + 0.5))
    lengths = counts.sum(axis=1, keepdims=True)
    penalty = saturation * (1 - length + length * lengths / max(lengths.mean(), 1))
    below = np.where(counts > 0, counts + penalty, 1.0)
    weighted = rarity * counts * (saturation + 1) / below  # (N, words)
    found = np.zeros((len(questions), len(texts)))
    for row, question in enumerate(questions):
        known = [place[word] for word in words(question) if word in place]
        found[row] = weighted[:, known].sum(axis=1)
    return found


def cosine(questions: Float[np.ndarray, "Q D"], texts: Float[np.ndarray, "N D"]) -> Scores:
    r"""How alike two directions are: $q \cdot t / (|q|\,|t|)$, and 0 where one of them is zero.

    Taught in: applications/question-answering
    """
    one, other = (x / np.where((n := np.linalg.norm(x, axis=1, keepdims=True)) > 0, n, 1) for x in (questions, texts))
    return one @ other.T


def fuse(*scores: Scores, damping: float = 60) -> Scores:
    r"""Several rankings as one: $\sum_i 1 / (\text{damping} + \text{rank}_i)$, so that their scales need not agree.

    Raises:
        ValueError: no rankings, or of different shapes.

    Taught in: applications/question-answering
    Source: cormack2009reciprocal
    """
    if not scores or len({each.shape for each in scores}) > 1:
        raise ValueError(f"give rankings of one shape; got {[each.shape for each in scores]}")
    return sum((1 / (damping + _places(each)) for each in scores), np.zeros(scores[0].shape))


def ranks(scores: Scores, right: Sequence[int] | Int[np.ndarray, " Q"]) -> Int[np.ndarray, " Q"]:
    """At which place, from 1, each question finds its right text. Of equal scores the right one counts as the last.

    Raises:
        ValueError: not one right text a question, or no such text.

    Taught in: applications/question-answering
    """
    right = np.asarray(right)
    if right.shape != scores.shape[:1] or (right < 0).any() or (right >= scores.shape[1]).any():
        raise ValueError(f"give each of {len(scores)} questions its text, 0 to {scores.shape[1] - 1}; got {right}")
    own = np.take_along_axis(scores, right[:, None], axis=1)
    return (scores >= own).sum(axis=1)


def recall_at(ranks: Int[np.ndarray, " Q"], k: int) -> float:
    """The share of questions whose right text is among the first k.

    Raises:
        ValueError: no questions, or k below 1.

    Taught in: applications/question-answering
    """
    if k < 1 or len(ranks) == 0:
        raise ValueError(f"recall at {k} of {len(ranks)} questions; give k of 1 or more, and a question")
    return float((ranks <= k).mean())


def _counted(texts: Sequence[str]) -> tuple[dict[str, int], Float[np.ndarray, "N W"]]:
    """The column of each word, and how often each text (a row) has it."""
    bags = [Counter(words(text)) for text in texts]
    place = {word: column for column, word in enumerate(sorted(set().union(*bags)))}
    counts = np.zeros((len(texts), len(place)))
    for row, bag in enumerate(bags):
        for word, count in bag.items():
            counts[row, place[word]] = count
    return place, counts


def _places(scores: Scores) -> Float[np.ndarray, "Q N"]:
    """Each text's place in its row, from 1; equal scores share the mean of theirs."""
    places = np.empty(scores.shape)
    for row, its in zip(scores, places, strict=True):
        _, which, equal = np.unique(-row, return_inverse=True, return_counts=True)
        its[:] = (equal.cumsum() - (equal - 1) / 2)[which]
    return places


def _check(questions: Sequence[str], texts: Sequence[str]) -> None:
    if isinstance(questions, str) or isinstance(texts, str):
        raise ValueError("give lists of questions and of texts, not one string: a string is a list of its characters")
    if len(texts) == 0:
        raise ValueError("no texts to search; give at least one")
