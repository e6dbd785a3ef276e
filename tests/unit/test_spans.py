"""Spans: windows cover a text, labels point at answers, the head and the loss are those of `transformers`."""

from functools import cache
from itertools import pairwise, product

import pytest
import torch
from torch import Tensor
from transformers import AutoTokenizer, BertConfig, BertForQuestionAnswering, PreTrainedTokenizerBase

from llmguide.checkpoints import minilm_folder
from llmguide.questions import Asked, of_story
from llmguide.spans import SpanHead, Window, batch, best_span, labels, span_loss, windows

TEXT = "The lantern is at the old mill. Ada took the letter."
ASKED = Asked("Where is the lantern?", TEXT, "at the old mill", TEXT.index("at the"))


@cache
def tokenizer() -> PreTrainedTokenizerBase:
    return AutoTokenizer.from_pretrained(minilm_folder())


def test_a_window_holds_the_question_and_knows_where_the_words_of_the_text_stand() -> None:
    (window,) = windows(tokenizer(), ASKED.question, TEXT)

    assert tokenizer().decode(window.ids) == f"[CLS] {ASKED.question.lower()} [SEP] {TEXT.lower()} [SEP]"
    words = [TEXT[offset[0] : offset[1]] for offset in window.offsets if offset is not None]
    assert words == TEXT.replace(".", " .").split()
    assert window.offsets[:7] == (None,) * 7  # [CLS], five tokens of the question, [SEP]
    assert window.segments == (0,) * 7 + (1,) * 14


def test_labels_point_at_the_answer() -> None:
    (window,) = windows(tokenizer(), ASKED.question, TEXT)

    first, last = labels(window, ASKED)

    assert tokenizer().decode(window.ids[first : last + 1]) == "at the old mill"


def test_the_answer_comes_back_from_its_labels_for_every_question_of_the_world() -> None:
    for asked in (asked for seed in range(10) for asked in of_story(seed, answered=None) if asked.start is not None):
        (window,) = windows(tokenizer(), asked.question, asked.text)
        first, last = labels(window, asked)
        begins, ends = window.offsets[first], window.offsets[last]
        assert begins is not None
        assert ends is not None
        assert asked.text[begins[0] : ends[1]] == asked.answer


def test_what_the_text_does_not_say_points_at_the_first_token() -> None:
    (window,) = windows(tokenizer(), "Where is the map?", TEXT)

    assert labels(window, Asked("Where is the map?", TEXT)) == (0, 0)


def test_an_answer_inside_a_word_takes_the_token_that_holds_it() -> None:
    asked = Asked("When?", "Built 1840s.", "1840", 6)
    (window,) = windows(tokenizer(), asked.question, asked.text)
    first, last = labels(window, asked)
    offset = window.offsets[last]

    assert offset is not None
    assert 0 < first <= last
    assert offset[1] >= 10


def long_text() -> tuple[str, Asked]:
    text = " ".join(f"house {number} is red." for number in range(40)) + " The blue one is by the sea."
    return text, Asked("Where is the blue one?", text, "by the sea", text.index("by the sea"))


def test_windows_of_a_long_text_overlap_and_leave_nothing_out() -> None:
    text, asked = long_text()

    found = windows(tokenizer(), asked.question, text, length=40, overlap=10)

    assert len(found) > 5
    assert all(len(window.ids) <= 40 for window in found)
    places = [[offset for offset in window.offsets if offset is not None] for window in found]
    assert {number for some in places for start, end in some for number in range(start, end)} == {
        number for number, letter in enumerate(text) if letter != " "
    }
    assert all(one[-10:] == other[:10] for one, other in pairwise(places))


def test_a_window_without_the_whole_answer_says_not_here() -> None:
    text, asked = long_text()
    found = [labels(window, asked) for window in windows(tokenizer(), asked.question, text, length=40, overlap=10)]

    assert found[0] == (0, 0)
    assert sum(pair != (0, 0) for pair in found) in (1, 2)  # in the overlap it is whole twice


def test_half_an_answer_is_none() -> None:
    window = Window((1, 2, 3), None, (None, (0, 3), (4, 9)))

    assert labels(window, Asked("?", "The blue sea", "blue sea", 4)) == (0, 0)  # "sea" is in the next window
    assert labels(window, Asked("?", "The blue sea", "The blue", 0)) == (1, 2)


