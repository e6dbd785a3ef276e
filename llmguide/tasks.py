"""Tasks: what a told story is good for. A summary, questions with their evidence, a conversation, all of it exact."""

import random
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from llmguide.telling import Telling
from llmguide.village import PLACES, VILLAGE
from llmguide.world import Event, Story

UNKNOWN = "The story does not say."
AT = {phrase: place for place, (phrase, _, _) in PLACES.items()}
SUMMARY_SENTENCES = re.compile(r"(?<=\.) ")
CLAIM = re.compile(  # the four sentences of `summary`
    r"Nobody took the (?P<left>\w+), and it was (?P<lies>[a-z ]+) in the end\."
    r"|(?P<keeper>[A-Z]\w*) kept the (?P<kept>\w+)\."
    r"|(?P<last>[A-Z]\w*)'s (?P<put>\w+) was (?P<where>[a-z ]+) in the end\."
    r"|The (?P<passed>\w+) went from (?P<way>[A-Z]\w*(?: (?:and then )?to [A-Z]\w*)+)"
    r"(?:, and was (?P<end>[a-z ]+) in the end)?\."
)
DONE = {"take": "take", "give": "give", "put": "leave", "drop": "lose", "find": "find"}  # what one does to a thing


@dataclass(frozen=True, kw_only=True)
class Question:
    """A question about a story, its answer, and the sentence that shows it.

    Args:
        answer: a span of the telling's text; None where the story does not say.
        support: which of the telling's sentences shows it.
        start: where the answer begins in the telling's text.
    """

    text: str
    answer: str | None
    support: int | None = None
    start: int | None = None


@dataclass(frozen=True, kw_only=True)
class Turn:
    """One turn of a conversation, with the roles of a chat template."""

    role: Literal["user", "assistant"]
    text: str


def journeys(story: Story) -> dict[str, tuple[tuple[str, ...], str | None]]:
    """For each thing: who held it, in order, and where it lies in the end (None: the last holder has it).

    These are the facts a summary must get right.
    """
    facts = {}
    for thing in story.things:
        held: list[str] = []
        for state in story.states():
            holder = state.holders[thing.name]
            if holder is not None and held[-1:] != [holder.name]:
                held.append(holder.name)
        facts[thing.name] = (tuple(held), story.end.places[thing.name])
    return facts


def summary(story: Story) -> str:
    """One sentence a thing: through whose hands it went, and where it ended."""
    sentences = []
    for thing, (held, place) in journeys(story).items():
        end = "" if place is None else f"was {PLACES[place][0]} in the end"
        if not held:
            sentences.append(f"Nobody took the {thing}, and it {end}.")
        elif len(held) == 1:
            sentences.append(f"{held[0]} kept the {thing}." if place is None else f"{held[0]}'s {thing} {end}.")
        else:
            way = " and then to ".join(held[1:])
            sentences.append(f"The {thing} went from {held[0]} to {way}" + (f", and {end}." if end else "."))
    return " ".join(sentences)


def stated(text: str) -> dict[str, tuple[tuple[str, ...], str | None]]:
    """What a summary claims, as `journeys` has it: the inverse of `summary`.

    Raises:
        ValueError: a sentence that `summary` does not write, or a second one about the same thing; which.

    Taught in: applications/summarization
    """
    claims: dict[str, tuple[tuple[str, ...], str | None]] = {}
    for sentence in SUMMARY_SENTENCES.split(text):
        found = CLAIM.fullmatch(sentence)
        places = [found[name] for name in ("lies", "where", "end") if found[name]] if found else []
        if found is None or not set(places) <= AT.keys():
            raise ValueError(f"{sentence!r} is no sentence of a summary; it should be like 'Ada kept the key.'")
        thing = found["left"] or found["kept"] or found["put"] or found["passed"]
        if thing in claims:
            raise ValueError(f"{sentence!r} is a second sentence about the {thing}")
        way = found["keeper"] or found["last"] or found["way"] or ""
        held = tuple(re.split(r" (?:and then )?to ", way)) if way else ()
        claims[thing] = (held, AT[places[0]] if places else None)
    return claims


def questions(telling: Telling) -> tuple[Question, ...]:
    """All questions the story answers beyond doubt.

    Raises:
        ValueError: the telling is not English.
    """
    if telling.language != "en":
        raise ValueError(f"questions are asked in English; this telling is {telling.language!r}")
    return tuple(_answered(telling))


