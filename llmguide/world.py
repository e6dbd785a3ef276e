"""The miniature world: a village where small stories happen, each with its meaning and its exact probability."""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeVar

from llmguide.chance import Chance, Chooser

T = TypeVar("T")
Kind = Literal["go", "do", "meet", "take", "give", "put", "drop", "miss", "find"]

# How often each kind of event happens where it can, and the feelings that may follow it.
WEIGHTS: dict[Kind, float] = {
    "go": 3.0, "do": 1.0, "meet": 2.0, "take": 4.0, "give": 3.0, "put": 1.0, "drop": 2.0, "miss": 3.0, "find": 6.0
}  # fmt: skip
FEELINGS: dict[Kind, tuple[str, ...]] = {
    "do": ("happy", "calm", "tired"),
    "meet": ("happy", "surprised"),
    "take": ("happy", "curious", "proud"),
    "give": ("happy", "proud", "shy"),
    "miss": ("sad", "worried", "angry"),
    "find": ("happy", "surprised", "glad"),
}
TIMES = ("morning", "noon", "afternoon", "evening")
SKIES = ("sunny", "cloudy", "windy", "rainy", "cold", "warm")
LOOKS = ("old", "red", "blue", "little")


@dataclass(frozen=True, kw_only=True)
class Person:
    """Somebody of the village, told by name; `she` decides the pronoun."""

    name: str
    she: bool


@dataclass(frozen=True, kw_only=True)
class Event:
    """Who did what, to what or whom, where, when, and how they felt about it. None: not part of this event."""

    kind: Kind
    person: Person
    place: str
    time: str
    later: bool  # the first event at a new time of day
    other: Person | None = None
    thing: str | None = None
    deed: int = 0  # which of the things one does at this place
    feeling: str | None = None


@dataclass(frozen=True, kw_only=True)
class World:
    """What a village holds, and how long its stories are; the default is the whole village.

    Raises:
        ValueError: fewer people, places or things than a story needs, or an impossible length.
    """

    people: tuple[Person, ...]
    places: tuple[str, ...]
    things: tuple[str, ...]
    cast: tuple[int, ...] = (2, 3)  # how many people a story has
    props: int = 2  # how many things
    events: tuple[int, int] = (4, 8)  # fewest and most
    deeds: int = 4  # things to do at each place
    looks: tuple[str, ...] = LOOKS
    skies: tuple[str, ...] = SKIES

    def __post_init__(self) -> None:
        if len(self.people) < max(self.cast) or min(self.cast) < 1:
            raise ValueError(f"a cast of {self.cast} does not fit {len(self.people)} people")
        if len(self.things) < self.props or self.props < 1:
            raise ValueError(f"{self.props} things a story do not fit the {len(self.things)} there are")
        if len(self.places) < 2:
            raise ValueError(f"a world needs at least 2 places, got {self.places}")
        if not 1 <= self.events[0] <= self.events[1]:
            raise ValueError(f"events is {self.events}; it must be (fewest, most) with 1 <= fewest <= most")


@dataclass(frozen=True, kw_only=True)
class Thing:
    """A thing of a story as it is at the start: who holds it, or where it lies."""

    name: str
    look: str
    holder: Person | None
    place: str | None


@dataclass(frozen=True, kw_only=True)
class Story:
    """What happened, as meaning; `tell` in `telling` makes it text."""

    sky: str
    cast: tuple[Person, ...]
    starts: tuple[str, ...]  # where each of the cast is at first
    things: tuple[Thing, ...]
    events: tuple[Event, ...]

    def states(self) -> Iterator["State"]:
        """The state of the world at the start and after each event."""
        state = State.at_start(self)
        yield state
        for event in self.events:
            state = state.after(event)
            yield state

    @property
    def end(self) -> "State":
        """The state of the world after the last event."""
        *_, last = self.states()
        return last


@dataclass(frozen=True)
class State:
    """Where everybody and everything is."""

    people: dict[Person, str]
    holders: dict[str, Person | None]
    places: dict[str, str | None]  # of things that nobody holds
    losers: dict[str, Person] = field(default_factory=dict)  # who dropped a thing without noticing
    missed: frozenset[str] = frozenset()  # dropped things that their owner has missed already

    @classmethod
    def at_start(cls, story: Story) -> "State":
        """The state before the first event."""
        return cls(
            dict(zip(story.cast, story.starts, strict=True)),
            {thing.name: thing.holder for thing in story.things},
            {thing.name: thing.place for thing in story.things},
        )

    def missable(self, person: Person) -> list[str]:
        """Things a person has dropped elsewhere and not missed yet."""
        here = self.people[person]
        mine = [thing for thing, loser in self.losers.items() if loser == person and thing not in self.missed]
        return [thing for thing in mine if self.places[thing] != here]

    def after(self, event: Event) -> "State":
        """The state that an event leaves behind."""
        people, holders, places = dict(self.people), dict(self.holders), dict(self.places)
        losers, missed = dict(self.losers), self.missed
        if event.kind == "go":
            people[event.person] = event.place
        if event.thing is not None and event.kind != "miss":
            inward = event.kind in ("take", "find")
            holders[event.thing] = event.person if inward else event.other
            places[event.thing] = event.place if event.kind in ("put", "drop") else None
            losers.pop(event.thing, None)
            missed -= {event.thing}
            if event.kind == "drop":
                losers[event.thing] = event.person
        if event.kind == "miss" and event.thing is not None:
            missed |= {event.thing}
        return State(people, holders, places, losers, missed)


