"""The repository's address stands once, in pyproject.toml: the site takes its own address and every link from there."""

import tomllib
from pathlib import Path
from urllib.parse import urlsplit

from sphinx.application import Sphinx
from sphinx.config import Config


def pages_of(repository: str) -> str:
    """Return where GitHub Pages serves a repository: https://github.com/ann/book -> https://ann.github.io/book/."""
    owner, name = urlsplit(repository).path.strip("/").split("/")
    return f"https://{owner.lower()}.github.io/{name}/"


def set_addresses(app: Sphinx, config: Config) -> None:
    project = tomllib.loads(Path(app.srcdir, "pyproject.toml").read_text(encoding="utf8"))["project"]
    repository = project["urls"]["Repository"].rstrip("/")
    site = pages_of(repository)
    config.html_baseurl = config.ogp_site_url = site
    config.html_context["site_path"] = urlsplit(site).path
    config.html_theme_options["repository_url"] = repository
    config.extlinks = {"repo": (f"{repository}/%s", "%s")}  # {repo}`the text <blob/main/README.md>`


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect("config-inited", set_addresses)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
