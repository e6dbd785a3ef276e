"""n-grams: a language model that counts which token followed which."""

import copy
import math
import random
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from typing import Generic, TypeVar

import numpy as np

T = TypeVar("T", bound=Hashable)
STRENGTHS = tuple(2.0**power for power in range(-8, 13))  # what `interpolated` tries


class NGram(Generic[T]):
    r"""The next token given the n - 1 tokens before it, from counts, with as much smoothing as asked for.

    With a history $h$ and $h'$, the same without its oldest token, each length of history mixes its counts $c$ with
    what the shorter one says, as if that had been seen $a$ times; below the empty history lies the uniform $1/V$:

    $p(w \mid h) = \frac{c(h w) + a\, p(w \mid h')}{c(h) + a}$

    A new model has all $a = 0$: plain relative frequencies (a history never seen leaves the answer to the shorter one).

    Args:
        sequences: texts as tokens, each with its start token first and its end token last. The start is never
            predicted; it is repeated where the first predictions need a longer history.
        n: how many tokens an n-gram has: 1 looks at none before, 2 at one, 3 at two.
        vocabulary: the tokens that may come next; V is how many.

    Raises:
        ValueError: n below 1, a token outside the vocabulary, or a sequence with nothing to predict.

    Taught in: concepts/what-is-a-language-model
    Source: mackay1995hierarchical, chen1996empirical
    """

    def __init__(self, sequences: Iterable[Sequence[T]], *, n: int, vocabulary: Sequence[T]) -> None:
        if n < 1:
            raise ValueError(f"n is {n}; an n-gram has at least 1 token")
        self.n, self.vocabulary = n, tuple(vocabulary)
        self.strengths = (0.0,) * n  # a, by length of history
        self._known = frozenset(self.vocabulary)
        self._counts: dict[tuple[T, ...], Counter[T]] = defaultdict(Counter)  # history, of any length: what followed
        for sequence in sequences:
            for history, token in self._steps(sequence):
                for length in range(n):
                    self._counts[history[n - 1 - length :]][token] += 1
        self._totals = {history: followed.total() for history, followed in self._counts.items()}

    def count(self, *tokens: T) -> int:
        """How often these tokens, at most n, stood in a row; the start token counts as history only."""
        return self._counts.get(tokens[:-1], Counter())[tokens[-1]]

    def shorter(self, n: int) -> "NGram[T]":
        """The same counts as a model of shorter n-grams: counting once serves every n.

        Raises:
            ValueError: n is below 1 or above the n of the counts.
        """
        if not 1 <= n <= self.n:
            raise ValueError(f"n is {n}; these counts serve n from 1 to {self.n}")
        model = self._with(self.strengths[:n])
        model.n = n
        return model

    def smoothed(self, *, add: float) -> "NGram[T]":
        r"""The same counts with `add` added to each: $(c(hw) + k) / (c(h) + kV)$, shorter histories left out.

        Raises:
            ValueError: nothing, or less than nothing, to add.
        """
        if add <= 0:
            raise ValueError(f"add is {add}; smoothing adds more than 0 to each count")
        return self._with((math.inf,) * (self.n - 1) + (add * len(self.vocabulary),))

    def interpolated(self, dev: Sequence[Sequence[T]]) -> "NGram[T]":
        """The same counts, every length of history mixed with the shorter ones, as strongly as suits other texts.

        Strengths are chosen one after the other, from the empty history up: of `STRENGTHS`, the one that gives `dev`
        the highest probability. `dev` must not hold texts that were counted.
        """
        steps = [step for sequence in dev for step in self._steps(sequence)]
        below, strengths = np.full(len(steps), 1 / len(self.vocabulary)), list[float]()
        for length in range(self.n):
            pairs = [
                (followed.get(token, 0), total) for h, token in steps for followed, total in [self._seen(h, length)]
            ]
            counts, totals = np.array(pairs).T
            mixtures = {a: (counts + a * below) / (totals + a) for a in STRENGTHS}
            best = max(mixtures, key=lambda a: float(np.log(mixtures[a]).sum()))
            below = mixtures[best]
            strengths.append(best)
        return self._with(tuple(strengths))

    def probability(self, token: T, history: Sequence[T]) -> float:
        """p(token | history). The history begins with the start token; only its last n - 1 tokens count."""
        history, found = self._padded(history), 1 / len(self.vocabulary)
        for length, strength in enumerate(self.strengths):
            followed, total = self._seen(history, length)
            found = _mixed(followed.get(token, 0), total, strength, found)
        return found

    def distribution(self, history: Sequence[T]) -> list[float]:
        """The probability of each token of the vocabulary, in its order; they sum to 1."""
        history, found = self._padded(history), [1 / len(self.vocabulary)] * len(self.vocabulary)
        for length, strength in enumerate(self.strengths):
            followed, total = self._seen(history, length)
            pairs = zip(self.vocabulary, found, strict=True)
            found = [_mixed(followed.get(token, 0), total, strength, below) for token, below in pairs]
        return found

    def log_probabilities(self, sequence: Sequence[T]) -> list[float]:
        """Ln p, in nats, of each token after the first, given those before it; minus infinity for one ruled out."""
        found = (self.probability(token, history) for history, token in self._steps(sequence))
        return [math.log(probability) if probability > 0 else -math.inf for probability in found]

    def loss(self, sequences: Iterable[Sequence[T]]) -> float:
        """How surprised the model is, in nats a predicted token: minus the mean of ln p. Its exp is the perplexity."""
        logs = [log for sequence in sequences for log in self.log_probabilities(sequence)]
        return -math.fsum(logs) / len(logs)

    def sample(self, start: Sequence[T], *, end: T, generator: random.Random, longest: int = 1_000) -> list[T]:
        """Write on from `start` by chance, one token after the other, until `end` or until there are `longest`."""
        tokens = list(start)
        while len(tokens) < longest and tokens[-1] != end:
            tokens += generator.choices(self.vocabulary, self.distribution(tokens))
        return tokens

    def _with(self, strengths: tuple[float, ...]) -> "NGram[T]":
        model = copy.copy(self)
        model.strengths = strengths
        return model

    def _padded(self, history: Sequence[T]) -> tuple[T, ...]:
        """The last n - 1 tokens, the first repeated where there are fewer."""
        if not history and self.n > 1:
            raise ValueError("the history is empty; it begins with the start token")
        last = tuple(history[max(len(history) + 1 - self.n, 0) :])
        return tuple(history[:1]) * (self.n - 1 - len(last)) + last

    def _steps(self, sequence: Sequence[T]) -> Iterator[tuple[tuple[T, ...], T]]:
        """Each predicted token with the n - 1 before it."""
        if len(sequence) < 2:
            raise ValueError(f"a sequence of {len(sequence)} tokens holds nothing to predict; give start, text, end")
        tokens = (sequence[0],) * max(self.n - 2, 0) + tuple(sequence)
        for place in range(len(tokens) - len(sequence) + 1, len(tokens)):
            if tokens[place] not in self._known:
                raise ValueError(f"{tokens[place]!r} is not in the vocabulary; replace it by a token for unknown ones")
            yield tokens[place - self.n + 1 : place], tokens[place]

    def _seen(self, history: tuple[T, ...], length: int) -> tuple[Mapping[T, int], int]:
        """How often each token followed the last `length` tokens of the history, and how often these were seen."""
        short = history[len(history) - length :]
        return self._counts.get(short, {}), self._totals.get(short, 0)


def _mixed(count: int, total: int, strength: float, below: float) -> float:
    """The counts of one history, mixed with what the shorter one says."""
    if math.isinf(strength) or total + strength == 0:
        return below
    return (count + strength * below) / (total + strength)
