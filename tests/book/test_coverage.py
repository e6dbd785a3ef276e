"""The checklist of what the book covers: no row is lost or listed twice, and every link of it leads somewhere."""

import re
from collections import Counter
from functools import cache
from itertools import chain
from pathlib import Path
from posixpath import join, normpath

import nbformat
import pytest
from myst_parser.mdit_to_docutils.base import default_slugify

from tests.book.chapters import ROOT

APPENDIX = ROOT / "book" / "appendix"
PAGES = ("faq", "common-mistakes", "resources", "trends", "coverage")

# The checklist: a letter, the last number, the digits of a number. C01 to C27, A01 to A10, F1 to F10, ...
RUNS = (("C", 27, 2), ("A", 10, 2), ("F", 10, 1), ("P", 18, 2), ("K", 7, 1), ("U", 9, 1), ("T", 14, 1))
RUNS += (("H", 13, 1), ("R", 6, 1), ("Q", 13, 1), ("D", 32, 2))
CHECKLIST = [f"{letter}{n:0{digits}}" for letter, last, digits in RUNS for n in range(1, last + 1)] + ["F-extra"]

ROW = re.compile(r"^\| (?P<id>[A-Z](?:\d+|-\w+)) \| (?P<topic>[^|]+) \| (?P<places>[^|]+) \|$", re.M)
LINK = re.compile(r"\]\((?!https?://)(?P<path>[^)#\s]*)(?:#(?P<anchor>[^)\s]+))?\)")
ROLE = re.compile(r"\{(?P<role>ref|eq|numref|doc)\}`(?:[^`<]*<)?(?P<target>[^`>]+)>?`")
LABELS = re.compile(
    r"^\((?P<target>[\w-]+)\)=|^:(?:label|name): (?P<option>[\w-]+)|^\$\$ \((?P<equation>[\w-]+)\)", re.M
)


def entries() -> list[str]:
    """Every page that the table of contents names, such as `book/appendix/faq`."""
    return re.findall(r"(?:file|root): (\S+)", (ROOT / "_toc.yml").read_text(encoding="utf-8"))


def source(entry: str) -> Path | None:
    return next((path for kind in ("ipynb", "md") if (path := ROOT / f"{entry}.{kind}").exists()), None)


@cache
def page(path: Path) -> tuple[str, frozenset[str]]:
    """The Markdown of a page, and the names of the figures that its code draws."""
    if path.suffix == ".md":
        return path.read_text(encoding="utf-8"), frozenset()
    cells = nbformat.read(path, as_version=4).cells
    drawn = (cell.metadata.get("mystnb", {}).get("figure", {}).get("name", "") for cell in cells)
    return "\n\n".join(cell.source for cell in cells if cell.cell_type == "markdown"), frozenset(drawn)


@cache
def anchors(path: Path) -> frozenset[str]:
    """What a link may name behind the `#`: headings down to the third level, and labels."""
    text, _ = page(path)
    outside_code = re.sub(r"^(`{3,}).*?^\1", "", text, flags=re.DOTALL | re.MULTILINE)
    headings = re.findall(r"^#{1,3} (.+)$", outside_code, re.M)
    return frozenset(map(default_slugify, headings)) | labels(path)


@cache
def labels(path: Path) -> frozenset[str]:
    text, drawn = page(path)
    return drawn | {name for found in LABELS.finditer(text) for name in found.groups() if name}


def lost_links(text: str, home: str) -> list[str]:
    """The links of a page's Markdown, the page being at `home`, that lead nowhere in the book."""
    named, lost = entries(), []
    known = frozenset(chain.from_iterable(labels(path) for entry in named if (path := source(entry))))
    for link in LINK.finditer(text):
        target = normpath(join(home, "..", link["path"])) if link["path"] else f"{home}.md"
        path = ROOT / target
        if target.rpartition(".")[0] not in named or not path.exists():
            lost.append(f"{link[0]}: not in the table of contents")
        elif link["anchor"] and link["anchor"] not in anchors(path):
            lost.append(f"{link[0]}: no such section")
    for role in ROLE.finditer(text):
        if role["role"] == "doc":
            target = role["target"]
            entry = target.lstrip("/") if target.startswith("/") else normpath(join(home, "..", target))
            lost += [] if entry in named else [f"{role[0]}: not in the table of contents"]
        elif role["target"] not in known:
            lost.append(f"{role[0]}: no such label")
    return lost


