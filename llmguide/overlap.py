"""Overlap: how much of a reference text a written one shares, as summaries, answers and translations are scored."""

import re
from collections import Counter
from collections.abc import Sequence
from typing import Literal

import sacrebleu

ARTICLES = {"a", "an", "the"}


def exact_match(answer: str, reference: str) -> float:
    """1 where two answers are the same but for case, punctuation and articles, else 0.

    An empty text stands for "no answer" and matches only another one.

    Source: rajpurkar2016squad
    """
    return float(_bare(answer) == _bare(reference))


def token_f1(answer: str, reference: str) -> float:
    r"""Words two answers share: $2 P R / (P + R)$, of precision $P$ and recall $R$ over the bag of words.

    Case, punctuation and articles do not count. An empty text stands for "no answer" and matches only another one.

    Source: rajpurkar2016squad
    """
    ours, theirs = _bare(answer), _bare(reference)
    if not ours or not theirs:
        return float(ours == theirs)
    return _f1((Counter(ours) & Counter(theirs)).total(), len(ours), len(theirs))


def rouge(text: str, reference: str, *, of: int | Literal["L"] = 1) -> float:
    """ROUGE's F1, 0 to 1: shared words (1), pairs of neighbours (2), or the longest common subsequence of words (L).

    Raises:
        ValueError: `of` is less than 1.

    Taught in: applications/summarization
    Source: lin2004rouge
    """
    ours, theirs = _words(text), _words(reference)
    if of == "L":
        return _f1(_longest_common(ours, theirs), len(ours), len(theirs))
    if of < 1:
        raise ValueError(f"ROUGE of runs of {of} words: choose 1, 2, more or 'L'")
    grams, references = (Counter(zip(*(words[n:] for n in range(of)), strict=False)) for words in (ours, theirs))
    return _f1((grams & references).total(), grams.total(), references.total())


def bleu(texts: Sequence[str], references: Sequence[str], *, language: Literal["en", "zh"] = "en") -> float:
    """BLEU of a whole test set, 0 to 100: shared runs of 1 to 4 words, shorter texts punished; sacrebleu's.

    Args:
        references: one for each text.
        language: how words are told apart; in Chinese each character is one.

    Raises:
        ValueError: no texts, or not one reference for each.

    Taught in: applications/translation
    Source: papineni2002bleu; post2018call
    """
    _check(texts, references)
    return sacrebleu.corpus_bleu(texts, [references], tokenize={"en": "13a", "zh": "zh"}[language]).score


def chrf(texts: Sequence[str], references: Sequence[str]) -> float:
    """ChrF of a whole test set, 0 to 100: shared runs of 1 to 6 characters, recall counted double; sacrebleu's.

    Raises:
        ValueError: no texts, or not one reference for each.

    Taught in: applications/translation
    Source: popovic2015chrf
    """
    _check(texts, references)
    return sacrebleu.corpus_chrf(texts, [references]).score


def _f1(shared: int, ours: int, theirs: int) -> float:
    return 2 * shared / (ours + theirs) if shared else 0.0


def _words(text: str) -> list[str]:
    return re.findall(r"[a-z0-9]+", text.lower())


def _bare(text: str) -> list[str]:
    """Words without punctuation and articles; punctuation inside a word closes up: "Ada's" becomes "adas"."""
    return [word for word in re.sub(r"[^\w\s]|_", "", text.lower()).split() if word not in ARTICLES]


def _longest_common(ours: Sequence[str], theirs: Sequence[str]) -> int:
    """The length of the longest common subsequence, row by row."""
    row = [0] * (len(theirs) + 1)
    for word in ours:
        corner = 0  # the entry above and to the left
        for column, other in enumerate(theirs, start=1):
            above = row[column]
            row[column] = corner + 1 if word == other else max(above, row[column - 1])
            corner = above
    return row[-1]


def _check(texts: Sequence[str], references: Sequence[str]) -> None:
    if isinstance(texts, str) or isinstance(references, str):
        raise ValueError("give lists of texts, not one string: a string is a list of its characters")
    if len(texts) != len(references) or not texts:
        raise ValueError(f"{len(texts)} texts and {len(references)} references; give one reference for each text")
