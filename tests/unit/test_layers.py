"""Layers: what the maths of one position does, and that it looks at no other."""

from collections.abc import Callable
from math import cos, sin

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from llmguide.layers import ACTIVATIONS, FeedForward, layer_norm, rms_norm, rotary, sinusoidal_positions

B, T, D, F = 2, 5, 12, 29


def random(*shape: int, generator: torch.Generator | None = None) -> Tensor:
    generator = generator or torch.Generator().manual_seed(0)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


# Normalisation


def test_layer_norm_gives_each_position_mean_0_and_variance_1(generator: torch.Generator) -> None:
    x = 3 * random(B, T, D, generator=generator) + 7

    y = layer_norm(x, torch.ones(D), torch.zeros(D), eps=0.0)

    torch.testing.assert_close(y.mean(-1), torch.zeros(B, T, dtype=torch.float64))
    torch.testing.assert_close(y.var(-1, correction=0), torch.ones(B, T, dtype=torch.float64))


@given(scale=st.floats(0.01, 100), shift=st.floats(-100, 100))
def test_layer_norm_forgets_scale_and_shift(scale: float, shift: float) -> None:
    x, weight, bias = random(T, D), random(D), random(D)

    torch.testing.assert_close(
        layer_norm(scale * x + shift, weight, bias, eps=0.0), layer_norm(x, weight, bias, eps=0.0)
    )


@given(scale=st.floats(0.01, 100))
def test_rms_norm_forgets_scale(scale: float) -> None:
    x, weight = random(T, D), random(D)

    torch.testing.assert_close(rms_norm(scale * x, weight, eps=0.0), rms_norm(x, weight, eps=0.0))


def test_rms_norm_keeps_the_mean() -> None:
    x = torch.tensor([3.0, 3.0, 3.0])

    assert rms_norm(x, torch.ones(3), eps=0.0).tolist() == [1.0, 1.0, 1.0]  # layer_norm would give 0
    assert layer_norm(x, torch.ones(3), torch.zeros(3)).tolist() == [0.0, 0.0, 0.0]


def test_layer_norm_of_two_numbers_is_minus_one_and_one() -> None:
    y = layer_norm(torch.tensor([2.0, 8.0]), torch.tensor([5.0, 7.0]), torch.tensor([11.0, 13.0]), eps=0.0)

    assert y.tolist() == [11.0 - 5.0, 13.0 + 7.0]  # mean 5, deviation 3


@pytest.mark.parametrize(
    "layer",
    [
        lambda x: layer_norm(x, torch.ones(D), torch.zeros(D)),
        lambda x: rms_norm(x, torch.ones(D)),
        FeedForward(D, F).double(),
    ],
    ids=["layer_norm", "rms_norm", "FeedForward"],
)
def test_no_other_position_takes_part(layer: Callable[[Tensor], Tensor], generator: torch.Generator) -> None:
    x = random(B, T, D, generator=generator)

    alone = torch.stack([torch.stack([layer(position) for position in text]) for text in x])

    torch.testing.assert_close(layer(x), alone)


# Feed-forward


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_feed_forward_is_the_row_form_of_the_paper(activation: str, generator: torch.Generator) -> None:
    layer = FeedForward(D, F, activation=activation).double()
    w1, w2 = layer.expand.weight.T, layer.contract.weight.T  # (D, F), (F, D)
    x = random(B, T, D, generator=generator)

    expected = ACTIVATIONS[activation](x @ w1 + layer.expand.bias) @ w2 + layer.contract.bias

    torch.testing.assert_close(layer(x), expected)


def test_feed_forward_without_bias_maps_zero_to_zero() -> None:
    layer = FeedForward(D, F, bias=False)

    assert not layer(torch.zeros(T, D)).any()
    assert sum(p.numel() for p in layer.parameters()) == 2 * D * F


def test_gpt2s_gelu_is_close_to_the_exact_one_and_not_the_same() -> None:
    x = torch.linspace(-5, 5, 101)

    difference = (ACTIVATIONS["gelu"](x) - ACTIVATIONS["gelu_tanh"](x)).abs().max()

    assert 1e-5 < difference < 1e-3


