"""A solution marked `:class: dropdown` is a <details>: it folds without a script and without moving the page."""

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.writers.html5 import HTML5Translator
from sphinx_exercise.nodes import depart_solution_node, solution_node, solution_title, visit_solution_node


def visit(self: HTML5Translator, node: solution_node) -> None:
    if "dropdown" not in node["classes"]:
        visit_solution_node(self, node)
        return
    title = node.next_node(solution_title) or node.next_node(nodes.title)
    node.remove(title)
    self.body.append(self.starttag(node, "details", CLASS="admonition"))
    self.body.append(f'<summary class="admonition-title">{self.encode(title.astext())}</summary>\n')


def depart(self: HTML5Translator, node: solution_node) -> None:
    if "dropdown" not in node["classes"]:
        depart_solution_node(self, node)
        return
    self.body.append("</details>\n")


def setup(app: Sphinx) -> dict[str, bool]:
    app.setup_extension("sphinx_exercise")
    app.add_node(solution_node, override=True, html=(visit, depart))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
