"""The version stands once, in pyproject.toml. This moves every copy of it: `make version NUMBER=1.2.3`."""

import re
import sys
import tomllib
from pathlib import Path

from tests.repository.address import ROOT, texts


def version(root: Path = ROOT) -> str:
    """The version in pyproject.toml, the one place where it is decided."""
    return str(tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"])


def forms(number: str) -> list[str]:
    """Where a version stands: pyproject.toml and CITATION.cff, a pinned install, a release's assets."""
    return [f'version = "{number}"', f"\nversion: {number}\n", f"llmguide[minilm]=={number}", f"/v{number}"]


def move(new: str, root: Path = ROOT) -> list[Path]:
    """Replace the version everywhere; returns the files that changed.

    Raises:
        ValueError: not a version like 1.2.3.
    """
    if not re.fullmatch(r"\d+\.\d+\.\d+", new):
        raise ValueError(f"{new!r} is not a version like 1.2.3")
    pairs = list(zip(forms(version(root)), forms(new), strict=True))
    changed = []
    for path, text in texts(root):
        moved = text
        for old_form, new_form in pairs:
            moved = moved.replace(old_form, new_form)
        if moved != text and path.name != "CHANGELOG.md":  # history stays as it was
            path.write_text(moved, encoding="utf-8")
            changed.append(path)
    return changed


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("make version NUMBER=1.2.3")
    try:
        for file in move(sys.argv[1]):
            print(file.relative_to(ROOT))
    except ValueError as error:
        sys.exit(str(error))
