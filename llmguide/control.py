"""Control: what a model may say next is narrowed by a form or bent by a second model, and what that costs."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from llmguide.forms import Form
from llmguide.generation import LanguageModel

ENDED, LOST = -1, -2  # states of a mask beside those of its form


@runtime_checkable
class Rule(Protocol):
    """Which tokens may come next, told from a state that each token moves on: a `Mask`, or your own."""

    @property
    def start(self) -> Any:
        """The state of a text of which nothing is written."""
        ...

    def step(self, state: Any, token: int, /) -> Any:
        """The state after one more token."""
        ...

    def allowed(self, state: Any, /) -> Bool[Tensor, " V"]:
        """True for each token that may come in a state."""
        ...


class DeadEnd(ValueError):
    """A text has come to where no token may follow."""


class Mask:
    """A form, lifted from characters to tokens: which tokens leave a text that can still be brought to a right end.

    A token may come if the form's automaton, after reading its letters, is in a state from which an accepting one can
    be reached; the end token, if the state is accepting. A token that is only part of a character never may.

    Args:
        spellings: what each token adds to a text; None for special tokens and parts of characters.
        end: the id that ends a text.

    Raises:
        ValueError: no text has this form, or none that these tokens can spell.

    Taught in: applications/text-generation
    Source: willard2023efficient
    """

    start = 0

    def __init__(self, form: Form, spellings: Sequence[str | None], *, end: int) -> None:
        if not form.possible:
            raise ValueError("no text has this form: what is asked for contradicts itself")
        self.end, self._spellings, self._automaton = end, list(spellings), form.automaton
        self._live = self._automaton.live(frozenset(text for text in spellings if text and len(text) == 1))
        if self.start not in self._live:
            raise ValueError("this form needs a character for which the tokenizer has no token of its own")
        self._known: dict[int, Tensor] = {}
        self._numbers = [(number, text) for number, text in enumerate(spellings) if text and number != end]

    def step(self, state: int, token: int) -> int:
        """The state after one more token."""
        if state == ENDED or token == self.end:
            may = state == ENDED or state in self._automaton.accepting
            return ENDED if may and token == self.end else LOST
        text = self._spellings[token]
        after = LOST if state == LOST or text is None else self._automaton.step(state, text)
        return after if after in self._live else LOST

    def allowed(self, state: int) -> Bool[Tensor, " V"]:
        """True for each token that may come in a state. A text that has left the form may only end."""
        if state not in self._known:
            found = torch.zeros(len(self._spellings), dtype=torch.bool)
            found[self.end] = state < 0 or state in self._automaton.accepting
            if state >= 0:
                step, live = self._automaton.step, self._live
                found[[number for number, text in self._numbers if step(state, text) in live]] = True
            self._known[state] = found
        return self._known[state]


class Constrained:
    """A language model that may only say what a mask allows: other tokens have no probability, the rest share it.

    It goes wherever a language model goes: `greedy`, `sample`, `beam`. Its cache carries the state of each text.

    Args:
        prompt: how many tokens are given; the form is that of what follows them.

    Raises:
        DeadEnd: (when called) no token may follow.

    Taught in: applications/text-generation
    """

    def __init__(self, model: LanguageModel, mask: Rule, *, prompt: int) -> None:
        if prompt < 1:
            raise ValueError(f"prompt is {prompt}; a model needs at least one token to go on from")
        self.model, self.mask, self.prompt, self.config = model, mask, prompt, model.config

    def new_cache(self, capacity: int | None = None, /) -> list[Any]:
        """An empty cache: the states of the texts, and what the model itself carries."""
        return [_States(), *self.model.new_cache(capacity)]

    def __call__(self, ids: Tensor, *, keep: Tensor | None = None, cache: list[Any] | None = None) -> Tensor:
        """Logits (B, T, V), minus infinity where a token may not come."""
        states = _States() if cache is None else cache[0]
        logits = self.model(ids, keep=keep, cache=None if cache is None else cache[1:])
        first = max(self.prompt - 1 - states.read, 0)  # positions before it say nothing about what follows
        rows: list[Tensor] = []
        states.rows = states.rows or [self.mask.start] * len(ids)
        for place, tokens in enumerate(ids.T.tolist()):
            if states.read + place >= self.prompt:
                states.rows = [self.mask.step(s, t) for s, t in zip(states.rows, tokens, strict=True)]
            if place >= first:
                rows.append(torch.stack([self.mask.allowed(state) for state in states.rows]))
        states.read += ids.shape[1]
        if not rows:
            return logits
        allowed = torch.stack(rows, dim=1).to(logits.device)  # (B, T - first, V)
        stuck = (~allowed.any(dim=-1)).any(dim=1).nonzero().flatten().tolist()
        if stuck:
            raise DeadEnd(f"text {stuck[0]}: no token may follow {states.read - self.prompt} tokens after the prompt")
        return torch.cat([logits[:, :first], logits[:, first:].masked_fill(~allowed, -math.inf)], dim=1)


@dataclass
class _States:
    """Where each text of a batch stands in the form, and how many tokens have been read."""

    rows: list[int] | None = None
    read: int = 0

    def select(self, rows: Tensor) -> None:
        """Keep these texts, in this order."""
        assert self.rows is not None  # beams are selected after the first token
        self.rows = [self.rows[row] for row in rows.tolist()]


class Blended:
    r"""Several models speak as one: $\ln q = \sum_m w_m \ln q_m$, up to a constant.

    With weights 1, $\alpha$ and $-\alpha$ for a base, an expert and a counter-example it is the base, pushed $\alpha$
    times from the second towards the first.

    Raises:
        ValueError: no models, or not one weight a model.

    Taught in: applications/text-generation
    Source: liu2021dexperts
    """

    def __init__(self, models: Sequence[LanguageModel], weights: Sequence[float]) -> None:
        if not models or len(models) != len(weights):
            raise ValueError(f"give one weight a model; got {len(models)} models and weights {list(weights)}")
        self.models, self.weights = list(models), list(weights)
        self.config = min((m.config for m in models), key=lambda c: c.context or math.inf)
        self._sizes = [0] * len(models)

    def new_cache(self, capacity: int | None = None, /) -> list[Any]:
        """An empty cache: those of all models, one after another."""
        caches = [model.new_cache(capacity) for model in self.models]
        self._sizes = list(map(len, caches))
        return [layer for layers in caches for layer in layers]

    def __call__(self, ids: Tensor, *, keep: Tensor | None = None, cache: list[Any] | None = None) -> Tensor:
        """Logits (B, T, V): the weighted sum of the models' log-probabilities."""
        total, begins = torch.zeros(()), 0
        for model, weight, size in zip(self.models, self.weights, self._sizes, strict=True):
            own = None if cache is None else cache[begins : begins + size]
            total = total.to(ids.device) + weight * model(ids, keep=keep, cache=own).log_softmax(dim=-1)
            begins += size
        return total


