"""An encoder-decoder: one half reads a text, the other writes another text while it looks at what was read."""

from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from llmguide.attention import KeyValueCache, padding_mask, recording
from llmguide.model import Backbone, Block, ModelConfig

Source = Int[Tensor, "B S"]
SourceKeep = Bool[Tensor, "B S"]  # True at real tokens, False at padding
States = Float[Tensor, "B S D"]
Target = Int[Tensor, "B T"]
Logits = Float[Tensor, "B T V"]

UNUSED = 2  # BART keeps two rows of positions that stand for nothing
PARTS = {
    "attention.project_in": ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
    "attention.project_out": ("self_attn.out_proj",),
    "attention_norm": ("self_attn_layer_norm",),
    "cross_attention.project_in": ("encoder_attn.q_proj", "encoder_attn.k_proj", "encoder_attn.v_proj"),
    "cross_attention.project_out": ("encoder_attn.out_proj",),
    "cross_attention_norm": ("encoder_attn_layer_norm",),
    "feed_forward.expand": ("fc1",),
    "feed_forward.contract": ("fc2",),
    "feed_forward_norm": ("final_layer_norm",),
}


class Reader(Backbone):
    """A causal backbone whose blocks also read another text: the decoder of an encoder-decoder, without its head.

    Taught in: applications/translation
    Source: vaswani2017attention, section 3.2.3
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config, causal=True)
        self.blocks = nn.ModuleList(Block(config, causal=True, cross=True) for _ in range(config.layers))

    def forward(  # type: ignore[override]
        self,
        ids: Target,
        *,
        context: States | None = None,
        context_mask: Bool[Tensor, "..."] | None = None,
        keep: Bool[Tensor, "B T_all"] | None = None,
        cache: list[KeyValueCache] | None = None,
    ) -> Float[Tensor, "B T D"]:
        """The hidden state of every position, after it has read its past and the context."""
        x = self.dropout(self._embed(ids, keep, None, start=cache[0].length if cache else 0))
        mask = None if keep is None else padding_mask(keep)
        for layer, block in enumerate(self.blocks):
            past = cache[layer] if cache else None
            x = block(x, mask=mask, context=context, context_mask=context_mask, cache=past)
        return self.norm(x) if self.config.norm_order == "pre" else x


class EncoderDecoder(nn.Module):
    r"""Reads a source with an encoder and scores a target, token by token, with a decoder that looks at it.

    $p(y \mid x) = \prod_t p(y_t \mid y_{<t}, x)$. Both halves have the config's layers and share one vocabulary, whose
    embedding also scores the next token (tied weights), as in BART. Matrices start with variance 1 / D.

    Taught in: applications/translation
    Source: vaswani2017attention; lewis2019bart
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = Backbone(config, causal=False)
        self.decoder = Reader(config)
        self.decoder.token_embedding = self.encoder.token_embedding
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, std=module.in_features**-0.5)  # a vector keeps about its length
                nn.init.zeros_(module.bias)

    def read(self, source: Source, *, keep: SourceKeep | None = None) -> States:
        """What the encoder makes of a source: one vector a token.

        Args:
            keep: True at real tokens, False at padding.
        """
        return self.encoder(source, keep=keep)

    def write(
        self,
        target: Target,
        states: States,
        *,
        source_keep: SourceKeep | None = None,
        keep: Bool[Tensor, "B T_all"] | None = None,
        cache: list[KeyValueCache] | None = None,
    ) -> Logits:
        """Score every token as the next one of the target, given what the encoder has read.

        Args:
            states: from `read`.
            source_keep: the `keep` that `read` was given.
            keep: True at real tokens of the target; with a cache, of all positions so far.
            cache: the keys and values of the target so far; then `target` holds the new positions only.
        """
        mask = None if source_keep is None else padding_mask(source_keep)
        hidden = self.decoder(target, context=states, context_mask=mask, keep=keep, cache=cache)
        return hidden @ self.encoder.token_embedding.weight.T

    def forward(self, source: Source, target: Target, *, keep: SourceKeep | None = None) -> Logits:
        """Read and write in one go, for training: position t of the answer scores token t + 1 of the target.

        Args:
            keep: True at real tokens of the source, False at its padding. Targets are padded on the right, where no
                real token sees the padding.
        """
        return self.write(target, self.read(source, keep=keep), source_keep=keep)

    def reading(self, source: Source, *, keep: SourceKeep | None = None) -> "Reading":
        """The decoder as a language model that has this source before its eyes: what `generation` asks for."""
        return Reading(self, self.read(source, keep=keep), keep)


