"""The repository's address stands once, in pyproject.toml. This moves every copy of it: `make address URL=...`."""

import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
REPOSITORY = re.compile(r"https://github\.com/[\w.-]+/[\w.-]+")


def repository(root: Path = ROOT) -> str:
    """The address in pyproject.toml, the one place where it is decided."""
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return str(project["urls"]["Repository"])


def forms(address: str) -> list[str]:
    """The shapes an address takes: on GitHub itself, as a path in Colab's links, on GitHub Pages."""
    owner, name = address.removeprefix("https://github.com/").split("/")
    return [f"github.com/{owner}/{name}", f"/github/{owner}/{name}", f"{owner.lower()}.github.io/{name}"]


def texts(root: Path = ROOT) -> Iterator[tuple[Path, str]]:
    """Every text file that git keeps."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=root, check=True, capture_output=True, text=True).stdout
    for path in (root / name for name in listed.split("\0") if name):
        try:
            yield path, path.read_text(encoding="utf-8")
        except (UnicodeDecodeError, FileNotFoundError):
            continue  # a picture, a font, or a file just deleted


def move(new: str, root: Path = ROOT) -> list[Path]:
    """Replace the address everywhere; returns the files that changed.

    Raises:
        ValueError: not the address of a GitHub repository.
    """
    new = new.rstrip("/").removesuffix(".git")
    if not REPOSITORY.fullmatch(new):
        raise ValueError(f"{new!r} is not an address like https://github.com/owner/name")
    pairs = list(zip(forms(repository(root)), forms(new), strict=True))
    changed = []
    for path, text in texts(root):
        moved = text
        for old_form, new_form in pairs:
            moved = re.sub(rf"{re.escape(old_form)}(?![\w-])", new_form, moved)
        if moved != text:
            path.write_text(moved, encoding="utf-8")
            changed.append(path)
    return changed


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("make address URL=https://github.com/owner/name")
    try:
        for file in move(sys.argv[1]):
            print(file.relative_to(ROOT))
    except ValueError as error:
        sys.exit(str(error))
