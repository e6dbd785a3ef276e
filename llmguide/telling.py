"""Telling: a story of the miniature world becomes English or Chinese text, with its exact probability."""

import random
from dataclasses import dataclass, field
from typing import Literal

from llmguide.chance import Chance, Chooser
from llmguide.phrases import LANGUAGES, LINK_WEIGHTS, Language
from llmguide.village import CHINESE, NAMES, PLACES, THINGS, VILLAGE
from llmguide.world import Event, Person, Story, Thing, World, write

LanguageName = Literal["en", "zh"]
PRONOUN_WEIGHTS = (2.0, 1.0)  # a pronoun where it is clear, twice as often as the name


@dataclass(frozen=True, kw_only=True)
class Telling:
    """A story as text: its sentences, and the event each tells (None for opening and closing)."""

    story: Story
    language: LanguageName
    sentences: tuple[str, ...]
    events: tuple[int | None, ...]

    @property
    def text(self) -> str:
        """The whole text."""
        return LANGUAGES[self.language].space.join(self.sentences)


def tell(story: Story, chooser: Chooser, *, language: LanguageName = "en") -> Telling:
    """Word a story, deciding between paraphrases and pronouns by `chooser`."""
    if language not in LANGUAGES:
        raise ValueError(f"language is {language!r}; it must be one of {', '.join(LANGUAGES)}")
    return _Teller(story, chooser, language).telling()


def sample(world: World = VILLAGE, *, seed: int, language: LanguageName = "en") -> tuple[Telling, float]:
    """One told story by chance, and the log-probability of its text in nats.

    Different choices make different texts, so the probability of the text is that of the choices that made it.
    """
    chance = Chance(random.Random(seed))
    telling = tell(write(world, chance), chance, language=language)
    return telling, chance.log_probability


@dataclass
class _Teller:
    story: Story
    chooser: Chooser
    language: LanguageName
    subject: Person | None = None  # of the sentence before
    mentioned: tuple[Person, ...] = ()  # people in the sentence before
    things: tuple[str, ...] = ()  # things in the sentence before
    sentences: list[str] = field(default_factory=list)
    events: list[int | None] = field(default_factory=list)

    def telling(self) -> Telling:
        """The story from its first sentence to its last."""
        words, story = LANGUAGES[self.language], self.story
        self._add(self.chooser.pick(words.opening).format(sky=self._word(story.sky)), None)
        before: str | None = None
        for person, place in zip(story.cast, story.starts, strict=True):
            forms = words.start + (words.start_too if place == before else ())
            self._add(self.chooser.pick(forms).format(S=self._name(person), at=self._at(place)), None)
            before = place
        for thing in story.things:
            self._add(self._introduce(thing, words), None)
        for index, event in enumerate(story.events):
            self._add(self._event(event, words), index)
            if event.feeling is not None:
                subject = self._subject(event.person)
                text = self.chooser.pick(words.feeling).format(S=subject, f=self._word(event.feeling))
                self._add(_capitalised(text), index)
        self._add(self._closing(words), None)
        return Telling(story=story, language=self.language, sentences=tuple(self.sentences), events=tuple(self.events))

    def _add(self, sentence: str, event: int | None) -> None:
        self.sentences.append(sentence)
        self.events.append(event)

    def _introduce(self, thing: Thing, words: Language) -> str:
        if thing.holder is not None:
            text = self.chooser.pick(words.holds).format(S=self._name(thing.holder), a=self._first_mention(thing))
        else:
            assert thing.place is not None  # a thing is held or lies somewhere
            text = self.chooser.pick(words.lies).format(a=self._first_mention(thing), at=self._at(thing.place))
        return _capitalised(text)

    def _event(self, event: Event, words: Language) -> str:
        link = (
            self.chooser.pick(words.times[event.time]) if event.later else self.chooser.pick(words.links, LINK_WEIGHTS)
        )
        subject = self._subject(event.person)
        forms = words.events[event.kind]
        if event.thing is not None and self.things == (event.thing,) and event.kind in words.events_it:
            forms = self.chooser.pick((words.events_it[event.kind], forms), PRONOUN_WEIGHTS)
        text = self.chooser.pick(forms).format(
            S=subject,
            their=words.possessives[0 if event.person.she else 1],
            o="" if event.other is None else self._name(event.other),
            t="" if event.thing is None else self._the(event.thing),
            n="" if event.thing is None else self._noun(event.thing),
            at=self._at(event.place),
            to=self._to(event.place),
            deed=PLACES[event.place][2][event.deed][0 if self.language == "en" else 1],
        )
        self.mentioned = (event.person,) if event.other is None else (event.person, event.other)
        self.things = () if event.thing is None else (event.thing,)
        end = "" if text.endswith(('"', "”")) else words.stop
        return _capitalised(link + text) + end

    def _subject(self, person: Person) -> str:
        """A pronoun where it can only mean this person: who acted before, with nobody else of that pronoun in sight."""
        clear = self.subject == person and not any(p.she == person.she for p in self.mentioned if p != person)
        self.subject = person
        self.mentioned = (person,)
        pronoun = LANGUAGES[self.language].pronouns[0 if person.she else 1]
        return self.chooser.pick((pronoun, self._name(person)), PRONOUN_WEIGHTS) if clear else self._name(person)

    def _closing(self, words: Language) -> str:
        """Where each thing is in the end: nothing to choose, everything to remember."""
        end = self.story.end
        halves = []
        for thing in self.story.things:
            holder, place = end.holders[thing.name], end.places[thing.name]
            if holder is not None:
                halves.append(words.ends_with.format(S=self._name(holder), t=self._the(thing.name)))
            else:
                assert place is not None
                halves.append(words.ends_at.format(t=self._the(thing.name), at=self._at(place)))
        return _capitalised(self.chooser.pick(words.closing) + words.and_then.join(halves) + words.stop)

    def _name(self, person: Person) -> str:
        return person.name if self.language == "en" else NAMES[person.name]

    def _word(self, word: str) -> str:
        return word if self.language == "en" else CHINESE[word]

    def _noun(self, thing: str) -> str:
        return thing if self.language == "en" else THINGS[thing][1]

    def _the(self, thing: str) -> str:
        measure, noun = THINGS[thing]
        return f"the {thing}" if self.language == "en" else f"那{measure}{noun}"

    def _first_mention(self, thing: Thing) -> str:
        if self.language == "zh":
            measure, noun = THINGS[thing.name]
            return f"一{measure}{CHINESE[thing.look]}{noun}"
        article = "an" if thing.look[0] in "aeiou" else "a"
        return f"{article} {thing.look} {thing.name}"

    def _at(self, place: str) -> str:
        english, chinese, _ = PLACES[place]
        return english if self.language == "en" else chinese

    def _to(self, place: str) -> str:
        return f"to the {place}" if self.language == "en" else PLACES[place][1]


def _capitalised(text: str) -> str:
    return text[0].upper() + text[1:]
