"""Scripts wait for the page: what Sphinx puts in the head is deferred, in the order it was given."""

from typing import Any

from docutils import nodes
from sphinx.application import Sphinx

AT_ONCE = "_static/documentation_options.js"  # inline scripts of every page write to it


def defer_scripts(
    app: Sphinx, pagename: str, template: str, context: dict[str, Any], doctree: nodes.document | None
) -> None:
    for script in context["script_files"]:
        if getattr(script, "filename", None) not in (None, AT_ONCE):
            script.attributes.setdefault("defer", "defer")


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect("html-page-context", defer_scripts, priority=900)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
