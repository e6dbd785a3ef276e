"""Models: what an assembled decoder and encoder may and may not depend on."""

import contextlib
from collections.abc import Callable
from dataclasses import FrozenInstanceError, replace
from math import log
from typing import Any, TypeVar, get_args

import pytest
import torch
from torch import Tensor

from llmguide.attention import recording
from llmguide.layers import sinusoidal_positions
from llmguide.losses import next_token_loss
from llmguide.model import Block, Decoder, Encoder, MaskedLanguageModel, ModelConfig, NormOrder, Positions

B, H, T, D, V, L, CONTEXT = 2, 3, 7, 12, 31, 2, 11
DECODER = ModelConfig(vocabulary=V, context=CONTEXT, width=D, layers=L, heads=H)
ENCODER = replace(DECODER, norm_order="post", segments=2)

M = TypeVar("M", Decoder, Encoder)

each_kind_of_positions = pytest.mark.parametrize("positions", get_args(Positions))


@pytest.fixture
def ids(generator: torch.Generator) -> Tensor:
    return torch.randint(V, (B, T), generator=generator)


def decoder(**changes: Any) -> Decoder:
    return _shaken(Decoder(replace(DECODER, **changes)))


def encoder(**changes: Any) -> Encoder:
    return _shaken(Encoder(replace(ENCODER, **changes)))


def _shaken(model: M) -> M:
    """Weights large enough that what a model reads shows in what it says."""
    generator = torch.Generator().manual_seed(1)
    for parameter in model.parameters():
        noise = torch.randn(parameter.shape, generator=generator)
        parameter.data += 0.3 * noise
    return model.double().eval()


def largest_difference(a: Tensor, b: Tensor) -> float:
    return (a - b).abs().max().item()


# Who depends on whom


@each_kind_of_positions
@pytest.mark.parametrize("norm_order", ["pre", "post"])
@pytest.mark.parametrize("explicit", [False, True])
def test_the_future_cannot_change_the_past(
    positions: Positions, norm_order: NormOrder, explicit: bool, ids: Tensor
) -> None:
    model = decoder(positions=positions, norm_order=norm_order)
    changed = ids.clone()
    changed[:, 4:] = (changed[:, 4:] + 1) % V

    with recording() if explicit else contextlib.nullcontext():
        before, after = model(ids), model(changed)

    assert torch.equal(before[:, :4], after[:, :4])  # to the last bit
    assert largest_difference(before[:, 4:], after[:, 4:]) > 0.1


def test_an_encoder_reads_both_ways(ids: Tensor) -> None:
    model = encoder()
    changed = ids.clone()
    changed[:, 4] = (changed[:, 4] + 1) % V

    difference = (model(ids) - model(changed)).abs().amax(dim=-1)

    assert (difference > 1e-3).all()


@each_kind_of_positions
def test_only_positions_tell_order_to_an_encoder(positions: Positions, ids: Tensor) -> None:
    model = encoder(positions=positions)
    order = [3, 1, 4, 0, 6, 5, 2]

    difference = largest_difference(model(ids[:, order]), model(ids)[:, order])

    assert (difference < 1e-9) == (positions == "none")


def test_sinusoids_do_not_drown_the_words(ids: Tensor) -> None:
    """The paper multiplies the embeddings by the square root of the width before it adds the waves (section 3.4)."""
    model = Decoder(replace(DECODER, positions="sinusoidal"))
    first_inputs: list[Tensor] = []
    model.backbone.blocks[0].register_forward_pre_hook(lambda _, inputs: first_inputs.append(inputs[0]))

    model(ids)

    expected = D**0.5 * model.backbone.token_embedding(ids) + sinusoidal_positions(T, D)
    torch.testing.assert_close(first_inputs[0], expected)


def test_texts_of_a_batch_do_not_see_each_other(ids: Tensor) -> None:
    model = decoder()

    torch.testing.assert_close(model(ids), torch.cat([model(text[None]) for text in ids]))


# Padding


@each_kind_of_positions
@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("make", [decoder, encoder])
def test_padding_changes_nothing(
    make: Callable[..., Decoder | Encoder], side: str, positions: Positions, ids: Tensor
) -> None:
    model, padded_length = make(positions=positions), T + 3
    padded = torch.full((B, padded_length), V - 1)
    real = torch.arange(padded_length) >= 3 if side == "left" else torch.arange(padded_length) < T
    padded[:, real] = ids
    keep = real.expand(B, -1)

    torch.testing.assert_close(model(padded, keep=keep)[:, real], model(ids))


@pytest.mark.parametrize("make", [decoder, encoder])
def test_what_stands_in_the_padding_does_not_matter(make: Callable[..., Decoder | Encoder], ids: Tensor) -> None:
    model = make()
    keep = torch.arange(T) < torch.tensor([[T], [3]])
    other = torch.where(keep, ids, (ids + 1) % V)

    assert torch.equal(model(ids, keep=keep)[keep], model(other, keep=keep)[keep])


