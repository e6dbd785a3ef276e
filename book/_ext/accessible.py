"""What the tools below leave wrong for screen readers: roles of a bibliography, and headers without a word."""

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.writers.html5 import HTML5Translator


def visit_citation(self: HTML5Translator, node: nodes.citation) -> None:
    # docutils gives a list role to the parent, which then may hold no anchor, and a deprecated role to the entry
    self.body.append(self.starttag(node, "div", CLASS="citation"))


def depart_citation(self: HTML5Translator, node: nodes.citation) -> None:
    self.body.append("</div>\n")


def fill_headers(app: Sphinx, doctree: nodes.document) -> None:
    # pandas writes an empty header above its index
    for output in doctree.findall(nodes.raw):
        if "<th></th>" in output.astext():
            output.children = [nodes.Text(output.astext().replace("<th></th>", "<td></td>"))]
            output.rawsource = output.astext()


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_node(nodes.citation, override=True, html=(visit_citation, depart_citation))
    app.connect("doctree-read", fill_headers)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
