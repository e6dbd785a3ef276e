"""Encoder-decoder: equal to BART, blind to padding and the future, and a language model once it has read."""

import pytest
import torch
from torch import Tensor
from transformers import BartConfig, BartForConditionalGeneration

from llmguide.encoder_decoder import EncoderDecoder, Reading, cross_attention, to_bart
from llmguide.generation import LanguageModel, beam, greedy
from llmguide.model import ModelConfig
from tests.unit.parity import CHECKS

V, S, T = 29, 7, 5
KEEP = torch.arange(S) < torch.tensor([[S], [4]])


def small(**changes: object) -> EncoderDecoder:
    torch.manual_seed(0)
    settings = {"vocabulary": V, "context": 11, "width": 12, "layers": 2, "heads": 3, "norm_order": "post"}
    model = EncoderDecoder(ModelConfig(**(settings | {"activation": "gelu"} | changes))).double()  # type: ignore[arg-type]
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return model.eval()


def ids(length: int, *, seed: int = 0) -> Tensor:
    return torch.randint(3, V, (2, length), generator=torch.Generator().manual_seed(seed))


def bart_of(model: EncoderDecoder) -> BartForConditionalGeneration:
    settings, tensors = to_bart(model)
    config = BartConfig(**settings, pad_token_id=0, bos_token_id=1, eos_token_id=2, decoder_start_token_id=1)
    config.forced_eos_token_id = None
    bart = BartForConditionalGeneration(config).double().eval()
    bart.load_state_dict(tensors)
    return bart


def test_it_has_a_row_in_the_parity_table() -> None:
    assert any(check.name == "EncoderDecoder" for check in CHECKS)


@pytest.mark.parametrize("activation", ["relu", "gelu", "gelu_tanh"])
def test_a_padded_source_scores_as_in_bart(activation: str) -> None:
    model = small(activation=activation)

    theirs = bart_of(model)(input_ids=ids(S), attention_mask=KEEP.long(), decoder_input_ids=ids(T, seed=1)).logits

    torch.testing.assert_close(model(ids(S), ids(T, seed=1), keep=KEEP), theirs)


@pytest.mark.parametrize("changes", [{"norm_order": "pre"}, {"positions": "sinusoidal"}, {"segments": 2}])
def test_what_bart_cannot_express_is_refused(changes: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="BART has learned positions, post-norm and no segments; this model has voc"):
        to_bart(small(**changes))


def test_greedy_decoding_writes_what_bart_generates() -> None:
    model = small()

    ours = greedy(model.reading(ids(S), keep=KEEP), torch.ones(2, 1, dtype=torch.long), max_new_tokens=6)
    theirs = bart_of(model).generate(
        input_ids=ids(S), attention_mask=KEEP.long(), max_new_tokens=6, min_new_tokens=6, do_sample=False, num_beams=1
    )

    if not bool((ours == 2).any()):  # BART may not end before six tokens, we may
        assert ours.equal(theirs)
    assert ours.shape == theirs.shape


def test_one_source_serves_all_beams_and_many_find_no_worse_text() -> None:
    reading = small().reading(ids(S)[:1])
    prompt = torch.ones(1, 1, dtype=torch.long)

    wide = beam(reading, prompt, beams=V, max_new_tokens=2)
    cached, uncached = (beam(reading, prompt, beams=3, max_new_tokens=4, use_cache=use) for use in (True, False))

    assert wide[0].log_probability >= beam(reading, prompt, beams=1, max_new_tokens=2)[0].log_probability
    for a, b in zip(cached, uncached, strict=True):
        assert a.ids.equal(b.ids)
        assert a.log_probability == pytest.approx(b.log_probability)


def test_a_reading_is_a_language_model_of_its_targets() -> None:
    model = small()
    reading = model.reading(ids(S), keep=KEEP)

    assert isinstance(reading, LanguageModel)
    torch.testing.assert_close(reading(ids(T)), model(ids(S), ids(T), keep=KEEP))
    with pytest.raises(ValueError, match="3 targets do not fit 2 sources; give one source, or one for each"):
        reading(torch.ones(3, 1, dtype=torch.long))


def test_padding_of_the_source_changes_nothing() -> None:
    model, target = small(), ids(T, seed=1)

    alone = model(ids(S)[1:, :4], target[1:])

    torch.testing.assert_close(model(ids(S), target, keep=KEEP)[1:], alone)
    assert not torch.allclose(model(ids(S), target)[1:], alone)  # without the mask it does


def test_a_later_target_token_changes_no_earlier_score_and_a_source_token_changes_all() -> None:
    model, target, source = small(), ids(T, seed=1), ids(S)
    later, other = target.clone(), source.clone()
    later[:, 3], other[:, -1] = (later[:, 3] - 2) % 26 + 3, (other[:, -1] - 2) % 26 + 3

    before = model(source, target)

    assert model(source, later)[:, :3].equal(before[:, :3])
    assert ((model(other, target) - before).abs().amax(dim=-1) > 1e-9).all()


def test_cross_attention_is_a_distribution_over_the_real_source_tokens() -> None:
    weights = cross_attention(small(), ids(S), ids(T, seed=1), keep=KEEP)

    assert weights.shape == (2, 2, 3, T, S)
    torch.testing.assert_close(weights.sum(dim=-1), torch.ones_like(weights[..., 0]))
    assert (weights[:, 1, :, :, 4:] == 0).all()


def test_cross_attention_is_that_of_bart() -> None:
    model = small()
    bart = bart_of(model)
    bart.set_attn_implementation("eager")

    found = bart(input_ids=ids(S), decoder_input_ids=ids(T, seed=1), output_attentions=True).cross_attentions

    torch.testing.assert_close(cross_attention(model, ids(S), ids(T, seed=1)), torch.stack(found))


def test_the_cache_of_a_reading_has_a_place_for_each_layer() -> None:
    reading = Reading(small(), torch.zeros(1, S, 12, dtype=torch.float64), None)

    assert [cache.capacity for cache in reading.new_cache(4)] == [4, 4]
    assert [cache.capacity for cache in reading.new_cache()] == [11, 11]
