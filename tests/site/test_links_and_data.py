"""What the pages say about themselves and where their links lead, read from the built files."""

import re
import xml.etree.ElementTree as ElementTree
from collections import Counter
from pathlib import Path
from posixpath import join, normpath
from urllib.parse import unquote, urlsplit

import pytest
from bs4 import BeautifulSoup
from PIL import Image

from tests.site.places import CHAPTERS, MADE, MODULES, REPOSITORY, ROOT, SITE, WRITTEN, source

Soups = dict[str, BeautifulSoup]


def meta(soup: BeautifulSoup, name: str) -> str:
    tags = soup.find_all("meta", attrs={"name": name}) + soup.find_all("meta", attrs={"property": name})
    assert len(tags) == 1, f"{len(tags)} of {name}"
    return tags[0]["content"]


def test_the_pages_built_are_the_pages_tested(soups: Soups) -> None:
    assert set(soups) == {f"{name}.html" for name in WRITTEN + MADE}


def test_every_internal_link_leads_somewhere(html: Path, soups: Soups) -> None:
    anchors = {name: {tag["id"] for tag in soup.find_all(id=True)} for name, soup in soups.items()}
    lost = []
    for name, soup in soups.items():
        page = "top" if soup.find("base") else name  # 404.html starts from the top
        for tag in soup.find_all(["a", "img", "link", "script"]):
            url = urlsplit(tag.get("href") or tag.get("src") or "")
            if url.scheme or url.netloc:
                continue
            target = normpath(join(page, "..", unquote(url.path))) if url.path else name
            anchor = unquote(url.fragment)
            found = (html / target).is_file() and (not anchor or anchor in anchors[target])
            lost += [] if found else [(name, url.geturl())]
    assert lost == []


def test_every_picture_states_its_finding(soups: Soups) -> None:
    for name, soup in soups.items():
        for picture in soup.select("article img"):
            words = picture.get("alt", "").split()
            assert len(words) >= 6, f"{name}: {picture}"
            assert words[0].lower() not in {"image", "figure", "plot", "chart", "graph", "picture"}, f"{name}: {words}"


def test_every_page_describes_itself_once(soups: Soups) -> None:
    described = {name: meta(soups[f"{name}.html"], "description") for name in WRITTEN}
    assert len(set(described.values())) == len(described)
    for name, text in described.items():
        assert 50 <= len(text) <= 200, (name, len(text))
        assert "$" not in text
        assert meta(soups[f"{name}.html"], "og:description") == text


def test_a_shared_link_has_a_title_an_address_and_a_picture(html: Path, soups: Soups) -> None:
    for name in WRITTEN:
        soup = soups[f"{name}.html"]
        assert meta(soup, "og:title")
        assert meta(soup, "og:url") == f"{SITE}{name}.html"
        assert soup.find("link", rel="canonical")["href"] == f"{SITE}{name}.html"
        card = meta(soup, "og:image")
        assert card.startswith(SITE)
        with Image.open(html / card.removeprefix(SITE)) as picture:
            assert picture.size == (1200, 630)


def test_every_page_has_an_icon(html: Path, soups: Soups) -> None:
    for name, soup in soups.items():
        icon = soup.find("link", rel="icon")["href"]
        assert (html / name).parent.joinpath(icon).resolve().is_file() or soup.find("base")


def test_the_sitemap_lists_the_pages_we_wrote(html: Path) -> None:
    listed = [node.text for node in ElementTree.parse(html / "sitemap.xml").iter() if node.tag.endswith("loc")]
    assert set(listed) == {f"{SITE}{name}.html" for name in WRITTEN}
    assert f"Sitemap: {SITE}sitemap.xml" in (html / "robots.txt").read_text(encoding="utf8")


def test_the_top_of_the_site_leads_to_the_front_page(html: Path) -> None:
    soup = BeautifulSoup((html / "index.html").read_text(encoding="utf8"), "html.parser")
    assert soup.html["lang"] == "en"
    assert soup.find("a")["href"] == f"{WRITTEN[0]}.html"
    assert soup.find("meta", attrs={"http-equiv": "refresh"})["content"] == f"0; url={WRITTEN[0]}.html"


@pytest.mark.parametrize("name", CHAPTERS)
def test_a_chapter_opens_in_colab_and_downloads_as_it_is(html: Path, soups: Soups, name: str) -> None:
    links = {tag["href"] for tag in soups[f"{name}.html"].select(".article-header-buttons a")}
    colab = REPOSITORY.replace("https://github.com/", "https://colab.research.google.com/github/")
    assert f"{colab}/blob/main/{name}.ipynb" in links
    download = next(link for link in links if link.endswith(".ipynb") and "_sources" in link)
    copy = (html / f"{name}.html").parent.joinpath(download).resolve()
    assert copy.read_bytes() == (ROOT / f"{name}.ipynb").read_bytes()


@pytest.mark.parametrize("name", WRITTEN)
def test_the_source_menu_leads_to_this_page(soups: Soups, name: str) -> None:
    links = [tag["href"] for tag in soups[f"{name}.html"].select(".dropdown-source-buttons a")]
    assert REPOSITORY in links
    assert f"{REPOSITORY}/edit/main/{source(name)}" in links
    assert f"{REPOSITORY}/blob/main/{source(name)}?plain=1" in links
    assert [link for link in links if link.startswith(f"{REPOSITORY}/issues/new?") and name.rsplit("/")[-1] in link]


def test_the_address_stands_in_pyproject_alone(soups: Soups) -> None:
    assert "github" not in (ROOT / "_config.yml").read_text(encoding="utf8").replace("colab.research.google", "")
    for name, soup in soups.items():
        for tag in soup.find_all("a", href=True):
            if tag["href"].startswith("https://github.com/") and tag["href"].count("/") >= 4:
                assert tag["href"].startswith(REPOSITORY), f"{name}: {tag['href']}"


def test_every_module_is_documented(soups: Soups) -> None:
    for module in MODULES:
        assert soups["book/appendix/api.html"].find(id=f"module-llmguide.{module}"), module


def test_no_paper_is_listed_twice() -> None:
    papers = re.findall(r"  (?:eprint|title) = \{(.*)\}", (ROOT / "book" / "references.bib").read_text(encoding="utf8"))
    assert [paper for paper, times in Counter(papers).items() if times > 1] == []
