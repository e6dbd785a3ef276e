"""Generation: scores of the next token become new tokens."""

import torch
from jaxtyping import Int
from torch import Tensor

from llmguide.model import Decoder


def greedy(
    model: Decoder, prompt: Int[Tensor, "B T"], *, max_new_tokens: int, use_cache: bool = True
) -> Int[Tensor, "B T_new"]:
    """Append the most likely token, again and again.

    Args:
        max_new_tokens: how many tokens to append to each row.
        use_cache: keep keys and values of earlier positions; the same tokens either way, in less time.

    Returns:
        The prompt and what followed it.

    Raises:
        ValueError: an empty prompt, or more tokens in all than the model's context holds.

    Taught in: attention/what-it-costs
    """
    total, context = prompt.shape[1] + max_new_tokens, model.config.context
    if prompt.shape[1] == 0:
        raise ValueError("the prompt has no tokens; give at least one")
    if max_new_tokens < 0:
        raise ValueError(f"max_new_tokens is {max_new_tokens}; it must be at least 0")
    if total > context:
        raise ValueError(
            f"{prompt.shape[1]} tokens and {max_new_tokens} new ones are more than the context of {context}"
        )
    cache = model.new_cache(total) if use_cache else None
    ids = prompt.new_empty(len(prompt), total)
    ids[:, : prompt.shape[1]] = prompt
    start = 0  # the first position the model has not read yet
    with torch.inference_mode():
        for end in range(prompt.shape[1], total):
            logits = model(ids[:, start:end], cache=cache)  # (B, end - start, V)
            ids[:, end] = logits[:, -1].argmax(dim=-1)
            start = end if use_cache else 0
    return ids
