"""Overlap: numbers a reader can count by hand, and those of the libraries that papers report."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rouge_score.rouge_scorer import RougeScorer

from llmguide.overlap import bleu, chrf, exact_match, rouge, token_f1

sentences = st.lists(
    st.sampled_from(["the", "The", "cat", "dog's", "sat,", "on", "a", "mat.", "3", "猫", "x_y"]), max_size=12
).map(" ".join)


@given(text=sentences, reference=sentences)
def test_rouge_is_that_of_the_library(text: str, reference: str) -> None:
    theirs = RougeScorer(["rouge1", "rouge2", "rougeL"]).score(reference, text)

    assert rouge(text, reference, of=1) == pytest.approx(theirs["rouge1"].fmeasure)
    assert rouge(text, reference, of=2) == pytest.approx(theirs["rouge2"].fmeasure)
    assert rouge(text, reference, of="L") == pytest.approx(theirs["rougeL"].fmeasure)


def test_rouge_by_hand() -> None:
    # shared words: the, cat, sat: 2 * 3 / (4 + 5); shared pairs: "the cat": 2 * 1 / (3 + 4)
    text, reference = "the cat quietly sat", "the cat has just sat"

    assert rouge(text, reference, of=1) == pytest.approx(6 / 9)
    assert rouge(text, reference, of=2) == pytest.approx(2 / 7)
    assert rouge(text, reference, of="L") == pytest.approx(6 / 9)


def test_runs_of_no_words_are_refused() -> None:
    with pytest.raises(ValueError, match="ROUGE of runs of 0 words: choose 1, 2, more or 'L'"):
        rouge("a", "a", of=0)


@pytest.mark.parametrize(
    ("answer", "reference", "match", "f1"),
    [
        ("the mill.", "Mill", 1.0, 1.0),
        ("at the old mill", "at the mill", 0.0, 4 / 5),
        ("Tom", "Ada", 0.0, 0.0),
        ("", "", 1.0, 1.0),
        ("", "Ada", 0.0, 0.0),
        ("the", "", 1.0, 1.0),
        ("mill mill", "mill", 0.0, 2 / 3),
        ("Ada's", "Adas", 1.0, 1.0),
    ],
)
def test_answers_are_scored_as_in_squad(answer: str, reference: str, match: float, f1: float) -> None:
    assert exact_match(answer, reference) == match
    assert token_f1(answer, reference) == pytest.approx(f1)


def test_bleu_by_hand() -> None:
    # precisions of 1- to 4-grams: 5/6, 4/5, 3/4, 2/3; five words and a stop on both sides, so no penalty
    assert bleu(["the cat sat there."], ["the cat sat there."]) == pytest.approx(100)
    text, reference = ["the cat sat over there ."], ["a cat sat over there ."]
    assert bleu(text, reference) == pytest.approx(100 * (5 / 6 * 4 / 5 * 3 / 4 * 2 / 3) ** 0.25)


def test_chinese_is_compared_character_by_character() -> None:
    text, reference = ["小猫坐在那里。"], ["大猫坐在那里。"]

    assert bleu(text, reference, language="zh") == pytest.approx(100 * (6 / 7 * 5 / 6 * 4 / 5 * 3 / 4) ** 0.25)
    assert bleu(text, reference, language="en") == 0


def test_chrf_sees_a_word_that_is_nearly_right() -> None:
    assert chrf(["gardens"], ["gardens"]) == pytest.approx(100)
    assert chrf(["garden"], ["gardens"]) > 50 > chrf(["castle"], ["gardens"])


def test_a_set_without_its_references_is_refused() -> None:
    with pytest.raises(ValueError, match="2 texts and 1 references; give one reference for each text"):
        bleu(["a", "b"], ["a"])
    with pytest.raises(ValueError, match="0 texts and 0 references"):
        chrf([], [])
    with pytest.raises(ValueError, match="give lists of texts, not one string"):
        bleu("a", "b")
