"""Adapters: a model learns a task in a product of two thin matrices beside each frozen one (LoRA); files as peft's."""

import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from safetensors import SafetensorError
from safetensors.torch import load_file
from safetensors.torch import save as serialize
from torch import Tensor, nn

from llmguide import runtime

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
PREFIX = "base_model.model."  # how peft begins each tensor's name in a file
PLAIN_START = (True, False, "gaussian")  # ways to begin that leave the base as it is (others, like PiSSA, change it)
UNREAD = (  # peft's settings that change the formula, where they are not empty
    "use_dora use_rslora use_qalora use_bdlora lora_bias rank_pattern alpha_pattern "
    "alora_invocation_tokens arrow_config monteclora_config kasa_config"
)


class LoRALinear(nn.Module):
    r"""A linear map that stays as it is, and beside it a product of two thin matrices that learns.

    $W x + b + \frac{\alpha}{R} B A x$ with W (out, in) frozen, A (R, in) and B (out, R). A starts random
    (Kaiming-uniform), B at zero: until the first step the outputs are those of W alone, to the last bit. A can learn
    only once B is no longer zero.

    It stands in for its base: `weight` is W + (alpha / R) B A, computed at each call. Writing into that tensor changes
    nothing, so `silenced` works on a model that is merged, or whose output maps are not adapted.

    Args:
        base: an `nn.Linear`, or the `Conv1D` of transformers' GPT-2 (a linear map that keeps W transposed).
        dropout: share of the inputs of A set to 0 in training.

    Raises:
        ValueError: a rank below 1, an alpha or a dropout that cannot be, or a base that is not linear.

    Taught in: finetuning/low-rank-adapters
    Source: hu2021lora
    """

    def __init__(
        self,
        base: nn.Module,
        *,
        rank: int,
        alpha: float | int,
        dropout: float | int = 0.0,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        if not _is_linear(base):
            raise ValueError(f"LoRA stands beside nn.Linear or Conv1D, not beside {type(base).__name__}")
        if rank < 1:
            raise ValueError(f"rank is {rank}; it must be at least 1")
        if alpha <= 0:
            raise ValueError(f"alpha is {alpha}; it must be greater than 0 (twice the rank is common)")
        if not 0 <= dropout < 1:
            raise ValueError(f"dropout is {dropout}; it must be at least 0 and less than 1")
        weight = base.get_parameter("weight")
        self.transposed = not isinstance(base, nn.Linear)
        out_width, in_width = weight.mT.shape if self.transposed else weight.shape
        self.base, self.rank, self.alpha = base, rank, alpha
        self.A = nn.Parameter(weight.new_empty(rank, in_width))
        self.B = nn.Parameter(weight.new_zeros(out_width, rank))
        self.dropout = nn.Dropout(dropout)
        nn.init.kaiming_uniform_(self.A, a=5**0.5, generator=generator)  # as nn.Linear starts: up to 1 / sqrt(in)
        self.train(base.training)

    def forward(self, x: Float[Tensor, "*B I"]) -> Float[Tensor, "*B O"]:
        return self.base(x) + F.linear(F.linear(self.dropout(x), self.A), self.B) * (self.alpha / self.rank)

    @property
    def weight(self) -> Tensor:
        """W with its change, laid out as the base keeps it."""
        change = self.B @ self.A * (self.alpha / self.rank)
        return self.base.get_parameter("weight") + (change.mT if self.transposed else change)

    @property
    def bias(self) -> Tensor | None:
        """The base's bias: LoRA leaves it as it is."""
        return getattr(self.base, "bias", None)


def add_lora(
    model: nn.Module,
    *,
    targets: Sequence[str],
    rank: int = 8,
    alpha: float | int = 16,
    dropout: float | int = 0.0,
    also: Sequence[str] = (),
    generator: torch.Generator | None = None,
) -> list[str]:
    """Freeze a model, and put a `LoRALinear` in place of each linear module whose name ends in one of the targets.

    In the book's models queries, keys and values come from one map, `project_in` (3 D, D), and so do they in GPT-2's
    `c_attn`. It gets one adapter, as peft does it: the three share A, and each has its D rows of B. BERT in
    transformers has three maps (`query`, `key`, `value`), to be adapted one by one.

    Args:
        targets: endings of names, whole words: `query` takes `layer.0.attention.self.query`.
        also: endings of modules that train whole and belong to the adapter: a new head, `classifier`, say.

    Returns:
        The names of the adapted modules.

    Raises:
        ValueError: an ending that nothing has, or a model that is adapted already.

    Source: hu2021lora, section 4.1
    """
    if _adapted(model, needed=False):
        raise ValueError("the model is adapted already; merge or remove that adapter first")
    whole = _ending([name for name, _ in model.named_modules() if name], also, "module")
    linear = [name for name, module in model.named_modules() if name and _is_linear(module)]
    names = _ending(linear, targets, "linear module")
    names = [name for name in names if not any(f"{name}.".startswith(f"{part}.") for part in whole)]
    shape = {"alpha": alpha, "dropout": dropout}
    adapters = {n: LoRALinear(model.get_submodule(n), rank=rank, generator=generator, **shape) for n in names}
    _attach(model, adapters, whole)
    return names


def trainable_share(model: nn.Module) -> float:
    """The share of a model's parameters that train, 0 to 1; what is frozen needs no gradient and no optimizer state."""
    trains = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
    return trains / sum(parameter.numel() for parameter in model.parameters())


def merge(model: nn.Module) -> None:
    """Add each product to its matrix: a plain model again, its outputs the same up to rounding, all of it trainable.

    Raises:
        ValueError: the model has no adapter.
    """
    for adapted in _adapted(model).values():
        adapted.base.weight = nn.Parameter(adapted.weight.detach())  # a new one: weights tied to it stay as they are
    remove(model)


def remove(model: nn.Module) -> None:
    """Take the adapter off: the base as it was, all of it trainable; parts that trained whole keep what they learnt.

    Raises:
        ValueError: the model has no adapter.
    """
    for name, adapted in _adapted(model).items():
        model.set_submodule(name, adapted.base)
    model.requires_grad_(True)


def adapter_state(model: nn.Module) -> dict[str, Tensor]:
    """A copy of what the adapter has learnt: each A and B, and the parts that train whole.

    `model.load_state_dict(state, strict=False)` puts it back, and so swaps two adapters of one shape.

    Raises:
        ValueError: the model has no adapter.
    """
    names = {f"{name}.{matrix}" for name in _adapted(model) for matrix in "AB"}
    names |= {f"{name}.{part}" for name in _whole(model) for part, _ in model.get_submodule(name).named_parameters()}
    return {name: tensor.detach().clone() for name, tensor in model.state_dict().items() if name in names}


def save_adapter(model: nn.Module, folder: str | Path) -> Path:
    """Write what trains, without the base, as peft does: `PeftModel.from_pretrained(base, folder)` opens it.

    Each file is written whole or not at all.

    Raises:
        ValueError: the model has no adapter, or its base trains too.
        OSError: the disk is full or the folder cannot be written.
    """
    folder, adapted, whole = Path(folder), _adapted(model), _whole(model)
    thawed = [name for name in whole if not name or name.removesuffix(".base") in adapted]
    if thawed:
        raise ValueError(f"the base trains too ({thawed[0] or 'at its root'}): freeze it, or save the whole model")
    tensors = {}
    for name, tensor in adapter_state(model).items():
        module, _, last = name.rpartition(".")
        tensors[f"{PREFIX}{module}.lora_{last}.weight" if module in adapted else PREFIX + name] = tensor.contiguous()
    first = next(iter(adapted.values()))
    endings = {name.rpartition(".")[2] for name in adapted}
    same = {name for name, _ in model.named_modules() if name.rpartition(".")[2] in endings}
    settings = {
        **{"peft_type": "LORA", "task_type": None, "base_model_name_or_path": None, "inference_mode": True},
        **{"r": first.rank, "lora_alpha": first.alpha, "lora_dropout": first.dropout.p, "bias": "none"},
        "target_modules": sorted(endings if same == set(adapted) else adapted),
        "modules_to_save": whole or None,
        "fan_in_fan_out": any(module.transposed for module in adapted.values()),
    }
    with runtime.replacing(folder / CONFIG) as config, runtime.replacing(folder / WEIGHTS) as weights:
        weights.write_bytes(serialize(tensors, metadata={"format": "pt"}))
        config.write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")
    return folder


def load_adapter(model: nn.Module, folder: str | Path) -> None:
    """Put a saved adapter, ours or peft's, on its base, in place of the one there; an error changes nothing.

    Raises:
        FileNotFoundError: the folder or one of its two files is missing.
        ValueError: a damaged file, another base's adapter, or a kind of adapter that is not read; the message names it.
    """
    folder = Path(folder)
    settings, tensors = _read(folder)
    # By our names, as in adapter_state: of the matrices, and of the parameters that trained whole.
    learnt = {re.sub(r"\.lora_([AB])\.weight$", r".\1", key.removeprefix(PREFIX)): t for key, t in tensors.items()}
    there = _adapted(model, needed=False)
    modules = dict(model.named_modules()) | {name: adapted.base for name, adapted in there.items()}
    shape = {"rank": settings["r"], "alpha": settings["lora_alpha"], "dropout": settings.get("lora_dropout", 0.0)}
    names = sorted({name.removesuffix(".A") for name in learnt if name.endswith(".A")})
    adapters = {name: LoRALinear(modules[name], **shape) for name in names if _is_linear(modules.get(name))}
    parameters = {f"{name}.{part}": p for name, m in modules.items() for part, p in m.named_parameters(recurse=False)}
    whole = {name: parameters[name] for name in learnt if name in parameters}
    places = whole | {f"{name}.{part}": p for name, a in adapters.items() for part, p in (("A", a.A), ("B", a.B))}
    for name in sorted(places.keys() | learnt.keys()):
        if name not in learnt:
            raise ValueError(f"{folder / WEIGHTS} lacks {name}; save or fetch it again")
        if name not in places:
            raise ValueError(f"{folder} is an adapter of another base: this model has no place for {name}")
        if learnt[name].shape != places[name].shape:
            both = f"{tuple(learnt[name].shape)}, and rank {settings['r']} here needs {tuple(places[name].shape)}"
            raise ValueError(f"{folder} is an adapter of another base: {name} is {both}")
    if not adapters:
        raise ValueError(f"{folder / WEIGHTS} holds no lora_A; it is not a LoRA adapter")
    if there:
        remove(model)
    with torch.no_grad():
        for name, tensor in learnt.items():
            places[name].copy_(tensor)
    _attach(model, adapters, {name.rpartition(".")[0] for name in whole})


def _read(folder: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    missing = [name for name in (CONFIG, WEIGHTS) if not (folder / name).is_file()]
    if missing:
        raise FileNotFoundError(f"{folder} lacks {' and '.join(missing)}; give a folder that holds an adapter")
    try:
        settings = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        tensors = load_file(folder / WEIGHTS)
    except (ValueError, SafetensorError) as error:
        damaged = WEIGHTS if isinstance(error, SafetensorError) else CONFIG
        raise ValueError(f"{folder / damaged} is damaged ({error}); save or fetch it again") from error
    known = settings if isinstance(settings, dict) else {}
    if known.get("peft_type") != "LORA" or not {"r", "lora_alpha"} <= known.keys():
        raise ValueError(f"{folder / CONFIG} describes no LoRA adapter: peft_type LORA, r and lora_alpha must be there")
    unread = [name for name in UNREAD.split() if settings.get(name)]
    unread += ["bias"] if settings.get("bias", "none") != "none" else []
    unread += ["init_lora_weights"] if settings.get("init_lora_weights", True) not in PLAIN_START else []
    if unread:
        raise ValueError(f"{folder / CONFIG} sets {', '.join(unread)}, which only peft reads; open it with peft")
    broken = [name for name, tensor in tensors.items() if not tensor.isfinite().all()]
    if broken:
        raise ValueError(f"{folder / WEIGHTS}: {broken[0]} holds NaN or infinity; this adapter cannot be used")
    return settings, tensors


def _attach(model: nn.Module, adapters: dict[str, LoRALinear], whole: Iterable[str]) -> None:
    model.requires_grad_(False)  # before the new matrices come, whose base it freezes
    for name, adapter in adapters.items():
        model.set_submodule(name, adapter)
    for name in whole:
        model.get_submodule(name).requires_grad_(True)


def _is_linear(module: nn.Module | None) -> bool:
    return isinstance(module, nn.Linear) or type(module).__name__ == "Conv1D"  # by name: transformers is slow to import


def _adapted(model: nn.Module, *, needed: bool = True) -> dict[str, LoRALinear]:
    adapted = {name: module for name, module in model.named_modules() if isinstance(module, LoRALinear)}
    if needed and not adapted:
        raise ValueError("the model has no adapter; add_lora or load_adapter gives it one")
    return adapted


def _whole(model: nn.Module) -> list[str]:
    """The modules outside of LoRA that train."""
    others = [(name, module) for name, module in model.named_modules() if not isinstance(module, LoRALinear)]
    return [name for name, module in others if any(p.requires_grad for p in module.parameters(recurse=False))]


def _ending(names: list[str], endings: Sequence[str], kind: str) -> list[str]:
    """The names that end in one of the endings, in whole words; each ending must find something."""
    endings = [endings] if isinstance(endings, str) else endings
    found = {ending: {name for name in names if f".{name}".endswith(f".{ending}")} for ending in endings}
    for ending in endings:
        if not found[ending]:
            there = ", ".join(sorted({name.rpartition(".")[2] for name in names}))
            raise ValueError(f"no {kind} has a name that ends in {ending!r}; names here end in {there}")
    return [name for name in names if any(name in some for some in found.values())]
