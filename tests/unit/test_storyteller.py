"""Storyteller: what is shipped is what was trained, opens everywhere, and is close to the world."""

import re
from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from statistics import mean

import pytest
import torch
from torch import nn
from transformers import AutoModelForCausalLM, AutoTokenizer

from llmguide import storyteller, telling
from llmguide.generation import greedy
from llmguide.losses import next_token_loss
from llmguide.training import TrainingConfig


def test_the_shipped_model_gives_the_same_logits_in_transformers() -> None:
    model, words = storyteller.load()
    theirs = AutoModelForCausalLM.from_pretrained(storyteller.folder())
    ids = torch.tensor([storyteller.encode(words, telling.sample(seed=3)[0].text)])

    with torch.no_grad():
        torch.testing.assert_close(model(ids), theirs(ids).logits, rtol=0, atol=1e-4)


def test_the_shipped_tokenizer_opens_in_transformers() -> None:
    words, theirs = storyteller.tokenizer(), AutoTokenizer.from_pretrained(storyteller.folder())
    text = telling.sample(seed=4)[0].text

    assert theirs(text).input_ids == words.encode(text)
    assert [theirs.bos_token_id, theirs.eos_token_id, theirs.pad_token_id] == list(words.special.values())


def test_transformers_knows_where_a_story_ends() -> None:
    theirs = AutoModelForCausalLM.from_pretrained(storyteller.folder())

    assert theirs.generation_config.eos_token_id == storyteller.tokenizer().special[storyteller.END]


def test_the_card_says_how_close_the_shipped_model_is_to_its_world() -> None:
    model, words = storyteller.load()
    card = (storyteller.folder() / "README.md").read_text(encoding="utf-8")
    promised = float(re.search(r"gap \| ([\d.]+) nats", card)[1])  # type: ignore[index]

    measured = storyteller.report(model, words, first=storyteller.FIRST_TEST_SEED, stories=200)

    assert measured.gap == pytest.approx(promised, abs=0.01)
    assert promised < 0.02


def test_a_story_begins_and_ends() -> None:
    model, words = storyteller.load()
    start, end = words.special[storyteller.START], words.special[storyteller.END]

    ids = greedy(model, torch.tensor([[start]]), max_new_tokens=200, stop=end)[0].tolist()

    assert ids[-1] == end
    assert words.decode(ids).split()[-1].endswith(".")


def test_a_score_counts_tokens_and_leaves_padding_out() -> None:
    model, words = storyteller.load()
    long, short = ([0, *words.encode(text), 1] for text in ("Ada was at the mill. She felt calm.", "Tom ran."))

    with torch.no_grad():
        together, count = storyteller.score(model, [long, short])
        alone = sum(
            next_token_loss(model(torch.tensor([ids])), torch.tensor([ids])) * (len(ids) - 1) for ids in (long, short)
        )

    assert count == len(long) + len(short) - 2
    torch.testing.assert_close(together, alone)


def test_pretraining_writes_a_folder_that_opens_and_a_card_with_what_was_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LLMGUIDE_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(storyteller, "VOCABULARY_STORIES", 50)

    measured = storyteller.pretrain(tmp_path / "model", [TrainingConfig(steps=2, warmup=1)], test_stories=3)

    assert AutoTokenizer.from_pretrained(tmp_path / "model").pad_token == storyteller.PADDING
    assert AutoModelForCausalLM.from_pretrained(tmp_path / "model").generation_config.bos_token_id == 0
    assert f"{measured.loss:.4f} nats" in (tmp_path / "model" / "README.md").read_text(encoding="utf-8")
    assert not list((tmp_path / "home").rglob("*.safetensors"))  # the state of the run is gone with the run


def test_short_stories_come_first_twice_as_many_a_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LLMGUIDE_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(storyteller, "VOCABULARY_STORIES", 50)
    score, batches = storyteller.score, []

    def watched(model: nn.Module, texts: Sequence[Sequence[int]]) -> tuple[torch.Tensor, int]:
        batches.append([len(text) for text in texts])
        return score(model, texts)

    monkeypatch.setattr(storyteller, "score", watched)
    cycles = [TrainingConfig(steps=10, warmup=1), TrainingConfig(steps=2)]
    storyteller.pretrain(tmp_path / "model", cycles, test_stories=1)

    short, long = batches[:8], batches[8:12]
    assert [len(batch) for batch in (*short, *long)] == [2 * storyteller.ROWS] * 8 + [storyteller.ROWS] * 4
    assert mean(chain(*short)) < mean(chain(*long))
    card = (tmp_path / "model" / "README.md").read_text(encoding="utf-8")
    assert "10 and 2 steps, the first 8 on short stories" in card
    assert f"{sum(map(len, batches[:12])):,} stories" in card


def test_no_story_is_read_in_two_cycles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LLMGUIDE_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(storyteller, "VOCABULARY_STORIES", 50)
    monkeypatch.setattr(storyteller, "SHORT_SHARE", 0.0)  # short stories may well be told twice
    score, read = storyteller.score, []

    def watched(model: nn.Module, texts: Sequence[Sequence[int]]) -> tuple[torch.Tensor, int]:
        read.extend(map(tuple, texts))
        return score(model, texts)

    monkeypatch.setattr(storyteller, "score", watched)
    storyteller.pretrain(tmp_path / "model", [TrainingConfig(steps=3), TrainingConfig(steps=9)], test_stories=1)

    read = read[: 12 * storyteller.ROWS]
    assert len(set(read)) == len(read)


def test_pretraining_needs_a_cycle(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="cycles is empty; give at least one TrainingConfig"):
        storyteller.pretrain(tmp_path / "model", [])


@pytest.mark.parametrize("interruption", [2, 4], ids=["in the first cycle", "in the second cycle"])
def test_an_interrupted_pretraining_goes_on(interruption: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storyteller, "VOCABULARY_STORIES", 50)
    config, weights = TrainingConfig(steps=3, save_every=1, warmup=1), []
    score = storyteller.score
    for name, stops in (("whole", 99), ("interrupted", interruption)):
        monkeypatch.setenv("LLMGUIDE_HOME", str(tmp_path / name))
        calls = iter(range(100))

        def score_until(*arguments: object, stops: int = stops, calls: "object" = calls) -> object:
            if next(calls) == stops:  # type: ignore[call-overload]
                raise KeyboardInterrupt
            return score(*arguments)  # type: ignore[arg-type]

        monkeypatch.setattr(storyteller, "score", score_until)
        if stops < 99:
            with pytest.raises(KeyboardInterrupt):
                storyteller.pretrain(tmp_path / f"{name}-model", [config, config], test_stories=1)
            monkeypatch.setattr(storyteller, "score", score)
        storyteller.pretrain(tmp_path / f"{name}-model", [config, config], test_stories=1)
        weights.append((tmp_path / f"{name}-model" / "model.safetensors").read_bytes())

    assert weights[0] == weights[1]
