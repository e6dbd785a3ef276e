"""A chapter is a notebook that `_toc.yml` names; here is what each of its cells is for.

Everything that looks into the notebooks asks this module: the checks, `make execute`, the status page. It knows neither
pytest nor Sphinx.
"""

import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import nbformat
import yaml
from nbformat import NotebookNode

from tests.repository.address import repository
from tests.repository.version import version

ROOT = Path(__file__).parents[2]
BOOK = ROOT / "book"

SETUP_ID = "setup"
EXEMPT_TAG = "nbval-ignore-output"
STUB_TAG, CHECK_TAG = "exercise-stub", "exercise-check"

_EXERCISE_ID = re.compile(r"ex-(?P<slug>[a-z0-9-]+?)-(?P<number>\d+)(?:-(?P<role>stub|check|solution))?")
_PYTHON_BLOCK = re.compile(r"^```python\n(?P<code>.*?)^```", re.DOTALL | re.MULTILINE)
_MARKDOWN_FIGURE = re.compile(
    r"^(?P<fence>`{3,}|:{3,})\{figure\}[^\n]*\n(?P<body>.*?)^(?P=fence)\s*$", re.DOTALL | re.MULTILINE
)
_FIELD = re.compile(r"^:(?P<key>[a-z]+):[ \t]*(?P<value>.*)$", re.MULTILINE)


@dataclass(frozen=True)
class Figure:
    """A picture on the page: what it shows, for the eye and for the ear."""

    cell: str  # the id of its cell
    name: str
    caption: str
    alt: str


@dataclass(frozen=True)
class Exercise:
    """Four cells: the task, the stub that a reader fills in, the check that judges it, the folded solution."""

    label: str
    task: NotebookNode
    stub: NotebookNode
    check: NotebookNode
    solution: NotebookNode

    @property
    def solution_code(self) -> str:
        """The first Python block of the solution: it takes the place of the stub."""
        block = _PYTHON_BLOCK.search(self.solution.source)
        if block is None:
            raise ValueError(f"{self.solution.id}: no ```python block")
        return block["code"].rstrip("\n")


@dataclass(frozen=True)
class Chapter:
    """One notebook of the book."""

    path: Path

    def __str__(self) -> str:
        return self.slug

    @property
    def slug(self) -> str:
        """The chapter's address in the book, such as `attention/position`."""
        return self.path.relative_to(BOOK).with_suffix("").as_posix() if BOOK in self.path.parents else self.path.stem

    @property
    def name(self) -> str:
        """The last part of the slug: exercises and figures carry it in their names."""
        return self.path.stem

    @cached_property
    def notebook(self) -> NotebookNode:
        return nbformat.read(self.path, as_version=4)

    @property
    def code_cells(self) -> list[NotebookNode]:
        return [cell for cell in self.notebook.cells if cell.cell_type == "code"]

    @property
    def markdown_cells(self) -> list[NotebookNode]:
        return [cell for cell in self.notebook.cells if cell.cell_type == "markdown"]

    @property
    def exempt_cells(self) -> list[NotebookNode]:
        """Cells whose outputs nobody compares; every other code cell is compared."""
        return [cell for cell in self.code_cells if EXEMPT_TAG in tags(cell)]

    @property
    def tolerant_cells(self) -> list[NotebookNode]:
        """Cells that declare a band in which their numbers may move."""
        return [cell for cell in self.code_cells if tolerance(cell) is not None]

    @property
    def exercises(self) -> list[Exercise]:
        parts: dict[str, dict[str, NotebookNode]] = {}
        for cell in self.notebook.cells:
            if found := _EXERCISE_ID.fullmatch(cell.id):
                label = f"ex-{found['slug']}-{found['number']}"
                parts.setdefault(label, {})[found["role"] or "task"] = cell
        incomplete = {label: sorted(roles) for label, roles in parts.items() if len(roles) != 4}
        if incomplete:
            raise ValueError(f"{self}: an exercise is a task, a stub, a check and a solution, found {incomplete}")
        return [Exercise(label, **roles) for label, roles in parts.items()]

    @property
    def figures(self) -> list[Figure]:
        """Pictures drawn by code and pictures placed by Markdown, in the order of the page."""
        return [figure for cell in self.notebook.cells for figure in _figures_of(cell)]

    @property
    def words(self) -> int:
        """Words of running text: no code, no formula, no exercise."""
        return sum(_words(cell.source) for cell in self.markdown_cells if not _EXERCISE_ID.fullmatch(cell.id))


