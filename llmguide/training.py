"""Training: parameters move, step by step, and a run that was stopped goes on as if it had not been."""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TypeVar

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from tqdm import tqdm  # type: ignore[import-untyped]

from llmguide import runtime

Batch = TypeVar("Batch")
Score = Callable[[nn.Module, Batch], tuple[Tensor, int]]  # summed loss of a batch, and how many targets it sums
STATE_FILE = "training.safetensors"


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """How a run goes; checked when made.

    Args:
        steps: updates of the parameters.
        learning_rate: the highest one, reached after the warm-up.
        warmup: steps over which the rate rises from 0.
        floor: the share of the highest rate that is left at the end of the cosine.
        weight_decay: shrinking of matrices per step, times the learning rate; norms, biases and vectors are spared.
        clip: the largest norm of all gradients together; longer ones are scaled down to it.
        evaluate_every: steps between evaluations; 0 for none.
        patience: stop after so many evaluations without a better one, and go back to the best; None never does.
        save_every: steps between saved states; 0 saves at the end only.

    Raises:
        ValueError: a value that cannot be; the message names it.
    """

    steps: int
    learning_rate: float = 1e-3
    warmup: int = 0
    floor: float = 0.0
    weight_decay: float = 0.01
    clip: float = 1.0
    betas: tuple[float, float] = (0.9, 0.999)
    evaluate_every: int = 0
    patience: int | None = None
    save_every: int = 0

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise ValueError(f"steps is {self.steps}; it must be at least 1")
        if self.learning_rate <= 0:
            raise ValueError(f"learning_rate is {self.learning_rate}; it must be greater than 0")
        if not 0 <= self.warmup <= self.steps:
            raise ValueError(f"warmup is {self.warmup}; it must lie between 0 and the {self.steps} steps")
        if not 0 <= self.floor <= 1:
            raise ValueError(f"floor is {self.floor}; it is a share, from 0 to 1")
        if self.clip <= 0:
            raise ValueError(f"clip is {self.clip}; it must be greater than 0 (math.inf for none)")
        if self.patience is not None and (self.patience < 1 or self.evaluate_every < 1):
            raise ValueError(f"patience is {self.patience}; it needs at least 1, and evaluate_every at least 1")


@dataclass
class History:
    """What happened: one entry a step, and one an evaluation."""

    losses: list[float] = field(default_factory=list)  # mean loss of the step's batch, before its update
    gradient_norms: list[float] = field(default_factory=list)  # before clipping
    evaluations: list[tuple[int, float]] = field(default_factory=list)  # (steps done, validation loss)

    @property
    def best(self) -> float:
        """The lowest validation loss so far; infinity before the first that is a number."""
        return min((loss for _, loss in self.evaluations if not math.isnan(loss)), default=math.inf)


class Diverged(FloatingPointError):
    """A loss or gradient is not finite: the run stopped before the update, with the last good parameters."""


def learning_rate_share(step: int, *, steps: int, warmup: int, floor: float = 0.0) -> float:
    r"""The share of the highest learning rate at a step: a line up, then half a cosine down.

    $t / w$ during the warm-up, then $f + (1 - f)\,\frac{1}{2}(1 + \cos \pi \frac{t - w}{T - w})$.

    Taught in: objective/gradient-descent
    Source: loshchilov2016sgdr
    """
    if step < warmup:
        return step / warmup
    progress = (step - warmup) / max(1, steps - warmup)
    return floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * progress))


def parameter_groups(model: nn.Module, *, weight_decay: float) -> list[dict[str, object]]:
    """AdamW's two groups: matrices, which decay, and vectors (biases, norms), which do not."""
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    matrices = [parameter for parameter in trained if parameter.ndim >= 2]
    vectors = [parameter for parameter in trained if parameter.ndim < 2]
    return [{"params": matrices, "weight_decay": weight_decay}, {"params": vectors, "weight_decay": 0.0}]


def gradient(model: nn.Module, score: Score[Batch], batches: Sequence[Batch]) -> float:
    """Leave in `.grad` the gradient of the mean loss over all targets of the batches; returns that loss.

    Several batches are a large one that did not fit: sums are added up and divided once, at the end. So the result is
    that of the large one, even where the batches hold unequal numbers of targets.

    Taught in: objective/gradient-descent
    """
    for parameter in model.parameters():
        parameter.grad = None
    total, targets = 0.0, 0
    for batch in batches:
        loss, count = score(model, batch)
        loss.backward()
        total, targets = total + float(loss.detach()), targets + count
    if targets == 0:
        raise ValueError("the batches hold nothing to predict: no target in any of them")
    for parameter in model.parameters():
        if parameter.grad is not None:
            parameter.grad /= targets
    return total / targets


