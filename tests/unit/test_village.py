import pytest

from llmguide.telling import sample
from llmguide.village import CHINESE, NAMES, PLACES, THINGS, VILLAGE
from llmguide.world import FEELINGS, LOOKS, SKIES

pytestmark = pytest.mark.usefixtures("unchecked")  # millions of choices, each a call


def test_the_village_uses_at_least_300_english_word_types() -> None:
    words = {word.strip('.,?"').lower() for seed in range(2_000) for word in sample(seed=seed)[0].text.split()}
    assert len(words) >= 300


def test_everything_in_the_village_has_a_chinese_name_of_its_own() -> None:
    feelings = {feeling for kinds in FEELINGS.values() for feeling in kinds}
    assert {*LOOKS, *SKIES, *feelings} == set(CHINESE)
    for words in (
        NAMES.values(),
        [noun for _, noun in THINGS.values()],
        [chinese for _, chinese, _ in PLACES.values()],
    ):
        assert len(set(words)) == len(list(words))


def test_every_place_has_as_many_deeds_as_the_world_says() -> None:
    assert {len(deeds) for _, _, deeds in PLACES.values()} == {VILLAGE.deeds}
