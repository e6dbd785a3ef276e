import math
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from transformers import get_cosine_schedule_with_warmup

from llmguide import training
from llmguide.batches import blocks, draw
from llmguide.losses import next_token_loss, next_token_score
from llmguide.model import Decoder, ModelConfig
from llmguide.training import Diverged, TrainingConfig, fit, gradient, learning_rate_share, parameter_groups

V, T = 13, 7
ROWS = blocks(torch.randint(V, (17 * T,), generator=torch.Generator().manual_seed(1)).tolist(), length=T)


def _model(*, dropout: float = 0.0, seed: int = 0) -> Decoder:
    torch.manual_seed(seed)
    return Decoder(ModelConfig(vocabulary=V, context=T, width=6, layers=1, heads=3, dropout=dropout))


def _batches(step: int) -> Sequence[Tensor]:
    return [draw(ROWS, count=4, step=step, seed=0)]


def _state(model: nn.Module) -> Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in model.parameters()])


@pytest.mark.parametrize("warmup", [0, 5])
def test_the_schedule_equals_that_of_transformers(warmup: int) -> None:
    steps, highest = 23, 0.3
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=highest)
    scheduler = get_cosine_schedule_with_warmup(optimizer, warmup, steps)
    for step in range(steps + 1):
        ours = highest * learning_rate_share(step, steps=steps, warmup=warmup)
        assert ours == pytest.approx(scheduler.get_last_lr()[0], abs=1e-12)
        optimizer.step()
        scheduler.step()


def test_the_schedule_ends_at_its_floor() -> None:
    assert learning_rate_share(50, steps=50, warmup=5, floor=0.1) == pytest.approx(0.1)


def test_four_small_batches_give_the_gradient_of_one_large_one() -> None:
    model, large = _model().double(), ROWS[:11]
    whole = gradient(model, next_token_score, [large])
    expected = [parameter.grad.clone() for parameter in model.parameters()]

    parts = gradient(model, next_token_score, large.split([2, 5, 1, 3]))

    assert parts == pytest.approx(whole, abs=1e-12)
    for parameter, wanted in zip(model.parameters(), expected, strict=True):
        torch.testing.assert_close(parameter.grad, wanted)


def test_training_is_torchs_own_loop_with_adamw_a_clip_and_the_schedule_of_transformers() -> None:
    ours, theirs, config = _model(), _model(), TrainingConfig(steps=7, learning_rate=0.02, warmup=3, clip=0.3)
    optimizer = torch.optim.AdamW(parameter_groups(theirs, weight_decay=config.weight_decay), lr=0.02)
    scheduler = get_cosine_schedule_with_warmup(optimizer, config.warmup, config.steps)

    history = fit(ours, next_token_score, _batches, config)
    optimizer.step()  # of no gradient: nothing, but the scheduler wants to have seen one
    for step in range(config.steps):
        scheduler.step()  # a rate of 0 in the first step would waste it
        optimizer.zero_grad()
        next_token_loss(theirs(*_batches(step)), *_batches(step)).backward()
        nn.utils.clip_grad_norm_(theirs.parameters(), config.clip)
        optimizer.step()

    assert min(history.gradient_norms) > config.clip  # the clip had work to do
    torch.testing.assert_close(_state(ours), _state(theirs))


def test_long_gradients_are_cut_to_the_clip() -> None:
    model = _model()
    history = fit(model, next_token_score, _batches, TrainingConfig(steps=1, clip=0.01))

    used = torch.cat([parameter.grad.flatten() for parameter in model.parameters()]).norm()
    assert history.gradient_norms[0] > 0.01
    assert float(used) == pytest.approx(0.01, rel=1e-3)


def test_only_matrices_decay() -> None:
    decayed, spared = parameter_groups(_model(), weight_decay=0.1)
    assert all(parameter.ndim >= 2 for parameter in decayed["params"])
    assert all(parameter.ndim < 2 for parameter in spared["params"])
    assert (decayed["weight_decay"], spared["weight_decay"]) == (0.1, 0.0)


def test_training_learns_by_heart_what_it_sees_again_and_again() -> None:
    model = _model()
    history = fit(
        model, next_token_score, lambda _: [ROWS[:2]], TrainingConfig(steps=150, learning_rate=3e-2, warmup=5)
    )
    assert history.losses[0] == pytest.approx(math.log(V), abs=0.3)
    assert history.losses[-1] < 0.5