def rows(text: str) -> dict[str, str]:
    """Places by row; a row listed twice is an error."""
    found = [(row["id"], row["places"]) for row in ROW.finditer(text)]
    twice = [row for row, count in Counter(row for row, _ in found).items() if count > 1]
    if twice:
        raise ValueError(f"listed twice: {twice}")
    return dict(found)


def unplaced(text: str) -> list[str]:
    """Rows that name no place."""
    return [row for row, places in rows(text).items() if not (LINK.search(places) or ROLE.search(places))]


def text_of(name: str) -> str:
    return (APPENDIX / f"{name}.md").read_text(encoding="utf-8")


def test_every_row_of_the_checklist_is_listed_once() -> None:
    found = rows(text_of("coverage"))
    assert sorted(set(CHECKLIST) - set(found)) == []
    assert sorted(set(found) - set(CHECKLIST)) == []


def test_every_row_names_a_place() -> None:
    assert unplaced(text_of("coverage")) == []


@pytest.mark.parametrize("name", PAGES)
def test_every_link_leads_to_a_page_and_a_section_of_the_book(name: str) -> None:
    assert lost_links(text_of(name), f"book/appendix/{name}") == []


def test_every_question_has_an_answer_of_its_own() -> None:
    answers = [places for row, places in rows(text_of("coverage")).items() if row.startswith("Q")]
    assert all("(faq.md#" in answer for answer in answers)
    assert len(set(answers)) == len(answers)


def test_the_pages_of_the_appendix_are_in_the_table_of_contents() -> None:
    assert [name for name in PAGES if f"book/appendix/{name}" not in entries()] == []


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[a](../concepts/embeddings.ipynb#no-such-thing)", "no such section"),
        ("[a](../concepts/no-such-chapter.ipynb)", "not in the table of contents"),
        ("[a](faq.md#no-such-question)", "no such section"),
        ("{eq}`eq-no-such-formula`", "no such label"),
        ("{numref}`fig-no-such-figure`", "no such label"),
        ("{ref}`the words <no-such-label>`", "no such label"),
        ("{doc}`no-such-page`", "not in the table of contents"),
    ],
)
def test_a_lost_link_is_found(text: str, said: str) -> None:
    (lost,) = lost_links(text, "book/appendix/coverage")
    assert lost.endswith(said)


def test_good_links_are_not_accused() -> None:
    text = "[a](../concepts/embeddings.ipynb#words-as-names) [b](../how-to-use.md#read) [c](https://example.org)"
    text += (
        " {eq}`eq-embeddings-lookup` {numref}`fig-embeddings-map` {ref}`ex-embeddings-1` {ref}`mirrors` {doc}`glossary`"
    )
    assert lost_links(text, "book/appendix/coverage") == []


def test_a_row_that_is_listed_twice_or_nowhere_shown_is_found() -> None:
    good = "| C01 | a topic | [a](faq.md) |\n"
    assert rows(good) == {"C01": "[a](faq.md)"}
    with pytest.raises(ValueError, match="listed twice: \\['C01'\\]"):
        rows(good + good)
    assert unplaced(good + "| C02 | a topic | somewhere |\n") == ["C02"]


def test_the_checklist_has_every_row() -> None:
    assert len(CHECKLIST) == len(set(CHECKLIST)) == 27 + 10 + 10 + 18 + 7 + 9 + 14 + 13 + 6 + 13 + 32 + 1
    assert {"C01", "C27", "A10", "F10", "P18", "K7", "U9", "T14", "H13", "R6", "Q13", "D01", "D32"} <= set(CHECKLIST)
