"""Forms: what a text must look like, as a regular language with and, or and not, and the automaton that checks it."""

import re
import string
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property, reduce
from itertools import repeat
from typing import Any

# ("empty",) ("set", characters, negated) ("cat", a, b) ("star", a) ("or", parts) ("and", parts) ("not", a)
Node = tuple[Any, ...]

NOTHING: Node = ("or", frozenset())
EMPTY: Node = ("empty",)
ANYTHING: Node = ("star", ("set", frozenset(), True))
WORD = f"{string.ascii_letters}{string.digits}_"
CLASSES = {"d": string.digits, "s": string.whitespace, "w": WORD, "n": "\n", "t": "\t", "r": "\r"}
PIECE = re.compile(r"\[(\^?)((?:\\.|[^\]\\])+)\]|(\\.|[^\\()|*+?{}\[\]^$])", re.DOTALL)
RANGE = re.compile(r"(\\.|.)(?:-(\\.|.))?", re.DOTALL)
REPEAT = re.compile(r"([*+?])|\{(\d+)(,(\d*))?\}")
OTHER = ""  # stands for every character that a form does not name
MOST_STATES = 4_000


@dataclass(frozen=True)
class Automaton:
    """Which state each character leads to from each state; state 0 is the start."""

    moves: tuple[dict[str, int], ...]  # for each state, where the characters lead that the form names
    other: tuple[int, ...]  # for each state, where every other character leads
    accepting: frozenset[int]  # where the text may end

    def step(self, state: int, text: str) -> int:
        """The state after reading a text from `state`."""
        for letter in text:
            state = self.moves[state].get(letter, self.other[state])
        return state

    def live(self, spelled: frozenset[str] | None = None) -> frozenset[int]:
        """The states from which a right end can still be written, with the characters `spelled` (None: with all)."""
        before: dict[int, set[int]] = {}
        for state, moves in enumerate(self.moves):
            before.setdefault(self.other[state], set()).add(state)
            for letter, after in moves.items():
                if spelled is None or letter in spelled:
                    before.setdefault(after, set()).add(state)
        found, todo = set(self.accepting), list(self.accepting)
        while todo:
            fresh = before.get(todo.pop(), set()) - found
            found |= fresh
            todo += fresh
        return frozenset(found)


@dataclass(frozen=True)
class Form:
    """A set of texts that a regular expression describes. Forms combine: `a & b` and `~a`.

    What is left to come after a letter is again a form, the derivative: so the automaton is found by deriving until
    nothing new appears, and "and" and "not" cost no more than "or".

    Taught in: applications/text-generation
    Source: brzozowski1964derivatives
    """

    node: Node

    @classmethod
    def matching(cls, pattern: str) -> "Form":
        r"""All texts that match a pattern from beginning to end.

        Letters, `.` (any character, line breaks too), `[a-z]`, `[^.]`, `\d \w \s`, `|`, `( )`, `* + ?`, `{2}`, `{1,3}`.

        Raises:
            TypeError: not a string.
            ValueError: something else, or brackets that do not close; the message says where.
        """
        if not isinstance(pattern, str):
            raise TypeError(f"a pattern is a string, got {type(pattern).__name__}")
        return cls(_Parser(pattern).whole())

    @classmethod
    def containing(cls, word: str, *, open_ended: bool = False) -> "Form":
        """All texts where a word or phrase stands by itself: *hat* is not in *that*; with `open_ended` it is in *hats*.

        Raises:
            ValueError: an empty word.
        """
        if not word.strip():
            raise ValueError("an empty word cannot be asked for or forbidden; leave it out")
        before = _cat(ANYTHING, _set(WORD, negated=True)) if word[0] in WORD else ANYTHING
        after = _cat(_set(WORD, negated=True), ANYTHING) if word[-1] in WORD and not open_ended else ANYTHING
        return cls(_cat(_or((EMPTY, before)), _cat(_in_order(map(_set, word)), _or((EMPTY, after)))))

    def __and__(self, other: "Form") -> "Form":
        return Form(_and((self.node, other.node)))

    def __invert__(self) -> "Form":
        return Form(_not(self.node))

    def accepts(self, text: str) -> bool:
        """Whether a text has this form."""
        return self.automaton.step(0, text) in self.automaton.accepting

    @property
    def possible(self) -> bool:
        """Whether any text at all has this form; two forms that contradict each other have none in common."""
        return 0 in self.automaton.live()

    @cached_property
    def automaton(self) -> Automaton:
        """Every state that reading can lead to.

        Raises:
            ValueError: more than 4,000 states.
        """
        letters, numbers = sorted(_letters(self.node)), {self.node: 0}
        moves, other, todo = list[dict[str, int]](), list[int](), [self.node]
        while len(moves) < len(todo):
            node, reached = todo[len(moves)], dict[str, int]()
            for letter in (*letters, OTHER):
                after = _derived(node, letter)
                if after not in numbers:
                    numbers[after] = len(todo)
                    todo.append(after)
                reached[letter] = numbers[after]
            if len(todo) > MOST_STATES:
                raise ValueError(f"this form needs more than {MOST_STATES:,} states; ask for fewer things at once")
            other.append(reached.pop(OTHER))
            moves.append(reached)
        accepting = frozenset(number for node, number in numbers.items() if _may_end(node))
        return Automaton(tuple(moves), tuple(other), accepting)


def _set(characters: Iterable[str], *, negated: bool = False) -> Node:
    return ("set", frozenset(characters), negated)


