"""A page asks for little and waits for nothing: scripts are deferred, the style sheet names our icons only."""

import re
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx

AT_ONCE = "_static/documentation_options.js"  # inline scripts of every page write to it

# The glyphs in book/_static/vendor/fontawesome. The theme's own fonts have thousands, and a rule for each.
GLYPHS = """
f002 f00d f010 f015 f019 f03a f03b f042 f04b f053 f054 f057 f058 f05a f062 f064 f066 f06a f071 f077 f078
f08e f09b f0c9 f0eb f0f3 f104 f105 f106 f107 f121 f135 f15b f15c f185 f186 f1c1 f296 f303 f304 f31e f35d
"""
ICON_RULE = re.compile(r'(?:\.fa-[\w-]+:before,?)+\{content:"\\([0-9a-f]+) ?"\}')


def defer_scripts(
    app: Sphinx, pagename: str, template: str, context: dict[str, Any], doctree: nodes.document | None
) -> None:
    for script in context["script_files"]:
        if getattr(script, "filename", None) not in (None, AT_ONCE):
            script.attributes.setdefault("defer", "defer")


def drop_icon_rules(app: Sphinx, exception: Exception | None) -> None:
    sheet = Path(app.outdir, "_static", "styles", "pydata-sphinx-theme.css")
    if exception is None and sheet.exists():
        rules = sheet.read_text(encoding="utf8")
        sheet.write_text(
            ICON_RULE.sub(lambda rule: rule[0] if rule[1] in GLYPHS.split() else "", rules), encoding="utf8"
        )


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect("html-page-context", defer_scripts, priority=900)
    app.connect("build-finished", drop_icon_rules)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
