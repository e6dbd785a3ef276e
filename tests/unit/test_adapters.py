"""Adapters: LoRA starts as nothing, learns beside a frozen base, merges away, and travels in peft's files."""

import copy
import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import BertConfig, BertForSequenceClassification, GPT2Config, GPT2LMHeadModel

from llmguide import adapters, runtime
from llmguide.adapters import (
    CONFIG,
    WEIGHTS,
    LoRALinear,
    adapter_state,
    add_lora,
    load_adapter,
    merge,
    remove,
    save_adapter,
    trainable_share,
)
from llmguide.attention import MultiHeadAttention
from llmguide.model import Decoder, Encoder, ModelConfig

B, T, S, D, V, R = 2, 5, 7, 12, 29, 3
OURS = ModelConfig(vocabulary=V, context=16, width=D, layers=2, heads=3)
BERT = BertConfig(
    vocab_size=V,
    hidden_size=D,
    num_hidden_layers=2,
    num_attention_heads=3,
    intermediate_size=2 * D,
    max_position_embeddings=16,
    num_labels=4,
)
GPT2 = GPT2Config(vocab_size=V, n_embd=D, n_layer=2, n_head=3, n_positions=16, bos_token_id=0, eos_token_id=0)
IDS = torch.randint(V, (B, T), generator=torch.Generator().manual_seed(1))

Make = Callable[[], nn.Module]


def base(kind: Callable[[Any], nn.Module], config: object) -> nn.Module:
    """The same model at each call, with numbers large enough that a small mistake shows."""
    torch.manual_seed(0)
    return learn(kind(config), seed=0).eval()


def bert() -> nn.Module:
    return base(BertForSequenceClassification, BERT)


def gpt2() -> nn.Module:
    return base(GPT2LMHeadModel, GPT2)


def decoder() -> nn.Module:
    return base(Decoder, OURS)


def encoder() -> nn.Module:
    return base(Encoder, OURS)


each_model = pytest.mark.parametrize(
    ("make", "targets"),
    [(bert, ["query", "value"]), (gpt2, ["c_attn", "c_fc"]), (decoder, ["project_in"]), (encoder, ["project_in"])],
    ids=["BERT", "GPT-2", "our decoder", "our encoder"],
)


def answer(model: nn.Module) -> Tensor:
    output = model(IDS)
    return output if isinstance(output, Tensor) else output.logits


def learn(model: nn.Module, *, seed: int = 1) -> nn.Module:
    """Move what trains, as training would."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator))
    return model


def adapted(make: Make = bert, targets: tuple[str, ...] = ("query", "value"), **settings: Any) -> nn.Module:
    model = make()
    add_lora(model, targets=targets, **({"rank": R, "alpha": 2 * R} | settings))
    return learn(model)


def peft_model(open_it: Callable[[], Any]) -> Any:
    with warnings.catch_warnings():  # peft reads a name that transformers has renamed
        warnings.filterwarnings("ignore", message="`is_gradient_checkpointing` is deprecated", category=FutureWarning)
        return open_it().eval()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a saved adapter of BERT and its classifier."""
    return save_adapter(adapted(also=("classifier",)), tmp_path / "adapter")


# What LoRA is


@each_model
def test_an_adapter_starts_as_the_identity_to_the_last_bit(make: Make, targets: list[str]) -> None:
    before = answer(make())
    model = make()

    add_lora(model, targets=targets, rank=R, alpha=7)

    assert torch.equal(answer(model), before)


def test_the_change_is_alpha_over_r_times_b_a(generator: torch.Generator) -> None:
    linear = nn.Linear(5, 7, dtype=torch.float64)
    layer = LoRALinear(linear, rank=2, alpha=6)
    nn.init.normal_(layer.B, generator=generator)
    x = torch.randn(3, 5, generator=generator, dtype=torch.float64)

    expected = x @ (linear.weight + 6 / 2 * layer.B @ layer.A).T + linear.bias

    torch.testing.assert_close(layer(x), expected)
    torch.testing.assert_close(layer.weight, linear.weight + 3 * layer.B @ layer.A)


def test_a_starts_within_one_over_the_root_of_its_inputs_and_comes_from_the_generator() -> None:
    layers = [
        LoRALinear(nn.Linear(400, 3), rank=50, alpha=1, generator=torch.Generator().manual_seed(seed))
        for seed in (0, 0, 1)
    ]

    assert 0.99 / 20 < layers[0].A.abs().max() <= 1 / 20
    assert torch.equal(layers[0].A, layers[1].A) and not torch.equal(layers[0].A, layers[2].A)


