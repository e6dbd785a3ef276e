"""What a reader does: searches, changes colours, meets a wrong address, prints, uses the keyboard, has no scripts."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.site.places import CHAPTERS

FRONT = "book/index.html"


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    yield context.new_page()
    context.close()


def test_search_finds_a_word_from_any_page(page: Page, top: str) -> None:
    page.goto(f"{top}book/how-to-use.html")
    page.keyboard.press("Control+k")
    page.keyboard.type("softmax")
    page.keyboard.press("Enter")
    expect(page.locator("#search-results a[href*='notation.html']").first).to_be_visible()


def test_search_finds_a_chinese_term(page: Page, top: str) -> None:
    page.goto(f"{top}search.html?q=注意力")
    expect(page.locator("#search-results a[href*='glossary.html']").first).to_be_visible()


def test_the_colour_button_goes_round_and_is_remembered(page: Page, top: str) -> None:
    page.goto(f"{top}{FRONT}")
    seen = set()
    for _ in range(3):
        page.locator(".theme-switch-button:visible").first.click()
        seen.add(page.evaluate("document.documentElement.dataset.mode"))
    assert seen == {"light", "dark", "auto"}
    mode = page.evaluate("document.documentElement.dataset.mode")
    page.reload()
    assert page.evaluate("document.documentElement.dataset.mode") == mode


@pytest.mark.parametrize("wrong", ["nothing.html", "book/attention/no-such-chapter.html", "a/b/c/"])
def test_a_wrong_address_at_any_depth_leads_back(page: Page, top: str, wrong: str) -> None:
    response = page.goto(f"{top}{wrong}")
    assert response is not None
    assert response.status == 404
    expect(page.get_by_role("heading", name="This page is not here")).to_be_visible()
    assert page.locator("img.logo__image").evaluate("image => image.naturalWidth") > 0
    page.get_by_role("link", name="Start from the front page").click()
    assert page.url == f"{top}{FRONT}"


def test_the_top_leads_to_the_front_page(page: Page, top: str) -> None:
    page.goto(top)
    page.wait_for_url(f"{top}{FRONT}")


def test_the_menu_opens_on_a_phone(page: Page, top: str) -> None:
    page.set_viewport_size({"width": 390, "height": 844})
    page.goto(f"{top}{FRONT}")
    page.locator(".primary-toggle:visible").first.click()
    expect(page.get_by_role("link", name="How to use this book").first).to_be_in_viewport()


def test_the_page_reads_without_scripts(browser: Browser, top: str) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(f"{top}book/appendix/notation.html")
    expect(page.locator(".katex").first).to_be_visible()
    context.close()


@pytest.mark.parametrize("name", CHAPTERS)
def test_a_chapter_prints_with_its_folded_parts_open(page: Page, top: str, name: str) -> None:
    page.goto(f"{top}{name}.html")
    folded = page.locator("article details:not(.hide)")  # hidden plumbing stays hidden
    assert folded.count() == 0 or folded.evaluate_all("parts => parts.every(part => !part.open)")
    assert len(page.pdf()) > 20_000
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert folded.evaluate_all("parts => parts.every(part => part.open)")
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert folded.evaluate_all("parts => parts.every(part => !part.open)")
