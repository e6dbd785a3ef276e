"""Fine-tuning: a pretrained model learns a task, in a plain loop or with `transformers.Trainer`, on the same rows."""

from collections.abc import Callable, Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase
from transformers.pytorch_utils import Conv1D

from llmguide import inspection, prediction, trainer, training
from llmguide.adapters import LoRALinear, add_lora
from llmguide.corpora import Example
from llmguide.pretrained import head_of
from llmguide.recipes import Recipe, blocks, freeze, plan, recipe_for
from llmguide.trainer import Row
from llmguide.training import History, TrainingConfig


def add_low_rank(model: PreTrainedModel, *, rank: int = 8, seed: int = 0) -> list[str]:
    """LoRA on every linear map of a classifier's blocks, alpha twice the rank, beside a head that trains whole.

    Returns:
        The names of the adapted modules.

    Raises:
        ValueError: the model has no list of blocks, or is adapted already.

    Source: hu2021lora, section 4.2; dettmers2023qlora for adapters on all of a block's maps
    """
    heads = head_of(model)
    pooler = getattr(model.base_model, "pooler", None)
    whole = [name for name, module in model.named_modules() if name and (module in heads or module is pooler)]
    inside = {id(module) for module in blocks(model).modules() if isinstance(module, nn.Linear | Conv1D)}
    targets = [name for name, module in model.named_modules() if id(module) in inside]
    generator = torch.Generator().manual_seed(seed)
    return add_lora(model, targets=targets, rank=rank, alpha=2 * rank, also=whole, generator=generator)


def train_classifier(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    train: Sequence[Example],
    recipe: Recipe | None = None,
    *,
    dev: Sequence[Example] = (),
    folder: str | Path | None = None,
    progress: bool = False,
    use_cpu: bool | None = None,
) -> History:
    """Fine-tune a classifier with `transformers.Trainer`. The model is trained in place and left in evaluation mode.

    What trains is what the recipe says; a model with LoRA keeps its own choice. Under `accelerate launch` the batch is
    shared out over the processes, and the result is that of one.

    Args:
        recipe: None takes `recipe_for` so many texts.
        dev: texts for a validation loss after each epoch; the recipe's patience needs them.
        folder: where the state of the run is kept, an epoch at a time; a run found there is continued. None: nowhere.
        progress: show a bar, on stderr.
        use_cpu: compute on the CPU; None: where `runtime.device()` says.

    Returns:
        The loss and the gradient norm of each step, and the validation loss after each epoch.

    Raises:
        TypeError, ValueError: a text or label that cannot be; the message names the row and the way out. Nothing has
            been trained.
        training.Diverged: a loss or gradient is not finite; parameters and saved state are the last good ones.

    Taught in: finetuning/sentiment
    """
    recipe = recipe or recipe_for(len(train))
    rows, dev_rows = _classified(model, tokenizer, train, recipe), _classified(model, tokenizer, dev, recipe, dev=True)
    _choose_what_trains(model, recipe)
    return trainer.run(
        model,
        rows,
        _plan(rows, recipe),
        recipe,
        collate=_collator(tokenizer, shift=0),
        dev=dev_rows,
        folder=folder,
        progress=progress,
        use_cpu=use_cpu,
    )


def train_language_model(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    train: Sequence[str],
    recipe: Recipe | None = None,
    *,
    dev: Sequence[str] = (),
    folder: str | Path | None = None,
    progress: bool = False,
    use_cpu: bool | None = None,
) -> History:
    """Fine-tune a language model on texts with `transformers.Trainer`; as `train_classifier`.

    Each text is learnt from its start to its end token, long ones in pieces of the recipe's length. The labels are the
    inputs: the loss compares position t with token t + 1, here and once.
    """
    recipe = recipe or Recipe()
    length = min(recipe.length, prediction.longest(model, tokenizer))
    found = [prediction.pieces(tokenizer, inspection.check_texts(texts), length=length) for texts in (train, dev)]
    if not found[0]:
        raise ValueError(f"{len(train)} texts, and no token to predict in them; give at least one word")
    rows, dev_rows = ([{"ids": ids} for ids in pieces] for pieces in found)
    _choose_what_trains(model, recipe)
    return trainer.run(
        model,
        rows,
        _plan(rows, recipe),
        recipe,
        collate=_collator(tokenizer, shift=1),
        dev=dev_rows,
        folder=folder,
        progress=progress,
        use_cpu=use_cpu,
        shift=1,
    )


