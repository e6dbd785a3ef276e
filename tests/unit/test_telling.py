import pytest

from llmguide.tasks import journeys
from llmguide.telling import sample
from llmguide.village import PLACES

SEEDS = range(100)
pytestmark = pytest.mark.usefixtures("unchecked")  # millions of choices, each a call


def test_the_same_seed_tells_the_same_story_and_another_seed_another() -> None:
    assert sample(seed=3)[0] == sample(seed=3)[0]
    assert sample(seed=3)[0] != sample(seed=4)[0]


def test_the_closing_sentence_says_where_each_thing_is() -> None:
    for telling in (sample(seed=seed)[0] for seed in SEEDS):
        for thing, (held, place) in journeys(telling.story).items():
            wanted = f"the {thing} was {PLACES[place][0]}" if place is not None else f"{held[-1]} had the {thing}"
            assert wanted in telling.sentences[-1]


def test_a_pronoun_always_means_the_one_who_acted_in_the_sentence_before() -> None:
    for telling in (sample(seed=seed)[0] for seed in SEEDS):
        for index, sentence in enumerate(telling.sentences):
            if sentence.startswith(("She ", "He ")):
                about, before = telling.events[index], telling.events[index - 1]
                assert about is not None
                assert before is not None
                assert telling.story.events[about].person == telling.story.events[before].person


def test_an_unknown_language_is_named() -> None:
    with pytest.raises(ValueError, match="language is 'fr'"):
        sample(seed=0, language="fr")  # type: ignore[arg-type]
