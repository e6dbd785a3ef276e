"""The strict check catches what it is for: notebooks with one thing wrong each, run by pytest."""

import copy
import os
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable

import pytest
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_notebook, new_output

from tests.book.chapters import ROOT, canonical
from tests.book.execute import run

CELLS = {
    "number": ("print(0.1234)", []),
    "table": (
        "class Table:\n    def _repr_html_(self):\n        return '<td>0.1234</td>'\n    def __repr__(self):\n"
        "        return 'a table'\n\nTable()",
        [],
    ),
    "formula": ("from IPython.display import Latex\n\nLatex('$x = 0.1234$')", []),
    "picture": (
        "import matplotlib.pyplot as plt\n\nfigure, axes = plt.subplots()\naxes.plot([0, 1, 4, 9])\n"
        "axes.plot([9, 4, 1, 0])\nplt.show()",
        [],
    ),
    "band": ("print('loss 2.000 after 120 steps')", ["rtol-0.03"]),
    "error": ("1 / 0", ["raises-exception"]),
    "exempt": ("import time\n\nprint(time.time_ns())", ["nbval-ignore-output"]),
    "folder": ("import os\n\nprint(os.listdir())", []),
}


def _print(cell: NotebookNode, text: str) -> None:
    cell.outputs = [new_output("stream", name="stdout", text=text)]


def _clear(cell: NotebookNode) -> None:
    cell.outputs, cell.execution_count = [], None


def _hide(cell: NotebookNode) -> None:
    cell.source = "# NBVAL_IGNORE_OUTPUT\n" + cell.source
    _print(cell, "0.1235\n")


def _warn(cell: NotebookNode) -> None:
    cell.source = "import sys\n\nprint('careful', file=sys.stderr)"
    cell.outputs = [new_output("stream", name="stderr", text="careful\n")]


def _edit(kind: str) -> Callable[[NotebookNode], None]:
    def edit(cell: NotebookNode) -> None:
        cell.outputs[0].data[kind] = cell.outputs[0].data[kind].replace("0.1234", "0.1235")

    return edit


def _source(old: str, new: str) -> Callable[[NotebookNode], None]:
    def edit(cell: NotebookNode) -> None:
        assert old in cell.source
        cell.source = cell.source.replace(old, new)

    return edit


# What is done to which cell of a good notebook, and a piece of the message; None where the check must pass.
WRONGS: dict[str, tuple[str, Callable[[NotebookNode], None], str | None]] = {
    "nothing": ("number", lambda cell: None, None),
    "a_digit": ("number", lambda cell: _print(cell, "0.1235\n"), "-0.1235"),
    "a_digit_in_a_table": ("table", _edit("text/html"), "<td>0.1235</td>"),
    "a_digit_in_a_formula": ("formula", _edit("text/latex"), "$x = 0.1235$"),
    "inside_the_band": ("band", lambda cell: _print(cell, "loss 2.050 after 120 steps\n"), None),
    "outside_the_band": (
        "band",
        lambda cell: _print(cell, "loss 2.100 after 120 steps\n"),
        "number 1 of 2: page 2.100",
    ),
    "a_count_in_the_band": ("band", lambda cell: _print(cell, "loss 2.000 after 121 steps\n"), "page 121, now 120"),
    "outputs_cleared": ("number", _clear, "run make execute"),
    "output_removed": ("number", lambda cell: cell.update(outputs=[]), "only now"),
    "a_moved_curve": ("picture", _source("[0, 1, 4, 9]", "[0, 2, 5, 9]"), "of full contrast"),
    "a_missing_line": ("picture", _source("axes.plot([9, 4, 1, 0])\n", ""), "of full contrast"),
    "no_picture": ("picture", _source("plt.show()", "plt.close()"), "only on the page"),
    "a_smaller_picture": ("picture", _source("subplots()", "subplots(figsize=(4, 3))"), "the size differs"),
    "a_word_on_stderr": ("number", _warn, "writes to stderr"),
    "no_error": ("error", lambda cell: cell.update(source="one = 1 / 1", outputs=[]), "tagged raises-exception"),
    "another_error": ("error", lambda cell: cell.update(source="[][0]"), "ZeroDivisionError"),
    "an_error": ("number", lambda cell: cell.update(source="print(0.1234 / 0)"), "ZeroDivisionError"),
    "a_comment_that_hides": ("number", _hide, "-0.1235"),
    "an_exempt_output": ("exempt", lambda cell: _print(cell, "17\n"), None),
    "a_file_in_the_folder": ("folder", lambda cell: _print(cell, "['weights.safetensors']\n"), "weights.safetensors"),
    "a_dead_kernel": ("folder", lambda cell: cell.update(source="import os\n\nos._exit(1)"), "the kernel died"),
}


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> NotebookNode:
    """A small notebook, executed: its page is true."""
    cells = [new_code_cell(source, id=name, metadata={"tags": tags}) for name, (source, tags) in CELLS.items()]
    return run(new_notebook(cells=cells), cwd=tmp_path_factory.mktemp("empty"))


@pytest.fixture(scope="module")
def verdicts(good: NotebookNode, tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], str | None]:
    """What one strict run says of each cell of each notebook: a message, or None where the cell passed."""
    folder = tmp_path_factory.mktemp("strict")
    for wrong, (name, spoil, _) in WRONGS.items():
        notebook = copy.deepcopy(good)
        notebook.cells = [cell for cell in notebook.cells if cell.id in ("number", "formula", name)]  # and bystanders
        spoil(next(cell for cell in notebook.cells if cell.id == name))
        (folder / f"{wrong}.ipynb").write_text(canonical(notebook), encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-p", "tests.book.strict", "--nbval", "--nbval-current-env"]
    command += ["--nbval-cell-timeout=60", "-c", os.devnull, f"--rootdir={folder}", "--junitxml=verdicts.xml", "."]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    ran = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False)
    assert ran.returncode == 1, ran.stdout + ran.stderr
    found: dict[tuple[str, str], str | None] = {}
    for case in ElementTree.parse(folder / "verdicts.xml").iter("testcase"):
        failure = next((child for child in case if child.tag in ("failure", "error")), None)
        message = None if failure is None else f"{failure.get('message')}\n{failure.text}"
        found[case.attrib["classname"].removesuffix(".ipynb"), case.attrib["name"]] = message
    return found


@pytest.mark.parametrize("wrong", WRONGS)
def test_the_strict_check_sees(wrong: str, verdicts: dict[tuple[str, str], str | None]) -> None:
    name, _, expected = WRONGS[wrong]
    message = verdicts[wrong, name]
    if expected is None:
        assert message is None
    else:
        assert message is not None
        assert expected in message
        assert f"{wrong}.ipynb, cell {name}" in message
    blamed = [cell for (notebook, cell), words in verdicts.items() if notebook == wrong and words is not None]
    assert blamed == [name] * (expected is not None), "another cell is blamed"