def chapters() -> list[Chapter]:
    """Every notebook that `_toc.yml` names, in the order of the book."""
    table = yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8"))
    paths = [ROOT / f"{entry}.ipynb" for entry in _entries(table)]
    return [Chapter(path) for path in paths if path.exists()]


def setup_source() -> str:
    """The set-up cell, the same in every chapter: it installs the package where there is none."""
    wheels = f"{repository()}/releases/expanded_assets/v{version()}"  # a page that links a release's files
    return "\n".join(
        [
            "try:",
            "    import llmguide",
            "except ModuleNotFoundError:  # Colab, or a fresh environment",
            f'    %pip install -q "llmguide[minilm]=={version()}" --find-links {wheels}',
            "from llmguide import runtime",
            "",
            "runtime.start(seed=0)",
        ]
    )


def tags(cell: NotebookNode) -> list[str]:
    return list(cell.metadata.get("tags", []))


def tolerance(cell: NotebookNode) -> float | None:
    """The band of a cell tagged `rtol-0.03`: 0.03; None where every character counts."""
    bands = [float(tag.removeprefix("rtol-")) for tag in tags(cell) if tag.startswith("rtol-")]
    if len(bands) > 1:
        raise ValueError(f"{cell.id}: more than one rtol tag")
    return bands[0] if bands else None


def canonical(notebook: NotebookNode) -> str:
    """The one way in which a chapter is written: the same content is always the same bytes."""
    clean = nbformat.from_dict(notebook)
    clean.nbformat, clean.nbformat_minor = 4, 5
    html_meta = clean.metadata.get("myst", {}).get("html_meta", {})
    clean.metadata = nbformat.from_dict(
        {
            "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
            "language_info": {"name": "python"},
        }
        | ({"myst": {"html_meta": html_meta}} if html_meta else {})
    )
    for cell in clean.cells:
        cell.source = cell.source.rstrip("\n")
        cell.metadata = nbformat.from_dict(
            ({"mystnb": cell.metadata.mystnb} if "mystnb" in cell.metadata else {})
            | ({"tags": sorted(tags(cell))} if tags(cell) else {})
        )
        cell.pop("attachments", None)
    nbformat.validate(clean)
    return str(nbformat.writes(clean, version=nbformat.NO_CONVERT)) + "\n"


def _entries(node: Any) -> list[str]:
    """The pages of a table of contents, at any depth."""
    if isinstance(node, list):
        return [entry for child in node for entry in _entries(child)]
    if not isinstance(node, dict):
        return []
    own = [node[key] for key in ("root", "file") if key in node]
    return own + [entry for child in node.values() for entry in _entries(child)]


def _figures_of(cell: NotebookNode) -> list[Figure]:
    if cell.cell_type == "code":
        drawn = cell.metadata.get("mystnb", {})
        if "figure" not in drawn:
            return []
        texts = (
            drawn["figure"].get("name", ""),
            drawn["figure"].get("caption", ""),
            drawn.get("image", {}).get("alt", ""),
        )
        return [Figure(cell.id, *texts)]
    placed = []
    for block in _MARKDOWN_FIGURE.finditer(cell.source):
        fields = {field["key"]: field["value"].strip() for field in _FIELD.finditer(block["body"])}
        caption = _FIELD.sub("", block["body"]).strip()
        placed.append(Figure(cell.id, fields.get("name", ""), caption, fields.get("alt", "")))
    return placed


def _words(markdown: str) -> int:
    text = re.sub(r"^(`{3,})(?!\{).*?^\1`*\s*$", " ", markdown, flags=re.DOTALL | re.MULTILINE)  # code, not directives
    text = re.sub(r"\$\$.*?\$\$", " ", text, flags=re.DOTALL)  # formulas
    text = re.sub(r"\$[^$\n]+\$", " x ", text)  # a symbol in a sentence is read as one word
    text = re.sub(r"^\s*(?:`{3,}|:{3,}).*$|^\s*:[a-z-]+:.*$", " ", text, flags=re.MULTILINE)  # fences and their options
    text = re.sub(r"\]\([^)]*\)|\{[a-z:-]+\}|<[^>]+>", " ", text)  # addresses, roles, tags
    return len(re.findall(r"[^\W_]+(?:['’-][^\W_]+)*", text))
