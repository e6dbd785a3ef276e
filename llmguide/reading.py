"""Reading: a text is held against the miniature world. Is it one of its stories, and does its ending follow?"""

import re
from dataclasses import dataclass, field
from functools import cache

from llmguide.phrases import ENGLISH
from llmguide.village import PLACES, VILLAGE
from llmguide.world import FEELINGS, LOOKS, SKIES, TIMES

Slots = dict[str, str]

SENTENCES = re.compile(r'(?<=\.) |(?<=\?") ')
AT = {phrase: place for place, (phrase, _, _) in PLACES.items()}
DEEDS = {deed: place for place, (_, _, deeds) in PLACES.items() for deed, _ in deeds}
PRONOUNS = {True: "she", False: "he"}
SHE = {person.name: person.she for person in VILLAGE.people}
FEWEST, MOST = VILLAGE.events


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What a reader who knows the world finds in a text.

    Args:
        told: every sentence is one of the world's, and they stand in the order of a story: opening, people, things,
            4 to 8 events with their feelings, ending.
        possible: nobody does what the story so far rules out, such as giving away what they do not have.
        ending: the last sentence says of each thing where the told events left it.
        before: how many sentences stand before the first fault; all of them where there is none.
        fault: the first sentence that is wrong; None where there is none.
    """

    told: bool
    possible: bool
    ending: bool
    before: int
    fault: str | None = None

    @property
    def right(self) -> bool:
        """A story of the world without fault."""
        return self.told and self.possible and self.ending


def judge(text: str) -> Verdict:
    """Read an English text sentence by sentence, and follow who is where and who has what.

    The wording is checked to the letter. Habits are not: that nobody walks twice in a row, or which feeling is likely.

    Taught in: objective/decoding
    """
    reader, fault = _Reader(), None
    sentences = SENTENCES.split(text)
    for number, sentence in enumerate(sentences):
        found = _understand(sentence)
        if found is None or not reader.follows(found[0]):
            first = number if fault is None else fault
            return Verdict(told=False, possible=False, ending=False, before=first, fault=sentences[first])
        if not reader.read(*found) and fault is None:
            fault = number
    told, possible, last = reader.kinds[-1] == "closing", fault is None, len(sentences) - 1
    if fault is None and not (told and reader.ending):
        fault = last
    return Verdict(
        told=told,
        possible=told and possible,
        ending=told and reader.ending,
        before=len(sentences) if fault is None else fault,
        fault=None if fault is None else sentences[fault],
    )


@dataclass
class _Reader:
    kinds: list[str] = field(default_factory=list)  # of the sentences so far
    people: dict[str, str] = field(default_factory=dict)  # who is where
    things: dict[str, str] = field(default_factory=dict)  # what is where: a name or a place
    lost: dict[str, str] = field(default_factory=dict)  # by whom, without knowing
    subject: str = ""
    thing: str = ""
    time: int = 0
    events: int = 0
    ending: bool = False

    def follows(self, kind: str) -> bool:
        """Whether a sentence of this kind may come now."""
        last = self.kinds[-1] if self.kinds else None
        if kind == "opening" or last in (None, "closing"):
            return kind == "opening" and last is None
        if kind.startswith("ends"):
            return False  # half a sentence
        if kind in ("start", "start_too"):
            first = kind == "start" and last == "opening"
            return first or (last in ("start", "start_too") and len(self.kinds) <= max(VILLAGE.cast))
        if kind in ("holds", "lies"):
            return len(self.people) >= min(VILLAGE.cast) and self.events == 0 and len(self.things) < VILLAGE.props
        if kind == "feeling":
            return last in FEELINGS
        if kind == "closing":
            return self.events >= FEWEST
        return len(self.things) == VILLAGE.props and self.events < MOST

    def read(self, kind: str, slots: Slots) -> bool:
        """Take a sentence in; False where it cannot be."""
        last = self.kinds[-1] if self.kinds else ""
        self.kinds.append(kind)
        if kind == "closing":
            told = [_understand(half) for half in slots["halves"].split(ENGLISH.and_then)]
            ends = [(half[1]["t"], half[1].get("S") or half[1]["at"]) for half in told if half is not None]
            self.ending = ends == list(self.things.items())
            return True
        if kind == "opening":
            return True
        if kind == "lies":
            new = slots["a"] not in self.things
            self.things[slots["a"]] = slots["at"]
            return new
        who = slots["S"] if slots["S"] in SHE else self.subject  # a pronoun means who acted before
        fits = slots["S"] in SHE or (who in SHE and slots["S"].lower() == PRONOUNS[SHE[who]])
        if kind == "holds":
            new = slots["a"] not in self.things and who in self.people
            self.things[slots["a"]] = who
            return new and fits
        if kind.startswith("start"):
            new = who not in self.people
            self.people[who] = slots["at"] if "at" in slots else list(self.people.values())[-1]
            return new and fits
        if kind == "feeling":
            return fits and who == self.subject and slots["f"] in FEELINGS[last]  # type: ignore[index]
        return self._event(kind, slots, who) and fits

    def _event(self, kind: str, slots: Slots, who: str) -> bool:
        """Let an event happen; False where it cannot."""
        self.events += 1
        here, other = self.people.get(who), slots.get("o", "")
        thing = self.thing if "it" in slots else slots.get("t") or slots.get("n", "")
        spot, beside = self.things.get(thing), other != who and self.people.get(other) == here
        possible = {
            "go": slots.get("to") != here,
            "do": DEEDS.get(slots.get("deed", "")) == here,
            "meet": beside,
            "take": spot == here and thing not in self.lost,
            "find": spot == here and thing in self.lost,
            "give": spot == who and beside,
            "put": spot == who,
            "drop": spot == who,
            "miss": spot != here and self.lost.get(thing) == who,
        }[kind]
        possible &= here is not None and slots.get("at", here) == here and self._in_time(slots["link"])
        possible &= "their" not in slots or slots["their"] == ("her" if SHE.get(who) else "his")
        if kind == "go":
            self.people[who] = slots["to"]
        elif kind in ("take", "find", "give"):
            self.things[thing] = other if kind == "give" else who
            self.lost.pop(thing, None)
        elif kind in ("put", "drop"):
            self.things[thing] = slots["at"]
            self.lost |= {thing: who} if kind == "drop" else {}
        self.subject, self.thing = who, thing
        return possible

    def _in_time(self, link: str) -> bool:
        """Times of day follow one another."""
        later = [number for number, time in enumerate(TIMES) if link in ENGLISH.times.get(time, ())]
        if not later:
            return True
        self.time += 1
        return later == [self.time]


@cache
def _patterns() -> tuple[tuple[str, re.Pattern[str]], ...]:
    """Every kind of sentence of the world as a regular expression, made from the phrases that tell it."""
    names, things, places = ("|".join(options) for options in (SHE, VILLAGE.things, PLACES))
    article = "|".join(f"{'an' if look[0] in 'aeiou' else 'a'} {look}" for look in LOOKS)
    slots = {
        "S": f"(?P<S>{names}|[Ss]he|[Hh]e)",
        "o": f"(?P<o>{names})",
        "t": f"the (?P<t>{things})",
        "n": f"(?P<n>{things})",
        "a": f"(?:{article}) (?P<a>{things})",
        "at": f"(?P<at>{'|'.join(AT)})",
        "to": f"to the (?P<to>{places})",
        "deed": f"(?P<deed>{'|'.join(DEEDS)})",
        "their": "(?P<their>her|his)",
        "f": f"(?P<f>{'|'.join(sorted({f for feelings in FEELINGS.values() for f in feelings}))})",
        "sky": f"(?P<sky>{'|'.join(SKIES)})",
    }
    links = [*ENGLISH.links, *(link for links in ENGLISH.times.values() for link in links)]
    link = f"(?P<link>{'|'.join(sorted(links, key=len, reverse=True))})"
    half = re.sub(r"\?P<\w+>", "?:", f"(?:{ENGLISH.ends_with}|{ENGLISH.ends_at})".format(**slots))
    closing = f"(?:{'|'.join(ENGLISH.closing)})(?P<halves>{ENGLISH.and_then.join([half] * VILLAGE.props)})"
    forms = {
        "opening": ENGLISH.opening,
        "start": ENGLISH.start,
        "start_too": ENGLISH.start_too,
        "holds": ENGLISH.holds,
        "lies": ENGLISH.lies,
        "feeling": ENGLISH.feeling,
    }
    plain = [(kind, form.replace(".", r"\.")) for kind, several in forms.items() for form in several]
    events = [(kind, form) for kind, several in ENGLISH.events.items() for form in several]
    it = [(kind, form.replace(" it", " (?P<it>it)")) for kind, several in ENGLISH.events_it.items() for form in several]
    told = [(kind, link + form.replace("?", r"\?") + ("" if form.endswith('"') else r"\.")) for kind, form in events]
    told += [(kind, f"{link}{form}" + r"\.") for kind, form in it]
    ends = [("ends_with", ENGLISH.ends_with), ("ends_at", ENGLISH.ends_at), ("closing", closing + r"\.")]
    return tuple((kind, re.compile(form.format(**slots))) for kind, form in [*plain, *told, *ends])


def _understand(sentence: str) -> tuple[str, Slots] | None:
    """The kind of a sentence and what stands in its slots; None where the world has no such sentence."""
    for kind, pattern in _patterns():
        if found := pattern.fullmatch(sentence):
            slots = {name: text for name, text in found.groupdict().items() if text is not None}
            if "at" in slots:
                slots["at"] = AT[slots["at"]]
            started = not slots.get("link")  # a capital where the sentence begins, and nowhere else
            if slots.get("S") in (("she", "he") if started else ("She", "He")):
                return None
            return kind, slots
    return None