def unanswerable(telling: Telling, *, seed: int) -> Question:
    """A question that fits the story's people and things, about something that did not happen."""
    story, chance = telling.story, random.Random(seed)
    happened = {(event.kind, event.person.name, event.thing) for event in story.events}
    stranger = chance.choice([p.name for p in VILLAGE.people if p not in story.cast])
    asked = [f"Where did {stranger} go?"]
    for person in story.cast:
        for thing in story.things:
            for kind in ("drop", "find", "put"):
                if (kind, person.name, thing.name) not in happened:
                    asked.append(f"Where did {person.name} {DONE[kind]} the {thing.name}?")
    return Question(text=chance.choice(asked), answer=None)


def conversation(telling: Telling, *, seed: int) -> tuple[Turn, ...]:
    """Questions and answers about one thing of the story, later ones leaning on earlier ones by pronoun."""
    chance = random.Random(seed)
    story = telling.story
    thing = chance.choice(story.things).name
    held, place = journeys(story)[thing]
    end = story.end.holders[thing]
    turns = [(f"Who had the {thing} in the end?", f"{end.name} had it." if end else f"Nobody. It was {_at(place)}.")]
    if len(held) > 1:
        turns.append(("And who had it first?", f"{held[0]} had it first."))
    elif not held:
        turns.append(("Did anybody take it?", "No, nobody took it."))
    events = [event for event in story.events if event.thing == thing and event.feeling is not None]
    if events:
        event = chance.choice(events)
        they = "She" if event.person.she else "He"
        turns.append((f"How did {event.person.name} feel {_afterwards(event)}?", f"{they} felt {event.feeling}."))
    stranger = chance.choice([p for p in VILLAGE.people if p not in story.cast])
    turns.append((f"What did {stranger.name} say about it?", f"{UNKNOWN} {stranger.name} is not in it."))
    return tuple(
        turn
        for question, answer in turns
        for turn in (Turn(role="user", text=question), Turn(role="assistant", text=answer))
    )


def _answered(telling: Telling) -> Iterator[Question]:
    story, last = telling.story, len(telling.sentences) - 1
    for thing in story.things:
        holder, place = story.end.holders[thing.name], story.end.places[thing.name]
        if holder is None:
            yield _found(telling, f"Where was the {thing.name} in the end?", _at(place), last)
        else:
            yield _found(telling, f"Who had the {thing.name} in the end?", holder.name, last, after=thing.name)
    seen: dict[str, int] = {}
    asked = []
    for index, event in enumerate(story.events):
        sentence = telling.events.index(index)
        for text, answer in _about(event):
            seen[text] = seen.get(text, 0) + 1
            if answer in telling.sentences[sentence]:
                asked.append(_found(telling, text, answer, sentence))
        if event.feeling is not None:
            text = f"How did {event.person.name} feel {_afterwards(event)}?"
            seen[text] = seen.get(text, 0) + 1
            asked.append(_found(telling, text, event.feeling, sentence + 1))
    yield from (question for question in asked if seen[question.text] == 1)  # asked twice, a question has no one answer


def _about(event: Event) -> Iterator[tuple[str, str]]:
    who = event.person.name
    if event.kind in ("drop", "find", "put"):
        yield f"Where did {who} {DONE[event.kind]} the {event.thing}?", _at(event.place)
    if event.kind == "give" and event.other is not None:
        yield f"Who gave the {event.thing} to {event.other.name}?", who
        yield f"To whom did {who} give the {event.thing}?", event.other.name
        yield f"What did {who} give to {event.other.name}?", f"the {event.thing}"
    if event.kind == "go":
        yield f"Where did {who} go?", f"the {event.place}"


def _found(telling: Telling, text: str, answer: str, sentence: int, *, after: str = "") -> Question:
    """The question with the place of its answer; in the closing a name belongs to the thing that follows it."""
    begins = sum(len(s) + 1 for s in telling.sentences[:sentence])
    support = telling.sentences[sentence]
    offset = support.rindex(answer, 0, support.index(after)) if after else support.index(answer)
    return Question(text=text, answer=answer, support=sentence, start=begins + offset)


def _at(place: str | None) -> str:
    assert place is not None  # only asked of things that nobody holds
    return PLACES[place][0]


def _afterwards(event: Event) -> str:
    """The moment of a feeling, as a question names it."""
    if event.kind == "do":
        return _at(event.place)
    other = event.other.name if event.other is not None else ""
    deed = {
        "meet": f"meeting {other}",
        "take": f"taking the {event.thing}",
        "give": f"giving the {event.thing} to {other}",
        "miss": f"looking for the {event.thing}",
        "find": f"finding the {event.thing}",
    }[event.kind]
    return f"after {deed}"
