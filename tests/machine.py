"""A machine that has never seen the book: an environment of chosen packages, with no network and a new home."""

import os
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Iterable
from importlib.metadata import Distribution, distribution, distributions
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.book.chapters import ROOT

NOWHERE = "http://127.0.0.1:9"  # the discard port: a proxy that answers at once, with a refusal
PRIVATE = (
    "CONDA",
    "HF_",
    "IPYTHON",
    "JUPYTER",
    "LLMGUIDE",
    "MPL",
    "PIP_",
    "PYTEST",
    "PYTHON",
    "UV_",
    "VIRTUAL_ENV",
    "XDG",
)


def installed() -> set[str]:
    """The names of all packages of this environment but llmguide."""
    return {canonicalize_name(found.name) for found in distributions()} - {"llmguide"}


def required(extra: str) -> set[str]:
    """The names of all packages that `llmguide[extra]` asks for, and those that these ask for, and pip."""
    found, open_ends = {"pip"}, [("llmguide", extra)]
    while open_ends:
        name, wanted = open_ends.pop()
        for line in distribution(name).requires or []:
            requirement = Requirement(line)
            needed = canonicalize_name(requirement.name)
            if requirement.marker is None or requirement.marker.evaluate({"extra": wanted}):
                ends = [(needed, extra) for extra in requirement.extras or {""}]
                open_ends += [] if needed in found else ends
                found.add(needed)
    return found


def build_wheel(folder: Path) -> Path:
    """Put the wheel of this checkout into a folder."""
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    built = subprocess.run(build, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stdout + built.stderr
    return folder


def strange_machine(folder: Path, *, packages: Iterable[str]) -> tuple[Path, Path]:
    """An environment that links to packages of this one; returns its Python and the folder of its packages."""
    venv.create(folder, symlinks=True, with_pip=False)
    site = Path(sysconfig.get_path("purelib", "venv", {"base": str(folder)}))
    for name in packages:
        for entry in _entries(distribution(name)):
            link = site / entry.name
            if not link.exists():  # two distributions may share a folder
                link.symlink_to(entry)
    return folder / "bin" / "python", site


def strange_environment(home: Path, wheels: Path) -> dict[str, str]:
    """No network, no configuration of this machine, one folder of wheels."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(PRIVATE)}
    proxies = dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"), NOWHERE)
    pip = {"PIP_NO_INDEX": "1", "PIP_RETRIES": "0", "PIP_FIND_LINKS": str(wheels), "PIP_CONFIG_FILE": os.devnull}
    return {**kept, **proxies, **pip, "HF_HUB_OFFLINE": "1", "HOME": str(home)}


def _entries(found: Distribution) -> set[Path]:
    """What a distribution has put beside the other packages: its modules and its record."""
    root = Path(str(found.locate_file("")))
    tops = {Path(file).parts[0] for file in found.files or []} - {"..", "__pycache__"}
    return {root / top for top in tops}
