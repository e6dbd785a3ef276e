"""What is raced: each function makes one contest, on the same weights and with the same results.

All take sizes, so that a test can run them small.
"""

import json
import os
from collections.abc import Callable
from functools import cache, partial
from unittest import mock

import tokenizers
import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import GPT2Config, GPT2LMHeadModel

from llmguide import telling
from llmguide.attention import attention, fused_attention
from llmguide.generation import greedy
from llmguide.hub import decoder_from_hub
from llmguide.losses import next_token_loss
from llmguide.model import Decoder
from llmguide.tokenizers import BytePairTokenizer, train_tokenizer
from tests.benchmarks.race import Contest
from tests.book.chapters import BOOK, ROOT

VOCABULARY = 1024


def fused_beside_torchs(*, length: int, backward: bool, heads: int = 8, width: int = 64) -> Contest:
    """Our fused path adds checks and a readable signature to torch's kernel: they may cost 5 % at most."""
    q, k, v = _heads(length, heads, width)

    def ours() -> Tensor:
        return fused_attention(q, k, v, causal=True)

    def theirs() -> Tensor:
        return F.scaled_dot_product_attention(q, k, v, is_causal=True)

    return Contest(
        f"fused_attention, T = {length}, {_direction(backward)}",
        "torch F.scaled_dot_product_attention",
        *_same(ours, theirs, inputs=(q, k, v) if backward else ()),
        goal=0.95,
    )


def fused_beside_explicit(*, length: int, backward: bool, heads: int = 8, width: int = 64) -> Contest:
    """What it costs to keep the weights: the reason why a layer takes the fused path."""
    q, k, v = _heads(length, heads, width)

    def ours() -> Tensor:
        return fused_attention(q, k, v)

    def theirs() -> Tensor:
        return attention(q, k, v)[0]

    return Contest(
        f"fused_attention, T = {length}, {_direction(backward)}",
        "our explicit attention",
        *_same(ours, theirs, inputs=(q, k, v) if backward else ()),
    )


def training_step(*, layers: int, heads: int, width: int, context: int, batch: int, goal: float) -> Contest:
    """Forward, loss, backward and one step of AdamW on a batch, from the same weights."""
    ours, theirs = _models(layers=layers, heads=heads, width=width, context=context)
    for model in (ours, theirs):
        model.train()
    ids = torch.randint(VOCABULARY, (batch, context), generator=torch.Generator().manual_seed(0))
    first, second = (torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True) for model in (ours, theirs))

    def our_step() -> float:
        first.zero_grad()
        loss = next_token_loss(ours(ids), ids)
        loss.backward()
        first.step()
        return loss.item()

    def their_step() -> float:
        second.zero_grad()
        loss = theirs(ids, labels=ids).loss
        loss.backward()
        second.step()
        return loss.item()

    for _ in range(2):  # the second loss is that of the weights after a step
        torch.testing.assert_close(our_step(), their_step(), rtol=1e-4, atol=0)
    return Contest(
        f"training step, {layers} layers, {width} wide, {batch} x {context} tokens",
        "transformers GPT2LMHeadModel",
        our_step,
        their_step,
        goal=goal,
    )


def generation(
    *, layers: int, heads: int, width: int, goal: float, new_tokens: int = 200, prompt_tokens: int = 8
) -> Contest:
    """Greedy generation with a cache, one text; both must write the same tokens."""
    ours, theirs = _models(layers=layers, heads=heads, width=width, context=prompt_tokens + new_tokens)
    prompt = torch.randint(VOCABULARY, (1, prompt_tokens), generator=torch.Generator().manual_seed(0))
    keep = torch.ones_like(prompt)

    def our_tokens() -> Tensor:
        return greedy(ours, prompt, max_new_tokens=new_tokens)

    def their_tokens() -> Tensor:
        return theirs.generate(
            prompt, attention_mask=keep, max_new_tokens=new_tokens, do_sample=False, use_cache=True, pad_token_id=0
        )

    torch.testing.assert_close(our_tokens(), their_tokens())
    return Contest(
        f"{new_tokens} tokens with a cache, {layers} layers, {width} wide",
        "transformers generate",
        our_tokens,
        their_tokens,
        goal=goal,
    )


def tokenizer_training(*, characters: int, vocabulary: int, parallel: bool, goal: float | None = None) -> Contest:
    """Byte-pair encoding learnt from the same texts, in Python and in Rust; both must learn the same merges.

    Args:
        parallel: let the peer use its threads; we have one.
    """
    texts = _texts(characters)

    def ours() -> BytePairTokenizer:
        return train_tokenizer(texts, vocabulary=vocabulary)

    def theirs() -> tokenizers.Tokenizer:
        return _their_tokenizer(texts, vocabulary=vocabulary, parallel=parallel)

    sample = " ".join(texts)
    _same_ids(ours().encode(sample), theirs().encode(sample).ids)
    return Contest(
        f"training BPE, {characters / 1e6:g} M characters, V = {vocabulary}",
        f"tokenizers, {'its threads' if parallel else 'one thread'}",
        ours,
        theirs,
        goal=goal,
    )


