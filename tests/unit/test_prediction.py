"""Prediction: an answer depends on its text alone; features, and the surprise of a language model."""

from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
import torch

from llmguide import prediction, runtime
from llmguide.prediction import encode, features, judging, labelled, linear_head, nats, pieces, predict
from llmguide.pretrained import Pretrained, classifier, language_model
from tests.unit import tiny

TEXTS = [example.text for example in tiny.reviews(13)]


@pytest.fixture
def bert(tmp_path: Path) -> Pretrained:
    return classifier(tiny.encoder_folder(tmp_path / "bert", dropout=0.5), tiny.LABELS)


@pytest.fixture
def gpt2(tmp_path: Path) -> Pretrained:
    with pytest.warns(UserWarning, match="no padding token"):
        return classifier(tiny.decoder_folder(tmp_path / "gpt2"), tiny.LABELS)


@pytest.fixture
def gpt2_language_model(tmp_path: Path) -> Pretrained:
    with pytest.warns(UserWarning, match="no padding token"):
        return language_model(tiny.decoder_folder(tmp_path / "gpt2"))


@pytest.mark.parametrize("kind", ["bert", "gpt2"])
@pytest.mark.parametrize("batch", [1, 2, 5, 64])
def test_an_answer_depends_neither_on_the_batch_nor_on_the_order(
    kind: str, batch: int, request: pytest.FixtureRequest
) -> None:
    model, tokenizer = request.getfixturevalue(kind)
    alone = np.concatenate([predict(model, tokenizer, [text]).probabilities for text in TEXTS])

    np.testing.assert_allclose(predict(model, tokenizer, TEXTS, batch=batch).probabilities, alone, atol=1e-6)
    backwards = predict(model, tokenizer, TEXTS[::-1], batch=batch)
    np.testing.assert_allclose(backwards.probabilities[::-1], alone, atol=1e-6)


def test_dropout_is_off_in_an_answer_and_the_mode_is_left_as_it_was(bert: Pretrained) -> None:
    model, tokenizer = bert
    model.train()
    model.base_model.train(False)

    first, second = predict(model, tokenizer, TEXTS), predict(model, tokenizer, TEXTS)

    np.testing.assert_array_equal(first.probabilities, second.probabilities)
    assert model.training
    assert not model.base_model.training


def test_a_mode_comes_back_after_an_error_too(bert: Pretrained) -> None:
    model = bert[0].train()
    with pytest.raises(ValueError, match="exactly one of input_ids"), judging(model):
        model()
    assert all(module.training for module in model.modules())


def test_an_answer_names_its_class(bert: Pretrained) -> None:
    answers = predict(*bert, TEXTS)

    assert answers.names == tuple(tiny.LABELS[number] for number in answers.labels)
    np.testing.assert_allclose(answers.probabilities.sum(axis=1), 1, rtol=1e-6)
    np.testing.assert_array_equal(answers.probabilities.argmax(axis=1), answers.labels)


def test_an_answer_is_that_of_plain_transformers(bert: Pretrained) -> None:
    model, tokenizer = bert
    logits = model(**tokenizer(TEXTS, padding=True, return_tensors="pt")).logits

    np.testing.assert_allclose(predict(model, tokenizer, TEXTS).probabilities, logits.softmax(-1).detach(), atol=1e-6)


def test_no_texts_have_no_answers(bert: Pretrained) -> None:
    answers = predict(*bert, [])

    assert (answers.names, answers.empty, answers.probabilities.shape) == ((), (), (0, 2))


@pytest.mark.parametrize("kind", ["bert", "gpt2"])
def test_an_empty_text_is_answered_and_flagged(kind: str, request: pytest.FixtureRequest) -> None:
    with pytest.warns(UserWarning, match="1 empty text"):
        answers = predict(*request.getfixturevalue(kind), ["the film is fine", "", "a"])

    assert answers.empty == (1,)
    assert np.isfinite(answers.probabilities).all()


def test_a_text_longer_than_the_model_is_cut_as_its_tokenizer_would(bert: Pretrained) -> None:
    model, tokenizer = bert
    with pytest.warns(UserWarning, match="text 0 has 32 tokens, the model takes 16; 16 cut"):
        answer = predict(model, tokenizer, ["fine film " * 15])

    cut = tokenizer("fine film " * 15, truncation=True, max_length=16, return_tensors="pt")
    np.testing.assert_allclose(answer.probabilities, model(**cut).logits.softmax(-1).detach(), atol=1e-6)
    with pytest.raises(ValueError, match=r"texts\[0\] has 32 tokens, the model takes 16"):
        predict(model, tokenizer, ["fine film " * 15], on_long="error")