def _cat(a: Node, b: Node) -> Node:
    if NOTHING in (a, b):
        return NOTHING
    if a == EMPTY:
        return b
    if b == EMPTY:
        return a
    return ("cat", a[1], _cat(a[2], b)) if a[0] == "cat" else ("cat", a, b)


def _in_order(pieces: Iterable[Node]) -> Node:
    return reduce(lambda rest, piece: _cat(piece, rest), reversed(list(pieces)), EMPTY)


def _or(parts: Iterable[Node]) -> Node:
    flat = frozenset(inner for part in parts for inner in (part[1] if part[0] == "or" else (part,)))
    if ANYTHING in flat:
        return ANYTHING
    return next(iter(flat)) if len(flat) == 1 else ("or", flat)


def _and(parts: Iterable[Node]) -> Node:
    flat = frozenset(inner for part in parts for inner in (part[1] if part[0] == "and" else (part,)))
    flat -= {ANYTHING}
    if NOTHING in flat or not flat:
        return NOTHING if flat else ANYTHING
    return next(iter(flat)) if len(flat) == 1 else ("and", flat)


def _not(a: Node) -> Node:
    if a == ANYTHING:
        return NOTHING
    if a == NOTHING:
        return ANYTHING
    return a[1] if a[0] == "not" else ("not", a)


def _may_end(node: Node) -> bool:
    """Whether the empty text has this form."""
    match node[0]:
        case "empty" | "star":
            return True
        case "cat":
            return _may_end(node[1]) and _may_end(node[2])
        case "or":
            return any(map(_may_end, node[1]))
        case "and":
            return all(map(_may_end, node[1]))
        case "not":
            return not _may_end(node[1])
    return False


def _derived(node: Node, letter: str) -> Node:
    """What may follow once this letter has been read."""
    match node[0]:
        case "set":
            return EMPTY if (letter in node[1]) != node[2] else NOTHING
        case "cat":
            first = _cat(_derived(node[1], letter), node[2])
            return _or((first, _derived(node[2], letter))) if _may_end(node[1]) else first
        case "star":
            return _cat(_derived(node[1], letter), node)
        case "or":
            return _or([_derived(part, letter) for part in node[1]])
        case "and":
            return _and([_derived(part, letter) for part in node[1]])
        case "not":
            return _not(_derived(node[1], letter))
    return NOTHING


def _letters(node: Node) -> frozenset[str]:
    if node[0] == "set":
        return node[1]
    inner = node[1] if node[0] in ("or", "and") else node[1:]
    return frozenset().union(*map(_letters, inner))


class _Parser:
    """Reads a pattern from left to right: alternatives of sequences of repeated pieces."""

    def __init__(self, pattern: str) -> None:
        self.pattern, self.at = pattern, 0

    def whole(self) -> Node:
        """What the pattern means."""
        node = self._choice()
        if self.at < len(self.pattern):
            raise self._wrong("closes nothing")
        return node

    def _next(self) -> str:
        return self.pattern[self.at : self.at + 1]

    def _wrong(self, why: str) -> ValueError:
        return ValueError(f"{self._next() or 'the end'!r} at place {self.at} of the pattern {self.pattern!r} {why}")

    def _choice(self) -> Node:
        choices = [self._sequence()]
        while self._next() == "|":
            self.at += 1
            choices.append(self._sequence())
        return _or(choices)

    def _sequence(self) -> Node:
        pieces = []
        while self._next() not in ("", "|", ")"):
            pieces.append(self._repeated())
        return _in_order(pieces)

    def _repeated(self) -> Node:
        node = self._piece()
        while found := REPEAT.match(self.pattern, self.at):
            sign, least, comma, most = found.groups()
            low = int(least) if least else int(sign == "+")
            high = (int(most) if most else None) if comma else low if least else 1 if sign == "?" else None
            if high is not None and high < low:
                raise self._wrong(f"asks for {low} or more and {high} or fewer")
            self.at = found.end()
            tail = ("star", node) if high is None else EMPTY
            for _ in range(0 if high is None else high - low):
                tail = _or((EMPTY, _cat(node, tail)))
            node = _in_order([*repeat(node, low), tail])
        return node

    def _piece(self) -> Node:
        if self._next() == "(":
            self.at += 1
            node = self._choice()
            if self._next() != ")":
                raise self._wrong("comes where a bracket should close")
            self.at += 1
            return node
        found = PIECE.match(self.pattern, self.at)
        if found is None:
            raise self._wrong("is a sign that may not stand here; for the character itself put a backslash before it")
        start, self.at = self.at, found.end()
        negated, inside, single = found.groups()
        if single is not None:
            return _set((), negated=True) if single == "." else _set(self._meant(single, start))
        characters = set[str]()
        for part in RANGE.finditer(inside):
            first, last = (self._meant(end, start) if end else "" for end in part.groups())
            if len(first) == len(last) == 1:
                characters |= {chr(code) for code in range(ord(first), ord(last) + 1)}
            else:
                characters |= {*first, *last, *("-" if last else "")}
        return _set(characters, negated=bool(negated))

    def _meant(self, letter: str, place: int) -> str:
        """The characters that a letter stands for, with its backslash where it has one."""
        name = letter[-1]
        if len(letter) == 1:
            return letter
        if name.isalnum() and name not in CLASSES:
            self.at = place
            raise self._wrong(f"has a {letter} that forms do not know")
        return CLASSES.get(name, name)