def encoding(*, characters: int, vocabulary: int, goal: float) -> Contest:
    """One long string to ids. Ours starts anew each time, without the pieces it has seen: theirs keeps them."""
    texts = _texts(characters)
    first, second = (
        train_tokenizer(texts, vocabulary=vocabulary),
        _their_tokenizer(texts, vocabulary=vocabulary, parallel=False),
    )
    text = "\n".join(texts)

    def ours() -> list[int]:
        return BytePairTokenizer(first.merges).encode(text)

    def theirs() -> list[int]:
        return second.encode(text).ids

    _same_ids(ours(), theirs())
    name = f"encoding {characters / 1e6:g} M characters, V = {vocabulary}"
    return Contest(name, "tokenizers", ours, theirs, goal=goal)


SMALL = {"layers": 4, "heads": 4, "width": 128}
LARGER = {"layers": 6, "heads": 8, "width": 256}

CONTESTS: list[partial[Contest]] = [
    *(
        partial(make, length=length, backward=backward)
        for make in (fused_beside_torchs, fused_beside_explicit)
        for length in (256, 1024)
        for backward in (False, True)
    ),
    partial(training_step, **SMALL, context=64, batch=12, goal=1.15),
    partial(training_step, **LARGER, context=128, batch=16, goal=1.10),
    partial(generation, **SMALL, goal=1.8),
    partial(generation, **LARGER, goal=1.4),
    partial(tokenizer_training, characters=500_000, vocabulary=2000, parallel=False, goal=1 / 1.2),
    partial(tokenizer_training, characters=500_000, vocabulary=2000, parallel=True),
    partial(encoding, characters=500_000, vocabulary=2000, goal=1.0),
]


def _heads(length: int, heads: int, width: int) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    q, k, v = (torch.randn(1, heads, length, width, generator=generator) for _ in range(3))
    return q, k, v


def _direction(backward: bool) -> str:
    return "forward and backward" if backward else "forward"


def _same(
    ours: Callable[[], Tensor], theirs: Callable[[], Tensor], *, inputs: tuple[Tensor, ...]
) -> tuple[Callable[[], object], Callable[[], object]]:
    """Both, with their gradients where inputs are given, once they have been seen to agree."""
    for x in inputs:
        x.requires_grad_()

    def whole(forward: Callable[[], Tensor]) -> Callable[[], tuple[Tensor, ...]]:
        if not inputs:
            return lambda: (forward(),)
        return lambda: torch.autograd.grad(forward().sum(), inputs)

    first, second = whole(ours), whole(theirs)
    torch.testing.assert_close(first(), second(), rtol=1e-4, atol=1e-5)
    return first, second


def _models(*, layers: int, heads: int, width: int, context: int) -> tuple[Decoder, GPT2LMHeadModel]:
    torch.manual_seed(0)
    config = GPT2Config(
        vocab_size=VOCABULARY,
        n_positions=context,
        n_embd=width,
        n_layer=layers,
        n_head=heads,
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
        bos_token_id=None,
        eos_token_id=None,
        use_cache=False,  # in training; generate asks for a cache itself
    )
    theirs = GPT2LMHeadModel(config).eval()
    return decoder_from_hub(config.to_dict(), theirs.state_dict()), theirs


@cache
def _texts(characters: int) -> tuple[str, ...]:
    """What lies here: the bundled texts, the chapters' cells, and as many told stories as are still wanted."""
    found = [path.read_text(encoding="utf-8") for path in sorted((ROOT / "llmguide" / "data").glob("*.jsonl"))]
    for path in sorted(BOOK.rglob("*.ipynb")):
        found += ["".join(cell["source"]) for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]]
    texts, left, stories = list[str](), characters, 0
    while left > 0:
        if found:
            text = found.pop(0)[:left]
        else:
            text, stories = telling.sample(seed=stories)[0].text[:left], stories + 1
        texts.append(text)
        left -= len(text)
    return tuple(texts)


def _their_tokenizer(texts: tuple[str, ...], *, vocabulary: int, parallel: bool) -> tokenizers.Tokenizer:
    model = tokenizers.Tokenizer(tokenizers.models.BPE())
    model.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=vocabulary,
        show_progress=False,
        initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet(),
    )
    with mock.patch.dict(os.environ, TOKENIZERS_PARALLELISM=str(parallel).lower()):
        model.train_from_iterator(texts, trainer)
    return model


def _same_ids(ours: list[int], theirs: list[int]) -> None:
    if ours != theirs:
        raise AssertionError(f"the tokenizers differ: {len(ours)} ids here, {len(theirs)} there")
