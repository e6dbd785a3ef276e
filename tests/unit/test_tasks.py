import pytest

from llmguide.tasks import conversation, journeys, questions, summary, unanswerable
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


def test_a_conversation_alternates_and_admits_what_it_does_not_know() -> None:
    turns = conversation(sample(seed=5)[0], seed=5)
    assert [turn.role for turn in turns] == ["user", "assistant"] * (len(turns) // 2)
    assert "does not say" in turns[-1].text


def test_questions_of_a_chinese_telling_are_refused() -> None:
    with pytest.raises(ValueError, match="asked in English; this telling is 'zh'"):
        questions(sample(seed=0, language="zh")[0])
