"""Models: attention and layers assembled into a decoder (GPT) and an encoder (BERT)."""

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Literal, get_args

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from llmguide.attention import KeyValueCache, MultiHeadAttention, padding_mask
from llmguide.layers import ACTIVATIONS, FeedForward, sinusoidal_positions

Ids = Int[Tensor, "B T"]
Keep = Bool[Tensor, "B S"]  # True at real tokens, False at padding
Hidden = Float[Tensor, "B T D"]
Logits = Float[Tensor, "B T V"]

Positions = Literal["learned", "sinusoidal", "rotary", "none"]
NormOrder = Literal["pre", "post"]


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """The numbers that describe a model; checked when made.

    Args:
        vocabulary: V, how many token ids there are.
        context: the most positions a text may have.
        width: D, how many numbers describe one position.
        layers: L, how many blocks.
        heads: H, attention heads a block.
        hidden: F, the feed-forward's inner width; None takes 4 D.
        positions: how the order of tokens enters.
        norm_order: normalise before each sub-layer (GPT-2 and later) or after the sum (the original, BERT).
        activation: the bend in the feed-forward: relu, gelu or gelu_tanh.
        norm_eps: what keeps the normalisation from dividing by zero.
        dropout: share of numbers set to 0 in training, after the embeddings and after each sub-layer.
        residual: add each sub-layer's input to its output. False is for the experiment that shows why one does.
        segments: how many text segments are told apart (BERT: 2); 0 for none.

    Raises:
        ValueError: a value that cannot be; the message names it.
    """

    vocabulary: int
    context: int
    width: int
    layers: int
    heads: int
    hidden: int | None = None
    positions: Positions = "learned"
    norm_order: NormOrder = "pre"
    activation: str = "gelu_tanh"
    norm_eps: float = 1e-5
    dropout: float = 0.0
    residual: bool = True
    segments: int = 0

    def __post_init__(self) -> None:
        for name in ("vocabulary", "context", "width", "layers", "heads"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be at least 1")
        if self.width % self.heads:
            raise ValueError(
                f"{self.heads} heads do not divide a width of {self.width}; choose a divisor of {self.width}"
            )
        if self.hidden is not None and self.hidden < 1:
            raise ValueError(f"hidden is {self.hidden}; it must be at least 1, or None for 4 x width")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout is {self.dropout}; it must be at least 0 and less than 1")
        if self.segments < 0:
            raise ValueError(f"segments is {self.segments}; it must be 0 (none) or more")
        if self.norm_eps <= 0:
            raise ValueError(f"norm_eps is {self.norm_eps}; it must be greater than 0")
        for name, allowed in (
            ("positions", get_args(Positions)),
            ("norm_order", get_args(NormOrder)),
            ("activation", tuple(ACTIVATIONS)),
        ):
            if getattr(self, name) not in allowed:
                raise ValueError(f"{name} is {getattr(self, name)!r}; it must be one of {', '.join(allowed)}")
        paired = {"sinusoidal": self.width, "rotary": self.width // self.heads}.get(self.positions, 0)
        if paired % 2:
            raise ValueError(
                f"{self.positions} positions come in pairs: the width (of a head) must be even, got {paired}"
            )

    @property
    def feed_forward_width(self) -> int:
        """F: `hidden`, or 4 D where it is None."""
        return 4 * self.width if self.hidden is None else self.hidden

    def __str__(self) -> str:
        return ", ".join(f"{field.name}={getattr(self, field.name)}" for field in fields(self))


class Block(nn.Module):
    """One Transformer block: positions read each other (attention), then each thinks alone (feed-forward).

    Two sub-layers, each with a residual connection and a normalisation; three with cross-attention (the decoder of an
    encoder-decoder).

    Taught in: attention/the-block
    Source: vaswani2017attention, section 3.1; xiong2020layer for the order of the normalisation
    """

    def __init__(self, config: ModelConfig, *, causal: bool, cross: bool = False) -> None:
        super().__init__()
        rotate = config.positions == "rotary"
        self.causal, self.residual, self.pre = causal, config.residual, config.norm_order == "pre"
        self.attention = MultiHeadAttention(config.width, config.heads, rotate=rotate)
        self.attention_norm = nn.LayerNorm(config.width, eps=config.norm_eps)
        self.cross_attention = MultiHeadAttention(config.width, config.heads) if cross else None
        self.cross_attention_norm = nn.LayerNorm(config.width, eps=config.norm_eps) if cross else None
        self.feed_forward = FeedForward(config.width, config.feed_forward_width, activation=config.activation)
        self.feed_forward_norm = nn.LayerNorm(config.width, eps=config.norm_eps)
        self.dropout = nn.Dropout(config.dropout)

    def forward(
        self,
        x: Hidden,
        *,
        mask: Bool[Tensor, "..."] | None = None,
        context: Float[Tensor, "B S D"] | None = None,
        context_mask: Bool[Tensor, "..."] | None = None,
        cache: KeyValueCache | None = None,
    ) -> Hidden:
        def read_text(h: Tensor) -> Tensor:
            return self.attention(h, mask=mask, causal=self.causal, cache=cache)

        x = self._add(x, self.attention_norm, read_text)
        if self.cross_attention is not None and self.cross_attention_norm is not None:
            if context is None:
                raise ValueError("a block with cross-attention needs the context it should read")
            cross = self.cross_attention
            x = self._add(x, self.cross_attention_norm, lambda h: cross(h, context=context, mask=context_mask))
        return self._add(x, self.feed_forward_norm, self.feed_forward)

    def _add(self, x: Tensor, norm: nn.LayerNorm, sublayer: Callable[[Tensor], Tensor]) -> Tensor:
        change = self.dropout(sublayer(norm(x) if self.pre else x))
        x = x + change if self.residual else change
        return x if self.pre else norm(x)


class Backbone(nn.Module):
    """Token ids to hidden states: embeddings, then L blocks. What a decoder and an encoder share."""

    waves: Tensor  # sinusoidal positions, where the model has them

    def __init__(self, config: ModelConfig, *, causal: bool) -> None:
        super().__init__()
        self.config, self.causal = config, causal
        self.token_embedding = nn.Embedding(config.vocabulary, config.width)
        self.position_embedding: nn.Embedding | None = None
        if config.positions == "learned":
            self.position_embedding = nn.Embedding(config.context, config.width)
        elif config.positions == "sinusoidal":
            self.register_buffer("waves", sinusoidal_positions(config.context, config.width), persistent=False)
        self.segment_embedding = nn.Embedding(config.segments, config.width) if config.segments else None
        # Pre-norm closes with a normalisation; post-norm opens with one and ends each sub-layer with one.
        self.norm = nn.LayerNorm(config.width, eps=config.norm_eps)
        blocks = [Block(config, causal=causal) for _ in range(config.layers)]
        self.blocks = nn.ModuleList(blocks)
        self.dropout = nn.Dropout(config.dropout)
        self.apply(_initialise)
        for block in blocks:  # 2 L sums on the residual stream: keep their variance at the start (GPT-2)
            for last in (block.attention.project_out, block.feed_forward.contract):
                nn.init.normal_(last.weight, std=0.02 / (2 * config.layers) ** 0.5)

    def forward(
        self,
        ids: Ids,
        *,
        keep: Keep | None = None,
        segments: Ids | None = None,
        cache: list[KeyValueCache] | None = None,
    ) -> Hidden:
        x = self.dropout(self._embed(ids, keep, segments, start=cache[0].length if cache else 0))
        mask = None if keep is None else padding_mask(keep)
        for layer, block in enumerate(self.blocks):
            x = block(x, mask=mask, cache=cache[layer] if cache else None)
        return self.norm(x) if self.config.norm_order == "pre" else x

    def _embed(self, ids: Tensor, keep: Tensor | None, segments: Tensor | None, *, start: int) -> Tensor:
        length, end = ids.shape[1], start + ids.shape[1]
        if length == 0:
            raise ValueError("the text has no tokens; give at least one")
        if end > self.config.context:
            raise ValueError(
                f"the text has {end} tokens, the model takes {self.config.context}; cut {end - self.config.context}"
            )
        if keep is not None and keep.shape != (len(ids), end):
            raise ValueError(
                f"keep has shape {tuple(keep.shape)}; {tuple(ids.shape)} ids after {start} need {(len(ids), end)}"
            )
        x = self.token_embedding(ids)  # (B, T, D)
        # Positions count real tokens, so that padding on the left does not move the text.
        places = torch.arange(end, device=ids.device) if keep is None else (keep.cumsum(1) - 1).clamp(min=0)
        places = places[..., start:]  # (T,) or (B, T)
        if self.position_embedding is not None:
            x = x + self.position_embedding(places)
        elif self.config.positions == "sinusoidal":
            # Waves have amplitude 1 and would drown the small words; the paper multiplies them too (section 3.4).
            x = x * self.config.width**0.5 + self.waves[places]
        if self.segment_embedding is not None:
            x = x + self.segment_embedding(torch.zeros_like(ids) if segments is None else segments)
        return x if self.config.norm_order == "pre" else self.norm(x)


class Decoder(nn.Module):
    """A GPT: each position reads itself and the past, and says what token comes next.

    The token embedding is used twice, to read ids and to score the next ones (tied weights).

    Taught in: attention/the-block
    Source: radford2019language
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.backbone = Backbone(config, causal=True)

    def forward(self, ids: Ids, *, keep: Keep | None = None, cache: list[KeyValueCache] | None = None) -> Logits:
        """Score every token of the vocabulary as the next one, at each position.

        Args:
            keep: True at real tokens, False at padding; with a cache, of all positions so far.
            cache: from `new_cache`; then `ids` are the new positions only.

        Raises:
            ValueError: no tokens, more than the model takes, or a `keep` of the wrong shape.
        """
        return self.backbone(ids, keep=keep, cache=cache) @ self.backbone.token_embedding.weight.T

    def new_cache(self, capacity: int | None = None) -> list[KeyValueCache]:
        """An empty cache for each layer, of `capacity` positions (the whole context where None)."""
        capacity = self.config.context if capacity is None else capacity
        return [KeyValueCache(capacity) for _ in range(self.config.layers)]


class Encoder(nn.Module):
    """A BERT: each position reads all the others, and becomes a vector that knows its surroundings.

    Taught in: attention/the-block
    Source: devlin2018bert
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.backbone = Backbone(config, causal=False)
        self.pooler = nn.Linear(config.width, config.width)
        _initialise(self.pooler)

    def forward(self, ids: Ids, *, keep: Keep | None = None, segments: Ids | None = None) -> Hidden:
        """The hidden state of every position.

        Args:
            keep: True at real tokens, False at padding.
            segments: which of the text's segments each token belongs to; all 0 where None.
        """
        return self.backbone(ids, keep=keep, segments=segments)

    def pool(self, hidden: Hidden) -> Float[Tensor, "B D"]:
        """The first position's state through one more layer: BERT's summary of a text, for a classifier."""
        return self.pooler(hidden[:, 0]).tanh()


class MaskedLanguageModel(nn.Module):
    """An encoder that says, at each position, which token stands there: how a BERT is pretrained.

    Taught in: attention/the-block
    Source: devlin2018bert, section 3.1
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.backbone = Backbone(config, causal=False)
        self.transform = nn.Linear(config.width, config.width)
        self.transform_norm = nn.LayerNorm(config.width, eps=config.norm_eps)
        self.bias = nn.Parameter(torch.zeros(config.vocabulary))
        self.activation = ACTIVATIONS[config.activation]
        _initialise(self.transform)

    def forward(self, ids: Ids, *, keep: Keep | None = None, segments: Ids | None = None) -> Logits:
        hidden = self.backbone(ids, keep=keep, segments=segments)
        hidden = self.transform_norm(self.activation(self.transform(hidden)))
        return hidden @ self.backbone.token_embedding.weight.T + self.bias


def _initialise(module: nn.Module) -> None:
    """Small normal weights, zero biases: GPT-2's and BERT's start."""
    if isinstance(module, nn.Linear | nn.Embedding):
        nn.init.normal_(module.weight, std=0.02)
    if isinstance(module, nn.Linear) and module.bias is not None:
        nn.init.zeros_(module.bias)