@pytest.mark.parametrize(
    ("question", "text", "settings", "error", "message"),
    [
        (" ", TEXT, {}, ValueError, "the question is empty; write one"),
        ("Where?", "\n", {}, ValueError, "the text is empty; write one"),
        (7, TEXT, {}, TypeError, "the question is int, not a text: 7"),
        ("Where?", None, {}, TypeError, "the text is NoneType, not a text"),
        (
            "so " * 30,
            TEXT,
            {"length": 40, "overlap": 10},
            ValueError,
            "the question has 30 tokens; of 40, that leaves 7 for the text, and neighbouring windows share 10: ask a",
        ),
    ],
)
def test_what_cannot_be_read_is_refused_in_words(
    question: object, text: object, settings: dict[str, int], error: type[Exception], message: str, unchecked: None
) -> None:
    with pytest.raises(error, match=message):
        windows(tokenizer(), question, text, **settings)  # type: ignore[arg-type]


# The head, the loss, the best span


def _model(tokens: int = 30522) -> BertForQuestionAnswering:
    torch.manual_seed(0)
    return BertForQuestionAnswering(
        BertConfig(
            vocab_size=tokens,
            hidden_size=12,
            num_hidden_layers=1,
            num_attention_heads=2,
            intermediate_size=16,
            max_position_embeddings=64,
            initializer_range=0.5,
        )
    ).eval()


def test_head_and_loss_are_those_of_transformers_with_their_gradients() -> None:
    model, head = _model(), SpanHead(12)
    head.project.load_state_dict(model.qa_outputs.state_dict())
    inputs = batch(tokenizer(), [ASKED, Asked("Where is the map?", TEXT)], length=64, overlap=16)

    theirs = model(**inputs)
    first, last = inputs.pop("start_positions"), inputs.pop("end_positions")
    starts, ends = head(model.bert(**inputs).last_hidden_state)
    ours = span_loss(starts, ends, first, last)

    torch.testing.assert_close((starts, ends, ours), (theirs.start_logits, theirs.end_logits, theirs.loss))
    shared = list(model.bert.parameters())
    for one, other in zip(
        torch.autograd.grad(ours, [*head.parameters(), *shared], allow_unused=True),
        torch.autograd.grad(theirs.loss, [*model.qa_outputs.parameters(), *shared], allow_unused=True),
        strict=True,
    ):
        assert (one is None) == (other is None)
        if one is not None and other is not None:
            torch.testing.assert_close(one, other)


def test_padding_changes_no_score() -> None:
    model = _model()
    alone = batch(tokenizer(), [ASKED], length=64, overlap=16)
    beside = batch(tokenizer(), [ASKED, Asked(ASKED.question, f"{TEXT} {TEXT}")], length=64, overlap=16)
    count = alone["input_ids"].shape[1]

    with torch.no_grad():
        found = [model(**inputs).start_logits[0, :count] for inputs in (alone, beside)]

    torch.testing.assert_close(found[0], found[1])


def test_every_window_is_a_row_with_its_own_labels() -> None:
    text, asked = long_text()

    inputs = batch(tokenizer(), [ASKED, asked], length=40, overlap=10)

    rows = 1 + len(windows(tokenizer(), asked.question, text, length=40, overlap=10))
    assert {name: len(tensor) for name, tensor in inputs.items()} == dict.fromkeys(
        ("input_ids", "attention_mask", "token_type_ids", "start_positions", "end_positions"), rows
    )
    assert inputs["start_positions"][0] == 7 + 3  # after the question, "the lantern is"
    assert inputs["start_positions"][1] == 0


@pytest.mark.parametrize("longest", [1, 3, 30])
def test_the_best_span_is_the_best_of_all_that_are_allowed(longest: int, generator: torch.Generator) -> None:
    for _ in range(20):
        starts, ends = torch.randn(2, 11, generator=generator)
        readable = torch.rand(11, generator=generator) < 0.7
        if not readable.any():
            continue
        allowed = [
            (float(starts[i] + ends[j] - starts[0] - ends[0]), i, j)
            for i, j in product(range(11), repeat=2)
            if i <= j < i + longest and readable[i] and readable[j]
        ]
        score, first, last = max(allowed)
        found = best_span(starts, ends, readable, longest=longest)
        assert found[:2] == (first, last)
        assert found[2] == pytest.approx(score, abs=1e-5)


def test_an_end_before_the_start_is_no_span() -> None:
    starts, ends = torch.tensor([0.0, 1.0, 9.0]), torch.tensor([0.0, 9.0, 1.0])

    assert best_span(starts, ends, torch.tensor([False, True, True])) == (1, 1, 10.0)  # not the 18 of 2..1


@pytest.mark.parametrize(("readable", "longest"), [([False, False], 3), ([True, True], 0)])
def test_no_span_at_all_is_refused(readable: list[bool], longest: int) -> None:
    zeros: Tensor = torch.zeros(2)

    with pytest.raises(ValueError, match=f"no span of 1 to {longest} tokens among {sum(readable)} readable ones"):
        best_span(zeros, zeros, torch.tensor(readable), longest=longest)
