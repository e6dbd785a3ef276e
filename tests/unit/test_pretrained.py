"""Pretrained: a checkpoint that does not fit is refused, and what is saved opens in plain `transformers`."""

import errno
import json
import shutil
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    BertForSequenceClassification,
    PreTrainedModel,
)

from llmguide.checkpoints import CONFIG, WEIGHTS, WEIGHTS_HASH
from llmguide.pretrained import classifier, encoder, encoder_decoder, head_of, language_model, load_classifier, save
from tests.unit import tiny

PADS = "no padding token: '\\[SEP\\]', the end token, pads"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tiny.encoder_folder(tmp_path / "encoder")


@pytest.fixture
def trained(folder: Path, tmp_path: Path) -> Path:
    return save(*classifier(folder, tiny.LABELS), tmp_path / "trained")


def test_an_encoder_becomes_a_classifier_of_the_named_classes(folder: Path) -> None:
    model, tokenizer = classifier(folder, ["a", "b", "c"])

    assert isinstance(model, BertForSequenceClassification)
    assert model.config.id2label == {0: "a", 1: "b", 2: "c"}
    assert model.config.label2id == {"a": 0, "b": 1, "c": 2}
    assert model.get_submodule("classifier").get_parameter("weight").shape == (3, 16)
    assert not model.training
    assert tokenizer.pad_token_id == model.config.pad_token_id
    torch.testing.assert_close(model.base_model.state_dict(), encoder(folder)[0].state_dict())


def test_a_decoder_becomes_a_classifier_that_pads_with_its_end_token(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match=PADS):
        model, tokenizer = classifier(tiny.decoder_folder(tmp_path), tiny.LABELS)

    assert model.config.pad_token_id == tokenizer.pad_token_id == tokenizer.eos_token_id


def test_what_is_saved_opens_in_plain_transformers_and_in_ours(trained: Path, folder: Path) -> None:
    ours = load_classifier(trained)[0]
    theirs = AutoModelForSequenceClassification.from_pretrained(trained)

    torch.testing.assert_close(ours.state_dict(), theirs.state_dict(), rtol=0, atol=0)
    assert theirs.config.id2label == dict(enumerate(tiny.LABELS))
    text = "the film is fine"
    assert AutoTokenizer.from_pretrained(trained)(text) == AutoTokenizer.from_pretrained(folder)(text)
    assert (trained / WEIGHTS_HASH).read_text(encoding="utf-8").endswith(f"  {WEIGHTS}\n")


def test_a_language_model_makes_the_round_trip_with_its_tied_weights(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match=PADS):
        model, tokenizer = language_model(tiny.decoder_folder(tmp_path / "decoder"))

    theirs = AutoModelForCausalLM.from_pretrained(save(model, tokenizer, tmp_path / "saved"))

    torch.testing.assert_close(model.state_dict(), theirs.state_dict(), rtol=0, atol=0)


# Refused, not filled with random weights


def test_a_checkpoint_of_another_kind_is_refused(folder: Path, tmp_path: Path) -> None:
    settings = json.loads((tiny.decoder_folder(tmp_path / "decoder") / CONFIG).read_text(encoding="utf-8"))
    (folder / CONFIG).write_text(json.dumps(settings), encoding="utf-8")

    with pytest.raises(ValueError, match="no tensor of this checkpoint fits a GPT2LMHeadModel"):
        language_model(folder)


def test_an_encoder_is_no_language_model(folder: Path) -> None:
    with pytest.raises(ValueError, match=r"lacks \d+ tensors of a BertLMHeadModel .*which would be random"):
        language_model(folder)


def test_an_encoder_without_a_head_is_no_finished_classifier(folder: Path) -> None:
    with pytest.raises(ValueError, match=r"has no head .* a new head would answer by chance, train before use"):
        load_classifier(folder)


def test_a_missing_tensor_is_named(folder: Path) -> None:
    tensors = load_file(folder / WEIGHTS)
    del tensors["encoder.layer.1.output.dense.bias"]
    save_file(tensors, folder / WEIGHTS, metadata={"format": "pt"})

    with pytest.raises(ValueError, match=r"lacks 1 tensors .*encoder\.layer\.1\.output\.dense\.bias"):
        classifier(folder, tiny.LABELS)


def test_a_tensor_of_another_shape_is_named(folder: Path) -> None:
    settings = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    (folder / CONFIG).write_text(json.dumps(settings | {"intermediate_size": 31}), encoding="utf-8")

    with pytest.raises(ValueError, match=r"has shape \(32,\), its config.json says \(31,\)"):
        classifier(folder, tiny.LABELS)


def test_a_head_of_another_size_is_named_with_both(trained: Path) -> None:
    with pytest.raises(ValueError, match=r"a head for 2 classes \(negative, positive\), asked for 3 \(a, b, c\)"):
        classifier(trained, ["a", "b", "c"])


def test_a_head_for_other_classes_is_named(trained: Path) -> None:
    with pytest.raises(ValueError, match="a head for negative, positive, asked for ham, spam"):
        classifier(trained, ["ham", "spam"])


@pytest.mark.parametrize("labels", [["ham", "spam"], ["a", "b", "c"]])
def test_a_head_for_other_classes_is_replaced_on_request(trained: Path, labels: list[str]) -> None:
    (before,), (after,) = (
        head_of(model) for model in (load_classifier(trained)[0], classifier(trained, labels, new_head=True)[0])
    )

    assert after.get_parameter("weight").shape[0] == len(labels)
    assert not torch.equal(after.get_parameter("weight")[:2], before.get_parameter("weight"))


