"""Every rule of test_notebooks.py is broken here once, in a copy of a real chapter, and must see it."""

import copy
from collections.abc import Callable
from pathlib import Path

import nbformat
import pytest
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_output

from tests.book import test_notebooks as rules
from tests.book.chapters import Chapter, canonical, chapters

Wrong = Callable[[NotebookNode], object]


def _last_code(notebook: NotebookNode) -> NotebookNode:
    return [cell for cell in notebook.cells if cell.cell_type == "code"][-1]


def _first_figure(notebook: NotebookNode) -> NotebookNode:
    return next(cell for cell in notebook.cells if "figure" in cell.metadata.get("mystnb", {}))


def _exercise_cell(notebook: NotebookNode, ending: str) -> NotebookNode:
    return next(cell for cell in notebook.cells if cell.id.startswith("ex-") and cell.id.endswith(ending))


def _source(text: str) -> Wrong:
    return lambda notebook: _last_code(notebook).update(source=text)


def _prints(text: str, name: str = "stdout") -> Wrong:
    return lambda notebook: _last_code(notebook).update(outputs=[new_output("stream", name=name, text=text)])


def _alt(text: str) -> Wrong:
    return lambda notebook: _first_figure(notebook).metadata.mystnb.image.update(alt=text)


def _caption(notebook: NotebookNode) -> None:
    drawn = _first_figure(notebook).metadata.mystnb
    drawn.figure.caption = drawn.image.alt


def _many(number: int) -> Wrong:
    return lambda notebook: notebook.cells.extend(new_code_cell("1", id=f"more-{n}") for n in range(number))


