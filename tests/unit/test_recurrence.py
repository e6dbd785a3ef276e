"""Recurrence: what an LSTM carries, and that reading in pieces is reading in one go. Parity is in `parity`."""

import math

import pytest
import torch
from torch import Tensor

from llmguide.losses import next_token_loss
from llmguide.recurrence import LSTM, LSTMLanguageModel, RecurrentConfig

B, T, D, F, V = 2, 7, 5, 11, 13


@pytest.fixture
def x(generator: torch.Generator) -> Tensor:
    return torch.randn(B, T, D, generator=generator)


@pytest.fixture
def ids(generator: torch.Generator) -> Tensor:
    return torch.randint(V, (B, T), generator=generator)


def model(*, layers: int = 2, dropout: float = 0.0) -> LSTMLanguageModel:
    return LSTMLanguageModel(RecurrentConfig(vocabulary=V, width=D, layers=layers, dropout=dropout))


def test_the_future_cannot_change_the_past(x: Tensor) -> None:
    layer, changed = LSTM(D, F), x.clone()
    changed[:, 4] += 1

    before, after = layer(x)[0], layer(changed)[0]

    assert torch.equal(before[:, :4], after[:, :4])
    assert (before[:, 4:] != after[:, 4:]).any(-1).all()


def test_reading_in_pieces_with_the_state_carried_is_reading_in_one_go(x: Tensor) -> None:
    layer = LSTM(D, F)

    whole, last = layer(x)
    first, state = layer(x[:, :3])
    second, end = layer(x[:, 3:], state=state)

    torch.testing.assert_close(torch.cat([first, second], dim=1), whole)
    torch.testing.assert_close(end, last)


def test_an_open_forget_gate_and_a_closed_input_gate_keep_the_memory_for_ever(x: Tensor) -> None:
    layer = LSTM(D, F)
    for parameter in layer.parameters():
        torch.nn.init.zeros_(parameter)
    bias = layer.project_in.bias.data
    bias[:F], bias[F : 2 * F] = -100, 100  # input, forget
    memory = torch.arange(float(F)).expand(B, F)

    _, (_, kept) = layer(x, state=(torch.zeros(B, F), memory))

    torch.testing.assert_close(kept, memory)


def test_a_new_layer_remembers() -> None:
    layer = LSTM(D, F)

    assert (layer.project_in.bias[F : 2 * F] == 1).all()
    assert layer.project_in.weight.abs().max() <= F**-0.5
    assert layer.project_state.weight.abs().max() <= F**-0.5


@pytest.mark.parametrize("side", ["left", "right"])
def test_padding_leaves_the_state_as_it_is(side: str, x: Tensor) -> None:
    layer, real = LSTM(D, F), slice(2, T) if side == "left" else slice(0, T - 2)
    keep = torch.zeros(B, T, dtype=torch.bool)
    keep[:, real] = True

    outputs, (output, memory) = layer(x, keep=keep)
    alone, (expected_output, expected_memory) = layer(x[:, real])

    torch.testing.assert_close(outputs[:, real], alone)
    torch.testing.assert_close((output, memory), (expected_output, expected_memory))


def test_a_new_model_knows_nothing(ids: Tensor) -> None:
    assert next_token_loss(model()(ids), ids).item() == pytest.approx(math.log(V), abs=0.3)


def test_with_a_cache_or_without_the_scores_are_the_same(ids: Tensor) -> None:
    ours = model()
    cache = ours.new_cache()

    pieces = [ours(ids[:, :4], cache=cache), *(ours(ids[:, t : t + 1], cache=cache) for t in range(4, T))]

    torch.testing.assert_close(torch.cat(pieces, dim=1), ours(ids))


def test_a_cache_follows_the_rows_that_are_kept(ids: Tensor) -> None:
    ours = model()
    cache = ours.new_cache()
    ours(ids[:, :4], cache=cache)
    rows = torch.tensor([1, 1, 0])
    for layer in cache:
        layer.select(rows)

    torch.testing.assert_close(ours(ids[rows, 4:], cache=cache), ours(ids[rows])[:, 4:])


def test_a_prompt_padded_on_the_left_is_scored_as_alone(ids: Tensor) -> None:
    ours, keep = model(), torch.ones(B, T, dtype=torch.bool)
    keep[0, :3] = False
    cache = ours.new_cache()

    padded = torch.cat([ours(ids[:, :4], keep=keep[:, :4], cache=cache), ours(ids[:, 4:], keep=keep, cache=cache)], 1)

    torch.testing.assert_close(padded[:1, 3:], ours(ids[:1, 3:]))
    torch.testing.assert_close(padded[1:], ours(ids[1:]))


def test_the_embedding_reads_and_scores() -> None:
    ours = model(layers=1)

    assert [tuple(p.shape) for p in ours.parameters()] == [(V, D), (4 * D, D), (4 * D,), (4 * D, D)]


def test_dropout_acts_in_training_only(ids: Tensor) -> None:
    ours = model(dropout=0.5)

    assert not torch.equal(ours(ids), ours(ids))
    ours.eval()
    assert torch.equal(ours(ids), ours(ids))


def test_a_model_learns_to_carry_the_first_token_to_the_end() -> None:
    torch.manual_seed(0)
    ours = LSTMLanguageModel(RecurrentConfig(vocabulary=V, width=32))
    optimizer = torch.optim.AdamW(ours.parameters(), lr=3e-2)
    middle = torch.arange(4, 10).expand(4, 6)
    ids = torch.cat([torch.arange(4)[:, None], middle, torch.arange(4)[:, None]], dim=1)  # the same six between
    for _ in range(60):
        optimizer.zero_grad()
        next_token_loss(ours(ids), ids).backward()
        optimizer.step()

    assert ours(ids)[:, -2].argmax(-1).tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"vocabulary": 0}, "vocabulary is 0; it must be at least 1"),
        ({"width": 0}, "width is 0"),
        ({"layers": 0}, "layers is 0"),
        ({"dropout": 1.0}, r"dropout is 1\.0"),
    ],
)
def test_settings_that_cannot_be_are_named(wrong: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        RecurrentConfig(**({"vocabulary": V, "width": D} | wrong))


def test_a_layer_of_no_width_is_refused() -> None:
    with pytest.raises(ValueError, match="width is 5 and hidden 0"):
        LSTM(D, 0)


def test_a_text_without_tokens_and_a_mask_that_does_not_fit_are_named(ids: Tensor) -> None:
    with pytest.raises(ValueError, match="the text has no tokens"):
        model()(ids[:, :0])
    with pytest.raises(ValueError, match=r"keep has shape \(2, 8\), which does not fit \(2, 7\) ids"):
        model()(ids, keep=torch.ones(B, T + 1, dtype=torch.bool))
