"""Metrics: numbers with known answers."""

from math import log

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from llmguide.metrics import entropy


@given(size=st.integers(1, 1000))
def test_equal_choices_have_the_entropy_ln_s(size: int) -> None:
    uniform = torch.full((size,), 1 / size, dtype=torch.float64)

    assert entropy(uniform).item() == pytest.approx(log(size))


def test_a_certain_choice_has_none() -> None:
    assert entropy(torch.tensor([0.0, 1.0, 0.0])).item() == 0.0


def test_entropy_is_that_of_torch(generator: torch.Generator) -> None:
    probabilities = torch.rand(2, 3, 5, generator=generator, dtype=torch.float64)
    probabilities /= probabilities.sum(-1, keepdim=True)

    torch.testing.assert_close(entropy(probabilities), torch.distributions.Categorical(probabilities).entropy())


def test_two_independent_choices_add_up(generator: torch.Generator) -> None:
    a, b = torch.rand(2, 5, generator=generator, dtype=torch.float64).softmax(-1)

    torch.testing.assert_close(entropy(torch.outer(a, b).flatten()), entropy(a) + entropy(b))
