"""One description a page: what its author wrote for search engines is also what a shared link shows."""

import re
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util import logging

logger = logging.getLogger(__name__)

WRITTEN = re.compile(r'<meta content="([^"]*)"[^>]*name="description"')
SHARED = re.compile(r'(<meta property="og:description" content=")[^"]*')


def share(app: Sphinx, pagename: str, template: str, context: dict[str, Any], doctree: nodes.document | None) -> None:
    if doctree is None:
        return
    written = WRITTEN.search(context["metatags"])
    if written is None:
        logger.warning("no description: set myst.html_meta.description", location=pagename)
        return
    context["metatags"] = SHARED.sub(lambda found: found[1] + written[1], context["metatags"])


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect("html-page-context", share, priority=900)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