def test_an_unknown_activation_is_named_beside_the_known_ones() -> None:
    with pytest.raises(ValueError, match="activation 'swish' is not one of relu, gelu, gelu_tanh"):
        FeedForward(D, F, activation="swish")


# Positions


def test_sinusoids_by_hand() -> None:
    table = sinusoidal_positions(3, 4, base=100.0)  # two waves: 1 radian a position, and 1 / 10

    expected = [[sin(t), cos(t), sin(t / 10), cos(t / 10)] for t in range(3)]
    torch.testing.assert_close(table, torch.tensor(expected))


def test_the_first_sinusoid_turns_once_in_two_pi_and_the_last_almost_never() -> None:
    table = sinusoidal_positions(10_000, 128, base=10_000.0)

    sine = table[:, 0]
    turns = ((sine[:-1] < 0) & (sine[1:] >= 0)).sum()
    assert turns == 10_000 // (2 * torch.pi)  # upward zero crossings after the start
    slowest = 10_000.0 ** (-126 / 128)  # radians a position
    torch.testing.assert_close(table[9_999, 126], torch.tensor(9_999 * slowest).sin())


@given(distance=st.integers(0, 50), start=st.integers(0, 500))
def test_sinusoids_of_the_same_distance_have_the_same_product(distance: int, start: int) -> None:
    table = sinusoidal_positions(551, D).double()

    torch.testing.assert_close(table[start] @ table[start + distance], table[0] @ table[distance], rtol=1e-5, atol=1e-5)


@given(distance=st.integers(-50, 50), start=st.integers(50, 100_000))
def test_rotary_scores_depend_on_distance_only(distance: int, start: int) -> None:
    q, k = random(1, D), random(1, D, generator=torch.Generator().manual_seed(1))

    here = rotary(q, offset=50) @ rotary(k, offset=50 + distance).mT
    there = rotary(q, offset=start) @ rotary(k, offset=start + distance).mT

    torch.testing.assert_close(there, here)


@given(split=st.integers(0, T), offset=st.integers(0, 1000))
def test_rotary_in_two_pieces_is_rotary_in_one(split: int, offset: int) -> None:
    x = random(B, T, D)

    pieces = [rotary(x[:, :split], offset=offset), rotary(x[:, split:], offset=offset + split)]

    torch.testing.assert_close(torch.cat(pieces, dim=1), rotary(x, offset=offset))


def test_rotary_keeps_lengths_and_leaves_position_0(generator: torch.Generator) -> None:
    x = random(B, T, D, generator=generator)

    turned = rotary(x)

    torch.testing.assert_close(turned.norm(dim=-1), x.norm(dim=-1))
    torch.testing.assert_close(turned[:, 0], x[:, 0])
    assert not torch.allclose(turned[:, 1], x[:, 1])


def test_rotary_turns_a_pair_by_the_position_in_radians() -> None:
    x = torch.tensor([[1.0, 0.0]]).expand(T, 2)

    t = torch.arange(T)
    torch.testing.assert_close(rotary(x), torch.stack([t.cos(), t.sin()], dim=-1))


def test_rotary_pairs_the_halves() -> None:
    x = torch.zeros(2, 4)
    x[1, 1] = 1.0  # the first half's second number, at position 1: it turns into the second half's second

    angle = torch.tensor(100.0**-0.5)
    torch.testing.assert_close(rotary(x, base=100.0)[1], torch.stack([x[0, 0], angle.cos(), x[0, 0], angle.sin()]))


@pytest.mark.parametrize("make", [lambda: sinusoidal_positions(T, 7), lambda: rotary(torch.zeros(T, 7))])
def test_an_odd_width_has_no_pairs(make: Callable[[], Tensor]) -> None:
    with pytest.raises(ValueError, match="the width must be even, got 7"):
        make()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_layers_keep_the_precision_they_are_given(dtype: torch.dtype) -> None:
    x = torch.ones(T, D, dtype=dtype)

    for y in (rotary(x), layer_norm(x, x[0], x[0]), rms_norm(x, x[0])):
        assert y.dtype == dtype
