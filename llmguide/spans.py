"""Spans: a question is answered by pointing at the place of a text where the answer begins and where it ends."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase

from llmguide.prediction import tensors
from llmguide.questions import Asked

LENGTH, OVERLAP = 384, 64  # tokens a window, and those that two neighbours share
LONGEST = 30  # tokens of an answer

Positions = Float[Tensor, "B T"]


@dataclass(frozen=True)
class Window:
    """A question and a stretch of a text as a model reads them; for each token, where in the text it stands, or None.

    Token 0 stands for "not here".
    """

    ids: tuple[int, ...]
    segments: tuple[int, ...] | None  # 0 question, 1 text; None where the model knows no segments
    offsets: tuple[tuple[int, int] | None, ...]


class SpanHead(nn.Module):
    """Two numbers a position, from the states of an encoder: the scores that the answer begins, and that it ends, here.

    Taught in: applications/question-answering
    Source: devlin2018bert, section 4.2
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.project = nn.Linear(width, 2)

    def forward(self, states: Float[Tensor, "B T D"]) -> tuple[Positions, Positions]:
        starts, ends = self.project(states).unbind(dim=-1)  # (B, T) each
        return starts, ends


def span_loss(starts: Positions, ends: Positions, first: Int[Tensor, " B"], last: Int[Tensor, " B"]) -> Tensor:
    r"""How surprised the model is by where answers begin and end, in nats, the mean of both.

    $-\frac{1}{2B} \sum_b \ln p_b(\text{first}_b) + \ln q_b(\text{last}_b)$, with $p$ and $q$ softmaxes over positions.

    Args:
        first: the position of each answer's first token; 0 where the text does not say.
        last: the position of its last token; 0 likewise.

    Taught in: applications/question-answering
    Source: devlin2018bert, section 4.2
    """
    return (F.cross_entropy(starts, first) + F.cross_entropy(ends, last)) / 2


def best_span(
    starts: Float[Tensor, " T"], ends: Float[Tensor, " T"], readable: Bool[Tensor, " T"], *, longest: int = LONGEST
) -> tuple[int, int, float]:
    r"""The span $i \le j < i + \text{longest}$ of readable tokens with the largest $s_i + e_j$.

    Returns:
        First and last position, and the score $s_i + e_j - (s_0 + e_0)$: what the span has over "not in the text".

    Raises:
        ValueError: no token is readable, or `longest` is below 1.

    Taught in: applications/question-answering
    Source: devlin2018bert, section 4.3
    """
    if longest < 1 or not readable.any():
        raise ValueError(f"no span of 1 to {longest} tokens among {int(readable.sum())} readable ones")
    count = len(starts)
    allowed = torch.ones(count, count, dtype=torch.bool, device=starts.device).triu().tril(longest - 1)
    allowed &= readable[:, None] & readable
    scores = (starts[:, None] + ends).masked_fill(~allowed, -torch.inf)  # (T, T): row i begins, column j ends
    first, last = divmod(int(scores.argmax()), count)
    return first, last, float(scores[first, last] - starts[0] - ends[0])


def windows(
    tokenizer: PreTrainedTokenizerBase, question: str, text: str, *, length: int = LENGTH, overlap: int = OVERLAP
) -> tuple[Window, ...]:
    """The question beside the text; beside one stretch of it after another, where both are too long for the model.

    Args:
        length: tokens of a window, the question and the special tokens included.
        overlap: tokens that two neighbours share, so that an answer cut by one border is whole in the next window.

    Raises:
        TypeError: question or text is no text.
        ValueError: one of them is empty, or the question leaves no room for the text.

    Taught in: applications/question-answering
    """
    for name, value in (("question", question), ("text", text)):
        if not isinstance(value, str):
            raise TypeError(f"the {name} is {type(value).__name__}, not a text: {value!r}")
        if not value.strip():
            raise ValueError(f"the {name} is empty; write one")
    asked = len(tokenizer(question, add_special_tokens=False, verbose=False)["input_ids"])
    room = length - asked - tokenizer.num_special_tokens_to_add(pair=True)
    if room <= overlap:
        raise ValueError(
            f"the question has {asked} tokens; of {length}, that leaves {max(room, 0)} for the text, and neighbouring "
            f"windows share {overlap}: ask a shorter question, or raise length"
        )
    encoded = tokenizer(
        question,
        text,
        max_length=length,
        truncation="only_second",
        stride=overlap,
        return_overflowing_tokens=True,
        return_offsets_mapping=True,
    )
    segments = encoded.get("token_type_ids")
    found = []
    for row, ids in enumerate(encoded["input_ids"]):
        offsets = zip(encoded["offset_mapping"][row], encoded.sequence_ids(row), strict=True)
        found.append(
            Window(
                tuple(ids),
                None if segments is None else tuple(segments[row]),
                tuple(place if sequence == 1 else None for place, sequence in offsets),  # sequence 0 is the question
            )
        )
    return tuple(found)


def labels(window: Window, asked: Asked) -> tuple[int, int]:
    """The positions of the answer's first and last token; 0 and 0 where this window does not hold all of it.

    Taught in: applications/question-answering
    """
    if asked.start is None:
        return 0, 0
    end = asked.start + len(asked.answer)
    inside = [
        place
        for place, offset in enumerate(window.offsets)
        if offset is not None and offset[0] < end and offset[1] > asked.start
    ]
    begins, stops = [window.offsets[place] for place in inside[:1]], [window.offsets[place] for place in inside[-1:]]
    whole = begins and stops and begins[0] and stops[0] and begins[0][0] <= asked.start and stops[0][1] >= end
    return (inside[0], inside[-1]) if whole else (0, 0)


def batch(
    tokenizer: PreTrainedTokenizerBase, asked: Sequence[Asked], *, length: int = LENGTH, overlap: int = OVERLAP
) -> dict[str, Tensor]:
    """All windows of some questions as tensors, by the names that `transformers` gives them, labels included.

    Raises:
        TypeError, ValueError: as `windows`.

    Taught in: applications/question-answering
    """
    found = [
        (window, *labels(window, each))
        for each in asked
        for window in windows(tokenizer, each.question, each.text, length=length, overlap=overlap)
    ]
    return inputs(tokenizer, [window for window, _, _ in found]) | {
        "start_positions": torch.tensor([first for _, first, _ in found]),
        "end_positions": torch.tensor([last for _, _, last in found]),
    }


def inputs(tokenizer: PreTrainedTokenizerBase, found: Sequence[Window]) -> dict[str, Tensor]:
    """Windows as tensors, padded to the longest, by the names that `transformers` gives them."""
    found_ids = tensors([window.ids for window in found], padding=tokenizer.pad_token_id)
    segments = [window.segments for window in found if window.segments is not None]
    return found_ids | ({"token_type_ids": tensors(segments, padding=0)["input_ids"]} if segments else {})
