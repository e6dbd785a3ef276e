"""Generation: scores of the next token become new tokens."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

Choose = Callable[[Float[Tensor, "B V"], Int[Tensor, "B T"]], Int[Tensor, " B"]]  # logits and ids so far to next ids


@runtime_checkable
class LanguageModel(Protocol):
    """What can be asked for the next token: a `Decoder`, an `LSTMLanguageModel`, or your own.

    Called as `model(ids, keep=..., cache=...)`, it answers logits (B, T, V). `config.context` is the most positions it
    takes, None for no limit. The cache is a list of what each layer carries from token to token, with `select(rows)`.
    """

    @property
    def config(self) -> Any:
        """Holds `context`."""
        ...

    def new_cache(self, capacity: int | None = None, /) -> list[Any]:
        """An empty cache for `capacity` positions."""
        ...

    def __call__(self, ids: Tensor, *, keep: Tensor | None = None, cache: list[Any] | None = None) -> Tensor: ...


class Hypothesis(NamedTuple):
    """One continuation that beam search found: all its ids, and the log-probability of the new ones in nats."""

    ids: Int[Tensor, " T"]
    log_probability: float


def greedy(
    model: LanguageModel,
    prompt: Int[Tensor, "B T"],
    *,
    max_new_tokens: int,
    stop: int | None = None,
    keep: Bool[Tensor, "B T"] | None = None,
    use_cache: bool = True,
) -> Int[Tensor, "B T_new"]:
    """Append the most likely token, again and again.

    Args:
        max_new_tokens: how many tokens to append to each row, at most.
        stop: the id that ends a text; what follows it in a row is filled with it. None goes on to the length.
        keep: False at the padding of prompts of unequal length, which stands on the left (`batches.pad(left=True)`):
            each goes on as it would alone.
        use_cache: keep keys and values of earlier positions; the same tokens either way, in less time.

    Returns:
        The prompt and what followed it.

    Raises:
        ValueError: an empty prompt, padding not on the left, or more tokens in all than the model's context holds.

    Taught in: attention/what-it-costs
    """
    return _generate(model, prompt, keep, lambda logits, _: logits.argmax(dim=-1), max_new_tokens, stop, use_cache)


def sample(
    model: LanguageModel,
    prompt: Int[Tensor, "B T"],
    *,
    max_new_tokens: int,
    generator: torch.Generator | None = None,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    repetition_penalty: float = 1.0,
    stop: int | None = None,
    keep: Bool[Tensor, "B T"] | None = None,
    use_cache: bool = True,
) -> Int[Tensor, "B T_new"]:
    """Append a token drawn by its probability, again and again. Arguments and errors as in `greedy` and `reshaped`.

    Taught in: objective/decoding
    """
    # Padding is not text that could be repeated: the last token stands for it.
    read = prompt if keep is None else torch.where(keep, prompt, prompt[:, -1:])

    def draw(logits: Tensor, ids: Tensor) -> Tensor:
        ids = torch.cat([read, ids[:, read.shape[1] :]], dim=1)
        logits = penalised(logits, ids, penalty=repetition_penalty)
        probabilities = reshaped(logits, temperature=temperature, top_k=top_k, top_p=top_p).softmax(dim=-1)
        return torch.multinomial(probabilities, 1, generator=generator).squeeze(-1)

    return _generate(model, prompt, keep, draw, max_new_tokens, stop, use_cache)


def reshaped(
    logits: Float[Tensor, "*B V"], *, temperature: float = 1.0, top_k: int | None = None, top_p: float | None = None
) -> Float[Tensor, "*B V"]:
    """Logits to sample from: sharpened or flattened, with unlikely tokens at minus infinity.

    Args:
        temperature: logits are divided by it: below 1 likely tokens gain, above 1 they lose.
        top_k: keep the k most likely tokens (and those equal to the k-th).
        top_p: keep the fewest likeliest tokens that hold at least this probability (the nucleus).

    Raises:
        ValueError: a value outside its range; the message says which and what to do.

    Taught in: objective/decoding
    Source: holtzman2019curious for top_p; fan2018hierarchical for top_k
    """
    if not temperature > 0:
        raise ValueError(
            f"temperature is {temperature}; it must be greater than 0 (for the likeliest token use greedy)"
        )
    if top_k is not None and top_k < 1:
        raise ValueError(f"top_k is {top_k}; it must be at least 1, or None to keep every token")
    if top_p is not None and not 0 < top_p <= 1:
        raise ValueError(f"top_p is {top_p}; it must satisfy 0 < top_p <= 1, or be None to keep every token")
    logits = logits / temperature
    if top_k is not None and top_k < logits.shape[-1]:
        smallest = logits.topk(top_k, dim=-1).values[..., -1:]
        logits = logits.masked_fill(logits < smallest, -math.inf)
    if top_p is not None:
        ordered, order = logits.sort(dim=-1, descending=True)
        probabilities = ordered.softmax(dim=-1)
        before = probabilities.cumsum(dim=-1) - probabilities  # what the likelier tokens hold already
        dropped = torch.zeros_like(logits, dtype=torch.bool).scatter(-1, order, before >= top_p)
        logits = logits.masked_fill(dropped, -math.inf)
    return logits


def penalised(logits: Float[Tensor, "B V"], ids: Int[Tensor, "B T"], *, penalty: float = 1.0) -> Float[Tensor, "B V"]:
    """Logits of tokens that stand in `ids` already made smaller: divided by the penalty if positive, else multiplied.

    Raises:
        ValueError: a penalty of 0 or less.

    Taught in: objective/decoding
    Source: keskar2019ctrl, section 4.1
    """
    if not penalty > 0:
        raise ValueError(f"repetition penalty is {penalty}; it must be greater than 0 (1 changes nothing)")
    if penalty == 1.0:
        return logits
    seen = logits.gather(1, ids)
    return logits.scatter(1, ids, torch.where(seen < 0, seen * penalty, seen / penalty))


@torch.no_grad()
def beam(
    model: LanguageModel,
    prompt: Int[Tensor, "1 T"],
    *,
    beams: int,
    max_new_tokens: int,
    stop: int | None = None,
    use_cache: bool = True,
) -> list[Hypothesis]:
    """Keep the `beams` likeliest beginnings at each step, and what they end in.

    Returns:
        At most `beams` hypotheses, the likeliest first. A text ends with `stop` or at the length.

    Raises:
        ValueError: as `greedy`; or fewer than one beam.

    Taught in: objective/decoding
    """
    if beams < 1:
        raise ValueError(f"beams is {beams}; it must be at least 1")
    start, total = prompt.shape[1], _total_length(model, prompt, max_new_tokens)
    cache = model.new_cache(total) if use_cache else None
    texts, scores, fresh = prompt, torch.zeros(1, device=prompt.device), prompt
    finished: list[Hypothesis] = []
    for _ in range(start, total):
        log_probabilities = model(fresh if use_cache else texts, cache=cache)[:, -1].log_softmax(dim=-1)  # (beams, V)
        vocabulary = log_probabilities.shape[-1]
        everything = (scores[:, None] + log_probabilities).flatten()
        best, flat = everything.topk(min(2 * beams, len(everything)))  # twice as many: half of them may end here
        rows, tokens = flat // vocabulary, flat % vocabulary
        ends = tokens == (-1 if stop is None else stop)
        for place in ends[:beams].nonzero().flatten().tolist():
            finished.append(Hypothesis(torch.cat([texts[rows[place]], tokens[place : place + 1]]), float(best[place])))
        going = (~ends).nonzero().flatten()[:beams]
        rows, fresh, scores = rows[going], tokens[going][:, None], best[going]
        texts = torch.cat([texts[rows], fresh], dim=1)
        for layer in cache or ():
            layer.select(rows)
        finished = sorted(finished, key=lambda h: -h.log_probability)[:beams]
        if len(finished) == beams and float(scores[0]) <= finished[-1].log_probability:
            return finished  # probabilities only shrink: nothing that goes on can overtake
    finished += [Hypothesis(text, float(score)) for text, score in zip(texts, scores, strict=True)]
    return sorted(finished, key=lambda h: -h.log_probability)[:beams]


def _generate(
    model: LanguageModel,
    prompt: Tensor,
    keep: Tensor | None,
    choose: Choose,
    max_new_tokens: int,
    stop: int | None,
    use_cache: bool,
) -> Tensor:
    total = _total_length(model, prompt, max_new_tokens)
    if keep is not None:
        _check_padding(keep, prompt)
        keep = torch.nn.functional.pad(keep, (0, max_new_tokens), value=True)
    cache = model.new_cache(total) if use_cache else None
    ids = prompt.new_empty(len(prompt), total)
    ids[:, : prompt.shape[1]] = prompt
    ended = torch.zeros(len(prompt), dtype=torch.bool, device=prompt.device)
    start = 0  # the first position the model has not read yet
    with torch.inference_mode():
        for end in range(prompt.shape[1], total):
            so_far = None if keep is None else keep[:, :end]
            logits = model(ids[:, start:end], keep=so_far, cache=cache)[:, -1]  # (B, V)
            ids[:, end] = choose(logits, ids[:, :end])
            if stop is not None:
                ids[ended, end] = stop
                ended |= ids[:, end] == stop
                if bool(ended.all()):
                    return ids[:, : end + 1]
            start = end if use_cache else 0
    return ids


def _total_length(model: LanguageModel, prompt: Tensor, max_new_tokens: int) -> int:
    total, context = prompt.shape[1] + max_new_tokens, model.config.context
    if prompt.shape[1] == 0:
        raise ValueError("the prompt has no tokens; give at least one")
    if max_new_tokens < 0:
        raise ValueError(f"max_new_tokens is {max_new_tokens}; it must be at least 0")
    if context is not None and total > context:
        raise ValueError(
            f"{prompt.shape[1]} tokens and {max_new_tokens} new ones are more than the context of {context}"
        )
    return total


def _check_padding(keep: Tensor, prompt: Tensor) -> None:
    if keep.shape != prompt.shape:
        raise ValueError(f"keep has shape {tuple(keep.shape)}, the prompt {tuple(prompt.shape)}; they must agree")
    wrong = (keep.cummax(dim=1).values != keep) | ~keep[:, -1:]  # padding after a token; or nothing but padding
    if bool(wrong.any()):
        row = int(wrong.any(dim=1).nonzero()[0])
        raise ValueError(f"prompt {row} has padding after its tokens, or no token: pad on the left (batches.pad)")