def test_a_head_for_the_same_classes_is_kept(trained: Path) -> None:
    torch.testing.assert_close(
        classifier(trained, tiny.LABELS)[0].state_dict(), load_classifier(trained)[0].state_dict()
    )


@pytest.mark.parametrize("labels", [["one"], ["a", "a"], []])
def test_fewer_than_two_classes_are_refused(folder: Path, labels: list[str]) -> None:
    with pytest.raises(ValueError, match="give two or more different names"):
        classifier(folder, labels)


def test_nan_in_the_weights_is_found(folder: Path) -> None:
    tensors = load_file(folder / WEIGHTS)
    tensors["pooler.dense.bias"][3] = torch.nan
    save_file(tensors, folder / WEIGHTS, metadata={"format": "pt"})

    with pytest.raises(ValueError, match="tensor pooler.dense.bias holds NaN"):
        classifier(folder, tiny.LABELS)


def test_a_flipped_byte_is_found(trained: Path) -> None:
    data = bytearray((trained / WEIGHTS).read_bytes())
    data[-5] ^= 1
    (trained / WEIGHTS).write_bytes(data)

    with pytest.raises(ValueError, match="has SHA-256 .* expected .* fetch it again"):
        load_classifier(trained)


def test_a_tokenizer_larger_than_the_model_is_refused(folder: Path) -> None:
    larger = tiny.tokenizer()
    larger.add_tokens([f"new{number}" for number in range(5)])
    larger.save_pretrained(folder)
    rows = len(tiny.WORDS)

    with pytest.raises(ValueError, match=f"tokenizer has {rows + 5} entries, model {rows}"):
        classifier(folder, tiny.LABELS)


def test_a_tokenizer_smaller_than_the_model_is_warned_of(folder: Path) -> None:
    path = folder / "tokenizer.json"
    settings = json.loads(path.read_text(encoding="utf-8"))
    del settings["model"]["vocab"]["camera"]
    path.write_text(json.dumps(settings), encoding="utf-8")

    with pytest.warns(UserWarning, match=r"tokenizer has 22 entries, model 23: is it the tokenizer of this model\?"):
        classifier(folder, tiny.LABELS)


def test_a_folder_without_a_tokenizer_is_refused(folder: Path) -> None:
    (folder / "tokenizer.json").unlink()

    with pytest.raises(FileNotFoundError, match="has no tokenizer"):
        classifier(folder, tiny.LABELS)


def test_a_kind_of_model_that_is_not_known_is_named_with_the_version(folder: Path) -> None:
    (folder / CONFIG).write_text('{"model_type": "bertissimo"}', encoding="utf-8")

    with pytest.raises(ValueError, match=r"describes no model that transformers 5\.\d+\.\d+ knows"):
        classifier(folder, tiny.LABELS)


def test_a_mistyped_folder_is_called_missing(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"folder .*nowhere does not exist"):
        classifier(tmp_path / "nowhere", tiny.LABELS)


# Saving loses nothing


@pytest.mark.parametrize(
    ("raised", "said"),
    [
        (
            SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)"),
            "disk .* is full",
        ),
        (OSError(errno.ENOSPC, "No space left on device"), "disk .* is full; the previous file is kept"),
        (KeyboardInterrupt(), None),
        (OSError(errno.EROFS, "Read-only file system"), "cannot be written; .*LLMGUIDE_HOME"),
    ],
)
def test_an_interrupted_save_keeps_what_was_there(
    trained: Path, monkeypatch: pytest.MonkeyPatch, raised: BaseException, said: str | None
) -> None:
    before = {path.name: path.read_bytes() for path in trained.iterdir()}
    model, tokenizer = classifier(trained, ["ham", "spam"], new_head=True)

    def fail(self: PreTrainedModel, place: Path, **settings: Any) -> None:
        place.mkdir()
        (place / WEIGHTS).write_bytes(b"half of")
        raise raised

    monkeypatch.setattr(PreTrainedModel, "save_pretrained", fail)
    with pytest.raises(OSError if isinstance(raised, Exception) else KeyboardInterrupt, match=said):
        save(model, tokenizer, trained)

    assert {path.name: path.read_bytes() for path in trained.iterdir()} == before


def test_a_save_removes_what_a_killed_one_left(trained: Path, folder: Path) -> None:
    shutil.copytree(folder, trained / "new.llmguide-tmp")

    save(*load_classifier(trained), trained)

    assert not list(trained.glob("*tmp*"))


def test_a_model_with_nan_is_not_saved(trained: Path) -> None:
    model, tokenizer = load_classifier(trained)
    model.get_parameter("classifier.bias").data[0] = torch.nan

    with pytest.raises(ValueError, match="classifier.bias holds NaN or infinity; the model is not saved"):
        save(model, tokenizer, trained)
    assert load_classifier(trained)[0].get_parameter("classifier.bias").isfinite().all()


def test_loading_and_saving_say_nothing(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        save(*classifier(trained, ["a", "b", "c"], new_head=True), trained)

    assert capsys.readouterr() == ("", "")


def test_an_encoder_decoder_of_another_kind_is_refused(tmp_path: Path) -> None:
    folder = tiny.encoder_folder(tmp_path / "bert")

    with pytest.raises(ValueError, match="holds no encoder-decoder; give a BART, a T5"):
        encoder_decoder(folder)


def test_an_encoder_decoder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="nowhere is no folder with a sequence-to-sequence model"):
        encoder_decoder(tmp_path / "nowhere")
