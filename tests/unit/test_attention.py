"""Attention: who may read whom, and that the short ways give what the long way gives."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from llmguide.attention import (
    KeyValueCache,
    MultiHeadAttention,
    attention,
    causal_mask,
    fused_attention,
    padding_mask,
    recording,
    silenced,
)

B, H, T, S, D, K, W = 2, 3, 5, 7, 12, 11, 13

KEEP_LEFT = torch.tensor([[False] * 2 + [True] * 5, [True] * 7])
KEEP_RIGHT = torch.tensor([[True] * 7, [True] * 4 + [False] * 3])
MASKS = {
    "none": None,
    "causal": causal_mask(T, S),
    "padding on the left": padding_mask(KEEP_LEFT),
    "padding on the right": padding_mask(KEEP_RIGHT),
    "both": causal_mask(T, S) & padding_mask(KEEP_LEFT),
    "one for each head": torch.arange(S) % H == torch.arange(H)[:, None, None],
    "nothing to read": torch.zeros(T, S, dtype=torch.bool),
    "nothing to read in one row": torch.arange(T)[:, None].expand(T, S) != 3,
}
each_mask = pytest.mark.parametrize("mask", MASKS.values(), ids=MASKS)


def random_heads(generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    shapes = (B, H, T, K), (B, H, S, K), (B, H, S, W)
    q, k, v = (torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes)
    return q, k, v


def random_layer(*, rotate: bool = False) -> MultiHeadAttention:
    return MultiHeadAttention(D, H, rotate=rotate).double()


# Worked examples


def test_a_query_that_matches_one_key_brings_that_keys_value() -> None:
    q, k = torch.tensor([[1000.0, 0.0]]), torch.eye(2)
    v = torch.tensor([[3.0, 5.0], [7.0, 11.0]])

    mixed, weights = attention(q, k, v)

    assert weights.tolist() == [[1.0, 0.0]]
    assert mixed.tolist() == [[3.0, 5.0]]


def test_a_query_that_matches_all_keys_alike_brings_the_mean() -> None:
    v = torch.tensor([[3.0], [5.0], [13.0]])

    mixed, weights = attention(torch.ones(1, 2), torch.ones(3, 2), v)

    torch.testing.assert_close(weights, torch.full((1, 3), 1 / 3))
    torch.testing.assert_close(mixed, torch.tensor([[7.0]]))  # (3 + 5 + 13) / 3


def test_scores_are_divided_by_the_root_of_the_width() -> None:
    width = 16
    q, k = torch.zeros(1, width), torch.zeros(2, width)
    q[0, 0], k[0, 0] = 4.0, torch.tensor(3.0).log()  # the scores are ln 3 and 0, so the odds are 3 to 1

    _, weights = attention(q, k, torch.zeros(2, 1))

    torch.testing.assert_close(weights, torch.tensor([[0.75, 0.25]]))


def test_a_causal_mask_is_a_staircase() -> None:
    assert causal_mask(3).int().tolist() == [[1, 0, 0], [1, 1, 0], [1, 1, 1]]


def test_with_more_keys_than_queries_the_queries_come_last() -> None:
    assert causal_mask(2, 4).int().tolist() == [[1, 1, 1, 0], [1, 1, 1, 1]]


# Properties


@each_mask
def test_weights_are_probabilities_of_what_may_be_read(mask: Tensor | None, generator: torch.Generator) -> None:
    q, k, v = random_heads(generator)
    allowed = torch.ones(B, H, T, S, dtype=torch.bool) if mask is None else mask.expand(B, H, T, S)

    _, weights = attention(q, k, v, mask=mask)

    assert (weights >= 0).all()
    assert not weights[~allowed].any()
    torch.testing.assert_close(weights.sum(-1), allowed.any(-1).double())  # 1, or 0 where nothing may be read


@each_mask
def test_the_fused_path_equals_the_explicit_one(mask: Tensor | None, generator: torch.Generator) -> None:
    inputs = [x.requires_grad_() for x in random_heads(generator)]

    explicit, _ = attention(*inputs, mask=mask)
    fused = fused_attention(*inputs, mask=mask)

    direction = torch.randn(explicit.shape, generator=generator, dtype=torch.float64)
    torch.testing.assert_close(fused, explicit)
    torch.testing.assert_close(
        torch.autograd.grad((fused * direction).sum(), inputs),
        torch.autograd.grad((explicit * direction).sum(), inputs),
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_row_with_nothing_to_read_is_zero_and_so_is_its_gradient(
    dtype: torch.dtype, generator: torch.Generator
) -> None:
    inputs = [x.to(dtype).requires_grad_() for x in random_heads(generator)]

    with torch.autograd.set_detect_anomaly(True):  # not even on the way back may a NaN appear
        mixed, weights = attention(*inputs, mask=MASKS["nothing to read in one row"])
        mixed.sum().backward()

    assert not mixed[:, :, 3].any()
    assert not weights[:, :, 3].any()
    assert not inputs[0].grad[:, :, 3].any()
    assert all(x.grad.isfinite().all() for x in inputs)


@given(scale=st.floats(0, 1e30), shift=st.floats(-1e30, 1e30), seed=st.integers(0, 100))
def test_no_finite_score_gives_nan(scale: float, shift: float, seed: int) -> None:
    q, k, v = random_heads(torch.Generator().manual_seed(seed))

    mixed, weights = attention(scale * q, k + shift, v, mask=causal_mask(T, S))

    assert mixed.isfinite().all()
    torch.testing.assert_close(weights.sum(-1), torch.ones(B, H, T, dtype=torch.float64))


@given(order=st.permutations(range(T)))
def test_without_positions_attention_is_blind_to_order(order: list[int]) -> None:
    layer = random_layer()
    x = torch.randn(B, T, D, generator=torch.Generator().manual_seed(0), dtype=torch.float64)

    torch.testing.assert_close(layer(x[:, order]), layer(x)[:, order])


@given(order=st.permutations(range(S)))
def test_the_order_of_the_keys_does_not_matter(order: list[int]) -> None:
    q, k, v = random_heads(torch.Generator().manual_seed(0))

    torch.testing.assert_close(attention(q, k[..., order, :], v[..., order, :])[0], attention(q, k, v)[0])


@given(first_changed=st.integers(1, T - 1), rotate=st.booleans(), explicit=st.booleans())
def test_the_future_cannot_change_the_past(first_changed: int, rotate: bool, explicit: bool) -> None:
    layer = random_layer(rotate=rotate)
    x = torch.randn(B, T, D, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    changed = x.clone()
    changed[:, first_changed:] = 1e3
    mask = causal_mask(T) if explicit else None

    before, after = (layer(text, mask=mask, causal=not explicit)[:, :first_changed] for text in (x, changed))

    assert torch.equal(before, after)  # to the last bit


@pytest.mark.parametrize("rotate", [False, True])
@pytest.mark.parametrize("sizes", [[1] * S, [3, 1, 1, 2], [S]], ids=["one by one", "in pieces", "at once"])
def test_with_a_cache_or_without_the_answer_is_the_same(
    sizes: list[int], rotate: bool, generator: torch.Generator
) -> None:
    layer, cache = random_layer(rotate=rotate), KeyValueCache(S)
    x = torch.randn(B, S, D, generator=generator, dtype=torch.float64)

    pieces = [layer(piece, causal=True, cache=cache) for piece in x.split(sizes, dim=1)]

    torch.testing.assert_close(torch.cat(pieces, dim=1), layer(x, causal=True))
    assert cache.length == S


def test_a_cache_gives_back_all_that_was_put_in(generator: torch.Generator) -> None:
    _, k, _ = random_heads(generator)
    v = -k
    cache = KeyValueCache(S + 2)

    cache.append(k[..., :4, :], v[..., :4, :])
    keys, values = cache.append(k[..., 4:, :], v[..., 4:, :])

    assert torch.equal(keys, k)
    assert torch.equal(values, v)


def test_a_cache_counts_the_bytes_it_holds(generator: torch.Generator) -> None:
    _, k, _ = random_heads(generator)
    cache = KeyValueCache(S + 2)
    assert cache.bytes == 0

    cache.append(k, k)

    assert cache.bytes == 2 * B * H * (S + 2) * K * 8  # keys and values, in float64


def test_cross_attention_reads_the_context_and_nothing_else(generator: torch.Generator) -> None:
    layer = random_layer()
    x, context = (torch.randn(B, n, D, generator=generator, dtype=torch.float64) for n in (T, S))

    with recording() as maps:
        together = layer(x, context=context)
    alone = torch.cat([layer(x[:, t : t + 1], context=context) for t in range(T)], dim=1)

    assert [tuple(weights.shape) for weights in maps] == [(B, H, T, S)]
    torch.testing.assert_close(together, alone)  # queries do not read each other


def test_the_context_itself_is_what_self_attention_reads(generator: torch.Generator) -> None:
    layer = MultiHeadAttention(D, H, bias=False).double()
    x = torch.randn(B, T, D, generator=generator, dtype=torch.float64)

    torch.testing.assert_close(layer(x, context=x), layer(x))


# What is recorded


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("mask", [None, padding_mask(KEEP_RIGHT)], ids=["no mask", "padded"])
def test_a_recorded_layer_gives_the_same_output(mask: Tensor | None, causal: bool, generator: torch.Generator) -> None:
    layer = random_layer()
    x = torch.randn(B, S, D, generator=generator, dtype=torch.float64)

    with recording() as maps:
        recorded = layer(x, mask=mask, causal=causal)

    (weights,) = maps
    torch.testing.assert_close(recorded, layer(x, mask=mask, causal=causal))
    assert weights.shape == (B, H, S, S)
    assert not weights.requires_grad
    assert not causal or torch.equal(weights, weights.tril())


def test_recording_ends_with_its_block(generator: torch.Generator) -> None:
    layer = random_layer()
    x = torch.randn(B, T, D, generator=generator, dtype=torch.float64)

    with recording() as outer:
        layer(x)
        with recording() as inner:
            layer(x)
            layer(x)
    layer(x)

    assert (len(outer), len(inner)) == (1, 2)


def test_recording_ends_when_the_block_fails(generator: torch.Generator) -> None:
    with pytest.raises(KeyError), recording() as maps:
        raise KeyError
    random_layer()(torch.randn(B, T, D, generator=generator, dtype=torch.float64))

    assert maps == []


def test_a_silenced_head_adds_nothing_and_comes_back(generator: torch.Generator) -> None:
    layer, x = random_layer(), torch.randn(B, T, D, generator=generator, dtype=torch.float64)
    whole = layer(x)

    only = []
    for head in range(H):
        with silenced(layer, [(0, other) for other in range(H) if other != head]):
            only.append(layer(x) - layer.project_out.bias)
    with silenced(layer, [(0, head) for head in range(H)]):
        nothing = layer(x)

    torch.testing.assert_close(sum(only) + layer.project_out.bias, whole)
    torch.testing.assert_close(nothing, layer.project_out.bias.expand_as(nothing))
    assert torch.equal(layer(x), whole)


def test_silenced_heads_come_back_when_the_block_fails() -> None:
    layer = random_layer()
    before = layer.project_out.weight.detach().clone()

    with pytest.raises(KeyError), silenced(layer, [(0, 1)]):
        raise KeyError

    assert torch.equal(layer.project_out.weight, before)


@pytest.mark.parametrize("missing", [(1, 0), (0, H), (-1, 0)])
def test_a_head_that_is_not_there_cannot_be_silenced(missing: tuple[int, int]) -> None:
    layer = random_layer()
    before = layer.project_out.weight.detach().clone()

    message = f"no head {missing[1]} in attention layer {missing[0]}"
    with pytest.raises(ValueError, match=message), silenced(layer, [(0, 0), missing]):
        pass

    assert torch.equal(layer.project_out.weight, before)


# Errors name the wrong value


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("function", [attention, fused_attention])
@pytest.mark.parametrize(
    ("keys", "values", "mask", "message"),
    [
        ((S, W), (S, W), None, r"queries \(5, 11\) and keys \(7, 13\) must agree in width"),
        ((S, K), (T, K), None, r"keys \(7, 11\) and values \(5, 11\) must agree in length"),
        ((S, K), (S, K), torch.ones(T, S), r"a mask holds booleans.*got torch.float32 \(use mask.bool\(\)\)"),
        ((S, K), (S, K), torch.ones(S, T) > 0, r"a mask of shape \(7, 5\) does not fit scores of shape \(5, 7\)"),
        ((S, K), (S, K), torch.ones(B, T, S) > 0, r"a mask of shape \(2, 5, 7\) does not fit .* \(5, 7\)"),
    ],
)
def test_shapes_that_do_not_fit_are_named(
    function: Callable[..., Any], keys: tuple[int, int], values: tuple[int, int], mask: Tensor | None, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        function(torch.zeros(T, K), torch.zeros(keys), torch.zeros(values), mask=mask)


def test_the_fused_causal_switch_stands_alone() -> None:
    q, k = torch.zeros(T, K), torch.zeros(S, K)

    with pytest.raises(ValueError, match="causal=True takes no mask and needs as many queries as keys"):
        fused_attention(q, k, k, causal=True)
    with pytest.raises(ValueError, match="causal=True takes no mask"):
        fused_attention(q, q, q, causal=True, mask=causal_mask(T))


def test_queries_that_outnumber_keys_have_no_causal_mask() -> None:
    with pytest.raises(ValueError, match="7 queries cannot all lie among 5 keys"):
        causal_mask(S, T)


@pytest.mark.parametrize("heads", [5, 0])
def test_heads_that_do_not_divide_the_width_are_named(heads: int) -> None:
    with pytest.raises(ValueError, match=f"{heads} heads do not divide a width of 12"):
        MultiHeadAttention(12, heads)


def test_a_full_cache_says_which_position_does_not_fit() -> None:
    cache, k = KeyValueCache(S), torch.zeros(B, H, T, K)
    cache.append(k, k)

    with pytest.raises(ValueError, match=r"position 9 does not fit a cache of 7 positions \(0 to 6\)"):
        cache.append(k, k)
    assert cache.length == T  # what it held is still there
