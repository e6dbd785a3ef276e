"""Each page in a real browser: quiet, light, accessible, and no wider than a phone."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from axe_playwright_python.base import AXE_FILE_PATH
from playwright.sync_api import Browser, Page, Response

from tests.site.places import MADE, WRITTEN

AXE = Path(AXE_FILE_PATH).read_text(encoding="utf8")
SIZES = {"desktop": {"width": 1280, "height": 900}, "phone": {"width": 390, "height": 844}}
AXE_OPTIONS = {"resultTypes": ["violations"], "preload": False}
WITHOUT_CONTRAST = AXE_OPTIONS | {"rules": {"color-contrast": {"enabled": False}}}
CONTRAST = AXE_OPTIONS | {"runOnly": ["color-contrast"]}
# Contrast is slow to judge, and a page has thousands of words in one colour: formulas have the colour of their
# paragraph, and of the words of code of one kind in one kind of place the first is enough.
ONE_OF_EACH = """() => {
  document.querySelectorAll(".katex-html").forEach((formula) => formula.remove());
  const seen = new Set();
  for (const word of document.querySelectorAll("pre span, .sig span, .field-list em")) {
    const places = [".cell_output", ".exercise", ".solution", ".cell", ".sig", ".field-list"];
    const kind = [word.className, ...places.filter((place) => word.closest(place))].join(" ");
    if (seen.has(kind)) word.replaceWith(...word.childNodes);
    seen.add(kind);
  }
  document.body.normalize();
}"""
LIMIT = 300 * 1024  # bytes on the wire, pictures aside


@dataclass
class Visit:
    """A page as a reader's browser met it."""

    page: Page
    top: str
    name: str
    complaints: list[str] = field(default_factory=list)
    responses: list[Response] = field(default_factory=list)


@pytest.fixture(scope="module", params=WRITTEN + MADE)
def visit(request: pytest.FixtureRequest, browser: Browser, top: str) -> Iterator[Visit]:
    context = browser.new_context(viewport=SIZES["desktop"], color_scheme="light")
    visit = Visit(page=context.new_page(), top=top, name=request.param)
    visit.page.on("console", lambda said: visit.complaints.append(said.text) if said.type == "error" else None)
    visit.page.on("pageerror", lambda error: visit.complaints.append(str(error)))
    visit.page.on("response", lambda response: visit.responses.append(response))
    visit.page.goto(f"{top}{visit.name}.html")
    visit.page.evaluate("document.fonts.ready")
    yield visit
    context.close()


def test_a_page_has_no_error_and_asks_no_other_site(visit: Visit) -> None:
    assert visit.complaints == []
    assert [response.url for response in visit.responses if not response.url.startswith(visit.top)] == []
    assert [response.url for response in visit.responses if not response.ok] == []


def test_a_page_is_light(visit: Visit) -> None:
    def is_picture(response: Response) -> bool:
        return response.request.resource_type == "image"

    weight = {response.url: response.request.sizes()["responseBodySize"] for response in visit.responses}
    pictures = {response.url for response in visit.responses if is_picture(response)}
    rest = {url: size for url, size in weight.items() if url not in pictures}
    assert sum(rest.values()) < LIMIT, sorted(rest.items(), key=lambda item: -item[1])[:8]


def test_formulas_are_drawn(visit: Visit) -> None:
    article = visit.page.locator("#main-content")
    assert article.locator(".katex-error").count() == 0
    prose = article.evaluate(
        "(article) => { const copy = article.cloneNode(true);"
        " copy.querySelectorAll('pre, code, script, .katex').forEach((part) => part.remove());"
        " return copy.textContent; }"
    )
    assert "$" not in prose
    assert "\\(" not in prose
    drawn = article.locator(".math > :is(.katex, .katex-display)")
    assert drawn.count() == article.locator("span.math, div.math").count()


def test_a_page_is_accessible_and_fits_every_screen(visit: Visit) -> None:
    page, found = visit.page, []
    page.add_style_tag(content="* { transition: none !important }")  # colours are judged at rest
    page.evaluate(AXE)
    for options in (WITHOUT_CONTRAST, CONTRAST):
        for screen, size in SIZES.items():
            page.set_viewport_size(size)
            for theme in ("light", "dark"):
                page.emulate_media(color_scheme=theme)
                page.wait_for_function("theme => document.documentElement.dataset.theme === theme", arg=theme)
                result = page.evaluate("options => axe.run(options)", options)
                found += [
                    (screen, theme, violation["id"], [node["html"][:200] for node in violation["nodes"][:3]])
                    for violation in result["violations"]
                ]
            assert page.evaluate("document.documentElement.scrollWidth") <= size["width"], f"wider than a {screen}"
        page.evaluate(ONE_OF_EACH)
    assert found == []
