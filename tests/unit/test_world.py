import math
from collections import Counter

import pytest

from llmguide.tasks import conversation, journeys, questions, summary, unanswerable
from llmguide.telling import LanguageName, sample, tell
from llmguide.village import ENGLISH, MANDARIN, PLACES, VILLAGE
from llmguide.world import Chooser, World, enumerate_all, stories, write

HAMLET = World(  # few enough choices to visit every one
    people=VILLAGE.people[:1],
    places=("mill", "well"),
    things=("key",),
    cast=(1,),
    props=1,
    events=(1, 1),
    deeds=1,
    looks=("old",),
    skies=("cold",),
)
SEEDS = range(200)


@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_texts_of_a_hamlet_differ_and_their_probabilities_sum_to_one(language: LanguageName) -> None:
    def program(chooser: Chooser) -> str:
        return tell(write(HAMLET, chooser), chooser, language=language).text

    texts = list(enumerate_all(program))

    assert math.fsum(math.exp(log_probability) for _, log_probability in texts) == pytest.approx(1, abs=1e-12)
    assert Counter(text for text, _ in texts).most_common(1)[0][1] == 1


def test_sampled_texts_come_as_often_as_their_probability_says() -> None:
    world = World(
        people=VILLAGE.people[:2], places=("mill", "well"), things=("key",), cast=(1,), props=1, events=(1, 1), deeds=1,
        looks=("old",), skies=("cold",),
    )  # fmt: skip
    samples = [sample(world, seed=seed) for seed in range(2_000)]
    likely = max(log_probability for _, log_probability in samples)

    found = sum(log_probability > likely - 1 for _, log_probability in samples) / len(samples)
    distinct = {telling.text: math.exp(lp) for telling, lp in samples if lp > likely - 1}

    assert found >= sum(distinct.values()) - 4 * (found / len(samples)) ** 0.5


def test_the_same_seed_tells_the_same_story_and_another_seed_another() -> None:
    assert sample(seed=3)[0] == sample(seed=3)[0]
    assert sample(seed=3)[0] != sample(seed=4)[0]


def test_the_village_uses_at_least_300_english_word_types() -> None:
    words = {word.strip('.,?"').lower() for seed in range(3_000) for word in sample(seed=seed)[0].text.split()}
    assert len(words) >= 300


@pytest.mark.parametrize("language", [ENGLISH, MANDARIN])
def test_no_two_patterns_of_a_choice_are_alike(language: object) -> None:
    for name, patterns in vars(language).items():
        if isinstance(patterns, tuple) and name not in ("pronouns", "possessives"):
            assert len(set(patterns)) == len(patterns), name


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


def test_answers_stand_in_their_supporting_sentence_at_the_place_given() -> None:
    for telling in (sample(seed=seed)[0] for seed in SEEDS):
        asked = questions(telling)
        assert len({question.text for question in asked}) == len(asked)
        for question in asked:
            assert question.answer in telling.sentences[question.support]
            assert telling.text[question.start : question.start + len(question.answer)] == question.answer


def test_an_unanswerable_question_asks_for_what_did_not_happen() -> None:
    for seed in SEEDS:
        telling, _ = sample(seed=seed)
        assert unanswerable(telling, seed=seed).text not in {question.text for question in questions(telling)}


def test_a_summary_names_each_thing_and_everyone_who_held_it() -> None:
    for telling in (sample(seed=seed)[0] for seed in SEEDS):
        text = summary(telling.story)
        for thing, (held, _) in journeys(telling.story).items():
            assert thing in text
            assert all(name in text for name in held)


def test_a_conversation_alternates_and_admits_what_it_does_not_know() -> None:
    turns = conversation(sample(seed=5)[0], seed=5)
    assert [turn.role for turn in turns] == ["user", "assistant"] * (len(turns) // 2)
    assert "does not say" in turns[-1].text


def test_questions_of_a_chinese_telling_are_refused() -> None:
    with pytest.raises(ValueError, match="asked in English; this telling is 'zh'"):
        questions(sample(seed=0, language="zh")[0])


def test_an_unknown_language_is_named() -> None:
    with pytest.raises(ValueError, match="language is 'fr'"):
        sample(seed=0, language="fr")  # type: ignore[arg-type]


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
