"""Quantisation: a weight matrix in few bits, and what the rounding costs."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int8
from torch import Tensor


@dataclass(frozen=True)
class Quantised:
    """A matrix as whole numbers, and one scale for each of its rows.

    Taught in: finetuning/low-rank-adapters
    """

    codes: Int8[Tensor, "O I"]
    scales: Float[Tensor, "O 1"]
    bits: int

    @property
    def bytes(self) -> float:
        """Memory with the codes packed side by side; torch has no type below 8 bits, so here each takes a byte."""
        return self.codes.numel() * self.bits / 8 + self.scales.nbytes


def quantise(weight: Float[Tensor, "O I"], *, bits: int = 8) -> Quantised:
    r"""Round each row to whole multiples of its own step: absmax quantisation, with no zero point.

    $s_i = \max_j |w_{ij}| / (2^{\text{bits}-1} - 1)$ and $q_{ij} = \mathrm{round}(w_{ij} / s_i)$. One large number
    makes the step of its whole row coarse. Rows are outputs, as `nn.Linear` keeps them (GPT-2's `Conv1D`: `weight.T`).

    Raises:
        ValueError: bits outside 2..8, or a weight that is NaN or infinite.

    Taught in: finetuning/low-rank-adapters
    Source: dettmers2022llmint8, section 2.1
    """
    if not 2 <= bits <= 8:
        raise ValueError(f"bits is {bits}; it must be 2 to 8")
    if not weight.isfinite().all():
        raise ValueError("a weight that is NaN or infinite has no whole number near it; mend the matrix first")
    weight = weight.detach().to(torch.promote_types(weight.dtype, torch.float32))
    limit = 2 ** (bits - 1) - 1  # 127 for 8 bits; -128 stays unused, so that both sides are alike
    scales = weight.abs().amax(dim=-1, keepdim=True) / limit  # (O, 1)
    codes = (weight / scales.where(scales > 0, 1)).round().clamp(-limit, limit)  # zeros stay zero
    return Quantised(codes.to(torch.int8), scales, bits)


def dequantise(quantised: Quantised) -> Float[Tensor, "O I"]:
    """The matrix that the codes stand for: off by at most half a step anywhere.

    Taught in: finetuning/low-rank-adapters
    """
    return quantised.codes * quantised.scales
