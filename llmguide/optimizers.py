"""Optimisers: Muon for matrices beside AdamW for the rest, the recipe that pretrains the storyteller."""

import math
from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)  # of the quintic that drives singular values towards 1


class Muon(torch.optim.Optimizer):
    r"""Momentum whose singular values are made alike, for the matrices inside the blocks; AdamW for all else.

    A gradient's momentum $M = U \Sigma V^\top$ is replaced by about $U V^\top$: rare directions move as far as frequent
    ones, so a small model sooner learns what few tokens teach. Embeddings (their rows are looked up, not multiplied),
    norms and biases are left to AdamW.

    Args:
        learning_rate: of the matrices; an update of theirs has a spectral norm of about 1 times this.
        adam_learning_rate: of all else.
        momentum: how much of the older gradients is kept, with Nesterov's look ahead.

    Source: jordan2024muon; liu2025muon
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        learning_rate: float = 0.02,
        adam_learning_rate: float = 2e-3,
        momentum: float = 0.95,
        betas: tuple[float, float] = (0.9, 0.98),
        weight_decay: float = 0.01,
    ) -> None:
        looked_up = {id(module.weight) for module in model.modules() if isinstance(module, nn.Embedding)}
        trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
        matrices = [p for p in trained if p.ndim == 2 and id(p) not in looked_up]
        others = [p for p in trained if p.ndim != 2 or id(p) in looked_up]
        groups = [
            {"params": matrices, "lr": learning_rate, "weight_decay": weight_decay, "matrices": True},
            {"params": others, "lr": adam_learning_rate, "weight_decay": 0.0, "matrices": False},
        ]
        super().__init__(groups, {"momentum": momentum, "betas": betas})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Move every parameter that has a gradient."""
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                parameter.mul_(1 - group["lr"] * group["weight_decay"])
                move = self._matrix_move if group["matrices"] else self._adam_move
                parameter.add_(move(parameter.grad, self.state[parameter], group), alpha=-group["lr"])

    @staticmethod
    def _matrix_move(gradient: Tensor, state: dict[str, Tensor], group: dict[str, Any]) -> Tensor:
        past = state.setdefault("momentum_buffer", torch.zeros_like(gradient))
        past.lerp_(gradient, 1 - group["momentum"])
        ahead = gradient.lerp(past, group["momentum"])
        rows, columns = gradient.shape
        return orthogonalised(ahead) * max(1.0, rows / columns) ** 0.5

    @staticmethod
    def _adam_move(gradient: Tensor, state: dict[str, Tensor], group: dict[str, Any]) -> Tensor:
        first, second = group["betas"]
        step = state.setdefault("step", torch.zeros(()))
        mean = state.setdefault("exp_avg", torch.zeros_like(gradient))
        square = state.setdefault("exp_avg_sq", torch.zeros_like(gradient))
        step += 1
        mean.lerp_(gradient, 1 - first)
        square.lerp_(gradient**2, 1 - second)
        unbiased = (square / (1 - second ** float(step))).sqrt() + 1e-8
        return mean / (1 - first ** float(step)) / unbiased


def orthogonalised(matrix: Float[Tensor, "M N"], *, steps: int = 5) -> Float[Tensor, "M N"]:
    r"""About $U V^\top$ of a matrix $U \Sigma V^\top$, by products alone: singular values end between 0.7 and 1.2.

    Source: jordan2024muon
    """
    a, b, c = NEWTON_SCHULZ
    tall = matrix.shape[0] > matrix.shape[1]
    x = matrix.T if tall else matrix
    x = x / x.norm().clamp(min=math.ulp(1.0))
    for _ in range(steps):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.T if tall else x
