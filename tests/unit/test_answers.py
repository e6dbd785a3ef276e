"""Answers: the best span of a text, of its windows, of several texts; or none, below a threshold."""

from pathlib import Path

import pytest
import torch
from transformers import BertConfig, BertForQuestionAnswering, BertModel, PreTrainedModel, PreTrainedTokenizerBase

from llmguide import pretrained
from llmguide.answers import Answer, answer, read, reader, threshold_for
from llmguide.checkpoints import minilm_folder
from llmguide.questions import Asked, of_story
from llmguide.spans import batch, span_loss

TEXT = "The lantern is at the old mill. Ada took the letter to the well."
CONFIG = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 16,
    "max_position_embeddings": 64,
    "initializer_range": 0.3,
    "hidden_dropout_prob": 0.0,
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random reader with its head, in the hub's layout."""
    torch.manual_seed(0)
    _, tokenizer = pretrained.encoder(minilm_folder())
    return pretrained.save(
        BertForQuestionAnswering(BertConfig(vocab_size=len(tokenizer), **CONFIG)),
        tokenizer,
        tmp_path_factory.mktemp("reader"),
    )


@pytest.fixture(scope="module")
def model(folder: Path) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    return reader(folder)


Model = tuple[PreTrainedModel, PreTrainedTokenizerBase]


def test_an_answer_is_a_span_of_the_text(model: Model) -> None:
    found = answer(*model, "Where is the lantern?", TEXT, threshold=-1e9)

    assert found is not None
    assert TEXT[found.start : found.end] == found.text != ""


def test_below_the_threshold_the_text_does_not_say(model: Model) -> None:
    found = answer(*model, "Where is the lantern?", TEXT, threshold=-1e9)
    assert found is not None

    assert answer(*model, "Where is the lantern?", TEXT, threshold=found.score) is None
    assert answer(*model, "Where is the lantern?", TEXT, threshold=found.score - 1e-3) == found


def test_rows_answer_the_same_alone_and_together_and_whatever_the_mode(model: Model) -> None:
    asked = [each for seed in range(4) for each in of_story(seed, sentences=3)]
    questions, texts = [each.question for each in asked], [each.text for each in asked]
    model[0].train()

    together = read(*model, questions, texts)

    assert model[0].training
    model[0].eval()
    for given, question, text in zip(together, questions, texts, strict=True):
        (alone,) = read(*model, [question], [text])
        assert (given.text, given.start, given.source) == (alone.text, alone.start, 0)
        assert given.score == pytest.approx(alone.score, abs=1e-4)


def test_a_text_longer_than_the_model_is_read_in_windows(model: Model) -> None:
    filler = "It rained on the hill all day. " * 30  # some 250 tokens; the model has 64 positions

    found = answer(*model, "Where is the lantern?", f"{filler}{TEXT} {filler}", threshold=-1e9)

    assert found is not None
    assert f"{filler}{TEXT} {filler}"[found.start : found.end] == found.text


def test_windows_are_as_long_as_asked_for(model: Model) -> None:
    read_lengths = []
    hook = model[0].register_forward_pre_hook(
        lambda _, __, inputs: read_lengths.append(inputs["input_ids"].shape[1]), with_kwargs=True
    )
    with hook:
        answer(*model, "Where is the lantern?", f"{TEXT} " * 4, length=32, overlap=8)

    assert max(read_lengths) == 32


def test_of_several_texts_the_best_span_is_taken_and_its_source_named(model: Model) -> None:
    texts = [TEXT, "Nothing is here.", "The well is deep and cold."]
    each = read(*model, ["Where?"] * 3, texts)
    best = max(range(3), key=lambda number: each[number].score)

    found = answer(*model, "Where?", texts, threshold=-1e9)

    assert found is not None
    assert found.source == best
    assert found.text == each[best].text


