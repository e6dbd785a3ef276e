"""Attention: the only place where positions meet."""

import contextlib
from collections.abc import Iterable, Iterator
from contextvars import ContextVar

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from llmguide.layers import rotary

Queries = Float[Tensor, "*B T K"]
Keys = Float[Tensor, "*B S K"]
Values = Float[Tensor, "*B S W"]  # in one head of a model W = K
Held = Float[Tensor, "*B S_held K"]  # what a cache holds: keys, or values, of all positions so far
Mixed = Float[Tensor, "*B T W"]
Weights = Float[Tensor, "*B T S"]
Mask = Bool[Tensor, "*#B #T S"]


def attention(q: Queries, k: Keys, v: Values, *, mask: Mask | None = None) -> tuple[Mixed, Weights]:
    r"""Mix the values by how well each query matches each key.

    $\mathrm{softmax}(q k^\top / \sqrt{K})\,v$, the softmax running over the S keys.

    Args:
        mask: True where query t may read key s; None lets it read every key.

    Returns:
        The mixed values, and the weights that mixed them. Each row of weights sums to 1; a query that may read no key
        at all (a padded one, say) has weights and output 0.

    Raises:
        ValueError: widths or lengths that do not fit each other; the message gives the shapes.

    Taught in: attention/attention-by-hand
    Source: vaswani2017attention, eq. 1
    """
    _check_shapes(q, k, v, mask)
    scores = q @ k.mT / q.shape[-1] ** 0.5  # (..., T, S)
    if mask is None:
        weights = scores.softmax(dim=-1)  # one probability per key
    else:
        # The lowest number instead of -inf: a row with no key to read stays finite, and so does its gradient.
        scores = scores.masked_fill(~mask, torch.finfo(scores.dtype).min)
        weights = scores.softmax(dim=-1).masked_fill(~mask, 0.0)
    return weights @ v, weights


def fused_attention(q: Queries, k: Keys, v: Values, *, mask: Mask | None = None, causal: bool = False) -> Mixed:
    """The mixed values of `attention` by torch's fused kernel, which never keeps the (T, S) weights.

    Args:
        mask: True where query t may read key s.
        causal: query t may read keys 0 to t only; faster than the same thing as a mask, and needs T = S.

    Taught in: attention/what-it-costs
    Source: dao2022flashattention
    """
    _check_shapes(q, k, v, mask)
    if causal and (mask is not None or q.shape[-2] != k.shape[-2]):
        raise ValueError(
            "causal=True takes no mask and needs as many queries as keys; pass mask=causal_mask(T, S) & mask"
        )
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=causal)


def causal_mask(queries: int, keys: int | None = None, *, device: torch.device | None = None) -> Bool[Tensor, "T S"]:
    """True where a query may look: at itself and at what came before it.

    With more keys than queries the queries are the last positions (the case of a cache).

    Taught in: attention/masks-and-heads
    """
    keys = queries if keys is None else keys
    if keys < queries:
        raise ValueError(f"{queries} queries cannot all lie among {keys} keys; pass at least as many keys as queries")
    return torch.ones(queries, keys, dtype=torch.bool, device=device).tril(diagonal=keys - queries)


def padding_mask(keep: Bool[Tensor, "B S"]) -> Bool[Tensor, "B 1 1 S"]:
    """True where the key is a real token, shaped to combine with a causal mask by `&`.

    Args:
        keep: True at real tokens, False at padding (a tokenizer's `attention_mask`, as booleans).

    Taught in: attention/masks-and-heads
    """
    return keep[:, None, None, :]


class KeyValueCache:
    """The keys and values one layer has computed so far, so that the next token need not compute them again.

    Args:
        capacity: how many positions it can hold.

    Taught in: attention/what-it-costs
    """

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.length = 0  # positions held
        self._buffer: Tensor | None = None

    def append(self, k: Keys, v: Keys) -> tuple[Held, Held]:
        """Add the keys and values of new positions; returns those of all positions so far.

        Raises:
            ValueError: the cache is full.
        """
        start, end = self.length, self.length + k.shape[-2]
        if end > self.capacity:
            raise ValueError(
                f"position {end - 1} does not fit a cache of {self.capacity} positions (0 to {self.capacity - 1})"
            )
        if self._buffer is None:
            self._buffer = k.new_empty(2, *k.shape[:-2], self.capacity, k.shape[-1])  # (2, B, H, capacity, K)
        self._buffer[0, ..., start:end, :] = k
        self._buffer[1, ..., start:end, :] = v
        self.length = end
        keys, values = self._buffer[..., :end, :]
        return keys, values

    def select(self, rows: Int[Tensor, " B"]) -> None:
        """Keep these rows of the batch, in this order; a row may be taken more than once (beams that share a past)."""
        if self._buffer is not None:
            self._buffer = self._buffer[:, rows]

    @property
    def bytes(self) -> int:
        """Memory of the whole capacity; 0 before the first keys come."""
        return 0 if self._buffer is None else self._buffer.nbytes


