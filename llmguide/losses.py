"""Losses: differentiable scores of what a model says."""

import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

IGNORE = -100  # a label that is not scored; the value torch and `transformers` use


def next_token_loss(logits: Float[Tensor, "B T V"], ids: Int[Tensor, "B T"]) -> Float[Tensor, ""]:
    r"""How surprised a causal model is by each next token: mean negative log-likelihood, in nats per token.

    $-\frac{1}{B(T-1)} \sum_{b,t} \log p(x_{b,t+1} \mid x_{b,\le t})$: logits at t are scored against the id at t + 1.

    Args:
        ids: the tokens the model read; `IGNORE` marks those not to be scored.

    Raises:
        ValueError: fewer than two positions, or no token to score.

    Source: radford2019language
    """
    if ids.shape[1] < 2:
        raise ValueError(f"next-token loss needs at least 2 positions, got {ids.shape[1]}")
    return masked_token_loss(logits[:, :-1], ids[:, 1:])


def masked_token_loss(logits: Float[Tensor, "B T V"], labels: Int[Tensor, "B T"]) -> Float[Tensor, ""]:
    r"""Mean negative log-likelihood of the labelled positions, in nats per token: no shift.

    Args:
        labels: the true token at positions to be scored, `IGNORE` elsewhere.

    Raises:
        ValueError: no position is labelled (torch would answer NaN without a word).

    Source: devlin2018bert, section 3.1
    """
    if bool((labels == IGNORE).all()):
        raise ValueError(f"no token to score: all {labels.numel()} labels are {IGNORE}")
    return F.cross_entropy(logits.flatten(0, 1), labels.flatten(), ignore_index=IGNORE)
