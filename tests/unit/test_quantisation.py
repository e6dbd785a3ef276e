"""Quantisation: how far rounding moves a weight, and what it saves."""

import pytest
import torch

from llmguide.quantisation import dequantise, quantise

OUT, IN = 5, 64


@pytest.fixture
def weight(generator: torch.Generator) -> torch.Tensor:
    return torch.randn(OUT, IN, generator=generator)


@pytest.mark.parametrize("bits", [2, 4, 8])
def test_no_weight_moves_by_more_than_half_a_step_of_its_row(weight: torch.Tensor, bits: int) -> None:
    weight[0] *= 1000  # another row's large numbers cost the small rows nothing

    error = (dequantise(quantise(weight, bits=bits)) - weight).abs()

    half_a_step = weight.abs().amax(1, keepdim=True) / (2 ** (bits - 1) - 1) / 2
    assert (error <= half_a_step * (1 + 1e-5)).all()
    assert (error > half_a_step / 2).any()


def test_the_largest_of_each_row_keeps_its_value(weight: torch.Tensor) -> None:
    largest = weight.abs().argmax(1, keepdim=True)

    kept = dequantise(quantise(weight)).gather(1, largest)

    torch.testing.assert_close(kept, weight.gather(1, largest))


def test_each_bit_more_halves_the_error(weight: torch.Tensor) -> None:
    errors = [float((dequantise(quantise(weight, bits=bits)) - weight).norm()) for bits in (6, 7, 8)]

    assert errors[0] / errors[1] == pytest.approx(63 / 31, rel=0.15)  # the ratio of their steps
    assert errors[1] / errors[2] == pytest.approx(127 / 63, rel=0.15)


def test_one_outlier_makes_its_row_coarse(weight: torch.Tensor) -> None:
    before = (dequantise(quantise(weight)) - weight)[0, 1:].norm()
    weight[0, 0] = 100.0

    after = (dequantise(quantise(weight)) - weight)[0, 1:].norm()

    assert after > 10 * before


def test_what_is_rounded_once_does_not_move_again(weight: torch.Tensor) -> None:
    once = quantise(weight)

    assert torch.equal(quantise(dequantise(once)).codes, once.codes)


def test_rows_of_zeros_and_of_tiny_numbers_stay_what_they_are() -> None:
    weight = torch.tensor([[0.0, 0.0], [1e-30, -1e-30]])

    torch.testing.assert_close(dequantise(quantise(weight)), weight, rtol=1e-6, atol=0)


def test_eight_bits_take_a_quarter_of_float32_and_four_an_eighth(weight: torch.Tensor) -> None:
    scales = OUT * 4

    assert quantise(weight).codes.dtype == torch.int8
    assert quantise(weight).bytes == weight.nbytes / 4 + scales
    assert quantise(weight, bits=4).bytes == weight.nbytes / 8 + scales


def test_half_precision_is_rounded_in_float32_and_a_parameter_will_do() -> None:
    weight = torch.nn.Parameter(torch.tensor([[1.0, 0.5]], dtype=torch.bfloat16))

    result = dequantise(quantise(weight))

    assert result.dtype == torch.float32 and not result.requires_grad
    torch.testing.assert_close(result, torch.tensor([[1.0, 64 / 127]]))  # 63.5 rounds to the even 64


def test_what_cannot_be_is_refused(weight: torch.Tensor) -> None:
    with pytest.raises(ValueError, match="bits is 1; it must be 2 to 8"):
        quantise(weight, bits=1)
    weight[0, 0] = float("nan")
    with pytest.raises(ValueError, match="NaN or infinite"):
        quantise(weight)