@pytest.mark.parametrize("stopped_at", [1, 6])
def test_a_run_that_was_stopped_goes_on_bit_for_bit(stopped_at: int, tmp_path: Path) -> None:
    config = TrainingConfig(steps=10, warmup=2, evaluate_every=3, save_every=1)
    straight, broken, score = _model(dropout=0.2), _model(dropout=0.2), next_token_score

    def evaluate(model: Decoder) -> float:
        return float(next_token_loss(model(ROWS[:3]), ROWS[:3]))

    torch.manual_seed(7)
    whole = fit(straight, score, _batches, config, evaluate=lambda: evaluate(straight))

    def power_cut(done: int, _: float) -> None:
        if done == stopped_at:
            raise KeyboardInterrupt

    torch.manual_seed(7)
    with pytest.raises(KeyboardInterrupt):
        fit(
            broken,
            next_token_score,
            _batches,
            config,
            evaluate=lambda: evaluate(broken),
            folder=tmp_path,
            after_step=power_cut,
        )
    torch.manual_seed(12345)  # another process, another state of chance
    resumed = _model(dropout=0.2, seed=99)
    history = fit(resumed, score, _batches, config, evaluate=lambda: evaluate(resumed), folder=tmp_path)

    assert torch.equal(_state(resumed), _state(straight))
    assert history == whole


def test_a_run_with_other_settings_is_not_mixed_in(tmp_path: Path) -> None:
    fit(_model(), next_token_score, _batches, TrainingConfig(steps=2), folder=tmp_path)
    with pytest.raises(ValueError, match=r"learning_rate was 0\.001, is 0\.5"):
        fit(_model(), next_token_score, _batches, TrainingConfig(steps=2, learning_rate=0.5), folder=tmp_path)


def test_a_run_of_another_model_is_not_mixed_in(tmp_path: Path) -> None:
    fit(_model(), next_token_score, _batches, TrainingConfig(steps=2), folder=tmp_path)
    other = Decoder(ModelConfig(vocabulary=V, context=T, width=9, layers=1, heads=3))
    with pytest.raises(ValueError, match="belongs to another model"):
        fit(other, next_token_score, _batches, TrainingConfig(steps=2), folder=tmp_path)


def test_a_damaged_state_is_named(tmp_path: Path) -> None:
    (tmp_path / training.STATE_FILE).write_bytes(b"nothing of the kind")
    with pytest.raises(ValueError, match="is damaged"):
        fit(_model(), next_token_score, _batches, TrainingConfig(steps=2), folder=tmp_path)


def test_a_loss_that_is_not_finite_stops_the_run_at_the_last_good_parameters(tmp_path: Path) -> None:
    model, seen = _model(), []

    def score(model: nn.Module, batch: Tensor) -> tuple[Tensor, int]:
        loss, targets = next_token_score(model, batch)
        seen.append(_state(model))
        return (loss * math.nan if len(seen) == 4 else loss), targets

    with pytest.raises(Diverged, match=r"step 4: loss nan.*lower learning rate"):
        fit(model, score, _batches, TrainingConfig(steps=10, save_every=1), folder=tmp_path)

    assert torch.equal(_state(model), seen[-1])
    assert _state(model).isfinite().all()
    restored = _model(seed=5)
    optimizer = torch.optim.AdamW(parameter_groups(restored, weight_decay=0.01))
    assert len(training.resume(restored, optimizer, TrainingConfig(steps=10, save_every=1), tmp_path).losses) == 3
    assert torch.equal(_state(restored), _state(model))


def test_patience_ends_a_run_that_no_longer_improves() -> None:
    validation = iter([3.0, 2.0, 2.5, 2.4, 1.0])
    config = TrainingConfig(steps=50, evaluate_every=1, patience=2)
    history = fit(_model(), next_token_score, _batches, config, evaluate=lambda: next(validation))
    assert [loss for _, loss in history.evaluations] == [3.0, 2.0, 2.5, 2.4]
    assert history.best == 2.0


def _validated(
    losses: list[float], config: TrainingConfig, *, folder: Path | None = None
) -> tuple[Decoder, list[Tensor]]:
    """A run whose evaluations give these losses, and its parameters at each of them."""
    model, seen, left = _model(), list[Tensor](), iter(losses)

    def evaluate() -> float:
        seen.append(_state(model))
        return next(left)

    fit(model, next_token_score, _batches, config, evaluate=evaluate, folder=folder)
    return model, seen


