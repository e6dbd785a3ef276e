"""Where the site's parts are: its sources, its pages, its addresses."""

import re
import tomllib
from pathlib import Path

from sphinx_external_toc.parsing import parse_toc_yaml

ROOT = Path(__file__).parents[2]
HTML = ROOT / "_build" / "html"

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf8"))["project"]
REPOSITORY = PROJECT["urls"]["Repository"]
OWNER, NAME = REPOSITORY.removeprefix("https://github.com/").split("/")
SITE = f"https://{OWNER.lower()}.github.io/{NAME}/"

WRITTEN = list(parse_toc_yaml(ROOT / "_toc.yml"))  # pages we wrote, by name, in order
CHAPTERS = [name for name in WRITTEN if (ROOT / f"{name}.ipynb").exists()]
MODULES = sorted(path.stem for path in (ROOT / "llmguide").glob("*.py") if path.stem != "__init__")
MADE = ["404", "search", "_modules/index"]  # pages that Sphinx makes
# The source of a module has a page when one of its functions or classes links to it; the village is words only.
DEFINING = [m for m in MODULES if re.search(r"^(def|class) ", Path(ROOT, f"llmguide/{m}.py").read_text("utf-8"), re.M)]
MADE += [f"_modules/llmguide/{name}" for name in DEFINING]


def source(name: str) -> str:
    """Return the file in the repository that a page is made from."""
    return f"{name}.ipynb" if name in CHAPTERS else f"{name}.md"
