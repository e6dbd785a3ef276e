"""The hub's layout: our models and those of `transformers` are the same models."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import BertConfig, BertForMaskedLM, BertModel, GPT2Config, GPT2LMHeadModel, GPT2Model

from llmguide.hub import decoder_from_hub, encoder_from_hub, masked_language_model_from_hub, to_hub
from llmguide.model import Decoder, Encoder, MaskedLanguageModel, ModelConfig

B, T, V = 2, 5, 29
SIZES = {"vocabulary": V, "context": 11, "width": 12, "layers": 2, "heads": 3}
GPT2 = GPT2Config(vocab_size=V, n_positions=11, n_embd=12, n_layer=2, n_head=3, bos_token_id=0, eos_token_id=0)
BERT = BertConfig(
    vocab_size=V,
    max_position_embeddings=11,
    hidden_size=12,
    num_hidden_layers=2,
    num_attention_heads=3,
    intermediate_size=31,
)


@pytest.fixture
def ids(generator: torch.Generator) -> Tensor:
    return torch.randint(V, (B, T), generator=generator)


def parts(theirs: nn.Module) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """What a model folder of the hub holds: its settings and its tensors."""
    return theirs.config.to_dict(), theirs.eval().state_dict()


@pytest.mark.parametrize(
    ("theirs", "build"),
    [
        (GPT2LMHeadModel(GPT2), decoder_from_hub),
        (BertModel(BERT), encoder_from_hub),
        (BertForMaskedLM(BERT), masked_language_model_from_hub),
    ],
    ids=["GPT-2", "BERT", "BERT with its head"],
)
def test_there_and_back_is_the_same_checkpoint(theirs: nn.Module, build: Any) -> None:
    settings, tensors = parts(theirs)

    our_settings, our_tensors = to_hub(build(settings, tensors))

    tied = {"lm_head.weight", "cls.predictions.decoder.weight", "cls.predictions.decoder.bias"}
    assert our_tensors.keys() == tensors.keys() - tied
    assert all(torch.equal(our_tensors[name], tensors[name]) for name in our_tensors)
    different = {"architectures", "attn_pdrop", "attention_probs_dropout_prob"}  # a fresh config names no architecture
    different |= {"bos_token_id", "eos_token_id"}  # a matter of the tokenizer, which our models do not know
    assert all(settings[name] == value for name, value in our_settings.items() if name not in different)


@pytest.mark.parametrize(("vocabulary", "end"), [(V, None), (50_256, None), (50_257, 50_256)])
def test_a_saved_decoder_names_no_special_token_outside_its_vocabulary(vocabulary: int, end: int | None) -> None:
    settings, _ = to_hub(Decoder(ModelConfig(**SIZES | {"vocabulary": vocabulary})))

    config = GPT2Config(**{name: value for name, value in settings.items() if name != "model_type"})

    assert (config.bos_token_id, config.eos_token_id) == (end, end)


def test_the_prefix_of_gpt2_may_be_missing(ids: Tensor) -> None:
    theirs = GPT2Model(GPT2)
    settings, tensors = parts(theirs)  # named h.0..., not transformer.h.0...

    hidden = decoder_from_hub(settings, tensors).backbone(ids)

    torch.testing.assert_close(hidden, theirs(ids).last_hidden_state)


def test_the_prefix_of_bert_may_be_there() -> None:
    settings, tensors = parts(BertModel(BERT))

    with_prefix = encoder_from_hub(settings, {f"bert.{name}": tensor for name, tensor in tensors.items()})

    for ours, theirs in zip(with_prefix.parameters(), encoder_from_hub(settings, tensors).parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_old_names_of_layer_norm_are_understood() -> None:
    settings, tensors = parts(BertModel(BERT))
    new_to_old = {"LayerNorm.weight": "LayerNorm.gamma", "LayerNorm.bias": "LayerNorm.beta"}
    old = dict(tensors)
    for name in tensors:
        for new, before in new_to_old.items():
            if name.endswith(new):
                old[name.replace(new, before)] = old.pop(name) + 0.5

    norm = encoder_from_hub(settings, old).backbone.norm

    assert torch.equal(norm.weight, torch.full((12,), 1.5))
    assert torch.equal(norm.bias, torch.full((12,), 0.5))


@pytest.mark.parametrize(("theirs", "ours"), [("gelu_new", "gelu_tanh"), ("gelu", "gelu"), ("relu", "relu")])
def test_activations_have_two_names(theirs: str, ours: str) -> None:
    settings, tensors = parts(GPT2LMHeadModel(GPT2))

    assert decoder_from_hub(settings | {"activation_function": theirs}, tensors).config.activation == ours


def test_a_checkpoint_without_a_pooler_gets_a_new_one_and_says_so() -> None:
    settings, tensors = parts(BertForMaskedLM(BERT))

    with pytest.warns(UserWarning, match="has no pooler: `pool` has new weights, train it before use"):
        model = encoder_from_hub(settings, tensors)

    assert torch.equal(model.backbone.token_embedding.weight, tensors["bert.embeddings.word_embeddings.weight"])


# What does not fit is refused by name


def test_gpt2_is_not_made_of_bert() -> None:
    settings, tensors = parts(BertModel(BERT))

    with pytest.raises(ValueError, match="model_type is 'bert'; this model needs 'gpt2'"):
        decoder_from_hub(settings, tensors)
    with pytest.raises(ValueError, match="no tensor transformer.wte.weight: it holds no weights for a Decoder"):
        decoder_from_hub(GPT2.to_dict(), tensors)


def test_bert_is_not_made_of_gpt2() -> None:
    settings, tensors = parts(GPT2LMHeadModel(GPT2))

    for build in (encoder_from_hub, masked_language_model_from_hub):
        with pytest.raises(ValueError, match="model_type is 'gpt2'; this model needs 'bert'"):
            build(settings, tensors)


def test_a_plain_encoder_holds_no_head_for_a_masked_language_model() -> None:
    settings, tensors = parts(BertModel(BERT))

    with pytest.raises(ValueError, match="has no tensor bert.embeddings.word_embeddings.weight"):
        masked_language_model_from_hub(settings, tensors)


@pytest.mark.parametrize("part", ["transformer.wpe.weight", "transformer.h.1.mlp.c_fc.bias", "transformer.ln_f.weight"])
def test_a_missing_tensor_is_named(part: str) -> None:
    settings, tensors = parts(GPT2LMHeadModel(GPT2))
    del tensors[part]

    with pytest.raises(ValueError, match=f"the checkpoint has no tensor {part}"):
        decoder_from_hub(settings, tensors)


def test_a_tensor_of_another_size_is_named_with_both_sizes() -> None:
    settings, tensors = parts(GPT2LMHeadModel(GPT2))

    with pytest.raises(ValueError, match=r"transformer.wte.weight has shape \(29, 12\), config.json says \(31, 12\)"):
        decoder_from_hub(settings | {"vocab_size": 31}, tensors)


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("tie_word_embeddings", False),
        ("add_cross_attention", True),
        ("scale_attn_weights", False),
        ("scale_attn_by_inverse_layer_idx", True),
    ],
)
def test_a_gpt2_that_ours_is_not_is_refused(setting: str, value: bool) -> None:
    settings, tensors = parts(GPT2LMHeadModel(GPT2))

    with pytest.raises(ValueError, match=f"{setting} is {value}; this model needs {not value}"):
        decoder_from_hub(settings | {setting: value}, tensors)


def test_an_unknown_activation_is_named() -> None:
    settings, tensors = parts(BertModel(BERT))

    with pytest.raises(ValueError, match="the checkpoint has activation 'swish'; known are relu, gelu"):
        encoder_from_hub(settings | {"hidden_act": "swish"}, tensors)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (Decoder(ModelConfig(**SIZES, positions="rotary")), "GPT-2 has positions='learned', this model 'rotary'"),
        (Decoder(ModelConfig(**SIZES, norm_order="post")), "GPT-2 has norm_order='pre', this model 'post'"),
        (Decoder(ModelConfig(**SIZES, residual=False)), "GPT-2 has residual=True, this model False"),
        (Decoder(ModelConfig(**SIZES, segments=2)), "segments is 2; the hub's GPT-2 has none"),
        (Encoder(ModelConfig(**SIZES)), "BERT has norm_order='post', this model 'pre'"),
        (MaskedLanguageModel(ModelConfig(**SIZES, norm_order="post")), "segments is 0; .* its BERT at least 1"),
    ],
)
def test_what_the_hub_cannot_say_is_not_saved(model: Decoder | Encoder | MaskedLanguageModel, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        to_hub(model)


def test_dropout_of_a_checkpoint_is_kept_and_off() -> None:
    settings, tensors = parts(GPT2LMHeadModel(GPT2))

    model = decoder_from_hub(settings | {"resid_pdrop": 0.25}, tensors)

    assert model.config == replace(model.config, dropout=0.25)
    assert not model.training
