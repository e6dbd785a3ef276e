"""The top of the site: a page for `/`, a word to the robots, and nothing that is not for readers."""

from pathlib import Path

from sphinx.application import Sphinx

INDEX = """<!doctype html>
<html lang="{language}">
<head>
<meta charset="utf-8">
<title>{title}</title>
<meta http-equiv="refresh" content="0; url={front}">
<link rel="canonical" href="{site}{front}">
</head>
<body><main><p><a href="{front}">{title}</a></p></main></body>
</html>
"""

ROBOTS = """User-agent: *
Allow: /
Sitemap: {site}sitemap.xml
"""


def write(app: Sphinx, exception: Exception | None) -> None:
    if exception or app.builder.name != "html":
        return
    values = {
        "site": app.config.html_baseurl,
        "front": app.builder.get_target_uri(app.config.root_doc),
        "title": app.config.html_title,
        "language": app.config.language,
    }
    for name, text in {"index.html": INDEX, "robots.txt": ROBOTS}.items():
        Path(app.outdir, name).write_text(text.format(**values), encoding="utf8")
    for macros in Path(app.outdir, "_static").glob("*macros.html"):  # the theme's own templates
        macros.unlink()


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect("build-finished", write)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