@torch.no_grad()
def price(
    model: LanguageModel, mask: Mask, ids: Int[Tensor, "B T"], *, prompt: int
) -> tuple[Float[Tensor, " B"], Float[Tensor, " B"]]:
    r"""What texts cost: the surprise $-\ln p(y \mid x)$ of the model itself, and what the mask took away along them.

    The second is $-\sum_t \ln Z_t$ with $Z_t = \sum_{v\ \text{allowed}} p(v \mid x, y_{<t})$. A masked draw has the
    probability $p(y \mid x) / \prod_t Z_t$: so $\prod_t Z_t$, averaged over masked draws, is how often the free model
    keeps to the form, and used as a weight it turns masked draws into draws under the condition.

    Args:
        ids: whole texts, filled up with the end token; a text without it counts as far as it goes.

    Returns:
        Both in nats a text. What the mask took is infinite for a text that it does not allow.

    Taught in: applications/text-generation
    Source: park2024grammar
    """
    log_p = model(ids)[:, prompt - 1 : -1].log_softmax(dim=-1)  # (B, T - prompt, V)
    written = ids[:, prompt:]
    counts = (written == mask.end).cumsum(dim=1) - (written == mask.end).long() == 0  # up to the end, which counts
    surprise = -(log_p.gather(-1, written[..., None]).squeeze(-1) * counts).sum(dim=1)
    if written.shape[1] == 0:
        return surprise, surprise
    rows = []
    for tokens in written.tolist():
        states = list(accumulate(tokens, mask.step, initial=mask.start))[:-1]
        rows.append(torch.stack([mask.allowed(state) for state in states]))
    allowed = torch.stack(rows).to(ids.device)  # (B, T - prompt, V)
    left = log_p.masked_fill(~allowed, -math.inf).logsumexp(dim=-1)  # ln Z
    left = left.masked_fill(~allowed.gather(-1, written[..., None]).squeeze(-1), -math.inf)
    return surprise, -left.masked_fill(~counts, 0.0).sum(dim=1)
