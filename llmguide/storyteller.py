"""Storyteller: a small GPT that has read millions of words of the miniature world, shipped with its tokenizer."""

import argparse
import json
import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from importlib.resources import files
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor, nn

from llmguide import checkpoints, runtime, telling
from llmguide.batches import pad
from llmguide.losses import IGNORE, next_token_score
from llmguide.model import Decoder, ModelConfig
from llmguide.optimizers import Muon
from llmguide.tokenizers import BytePairTokenizer, train_tokenizer
from llmguide.training import STATE_FILE, TrainingConfig, fit
from llmguide.village import VILLAGE
from llmguide.world import World

START, END, PADDING = SPECIAL = "<|start|>", "<|end|>", "<|pad|>"
ROLES = ("bos_token_id", "eos_token_id", "pad_token_id")  # what `transformers` calls them
CONTEXT, WIDTH, LAYERS, HEADS = 256, 224, 4, 7
ROWS = 16  # stories a step

# Two cycles: the rate falls, then rises half as high and falls again. Muon's rate, for the matrices, goes with AdamW's.
CYCLES = tuple(
    TrainingConfig(steps=steps, learning_rate=rate, warmup=100, floor=0.02, save_every=200)
    for steps, rate in ((9_000, 0.008), (8_000, 0.004))
)
MUON_RATIO = 1.25

# The first tenth of the first cycle reads short stories, with one or two events to keep track of: in trials the gap
# closed sooner (ARCHITECTURE.md).
SHORT, SHORT_SHARE = replace(VILLAGE, events=(1, 2)), 0.1

# No text is in two of these: each is a range of seeds of its own.
FIRST_TRAINING_SEED, FIRST_TEST_SEED = 10_000_000, 20_000_000
VOCABULARY_STORIES, TEST_STORIES = 4000, 1000
POOL = 8  # steps whose stories are sorted by length together, so that a batch holds little padding


@dataclass(frozen=True, kw_only=True)
class Report:
    """How close a model is to the world: both in nats a token, on stories it has not read."""

    loss: float
    entropy: float  # of the same stories under the generator itself
    tokens: int

    @property
    def gap(self) -> float:
        """The loss above the entropy: an estimate of the divergence of the model from the world."""
        return self.loss - self.entropy


def folder() -> Path:
    """The folder of the shipped model, in the hub's layout."""
    return Path(str(files("llmguide"))) / "weights" / "storyteller"


def load() -> tuple[Decoder, BytePairTokenizer]:
    """The shipped model, in evaluation mode, and its tokenizer.

    Raises:
        ValueError: the weights are not those that were shipped (their SHA-256 differs).
    """
    return checkpoints.load_decoder(folder()), tokenizer()


def tokenizer() -> BytePairTokenizer:
    """The shipped tokenizer: byte-pair encoding of the English world, with tokens for start, end and padding."""
    return BytePairTokenizer.load(folder())


def encode(tokenizer: BytePairTokenizer, text: str) -> list[int]:
    """A whole text as the model reads it: a start token at position 0, the text, an end token."""
    return [tokenizer.special[START], *tokenizer.encode(text), tokenizer.special[END]]


def score(model: nn.Module, texts: Sequence[Sequence[int]]) -> tuple[Float[Tensor, ""], int]:
    """Summed next-token loss of encoded texts in nats, and how many tokens it sums: what `fit` asks for."""
    ids, keep = pad(texts, padding=0)  # padding is on the right and not scored: no token before it sees it
    return next_token_score(model, ids, labels=ids.masked_fill(~keep, IGNORE))


@torch.no_grad()
def report(model: nn.Module, tokenizer: BytePairTokenizer, *, first: int, stories: int) -> Report:
    """A model's loss on stories of the world beside their exact entropy.

    Args:
        first: the seed of the first story; the others follow it.

    Taught in: objective/pretraining
    """
    told = [telling.sample(seed=first + n) for n in range(stories)]
    texts = sorted((encode(tokenizer, story.text) for story, _ in told), key=len)
    scores = [score(model, texts[start : start + 50]) for start in range(0, len(texts), 50)]
    tokens = sum(count for _, count in scores)
    loss = float(sum(total for total, _ in scores)) / tokens
    return Report(loss=loss, entropy=-sum(nats for _, nats in told) / tokens, tokens=tokens)