class Reading:
    """A language model of targets, given sources: a `generation.LanguageModel`.

    The sources are read once. One source serves any number of targets (the beams of a search).

    Taught in: applications/translation
    """

    def __init__(self, model: EncoderDecoder, states: States, keep: SourceKeep | None) -> None:
        self.model, self.states, self.keep = model, states, keep

    @property
    def config(self) -> ModelConfig:
        """The model's config; its `context` is the most positions a target may have."""
        return self.model.config

    def new_cache(self, capacity: int | None = None, /) -> list[KeyValueCache]:
        """An empty cache for each layer of the decoder."""
        capacity = self.config.context if capacity is None else capacity
        return [KeyValueCache(capacity) for _ in range(self.config.layers)]

    def __call__(self, ids: Tensor, *, keep: Tensor | None = None, cache: list[Any] | None = None) -> Tensor:
        if len(self.states) not in (1, len(ids)):
            raise ValueError(
                f"{len(ids)} targets do not fit {len(self.states)} sources; give one source, or one for each"
            )
        states = self.states.expand(len(ids), -1, -1)
        source_keep = None if self.keep is None else self.keep.expand(len(ids), -1)
        return self.model.write(ids, states, source_keep=source_keep, keep=keep, cache=cache)


@torch.no_grad()
def cross_attention(
    model: EncoderDecoder, source: Source, target: Target, *, keep: SourceKeep | None = None
) -> Float[Tensor, "L B H T S"]:
    """How much each target position reads each source position, in every layer and head of the decoder.

    Row t is the look that *predicts* token t + 1. Each row sums to 1.

    Taught in: applications/translation
    Source: bahdanau2014neural
    """
    states = model.read(source, keep=keep)
    with recording() as weights:  # in a block: the target's own attention, then the cross-attention
        model.write(target, states, source_keep=keep)
    return torch.stack(weights[1::2])


def to_bart(model: EncoderDecoder) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Settings and tensors under the names that `transformers` gives them: the model as a BART.

    Raises:
        ValueError: BART has no such model (its positions, its order of normalisation, a start without segments).
    """
    config = model.config
    if (config.positions, config.norm_order, config.segments) != ("learned", "post", 0):
        raise ValueError(f"BART has learned positions, post-norm and no segments; this model has {config}")
    settings: dict[str, Any] = {
        "vocab_size": config.vocabulary,
        "max_position_embeddings": config.context,
        "d_model": config.width,
        "activation_function": "gelu_new" if config.activation == "gelu_tanh" else config.activation,
        "dropout": config.dropout,
    }
    for half in ("encoder", "decoder"):
        settings |= {f"{half}_layers": config.layers, f"{half}_attention_heads": config.heads}
        settings[f"{half}_ffn_dim"] = config.feed_forward_width
    tensors: dict[str, Tensor] = {}
    for half in ("encoder", "decoder"):
        part = model.get_submodule(half)
        start = f"model.{half}"
        positions = part.get_parameter("position_embedding.weight")
        tensors[f"{start}.embed_positions.weight"] = torch.cat([torch.zeros_like(positions[:UNUSED]), positions])
        for kind in ("weight", "bias"):
            tensors[f"{start}.layernorm_embedding.{kind}"] = part.get_parameter(f"norm.{kind}")
        for layer, block in enumerate(part.get_submodule("blocks").children()):
            for name, parameter in block.named_parameters():
                ours, _, kind = name.rpartition(".")
                theirs = PARTS[ours]
                pieces = parameter.chunk(len(theirs))
                tensors |= {f"{start}.layers.{layer}.{n}.{kind}": p for n, p in zip(theirs, pieces, strict=True)}
    words = model.encoder.token_embedding.weight
    for name in ("model.shared", "model.encoder.embed_tokens", "model.decoder.embed_tokens", "lm_head"):
        tensors[f"{name}.weight"] = words
    tensors["final_logits_bias"] = torch.zeros(1, config.vocabulary, dtype=words.dtype)
    return settings, tensors