def test_at_the_first_step_only_b_has_a_gradient() -> None:
    layer = LoRALinear(nn.Linear(5, 7), rank=2, alpha=4)

    layer(torch.ones(3, 5)).sum().backward()

    assert layer.A.grad is not None and not layer.A.grad.any()
    assert layer.B.grad is not None and layer.B.grad.any()


def test_dropout_touches_the_adapter_in_training_only() -> None:
    layer = learn(LoRALinear(nn.Linear(50, 7).requires_grad_(False), rank=2, alpha=4, dropout=0.5))
    x = torch.ones(3, 50)

    assert not torch.equal(layer(x), layer(x))
    assert torch.equal(layer.eval()(x), layer(x))


def test_an_adapter_of_a_model_in_evaluation_is_in_evaluation() -> None:
    model = adapted(dropout=0.5)

    assert torch.equal(answer(model), answer(model))


@each_model
def test_only_the_adapter_trains_and_its_share_is_counted(make: Make, targets: list[str]) -> None:
    model = make()
    before = {name: p.clone() for name, p in model.named_parameters()}
    names = add_lora(model, targets=targets, rank=R, alpha=6)
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=1.0)

    for _ in range(2):
        answer(model).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()

    remains = {name.replace(".base.", "."): p for name, p in model.named_parameters() if name[-2:] not in (".A", ".B")}
    assert all(torch.equal(p, before[name]) for name, p in remains.items())
    modules = [model.get_submodule(name) for name in names]
    assert all(module.A.grad is None and module.B.any() for module in modules)
    thin, whole = sum(R * sum(m.weight.shape) for m in modules), sum(p.numel() for p in before.values())
    assert trainable_share(model) == pytest.approx(thin / (whole + thin))


def test_a_head_can_train_whole_beside_the_adapter() -> None:
    model = bert()

    add_lora(model, targets=["query"], also=["classifier"])

    trains = {name for name, p in model.named_parameters() if p.requires_grad and not name.endswith((".A", ".B"))}
    assert trains == {"classifier.weight", "classifier.bias"}


def test_what_trains_whole_gets_no_adapter() -> None:
    model = bert()

    names = add_lora(model, targets=["dense"], also=["pooler"])

    assert "bert.pooler.dense" not in names and "bert.encoder.layer.0.output.dense" in names
    assert type(model.get_submodule("bert.pooler.dense")) is nn.Linear


def test_endings_are_whole_words() -> None:
    assert add_lora(nn.ModuleDict({"key": nn.Linear(2, 2), "monkey": nn.Linear(2, 2)}), targets="key") == ["key"]


def test_cross_attention_reads_through_an_adapted_projection(generator: torch.Generator) -> None:
    layer = nn.ModuleDict({"attention": MultiHeadAttention(D, 3)}).double()
    add_lora(layer, targets=["project_in"], rank=R, alpha=6)
    nn.init.normal_(layer.get_parameter("attention.project_in.B"), generator=generator)
    x, context = (torch.randn(B, n, D, generator=generator, dtype=torch.float64) for n in (T, S))
    before = layer["attention"](x, context=context)

    merge(layer)

    torch.testing.assert_close(layer["attention"](x, context=context), before)


# Merging, removing, swapping


@each_model
def test_merged_equals_unmerged_and_the_model_is_plain_again(make: Make, targets: list[str]) -> None:
    model = adapted(make, tuple(targets)).double()
    before = answer(model)

    merge(model)

    torch.testing.assert_close(answer(model), before, rtol=0, atol=1e-12)
    assert not torch.allclose(answer(make().double()), before, atol=1e-3)
    assert [(n, type(m)) for n, m in model.named_modules()] == [(n, type(m)) for n, m in make().named_modules()]
    assert model.state_dict().keys() == make().state_dict().keys()
    assert all(p.requires_grad for p in model.parameters())


def test_merging_a_tied_matrix_leaves_the_one_it_is_tied_to() -> None:
    model = adapted(gpt2, ("lm_head",))
    embedding, before = model.get_parameter("transformer.wte.weight").clone(), answer(model)

    merge(model)

    torch.testing.assert_close(answer(model), before)
    assert torch.equal(model.get_parameter("transformer.wte.weight"), embedding)


@each_model
def test_an_adapter_comes_off_without_a_trace(make: Make, targets: list[str]) -> None:
    model = adapted(make, tuple(targets))

    remove(model)

    assert torch.equal(answer(model), answer(make()))
    assert all(p.requires_grad for p in model.parameters())


