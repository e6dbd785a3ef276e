"""Fine-tuning: it learns, both loops learn the same, and a fault of the data is named before anything moves."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForSequenceClassification, pipeline

from llmguide.adapters import merge, trainable_share
from llmguide.corpora import Example
from llmguide.finetuning import add_low_rank, fit_classifier, train_classifier, train_language_model
from llmguide.prediction import nats, predict
from llmguide.pretrained import Pretrained, classifier, language_model, save
from llmguide.recipes import Recipe
from llmguide.training import Diverged
from tests.unit import tiny

TRAIN, DEV = tiny.reviews(48), tiny.reviews(20, seed=1)
RECIPE = Recipe(epochs=6, batch=8, learning_rate=1e-2)
BOTH = pytest.mark.parametrize("train", [train_classifier, fit_classifier])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.encoder_folder(tmp_path_factory.mktemp("encoder"))


def fresh(folder: Path) -> Pretrained:
    torch.manual_seed(0)
    return classifier(folder, tiny.LABELS)


def right(pretrained: Pretrained, examples: list[Example]) -> float:
    answers = predict(*pretrained, [example.text for example in examples])
    return float(np.mean(answers.labels == [example.label for example in examples]))


@BOTH
def test_a_classifier_learns_and_is_left_in_evaluation_mode(folder: Path, train: Any) -> None:
    model = fresh(folder)

    history = train(*model, TRAIN, RECIPE, dev=DEV)

    assert right(model, DEV) >= 0.9
    assert history.evaluations[-1][1] < history.evaluations[0][1] < 1
    assert not any(module.training for module in model[0].modules())


def test_both_loops_give_the_same_numbers(folder: Path) -> None:
    by_trainer, by_hand = fresh(folder), fresh(folder)

    theirs, ours = (
        train(*model, TRAIN, RECIPE, dev=DEV)
        for train, model in ((train_classifier, by_trainer), (fit_classifier, by_hand))
    )

    np.testing.assert_allclose(ours.losses, theirs.losses, rtol=1e-3)
    np.testing.assert_allclose(ours.gradient_norms, theirs.gradient_norms, rtol=1e-3)
    np.testing.assert_allclose(ours.evaluations, theirs.evaluations, rtol=1e-3)


@BOTH
def test_what_is_frozen_does_not_move(folder: Path, train: Any) -> None:
    model, tokenizer = fresh(folder)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}

    train(model, tokenizer, TRAIN, Recipe(epochs=1, batch=8, layers=1))

    moved = {name for name, tensor in model.state_dict().items() if not torch.equal(tensor, before[name])}
    assert moved
    assert all(name.startswith(("bert.encoder.layer.1.", "bert.pooler.", "classifier.")) for name in moved)


def test_the_seed_fixes_a_run_and_another_gives_another(folder: Path) -> None:
    first, again, other = (
        train_classifier(*fresh(folder), TRAIN, Recipe(epochs=1, batch=8, seed=seed)) for seed in (0, 0, 1)
    )

    assert first == again
    assert first != other


def test_lora_trains_alone_and_merges_into_a_plain_model(folder: Path, tmp_path: Path) -> None:
    model, tokenizer = fresh(folder)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    assert len(add_low_rank(model, rank=4)) == 12  # six maps in two blocks
    share = trainable_share(model)

    train_classifier(model, tokenizer, TRAIN, Recipe(epochs=8, batch=8, learning_rate=3e-2))

    assert trainable_share(model) == share < 0.5
    frozen = model.get_submodule("bert.encoder.layer.0.attention.self.query").base.get_parameter("weight")  # type: ignore[union-attr, operator]
    assert torch.equal(frozen, before["bert.encoder.layer.0.attention.self.query.weight"])
    answers = predict(model, tokenizer, [e.text for e in DEV])
    merge(model)
    place = save(model, tokenizer, tmp_path / "merged")
    plain = AutoModelForSequenceClassification.from_pretrained(place)
    np.testing.assert_allclose(
        predict(plain, tokenizer, [e.text for e in DEV]).probabilities, answers.probabilities, atol=1e-5
    )
    assert right((plain, tokenizer), DEV) > 0.75


def test_a_saved_classifier_answers_in_the_pipeline_of_transformers(folder: Path, tmp_path: Path) -> None:
    model = fresh(folder)
    train_classifier(*model, TRAIN, RECIPE)
    place = save(*model, tmp_path / "saved")

    said = pipeline("text-classification", model=str(place), device="cpu")(["the film is dull", "the song is lovely"])

    assert [answer["label"] for answer in said] == ["negative", "positive"]


def test_later_texts_are_cut_as_the_training_texts_were(folder: Path, tmp_path: Path) -> None:
    model, tokenizer = fresh(folder)
    with pytest.warns(UserWarning, match="the model takes 5"):
        train_classifier(model, tokenizer, TRAIN, Recipe(epochs=1, batch=8, length=5))

    assert tokenizer.model_max_length == 5


# A language model


@pytest.fixture
def gpt2(tmp_path: Path) -> Pretrained:
    with pytest.warns(UserWarning, match="no padding token"):
        return language_model(tiny.decoder_folder(tmp_path))


def test_a_language_model_learns_its_texts_and_their_end(gpt2: Pretrained) -> None:
    model, tokenizer = gpt2
    texts, held_out = ([example.text for example in some] for some in (TRAIN, DEV))
    before = nats(model, tokenizer, held_out)

    history = train_language_model(
        model, tokenizer, texts, Recipe(epochs=10, batch=8, learning_rate=1e-2), dev=held_out
    )

    after = nats(model, tokenizer, held_out)
    assert before[0] / before[1] > math.log(len(tiny.WORDS)) * 0.9
    assert after[0] / after[1] < 1.3  # ln 7 for a noun, ln 8 for what is said of it, and hardly anything for the rest
    assert history.evaluations[-1][1] == pytest.approx(after[0] / after[1], rel=0.02)
    ids = tokenizer("the film is", return_tensors="pt")
    written = model.generate(**ids, max_new_tokens=9, do_sample=False)[0].tolist()
    assert written[-1] == tokenizer.eos_token_id or "and" in tokenizer.decode(written)
    assert not model.training


def test_a_language_model_shifts_its_labels_once(gpt2: Pretrained) -> None:
    """The loss of the first step is that of the untouched model: no copy task, no double shift."""
    model, tokenizer = gpt2
    texts = [example.text for example in TRAIN[:8]]
    total, count = nats(model, tokenizer, texts)

    history = train_language_model(model, tokenizer, texts, Recipe(epochs=1, batch=8))

    assert history.losses[0] == pytest.approx(total / count, rel=1e-5)


def test_a_language_model_needs_a_word(gpt2: Pretrained) -> None:
    with pytest.raises(ValueError, match="0 texts, and no token to predict"):
        train_language_model(*gpt2, [])


# Faults of the data: named before anything moves


@BOTH
@pytest.mark.parametrize(
    ("rows", "error", "said"),
    [
        ([("a", 0), ("the", 1), ("is", 7)], ValueError, r"row 2: label 7, allowed 0\.\.1"),
        ([("a", 0), ("the", -1)], ValueError, r"row 1: label -1, allowed 0\.\.1"),
        ([("a", -100), ("the", -100)], ValueError, "no labelled rows"),
        ([("a", 1), ("the", 1)], ValueError, r"only one class \(positive\)"),
        ([("a", 1.0), ("the", 0.0)], TypeError, r"row 0: label 1\.0 is of type float"),
        ([("a", 0), (None, 1)], TypeError, r"texts\[1\] is None"),
        ([("a", 0), (math.nan, 1)], TypeError, r"texts\[1\] is NaN"),
        ([], ValueError, "no labelled rows"),
    ],
)
def test_a_fault_is_named_and_nothing_is_lost(
    folder: Path,
    tmp_path: Path,
    train: Any,
    rows: list[tuple[Any, Any]],
    error: type[Exception],
    said: str,
    unchecked: None,
) -> None:
    model, tokenizer = fresh(folder)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}

    with pytest.raises(error, match=said):
        train(model, tokenizer, [Example(text, label) for text, label in rows], RECIPE, folder=tmp_path / "run")

    torch.testing.assert_close(model.state_dict(), before, rtol=0, atol=0)
    assert not (tmp_path / "run").exists()


@BOTH
def test_names_of_classes_are_labels_too(folder: Path, train: Any, unchecked: None) -> None:
    named = [Example(e.text, tiny.LABELS[e.label]) for e in TRAIN]  # type: ignore[arg-type]
    recipe = Recipe(epochs=1, batch=8)

    assert train(*fresh(folder), named, recipe) == train(*fresh(folder), TRAIN, recipe)


@BOTH
def test_a_rate_that_is_far_too_high_ends_as_diverged_or_finite(folder: Path, train: Any) -> None:
    model, tokenizer = fresh(folder)
    with pytest.raises(Diverged, match="Try a lower learning rate"):
        train(model, tokenizer, TRAIN, Recipe(epochs=9, batch=8, learning_rate=1e30, warmup=0.0))

    assert all(not torch.isnan(parameter).all() for parameter in model.parameters())


@BOTH
def test_patience_needs_something_to_judge_by(folder: Path, train: Any) -> None:
    with pytest.raises(ValueError, match="patience is 2, and there are no dev texts"):
        train(*fresh(folder), TRAIN, Recipe(patience=2))


def test_the_plain_loop_has_one_rate(folder: Path) -> None:
    with pytest.raises(ValueError, match=r"layer_decay is 0\.9; the plain loop has one rate"):
        fit_classifier(*fresh(folder), TRAIN, Recipe(layer_decay=0.9))