def test_a_script_that_the_tokenizer_does_not_know_is_warned_of(bert: Pretrained) -> None:
    with pytest.warns(UserWarning, match="text 1: 100% of its tokens"):
        predict(*bert, ["the film", "很好 看"])


def test_a_text_that_is_none_is_named(bert: Pretrained, unchecked: None) -> None:
    with pytest.raises(TypeError, match=r"texts\[1\] is None"):
        predict(*bert, ["a", None])  # type: ignore[list-item]


# Features


def test_features_are_the_mean_over_the_texts_own_tokens(bert: Pretrained) -> None:
    model, tokenizer = bert
    alone = [model.base_model(**tokenizer(t, return_tensors="pt")).last_hidden_state[0].mean(0).detach() for t in TEXTS]

    np.testing.assert_allclose(features(model, tokenizer, TEXTS, batch=5), torch.stack(alone), atol=1e-6)


def test_kept_features_are_not_computed_again(bert: Pretrained, monkeypatch: pytest.MonkeyPatch) -> None:
    model, tokenizer = bert
    first = features(model, tokenizer, TEXTS, keep=True)
    monkeypatch.setattr(prediction, "encode", lambda *_, **__: pytest.fail("encoded again"))

    np.testing.assert_array_equal(features(model, tokenizer, TEXTS, keep=True), first)
    assert len(list((runtime.home() / "features").iterdir())) == 1


@pytest.mark.parametrize("change", ["weights", "texts", "length"])
def test_kept_features_are_of_the_same_weights_and_texts(bert: Pretrained, change: str) -> None:
    model, tokenizer = bert
    texts = TEXTS[:5]
    before = features(model, tokenizer, texts, keep=True)
    if change == "weights":
        next(model.base_model.parameters()).data += 0.5
    elif change == "texts":
        texts = TEXTS[1:6]
    else:
        tokenizer.model_max_length = 3

    with pytest.warns(UserWarning, match="too long") if change == "length" else nullcontext():
        assert not np.allclose(features(model, tokenizer, texts, keep=True), before)


def test_a_linear_head_learns_from_features_alone(bert: Pretrained) -> None:
    train, test = tiny.reviews(80), tiny.reviews(40, seed=1)
    head = linear_head(features(*bert, [e.text for e in train]), [e.label for e in train])

    right = [head.score(features(*bert, [e.text for e in some]), [e.label for e in some]) for some in (train, test)]

    assert min(right) > 0.65  # of two classes; the body is random
    with pytest.raises(ValueError, match="strength is 0.0"):
        linear_head(np.zeros((2, 2), dtype=np.float32), [0, 1], strength=0.0)


# Language models


def test_the_surprise_is_the_models_own_loss_a_token(gpt2_language_model: Pretrained) -> None:
    model, tokenizer = gpt2_language_model
    total, count = nats(model, tokenizer, TEXTS[:6], batch=4)
    losses = []
    for text in TEXTS[:6]:
        ids = torch.tensor([[*tokenizer(text)["input_ids"], tokenizer.eos_token_id]])
        loss = model(ids, attention_mask=torch.ones_like(ids), labels=ids).loss
        losses.append((loss.item() * (ids.shape[1] - 1), ids.shape[1] - 1))

    assert count == sum(tokens for _, tokens in losses)
    assert total == pytest.approx(sum(loss for loss, _ in losses), rel=1e-5)


def test_the_end_of_a_text_is_scored_though_it_pads_too(gpt2_language_model: Pretrained) -> None:
    _, tokenizer = gpt2_language_model
    rows = pieces(tokenizer, ["the film", "a"], length=16)

    assert [row[-1] for row in rows] == [tokenizer.eos_token_id] * 2
    assert labelled(rows).tolist() == [[-100, rows[0][1], 3], [-100, 3, -100]]


def test_a_long_text_is_learnt_in_pieces_and_a_single_token_left_out(gpt2_language_model: Pretrained) -> None:
    _, tokenizer = gpt2_language_model

    assert [len(row) for row in pieces(tokenizer, ["film " * 9], length=4)] == [4, 4, 2]
    assert [len(row) for row in pieces(tokenizer, ["film " * 8], length=4)] == [4, 4]


def test_nothing_to_predict_is_an_error(gpt2_language_model: Pretrained) -> None:
    with pytest.raises(ValueError, match="0 texts, and no token to predict"):
        nats(*gpt2_language_model, [])


def test_encoding_keeps_to_the_limit(bert: Pretrained) -> None:
    _, tokenizer = bert
    with pytest.warns(UserWarning, match="the model takes 4"):
        assert all(len(row) <= 4 and row[-1] == tokenizer.sep_token_id for row in encode(tokenizer, TEXTS, limit=4))
