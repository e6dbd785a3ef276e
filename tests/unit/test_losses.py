"""Losses: what is scored, against what, and in which unit."""

from math import exp, log

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from llmguide.losses import (
    IGNORE,
    class_loss,
    masked_token_loss,
    next_token_loss,
    next_token_score,
    sequence_log_probability,
)

B, T, V, C = 2, 5, 7, 3


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


# Sums, for training and for whole texts


def test_the_score_of_a_batch_is_its_summed_loss_and_its_number_of_targets(generator: torch.Generator) -> None:
    ids, logits = torch.randint(V, (B, T), generator=generator), torch.randn(B, T, V, generator=generator)
    labels = ids.clone()
    labels[0, :3] = IGNORE

    loss, targets = next_token_score(lambda _: logits, ids)
    labelled, fewer = next_token_score(lambda _: logits, ids, labels=labels)

    assert (targets, fewer) == (B * (T - 1), B * (T - 1) - 2)  # the first id is nobody's next token
    torch.testing.assert_close(loss, -sequence_log_probability(logits, ids).sum())
    torch.testing.assert_close(labelled, -sequence_log_probability(logits, labels).sum())


def test_the_score_reads_ids_and_not_labels(generator: torch.Generator) -> None:
    ids, read = torch.randint(V, (B, T), generator=generator), []

    def model(x: torch.Tensor) -> torch.Tensor:
        read.append(x)
        return torch.zeros(B, T, V)

    next_token_score(model, ids, labels=ids.masked_fill(ids > 2, IGNORE))

    assert torch.equal(*read, ids)


def test_a_text_is_as_probable_as_its_tokens_together() -> None:
    odds = torch.tensor([[[1.0, 3.0], [1.0, 1.0], [5.0, 5.0]]]).repeat(2, 1, 1)  # id 1 has 3/4, then 1/2
    ids = torch.tensor([[0, 1, 0], [0, IGNORE, 1]])

    probabilities = sequence_log_probability(odds.log(), ids).exp()

    torch.testing.assert_close(probabilities, torch.tensor([3 / 4 * 1 / 2, 1 / 2]))


def test_a_text_with_nothing_to_score_is_named() -> None:
    ids = torch.tensor([[0, 1, 2], [4, IGNORE, IGNORE]])

    with pytest.raises(ValueError, match="text 1 has no token to score"):
        sequence_log_probability(torch.zeros(2, 3, V), ids)
    with pytest.raises(ValueError, match="need at least 2 positions, got 1"):
        sequence_log_probability(torch.zeros(2, 1, V), ids[:, :1])


# Classes


def test_a_classifier_that_knows_nothing_pays_ln_c() -> None:
    assert class_loss(torch.zeros(4, C), torch.tensor([0, 1, 2, 2])).item() == pytest.approx(log(C))


def test_a_weight_counts_a_text_several_times(generator: torch.Generator) -> None:
    logits = torch.randn(2, C, generator=generator)

    weighted = class_loss(logits, torch.tensor([0, 2]), weights=torch.tensor([1.0, 1.0, 3.0]))

    torch.testing.assert_close(weighted, class_loss(logits[[0, 1, 1, 1]], torch.tensor([0, 2, 2, 2])))


def test_labels_may_be_of_any_integer_type(generator: torch.Generator) -> None:
    logits = torch.randn(2, C, generator=generator)

    assert class_loss(logits, torch.tensor([0, 2], dtype=torch.int32)) == class_loss(logits, torch.tensor([0, 2]))


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([0, 7], r"row 1: label 7, allowed 0\.\.2"),
        ([-1, 0], r"row 0: label -1, allowed 0\.\.2"),
        ([IGNORE, IGNORE], "row 0: label -100"),
        ([0.0, 1.0], r"labels are torch\.float32; a class is an integer: pass labels\.long\(\)"),
        ([0, 1, 2], r"2 texts, but labels of shape \(3,\)"),
        ([[0], [1]], r"2 texts, but labels of shape \(2, 1\)"),
    ],
)
def test_labels_that_are_no_classes_are_named(labels: list[float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        class_loss(torch.zeros(2, C), torch.tensor(labels))


def test_no_texts_are_an_error_and_not_nan() -> None:
    with pytest.raises(ValueError, match="no texts to score"):
        class_loss(torch.zeros(0, C), torch.zeros(0, dtype=torch.long))


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("weights", [[1.0, 1.0], [1.0, 0.0, 1.0]])
def test_weights_that_do_not_fit_are_named(weights: list[float]) -> None:
    with pytest.raises(ValueError, match=r"weights are \[1\.0, .*give 3 numbers greater than 0"):
        class_loss(torch.zeros(2, C), torch.tensor([0, 1]), weights=torch.tensor(weights))
