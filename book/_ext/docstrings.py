r"""The package's docstrings, written for a reader of the code, become pages: `code`, $math$, chapters and citations.

`Taught in:` becomes a link to the chapter where the table of contents has it, and each key after `Source:` a citation.
"""

import re

from sphinx.application import Sphinx

MATH = re.compile(r"\$([^$]+)\$")
CODE = re.compile(r"`([^`]+)`")
KEY = re.compile(r"\b[a-z]+\d{4}[a-z0-9]+\b")


def marked_up(text: str) -> str:
    """Return prose with $x$ and `x` as reStructuredText, leaving formulas alone."""
    parts = MATH.split(text)  # prose, formula, prose, ...
    parts[::2] = [CODE.sub(r"``\1``", prose) for prose in parts[::2]]
    parts[1::2] = [rf":math:`{formula}`" for formula in parts[1::2]]
    return "\\ ".join(part for part in parts if part)


def convert(app: Sphinx, what: str, name: str, obj: object, options: object, lines: list[str]) -> None:
    converted = []
    for line in lines:
        indent, text = re.match(r"(\s*)(.*)", line).groups()
        if text.startswith("Taught in: "):
            page = f"book/{text.removeprefix('Taught in: ')}"
            text = f"*Taught in* :doc:`/{page}`." if page in app.env.found_docs else ""
        elif text.startswith("Source: "):
            text = "*Source:* " + KEY.sub(r":cite:t:`\g<0>`", text.removeprefix("Source: ")) + "."
            converted.append("")
        else:
            text = marked_up(text)
        converted.append(indent + text)
    lines[:] = converted


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect("autodoc-process-docstring", convert, priority=400)  # before napoleon reads the sections
    return {"parallel_read_safe": True, "parallel_write_safe": True}
