"""Recipes: what trains, how fast, and which rows at which step."""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from transformers import PreTrainedModel

from llmguide.pretrained import classifier, language_model
from llmguide.recipes import Recipe, blocks, freeze, parameter_groups, plan, recipe_for
from tests.unit import tiny


@pytest.fixture
def model(tmp_path: Path) -> PreTrainedModel:
    return classifier(tiny.encoder_folder(tmp_path), tiny.LABELS)[0]


def trained(model: PreTrainedModel) -> set[str]:
    return {name for name, parameter in model.named_parameters() if parameter.requires_grad}


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"epochs": 0}, "epochs is 0"),
        ({"batch": 0}, "batch is 0"),
        ({"length": 0}, "length is 0"),
        ({"learning_rate": 0.0}, "learning_rate is 0.0"),
        ({"warmup": 1.0}, "warmup is 1.0; it is a share"),
        ({"layer_decay": 0.0}, "layer_decay is 0.0"),
        ({"layers": -1}, "layers is -1"),
        ({"patience": 0}, "patience is 0"),
    ],
)
def test_a_recipe_names_a_value_that_cannot_be(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Recipe(**wrong)


def test_few_texts_and_lora_have_recipes_of_their_own_that_can_be_changed() -> None:
    few, many, lora = recipe_for(500), recipe_for(2000), recipe_for(2000, lora=True, epochs=7)

    assert few.batch < many.batch
    assert lora.learning_rate > many.learning_rate > few.learning_rate
    assert (many.epochs, lora.epochs) == (Recipe().epochs, 7)


def test_the_embeddings_are_frozen_on_request(model: PreTrainedModel) -> None:
    freeze(model, embeddings=False)

    assert {name for name, _ in model.named_parameters()} - trained(model) == {
        f"bert.embeddings.{part}"
        for part in (
            "word_embeddings.weight",
            "position_embeddings.weight",
            "token_type_embeddings.weight",
            "LayerNorm.weight",
            "LayerNorm.bias",
        )
    }


def test_everything_trains(model: PreTrainedModel) -> None:
    model.requires_grad_(False)
    freeze(model)

    assert trained(model) == {name for name, _ in model.named_parameters()}


def test_only_the_head_trains_on_request(model: PreTrainedModel) -> None:
    freeze(model, layers=0)

    assert trained(model) == {
        f"{part}.{kind}" for part in ("bert.pooler.dense", "classifier") for kind in ("weight", "bias")
    }


def test_the_last_layers_train_on_request(model: PreTrainedModel) -> None:
    freeze(model, layers=1)

    assert {name.split(".")[3] for name in trained(model) if "layer" in name} == {"1"}


def test_more_layers_than_there_are_cannot_train(model: PreTrainedModel) -> None:
    with pytest.raises(ValueError, match="layers is 3; the model has 2 blocks"):
        freeze(model, layers=3)


@pytest.mark.filterwarnings("ignore:no padding token")
def test_a_decoders_blocks_and_embeddings_are_found_too(tmp_path: Path) -> None:
    model, _ = language_model(tiny.decoder_folder(tmp_path))

    freeze(model, embeddings=False)

    assert len(blocks(model)) == 2
    assert {name for name, _ in model.named_parameters()} - trained(model) == {
        "transformer.wte.weight",
        "transformer.wpe.weight",
    }


def test_rates_fall_by_the_layer_decay_from_the_head_down(model: PreTrainedModel) -> None:
    freeze(model)
    rates = {}
    for group in parameter_groups(model, Recipe(learning_rate=1.0, layer_decay=0.5)):
        for parameter in group["params"]:  # type: ignore[attr-defined]
            rates[id(parameter)] = group["lr"]
    found = {name: rates[id(parameter)] for name, parameter in model.named_parameters()}

    assert found["classifier.weight"] == found["bert.pooler.dense.weight"] == 1.0
    assert found["bert.encoder.layer.1.output.dense.weight"] == 1.0
    assert found["bert.encoder.layer.0.output.dense.weight"] == 0.5
    assert found["bert.embeddings.word_embeddings.weight"] == found["bert.embeddings.LayerNorm.bias"] == 0.25


def test_vectors_do_not_decay_and_every_trained_parameter_is_in_one_group(model: PreTrainedModel) -> None:
    freeze(model, layers=1)
    groups = parameter_groups(model, Recipe(weight_decay=0.1))
    members: list[Any] = [parameter for group in groups for parameter in group["params"]]  # type: ignore[attr-defined]

    assert all((group["weight_decay"] == 0) == (p.ndim < 2) for group in groups for p in group["params"])  # type: ignore[attr-defined]
    assert {id(p) for p in members} == {id(p) for p in model.parameters() if p.requires_grad}
    assert len(members) == len({id(p) for p in members})


def test_a_plan_reads_every_row_once_an_epoch_but_for_what_fills_no_batch() -> None:
    steps = plan([3] * 23, batch=5, epochs=3, seed=0)

    assert [len(step) for step in steps] == [5] * 12
    for first in (0, 4, 8):
        assert len({row for step in steps[first : first + 4] for row in step}) == 20
    assert len(Counter(row for step in steps for row in step)) == 23  # what one epoch leaves out another reads


def test_a_plan_puts_rows_of_similar_length_together() -> None:
    lengths = [(row * 37) % 101 + 1 for row in range(400)]
    padded = sum(max(lengths[row] for row in step) * 8 for step in plan(lengths, batch=8, epochs=1, seed=0))

    assert padded < 1.1 * sum(lengths)


def test_a_plan_is_fixed_by_its_seed_and_has_another_order_each_epoch() -> None:
    first, again, other = (plan([1] * 40, batch=4, epochs=2, seed=seed) for seed in (0, 0, 1))

    assert first == again != other
    assert first[:10] != first[10:]


def test_few_rows_are_one_batch_and_none_are_refused() -> None:
    assert [sorted(step) for step in plan([2, 1], batch=8, epochs=2, seed=0)] == [[0, 1]] * 2
    with pytest.raises(ValueError, match="no rows to plan a run for"):
        plan([], batch=8, epochs=2, seed=0)