def fit_classifier(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    train: Sequence[Example],
    recipe: Recipe | None = None,
    *,
    dev: Sequence[Example] = (),
    folder: str | Path | None = None,
    progress: bool = False,
) -> History:
    """What `train_classifier` does, in the book's own loop: the same rows, schedule, clipping and update.

    Raises:
        ValueError: the recipe has a layer decay; `training.fit` knows one rate.

    Taught in: finetuning/sentiment
    """
    recipe = recipe or recipe_for(len(train))
    if recipe.layer_decay != 1:
        raise ValueError(f"layer_decay is {recipe.layer_decay}; the plain loop has one rate: use train_classifier")
    rows, dev_rows = _classified(model, tokenizer, train, recipe), _classified(model, tokenizer, dev, recipe, dev=True)
    steps, epoch, collate = _plan(rows, recipe), _epoch(rows, recipe), _collator(tokenizer, shift=0)

    def score(model: nn.Module, batch: Sequence[Row]) -> tuple[Tensor, int]:
        inputs = {name: tensor.to(next(model.parameters()).device) for name, tensor in collate(batch).items()}
        labels = inputs.pop("labels")
        return F.cross_entropy(model(**inputs).logits, labels, reduction="sum"), len(batch)

    def dev_loss() -> float:
        scores = [score(model, dev_rows[first : first + 64]) for first in range(0, len(dev_rows), 64)]
        return float(sum(loss for loss, _ in scores)) / len(dev_rows)

    config = TrainingConfig(
        steps=len(steps),
        learning_rate=recipe.learning_rate,
        warmup=recipe.warmup_steps(len(steps)),
        weight_decay=recipe.weight_decay,
        evaluate_every=epoch if dev_rows else 0,
        patience=recipe.patience,
        save_every=epoch if folder is not None else 0,
    )
    _choose_what_trains(model, recipe)
    torch.manual_seed(recipe.seed)
    history = training.fit(
        model,
        score,
        lambda step: [[rows[place] for place in steps[step]]],
        config,
        evaluate=dev_loss if dev_rows else None,
        folder=folder,
        progress=progress,
    )
    model.train(False)
    return history


# What both have in common


def _classified(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    examples: Sequence[Example],
    recipe: Recipe,
    dev: bool = False,
) -> list[Row]:
    """Texts and labels, looked at and encoded. The length becomes the tokenizer's: later texts are cut as these are."""
    names = prediction.class_names(model)
    if dev and not examples:
        if recipe.patience is not None:
            raise ValueError(f"patience is {recipe.patience}, and there are no dev texts to judge by; give dev=")
        return []
    texts = inspection.check_texts([example.text for example in examples])
    labels = inspection.check_labels([e.label for e in examples], names, texts=len(texts), one_class=dev)
    tokenizer.model_max_length = min(recipe.length, prediction.longest(model, tokenizer))
    rows = prediction.encode(tokenizer, texts, limit=tokenizer.model_max_length)
    return [{"ids": ids, "label": label} for ids, label in zip(rows, labels, strict=True)]


def _plan(rows: Sequence[Row], recipe: Recipe) -> list[list[int]]:
    return plan([len(row["ids"]) for row in rows], batch=recipe.batch, epochs=recipe.epochs, seed=recipe.seed)


def _epoch(rows: Sequence[Row], recipe: Recipe) -> int:
    return len(rows) // min(recipe.batch, len(rows))  # steps


def _collator(tokenizer: PreTrainedTokenizerBase, *, shift: int) -> Callable[[Sequence[Row]], dict[str, Tensor]]:
    def collate(rows: Sequence[Row]) -> dict[str, Tensor]:
        ids = [row["ids"] for row in rows]
        labels = prediction.labelled(ids) if shift else torch.tensor([row["label"] for row in rows])
        return prediction.tensors(ids, padding=tokenizer.pad_token_id) | {"labels": labels}

    return collate


def _choose_what_trains(model: PreTrainedModel, recipe: Recipe) -> None:
    if not any(isinstance(module, LoRALinear) for module in model.modules()):
        freeze(model, layers=recipe.layers, embeddings=recipe.embeddings)
