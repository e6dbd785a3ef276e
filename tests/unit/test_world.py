import pytest

from llmguide.telling import sample
from llmguide.village import VILLAGE
from llmguide.world import World, stories

SEEDS = range(100)
pytestmark = pytest.mark.usefixtures("unchecked")  # millions of choices, each a call


def test_state_follows_the_events() -> None:
    for telling in (sample(seed=seed)[0] for seed in SEEDS):
        story = telling.story
        for before, event, after in zip(story.states(), story.events, [*story.states()][1:], strict=False):
            assert after.people[event.person] == event.place
            if event.kind in ("give", "put", "drop"):
                assert before.holders[event.thing] == event.person
            if event.kind in ("take", "find"):
                assert before.places[event.thing] == event.place
                assert after.holders[event.thing] == event.person
            if event.kind == "find":
                assert event.thing in before.losers
            if event.kind in ("give", "meet"):
                assert before.people[event.other] == event.place
        for thing in story.things:  # everything is held or lies somewhere, never both
            assert (story.end.holders[thing.name] is None) != (story.end.places[thing.name] is None)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"people": VILLAGE.people[:1]}, "does not fit 1 people"),
        ({"things": ("key",)}, "2 things a story do not fit the 1"),
        ({"places": ("mill",)}, "at least 2 places"),
        ({"events": (5, 3)}, "fewest"),
    ],
)
def test_an_impossible_world_is_refused(wrong: dict[str, object], message: str) -> None:
    settings = {"people": VILLAGE.people, "places": VILLAGE.places, "things": VILLAGE.things} | wrong
    with pytest.raises(ValueError, match=message):
        World(**settings)  # type: ignore[arg-type]


def test_stories_never_run_out() -> None:
    many = stories(VILLAGE, seed=0)
    assert next(many) != next(many)
