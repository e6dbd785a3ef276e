"""Costs: what a Transformer takes in parameters, floating-point operations and bytes, counted by formula."""


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


def cache_bytes(
    *, batch: int, length: int, width: int, layers: int, bytes_per_number: int = 2, groups: float = 1.0
) -> int:
    """Bytes of a KV cache: keys and values (2) of D numbers in L layers for each of B T positions.

    Args:
        groups: query heads that share one key-value head (grouped-query attention); 1 where each has its own.

    Taught in: attention/what-it-costs
    Source: ainslie2023gqa
    """
    return round(2 * batch * length * width * layers * bytes_per_number / groups)


def training_bytes(*, parameters: int, bytes_per_number: int = 4) -> dict[str, int]:
    """Bytes that training with AdamW keeps for the parameters, activations left out.

    Taught in: attention/what-it-costs
    """
    each = parameters * bytes_per_number
    return {"weights": each, "gradients": each, "first moments": each, "second moments": each}
