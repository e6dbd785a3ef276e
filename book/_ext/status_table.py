"""The `status` directive: what every chapter holds and how it is checked, counted while the page is built."""

import json
import re
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from platform import python_version

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective
from sphinx_external_toc.parsing import parse_toc_yaml

FENCED = re.compile(r"^(```|~~~).*?^\1", re.DOTALL | re.MULTILINE)
MATH = re.compile(r"\$\$.*?\$\$|\$[^$\n]+\$", re.DOTALL)
WORD = re.compile(r"[^\W\d_][\w'’-]*")


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What one notebook holds."""

    code_cells: int
    exact: int  # cells whose outputs are compared character by character
    bands: dict[str, float]  # cell id -> relative tolerance
    exempt: list[str]  # ids of cells that are not compared
    figures: int
    exercises: int
    words: int


def facts(notebook: dict) -> Facts:
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    prose = ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "markdown"]
    tags = {cell["id"]: cell["metadata"].get("tags", []) for cell in code}
    bands = {name: float(tag.removeprefix("rtol-")) for name in tags for tag in tags[name] if tag.startswith("rtol-")}
    exempt = [name for name in tags if {"nbval-ignore-output", "nbval-skip"} & set(tags[name])]
    return Facts(
        code_cells=len(code),
        exact=len(tags.keys() - bands.keys() - set(exempt)),
        bands=bands,
        exempt=exempt,
        figures=sum("figure" in cell["metadata"].get("mystnb", {}) for cell in code),
        exercises=sum("exercise-stub" in tags[name] for name in tags),
        words=sum(len(WORD.findall(MATH.sub("", FENCED.sub("", text)))) for text in prose),
    )


def chapters(root: Path) -> dict[str, Facts]:
    """Return the facts of every notebook in the table of contents, in its order."""
    names = (name for name in parse_toc_yaml(root / "_toc.yml"))
    paths = {name: root / f"{name}.ipynb" for name in names}
    return {name: facts(json.loads(path.read_text(encoding="utf8"))) for name, path in paths.items() if path.exists()}


def table(found: dict[str, Facts]) -> str:
    def counts(fact: Facts) -> list[int]:
        checked = [fact.code_cells, fact.exact, len(fact.bands), len(fact.exempt)]
        return [*checked, fact.figures, fact.exercises, fact.words]

    totals = [sum(column) for column in zip(*map(counts, found.values()), strict=True)]
    rows = [(f"{{doc}}`/{name}`", counts(fact)) for name, fact in found.items()] + [("**all**", totals)]
    head = "| chapter | code cells | compared exactly | within a band | exempt | figures | exercises | words |"
    lines = [f"| {name} | " + " | ".join(f"{number:,}" for number in numbers) + " |" for name, numbers in rows]
    return "\n".join([head, "|---|--:|--:|--:|--:|--:|--:|--:|", *lines])


def exceptions(found: dict[str, Facts]) -> str:
    lines = []
    for name, fact in found.items():
        lines += [f"- {{doc}}`/{name}`, cell `{cell}`: within {100 * band:g} %" for cell, band in fact.bands.items()]
        lines += [f"- {{doc}}`/{name}`, cell `{cell}`: not compared" for cell in fact.exempt]
    if not lines:
        return "There is no exception: every output is compared as it stands."
    return "The exceptions, one by one:\n\n" + "\n".join(lines)


def package(root: Path) -> str:
    modules = [path for path in root.glob("llmguide/*.py") if path.stem != "__init__"]
    lines = sum(len(path.read_text(encoding="utf8").splitlines()) for path in modules)
    stack = ", ".join(f"{name} {version(name)}" for name in ("torch", "transformers", "numpy", "matplotlib"))
    return (
        f"`llmguide` {version('llmguide')}: {len(modules)} modules, {lines:,} lines. "
        f"This site was built with Python {python_version()}, {stack}."
    )


class Status(SphinxDirective):
    def run(self) -> list[nodes.Node]:
        root = Path(self.env.srcdir)
        found = chapters(root)
        for path in ("_toc.yml", *(f"{name}.ipynb" for name in found)):
            self.env.note_dependency(str(root / path))
        for path in root.glob("llmguide/*.py"):
            self.env.note_dependency(str(path))
        return self.parse_text_to_nodes("\n\n".join([table(found), exceptions(found), package(root)]))


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_directive("status", Status)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
