import pytest

from llmguide.tasks import conversation, journeys, questions, stated, summary, unanswerable
from llmguide.telling import sample

SEEDS = range(100)
pytestmark = pytest.mark.usefixtures("unchecked")  # millions of choices, each a call


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


def test_what_a_summary_states_is_what_happened() -> None:
    for story in (sample(seed=seed)[0].story for seed in range(500)):
        assert stated(summary(story)) == journeys(story)


def test_a_changed_name_or_place_is_another_claim() -> None:
    text = "The hat went from Ada to Lily and then to Ada, and was on the hill in the end. Nobody took the key, and it"

    assert stated(f"{text} was by the well in the end.") == {
        "hat": (("Ada", "Lily", "Ada"), "hill"),
        "key": ((), "well"),
    }
    assert stated("Tom kept the hat.") != stated("Ada kept the hat.")
    assert stated("Tom's hat was at the inn in the end.") != stated("Tom's hat was at the mill in the end.")


@pytest.mark.parametrize(
    "text",
    [
        "Ada has the hat.",
        "Ada kept the hat",
        "Ada's hat was at sea in the end.",
        "The hat went from Ada.",
        "Ada kept the hat. Then it rained.",
        "",
    ],
)
def test_a_sentence_that_no_summary_writes_is_named(text: str) -> None:
    with pytest.raises(ValueError, match="is no sentence of a summary"):
        stated(text)


def test_two_sentences_about_one_thing_are_refused() -> None:
    with pytest.raises(ValueError, match=r"'Tom kept the hat\.' is a second sentence about the hat"):
        stated("Ada kept the hat. Tom kept the hat.")


def test_a_conversation_alternates_and_admits_what_it_does_not_know() -> None:
    turns = conversation(sample(seed=5)[0], seed=5)
    assert [turn.role for turn in turns] == ["user", "assistant"] * (len(turns) // 2)
    assert "does not say" in turns[-1].text


def test_questions_of_a_chinese_telling_are_refused() -> None:
    with pytest.raises(ValueError, match="asked in English; this telling is 'zh'"):
        questions(sample(seed=0, language="zh")[0])
