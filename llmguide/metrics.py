"""Metrics: numbers a reader compares."""

import torch
from jaxtyping import Float
from torch import Tensor


def entropy(probabilities: Float[Tensor, "*B S"]) -> Float[Tensor, "*B"]:
    r"""How spread out a distribution is, in nats: 0 for a certain choice, ln S for S equal ones.

    $-\sum_s p_s \ln p_s$, with $0 \ln 0 = 0$.

    Taught in: attention/masks-and-heads
    """
    return -torch.special.xlogy(probabilities, probabilities).sum(dim=-1)