@pytest.mark.parametrize("losses", [[3.0, 2.0, 2.5, 2.4], [math.nan, 2.0, 2.5, math.nan], [3.0, 2.0, 2.0, 2.0]])
def test_with_patience_a_run_ends_with_the_parameters_of_its_best_evaluation(losses: list[float]) -> None:
    model, seen = _validated(losses, TrainingConfig(steps=50, evaluate_every=1, patience=2))
    assert len(seen) == 4
    assert torch.equal(_state(model), seen[1])


def test_also_where_the_steps_ran_out_first() -> None:
    model, seen = _validated([3.0, 1.0, 2.0], TrainingConfig(steps=3, evaluate_every=1, patience=2))
    assert torch.equal(_state(model), seen[1])


def test_without_patience_a_run_ends_with_its_last_parameters() -> None:
    model, seen = _validated([3.0, 1.0, 2.0], TrainingConfig(steps=3, evaluate_every=1))
    assert torch.equal(_state(model), seen[2])


def test_a_run_that_stopped_early_is_over_and_its_best_parameters_are_found_again(tmp_path: Path) -> None:
    config = TrainingConfig(steps=50, evaluate_every=1, patience=2)
    model, _ = _validated([3.0, 2.0, 2.5, 2.4], config, folder=tmp_path)

    again = _model(seed=5)
    history = fit(again, next_token_score, _batches, config, evaluate=lambda: 0.0, folder=tmp_path)

    assert [loss for _, loss in history.evaluations] == [3.0, 2.0, 2.5, 2.4]
    assert torch.equal(_state(again), _state(model))


def test_a_run_stopped_after_its_best_evaluation_still_ends_with_it(tmp_path: Path) -> None:
    config = TrainingConfig(steps=50, evaluate_every=1, patience=2, save_every=1)
    whole, _ = _validated([3.0, 2.0, 2.5, 2.4], config)
    with pytest.raises(StopIteration):  # at the fourth evaluation; three steps are saved
        _validated([3.0, 2.0, 2.5], config, folder=tmp_path)

    resumed, _ = _validated([2.4], config, folder=tmp_path)

    assert torch.equal(_state(resumed), _state(whole))


def test_a_failed_save_leaves_the_earlier_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = TrainingConfig(steps=2, save_every=1)
    written = []

    def second_fails(tensors: dict[str, Tensor], path: Path, metadata: dict[str, str]) -> None:
        if written:
            path.write_bytes(b"half a fi")
            raise OSError("no space left")
        written.append(save_file(tensors, path, metadata=metadata))

    monkeypatch.setattr(training, "save_file", second_fails)
    with pytest.raises(OSError, match="no space left"):
        fit(_model(), next_token_score, _batches, config, folder=tmp_path)

    restored = _model()
    optimizer = torch.optim.AdamW(parameter_groups(restored, weight_decay=0.01))
    assert len(training.resume(restored, optimizer, config, tmp_path).losses) == 1


def test_progress_is_drawn_on_standard_error_and_only_where_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    fit(_model(), next_token_score, _batches, TrainingConfig(steps=2))
    silent = capsys.readouterr()
    history = fit(_model(), next_token_score, _batches, TrainingConfig(steps=2), progress=True)
    drawn = capsys.readouterr()

    assert (silent.out, silent.err, drawn.out) == ("", "", "")
    assert "2/2" in drawn.err
    assert f"loss={history.losses[-1]:.3f}" in drawn.err


def test_evaluation_is_in_evaluation_mode_and_training_goes_on_in_training_mode() -> None:
    model, modes = _model(dropout=0.5), []

    def evaluate() -> float:
        modes.append((model.training, torch.is_grad_enabled()))
        return 0.0

    fit(model, next_token_score, _batches, TrainingConfig(steps=2, evaluate_every=1), evaluate=evaluate)
    assert modes == [(False, False), (False, False)]
    assert model.training


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"steps": 0}, "steps is 0"),
        ({"learning_rate": -1.0}, r"learning_rate is -1\.0"),
        ({"warmup": 11}, "warmup is 11"),
        ({"floor": 2.0}, r"floor is 2\.0"),
        ({"clip": 0.0}, r"clip is 0\.0"),
        ({"patience": 3}, "patience is 3"),
    ],
)
def test_settings_that_cannot_be_are_named(wrong: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TrainingConfig(**({"steps": 10} | wrong))


def test_batches_with_nothing_to_predict_are_refused() -> None:
    with pytest.raises(ValueError, match="nothing to predict"):
        gradient(_model(), next_token_score, [])
