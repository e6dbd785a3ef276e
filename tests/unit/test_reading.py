"""Reading: true stories are right, and each way to be wrong is seen, at its first sentence."""

import random

import pytest

from llmguide.reading import judge
from llmguide.telling import sample

TALE = (
    "The morning was cold and quiet.",
    "Ada stood at the mill.",
    "Tom was there too.",
    "Ada had a red key.",
    "There was an old map by the well.",
    "Ada gave the key to Tom.",
    "He felt happy.",
    "Tom went to the well.",
    "He picked up the map.",
    "Then he dropped it by the well and did not notice.",
    "At noon, Ada hurried to the well.",
    "In the end, Tom had the key, and the map was by the well.",
)


def told(**changes: str) -> str:
    """The tale with some of its sentences exchanged: s6 is the seventh."""
    return " ".join(changes.get(f"s{number}", sentence) for number, sentence in enumerate(TALE))


@pytest.mark.usefixtures("unchecked")
def test_every_story_of_the_world_is_right() -> None:
    wrong = {seed: verdict for seed in range(300) if not (verdict := judge(sample(seed=seed)[0].text)).right}

    assert wrong == {}


def test_a_feeling_belongs_to_who_acted_before() -> None:
    verdict = judge(told())

    assert verdict.told and not verdict.possible
    assert verdict.fault == "He felt happy." and verdict.before == 6
    assert judge(told(s6="She felt happy.")).right


@pytest.mark.parametrize(
    "changes",
    [
        {"s5": "Tom gave the key to Ada."},  # he has none
        {"s5": "Ada gave the key to Max."},  # who is Max?
        {"s5": "Ada gave the key to Ada."},
        {"s7": "Tom went to the mill."},  # he is there
        {"s7": "Tom made her way to the well."},
        {"s8": "He picked up the key."},  # he has it
        {"s8": "He found the map by the well."},  # nobody lost it
        {"s9": "Tom met Ada by the well."},  # she is at the mill
        {"s9": "Then he dropped it at the inn and did not notice."},
        {"s9": "Then she dropped it by the well and did not notice."},
        {"s10": "In the evening, Ada hurried to the well."},  # noon comes first
        {"s10": 'At noon, Tom asked, "Where is my map?"'},  # it lies before him
        {"s10": "At noon, Ada watered the roses."},  # in a place without
    ],
)
def test_what_the_story_rules_out_is_impossible(changes: dict[str, str]) -> None:
    verdict = judge(told(s6="She felt happy.", **changes))

    assert verdict.told and not verdict.possible and not verdict.right
    assert verdict.fault in changes.values()


@pytest.mark.parametrize(
    "ending",
    [
        "In the end, Ada had the key, and the map was by the well.",
        "In the end, Tom had the key, and Tom had the map.",
        "In the end, Tom had the key, and the map was at the mill.",
        "In the end, the map was by the well, and Tom had the key.",
    ],
)
def test_an_ending_must_follow_from_what_was_told(ending: str) -> None:
    verdict = judge(told(s6="She felt happy.", s11=ending))

    assert verdict.told and verdict.possible and not verdict.ending
    assert verdict.fault == ending and verdict.before == 11


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"s3": "Ada had an red key."}, "Ada had an red key."),
        ({"s7": "tom went to the well."}, "tom went to the well."),
        ({"s7": "he went to the well."}, "he went to the well."),
        ({"s9": "Then He dropped it by the well and did not notice."}, None),
        ({"s1": "There was an old map by the well."}, "There was an old map by the well."),  # nobody is there yet
        ({"s11": "Ada walked to the mill."}, "Ada walked to the mill."),  # no ending
        ({"s10": "The morning was cold and quiet."}, "The morning was cold and quiet."),
        ({"s8": "Tom had the key"}, None),
        ({"s1": "Ada was there too."}, "Ada was there too."),  # where?
    ],
)
def test_a_sentence_that_the_world_does_not_have_ends_the_reading(changes: dict[str, str], fault: str | None) -> None:
    verdict = judge(told(s6="She felt happy.", **changes))

    assert not (verdict.told or verdict.possible or verdict.ending)
    assert fault is None or verdict.fault == fault


@pytest.mark.usefixtures("unchecked")
def test_no_order_of_sentences_confuses_the_reader() -> None:
    sentences = [sentence for seed in range(40) for sentence in sample(seed=seed)[0].sentences]
    chance = random.Random(0)
    for _ in range(2000):
        head = TALE[: chance.randrange(6)]
        assert not judge(" ".join((*head, *chance.choices(sentences, k=12)))).right


def test_the_first_fault_is_named_though_a_later_one_ends_the_reading() -> None:
    verdict = judge(told(s8="Tom sang."))

    assert not verdict.told and verdict.before == 6 and verdict.fault == "He felt happy."


def test_nobody_is_she_before_anybody_acts() -> None:
    verdict = judge(told(s5="She made her way to the inn.", s6="Ada hurried to the barn."))

    assert verdict.fault == "She made her way to the inn."


@pytest.mark.parametrize("text", ["", "Ada", "In the end, ", "The morning was cold and quiet."])
def test_a_fragment_is_no_story(text: str) -> None:
    assert not judge(text).told


@pytest.mark.parametrize(
    ("number", "again"),
    [("s2", "Tom was there too. Ada stood at the inn."), ("s4", "There was an old key by the well.")],
)
def test_a_person_or_a_thing_is_introduced_once(number: str, again: str) -> None:
    assert not judge(told(**{"s6": "She felt happy.", number: again})).right


def test_a_story_has_four_events_at_least() -> None:
    assert not judge(" ".join((*TALE[:6], *TALE[7:9], TALE[11]))).told