def pretrain(
    target: str | Path,
    cycles: Sequence[TrainingConfig] = CYCLES,
    *,
    test_stories: int = TEST_STORIES,
    progress: bool = False,
) -> Report:
    """Train tokenizer and model from nothing and write them as a folder in the hub's layout.

    It reads short stories first, then the village's own: a curriculum. A run that was interrupted goes on from its last
    saved state, which lies in `runtime.home()` until the end.

    Args:
        cycles: schedules that follow one another, each with fresh moments; no story comes twice.
        test_stories: on how many unseen stories the result is measured.
        progress: draw a bar on standard error.

    Raises:
        OSError: the disk is full or the folder cannot be written.
        ValueError: no cycles.

    Source: bengio2009curriculum; jordan2024muon; loshchilov2016sgdr
    """
    if not cycles:
        raise ValueError("cycles is empty; give at least one TrainingConfig")
    target, state = Path(target), runtime.home() / "storyteller"
    words = train_tokenizer(_stories(range(VOCABULARY_STORIES)), vocabulary=1024, special=SPECIAL)
    torch.manual_seed(0)
    model = Decoder(ModelConfig(vocabulary=len(words), context=CONTEXT, width=WIDTH, layers=LAYERS, heads=HEADS))
    with torch.no_grad():  # words before places: attention by content is learnt sooner where positions start quiet
        model.backbone.get_parameter("position_embedding.weight").mul_(0.1)

    @lru_cache(maxsize=1)
    def pool(number: int) -> list[list[list[int]]]:
        world, rows = (SHORT, 2 * ROWS) if number * POOL < _short_steps(cycles[0]) else (VILLAGE, ROWS)
        first = VOCABULARY_STORIES + number * POOL * 2 * ROWS
        texts = sorted((encode(words, text) for text in _stories(range(first, first + POOL * rows), world)), key=len)
        batches = [texts[start : start + rows] for start in range(0, len(texts), rows)]
        random.Random(number).shuffle(batches)
        return batches

    done = 0  # steps of the cycles before this one
    for number, config in enumerate(cycles):

        def batches(step: int, done: int = done) -> list[list[list[int]]]:
            return [pool((done + step) // POOL)[(done + step) % POOL]]

        rate, folder = config.learning_rate, state / str(number)
        optimizer = Muon(model, learning_rate=MUON_RATIO * rate, adam_learning_rate=rate)
        fit(model, score, batches, config, folder=folder, optimizer=optimizer, progress=progress)
        done += config.steps
    measured = report(model.eval(), words, first=FIRST_TEST_SEED, stories=test_stories)
    words.save(target)
    checkpoints.save(model, target)
    special = {role: words.special[name] for role, name in zip(ROLES, SPECIAL, strict=True)}
    card = _card(model, cycles, measured)
    for name, content in (("generation_config.json", json.dumps(special, indent=2) + "\n"), ("README.md", card)):
        with runtime.replacing(target / name) as path:
            path.write_text(content, encoding="utf-8")
    for number in range(len(cycles)):
        (state / str(number) / STATE_FILE).unlink()
    return measured


def _short_steps(first: TrainingConfig) -> int:
    return min(first.steps, math.ceil(first.steps * SHORT_SHARE / POOL) * POOL)  # whole pools


def _stories(numbers: range, world: World = VILLAGE) -> Iterator[str]:
    return (telling.sample(world, seed=FIRST_TRAINING_SEED + number)[0].text for number in numbers)


def _card(model: Decoder, cycles: Sequence[TrainingConfig], measured: Report) -> str:
    parameters = sum(parameter.numel() for parameter in model.parameters())
    steps, short = " and ".join(f"{config.steps:,}" for config in cycles), _short_steps(cycles[0])
    stories = (sum(config.steps for config in cycles) + short) * ROWS  # a step reads twice as many of the short ones
    return f"""---
license: mit
language: en
library_name: transformers
pipeline_tag: text-generation
---

# storyteller

A GPT of {parameters / 1e6:.2f} million parameters that tells stories of one miniature village. It ships with the book
llmguide, where it stands in for the large models that a laptop cannot train.

| | |
|---|---|
| architecture | GPT-2: {LAYERS} layers, width {WIDTH}, {HEADS} heads, context {CONTEXT}, tied embeddings |
| tokens | {model.config.vocabulary}, byte-pair encoding learnt on the same stories |
| data | {stories:,} stories of the seeded generator `llmguide.telling`, each read once |
| training | {steps} steps, the first {short:,} on short stories; Muon beside AdamW, warm-up, cosine |
| loss | {measured.loss:.4f} nats a token on unseen stories ({measured.tokens:,} tokens) |
| entropy | {measured.entropy:.4f} nats a token: the generator's own score on the same stories, the least possible |
| gap | {measured.gap:.4f} nats a token |

A text starts with `{START}` at position 0 and ends with `{END}`; `{PADDING}` fills batches. The model knows sixteen
names and some three hundred words and nothing else: it is no source of facts.

`make pretrain` trains it again, seeded, on two cores, in some two hours. Expect a model like this one, not these
digits: a long run makes much of a rounding, processors round differently, and the weights that the book ships were
trained with matrix products in bfloat16, where `make pretrain` multiplies in float32.
"""


if __name__ == "__main__":  # make pretrain
    parser = argparse.ArgumentParser(description="Train the storyteller and write it as a folder in the hub's layout.")
    parser.add_argument("folder", type=Path)
    runtime.start(seed=0)
    pretrain(parser.parse_args().folder, progress=True)
