"""The Trainer's run: a stop before ruin, a run that goes on, nothing printed, no stray folder."""

import contextlib
import json
import shutil
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import PreTrainedModel

from llmguide import trainer
from llmguide.finetuning import train_classifier
from llmguide.prediction import predict
from llmguide.pretrained import Pretrained, classifier
from llmguide.recipes import Recipe
from llmguide.training import Diverged
from tests.unit import tiny

TRAIN, DEV = tiny.reviews(40), tiny.reviews(12, seed=1)
RECIPE = Recipe(epochs=3, batch=8, learning_rate=3e-3)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tiny.encoder_folder(tmp_path / "encoder", dropout=0.1)


def fresh(folder: Path) -> Pretrained:
    torch.manual_seed(0)
    return classifier(folder, tiny.LABELS)


class Cut(Exception):
    """The lights go out."""


@contextlib.contextmanager
def cut_after(step: int) -> Iterator[None]:
    log = trainer._Watch.on_log

    def stop(self: Any, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        log(self, args, state, control, **kwargs)
        if state.global_step == step:
            raise Cut

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trainer._Watch, "on_log", stop)
        yield


def test_a_run_that_was_cut_goes_on_to_the_same_end(folder: Path, tmp_path: Path) -> None:
    whole, cut = fresh(folder), fresh(folder)
    straight = train_classifier(*whole, TRAIN, RECIPE, dev=DEV, folder=tmp_path / "whole")
    with cut_after(12), pytest.raises(Cut):
        train_classifier(*cut, TRAIN, RECIPE, dev=DEV, folder=tmp_path / "cut")

    again = fresh(folder)
    history = train_classifier(*again, TRAIN, RECIPE, dev=DEV, folder=tmp_path / "cut")

    assert history == straight
    torch.testing.assert_close(again[0].state_dict(), whole[0].state_dict(), rtol=0, atol=0)


def test_a_half_written_state_is_passed_over(folder: Path, tmp_path: Path) -> None:
    model, tokenizer = fresh(folder)
    straight = train_classifier(model, tokenizer, TRAIN, RECIPE, folder=tmp_path / "run")
    newest = tmp_path / "run" / "checkpoint-99"
    shutil.copytree(tmp_path / "run" / "checkpoint-15", newest)
    (newest / trainer.STATE).write_text('{"epoch": ', encoding="utf-8")

    assert train_classifier(*fresh(folder), TRAIN, RECIPE, folder=tmp_path / "run") == straight


