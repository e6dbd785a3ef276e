"""Layers: the maths that treats one position at a time."""

from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

Hidden = Float[Tensor, "*B D"]
Scale = Float[Tensor, " D"]

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": F.relu,
    "gelu": F.gelu,
    "gelu_tanh": partial(F.gelu, approximate="tanh"),  # GPT-2's: a tanh in place of the normal CDF
}


def layer_norm(x: Hidden, weight: Scale, bias: Scale, *, eps: float = 1e-5) -> Hidden:
    r"""Give each position's D numbers mean 0 and variance 1, then a learned scale and shift.

    $\gamma \odot \frac{x - \mu}{\sqrt{\sigma^2 + \epsilon}} + \beta$, with $\mu, \sigma^2$ taken over the D numbers of
    one position: no other position and no other example takes part.

    Taught in: attention/the-block
    Source: ba2016layer
    """
    mean = x.mean(dim=-1, keepdim=True)
    variance = (x - mean).square().mean(dim=-1, keepdim=True)  # divided by D, not D - 1
    return weight * (x - mean) / (variance + eps).sqrt() + bias


def rms_norm(x: Hidden, weight: Scale, *, eps: float = 1e-6) -> Hidden:
    r"""Give each position's D numbers root mean square 1, then a learned scale: LayerNorm without mean and shift.

    $\gamma \odot x / \sqrt{\frac{1}{D}\sum_i x_i^2 + \epsilon}$

    Taught in: attention/the-block
    Source: zhang2019root
    """
    return weight * x / (x.square().mean(dim=-1, keepdim=True) + eps).sqrt()


class FeedForward(nn.Module):
    r"""Two linear maps with a bend between them, applied to each position on its own.

    Row form: $\mathrm{act}(x W_1 + b_1)\,W_2 + b_2$ with $W_1$ (D, F) and $W_2$ (F, D). `nn.Linear` keeps transposes.

    Raises:
        ValueError: the activation has no such name.

    Taught in: attention/the-block
    Source: vaswani2017attention, eq. 2
    """

    def __init__(self, width: int, hidden: int, *, activation: str = "gelu_tanh", bias: bool = True) -> None:
        super().__init__()
        if activation not in ACTIVATIONS:
            raise ValueError(f"activation {activation!r} is not one of {', '.join(ACTIVATIONS)}")
        self.activation = ACTIVATIONS[activation]
        self.expand = nn.Linear(width, hidden, bias=bias)
        self.contract = nn.Linear(hidden, width, bias=bias)

    def forward(self, x: Float[Tensor, "*B D"]) -> Float[Tensor, "*B D"]:
        return self.contract(self.activation(self.expand(x)))  # (..., D) -> (..., F) -> (..., D)


def sinusoidal_positions(length: int, width: int, *, base: float = 10_000.0) -> Float[Tensor, "T D"]:
    r"""One row of sines and cosines a position, to be added to the token embeddings.

    $p_{t,2i} = \sin(t / b^{2i/D})$ and $p_{t,2i+1} = \cos(t / b^{2i/D})$: fast waves first, slow ones last.

    Raises:
        ValueError: the width is odd (sines and cosines come in pairs).

    Taught in: attention/position
    Source: vaswani2017attention, section 3.5
    """
    angles = torch.arange(length)[:, None] * _frequencies(width, base)  # (T, D / 2)
    return torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(start_dim=-2).to(torch.get_default_dtype())


def rotary(x: Float[Tensor, "*B T K"], *, offset: int = 0, base: float = 10_000.0) -> Float[Tensor, "*B T K"]:
    r"""Turn each query or key by an angle that grows with its position, so that scores depend on distance only.

    The pair $(x_i, x_{i+K/2})$ at position $t$ is turned by the angle $t / b^{2i/K}$. (The paper pairs neighbours
    $(x_{2i}, x_{2i+1})$; today's models, and this function, pair the two halves. The pairing only renames coordinates.)

    Args:
        offset: the position of the first row of x (with a cache, how many came before).

    Raises:
        ValueError: the width K is odd.

    Taught in: attention/position
    Source: su2021roformer
    """
    length, width = x.shape[-2:]
    positions = torch.arange(offset, offset + length, device=x.device)
    angles = positions[:, None] * _frequencies(width, base, device=x.device)  # (T, K / 2)
    cos, sin = angles.cos().to(x.dtype), angles.sin().to(x.dtype)
    first, second = x.chunk(2, dim=-1)  # (..., T, K / 2) each
    return torch.cat([first * cos - second * sin, second * cos + first * sin], dim=-1)


def _frequencies(width: int, base: float, *, device: torch.device | None = None) -> Float[Tensor, " half"]:
    if width % 2:
        raise ValueError(f"sines and cosines come in pairs: the width must be even, got {width}")
    exponents = torch.arange(0, width, 2, dtype=torch.float64, device=device) / width
    return base**-exponents  # radians per position, in double precision: angles grow with the position
