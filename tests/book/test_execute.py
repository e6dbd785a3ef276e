"""`make execute` saves what a fresh kernel prints, in one clean form, or leaves the file as it was."""

from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from tests.book import execute
from tests.book.chapters import canonical, setup_source

DRAW = "import matplotlib.pyplot as plt\n\nfigure, axes = plt.subplots()\naxes.plot([0, 1, 4])\nplt.show()"


def _write(folder: Path, *sources: str, **metadata: object) -> Path:
    """A notebook that nobody has run, as an editor leaves it."""
    cells = [new_code_cell(source, id=f"cell-{number}") for number, source in enumerate(sources, start=1)]
    path = folder / "small.ipynb"
    notebook = new_notebook(cells=[new_markdown_cell("# Small\n", id="title"), *cells], metadata=metadata)
    path.write_text(nbformat.writes(notebook, version=nbformat.NO_CONVERT), encoding="utf-8")
    return path


def test_two_runs_write_the_same_bytes_and_the_check_agrees(tmp_path: Path) -> None:
    path = _write(tmp_path, "print('a', end='')\nprint('b')\n1 + 1", DRAW)

    assert execute.main([str(path)]) == 0
    first = path.read_bytes()
    assert execute.main([str(path)]) == 0

    assert path.read_bytes() == first
    assert execute.main(["--check", str(path)]) == 0
    assert [file.name for file in tmp_path.iterdir()] == ["small.ipynb"]


def test_the_check_saves_nothing_and_fails_where_the_page_is_not_true(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = _write(tmp_path, "print(1)")
    before = path.read_bytes()

    assert execute.main(["--check", str(path)]) == 1

    assert "the file would change" in capsys.readouterr().out
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("import warnings\n\nwarnings.warn('careful')", "cell cell-2 writes to stderr"),
        ("1 / 0", "ZeroDivisionError"),
        ("import os\n\nos._exit(1)", "Kernel died"),
    ],
)
def test_a_chapter_that_fails_is_left_as_it_was(
    source: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = _write(tmp_path, "print(1)", source)
    before = path.read_bytes()

    assert execute.main([str(path)]) == 1

    assert message in capsys.readouterr().out
    assert path.read_bytes() == before


def test_a_chapter_over_its_time_fails(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(execute, "SECONDS", 0)

    assert execute.main([str(_write(tmp_path, "print(1)"))]) == 1

    assert "a chapter has 0" in capsys.readouterr().out


def test_a_chapter_runs_in_an_empty_folder_and_leaves_nothing_behind(tmp_path: Path) -> None:
    path = _write(
        tmp_path, "import os\nfrom pathlib import Path\n\nprint(os.listdir())\n_ = Path('left').write_text('x')"
    )

    assert execute.main([str(path)]) == 0

    assert nbformat.read(path, as_version=4).cells[1].outputs[0].text == "[]\n"
    assert [file.name for file in tmp_path.iterdir()] == ["small.ipynb"]


def test_the_clean_form_drops_what_an_editor_leaves_and_keeps_what_the_page_needs() -> None:
    figure = {"figure": {"name": "fig-a", "caption": "b"}, "image": {"alt": "c"}}
    cell = new_code_cell("1\n", id="one", metadata={"tags": ["rtol-0.03"], "mystnb": figure, "scrolled": True})
    editor = {"colab": {"name": "x"}, "widgets": {}, "language_info": {"name": "python", "version": "3.11.7"}}
    html_meta = {"html_meta": {"description": "What the chapter is about."}}
    notebook = new_notebook(cells=[cell], metadata={**editor, "myst": html_meta})

    clean = nbformat.reads(canonical(notebook), as_version=4)

    assert clean.cells[0].metadata == {"tags": ["rtol-0.03"], "mystnb": figure}
    assert clean.cells[0].source == "1"
    assert clean.metadata == {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
        "myst": html_meta,
    }
    assert canonical(clean) == canonical(notebook)
    assert notebook.metadata.colab, "the caller's notebook is not touched"


def test_the_set_up_cell_comes_from_one_place(tmp_path: Path) -> None:
    path = _write(tmp_path, "print(1)")
    notebook = nbformat.read(path, as_version=4)
    notebook.cells[1].id, notebook.cells[1].source = "setup", "import an_old_set_up"
    path.write_text(nbformat.writes(notebook), encoding="utf-8")

    assert execute.main(["--no-run", str(path)]) == 0

    assert nbformat.read(path, as_version=4).cells[1].source == setup_source()
