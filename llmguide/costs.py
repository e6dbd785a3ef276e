"""Costs: what a Transformer takes in parameters, floating-point operations and bytes, by formula and as measured."""

import contextlib
import weakref
from collections.abc import Iterable, Iterator

import torch
from torch import Tensor


def block_parameters(*, width: int, hidden: int | None = None, cross: bool = False) -> int:
    """Numbers learned in one block: attention 4 D^2 + 4 D, feed-forward 2 D F + D + F, two norms 4 D.

    Cross-attention adds another attention and another norm.

    Taught in: attention/what-it-costs
    """
    hidden = 4 * width if hidden is None else hidden
    attention = 4 * width**2 + 4 * width
    feed_forward = 2 * width * hidden + width + hidden
    norm = 2 * width
    return attention + feed_forward + 2 * norm + (attention + norm if cross else 0)


def decoder_parameters(*, vocabulary: int, context: int, width: int, layers: int, hidden: int | None = None) -> int:
    """Numbers learned in a GPT-2 with tied embeddings: V D + T D + L blocks + the last norm.

    Taught in: attention/what-it-costs
    Source: radford2019language
    """
    return (vocabulary + context) * width + layers * block_parameters(width=width, hidden=hidden) + 2 * width


def encoder_parameters(
    *, vocabulary: int, context: int, width: int, layers: int, hidden: int | None = None, segments: int = 2
) -> int:
    """Numbers learned in a BERT with its pooler.

    Taught in: attention/what-it-costs
    Source: devlin2018bert
    """
    embeddings = (vocabulary + context + segments) * width + 2 * width
    pooler = width**2 + width
    return embeddings + layers * block_parameters(width=width, hidden=hidden) + pooler


def block_flops(*, length: int, width: int, hidden: int | None = None) -> dict[str, int]:
    """Operations of one block on one text forward, a multiplication and an addition counted as two, by part.

    Only the matrix products are counted: what is left (softmax, norms, activations) is a few percent.

    Taught in: attention/what-it-costs
    """
    hidden = 4 * width if hidden is None else hidden
    return {
        "projections": 2 * length * 4 * width**2,
        "scores": 2 * length**2 * width,
        "mixing": 2 * length**2 * width,
        "feed-forward": 2 * length * 2 * width * hidden,
    }


def forward_flops(*, vocabulary: int, length: int, width: int, layers: int, hidden: int | None = None) -> int:
    """Operations of a decoder on one text of T tokens, forward: L blocks and the scores of all V tokens.

    Backward takes twice as many; one training step so takes three times this.

    Taught in: attention/what-it-costs
    Source: kaplan2020scaling, section 2.1
    """
    blocks = layers * sum(block_flops(length=length, width=width, hidden=hidden).values())
    return blocks + 2 * length * width * vocabulary


def attention_bytes(*, batch: int, heads: int, length: int, bytes_per_number: int = 4) -> int:
    """Bytes of one layer's (B, H, T, T) weights, where they are kept.

    Taught in: attention/what-it-costs
    """
    return batch * heads * length**2 * bytes_per_number


def cache_bytes(*, batch: int, length: int, width: int, layers: int, bytes_per_number: int = 2, groups: int = 1) -> int:
    """Bytes of a KV cache: keys and values (2) of D numbers in L layers for each of B T positions.

    Args:
        groups: query heads that share one key-value head (grouped-query attention); 1 where each has its own.

    Taught in: attention/what-it-costs
    Source: ainslie2023gqa
    """
    return 2 * batch * length * width * layers * bytes_per_number // groups


def training_bytes(*, parameters: int, bytes_per_number: int = 4) -> dict[str, int]:
    """Bytes that training with AdamW keeps for the parameters, activations left out.

    Taught in: attention/what-it-costs
    """
    each = parameters * bytes_per_number
    return {"weights": each, "gradients": each, "first moments": each, "second moments": each}


def block_activations(*, batch: int, length: int, width: int, heads: int, hidden: int | None = None) -> dict[str, int]:
    """Numbers that one block keeps of its forward pass until backward has used them, by part.

    8 B T D + 2 B T F, and the notes of the norms (4 B T) and of the fused kernel (B H T). Pre-norm, no dropout. The
    explicit path keeps (B, H, T, T) weights besides; see `attention_bytes`.

    Taught in: attention/what-it-costs
    Source: korthikanti2022reducing, section 4.1
    """
    hidden = 4 * width if hidden is None else hidden
    positions = batch * length
    return {
        "norms": positions * (2 * width + 4),  # what each is given, its mean and its deviation, twice
        "attention": positions * (5 * width + heads),  # its input, q, k, v, the mixed values; a log-sum a query
        "feed-forward": positions * (width + 2 * hidden),  # its input, the inner layer before and after the bend
    }


class KeptForBackward:
    """The tensors that autograd holds on to at this moment, seen by `kept_for_backward`."""

    def __init__(self, parameters: Iterable[Tensor]) -> None:
        self._parameters = {p.untyped_storage().data_ptr() for p in parameters}
        self._held: weakref.WeakSet[_Held] = weakref.WeakSet()

    @property
    def bytes(self) -> int:
        """Memory of the tensors still held, each piece counted once, the parameters left out."""
        storages = {
            storage.data_ptr(): storage.nbytes() for storage in (h.tensor.untyped_storage() for h in self._held)
        }
        return sum(size for place, size in storages.items() if place not in self._parameters)

    def _hold(self, tensor: Tensor) -> "_Held":
        held = _Held(tensor.detach())  # with its history it would keep its own graph alive
        self._held.add(held)
        return held


class _Held:
    """A tensor in autograd's hands: gone as soon as its graph is."""

    def __init__(self, tensor: Tensor) -> None:
        self.tensor = tensor


@contextlib.contextmanager
def kept_for_backward(parameters: Iterable[Tensor] = ()) -> Iterator[KeptForBackward]:
    """Watch what forward passes inside the block keep for their backward passes.

    Args:
        parameters: tensors not to count, for they are there anyway.

    Taught in: attention/what-it-costs
    """
    kept = KeptForBackward(parameters)
    with torch.autograd.graph.saved_tensors_hooks(kept._hold, lambda held: held.tensor):
        yield kept
