"""Retrieval: TF-IDF equals scikit-learn's, BM25 equals its formula worked out by hand, and ranks are not flattered."""

from math import log, sqrt
from typing import Any

import numpy as np
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer

from llmguide.corpora import passages
from llmguide.retrieval import bm25, cosine, fuse, ranks, recall_at, tf_idf, words

TEXTS = ["the red mill", "the mill by the red red river", "the well"]


def test_words_are_lower_case_letters_and_digits() -> None:
    assert words("The mill, in 1840: Ada's_well é") == ["the", "mill", "in", "1840", "ada", "s", "well", "é"]


def test_tf_idf_is_that_of_scikit_learn() -> None:
    texts = [passage.text for passage in passages()]
    questions = [asked.question for passage in passages() for asked in passage.questions]
    reference = TfidfVectorizer(token_pattern=r"[^\W_]+").fit(texts)

    ours = tf_idf(questions, texts)

    np.testing.assert_allclose(ours, (reference.transform(questions) @ reference.transform(texts).T).toarray())


def test_bm25_by_hand() -> None:
    # Three texts of 3, 7 and 2 words, 4 on the mean. Two have "red", once and twice: rarity ln(1 + 1.5 / 2.5).
    rarity = log(1.6)
    first = 1 * 2.5 / (1 + 1.5 * (0.25 + 0.75 * 3 / 4))
    second = 2 * 2.5 / (2 + 1.5 * (0.25 + 0.75 * 7 / 4))

    np.testing.assert_allclose(bm25(["Red!"], TEXTS), [[rarity * first, rarity * second, 0]])


def test_a_rare_word_outweighs_a_common_one() -> None:
    scores = bm25(["the well"], TEXTS)[0]

    assert scores.argmax() == 2


@pytest.mark.parametrize("score", [bm25, tf_idf])
def test_words_add_up_and_unknown_ones_count_nothing(score: Any) -> None:
    assert np.array_equal(score(["mill"], TEXTS), score(["mill elsewhere"], TEXTS))
    assert np.array_equal(score(["elsewhere", ""], TEXTS), np.zeros((2, 3)))


def test_without_saturation_and_length_a_text_has_a_word_or_not() -> None:
    once, twice, never = bm25(["red"], TEXTS, saturation=0.0)[0]

    assert once == twice == pytest.approx(log(1.6))
    assert never == 0


def test_a_long_text_gets_no_bonus_and_with_length_0_no_malus() -> None:
    texts = ["red", "red and nothing else at all"]

    assert np.diff(bm25(["red"], texts))[0] < 0
    assert np.diff(bm25(["red"], texts, length=0.0))[0] == 0


def test_cosine_is_an_angle_and_zero_for_a_zero_vector() -> None:
    found = cosine(np.array([[3.0, 4.0], [0.0, 0.0]]), np.array([[1.0, 0.0], [1.0, 1.0]]))

    np.testing.assert_allclose(found, [[0.6, 7 / (5 * sqrt(2))], [0, 0]])


def test_the_rank_of_the_right_text_counts_ties_against_it() -> None:
    scores = np.array([[3.0, 2.0, 1.0], [0.0, 0.0, 0.0], [1.0, 5.0, 5.0]])

    assert ranks(scores, [0, 1, 2]).tolist() == [1, 3, 2]


def test_recall_is_a_share_and_reaches_one() -> None:
    found = np.array([1, 3, 2, 1])

    assert [recall_at(found, k) for k in (1, 2, 3)] == [0.5, 0.75, 1.0]


def test_fused_rankings_ignore_scales() -> None:
    one, other = np.array([[9.0, 5.0, 1.0]]), np.array([[0.1, 0.3, 0.2]])

    fused = fuse(one, other)

    np.testing.assert_allclose(fused, [[1 / 61 + 1 / 63, 1 / 62 + 1 / 61, 1 / 63 + 1 / 62]])
    np.testing.assert_allclose(fused, fuse(one * 1000 - 5, other))


def test_equal_scores_share_a_place() -> None:
    np.testing.assert_allclose(fuse(np.array([[1.0, 1.0, 0.0]])), [[1 / 61.5, 1 / 61.5, 1 / 63]])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: bm25("one", ["a"]), "give lists of questions and of texts, not one string"),
        (lambda: tf_idf(["one"], []), "no texts to search"),
        (lambda: bm25(["one"], ["a"], length=2.0), "length is 2.0 \\(0 to 1\\)"),
        (lambda: ranks(np.zeros((2, 3)), [0, 3]), "give each of 2 questions its text, 0 to 2"),
        (lambda: recall_at(np.array([1]), 0), "recall at 0 of 1 questions"),
        (lambda: fuse(np.zeros((1, 2)), np.zeros((1, 3))), "rankings of one shape; got \\[\\(1, 2\\), \\(1, 3\\)\\]"),
    ],
)
def test_what_cannot_be_ranked_is_refused(call: Any, message: str, unchecked: None) -> None:
    with pytest.raises(ValueError, match=message):
        call()


def test_empty_texts_are_found_by_nothing() -> None:
    assert np.array_equal(bm25(["a"], ["", ""]), np.zeros((1, 2)))
