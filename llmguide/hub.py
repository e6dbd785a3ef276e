"""The hub's layout: what GPT-2's and BERT's settings and tensors are called there, and what they are called here."""

import warnings
from collections.abc import Iterator
from typing import Any, TypeVar

import torch
from torch import Tensor

from llmguide.model import Decoder, Encoder, MaskedLanguageModel, ModelConfig

Settings = dict[str, Any]  # the content of a config.json
Tensors = dict[str, Tensor]
Model = Decoder | Encoder | MaskedLanguageModel
M = TypeVar("M", Decoder, Encoder, MaskedLanguageModel)

GPT2_END_OF_TEXT = 50_256  # the one special token of GPT-2's vocabulary, and the default of its settings

# The hub's names for our activations.
HUB_ACTIVATIONS = {"relu": "relu", "gelu": "gelu", "gelu_pytorch_tanh": "gelu_tanh", "gelu_new": "gelu_tanh"}

GPT2_PARTS = {
    "attention.project_in": "attn.c_attn",
    "attention.project_out": "attn.c_proj",
    "attention_norm": "ln_1",
    "feed_forward.expand": "mlp.c_fc",
    "feed_forward.contract": "mlp.c_proj",
    "feed_forward_norm": "ln_2",
}
BERT_PARTS = {
    "attention.project_in": ("attention.self.query", "attention.self.key", "attention.self.value"),
    "attention.project_out": ("attention.output.dense",),
    "attention_norm": ("attention.output.LayerNorm",),
    "feed_forward.expand": ("intermediate.dense",),
    "feed_forward.contract": ("output.dense",),
    "feed_forward_norm": ("output.LayerNorm",),
}


def decoder_from_hub(settings: Settings, tensors: Tensors) -> Decoder:
    """A decoder with GPT-2's weights.

    Raises:
        ValueError: the settings or tensors are of another kind of model, or do not fit each other.
    """
    return _fill(Decoder(_gpt2_config(settings)), tensors)


def encoder_from_hub(settings: Settings, tensors: Tensors) -> Encoder:
    """An encoder with BERT's weights. Raises as `decoder_from_hub`."""
    return _fill(Encoder(_bert_config(settings)), tensors)


def masked_language_model_from_hub(settings: Settings, tensors: Tensors) -> MaskedLanguageModel:
    """A masked language model with BERT's weights. Raises as `decoder_from_hub`."""
    return _fill(MaskedLanguageModel(_bert_config(settings)), tensors)


def to_hub(model: Model) -> tuple[Settings, Tensors]:
    """A model's settings and tensors as `transformers` reads them.

    Raises:
        ValueError: the hub's GPT-2 or BERT cannot express this model (its positions, say).
    """
    settings, state, transposed = _hub_settings(model), model.state_dict(), _transposed(model)
    tensors: Tensors = {}
    for ours, parts in _names(model):
        whole = state[ours].T if ours in transposed else state[ours]
        tensors |= {name: part.contiguous() for name, part in zip(parts, whole.chunk(len(parts)), strict=True)}
    return settings, tensors


Names = Iterator[tuple[str, list[str]]]  # a tensor of ours, and the hub's tensors that it is made of


def _names(model: Model) -> Names:
    """Our names beside the hub's: three of BERT's tensors (query, key, value) make one of ours."""
    layers = range(model.config.layers)
    if isinstance(model, Decoder):
        yield "backbone.token_embedding.weight", ["transformer.wte.weight"]
        yield "backbone.position_embedding.weight", ["transformer.wpe.weight"]
        yield from _pairs("backbone.norm", "transformer.ln_f")
        for layer in layers:
            for ours, part in GPT2_PARTS.items():
                yield from _pairs(f"backbone.blocks.{layer}.{ours}", f"transformer.h.{layer}.{part}")
        return
    body = "" if isinstance(model, Encoder) else "bert."
    yield "backbone.token_embedding.weight", [f"{body}embeddings.word_embeddings.weight"]
    yield "backbone.position_embedding.weight", [f"{body}embeddings.position_embeddings.weight"]
    yield "backbone.segment_embedding.weight", [f"{body}embeddings.token_type_embeddings.weight"]
    yield from _pairs("backbone.norm", f"{body}embeddings.LayerNorm")
    for layer in layers:
        for ours, parts in BERT_PARTS.items():
            theirs = (f"{body}encoder.layer.{layer}.{part}" for part in parts)
            yield from _pairs(f"backbone.blocks.{layer}.{ours}", *theirs)
    if isinstance(model, Encoder):
        yield from _pairs("pooler", "pooler.dense")
    else:
        yield from _pairs("transform", "cls.predictions.transform.dense")
        yield from _pairs("transform_norm", "cls.predictions.transform.LayerNorm")
        yield "bias", ["cls.predictions.bias"]


def _pairs(ours: str, *theirs: str) -> Names:
    for kind in ("weight", "bias"):
        yield f"{ours}.{kind}", [f"{name}.{kind}" for name in theirs]


def _transposed(model: Model) -> set[str]:
    """GPT-2 keeps the weights of its linear maps as (in, out), `nn.Linear` and BERT as (out, in)."""
    linear = {part for part in GPT2_PARTS if not part.endswith("norm")}
    layers = range(model.config.layers) if isinstance(model, Decoder) else ()
    return {f"backbone.blocks.{layer}.{part}.weight" for layer in layers for part in linear}


