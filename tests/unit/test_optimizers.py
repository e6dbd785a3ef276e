"""Optimisers: our Muon is torch's, our Adam is torch's, and both are one optimiser that training can save."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from llmguide.losses import next_token_score
from llmguide.model import Decoder, ModelConfig
from llmguide.optimizers import Muon, orthogonalised
from llmguide.training import TrainingConfig, fit


def small_model() -> Decoder:
    torch.manual_seed(0)
    return Decoder(ModelConfig(vocabulary=29, context=7, width=12, layers=2, heads=3))


@pytest.mark.parametrize("shape", [(7, 11), (11, 7), (5, 5)])
def test_an_orthogonalised_matrix_keeps_its_directions_and_evens_their_lengths(
    shape: tuple[int, int], generator: torch.Generator
) -> None:
    matrix = torch.randn(shape, generator=generator, dtype=torch.float64)
    u, _, v = torch.linalg.svd(matrix, full_matrices=False)

    turned = u.T @ orthogonalised(matrix) @ v.T  # in the matrix's own directions

    off_diagonal = turned - torch.diag(turned.diagonal())
    assert off_diagonal.abs().max() < 1e-9
    assert turned.diagonal().min() > 0.6
    assert turned.diagonal().max() < 1.3


def test_a_matrix_of_zeros_stays_zero() -> None:
    assert bool((orthogonalised(torch.zeros(3, 4)) == 0).all())


def test_matrices_move_as_torchs_muon_moves_them(generator: torch.Generator) -> None:
    ours, theirs = (nn.Linear(8, 24, bias=False) for _ in range(2))
    theirs.load_state_dict(ours.state_dict())
    settings = {"momentum": 0.95, "weight_decay": 0.01}
    steps = [Muon(ours, learning_rate=0.02, **settings), torch.optim.Muon(theirs.parameters(), lr=0.02, **settings)]
    for _ in range(3):
        gradient = torch.randn(24, 8, generator=generator)
        for layer, optimizer in zip((ours, theirs), steps, strict=True):
            layer.weight.grad = gradient.clone()
            optimizer.step()

    # torch orthogonalises in bfloat16, three digits
    torch.testing.assert_close(ours.weight, theirs.weight, rtol=0, atol=2e-3)


def test_embeddings_norms_and_biases_move_as_torchs_adamw_moves_them(generator: torch.Generator) -> None:
    ours, theirs = (nn.ModuleList([nn.Embedding(5, 3), nn.LayerNorm(3)]) for _ in range(2))
    theirs.load_state_dict(ours.state_dict())
    optimizer = Muon(ours, adam_learning_rate=1e-2, betas=(0.9, 0.98))
    reference = torch.optim.AdamW(theirs.parameters(), lr=1e-2, betas=(0.9, 0.98), weight_decay=0.0)
    for _ in range(4):
        for mine, other in zip(ours.parameters(), theirs.parameters(), strict=True):
            mine.grad = torch.randn(mine.shape, generator=generator)
            other.grad = mine.grad.clone()
        optimizer.step()
        reference.step()

    for mine, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(mine, other)


def test_a_run_with_muon_resumes_bit_for_bit(tmp_path: Path, generator: torch.Generator) -> None:
    ids = torch.randint(29, (4, 7), generator=generator)

    def run(steps_until_stop: int, folder: Path) -> Tensor:
        model, config = small_model(), TrainingConfig(steps=4, warmup=1, save_every=1)

        def stop(done: int, _: float) -> None:
            if done == steps_until_stop:
                raise KeyboardInterrupt

        try:
            fit(model, next_token_score, lambda _: [ids], config, folder=folder, optimizer=Muon(model), after_step=stop)
        except KeyboardInterrupt:
            return run(-1, folder)
        return torch.cat([parameter.detach().flatten() for parameter in model.parameters()])

    assert torch.equal(run(-1, tmp_path / "whole"), run(2, tmp_path / "interrupted"))


def test_the_rate_of_each_group_follows_the_schedule_from_its_own_height() -> None:
    model, heights = small_model(), list[tuple[float, float]]()
    optimizer = Muon(model, learning_rate=0.02, adam_learning_rate=0.002)
    ids = torch.arange(7)[None]

    fit(
        model,
        next_token_score,
        lambda _: [ids],
        TrainingConfig(steps=2, warmup=2),
        optimizer=optimizer,
        after_step=lambda *_: heights.append((optimizer.param_groups[0]["lr"], optimizer.param_groups[1]["lr"])),
    )

    assert heights == [(0.01, 0.001), (0.02, 0.002)]
