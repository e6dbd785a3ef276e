"""Sampling and beam search, held to `transformers` on the same weights."""

import pytest
import torch
from torch import Tensor
from transformers import GPT2Config, GPT2LMHeadModel
from transformers.generation.logits_process import (
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from llmguide.generation import beam, greedy, penalised, reshaped, sample
from llmguide.hub import decoder_from_hub
from llmguide.model import Decoder

B, T, V, NEW, END = 3, 5, 23, 11, 1


def _pair(seed: int) -> tuple[Decoder, GPT2LMHeadModel]:
    torch.manual_seed(seed)
    config = GPT2Config(
        vocab_size=V, n_positions=31, n_embd=12, n_layer=2, n_head=3, bos_token_id=0, eos_token_id=END, pad_token_id=2
    )
    theirs = GPT2LMHeadModel(config).double().eval()
    with torch.no_grad():
        for parameter in theirs.parameters():  # far from the start, so that continuations differ
            parameter.add_(0.3 * torch.randn_like(parameter))
    return decoder_from_hub(config.to_dict(), theirs.state_dict()).double().eval(), theirs


def _prompt(seed: int, *, rows: int = 1) -> Tensor:
    return torch.randint(3, V, (rows, T), generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(
    "settings", [{"temperature": 0.7, "top_k": 5}, {"temperature": 1.3, "top_p": 0.6}, {"top_k": 8, "top_p": 0.8}]
)
def test_reshaping_keeps_the_tokens_and_probabilities_that_transformers_keeps(
    settings: dict[str, float], generator: torch.Generator
) -> None:
    logits = torch.randn(B, V, generator=generator, dtype=torch.float64)
    expected = TemperatureLogitsWarper(settings.get("temperature", 1.0))(None, logits)
    if "top_k" in settings:
        expected = TopKLogitsWarper(settings["top_k"])(None, expected)
    if "top_p" in settings:
        expected = TopPLogitsWarper(settings["top_p"])(None, expected)

    torch.testing.assert_close(reshaped(logits, **settings), expected)


def test_the_repetition_penalty_equals_that_of_transformers(generator: torch.Generator) -> None:
    logits, ids = torch.randn(B, V, generator=generator), _prompt(0, rows=B)
    torch.testing.assert_close(penalised(logits, ids, penalty=1.7), RepetitionPenaltyLogitsProcessor(1.7)(ids, logits))


@pytest.mark.parametrize(
    "settings",
    [
        {"temperature": 0.7, "top_k": 7},
        {"top_p": 0.8, "repetition_penalty": 1.3},
        {"temperature": 1.2, "top_k": 9, "top_p": 0.9, "repetition_penalty": 1.5},
    ],
)
def test_generate_draws_from_the_tokens_and_probabilities_that_we_draw_from(settings: dict[str, float]) -> None:
    ours, theirs = _pair(6)
    prompt = _prompt(6, rows=B)
    wanted = theirs.generate(
        prompt,
        attention_mask=torch.ones_like(prompt),
        do_sample=True,
        max_new_tokens=NEW,
        eos_token_id=None,
        return_dict_in_generate=True,
        output_scores=True,
        **{"top_k": 0} | settings,
    )
    penalty = settings.get("repetition_penalty", 1.0)
    chain = {name: value for name, value in settings.items() if name != "repetition_penalty"}

    assert len(wanted.scores) == NEW
    for place, expected in enumerate(wanted.scores, start=T):
        ids = wanted.sequences[:, :place]
        with torch.no_grad():
            found = reshaped(penalised(ours(ids)[:, -1], ids, penalty=penalty), **chain)
        assert torch.equal(found.isfinite(), expected.isfinite())
        torch.testing.assert_close(found.softmax(-1), expected.softmax(-1).double(), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("seed", range(6))
def test_beam_search_finds_the_hypotheses_that_transformers_finds(seed: int) -> None:
    ours, theirs = _pair(seed)
    prompt = _prompt(seed)

    without = beam(ours, prompt, beams=4, max_new_tokens=NEW, stop=END, use_cache=False)
    found = beam(ours, prompt, beams=4, max_new_tokens=NEW, stop=END)
    expected = theirs.generate(
        prompt,
        attention_mask=torch.ones_like(prompt),
        num_beams=4,
        num_return_sequences=4,
        max_new_tokens=NEW,
        do_sample=False,
        early_stopping="never",
        length_penalty=0.0,  # the sum of log-probabilities decides
        return_dict_in_generate=True,
        output_scores=True,
    )

    assert [hypothesis.ids.tolist() for hypothesis in without] == [hypothesis.ids.tolist() for hypothesis in found]
    for hypothesis, ids, score in zip(found, expected.sequences, expected.sequences_scores, strict=True):
        assert hypothesis.ids.tolist() == ids[: len(hypothesis.ids)].tolist()
        assert hypothesis.log_probability == pytest.approx(float(score), abs=1e-4)  # theirs is float32


def test_one_beam_is_greedy() -> None:
    model, _ = _pair(0)
    (only,) = beam(model, _prompt(0), beams=1, max_new_tokens=NEW)
    assert only.ids.tolist() == greedy(model, _prompt(0), max_new_tokens=NEW)[0].tolist()


def test_a_wide_beam_finds_the_likeliest_text_there_is() -> None:
    model, _ = _pair(1)
    prompt, length = _prompt(1), 2
    texts = torch.cartesian_prod(torch.arange(V), torch.arange(V))  # every continuation of two tokens
    ids = torch.cat([prompt.expand(len(texts), -1), texts], dim=1)
    with torch.no_grad():
        scores = model(ids)[:, T - 1 : -1].log_softmax(-1).gather(-1, texts[..., None]).sum(dim=(1, 2))

    best = beam(model, prompt, beams=V, max_new_tokens=length)[0]

    assert best.log_probability == pytest.approx(float(scores.max()))
    assert best.ids[-length:].tolist() == texts[scores.argmax()].tolist()


@pytest.mark.parametrize("use_cache", [True, False])
def test_sampling_repeats_itself_from_the_same_seed_with_and_without_cache(use_cache: bool) -> None:
    model, _ = _pair(2)
    runs = [
        sample(
            model, _prompt(2, rows=B), max_new_tokens=NEW, generator=torch.Generator().manual_seed(5), use_cache=cached
        )
        for cached in (True, use_cache)
    ]
    assert torch.equal(*runs)


def test_sampling_follows_the_probabilities() -> None:
    model, _ = _pair(3)
    prompt, draws = _prompt(3), 4_000
    drawn = sample(model, prompt.expand(draws, -1), max_new_tokens=1, generator=torch.Generator().manual_seed(0))[:, -1]

    with torch.no_grad():
        expected = model(prompt)[0, -1].softmax(-1)
    shares = torch.bincount(drawn, minlength=V) / draws
    spread = (expected * (1 - expected) / draws).sqrt()

    assert ((shares - expected).abs() <= 5 * spread + 1e-9).all()


def test_sampling_from_the_single_likeliest_token_is_greedy() -> None:
    model, _ = _pair(4)
    prompt = _prompt(4, rows=B)
    expected = greedy(model, prompt, max_new_tokens=NEW)
    assert torch.equal(sample(model, prompt, max_new_tokens=NEW, top_k=1), expected)
    assert torch.equal(sample(model, prompt, max_new_tokens=NEW, top_p=1e-9), expected)


def test_a_text_that_ended_stays_ended_and_generation_stops_when_all_have() -> None:
    model, _ = _pair(5)
    prompt = _prompt(5, rows=B)
    free = greedy(model, prompt, max_new_tokens=NEW)
    end = int(free[0, T + 1])  # the second new token of the first row

    stopped = greedy(model, prompt, max_new_tokens=NEW, stop=end)

    for row, unstopped in zip(stopped[:, T:].tolist(), free[:, T:].tolist(), strict=True):
        length = unstopped.index(end) + 1 if end in unstopped else len(row)
        assert row[:length] == unstopped[:length]
        assert set(row[length:]) <= {end}
    assert greedy(model, prompt[:1], max_new_tokens=NEW, stop=end).shape[1] == T + free[0, T:].tolist().index(end) + 1


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"temperature": 0.0}, r"temperature is 0\.0.*use greedy"),
        ({"top_p": 1.5}, r"top_p is 1\.5; it must satisfy 0 < top_p <= 1"),
        ({"top_k": 0}, "top_k is 0"),
        ({"repetition_penalty": 0.0}, r"repetition penalty is 0\.0"),
    ],
)
def test_settings_outside_their_range_are_named(wrong: dict[str, float], message: str) -> None:
    model, _ = _pair(0)
    with pytest.raises(ValueError, match=message):
        sample(model, _prompt(0), max_new_tokens=1, **wrong)


def test_no_beams_and_a_full_context_are_named() -> None:
    model, _ = _pair(0)
    with pytest.raises(ValueError, match="beams is 0"):
        beam(model, _prompt(0), beams=0, max_new_tokens=1)
    with pytest.raises(ValueError, match="5 tokens and 99 new ones are more than the context of 31"):
        beam(model, _prompt(0), beams=2, max_new_tokens=99)