WRONGS: dict[str, tuple[Callable[[Chapter], None], Wrong]] = {
    "an editor's metadata": (rules.test_the_file_is_as_make_execute_writes_it, lambda nb: nb.metadata.update(colab={})),
    "a capital in an id": (rules.test_cell_ids_are_lower_case, lambda nb: _last_code(nb).update(id="Last")),
    "a misspelt tag": (rules.test_tags_are_known, lambda nb: _last_code(nb).metadata.update(tags=["rtoll-0.03"])),
    "a cell skipped": (rules.test_tags_are_known, lambda nb: _last_code(nb).metadata.update(tags=["nbval-skip"])),
    "a cell not run": (
        rules.test_every_code_cell_was_run_in_order,
        lambda nb: _last_code(nb).update(execution_count=None),
    ),
    "cells run out of order": (
        rules.test_every_code_cell_was_run_in_order,
        lambda nb: _last_code(nb).update(execution_count=1),
    ),
    "another set-up": (
        rules.test_the_set_up_cell_comes_first_and_is_the_same_everywhere,
        lambda nb: next(cell for cell in nb.cells if cell.id == "setup").update(source="import llmguide"),
    ),
    "no minutes": (
        rules.test_the_first_cell_says_what_the_reader_gains_and_needs,
        lambda nb: nb.cells[0].update(source=nb.cells[0].source.replace("minutes", "hours")),
    ),
    "no objectives": (
        rules.test_the_first_cell_says_what_the_reader_gains_and_needs,
        lambda nb: nb.cells[0].update(source="# Title\n\n20 minutes, 500 MB"),
    ),
    "two titles": (
        rules.test_one_heading_of_the_first_level,
        lambda nb: nb.cells.append(new_markdown_cell("# Another", id="another")),
    ),
    "a magic": (rules.test_every_cell_but_set_up_is_plain_python, _source("%timeit 1 + 1")),
    "a shell line": (rules.test_every_cell_but_set_up_is_plain_python, _source("1 + 1\n!pip list")),
    "a help mark": (rules.test_every_cell_but_set_up_is_plain_python, _source("print?")),
    "sys.path": (rules.test_no_cell_reaches_around_the_book, _source("import sys\nsys.path.append('..')")),
    "silenced warnings": (
        rules.test_no_cell_reaches_around_the_book,
        _source("import warnings\nwarnings.simplefilter('ignore')"),
    ),
    "a hidden check": (rules.test_no_cell_reaches_around_the_book, _source("# NBVAL_IGNORE_OUTPUT\n1")),
    "a semicolon": (rules.test_no_line_ends_in_a_semicolon, _source("plt.plot([1]);")),
    "a warning": (rules.test_nothing_was_written_to_stderr, _prints("careful", "stderr")),
    "an error that did not come": (
        rules.test_a_cell_tagged_to_raise_raises,
        lambda nb: _last_code(nb).update(metadata={"tags": ["raises-exception"]}, outputs=[]),
    ),
    "a path in a cell": (rules.test_no_path_address_or_time_of_this_machine, _source("open('/home/ada/x')")),
    "a path in an output": (rules.test_no_path_address_or_time_of_this_machine, _prints("saved to /tmp/x\n")),
    "an address": (rules.test_no_path_address_or_time_of_this_machine, _prints("<object at 0x7f6d89d2fdd0>\n")),
    "a time of day": (rules.test_no_path_address_or_time_of_this_machine, _prints("done at 12:03:44\n")),
    "a date": (rules.test_no_path_address_or_time_of_this_machine, _prints("done on 2026-11-23\n")),
    "a long output": (rules.test_no_output_is_longer_than_a_screen, _prints("x\n" * 41)),
    "a picture without a figure": (
        rules.test_every_drawing_cell_has_a_figure_and_every_figure_a_drawing,
        lambda nb: _first_figure(nb).metadata.pop("mystnb"),
    ),
    "a figure without a picture": (
        rules.test_every_drawing_cell_has_a_figure_and_every_figure_a_drawing,
        lambda nb: _first_figure(nb).update(outputs=[]),
    ),
    "a thin alternative text": (
        rules.test_every_figure_has_a_name_a_caption_and_its_finding_in_words,
        _alt("It grows."),
    ),
    "an alternative text that names the chart": (
        rules.test_every_figure_has_a_name_a_caption_and_its_finding_in_words,
        _alt("A line plot of the standard deviation against the width of a head."),
    ),
    "a caption that repeats it": (rules.test_every_figure_has_a_name_a_caption_and_its_finding_in_words, _caption),
    "a figure of another chapter": (
        rules.test_every_figure_has_a_name_a_caption_and_its_finding_in_words,
        lambda nb: _first_figure(nb).metadata.mystnb.figure.update(name="fig-elsewhere-a"),
    ),
    "endless prose": (
        rules.test_the_prose_is_neither_thin_nor_endless,
        lambda nb: nb.cells.append(new_markdown_cell("word " * 3_501, id="prose")),
    ),
    "too many cells": (rules.test_the_chapter_has_enough_and_not_too_many_code_cells, _many(26)),
    "one very long cell": (rules.test_cells_are_short, _source("1\n" * 26)),
    "too few figures": (
        rules.test_the_chapter_has_enough_figures,
        lambda nb: nb.update(cells=[cell for cell in nb.cells if "fig" not in str(cell.metadata) + cell.source]),
    ),
    "too many exempt cells": (
        rules.test_almost_every_cell_is_compared,
        lambda nb: nb.cells.extend(
            new_code_cell("1", id=f"more-{n}", metadata={"tags": ["nbval-ignore-output"]}) for n in range(3)
        ),
    ),
    "a band without meaning": (
        rules.test_almost_every_cell_is_compared,
        lambda nb: _last_code(nb).metadata.update(tags=["rtol-0.5"]),
    ),
    "too few exercises": (
        rules.test_the_chapter_has_enough_exercises,
        lambda nb: nb.update(cells=[cell for cell in nb.cells if not cell.id.startswith("ex-")]),
    ),
    "an exercise without a hint": (
        rules.test_every_exercise_is_a_task_a_hint_a_stub_a_check_and_a_solution,
        lambda nb: _exercise_cell(nb, "-1").update(
            source=_exercise_cell(nb, "-1").source.replace("{dropdown}", "{note}")
        ),
    ),
    "a cell inside an exercise": (
        rules.test_every_exercise_is_a_task_a_hint_a_stub_a_check_and_a_solution,
        lambda nb: nb.cells.insert(nb.cells.index(_exercise_cell(nb, "-1-check")), new_code_cell("1", id="between")),
    ),
    "a stub that is right": (
        rules.test_every_check_on_the_page_says_what_is_missing,
        lambda nb: _exercise_cell(nb, "-1-check").update(outputs=[new_output("stream", text="correct: yes\n")]),
    ),
}


@pytest.mark.parametrize("wrong", WRONGS)
def test_the_rule_sees(wrong: str, tmp_path: Path) -> None:
    rule, spoil = WRONGS[wrong]
    good = next(chapter for chapter in chapters() if chapter.slug not in {slug for slug, _ in rules.EXCUSED})
    path = tmp_path / good.path.name
    path.write_text(canonical(good.notebook), encoding="utf-8")
    rule(Chapter(path))

    notebook = copy.deepcopy(good.notebook)
    spoil(notebook)
    path.write_text(nbformat.writes(notebook, version=nbformat.NO_CONVERT), encoding="utf-8")

    with pytest.raises(AssertionError):
        rule(Chapter(path))


def test_every_rule_is_broken_once() -> None:
    about_one_chapter = {
        name for name, rule in vars(rules).items() if name.startswith("test_") and hasattr(rule, "pytestmark")
    }
    assert about_one_chapter == {rule.__name__ for rule, _ in WRONGS.values()}