def test_two_adapters_of_one_base_are_swapped_in_memory() -> None:
    model = adapted(also=("classifier",))
    first, first_answer = adapter_state(model), answer(model)
    second_answer = answer(learn(model, seed=2))

    model.load_state_dict(first, strict=False)

    assert torch.equal(answer(model), first_answer) and not torch.equal(first_answer, second_answer)
    assert {name.rpartition(".")[2] for name in first} == {"A", "B", "weight", "bias"}


def test_two_adapters_of_one_base_are_swapped_by_their_folders(tmp_path: Path) -> None:
    models = [adapted(also=("classifier",)), adapted(targets=("query", "dense"), rank=2, also=("classifier",))]
    folders = [save_adapter(model, tmp_path / str(place)) for place, model in enumerate(models)]
    model = bert()

    for place in (0, 1, 0):
        load_adapter(model, folders[place])

        assert torch.equal(answer(model), answer(models[place]))


# Beside peft


def test_peft_opens_what_we_save(folder: Path) -> None:
    theirs = peft_model(lambda: PeftModel.from_pretrained(bert(), folder))

    torch.testing.assert_close(answer(theirs), answer(adapted(also=("classifier",))), rtol=0, atol=1e-5)


@pytest.mark.parametrize("targets", [("c_attn",), ("c_attn", "mlp.c_proj")])
def test_peft_opens_what_we_save_of_gpt2(targets: tuple[str, ...], tmp_path: Path) -> None:
    ours = adapted(gpt2, targets)

    theirs = peft_model(lambda: PeftModel.from_pretrained(gpt2(), save_adapter(ours, tmp_path)))

    torch.testing.assert_close(answer(theirs), answer(ours), rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("make", "settings"),
    [
        (bert, {"target_modules": ["query", "key"], "modules_to_save": ["classifier"], "lora_alpha": 9}),
        (bert, {"target_modules": ["dense"], "task_type": "SEQ_CLS", "lora_dropout": 0.5}),
        (bert, {"target_modules": r".*layer\.1\..*(query|value)", "init_lora_weights": "gaussian"}),
        (gpt2, {"target_modules": ["c_attn", "c_proj"], "fan_in_fan_out": True}),
    ],
    ids=["with a head", "by its task", "by a pattern", "GPT-2"],
)
def test_we_open_what_peft_saves(make: Make, settings: dict[str, Any], tmp_path: Path) -> None:
    theirs = peft_model(lambda: get_peft_model(make(), LoraConfig(r=R, **settings)))
    learn(theirs).save_pretrained(tmp_path)
    ours = make()

    load_adapter(ours, tmp_path)

    torch.testing.assert_close(answer(ours), answer(theirs), rtol=0, atol=1e-5)
    assert next(m.dropout.p for m in ours.modules() if isinstance(m, LoRALinear)) == settings.get("lora_dropout", 0)


def test_our_file_has_pefts_names_and_says_what_it_needs(folder: Path) -> None:
    settings = json.loads((folder / CONFIG).read_text())

    assert settings["target_modules"] == ["query", "value"] and settings["modules_to_save"] == ["classifier"]
    assert (settings["r"], settings["lora_alpha"], settings["fan_in_fan_out"]) == (R, 2 * R, False)
    assert "base_model.model.bert.encoder.layer.1.attention.self.value.lora_B.weight" in load_file(folder / WEIGHTS)


def test_our_own_models_save_and_load_too(tmp_path: Path) -> None:
    ours, other = adapted(decoder, ("project_in",)), decoder()

    load_adapter(other, save_adapter(ours, tmp_path))

    assert torch.equal(answer(other), answer(ours))


def test_a_loaded_adapter_trains_on(folder: Path) -> None:
    model, fresh = bert(), bert()
    add_lora(fresh, targets=("query", "value"), rank=R, also=("classifier",))

    load_adapter(model, folder)

    assert [(n, p.requires_grad) for n, p in model.named_parameters()] == [
        (n, p.requires_grad) for n, p in fresh.named_parameters()
    ]


# Files written whole, and errors


