"""Forms: the same texts as Python's own regular expressions, and what those cannot say, and and not."""

import random
import re

import pytest

from llmguide.forms import Form

PATTERNS = [
    r"a*b",
    r"(a|b)*c?",
    r"[^a]+",
    r"[a-c]{2}",
    r"a{1,3}b{0,1}",
    r"a{2,}",
    r"(ab|a)(c|bcd)",
    r".*\.",
    r"\d+\s\w*",
]
PATTERNS += [r"[a\-]*", r"[\]\[]b", r"()", r"a||b", r"[\d.]+", r"(a*)*b", r"é[^é]*", r"\{\"a\": \d\}"]


def _random_pattern(chance: random.Random, depth: int) -> str:
    match chance.randrange(7 if depth else 2):
        case 0:
            return chance.choice("abc.")
        case 1:
            return chance.choice(["[ab]", "[^a]", "[a-c]", r"\.", "[^b-c]"])
        case 2 | 3 | 4:
            return _random_pattern(chance, depth - 1) + _random_pattern(chance, depth - 1)
        case 5:
            return f"({_random_pattern(chance, depth - 1)}|{_random_pattern(chance, depth - 1)})"
    return f"({_random_pattern(chance, depth - 1)}){chance.choice(['*', '+', '?', '{2}', '{1,3}', '{1,}'])}"


def _texts(chance: random.Random, letters: str) -> list[str]:
    return ["".join(chance.choice(letters) for _ in range(chance.randrange(7))) for _ in range(60)]


@pytest.mark.parametrize("seed", range(60))
def test_a_pattern_accepts_the_texts_that_re_accepts(seed: int) -> None:
    chance = random.Random(seed)
    pattern = _random_pattern(chance, 4)
    form, theirs = Form.matching(pattern), re.compile(pattern, re.DOTALL)

    for text in _texts(chance, "abc.d"):
        assert form.accepts(text) == bool(theirs.fullmatch(text)), (pattern, text)


@pytest.mark.parametrize("pattern", PATTERNS)
def test_the_signs_mean_what_they_mean_in_re(pattern: str) -> None:
    form, theirs = Form.matching(pattern), re.compile(pattern, re.DOTALL)
    texts = [*_texts(random.Random(0), "abcdé.-][1 \n"), "", "ab", "aab", 'a{"a": 7}', '{"a": 7}', "é", "11 ab"]

    assert [form.accepts(text) for text in texts] == [bool(theirs.fullmatch(text)) for text in texts]


@pytest.mark.parametrize("seed", range(10))
def test_and_and_not_are_those_of_logic(seed: int) -> None:
    chance = random.Random(seed)
    a, b = (Form.matching(_random_pattern(chance, 2)) for _ in range(2))

    for text in _texts(chance, "abc."):
        assert (a & b).accepts(text) == (a.accepts(text) and b.accepts(text))
        assert (~a).accepts(text) == (not a.accepts(text))
        assert (~(~a & ~b)).accepts(text) == (a.accepts(text) or b.accepts(text))


def test_a_word_is_found_where_it_stands_by_itself() -> None:
    hat = Form.containing("hat")

    assert [hat.accepts(text) for text in ("hat", "a hat.", "that", "hats", "that hat")] == [
        True,
        True,
        False,
        False,
        True,
    ]
    assert Form.containing("hat", open_ended=True).accepts("two hats")
    assert not Form.containing("hat", open_ended=True).accepts("that")
    assert Form.containing('"?').accepts('so"?x')  # signs have no letters beside them to mind


def test_a_contradiction_is_known_before_anything_is_written() -> None:
    hat = Form.containing("hat")
    assert not (hat & ~hat).possible
    assert not (Form.matching("[ab]*") & Form.matching("c+")).possible
    assert (Form.matching("[ab]*") & ~hat).possible


def test_a_state_is_live_while_a_right_end_can_be_reached() -> None:
    automaton = Form.matching("ab|ac*d").automaton

    assert automaton.step(0, "a") in automaton.live()
    assert automaton.step(0, "acc") in automaton.live()
    assert automaton.step(0, "ab") in automaton.live()
    assert automaton.step(0, "abc") not in automaton.live()
    assert automaton.step(0, "ac") not in automaton.live(frozenset("abc"))  # without a d


@pytest.mark.parametrize(
    ("pattern", "said"),
    [
        ("(a", "the end.* at place 2 .* where a bracket should close"),
        ("a)", r"'\)' at place 1 .* closes nothing"),
        ("*a", r"'\*' at place 0 .* backslash before it"),
        ("[a", r"'\[' at place 0"),
        ("(?:a)", r"'\?' at place 1"),
        (r"\b", r"has a \\b that forms do not know"),
        ("a{3,1}", "asks for 3 or more and 1 or fewer"),
    ],
)
def test_a_pattern_that_is_none_says_where(pattern: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Form.matching(pattern)


@pytest.mark.usefixtures("unchecked")
def test_a_pattern_is_a_string_and_a_word_is_not_empty() -> None:
    with pytest.raises(TypeError, match="a pattern is a string, got int"):
        Form.matching(7)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="empty word"):
        Form.containing(" ")


def test_a_form_that_grows_too_large_is_refused() -> None:
    with pytest.raises(ValueError, match="more than 4,000 states"):
        _ = Form.matching(".*a.{16}").automaton
