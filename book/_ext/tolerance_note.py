"""A cell tagged `rtol-0.03` tells the reader how far the printed numbers may move on another machine."""

from docutils import nodes
from sphinx.application import Sphinx

PREFIX = "tag_rtol-"


def add_notes(app: Sphinx, doctree: nodes.document) -> None:
    for cell in doctree.findall(nodes.container):
        if cell.get("nb_element") != "cell_code":
            continue
        for name in cell["classes"]:
            if name.startswith(PREFIX):
                percent = 100 * float(name.removeprefix(PREFIX))
                text = f"On another machine these numbers land within {percent:g} %."
                cell += nodes.paragraph(text, text, classes=["tolerance-note"])


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect("doctree-read", add_notes)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
