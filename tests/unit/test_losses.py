"""Losses: what is scored, against what, and in which unit."""

from math import exp, log

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from llmguide.losses import IGNORE, masked_token_loss, next_token_loss

B, T, V = 2, 5, 7


def test_logits_are_scored_against_the_next_id(generator: torch.Generator) -> None:
    ids = torch.randint(V, (B, T), generator=generator)
    certain = 1000.0 * F.one_hot(ids.roll(-1, dims=1), V)  # at each position sure of the one that follows

    assert next_token_loss(certain, ids).item() == 0.0
    assert next_token_loss(1000.0 * F.one_hot(ids, V), ids).item() > 100  # sure of itself: wrong


def test_the_last_logits_have_nothing_to_be_scored_against(generator: torch.Generator) -> None:
    ids = torch.randint(V, (B, T), generator=generator)
    logits = torch.randn(B, T, V, generator=generator, requires_grad=True)

    next_token_loss(logits, ids).backward()

    assert not logits.grad[:, -1].any()
    assert logits.grad[:, :-1].any(-1).all()


@given(size=st.integers(2, 1000))
def test_knowing_nothing_costs_ln_v(size: int) -> None:
    logits = torch.zeros(1, 3, size, dtype=torch.float64)

    assert next_token_loss(logits, torch.tensor([[0, 1, 0]])).item() == pytest.approx(log(size))


def test_the_loss_is_the_mean_surprise_in_nats() -> None:
    odds = torch.tensor([[[1.0, 3.0], [1.0, 1.0], [5.0, 5.0]]])  # id 1 has 3/4, then 1/2
    ids = torch.tensor([[0, 1, 0]])

    loss = next_token_loss(odds.log(), ids)

    assert exp(-2 * loss.item()) == pytest.approx(3 / 4 * 1 / 2)


def test_ignored_ids_are_not_scored(generator: torch.Generator) -> None:
    logits = torch.randn(B, T, V, generator=generator)
    ids = torch.randint(V, (B, T), generator=generator)
    half = ids.clone()
    half[1] = IGNORE

    torch.testing.assert_close(next_token_loss(logits, half), next_token_loss(logits[:1], ids[:1]))


def test_masked_tokens_are_scored_where_they_stand(generator: torch.Generator) -> None:
    ids = torch.randint(V, (B, T), generator=generator)
    labels = ids.clone()
    labels[:, 1:] = IGNORE

    assert masked_token_loss(1000.0 * F.one_hot(ids, V), labels).item() == 0.0


def test_no_token_to_score_is_an_error_and_not_nan() -> None:
    labels = torch.full((B, T), IGNORE)

    with pytest.raises(ValueError, match="no token to score: all 10 labels are -100"):
        masked_token_loss(torch.zeros(B, T, V), labels)
    with pytest.raises(ValueError, match="no token to score"):
        next_token_loss(torch.zeros(B, T, V), labels)


def test_one_position_has_no_next_token() -> None:
    with pytest.raises(ValueError, match="needs at least 2 positions, got 1"):
        next_token_loss(torch.zeros(B, 1, V), torch.zeros(B, 1, dtype=torch.long))
