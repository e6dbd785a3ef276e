"""The Trainer of `transformers`, told which rows to read at which step, watched, and continued where it stopped."""

import contextlib
import errno
import hashlib
import json
import math
import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from torch import Tensor
from tqdm import tqdm  # type: ignore[import-untyped]
from transformers import (
    EarlyStoppingCallback,
    PreTrainedModel,
    PrinterCallback,
    Trainer,
    TrainerCallback,
    TrainingArguments,
)

from llmguide import runtime
from llmguide.losses import IGNORE
from llmguide.prediction import BATCH
from llmguide.pretrained import quiet
from llmguide.recipes import Recipe, parameter_groups
from llmguide.training import Diverged, History, learning_rate_share

RUN = "run.json"  # what the run of a folder was made with: another one is not continued there
STATE = "trainer_state.json"  # what the Trainer writes last of a state
Row = dict[str, Any]  # the ids of a text, and its label if it has one


def run(
    model: PreTrainedModel,
    rows: Sequence[Row],
    steps: Sequence[Sequence[int]],
    recipe: Recipe,
    *,
    collate: Callable[[Sequence[Row]], dict[str, Tensor]],
    dev: Sequence[Row] = (),
    folder: str | Path | None = None,
    progress: bool = False,
    use_cpu: bool | None = None,
    shift: int = 0,
) -> History:
    """Train a model in place on the rows of each step; it is left in evaluation mode.

    Args:
        steps: the places of the rows of each step (`recipes.plan`).
        collate: rows as the model's inputs, with `labels`.
        shift: 1 where the scores of a position are of the token after it, as a language model's are.

    Raises:
        Diverged: a loss or gradient is not finite; the parameters and the saved state are the last good ones.
        OSError: the disk is full; the last whole state is kept.
        ValueError: `folder` holds the state of another run, or the processes cannot share a batch.
    """
    processes, batch = int(os.environ.get("WORLD_SIZE", "1")), len(steps[0])
    epoch = len(steps) // recipe.epochs
    if batch % processes:
        raise ValueError(f"a batch of {batch} cannot be shared by {processes} processes; choose a multiple of them")
    if recipe.patience is not None and processes > 1 and folder is None:
        raise ValueError("patience keeps the best state in a folder that all processes see; give folder=")
    watch = _Watch(shift=shift, steps=len(steps), progress=progress and _first_process())
    optimizer = torch.optim.AdamW(parameter_groups(model, recipe))
    share = partial(learning_rate_share, steps=len(steps), warmup=recipe.warmup_steps(len(steps)))
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: share(step + 1))  # the book's own
    with contextlib.ExitStack() as stack:
        place = Path(stack.enter_context(tempfile.TemporaryDirectory()) if folder is None else folder)
        last = _last_state(place, _made_with(model, rows, recipe)) if folder is not None else None
        stack.enter_context(quiet())
        trainer = Trainer(
            model=model,
            args=TrainingArguments(
                output_dir=str(place),
                per_device_train_batch_size=batch // processes,
                per_device_eval_batch_size=BATCH,
                num_train_epochs=1,  # the plan holds them all
                train_sampling_strategy="sequential",
                max_grad_norm=1.0,
                logging_steps=1,
                logging_nan_inf_filter=False,
                eval_strategy="steps" if dev else "no",
                eval_steps=epoch,
                save_strategy="no" if folder is None and recipe.patience is None else "steps",
                save_steps=epoch,
                save_total_limit=1,
                load_best_model_at_end=recipe.patience is not None,
                metric_for_best_model="loss",
                greater_is_better=False,
                seed=recipe.seed,
                report_to="none",
                disable_tqdm=True,
                remove_unused_columns=False,
                use_cpu=runtime.device().type == "cpu" if use_cpu is None else use_cpu,
            ),
            train_dataset=[rows[place] for step in steps for place in step],
            eval_dataset=list(dev) or None,
            data_collator=collate,
            compute_loss_func=watch.loss,
            callbacks=[watch, *([EarlyStoppingCallback(recipe.patience)] if recipe.patience else [])],
            optimizers=(optimizer, schedule),
        )
        trainer.remove_callback(PrinterCallback)
        with _full_disks_named(place):
            trainer.train(resume_from_checkpoint=None if last is None else str(last))
    model.train(False)
    log = trainer.state.log_history
    return History(
        [entry["loss"] for entry in log if "loss" in entry],
        [entry["grad_norm"] for entry in log if "loss" in entry],
        [(int(entry["step"]), entry["eval_loss"]) for entry in log if "eval_loss" in entry],
    )