def _fill(model: M, tensors: Tensors) -> M:
    """Copy a checkpoint into a model; every tensor of the model must be there and fit."""
    tensors = {_todays_name(name, model): tensor for name, tensor in tensors.items()}
    state, transposed = {}, _transposed(model)
    for ours, parts in _names(model):
        missing = [theirs for theirs in parts if theirs not in tensors]
        if missing and ours.startswith("pooler"):
            warnings.warn("the checkpoint has no pooler: `pool` has new weights, train it before use", stacklevel=2)
            continue
        if missing:
            raise ValueError(
                f"the checkpoint has no tensor {missing[0]}: it holds no weights for a {type(model).__name__}"
            )
        tensor = torch.cat([tensors[theirs] for theirs in parts])
        state[ours] = tensor.T if ours in transposed else tensor
        wanted = model.get_parameter(ours).shape
        if state[ours].shape != wanted:
            raise ValueError(
                f"tensor {parts[0]} has shape {tuple(state[ours].shape)}, config.json says {tuple(wanted)}"
            )
    model.load_state_dict(state, strict=False)
    return model.eval()


def _todays_name(name: str, model: Model) -> str:
    """One spelling a tensor: with GPT-2's prefix, without BERT's on a plain encoder, LayerNorm's numbers as today."""
    name = name.replace("LayerNorm.gamma", "LayerNorm.weight").replace("LayerNorm.beta", "LayerNorm.bias")
    if isinstance(model, Decoder):
        return name if name.startswith(("transformer.", "lm_head.")) else f"transformer.{name}"
    return name.removeprefix("bert.") if isinstance(model, Encoder) else name


def _gpt2_config(settings: Settings) -> ModelConfig:
    _require(settings, {"model_type": "gpt2", "tie_word_embeddings": True, "add_cross_attention": False})
    _require(settings, {"scale_attn_weights": True, "scale_attn_by_inverse_layer_idx": False})
    return ModelConfig(
        vocabulary=settings["vocab_size"],
        context=settings["n_positions"],
        width=settings["n_embd"],
        layers=settings["n_layer"],
        heads=settings["n_head"],
        hidden=settings.get("n_inner"),
        activation=_activation(settings.get("activation_function", "gelu_new")),
        norm_eps=settings.get("layer_norm_epsilon", 1e-5),
        dropout=settings.get("resid_pdrop", 0.1),
    )


def _bert_config(settings: Settings) -> ModelConfig:
    _require(settings, {"model_type": "bert", "position_embedding_type": "absolute", "is_decoder": False})
    return ModelConfig(
        vocabulary=settings["vocab_size"],
        context=settings["max_position_embeddings"],
        width=settings["hidden_size"],
        layers=settings["num_hidden_layers"],
        heads=settings["num_attention_heads"],
        hidden=settings["intermediate_size"],
        norm_order="post",
        activation=_activation(settings.get("hidden_act", "gelu")),
        norm_eps=settings.get("layer_norm_eps", 1e-12),
        dropout=settings.get("hidden_dropout_prob", 0.1),
        segments=settings.get("type_vocab_size", 2),
    )


def _hub_settings(model: Model) -> Settings:
    config = model.config
    decoder = isinstance(model, Decoder)
    wanted = {"positions": "learned", "norm_order": "pre" if decoder else "post", "residual": True}
    for name, value in wanted.items():
        if getattr(config, name) != value:
            kind = "GPT-2" if decoder else "BERT"
            raise ValueError(
                f"the hub's {kind} has {name}={value!r}, this model {getattr(config, name)!r}: it cannot be saved so"
            )
    if decoder != (config.segments == 0):
        raise ValueError(f"segments is {config.segments}; the hub's GPT-2 has none, its BERT at least 1")
    activation = {ours: theirs for theirs, ours in HUB_ACTIVATIONS.items()}[config.activation]
    if decoder:
        end = GPT2_END_OF_TEXT if config.vocabulary > GPT2_END_OF_TEXT else None  # other vocabularies: we cannot know
        return {
            "architectures": ["GPT2LMHeadModel"],
            "model_type": "gpt2",
            "vocab_size": config.vocabulary,
            "n_positions": config.context,
            "n_embd": config.width,
            "n_layer": config.layers,
            "n_head": config.heads,
            "n_inner": config.hidden,
            "activation_function": activation,
            "layer_norm_epsilon": config.norm_eps,
            "resid_pdrop": config.dropout,
            "embd_pdrop": config.dropout,
            "attn_pdrop": 0.0,
            "bos_token_id": end,
            "eos_token_id": end,
        }
    return {
        "architectures": ["BertModel" if isinstance(model, Encoder) else "BertForMaskedLM"],
        "model_type": "bert",
        "vocab_size": config.vocabulary,
        "max_position_embeddings": config.context,
        "hidden_size": config.width,
        "num_hidden_layers": config.layers,
        "num_attention_heads": config.heads,
        "intermediate_size": config.feed_forward_width,
        "hidden_act": activation,
        "layer_norm_eps": config.norm_eps,
        "hidden_dropout_prob": config.dropout,
        "attention_probs_dropout_prob": 0.0,
        "type_vocab_size": config.segments,
    }


def _require(settings: Settings, wanted: Settings) -> None:
    for name, value in wanted.items():
        if settings.get(name, value) != value:
            raise ValueError(f"{name} is {settings[name]!r}; this model needs {value!r}")


def _activation(name: str) -> str:
    if name not in HUB_ACTIVATIONS:
        raise ValueError(f"the checkpoint has activation {name!r}; known are {', '.join(HUB_ACTIVATIONS)}")
    return HUB_ACTIVATIONS[name]
