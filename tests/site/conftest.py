"""The built site and a real browser, once for each worker."""

import fcntl
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from bs4 import BeautifulSoup
from playwright.sync_api import Browser, sync_playwright

from tests.site.pages import served
from tests.site.places import HTML, ROOT, SITE

sys.path.append(str(ROOT / "book" / "_ext"))  # where Sphinx finds the extensions, too

SOURCES = ("_config.yml", "_toc.yml", "pyproject.toml", "book", "llmguide", "tests/unit/parity.py")
QUIET = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


def newest(path: Path) -> float:
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.suffix not in (".pyc", "")]
    return max(file.stat().st_mtime for file in files)


@pytest.fixture(scope="session")
def html() -> Path:
    """The site's folder, built where it is missing or older than what it is made of."""
    with Path(ROOT, ".venv", "site.lock").open("w") as lock:  # one worker builds, the others wait
        fcntl.flock(lock, fcntl.LOCK_EX)
        robots = HTML / "robots.txt"  # written last
        if not robots.exists() or robots.stat().st_mtime < max(newest(ROOT / source) for source in SOURCES):
            subprocess.run(["make", "book"], cwd=ROOT, check=True)
    return HTML


@pytest.fixture(scope="session")
def soups(html: Path) -> dict[str, BeautifulSoup]:
    """Every page that was built, parsed, by its path in the site."""
    files = [file for file in html.rglob("*.html") if file != html / "index.html"]
    return {
        file.relative_to(html).as_posix(): BeautifulSoup(file.read_text(encoding="utf8"), "html.parser")
        for file in files
    }


@pytest.fixture(scope="session")
def top(html: Path) -> Iterator[str]:
    """The address of the top of the site on a local server."""
    with served(html, urlsplit(SITE).path) as address:
        yield address


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if path is None:
        message = "no Chromium here: `sudo apt-get install chromium` brings the browser for these tests"
        if os.environ.get("CI") == "true":
            pytest.fail(message)
        pytest.skip(message)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=list(QUIET))
        yield browser
        browser.close()