def test_a_full_disk_is_named_and_the_last_whole_state_goes_on(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    straight = train_classifier(*fresh(folder), TRAIN, RECIPE, folder=tmp_path / "whole")
    write, calls = torch.save, [0]

    def fail(*what: Any, **how: Any) -> None:
        calls[0] += 1
        if calls[0] > 4:  # in the second state
            raise RuntimeError("[enforce fail at inline_container.cc:664] . unexpected pos 128 vs 22")
        write(*what, **how)

    monkeypatch.setattr(torch, "save", fail)
    with pytest.raises(OSError, match=r"the disk of .*run is full; the last whole state is kept"):
        train_classifier(*fresh(folder), TRAIN, RECIPE, folder=tmp_path / "run")
    monkeypatch.undo()

    states = (tmp_path / "run").glob("checkpoint-*/")
    assert [state.name for state in states if trainer._is_whole(state)] == ["checkpoint-5"]
    assert train_classifier(*fresh(folder), TRAIN, RECIPE, folder=tmp_path / "run") == straight


def test_a_folder_of_another_run_is_refused(folder: Path, tmp_path: Path) -> None:
    train_classifier(*fresh(folder), TRAIN, RECIPE, folder=tmp_path / "run")

    with pytest.raises(ValueError, match="a run with other settings: batch was 8, is 4. Choose another folder"):
        train_classifier(*fresh(folder), TRAIN, Recipe(epochs=3, batch=4, learning_rate=3e-3), folder=tmp_path / "run")
    with pytest.raises(ValueError, match="other settings: data was"):
        train_classifier(*fresh(folder), TRAIN[:32], RECIPE, folder=tmp_path / "run")


@pytest.mark.parametrize("where", ["loss", "gradient"])
def test_a_number_that_is_not_finite_stops_the_run_before_the_update(
    folder: Path, tmp_path: Path, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, tokenizer = fresh(folder)
    good: dict[str, torch.Tensor] = {}
    begin = trainer._Watch.on_step_begin

    def ruin(self: Any, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        begin(self, args, state, control, **kwargs)
        if state.global_step == 6:
            good.update({name: tensor.clone() for name, tensor in model.state_dict().items()})
            if where == "loss":
                monkeypatch.setattr(model, "forward", lambda **inputs: broken(model, **inputs))
            else:
                model.get_parameter("classifier.bias").register_hook(lambda gradient: gradient * torch.nan)

    def broken(model: PreTrainedModel, **inputs: Any) -> Any:
        outputs = type(model).forward(model, **inputs)
        outputs.logits = outputs.logits * torch.nan
        return outputs

    monkeypatch.setattr(trainer._Watch, "on_step_begin", ruin)
    with pytest.raises(Diverged, match=r"step 7: .*nan; .* before this step. Try a lower learning rate"):
        train_classifier(model, tokenizer, TRAIN, RECIPE, folder=tmp_path / "run")

    torch.testing.assert_close(model.state_dict(), good, rtol=0, atol=0)
    assert (tmp_path / "run" / "checkpoint-5" / trainer.STATE).is_file()


def test_patience_stops_the_run_and_keeps_the_best(folder: Path) -> None:
    model, tokenizer = fresh(folder)
    recipe = Recipe(epochs=12, batch=8, learning_rate=0.1, warmup=0.0, patience=2)

    history = train_classifier(model, tokenizer, TRAIN, recipe, dev=DEV)

    losses = [loss for _, loss in history.evaluations]
    assert len(losses) < 12
    assert len(losses) - 1 - losses.index(min(losses)) == 2
    probabilities = predict(model, tokenizer, [e.text for e in DEV]).probabilities
    kept = -sum(float(torch.tensor(p[e.label]).log()) for p, e in zip(probabilities, DEV, strict=True)) / len(DEV)
    assert kept == pytest.approx(history.best, rel=1e-3)


def test_without_a_folder_nothing_is_left_behind(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.rglob("*"))

    train_classifier(*fresh(folder), TRAIN, RECIPE)

    assert sorted(tmp_path.rglob("*")) == before


def test_a_run_says_nothing_unless_asked(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        train_classifier(*fresh(folder), TRAIN, RECIPE, dev=DEV, folder=tmp_path / "run")
    assert capsys.readouterr() == ("", "")

    history = train_classifier(*fresh(folder), TRAIN, RECIPE, dev=DEV, progress=True)
    out, err = capsys.readouterr()
    assert out == ""
    assert f"step 15: dev loss {history.evaluations[-1][1]:.3f}" in err
    assert "15/15" in err


def test_the_history_has_every_step_and_every_epoch(folder: Path) -> None:
    history = train_classifier(*fresh(folder), TRAIN, RECIPE, dev=DEV)

    assert len(history.losses) == len(history.gradient_norms) == 15
    assert [step for step, _ in history.evaluations] == [5, 10, 15]


def test_processes_that_cannot_share_a_batch_are_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "3")

    with pytest.raises(ValueError, match="a batch of 8 cannot be shared by 3 processes"):
        train_classifier(*fresh(folder), TRAIN, RECIPE)


def test_a_state_keeps_what_its_run_was_made_with(folder: Path, tmp_path: Path) -> None:
    train_classifier(*fresh(folder), TRAIN, RECIPE, folder=tmp_path / "run")

    assert json.loads((tmp_path / "run" / trainer.RUN).read_text(encoding="utf-8"))["learning_rate"] == 3e-3