@pytest.mark.parametrize("make", [decoder, encoder])
@pytest.mark.parametrize("explicit", [False, True])
def test_a_text_of_padding_alone_stays_finite(
    make: Callable[..., Decoder | Encoder], explicit: bool, ids: Tensor
) -> None:
    model = make()
    keep = torch.tensor([[True], [False]]).expand(B, T)

    with recording() if explicit else contextlib.nullcontext():
        y = model(ids, keep=keep)
        y.square().sum().backward()

    assert y.isfinite().all()
    assert all(p.grad.isfinite().all() for p in model.parameters() if p.grad is not None)


# The cache


@each_kind_of_positions
@pytest.mark.parametrize("sizes", [[1] * T, [4, 1, 2], [T]], ids=["one by one", "in pieces", "at once"])
@pytest.mark.parametrize("padded", [False, True])
def test_with_a_cache_or_without_the_logits_are_the_same(
    positions: Positions, sizes: list[int], padded: bool, ids: Tensor
) -> None:
    model = decoder(positions=positions)
    keep = torch.arange(T) >= torch.tensor([[0], [3]]) if padded else torch.ones(B, T, dtype=torch.bool)
    cache, pieces, end = model.new_cache(), [], 0

    for piece in ids.split(sizes, dim=1):
        end += piece.shape[1]
        pieces.append(model(piece, keep=keep[:, :end] if padded else None, cache=cache))

    expected = model(ids, keep=keep if padded else None)
    torch.testing.assert_close(torch.cat(pieces, dim=1)[keep], expected[keep])


def test_a_cache_holds_the_context_unless_it_is_told_otherwise(ids: Tensor) -> None:
    model = decoder()

    assert [layer.capacity for layer in model.new_cache()] == [CONTEXT] * L
    assert [layer.capacity for layer in model.new_cache(5)] == [5] * L
    with pytest.raises(ValueError, match="position 6 does not fit a cache of 5 positions"):
        model(ids, cache=model.new_cache(5))


# What is recorded


@pytest.mark.parametrize("make", [decoder, encoder])
def test_a_recorded_model_says_the_same_and_shows_a_map_for_each_layer(
    make: Callable[..., Decoder | Encoder], ids: Tensor
) -> None:
    model = make()

    with recording() as maps:
        recorded = model(ids)

    torch.testing.assert_close(recorded, model(ids))
    assert [tuple(weights.shape) for weights in maps] == [(B, H, T, T)] * L


def test_a_recorded_cached_step_has_one_query(ids: Tensor) -> None:
    model = decoder()
    cache = model.new_cache()
    model(ids[:, :-1], cache=cache)

    with recording() as maps:
        model(ids[:, -1:], cache=cache)

    assert [tuple(weights.shape) for weights in maps] == [(B, H, 1, T)] * L


# How it starts


@each_kind_of_positions
def test_the_loss_of_a_new_model_is_close_to_ln_v(positions: Positions, generator: torch.Generator) -> None:
    model = Decoder(ModelConfig(vocabulary=997, context=32, width=64, layers=3, heads=2, positions=positions))
    ids = torch.randint(997, (5, 32), generator=generator)

    assert next_token_loss(model(ids), ids).item() == pytest.approx(log(997), rel=0.01)


def test_sums_on_the_residual_stream_start_smaller() -> None:
    model = Decoder(ModelConfig(vocabulary=97, context=5, width=64, layers=8, heads=2))
    block = model.backbone.blocks[0]

    deviations = {name: p.std().item() for name, p in block.named_parameters() if p.ndim == 2}

    assert deviations == {
        "attention.project_in.weight": pytest.approx(0.02, rel=0.05),
        "attention.project_out.weight": pytest.approx(0.02 / 4, rel=0.05),  # 1 / sqrt(2 x 8)
        "feed_forward.expand.weight": pytest.approx(0.02, rel=0.05),
        "feed_forward.contract.weight": pytest.approx(0.02 / 4, rel=0.05),
    }


def test_reading_and_scoring_share_one_table(ids: Tensor) -> None:
    model = decoder()
    scores = model(ids)

    model.backbone.token_embedding.weight.data[0] *= 0  # id 0 is now scored 0 everywhere

    assert scores[..., 0].all()
    assert not model(ids)[..., 0].any()


# Parts


@pytest.mark.parametrize("dropout", [0.0, 0.5])
def test_dropout_is_for_training_and_by_its_share(dropout: float, ids: Tensor) -> None:
    model = decoder(dropout=dropout)
    expected = model(ids)

    assert torch.equal(model(ids), expected)
    assert torch.equal(model.train()(ids), expected) == (dropout == 0)


def test_each_sub_layer_drops_numbers() -> None:
    block, x = Block(replace(DECODER, dropout=0.5), causal=True), torch.zeros(B, T, D)
    for last, bias in ((block.attention.project_out, 1.0), (block.feed_forward.contract, 10.0)):
        torch.nn.init.zeros_(last.weight)
        torch.nn.init.constant_(last.bias, bias)  # the sub-layers now say 1 and 10

    seen = set(block(x).unique().tolist())

    assert seen == {0.0, 2.0, 20.0, 22.0}  # each is dropped or doubled, and then they are added


