"""Contamination: what of a test stood in the training data, and what a model knows by heart."""

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float


@dataclass(frozen=True)
class Exposure:
    """How well a model knows a planted secret, among all others that could have been planted."""

    rank: int  # 1: no other is likelier
    others: int  # how many it was compared with
    bits: float  # log2 of how many there are, minus log2 of the rank: 0 for the last, log2(others + 1) for the first


def shared_ngrams(tests: Sequence[str], training: Iterable[str], *, n: int = 8) -> Float[np.ndarray, " N"]:
    """For each test text, the share of its runs of n words that also stand in a training text.

    Words are what letters and digits make, without case. A text of fewer than n words is one run.

    Returns:
        0 for a text of which nothing stands in the training texts, 1 for one that stands there run by run.

    Raises:
        ValueError: no test texts, a string where a list belongs, a text without a word, or n below 1.

    Taught in: applications/evaluation
    Source: brown2020language, appendix C, with runs of 13 words
    """
    if isinstance(tests, str) or isinstance(training, str):
        raise ValueError("give lists of texts, not one string: a string is a list of its characters")
    if n < 1:
        raise ValueError(f"n is {n}; a run has at least 1 word")
    if not tests:
        raise ValueError("no test texts; give at least one")
    runs = [_runs(text, n) for text in tests]
    for number, found in enumerate(runs):
        if not found:
            raise ValueError(f"test text {number} has no word: {tests[number]!r}")
    wanted, lengths = set().union(*runs), {len(run) for found in runs for run in found}
    seen = set[tuple[str, ...]]()
    for text in training:
        for length in lengths:
            seen |= _runs(text, length) & wanted
    return np.array([len(found & seen) / len(found) for found in runs])


def exposure(surprise: float, others: Sequence[float] | Float[np.ndarray, " N"]) -> Exposure:
    r"""Where a planted secret ranks among those that were not planted, by how surprised a model is by each.

    $\text{exposure} = \log_2(N + 1) - \log_2(\text{rank})$, with $N$ others and the rank 1 for the least surprising. A
    model that has never seen the secret ranks it anywhere, and the exposure is on average $\log_2 e = 1.44$ bits.

    Args:
        surprise: -log p of the planted secret, in any unit.
        others: -log p of the others, of the same form. A tie counts against the secret: no rank is given away.

    Raises:
        ValueError: no others, or a number that is NaN.

    Taught in: applications/evaluation
    Source: carlini2018secret
    """
    values = np.asarray(others, dtype=float)
    if values.ndim != 1 or not len(values):
        raise ValueError(f"an exposure needs other secrets to rank among, one number each; got shape {values.shape}")
    if math.isnan(surprise) or np.isnan(values).any():
        raise ValueError("a surprise is NaN; the model, or the text, is broken")
    rank = 1 + int((values <= surprise).sum())
    return Exposure(rank, len(values), math.log2(len(values) + 1) - math.log2(rank))


def _runs(text: str, n: int) -> set[tuple[str, ...]]:
    """The runs of n words of a text; the whole text where it is shorter."""
    words = re.findall(r"\w+", text.lower())
    n = min(n, len(words))
    return {tuple(words[start : start + n]) for start in range(len(words) - n + 1)} if n else set()