class MultiHeadAttention(nn.Module):
    """H attentions side by side, each over its own K = D / H numbers of every position, then mixed by a linear map.

    Raises:
        ValueError: the heads do not divide the width.

    Taught in: attention/masks-and-heads
    Source: vaswani2017attention, section 3.2.2
    """

    def __init__(self, width: int, heads: int, *, bias: bool = True, rotate: bool = False) -> None:
        super().__init__()
        if heads < 1 or width % heads:
            raise ValueError(f"{heads} heads do not divide a width of {width}; choose a divisor of {width}")
        self.heads = heads
        self.rotate = rotate  # turn queries and keys by their positions (rotary)
        self.project_in = nn.Linear(width, 3 * width, bias=bias)  # queries, keys and values in one product
        self.project_out = nn.Linear(width, width, bias=bias)

    def forward(
        self,
        x: Float[Tensor, "B T D"],
        *,
        context: Float[Tensor, "B S D"] | None = None,
        mask: Bool[Tensor, "..."] | None = None,
        causal: bool = False,
        cache: KeyValueCache | None = None,
    ) -> Float[Tensor, "B T D"]:
        """Let each position of x read positions of x, or of `context` where it is given (cross-attention).

        Args:
            mask: True where query t may read key s; anything that broadcasts to (B, H, T, S).
            causal: also forbid reading later positions.
            cache: keys and values of earlier positions, to which those of x are added.
        """
        q, k, v = (self._split_heads(part) for part in self._project(x, context))  # (B, H, T or S, K)
        if self.rotate:
            offset = cache.length if cache is not None else 0
            q, k = rotary(q, offset=offset), rotary(k, offset=offset)
        if cache is not None:
            k, v = cache.append(k, v)
        mixed = self._mix(q, k, v, mask=mask, causal=causal)  # (B, H, T, K)
        return self.project_out(mixed.transpose(1, 2).flatten(start_dim=2))  # heads side by side again: (B, T, D)

    def _project(self, x: Tensor, context: Tensor | None) -> tuple[Tensor, ...]:
        if context is None:
            return self.project_in(x).chunk(3, dim=-1)
        width = x.shape[-1]
        weights, biases = self.project_in.weight, self.project_in.bias
        q = F.linear(x, weights[:width], biases if biases is None else biases[:width])
        k, v = F.linear(context, weights[width:], biases if biases is None else biases[width:]).chunk(2, dim=-1)
        return q, k, v

    def _split_heads(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)  # (B, T, D) -> (B, H, T, K)

    def _mix(self, q: Tensor, k: Tensor, v: Tensor, *, mask: Tensor | None, causal: bool) -> Tensor:
        record = _RECORD.get()
        queries, keys = q.shape[-2], k.shape[-2]
        if causal and queries == 1:
            causal = False  # the newest position may read everything
        if causal and (mask is not None or queries != keys or record is not None):
            later = causal_mask(queries, keys, device=q.device)
            mask, causal = later if mask is None else mask & later, False
        if record is None:
            return fused_attention(q, k, v, mask=mask, causal=causal)
        mixed, weights = attention(q, k, v, mask=mask)
        record.append(weights.detach())
        return mixed


_RECORD: ContextVar[list[Tensor] | None] = ContextVar("record", default=None)


@contextlib.contextmanager
def recording() -> Iterator[list[Weights]]:
    """Collect the (B, H, T, S) weights of every attention layer that runs inside the block, in the order they run.

    Inside, layers take the explicit path (`attention`) in place of the fused one: equal results, more memory.

    Taught in: attention/masks-and-heads
    """
    weights: list[Tensor] = []
    token = _RECORD.set(weights)
    try:
        yield weights
    finally:
        _RECORD.reset(token)


@contextlib.contextmanager
def silenced(model: nn.Module, heads: Iterable[tuple[int, int]]) -> Iterator[None]:
    """Take heads out of a model while the block runs: their columns of the output map are zero, and come back after.

    Args:
        heads: (layer, head) pairs, counted from 0; layers in the order in which the model holds them.

    Raises:
        ValueError: the model has no such head.

    Taught in: attention/masks-and-heads
    Source: michel2019sixteen
    """
    layers = [module for module in model.modules() if isinstance(module, MultiHeadAttention)]
    saved = [layer.project_out.weight.detach().clone() for layer in layers]
    try:
        with torch.no_grad():
            for layer, head in heads:
                if not (0 <= layer < len(layers) and 0 <= head < layers[layer].heads):
                    raise ValueError(f"the model has no head {head} in attention layer {layer} (both count from 0)")
                layers[layer].project_out.weight.unflatten(1, (layers[layer].heads, -1))[:, head] = 0.0
        yield
    finally:
        with torch.no_grad():
            for attending, weight in zip(layers, saved, strict=True):
                attending.project_out.weight.copy_(weight)


def _check_shapes(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> None:
    if q.shape[-1] != k.shape[-1]:
        raise ValueError(f"queries {tuple(q.shape)} and keys {tuple(k.shape)} must agree in width (the last number)")
    if k.shape[-2] != v.shape[-2]:
        raise ValueError(f"keys {tuple(k.shape)} and values {tuple(v.shape)} must agree in length (the last but one)")
    if mask is not None and mask.dtype != torch.bool:
        raise ValueError(f"a mask holds booleans, True where a query may read; got {mask.dtype} (use mask.bool())")
    if mask is not None:
        try:
            fits = torch.broadcast_shapes(mask.shape, (*q.shape[:-1], k.shape[-2])) == (*q.shape[:-1], k.shape[-2])
        except RuntimeError:
            fits = False
        if not fits:
            raise ValueError(
                f"a mask of shape {tuple(mask.shape)} does not fit scores of shape {(*q.shape[:-1], k.shape[-2])}"
            )