def fit(
    model: nn.Module,
    score: Score[Batch],
    batches_of: Callable[[int], Sequence[Batch]],
    config: TrainingConfig,
    *,
    evaluate: Callable[[], float] | None = None,
    folder: str | Path | None = None,
    after_step: Callable[[int, float], None] | None = None,
    optimizer: torch.optim.Optimizer | None = None,
    progress: bool = False,
) -> History:
    """Train: for each step a gradient, a clip, an AdamW update at the scheduled rate.

    With `patience` the model ends with the parameters of its best evaluation, however the run ends; without, with those
    of the last step.

    Args:
        score: the summed loss of a batch, and the number of its targets.
        batches_of: the batches of a step, by its number: the same number gives the same batches, so that a run that is
            continued sees what an uninterrupted one would have seen.
        evaluate: the validation loss; called in evaluation mode, without gradients.
        folder: where the state of the run is kept; a run found there is continued.
        after_step: called with the number of steps done and the loss.
        optimizer: in place of AdamW; its groups' rates are then the highest ones.
        progress: draw a bar on standard error; for commands, not for pages.

    Returns:
        Losses, gradient norms and evaluations of the whole run, what was done before it was continued included.

    Raises:
        Diverged: a loss or gradient is not finite; the parameters and the saved state are the last good ones.
        ValueError: `folder` holds the state of another run.
    """
    if optimizer is None:
        groups = parameter_groups(model, weight_decay=config.weight_decay)
        optimizer = torch.optim.AdamW(groups, lr=config.learning_rate, betas=config.betas)
    highest = [group["lr"] for group in optimizer.param_groups]
    history, best = History(), dict[str, Tensor]()
    if folder is not None and (Path(folder) / STATE_FILE).exists():
        history = resume(model, optimizer, config, folder, best=best)
    model.train()
    done = len(history.losses)
    left = range(done, done if _stale(history, config.patience) else config.steps)
    bar = tqdm(left, initial=done, total=config.steps, unit="step", disable=not progress)
    for step in bar:
        share = learning_rate_share(step + 1, steps=config.steps, warmup=config.warmup, floor=config.floor)
        for group, rate in zip(optimizer.param_groups, highest, strict=True):
            group["lr"] = rate * share
        loss = gradient(model, score, batches_of(step))
        norm = float(nn.utils.clip_grad_norm_(model.parameters(), config.clip))
        if not (math.isfinite(loss) and math.isfinite(norm)):
            raise Diverged(
                f"step {step + 1}: loss {loss}, gradient norm {norm}, learning rate {group['lr']:.2g}; "
                "the parameters are those before this step. Try a lower learning rate or a longer warm-up"
            )
        optimizer.step()
        history.losses.append(loss)
        history.gradient_norms.append(norm)
        done = step + 1
        if evaluate is not None and config.evaluate_every and done % config.evaluate_every == 0:
            validation = _evaluated(model, evaluate)
            if config.patience is not None and validation < history.best:
                best = {name: tensor.clone() for name, tensor in model.state_dict().items()}
            history.evaluations.append((done, validation))
        stop = _stale(history, config.patience)
        if folder is not None and (
            done == config.steps or stop or (config.save_every and done % config.save_every == 0)
        ):
            save(model, optimizer, config, history, folder, best=best)
        bar.set_postfix(loss=f"{loss:.3f}", refresh=False)
        if after_step is not None:
            after_step(done, loss)
        if stop:
            break
    if best:
        model.load_state_dict(best)
    return history


def save(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    config: TrainingConfig,
    history: History,
    folder: str | Path,
    *,
    best: Mapping[str, Tensor] | None = None,
) -> Path:
    """Write what a run needs to go on (parameters, moments, random state, history) in one file, whole or not at all.

    Args:
        best: the parameters of the best evaluation, where the run is to end with them.
    """
    tensors = {f"model.{name}": tensor for name, tensor in model.state_dict().items()}
    tensors |= {f"best.{name}": tensor for name, tensor in (best or {}).items()}
    for index, state in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{index}.{name}": tensor for name, tensor in state.items()}
    tensors["random"] = torch.get_rng_state()
    notes = {"config": json.dumps(asdict(config)), "history": json.dumps(asdict(history))}
    with runtime.replacing(Path(folder) / STATE_FILE) as temporary:
        copies = {name: tensor.clone(memory_format=torch.contiguous_format) for name, tensor in tensors.items()}
        save_file(copies, temporary, metadata=notes)
    return Path(folder) / STATE_FILE


def resume(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    config: TrainingConfig,
    folder: str | Path,
    *,
    best: dict[str, Tensor] | None = None,
) -> History:
    """Put a saved run back into a model and an optimiser; returns its history.

    Args:
        best: takes up the parameters of the best evaluation, where the run had kept them.

    Raises:
        ValueError: the file is damaged, or the run was made with other settings or another model.

    Taught in: objective/pretraining
    """
    path = Path(folder) / STATE_FILE
    try:
        with safe_open(path, framework="pt") as file:
            notes = file.metadata()
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
    except SafetensorError as error:
        raise ValueError(f"{path} is damaged ({error}); delete it to start again") from error
    then, now = json.loads(notes["config"]), json.loads(json.dumps(asdict(config)))
    changed = [f"{name} was {then.get(name)}, is {now[name]}" for name in now if then.get(name) != now[name]]
    if changed:
        raise ValueError(f"{path} belongs to a run with other settings: {'; '.join(changed)}. Choose another folder")
    parameters = {name.removeprefix("model."): t for name, t in tensors.items() if name.startswith("model.")}
    try:
        model.load_state_dict(parameters)
    except RuntimeError as error:
        raise ValueError(f"{path} belongs to another model: {error}") from error
    if best is not None:
        best |= {name.removeprefix("best."): tensor for name, tensor in tensors.items() if name.startswith("best.")}
    state: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        if name.startswith("optimizer."):
            _, index, key = name.split(".")
            state.setdefault(int(index), {})[key] = tensor
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
    torch.set_rng_state(tensors["random"])
    history = json.loads(notes["history"])
    history["evaluations"] = [(step, loss) for step, loss in history["evaluations"]]
    return History(**history)


def _evaluated(model: nn.Module, evaluate: Callable[[], float]) -> float:
    model.eval()
    try:
        with torch.no_grad():
            return evaluate()
    finally:
        model.train()


def _stale(history: History, patience: int | None) -> bool:
    """True when none of the last `patience` evaluations was better than the best before them."""
    if patience is None:
        return False
    losses = [math.inf if math.isnan(loss) else loss for _, loss in history.evaluations]
    return len(losses) > patience and min(losses[-patience:]) >= min(losses[:-patience])