def test_a_reader_that_learnt_answers_and_says_when_the_text_does_not() -> None:
    torch.manual_seed(0)
    model, tokenizer = reader(minilm_folder(), new_head=True, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
    asked = [
        Asked("Where is the lantern?", TEXT, "at the old mill", TEXT.index("at")),
        Asked("Who took the letter?", TEXT, "Ada", TEXT.index("Ada")),
        Asked("Who lost the map?", TEXT),
    ]
    inputs = batch(tokenizer, asked)
    first, last = inputs.pop("start_positions"), inputs.pop("end_positions")
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-4)
    for _ in range(12):
        output = model(**inputs)
        span_loss(output.start_logits, output.end_logits, first, last).backward()
        optimizer.step()
        optimizer.zero_grad()

    found = [answer(model, tokenizer, each.question, each.text) for each in asked]

    assert [given.text if given else None for given in found] == ["at the old mill", "Ada", None]


@pytest.mark.parametrize(
    ("question", "text", "error", "message"),
    [
        ("", TEXT, ValueError, "^the question is empty; write one"),
        ("Where?", "", ValueError, "^the text is empty; write one"),
        ("Where?", [TEXT, " "], ValueError, "^row 1: the text is empty; write one"),
        ("Where?", [], ValueError, "there is no text to read; give at least one"),
        ("Where?", [TEXT, 3], TypeError, "row 1: the text is int, not a text: 3"),
        ("where " * 80, TEXT, ValueError, "the question has 80 tokens; of 64, that leaves 0 for the text"),
    ],
)
def test_bad_input_is_answered_in_words(
    question: str, text: object, error: type[Exception], message: str, model: Model, unchecked: None
) -> None:
    with pytest.raises(error, match=message):
        answer(*model, question, text)  # type: ignore[arg-type]


def test_rows_must_be_pairs(model: Model) -> None:
    with pytest.raises(ValueError, match="a list of questions and one of as many texts; got 1 and 2"):
        read(*model, ["Where?"], [TEXT, TEXT])


# The model


def test_a_body_without_a_span_head_must_be_asked_for(tmp_path: Path) -> None:
    _, tokenizer = pretrained.encoder(minilm_folder())
    body = pretrained.save(BertModel(BertConfig(vocab_size=len(tokenizer), **CONFIG)), tokenizer, tmp_path)

    with pytest.raises(ValueError, match="has no span head, and a new one would answer by chance; pass new_head=True"):
        reader(body)
    torch.manual_seed(0)
    model, _ = reader(body, new_head=True, hidden_dropout_prob=0.25)
    assert not model.training
    assert model.config.hidden_dropout_prob == 0.25


def test_a_reader_comes_back_from_its_folder(model: Model, tmp_path: Path) -> None:
    again = reader(pretrained.save(*model, tmp_path))

    assert answer(*again, "Where?", TEXT, threshold=-1e9) == answer(*model, "Where?", TEXT, threshold=-1e9)


# The threshold


def _given(*scores: float) -> list[Answer]:
    return [Answer("mill", 0, 4, score) for score in scores]


def test_the_threshold_parts_answers_from_silence() -> None:
    right, without = Asked("?", "mill", "mill", 0), Asked("?", "mill")

    assert threshold_for(_given(5.0, 3.0, 1.0, -2.0), [right, right, without, without]) == 2.0
    assert threshold_for(_given(5.0, 3.0), [right, right]) < 3.0  # answer everything
    assert threshold_for(_given(5.0, 3.0), [without, without]) > 5.0  # answer nothing


def test_a_wrong_answer_is_not_worth_giving_or_withholding() -> None:
    right, other = Asked("?", "mill", "mill", 0), Asked("?", "a well", "well", 2)

    assert threshold_for(_given(5.0, 3.0), [right, other]) < 3.0  # the lowest of those that are as good


def test_a_threshold_needs_an_answer_for_each_question() -> None:
    with pytest.raises(ValueError, match="1 answers to 0 questions; give one each"):
        threshold_for(_given(1.0), [])
