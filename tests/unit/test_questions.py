"""Questions: every answer stands where it is said to; splits share no story; SQuAD's format, from a file or the hub."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from llmguide import corpora, tasks, telling
from llmguide.corpora import FIRST_SEED
from llmguide.questions import Asked, of_passages, of_story, read_squad, reading


def test_an_answer_stands_where_it_is_said_to() -> None:
    found = reading(stories=20)

    for asked in (*found.train, *found.dev, *found.test, *of_passages(corpora.passages())):
        assert asked.start is None or asked.text[asked.start :].startswith(asked.answer)


@pytest.mark.parametrize(
    ("answer", "start", "message"),
    [
        ("mill", 0, "the answer to 'Where\\?' is 'mill', and at 0 the text has 'At t'"),
        ("mill", None, "answer 'mill' and start None: give both"),
        ("", 3, "answer '' and start 3: give both"),
    ],
)
def test_an_answer_that_is_not_there_is_refused(answer: str, start: int | None, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Asked("Where?", "At the mill.", answer, start)


@pytest.mark.parametrize("sentences", [2, 5])
def test_an_excerpt_is_so_many_neighbouring_sentences_of_the_story(sentences: int) -> None:
    for seed in range(10):
        told, _ = telling.sample(seed=seed)
        for asked in of_story(seed, sentences=sentences):
            place = told.text.index(asked.text)
            ahead = [sum(len(s) + 1 for s in told.sentences[:n]) for n in range(len(told.sentences))]
            assert place in ahead
            assert asked.text == " ".join(told.sentences[ahead.index(place) :][:sentences])


def test_a_whole_story_has_all_its_questions_and_one_that_it_does_not_answer() -> None:
    told, _ = telling.sample(seed=3)

    *answered, without = of_story(3, answered=None)

    assert {(a.question, a.answer, a.start) for a in answered} == {
        (q.text, q.answer, q.start) for q in tasks.questions(told)
    }
    assert without == Asked(tasks.unanswerable(told, seed=3).text, told.text)


def test_a_feeling_is_shown_with_its_cause() -> None:
    for seed in range(30):
        for asked in of_story(seed, sentences=2, answered=None):
            if asked.question.startswith("How did"):
                first, _, _ = asked.text.partition(". ")
                assert asked.answer not in first  # the sentence before it is there as well


def test_no_story_is_in_two_splits_or_in_two_seeds() -> None:
    found, other = reading(stories=30, sentences=None), reading(stories=30, sentences=None, seed=1)
    texts = [{asked.text for asked in part} for part in (found.train, found.dev, found.test, other.train)]

    assert [len(part) for part in texts] == [30, 6, 6, 30]
    assert len(set.union(*texts)) == 72


def test_the_stories_are_those_of_a_corpus_no_model_was_pretrained_on() -> None:
    told, _ = telling.sample(seed=FIRST_SEED)

    assert reading(stories=1, sentences=None).train[0].text == told.text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"stories": 0}, "stories is 0; it must be between 1 and 5,000,000"),
        ({"sentences": 1}, "sentences is 1; a feeling stands a sentence after its cause"),
    ],
)
def test_numbers_that_cannot_be_are_named(arguments: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        reading(**arguments)


# SQuAD's format

ARTICLES = [
    {
        "title": "Mill",
        "paragraphs": [
            {
                "context": "The mill is red.",
                "qas": [
                    {"id": "1", "question": "What is red?", "answers": [{"text": "The mill", "answer_start": 0}]},
                    {"id": "2", "question": "What is blue?", "answers": [], "is_impossible": True},
                ],
            }
        ],
    }
]
READ = (Asked("What is red?", "The mill is red.", "The mill", 0), Asked("What is blue?", "The mill is red."))


def _file(folder: Path, content: Any) -> Path:
    path = folder / "mine.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


def test_a_file_in_squads_format_is_read(tmp_path: Path) -> None:
    assert read_squad(_file(tmp_path, {"version": "v2.0", "data": ARTICLES})) == READ


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "mine.json: Expecting property name"),
        ({"rows": []}, "not in SQuAD's format .*'data'.* it needs data, paragraphs, context"),
        ({"data": []}, "mine.json has no questions"),
        ([1], "not in SQuAD's format"),
        (
            {
                "data": [
                    {
                        "paragraphs": [
                            {
                                "context": "A mill.",
                                "qas": [{"question": "What?", "answers": [{"text": "mill", "answer_start": 0}]}],
                            }
                        ]
                    }
                ]
            },
            "mine.json: the answer to 'What\\?' is 'mill', and at 0 the text has 'A mi'",
        ),
    ],
)
def test_what_is_wrong_with_a_file_is_said(content: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        read_squad(_file(tmp_path, content))


def _rows(titles: list[str]) -> pd.DataFrame:
    """As on the hub: answers are a column of texts and a column of places, empty where there is no answer."""
    texts = [f"Text {number} is here." for number in range(len(titles))]
    answers = [{"text": ["here"], "answer_start": [text.index("here")]} for text in texts]
    answers[1] = {"text": [], "answer_start": []}
    return pd.DataFrame({"title": titles, "context": texts, "question": ["Where?"] * len(titles), "answers": answers})


def test_at_full_scale_squad_is_loaded_and_dev_is_made_of_whole_articles(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "squad"
    folder.mkdir()
    _rows([f"article {number // 4}" for number in range(80)]).to_parquet(folder / "train-0.parquet")
    _rows(["unseen"] * 3).to_parquet(folder / "validation-0.parquet")
    monkeypatch.setenv("LLMGUIDE_SCALE", "full")
    monkeypatch.setattr("llmguide.questions.SQUAD", str(folder))  # a folder in place of the hub's name
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")

    found = reading()

    assert [len(part) for part in (found.train, found.dev, found.test)] == [72, 8, 3]  # two of twenty articles
    assert found.test[1] == Asked("Where?", "Text 1 is here.")
    assert found.test[2] == Asked("Where?", "Text 2 is here.", "here", 10)
    assert {asdict(a)["text"] for a in found.train}.isdisjoint(asdict(a)["text"] for a in found.dev)
