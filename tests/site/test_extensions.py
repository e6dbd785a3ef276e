"""The book's own Sphinx extensions, each on a site of a few lines."""

import json
from io import StringIO
from pathlib import Path

import pytest
from address import pages_of
from bs4 import BeautifulSoup
from docstrings import marked_up
from sphinx.application import Sphinx
from sphinx.errors import SphinxError
from sphinx.util.docutils import docutils_namespace, patch_docutils
from status_table import Facts, facts

MATH = {"extensions": ["myst_parser", "prerendered_math"], "html_math_renderer": "prerendered"}
MATH |= {"myst_enable_extensions": ["dollarmath", "amsmath"]}


def built(folder: Path, files: dict[str, str], **config: object) -> tuple[BeautifulSoup, str]:
    """Build a site; return its first page and what Sphinx warned of."""
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf8")
    warnings = StringIO()
    with patch_docutils(folder), docutils_namespace():
        app = Sphinx(
            srcdir=folder,
            confdir=None,
            outdir=folder / "_build",
            doctreedir=folder / "_doctrees",
            buildername="html",
            confoverrides={"source_suffix": {}} | config,  # Sphinx shares its own between sites, extensions add to it
            status=None,
            warning=warnings,
        )
        app.build()
    html = (folder / "_build" / "index.html").read_text(encoding="utf8")
    return BeautifulSoup(html, "html.parser"), warnings.getvalue()


def test_a_formula_becomes_html_and_mathml_and_keeps_its_number(tmp_path: Path) -> None:
    text = "# Title\n\nInline $x_t$.\n\n$$\ny = x^2\n$$ (eq:square)\n\n\\begin{align}\na &= b\n\\end{align}\n"
    page, warnings = built(tmp_path, {"index.md": text}, **MATH)
    assert warnings == ""
    assert len(page.select("span.math .katex-mathml math")) == 1
    assert len(page.select("div.math .katex-display")) == 2
    assert page.select_one("#equation-eq-square .eqno").text.startswith("(1)")
    assert page.select(".katex .tag") == []  # KaTeX numbers nothing itself


@pytest.mark.parametrize(
    ("tex", "said"),
    [
        ("\\frak{", "expected"),
        ("\\nosuch x", "Undefined control sequence"),
        ("x \\\\ y", "write aligned"),
        ("x\n\ny", "write aligned"),
    ],
)
def test_bad_tex_is_a_warning_with_its_line(tmp_path: Path, tex: str, said: str) -> None:
    _, warnings = built(tmp_path, {"index.md": f"# Title\n\nWords.\n\n$$\n{tex}\n$$\n"}, **MATH)
    assert "index.md:5" in warnings
    assert said in warnings


REGISTRY = """
from dataclasses import dataclass
@dataclass
class Differences:
    forward: float
    gradient: float | None
@dataclass
class Check:
    name = "ours"
    reference = "theirs"
    tolerance = 1e-9
    def run(self): return Differences(FOUND)
CHECKS = [Check()]
"""


@pytest.mark.parametrize(("found", "shown"), [("1e-16, 2e-12", ["1.0e-16", "2.0e-12"]), ("0.0, None", ["0", "–"])])
def test_parity_is_a_table_of_differences(tmp_path: Path, found: str, shown: list[str]) -> None:
    files = {"index.md": "# Title\n\n```{parity}\n```\n", "tests/unit/parity.py": REGISTRY.replace("FOUND", found)}
    page, _ = built(tmp_path, files, extensions=["myst_parser", "parity_table"])
    assert [cell.text for cell in page.select("tbody td")] == ["ours", "theirs", *shown, "1e-09"]


@pytest.mark.parametrize("found", ["1e-3, 0.0", "0.0, 1e-3", "float('nan'), 0.0", "0.0, float('nan')"])
def test_a_difference_past_its_tolerance_stops_the_build(tmp_path: Path, found: str) -> None:
    files = {"index.md": "# Title\n\n```{parity}\n```\n", "tests/unit/parity.py": REGISTRY.replace("FOUND", found)}
    with pytest.raises(SphinxError, match="ours is not theirs"):
        built(tmp_path, files, extensions=["myst_parser", "parity_table"])


def cell(kind: str, name: str, text: str = "", *, tags: tuple[str, ...] = (), **metadata: object) -> dict:
    made = {"cell_type": kind, "id": name, "source": text, "metadata": {"tags": list(tags)} | metadata}
    return made | ({"outputs": [], "execution_count": 1} if kind == "code" else {})


def notebook(*cells: dict) -> dict:
    return {"cells": list(cells), "metadata": {"kernelspec": {"name": "python3", "display_name": "Python 3"}}} | {
        "nbformat": 4,
        "nbformat_minor": 5,
    }


def test_status_counts_what_a_notebook_holds() -> None:
    found = facts(
        notebook(
            cell("markdown", "title", "# Two words\n\n$x$ and\n\n```python\nnot = prose\n```\n"),
            cell("code", "plain"),
            cell("code", "moving", tags=("rtol-0.03",)),
            cell("code", "free", tags=("nbval-ignore-output",)),
            cell("code", "picture", mystnb={"figure": {"name": "fig-a"}}),
            cell("code", "ex-a-1-stub", tags=("exercise-stub",)),
        )
    )
    assert found == Facts(
        code_cells=5, exact=3, bands={"moving": 0.03}, exempt=["free"], figures=1, exercises=1, words=3
    )


def test_a_moving_number_shows_its_band(tmp_path: Path) -> None:
    text = json.dumps(notebook(cell("markdown", "title", "# Title"), cell("code", "a", "1", tags=("rtol-0.03",))))
    config = {"extensions": ["myst_nb", "tolerance_note"], "nb_execution_mode": "off"}
    page, _ = built(tmp_path, {"index.ipynb": text}, **config)
    assert page.select_one(".tolerance-note").text == "On another machine these numbers land within 3 %."


def test_a_folded_solution_needs_no_script(tmp_path: Path) -> None:
    asked = "```{exercise}\n:label: ask\nWhy?\n```\n"
    text = f"# Title\n\n{asked}\n```{{solution}} ask\n:class: dropdown\nBecause.\n```\n"
    page, _ = built(tmp_path, {"index.md": text}, extensions=["myst_parser", "foldable_solutions"])
    folded = page.select_one("details.solution")
    assert folded.summary.text.startswith("Solution to")
    assert "Because." in folded.text


def test_a_page_without_a_description_is_a_warning(tmp_path: Path) -> None:
    _, warnings = built(tmp_path, {"index.md": "# Title\n"}, extensions=["myst_parser", "description"])
    assert "no description" in warnings


def test_an_empty_header_of_a_table_becomes_a_cell(tmp_path: Path) -> None:
    text = "# Title\n\n```{raw} html\n<table><tr><th></th><th>loss</th></tr></table>\n```\n"
    page, _ = built(tmp_path, {"index.md": text}, extensions=["myst_parser", "accessible"])
    assert [header.text for header in page.select("th")] == ["loss"]


def test_docstrings_keep_their_formulas() -> None:
    assert marked_up("`x` is $x_1$.") == "``x`` is \\ :math:`x_1`\\ ."


def test_pages_are_served_from_the_repository_s_name() -> None:
    assert pages_of("https://github.com/Ann/book") == "https://ann.github.io/book/"
