import math
from collections import Counter
from dataclasses import replace

import pytest

from llmguide.chance import Chooser, enumerate_all
from llmguide.phrases import LANGUAGES, Language
from llmguide.telling import LanguageName, sample, tell
from llmguide.village import VILLAGE
from llmguide.world import World, write

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
pytestmark = pytest.mark.usefixtures("unchecked")  # millions of choices, each a call


def _terse(language: Language) -> Language:
    """A language with at most two patterns for each choice."""
    short = {name: value[:2] for name, value in vars(language).items() if isinstance(value, tuple)}
    short |= {
        name: {kind: forms[:2] for kind, forms in getattr(language, name).items()} for name in ("events", "events_it")
    }
    return replace(language, **short)


@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_texts_of_a_hamlet_differ_and_their_probabilities_sum_to_one(
    language: LanguageName, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(LANGUAGES, language, _terse(LANGUAGES[language]))
    monkeypatch.setattr("llmguide.telling.LINK_WEIGHTS", (5.0, 1.0))

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
    samples = [sample(world, seed=seed) for seed in range(1_000)]
    likely = max(log_probability for _, log_probability in samples)

    found = sum(log_probability > likely - 1 for _, log_probability in samples) / len(samples)
    distinct = {telling.text: math.exp(lp) for telling, lp in samples if lp > likely - 1}

    assert found >= sum(distinct.values()) - 4 * (found / len(samples)) ** 0.5
