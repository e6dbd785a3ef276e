"""Recipes: how a pretrained model is fine-tuned: what trains, how fast, on which rows at which step."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel

FEW = 1000  # texts
LORA_FASTER = 5  # times the rate
POOL = 50  # batches whose rows are sorted by length together, so that a batch holds little padding


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How a model is fine-tuned; checked when made.

    The defaults are those for the classes of a few hundred to some thousand texts. They were chosen on SST-2, where
    they are measured (tests/benchmarks/README.md).

    Args:
        epochs: passes over the data.
        batch: texts an update, over all processes together.
        learning_rate: the highest one, of the head and the last block, reached after the warm-up.
        warmup: the share of the steps in which the rate rises; then it falls as half a cosine, to 0.
        layer_decay: the rate of a block over that of the block above it; 1 for one rate everywhere.
        weight_decay: shrinking of matrices per step, times the learning rate.
        layers: how many of the last blocks train; None for all, 0 for the head alone.
        embeddings: whether what is below the blocks trains too, where all blocks do; it holds half of a small model's
            parameters.
        length: the tokens of a text that are read.
        patience: stop after so many epochs without a lower validation loss, and keep the best; None never stops.
        seed: of the order of the rows and of dropout.

    Raises:
        ValueError: a value that cannot be; the message names it.
    """

    epochs: int = 3
    batch: int = 32
    learning_rate: float = 3e-4
    warmup: float = 0.1
    layer_decay: float = 1.0
    weight_decay: float = 0.01
    layers: int | None = None
    embeddings: bool = True
    length: int = 128
    patience: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("epochs", "batch", "length"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be at least 1")
        if self.learning_rate <= 0:
            raise ValueError(f"learning_rate is {self.learning_rate}; it must be greater than 0")
        if not 0 <= self.warmup < 1:
            raise ValueError(f"warmup is {self.warmup}; it is a share of the steps, from 0 to below 1")
        if not 0 < self.layer_decay <= 1:
            raise ValueError(f"layer_decay is {self.layer_decay}; it must lie above 0, and be 1 at most")
        if self.layers is not None and self.layers < 0:
            raise ValueError(f"layers is {self.layers}; it must be at least 0 (the head alone), or None for all")
        if self.patience is not None and self.patience < 1:
            raise ValueError(f"patience is {self.patience}; it must be at least 1, or None")

    def warmup_steps(self, steps: int) -> int:
        """How many of a run's steps warm up."""
        return round(self.warmup * steps)


def recipe_for(examples: int, *, lora: bool = False, **changes: Any) -> Recipe:
    """What has worked for so many texts, with changes: few of them are read in smaller batches, for more updates.

    LoRA starts from nothing and takes a rate several times that of full fine-tuning. From a thousand texts on it did
    better than full fine-tuning, in less time; `llmguide finetune` then takes it.

    Taught in: finetuning/sentiment
    """
    few = examples < FEW
    found: dict[str, Any] = {"batch": 16 if few else 32, "learning_rate": 2e-4 if few else 3e-4}
    if lora:
        found["learning_rate"] *= LORA_FASTER
    return Recipe(**found | changes)


def freeze(model: PreTrainedModel, *, layers: int | None = None, embeddings: bool = True) -> None:
    """Choose what trains: the head always (BERT's pooler is part of it), the last blocks, what is below them.

    Args:
        layers: how many of the last blocks train; None for all, 0 for none.
        embeddings: whether the embeddings train, where all blocks do.

    Raises:
        ValueError: the model has fewer blocks.

    Taught in: finetuning/sentiment
    """
    body, stack = model.base_model, blocks(model)
    if layers is not None and layers > len(stack):
        raise ValueError(f"layers is {layers}; the model has {len(stack)} blocks")
    model.requires_grad_(True)
    below = getattr(body, "embeddings", None)
    if not embeddings or layers is not None:
        for module in [below] if below is not None else [m for m in body.modules() if isinstance(m, nn.Embedding)]:
            module.requires_grad_(False)
    if layers is not None:
        stack[: len(stack) - layers].requires_grad_(False)


def blocks(model: PreTrainedModel) -> nn.ModuleList:
    """The Transformer blocks of a model, from the bottom up."""
    for module in model.base_model.modules():
        if isinstance(module, nn.ModuleList) and len(module) == model.config.num_hidden_layers:
            return module
    raise ValueError(f"{type(model).__name__} has no list of {model.config.num_hidden_layers} blocks")


def parameter_groups(model: PreTrainedModel, recipe: Recipe) -> list[dict[str, object]]:
    """What trains, by rate and decay: AdamW's groups. Vectors (biases, norms) do not decay.

    With $c$ the layer decay and $L$ blocks, block $l$ (from 1) learns at $c^{L-l}$ of the rate, embeddings at $c^L$.

    Source: howard2018universal, section 3.2
    """
    stack, below = blocks(model), set()
    depth = {id(p): len(stack) - 1 - place for place, block in enumerate(stack) for p in block.parameters()}
    for module in model.base_model.modules():
        if isinstance(module, nn.Embedding):
            below |= {id(parameter) for parameter in module.parameters()}
    under: nn.Module | None = getattr(model.base_model, "embeddings", None)
    if under is not None:
        below |= {id(parameter) for parameter in under.parameters()}
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for parameter in model.parameters():
        if parameter.requires_grad:
            steps_down = len(stack) if id(parameter) in below else depth.get(id(parameter), 0)
            rate = recipe.learning_rate * recipe.layer_decay**steps_down
            groups.setdefault((rate, recipe.weight_decay if parameter.ndim > 1 else 0.0), []).append(parameter)
    return [{"params": found, "lr": rate, "weight_decay": decay} for (rate, decay), found in groups.items()]


def plan(lengths: Sequence[int], *, batch: int, epochs: int, seed: int) -> list[list[int]]:
    """Which rows make the batch of each step, for the whole run.

    So one loop or another, one process or several, and a run that goes on, all read the same. Each
    epoch has a new order and leaves out, by chance, the rows that would not fill a batch. Rows of similar length share
    one.

    Raises:
        ValueError: no rows.

    Taught in: finetuning/sentiment
    """
    if not lengths:
        raise ValueError("no rows to plan a run for")
    batch = min(batch, len(lengths))
    generator = torch.Generator().manual_seed(seed)
    steps: list[list[int]] = []
    for _ in range(epochs):
        order = torch.randperm(len(lengths), generator=generator).tolist()[: len(lengths) // batch * batch]
        batches = []
        for start in range(0, len(order), POOL * batch):
            pool = sorted(order[start : start + POOL * batch], key=lambda row: lengths[row], reverse=True)
            batches += [pool[first : first + batch] for first in range(0, len(pool), batch)]
        steps += [batches[place] for place in torch.randperm(len(batches), generator=generator).tolist()]
    return steps
