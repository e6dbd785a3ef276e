"""Losses: differentiable scores of what a model says."""

from collections.abc import Callable

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

    Taught in: objective/maximum-likelihood
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

    Taught in: objective/maximum-likelihood
    Source: devlin2018bert, section 3.1
    """
    if bool((labels == IGNORE).all()):
        raise ValueError(f"no token to score: all {labels.numel()} labels are {IGNORE}")
    return F.cross_entropy(logits.flatten(0, 1), labels.flatten(), ignore_index=IGNORE)


def next_token_score(
    model: Callable[[Tensor], Tensor], ids: Int[Tensor, "B T"], *, labels: Int[Tensor, "B T"] | None = None
) -> tuple[Float[Tensor, ""], int]:
    """The summed `next_token_loss` of a batch in nats, and how many tokens it sums: what `training.fit` asks for.

    Args:
        model: a causal language model, called as `model(ids)`.
        labels: the ids again, with `IGNORE` at those not to be scored (padding, a prompt); None scores all.

    Raises:
        ValueError: as `next_token_loss`.
    """
    labels = ids if labels is None else labels
    targets = int((labels[:, 1:] != IGNORE).sum())
    return next_token_loss(model(ids), labels) * targets, targets


def sequence_log_probability(logits: Float[Tensor, "B T V"], ids: Int[Tensor, "B T"]) -> Float[Tensor, " B"]:
    r"""How probable a causal model finds each text as a whole: the log-probability in nats, of its scored tokens.

    $\sum_t \log p(x_{b,t+1} \mid x_{b,\le t})$: a sum, so that a longer text is less probable.

    Args:
        ids: the tokens the model read; `IGNORE` marks those not to be scored (padding; a prompt, for $p(y \mid x)$).

    Raises:
        ValueError: fewer than two positions, or a text without a token to score.
    """
    if ids.shape[1] < 2:
        raise ValueError(f"a text's next tokens need at least 2 positions, got {ids.shape[1]}")
    targets = ids[:, 1:]
    empty = (targets == IGNORE).all(dim=1).nonzero().flatten().tolist()
    if empty:
        raise ValueError(f"text {empty[0]} has no token to score: all its labels after the first are {IGNORE}")
    surprises = F.cross_entropy(logits[:, :-1].flatten(0, 1), targets.flatten(), ignore_index=IGNORE, reduction="none")
    return -surprises.view_as(targets).sum(dim=1)


def class_loss(
    logits: Float[Tensor, "B C"], labels: Int[Tensor, " B"], *, weights: Float[Tensor, " C"] | None = None
) -> Float[Tensor, ""]:
    r"""How surprised a classifier is by the labels: mean negative log-likelihood, in nats per text.

    $-\sum_b w_{y_b} \log p(y_b \mid x_b) \,/\, \sum_b w_{y_b}$, with every weight 1 where none are given.

    Args:
        labels: the class of each text, 0 to C - 1.
        weights: what a text of each class counts, larger for rare ones.

    Raises:
        ValueError: no texts; labels that are not integers, not as many as texts, or no class; weights that do not fit.
    """
    texts, classes = logits.shape
    if labels.is_floating_point() or labels.is_complex():
        raise ValueError(f"labels are {labels.dtype}; a class is an integer: pass labels.long()")
    if labels.shape != (texts,):
        raise ValueError(f"{texts} texts, but labels of shape {tuple(labels.shape)}: give one label a text")
    if texts == 0:
        raise ValueError("no texts to score; give at least one")
    wrong = ((labels < 0) | (labels >= classes)).nonzero().flatten().tolist()
    if wrong:
        raise ValueError(f"row {wrong[0]}: label {int(labels[wrong[0]])}, allowed 0..{classes - 1}")
    if weights is not None and (weights.shape != (classes,) or not bool((weights > 0).all())):
        raise ValueError(f"weights are {weights.tolist()}; give {classes} numbers greater than 0, one a class")
    return F.cross_entropy(logits, labels.long(), weight=weights)
