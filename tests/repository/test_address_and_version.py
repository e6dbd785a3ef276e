import re
import subprocess
from pathlib import Path

import pytest

from tests.repository import address, version


def _checkout(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).write_text(text, encoding="utf-8")
    subprocess.run(["git", "init", "-q"], cwd=root, check=True)
    subprocess.run(["git", "add", "."], cwd=root, check=True)
    return root


def test_every_copy_of_the_repositorys_address_is_the_one_in_pyproject() -> None:
    ours = address.repository()
    name = ours.rsplit("/", 1)[1]
    host = r"(?:github\.com|/github|raw\.githubusercontent\.com)"
    wrong = {
        f"{path.relative_to(address.ROOT)}: {found.group()}"
        for path, text in address.texts()
        if "tests/repository" not in path.as_posix()
        for found in re.finditer(rf"{host}/[\w.-]+/{re.escape(name)}(?![\w-])", text)
        if found.group() not in ours and found.group() not in address.forms(ours)
    }
    assert not wrong


@pytest.mark.parametrize("name", ["README.md", "CITATION.cff", "pyproject.toml"])
def test_the_places_that_readers_see_carry_the_address(name: str) -> None:
    assert address.repository() in (address.ROOT / name).read_text(encoding="utf-8")


def test_moving_the_address_changes_every_form_of_it_and_nothing_else(tmp_path: Path) -> None:
    old = "https://github.com/ann/book"
    text = (
        f"clone {old}.git, open https://colab.research.google.com/github/ann/book/blob/main/a.ipynb, "
        "read https://ann.github.io/book/, see https://github.com/ann/bookshelf"
    )
    root = _checkout(tmp_path, {"pyproject.toml": f'[project.urls]\nRepository = "{old}"\n', "a.md": text})
    root.joinpath("pyproject.toml").write_text(f'[project]\n[project.urls]\nRepository = "{old}"\n')

    changed = address.move("https://github.com/Eve/llm-guide", root)

    assert {path.name for path in changed} == {"a.md", "pyproject.toml"}
    assert (root / "a.md").read_text() == (
        "clone https://github.com/Eve/llm-guide.git, "
        "open https://colab.research.google.com/github/Eve/llm-guide/blob/main/a.ipynb, "
        "read https://eve.github.io/llm-guide/, see https://github.com/ann/bookshelf"
    )
    assert address.repository(root) == "https://github.com/Eve/llm-guide"


@pytest.mark.parametrize("wrong", ["github.com/ann/book", "https://example.org/ann/book", ""])
def test_an_address_that_is_not_a_repository_is_refused(wrong: str) -> None:
    with pytest.raises(ValueError, match="is not an address"):
        address.move(wrong)


def test_every_copy_of_the_version_is_the_one_in_pyproject() -> None:
    number = version.version()
    copies = {
        f"{path.relative_to(address.ROOT)}: {found}"
        for path, text in address.texts()
        if path.suffix in {".ipynb", ".cff", ".md"} and path.name != "CHANGELOG.md"
        for found in re.findall(
            r"llmguide(?:\[\w+\])?==([\d.]+\d)|expanded_assets/v([\d.]+\d)|^version: (.+)$", text, re.M
        )
        if "".join(found) != number
    }
    assert not copies


def test_moving_the_version_leaves_history_alone(tmp_path: Path) -> None:
    files = {
        "pyproject.toml": '[project]\nversion = "0.1.0"\n',
        "CITATION.cff": "title: x\nversion: 0.1.0\ncff-version: 1.2.0\n",
        "CHANGELOG.md": "/v0.1.0",
    }
    root = _checkout(tmp_path, files)

    version.move("0.2.0", root)

    assert version.version(root) == "0.2.0"
    assert (root / "CITATION.cff").read_text() == "title: x\nversion: 0.2.0\ncff-version: 1.2.0\n"
    assert (root / "CHANGELOG.md").read_text() == "/v0.1.0"


@pytest.mark.parametrize("wrong", ["v1.0.0", "1.0", ""])
def test_a_version_that_is_no_version_is_refused(wrong: str) -> None:
    with pytest.raises(ValueError, match="is not a version"):
        version.move(wrong)