def test_a_full_disk_keeps_the_adapter_that_was_there(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(tensors: object, metadata: object) -> bytes:
        raise OSError(28, "No space left on device")

    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    monkeypatch.setattr(adapters, "serialize", full)

    with pytest.raises(OSError, match="the previous file is kept"):
        save_adapter(adapted(rank=1), folder)

    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert not list(folder.glob(f"*{runtime.TEMPORARY_SUFFIX}"))


def rewrite(folder: Path, **settings: object) -> None:
    known = json.loads((folder / CONFIG).read_text())
    (folder / CONFIG).write_text(json.dumps(known | settings))


def drop_a_matrix(folder: Path) -> None:
    tensors = load_file(folder / WEIGHTS)
    tensors.pop(next(name for name in tensors if name.endswith("lora_B.weight")))
    save_file(tensors, folder / WEIGHTS)


def put_a_nan(folder: Path) -> None:
    tensors = load_file(folder / WEIGHTS)
    tensors[min(tensors)][0] = float("nan")
    save_file(tensors, folder / WEIGHTS)


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (lambda folder: (folder / CONFIG).write_text("{"), "adapter_config.json is damaged"),
        (lambda folder: (folder / CONFIG).write_text("[]"), "describes no LoRA adapter"),
        (lambda folder: rewrite(folder, peft_type="IA3"), "describes no LoRA adapter"),
        (lambda folder: rewrite(folder, use_rslora=True, bias="all"), "sets use_rslora, bias, which only peft reads"),
        (lambda folder: rewrite(folder, init_lora_weights="pissa"), "sets init_lora_weights, which only peft"),
        (lambda folder: rewrite(folder, r=R + 1), rf"\({R}, {D}\), and rank {R + 1} here needs \({R + 1}, {D}\)"),
        (lambda folder: (folder / WEIGHTS).write_bytes(b"\0" * 7), "adapter_model.safetensors is damaged"),
        (drop_a_matrix, r"lacks bert.encoder.layer.0.attention.self.query.B; save"),
        (put_a_nan, "holds NaN or infinity"),
        (lambda folder: save_file({}, folder / WEIGHTS), "holds no lora_A"),
    ],
)
def test_a_file_that_is_not_right_is_named_and_the_model_stays_as_it_was(
    folder: Path, harm: Callable[[Path], object], message: str
) -> None:
    model = adapted(targets=("key",))
    before = answer(model)
    harm(folder)

    with pytest.raises(ValueError, match=message):
        load_adapter(model, folder)

    assert torch.equal(answer(model), before)


def test_a_missing_file_is_named(folder: Path) -> None:
    (folder / WEIGHTS).unlink()

    with pytest.raises(FileNotFoundError, match=r"lacks adapter_model.safetensors; give a folder"):
        load_adapter(bert(), folder)


def test_an_adapter_of_another_base_is_named(folder: Path) -> None:
    with pytest.raises(ValueError, match=r"another base: this model has no place for bert\.encoder"):
        load_adapter(gpt2(), folder)
    wider = copy.deepcopy(BERT)
    wider.hidden_size = 2 * D
    with pytest.raises(ValueError, match=rf"another base: .*query.A is \({R}, {D}\), .* needs \({R}, {2 * D}\)"):
        load_adapter(BertForSequenceClassification(wider), folder)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"targets": ["query", "valeu"]}, "no linear module has a name that ends in 'valeu'; .* key, query, value"),
        ({"targets": ["query"], "also": ["head"]}, "no module has a name that ends in 'head'; .* classifier"),
        ({"targets": ["query"], "rank": 0}, "rank is 0; it must be at least 1"),
        ({"targets": ["query"], "alpha": -1}, "alpha is -1"),
        ({"targets": ["query"], "dropout": 1.0}, "dropout is 1.0"),
    ],
)
def test_what_cannot_be_adapted_is_refused_in_words(wrong: dict[str, Any], message: str) -> None:
    model = bert()

    with pytest.raises(ValueError, match=message):
        add_lora(model, **wrong)

    assert all(p.requires_grad for p in model.parameters())


def test_an_adapter_goes_on_once_and_comes_off_once() -> None:
    model = adapted()
    with pytest.raises(ValueError, match="adapted already; merge or remove"):
        add_lora(model, targets=["key"])
    merge(model)
    for needs_one in (merge, remove, adapter_state):
        with pytest.raises(ValueError, match="the model has no adapter"):
            needs_one(model)


def test_a_base_that_trains_too_is_not_saved_as_an_adapter(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"the base trains too \(bert.*query.base\): freeze it"):
        save_adapter(adapted().requires_grad_(True), tmp_path)


def test_lora_stands_beside_linear_maps_only() -> None:
    with pytest.raises(ValueError, match="not beside Embedding"):
        LoRALinear(nn.Embedding(3, 5), rank=1, alpha=1)