def test_without_residuals_a_block_forgets_its_input(generator: torch.Generator) -> None:
    x = torch.randn(B, T, D, generator=generator)
    blocks = [Block(replace(DECODER, residual=residual), causal=True) for residual in (True, False)]
    for block in blocks:
        for last in (block.attention.project_out, block.feed_forward.contract):
            torch.nn.init.zeros_(last.weight)
            torch.nn.init.zeros_(last.bias)  # each sub-layer now says 0

    with_residual, without = (block(x) for block in blocks)

    assert torch.equal(with_residual, x)
    assert not without.any()


def test_segments_are_told_apart_and_default_to_the_first(ids: Tensor) -> None:
    model = encoder()
    first = torch.zeros_like(ids)

    assert torch.equal(model(ids), model(ids, segments=first))
    assert largest_difference(model(ids), model(ids, segments=first + 1)) > 1e-3


def test_the_pooled_state_is_made_of_the_first_position(ids: Tensor) -> None:
    model = encoder()
    hidden = model(ids)

    pooled = model.pool(hidden)

    assert pooled.shape == (B, D)
    assert pooled.abs().max() <= 1
    assert torch.equal(pooled, model.pool(hidden[:, :1]))


def test_a_masked_language_model_scores_every_position(ids: Tensor) -> None:
    assert MaskedLanguageModel(ENCODER)(ids).shape == (B, T, V)


def test_the_feed_forward_is_four_times_as_wide_unless_told_otherwise() -> None:
    assert DECODER.feed_forward_width == 4 * D
    assert replace(DECODER, hidden=29).feed_forward_width == 29


def test_a_config_prints_what_it_is_and_cannot_be_changed() -> None:
    assert str(DECODER).startswith("vocabulary=31, context=11, width=12, layers=2, heads=3, hidden=None")
    with pytest.raises(FrozenInstanceError):
        DECODER.width = 5  # type: ignore[misc]


# Errors name the wrong value


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"vocabulary": 0}, "vocabulary is 0; it must be at least 1"),
        ({"context": -3}, "context is -3; it must be at least 1"),
        ({"width": 0}, "width is 0; it must be at least 1"),
        ({"layers": 0}, "layers is 0; it must be at least 1"),
        ({"heads": 0}, "heads is 0; it must be at least 1"),
        ({"heads": 5}, "5 heads do not divide a width of 12"),
        ({"hidden": 0}, "hidden is 0; it must be at least 1, or None for 4 x width"),
        ({"dropout": 1.0}, "dropout is 1.0; it must be at least 0 and less than 1"),
        ({"dropout": -0.1}, "dropout is -0.1; it must be at least 0"),
        ({"segments": -1}, "segments is -1; it must be 0"),
        ({"norm_eps": 0.0}, "norm_eps is 0.0; it must be greater than 0"),
        ({"positions": "absolute"}, "positions is 'absolute'; it must be one of learned, sinusoidal, rotary, none"),
        ({"norm_order": "both"}, "norm_order is 'both'; it must be one of pre, post"),
        ({"activation": "swish"}, "activation is 'swish'; it must be one of relu, gelu, gelu_tanh"),
        ({"width": 9, "positions": "sinusoidal"}, "sinusoidal positions come in pairs.*got 9"),
        ({"width": 9, "positions": "rotary"}, "rotary positions come in pairs.*got 3"),
    ],
    ids=str,
)
@pytest.mark.usefixtures("unchecked")
def test_a_config_that_cannot_be_names_the_wrong_value(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(DECODER, **change)


def test_a_text_without_tokens_is_refused() -> None:
    with pytest.raises(ValueError, match="the text has no tokens; give at least one"):
        decoder()(torch.zeros(B, 0, dtype=torch.long))


@pytest.mark.parametrize("make", [decoder, encoder])
def test_a_text_that_is_too_long_says_by_how_much(make: Callable[..., Decoder | Encoder]) -> None:
    with pytest.raises(ValueError, match="the text has 13 tokens, the model takes 11; cut 2"):
        make()(torch.zeros(B, 13, dtype=torch.long))


def test_a_cached_text_that_grows_too_long_says_so(ids: Tensor) -> None:
    model = decoder()
    cache = model.new_cache(2 * T)
    model(ids, cache=cache)

    with pytest.raises(ValueError, match="the text has 14 tokens, the model takes 11; cut 3"):
        model(ids, cache=cache)


def test_keep_covers_the_cached_positions_too(ids: Tensor) -> None:
    model = decoder()
    cache = model.new_cache()
    keep = torch.ones(B, T, dtype=torch.bool)
    model(ids[:, :4], keep=keep[:, :4], cache=cache)

    with pytest.raises(ValueError, match=r"keep has shape \(2, 3\); \(2, 3\) ids after 4 need \(2, 7\)"):
        model(ids[:, 4:], keep=keep[:, 4:], cache=cache)


def test_cross_attention_without_a_context_is_refused() -> None:
    block = Block(DECODER, causal=True, cross=True)

    with pytest.raises(ValueError, match="needs the context it should read"):
        block(torch.zeros(B, T, D))
