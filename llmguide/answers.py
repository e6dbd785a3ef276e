"""Answers: a model reads a text, or several, and says what stands there and how sure it is; or that nothing does."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from llmguide import checkpoints, pretrained
from llmguide.overlap import exact_match
from llmguide.prediction import judging, longest
from llmguide.questions import Asked
from llmguide.spans import LENGTH, OVERLAP, Window, best_span, inputs, windows

HEAD = "qa_outputs"  # what `transformers` calls the layer above the body
BATCH = 32  # windows a step without gradients


@dataclass(frozen=True)
class Answer:
    """A span of a text, and by how many nats the model prefers it to "the text does not say"."""

    text: str
    start: int
    end: int
    score: float
    source: int = 0  # which of several texts


def reader(name: str | Path, *, new_head: bool = False, **settings: Any) -> tuple[PreTrainedModel, Any]:
    """A plain `transformers` model that points at spans, and its tokenizer. In evaluation mode.

    Args:
        name: a folder in the hub's layout, or a hub name.
        new_head: take a body without a span head, and put a random one on it, to be trained; `torch.manual_seed` fixes
            it.
        settings: of the model's config, such as the dropout.

    Raises:
        FileNotFoundError: no such folder, or a file of it is missing.
        ValueError: a damaged file, another kind of model, or no span head, which would be random in silence.

    Taught in: applications/question-answering
    """
    folder = checkpoints.find(name)
    _, tokenizer = pretrained.encoder(folder)  # with all its checks of body and tokenizer
    try:
        with pretrained.quiet():
            model, report = transformers.AutoModelForQuestionAnswering.from_pretrained(
                folder, output_loading_info=True, **settings
            )
    except ValueError as error:
        raise ValueError(f"{folder} cannot point at spans: {str(error).splitlines()[0]}") from error
    if not new_head and any(key.startswith(HEAD) for key in report["missing_keys"]):
        raise ValueError(
            f"{folder} has no span head, and a new one would answer by chance; pass new_head=True and train it, or "
            "take a checkpoint that was fine-tuned on SQuAD"
        )
    return model.eval(), tokenizer


def read(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    questions: Sequence[str],
    texts: Sequence[str],
    *,
    length: int = LENGTH,
    overlap: int = OVERLAP,
) -> tuple[Answer, ...]:
    """The best span for each question in its text, however low its score: judge that with a threshold.

    Args:
        length: tokens of a window, at most as many as the model takes.
        overlap: tokens that two neighbouring windows share, at most a quarter of the length.

    Raises:
        TypeError, ValueError: as `windows`; the message says which row. Not one text a question.

    Taught in: applications/question-answering
    """
    if isinstance(questions, str) or isinstance(texts, str) or len(questions) != len(texts):
        raise ValueError(f"give a list of questions and one of as many texts; got {len(questions)} and {len(texts)}")
    length = min(length, longest(model, tokenizer))
    rows: list[tuple[int, Window]] = []
    for number, (question, text) in enumerate(zip(questions, texts, strict=True)):
        try:
            found = windows(tokenizer, question, text, length=length, overlap=min(overlap, length // 4))
        except (TypeError, ValueError) as error:
            raise type(error)(f"row {number}: {error}" if len(questions) > 1 else str(error)) from error
        rows += [(number, window) for window in found]
    rows.sort(key=lambda row: len(row[1].ids))
    best: dict[int, Answer] = {}
    with judging(model):
        for first in range(0, len(rows), BATCH):
            some = rows[first : first + BATCH]
            tensors = inputs(tokenizer, [window for _, window in some])
            output = model(**{name: tensor.to(model.device) for name, tensor in tensors.items()})
            for place, (number, window) in enumerate(some):
                answer = _pointed(window, output.start_logits[place], output.end_logits[place], texts[number])
                if number not in best or answer.score > best[number].score:
                    best[number] = answer
    return tuple(best[number] for number in range(len(questions)))


def answer(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    question: str,
    text: str | Sequence[str],
    *,
    threshold: float = 0.0,
    length: int = LENGTH,
    overlap: int = OVERLAP,
) -> Answer | None:
    """What a text says to a question, in its own words; None where its best span does not score above the threshold.

    Args:
        text: or several, of which the best span is taken; the answer's `source` says which it is from.
        threshold: in nats; chosen on questions kept for it (`threshold_for`).
        length: tokens of a window; a longer text is read in several.
        overlap: tokens that two neighbouring windows share.

    Raises:
        TypeError, ValueError: question or text is no text, or empty; the question is too long.

    Taught in: applications/question-answering
    """
    texts = [text] if isinstance(text, str) else list(text)
    if not texts:
        raise ValueError("there is no text to read; give at least one")
    found = read(model, tokenizer, [question] * len(texts), texts, length=length, overlap=overlap)
    source = max(range(len(texts)), key=lambda number: found[number].score)
    best = found[source]
    return Answer(best.text, best.start, best.end, best.score, source) if best.score > threshold else None


def threshold_for(answers: Sequence[Answer], asked: Sequence[Asked]) -> float:
    """The threshold with the most exact matches, where no answer is the right one to a question without.

    Midway between two scores; the lowest of several that are as good.

    Raises:
        ValueError: no questions, or not one answer each.

    Taught in: applications/question-answering
    Source: rajpurkar2018know
    """
    if not answers or len(answers) != len(asked):
        raise ValueError(f"{len(answers)} answers to {len(asked)} questions; give one each")
    scores = sorted({each.score for each in answers})
    between = [(low + high) / 2 for low, high in pairwise(scores)]

    def matches(threshold: float) -> float:
        return sum(
            exact_match(given.text if given.score > threshold else "", each.answer)
            for given, each in zip(answers, asked, strict=True)
        )

    return max([scores[0] - 1, *between, scores[-1] + 1], key=matches)


def _pointed(window: Window, starts: Tensor, ends: Tensor, text: str) -> Answer:
    count = len(window.ids)  # what follows is padding
    readable = torch.tensor([offset is not None for offset in window.offsets])
    first, last, score = best_span(starts[:count].float().cpu(), ends[:count].float().cpu(), readable)
    begins, stops = window.offsets[first], window.offsets[last]
    assert begins is not None and stops is not None  # both are readable
    return Answer(text[begins[0] : stops[1]], begins[0], stops[1], score)
