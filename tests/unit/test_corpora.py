"""Corpora: what each call returns at either scale, and what a file or a hub that cannot be read says."""

import pytest

from llmguide.corpora import language_modelling
from llmguide.telling import sample


def test_the_entropy_is_what_the_world_pays_for_the_test_stories() -> None:
    corpus = language_modelling(stories=30)

    own = {telling.text: log_probability for telling, log_probability in map(_told, range(10**9, 10**9 + 36))}
    assert corpus.entropy == pytest.approx(-sum(own[text] for text in corpus.test) / len(corpus.test))


def test_no_story_is_in_two_splits_or_in_two_corpora() -> None:
    corpora = [language_modelling(stories=200, seed=seed) for seed in (0, 1)]

    texts = [text for corpus in corpora for split in (corpus.train, corpus.dev, corpus.test) for text in split]
    assert [len(split) for split in (corpora[0].train, corpora[0].dev, corpora[0].test)] == [200, 20, 20]
    assert len(set(texts)) == len(texts) == 480


def _told(seed: int):  # type: ignore[no-untyped-def]
    return sample(seed=seed)
