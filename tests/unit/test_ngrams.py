import itertools
import math
import random
from collections import Counter

import pytest

from llmguide.ngrams import STRENGTHS, NGram

START, END = "<", ">"
WORDS = ("a", "b", "c", END)
TEXTS = [[START, *text, END] for text in ("ab", "aab", "cab", "b")]
DEV = [[START, *text, END] for text in ("acb", "ab")]
each_n = pytest.mark.parametrize("n", [1, 2, 3])


def every_kind(n: int) -> list[NGram[str]]:
    plain = NGram(TEXTS, n=n, vocabulary=WORDS)
    return [plain, plain.smoothed(add=0.5), plain.interpolated(DEV)]


def test_plain_counts_are_relative_frequencies() -> None:
    bigram = NGram(TEXTS, n=2, vocabulary=WORDS)

    assert bigram.count("a", "b") == 3
    assert bigram.probability("b", [START, "a"]) == 3 / 4  # a is followed by b, a, b, b
    assert bigram.probability("a", [START]) == 2 / 4
    assert bigram.probability("c", [START, "a"]) == 0


def test_the_start_is_repeated_where_a_history_is_short() -> None:
    trigram = NGram(TEXTS, n=3, vocabulary=WORDS)

    assert trigram.probability("a", [START]) == trigram.probability("a", [START, START]) == 2 / 4
    assert trigram.probability("b", [START, "a"]) == 1 / 2  # not 3/4: the a of cab has another history
    assert NGram(TEXTS, n=4, vocabulary=WORDS).probability("b", [START, "a"]) == 1 / 2


def test_adding_k_is_the_textbook_formula() -> None:
    k, V = 0.5, len(WORDS)
    model = NGram(TEXTS, n=2, vocabulary=WORDS).smoothed(add=k)

    assert model.probability("b", [START, "a"]) == pytest.approx((3 + k) / (4 + k * V))
    assert model.probability("c", [START, "a"]) == pytest.approx(k / (4 + k * V))


def test_interpolation_mixes_each_history_with_the_shorter_one() -> None:
    model = NGram(TEXTS, n=2, vocabulary=WORDS).interpolated(DEV)
    a0, a1 = model.strengths

    unigram = (4 + a0 / 4) / (13 + a0)  # b is 4 of the 13 tokens that are predicted
    assert model.probability("b", [START, "a"]) == pytest.approx((3 + a1 * unigram) / (4 + a1))


def test_the_strengths_are_the_best_for_the_texts_they_were_fitted_on() -> None:
    best = NGram(TEXTS, n=2, vocabulary=WORDS).interpolated(DEV)
    other = NGram(TEXTS, n=2, vocabulary=WORDS)

    for strength in STRENGTHS:
        other.strengths = (best.strengths[0], strength)
        assert best.loss(DEV) <= other.loss(DEV) + 1e-12


@each_n
def test_next_token_probabilities_sum_to_one_after_every_history(n: int) -> None:
    for model in every_kind(n):
        for history in itertools.product("abc", repeat=2):
            assert math.fsum(model.distribution([START, *history])) == pytest.approx(1, abs=1e-12)


@each_n
def test_the_distribution_holds_the_probability_of_each_token(n: int) -> None:
    for model in every_kind(n):
        alone = [model.probability(token, [START, "c", "a"]) for token in WORDS]
        assert model.distribution([START, "c", "a"]) == alone


@each_n
def test_counts_of_long_n_grams_serve_shorter_ones(n: int) -> None:
    shared, own = NGram(TEXTS, n=3, vocabulary=WORDS).shorter(n), NGram(TEXTS, n=n, vocabulary=WORDS)

    for one, other in ((shared, own), (shared.interpolated(DEV), own.interpolated(DEV))):
        assert [one.log_probabilities(text) for text in DEV] == [other.log_probabilities(text) for text in DEV]


@each_n
def test_the_chain_rule_holds(n: int) -> None:
    for model in every_kind(n):
        text = [START, "a", "b", END]
        steps = [model.probability(text[t], text[:t]) for t in (1, 2, 3)]
        assert math.exp(math.fsum(model.log_probabilities(text))) == pytest.approx(math.prod(steps))
        assert model.loss([text]) == pytest.approx(-math.log(math.prod(steps)) / 3)


@each_n
def test_only_the_last_n_minus_one_tokens_matter(n: int) -> None:
    for model in every_kind(n):
        kept = ["c", "a"][3 - n :] if n > 1 else []
        assert model.distribution([START, "b", "b", *kept]) == model.distribution([START, "a", "c", *kept])


def test_the_probabilities_of_all_texts_sum_to_one_because_texts_end() -> None:
    model = NGram(TEXTS, n=2, vocabulary=WORDS)
    texts = [text for length in range(8) for text in itertools.product("abc", repeat=length)]

    total = math.fsum(math.exp(math.fsum(model.log_probabilities([START, *text, END]))) for text in texts)

    assert 1 - 1e-3 < total < 1  # a is followed by a with probability 1/4: longer texts have the rest


def test_a_ruled_out_text_has_minus_infinity_and_a_smoothed_model_rules_nothing_out() -> None:
    unseen = [START, "b", "c", END]
    plain, *others = every_kind(2)

    assert -math.inf in plain.log_probabilities(unseen)
    assert plain.loss([unseen]) == math.inf
    assert all(math.isfinite(model.loss([unseen])) for model in others)


@pytest.mark.usefixtures("unchecked")
def test_sampled_tokens_come_as_often_as_their_probability_says() -> None:
    model, generator, size = every_kind(3)[2], random.Random(0), 1_000
    found = Counter(model.sample([START], end=END, generator=generator)[1] for _ in range(size))

    for token in WORDS:
        wanted = model.probability(token, [START])
        assert found[token] / size == pytest.approx(wanted, abs=4 * (wanted * (1 - wanted) / size) ** 0.5)


def test_sampling_goes_on_from_a_beginning_and_stops() -> None:
    plain = NGram(TEXTS, n=2, vocabulary=WORDS)

    assert plain.sample([START, "c"], end=END, generator=random.Random(0))[:3] == [START, "c", "a"]  # c a is certain
    assert plain.sample([START], end=END, generator=random.Random(0), longest=1) == [START]
    assert plain.sample([START], end=END, generator=random.Random(0)).index(END) < 100
    assert plain.sample([START], end=END, generator=random.Random(0)).count(END) == 1


@pytest.mark.usefixtures("unchecked")
def test_bad_input_is_named() -> None:
    with pytest.raises(ValueError, match="n is 0"):
        NGram(TEXTS, n=0, vocabulary=WORDS)
    with pytest.raises(ValueError, match="'c' is not in the vocabulary"):
        NGram(TEXTS, n=2, vocabulary=("a", "b", END))
    with pytest.raises(ValueError, match="a sequence of 1 tokens"):
        NGram([[START]], n=2, vocabulary=WORDS)
    with pytest.raises(ValueError, match="add is 0"):
        every_kind(2)[0].smoothed(add=0)
    with pytest.raises(ValueError, match="n is 3; these counts serve n from 1 to 2"):
        every_kind(2)[0].shorter(3)
    with pytest.raises(ValueError, match="history is empty"):
        every_kind(2)[0].probability("a", [])