def write(world: World, chooser: Chooser) -> Story:
    """Make up a story, deciding everything by `chooser`."""
    sky = chooser.pick(world.skies)
    cast = _several(chooser, world.people, chooser.pick(world.cast))
    starts: tuple[str, ...] = ()
    for _ in cast:
        starts += (_place(chooser, world.places, lively=starts[-1:]),)
    things = []
    for name in _several(chooser, world.things, world.props):
        look = chooser.pick(world.looks)
        holder = chooser.pick((*cast, None))
        place = _place(chooser, world.places, lively=starts) if holder is None else None
        things.append(Thing(name=name, look=look, holder=holder, place=place))
    opening = Story(sky=sky, cast=cast, starts=starts, things=tuple(things), events=())
    state, events = opening.end, list[Event]()
    fewest, most = world.events
    while len(events) < fewest or (len(events) < most and chooser.pick((True, False), (4.0, 1.0))):
        event = _next_event(world, state, events[-1] if events else None, chooser)
        events.append(event)
        state = state.after(event)
    return Story(sky=sky, cast=cast, starts=starts, things=tuple(things), events=tuple(events))


def stories(world: World, *, seed: int) -> Iterator[Story]:
    """Stories without end, the same for the same seed."""
    generator = random.Random(seed)
    while True:
        yield write(world, Chance(generator))


def _next_event(world: World, state: State, last: Event | None, chooser: Chooser) -> Event:
    cast = tuple(state.people)
    # Whoever acted last goes on more often than not: stories follow somebody.
    person = chooser.pick(cast, [float(len(cast)) if last is not None and last.person == p else 1.0 for p in cast])
    possible = _possible(world, state, person, last)
    kind = chooser.pick(tuple(possible), [WEIGHTS[kind] for kind in possible])
    if kind == "go":
        lively = [*state.people.values(), *(place for place in state.places.values() if place is not None)]
        event: Option = (_place(chooser, [option[0] for option in possible[kind]], lively=lively), None, None)
    else:
        event = chooser.pick(possible[kind])
    time, later = (last.time, False) if last is not None else (TIMES[0], False)
    if last is not None and time != TIMES[-1] and chooser.pick((False, True), (5.0, 1.0)):
        time, later = TIMES[TIMES.index(time) + 1], True
    feelings = FEELINGS.get(kind, ())
    feeling = chooser.pick((None, *feelings), (float(len(feelings)), *(1.0 for _ in feelings))) if feelings else None
    deed = chooser.pick(range(world.deeds)) if kind == "do" else 0
    return Event(
        kind=kind, person=person, place=event[0], other=event[1], thing=event[2],
        time=time, later=later, deed=deed, feeling=feeling,
    )  # fmt: skip


Option = tuple[str, Person | None, str | None]  # place, other person, thing


def _possible(world: World, state: State, person: Person, last: Event | None) -> dict[Kind, tuple[Option, ...]]:
    """What a person can do now, by kind of event: each with its place, other person and thing."""
    here = state.people[person]
    beside = [other for other, place in state.people.items() if place == here and other != person]
    held = [thing for thing, holder in state.holders.items() if holder == person]
    lying = [thing for thing, place in state.places.items() if place == here]
    met = last is not None and last.kind == "meet" and {last.person, last.other} >= {person}
    went = last is not None and last.kind == "go" and last.person == person
    own = last.thing if last is not None and last.kind in ("take", "give", "find", "put") else None
    options: dict[Kind, list[Option]] = {
        "go": [] if went else [(place, None, None) for place in world.places if place != here],
        "do": [] if last is not None and last.kind == "do" else [(here, None, None)],
        "meet": [] if met else [(here, other, None) for other in beside],
        "take": [(here, None, t) for t in lying if t not in state.losers and t != own],
        "give": [(here, other, t) for other in beside for t in held if not (last and last.kind == "give" and t == own)],
        "put": [(here, None, t) for t in held if t != own],
        "drop": [(here, None, t) for t in held if t != own],
        "miss": [(here, None, t) for t in state.missable(person)],
        "find": [(here, None, t) for t in lying if t in state.losers and not (last and last.kind == "drop")],
    }  # fmt: skip
    return {kind: tuple(found) for kind, found in options.items() if found}


def _place(chooser: Chooser, places: Sequence[str], *, lively: Sequence[str]) -> str:
    """One of the places, and rather one where somebody or something is: people who never meet make no story."""
    return chooser.pick(places, [float(len(places)) if place in lively else 1.0 for place in places])


def _several(chooser: Chooser, options: Sequence[T], count: int) -> tuple[T, ...]:
    """Distinct options, in order."""
    left, chosen = list(options), []
    for _ in range(count):
        chosen.append(chooser.pick(left))
        left.remove(chosen[-1])
    return tuple(chosen)