class _Watch(TrainerCallback):
    """The loss, a bar, and a stop before an update that would ruin the parameters."""

    def __init__(self, *, shift: int, steps: int, progress: bool) -> None:
        self.shift, self.step = shift, 0
        self.bar = tqdm(total=steps, unit="step", disable=not progress)

    def loss(self, outputs: Any, labels: Tensor, num_items_in_batch: Tensor | int | None = None) -> Tensor:
        """The mean over all targets of the update, in whatever parts and processes they come."""
        logits, targets = outputs.logits, labels
        if self.shift:
            logits, targets = logits[:, :-1], labels[:, 1:]
        total = F.cross_entropy(logits.flatten(0, -2).float(), targets.flatten(), reduction="sum", ignore_index=IGNORE)
        loss = total / ((targets != IGNORE).sum() if num_items_in_batch is None else num_items_in_batch)
        if not bool(loss.isfinite()):
            raise self._diverged(f"loss {loss.item()}")
        return loss

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Know the number of the step."""
        self.step = state.global_step

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Stop where the gradients, clipped by now, are not finite."""
        gradients = [parameter.grad for parameter in kwargs["model"].parameters() if parameter.grad is not None]
        norm = torch.nn.utils.get_total_norm(gradients).item()
        if not math.isfinite(norm):
            raise self._diverged(f"gradient norm {norm}")

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float] | None = None, **kwargs: Any) -> None:
        """Move the bar."""
        self.bar.set_postfix({"loss": f"{logs['loss']:.3f}"} if logs and "loss" in logs else {}, refresh=False)
        self.bar.update(state.global_step - self.bar.n)

    def on_evaluate(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Say the validation loss beside the bar."""
        if not self.bar.disable:
            self.bar.write(f"step {state.global_step}: dev loss {kwargs['metrics']['eval_loss']:.3f}", file=sys.stderr)

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Put the bar away."""
        self.bar.close()

    def _diverged(self, what: str) -> Diverged:
        self.bar.close()
        return Diverged(
            f"step {self.step + 1}: {what}; the parameters are those before this step. "
            "Try a lower learning rate or a longer warm-up"
        )


@contextlib.contextmanager
def _full_disks_named(folder: Path) -> Iterator[None]:
    """Say that the disk is full where it is: `torch.save` speaks of a position in a file."""
    try:
        yield
    except (OSError, RuntimeError, SafetensorError) as error:
        if any(sign in str(error) for sign in ("No space", "inline_container", "PytorchStreamWriter")):
            raise OSError(
                errno.ENOSPC, f"the disk of {folder} is full; the last whole state is kept, and the run goes on from it"
            ) from error
        raise


def _first_process() -> bool:
    return os.environ.get("RANK", "0") == "0"


def _made_with(model: PreTrainedModel, rows: Sequence[Row], recipe: Recipe) -> dict[str, Any]:
    trained = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
    data = hashlib.sha256(json.dumps(list(rows)).encode()).hexdigest()
    return asdict(recipe) | {"model": type(model).__name__, "trained parameters": trained, "data": data}


def _last_state(folder: Path, made_with: dict[str, Any]) -> Path | None:
    """The last whole state of a run in its folder, after a look at whether it is the same run."""
    path = folder / RUN
    states = sorted(folder.glob("checkpoint-*/"), key=lambda state: int(state.name.rpartition("-")[2]), reverse=True)
    whole = [state for state in states if _is_whole(state)]
    if whole and path.is_file():
        then = json.loads(path.read_text(encoding="utf-8"))
        changed = [f"{name} was {then.get(name)}, is {now}" for name, now in made_with.items() if then.get(name) != now]
        if changed:
            raise ValueError(f"{folder} holds a run with other settings: {'; '.join(changed)}. Choose another folder")
    if _first_process():
        with runtime.replacing(path) as temporary:
            temporary.write_text(json.dumps(made_with), encoding="utf-8")
    return whole[0] if whole else None


def _is_whole(state: Path) -> bool:
    try:
        json.loads((state / STATE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return True
