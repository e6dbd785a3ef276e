import pytest

from llmguide.phrases import ENGLISH, MANDARIN, Language


@pytest.mark.parametrize("language", [ENGLISH, MANDARIN])
def test_no_two_patterns_of_a_choice_are_alike(language: Language) -> None:
    for name, patterns in vars(language).items():
        if isinstance(patterns, tuple) and name not in ("pronouns", "possessives"):
            assert len(set(patterns)) == len(patterns), name
