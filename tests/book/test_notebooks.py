"""What every chapter keeps to, read from its file without running it."""

import ast
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator

import pytest
from nbformat import NotebookNode

from tests.book.chapters import (
    BOOK,
    CHECK_TAG,
    EXEMPT_TAG,
    SETUP_ID,
    STUB_TAG,
    Chapter,
    canonical,
    chapters,
    setup_source,
    tags,
    tolerance,
)

CHAPTERS = chapters()
KNOWN_TAGS = {
    "setup",
    "hide-input",
    "hide-output",
    "remove-output",
    "raises-exception",
    EXEMPT_TAG,
    STUB_TAG,
    CHECK_TAG,
}

# A budget a chapter may break, and why: {("attention/position", "words"): "four kinds of position, shown by running"}.
EXCUSED: dict[tuple[str, str], str] = {}

WORDS = range(2_000, 3_501)
CODE_CELLS = range(15, 26)  # besides exercises
FIGURES = range(5, 21)
EXERCISES = range(6, 13)
EXEMPT = range(3)
LINES_OF_MOST, LINES_OF_ALL = 10, 25
SCREEN = 40  # lines of an output
ALT = 40  # characters of an alternative text, at least

ABSOLUTE_PATH = re.compile(r"(?<![\w/:.~])(?:/(?:home|root|tmp|usr|opt|var|mnt|Users|content|private)/|[A-Z]:\\\w)")
MEMORY_ADDRESS = re.compile(r"\b0x[0-9a-fA-F]{6,}\b")
TIME_OF_DAY = re.compile(r"\b\d{1,2}:[0-5]\d:[0-5]\d\b|\b20\d\d-[01]\d-[0-3]\d\b")
CHART_TYPE = re.compile(
    r"(?:an? |the )?(?:\w+ )?(?:plot|figure|image|picture|chart|graph|diagram)\b(?: \w+)? of\b", re.I
)
IDENTIFIER = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")


def each_chapter(rule: Callable[[Chapter], None]) -> Callable[[Chapter], None]:
    return pytest.mark.parametrize("chapter", CHAPTERS, ids=str)(rule)


def texts(output: NotebookNode) -> Iterator[tuple[str, str]]:
    """What an output shows as text, by kind; pictures are not text."""
    if output.output_type == "stream":
        yield output.name, output.text
    elif output.output_type == "error":
        yield "error", f"{output.ename}: {output.evalue}\n" + "\n".join(output.traceback)
    else:
        yield from ((kind, text) for kind, text in output.data.items() if not kind.startswith("image/"))


def printed(chapter: Chapter) -> Iterator[tuple[str, str, str]]:
    """Every text that a chapter's code printed: cell, kind, text."""
    for cell in chapter.code_cells:
        for output in cell.outputs:
            for kind, text in texts(output):
                yield cell.id, kind, str(text)


def has_picture(cell: NotebookNode) -> bool:
    return any(kind.startswith("image/") for output in cell.outputs for kind in output.get("data", {}))


def plain_code(chapter: Chapter) -> Iterator[tuple[NotebookNode, ast.Module]]:
    """Every code cell but the set-up cell, parsed."""
    for cell in chapter.code_cells:
        if cell.id != SETUP_ID:
            yield cell, ast.parse(cell.source)


def within(chapter: Chapter, budget: str, value: int, allowed: range) -> None:
    if (chapter.slug, budget) in EXCUSED:
        assert value not in allowed, f"{chapter}: {budget} is within its budget; take the excuse away"
    else:
        assert value in allowed, f"{chapter}: {value:,} {budget}; allowed {allowed.start:,} to {allowed.stop - 1:,}"


def test_every_notebook_of_the_book_is_in_the_table_of_contents() -> None:
    found = {path for path in BOOK.rglob("*.ipynb") if ".ipynb_checkpoints" not in path.parts}
    assert CHAPTERS, "the table of contents names no chapter"
    assert found == {chapter.path for chapter in CHAPTERS}


def test_no_function_is_defined_in_two_chapters() -> None:
    homes = defaultdict(set)
    for chapter in CHAPTERS:
        for _, module in plain_code(chapter):
            for node in module.body:
                if isinstance(node, ast.FunctionDef | ast.ClassDef):
                    homes[node.name].add(chapter.slug)
    assert {name: slugs for name, slugs in homes.items() if len(slugs) > 1} == {}


def test_figure_names_are_unique_in_the_book() -> None:
    names = Counter(figure.name for chapter in CHAPTERS for figure in chapter.figures)
    assert {name: count for name, count in names.items() if count > 1} == {}


@each_chapter
def test_the_file_is_as_make_execute_writes_it(chapter: Chapter) -> None:
    assert chapter.path.read_text(encoding="utf-8") == canonical(chapter.notebook), (
        f"make execute CHAPTERS={chapter.name}"
    )


@each_chapter
def test_cell_ids_are_lower_case(chapter: Chapter) -> None:
    """And unique: reading a notebook with an id twice is a warning of nbformat, and warnings are errors here."""
    assert [cell.id for cell in chapter.notebook.cells if not IDENTIFIER.fullmatch(cell.id)] == []


@each_chapter
def test_tags_are_known(chapter: Chapter) -> None:
    unknown = {
        cell.id: set(tags(cell)) - KNOWN_TAGS
        for cell in chapter.notebook.cells
        if any(tag not in KNOWN_TAGS and not tag.startswith("rtol-") for tag in tags(cell))
    }
    assert unknown == {}


@each_chapter
def test_every_code_cell_was_run_in_order(chapter: Chapter) -> None:
    counts = [cell.execution_count for cell in chapter.code_cells]
    assert counts == list(range(1, len(counts) + 1))


@each_chapter
def test_the_set_up_cell_comes_first_and_is_the_same_everywhere(chapter: Chapter) -> None:
    first = chapter.code_cells[0]
    assert first.id == SETUP_ID
    assert first.source == setup_source()
    assert tags(first) == ["hide-input", "setup"]
    assert first.outputs == []


@each_chapter
def test_the_first_cell_says_what_the_reader_gains_and_needs(chapter: Chapter) -> None:
    first = chapter.notebook.cells[0]
    assert first.cell_type == "markdown"
    assert first.source.startswith("# ")
    assert len(re.findall(r"^\s*(?:[-*]|\d+\.) ", first.source, re.MULTILINE)) >= 3, (
        "at least three objectives, as a list"
    )
    assert re.search(r"\d+\s+minutes", first.source), "how many minutes"
    assert re.search(r"\d\s*[KMG]i?B\b", first.source), "how much memory"


@each_chapter
def test_one_heading_of_the_first_level(chapter: Chapter) -> None:
    headings = [
        line for cell in chapter.markdown_cells for line in re.findall(r"^# .+", _outside_code(cell.source), re.M)
    ]
    assert len(headings) == 1


@each_chapter
def test_every_cell_but_set_up_is_plain_python(chapter: Chapter) -> None:
    broken = {}
    for cell in chapter.code_cells[1:]:
        try:
            ast.parse(cell.source)
        except SyntaxError as error:  # a magic (%), a shell line (!), a question mark
            broken[cell.id] = f"line {error.lineno}: {(error.text or '').strip()}"
    assert broken == {}


@each_chapter
def test_no_cell_reaches_around_the_book(chapter: Chapter) -> None:
    """No sys.path, no silenced warnings, no IPython commands by another name, no comment that switches a check off."""
    forbidden = re.compile(
        r"sys\.path|get_ipython|os\.system|NBVAL_|(?:filterwarnings|simplefilter)\(\s*['\"]ignore|set_verbosity"
    )
    assert {cell.id: found[0] for cell in chapter.code_cells if (found := forbidden.search(cell.source))} == {}


@each_chapter
def test_no_line_ends_in_a_semicolon(chapter: Chapter) -> None:
    assert [cell.id for cell in chapter.code_cells if re.search(r";[ \t]*$", cell.source, re.MULTILINE)] == []


@each_chapter
def test_nothing_was_written_to_stderr(chapter: Chapter) -> None:
    assert [(cell, text) for cell, kind, text in printed(chapter) if kind == "stderr"] == []


@each_chapter
def test_a_cell_tagged_to_raise_raises(chapter: Chapter) -> None:
    tagged = [cell for cell in chapter.code_cells if "raises-exception" in tags(cell)]
    assert [cell.id for cell in tagged if not any(out.output_type == "error" for out in cell.outputs)] == []


@each_chapter
def test_no_path_address_or_time_of_this_machine(chapter: Chapter) -> None:
    said = [(cell, text) for cell, _, text in printed(chapter)]
    said += [(cell.id, cell.source) for cell in chapter.notebook.cells]
    found = [(cell, hit[0]) for cell, text in said if (hit := ABSOLUTE_PATH.search(text))]
    for pattern in (MEMORY_ADDRESS, TIME_OF_DAY):
        found += [(cell, hit[0]) for cell, _, text in printed(chapter) if (hit := pattern.search(text))]
    assert found == []


@each_chapter
def test_no_output_is_longer_than_a_screen(chapter: Chapter) -> None:
    long = [(cell, kind) for cell, kind, text in printed(chapter) if kind != "error" and _height(kind, text) > SCREEN]
    assert long == []


@each_chapter
def test_every_drawing_cell_has_a_figure_and_every_figure_a_drawing(chapter: Chapter) -> None:
    drawing = [cell.id for cell in chapter.code_cells if has_picture(cell)]
    described = [cell.id for cell in chapter.code_cells if "figure" in cell.metadata.get("mystnb", {})]
    assert drawing == described


@each_chapter
def test_every_figure_has_a_name_a_caption_and_its_finding_in_words(chapter: Chapter) -> None:
    wrong = []
    for figure in chapter.figures:
        if not figure.name.startswith(f"fig-{chapter.name}-"):
            wrong.append(f"{figure.cell}: the name {figure.name!r} does not start with fig-{chapter.name}-")
        if len(figure.alt) < ALT or CHART_TYPE.match(figure.alt):
            wrong.append(f"{figure.cell}: the alternative text states no finding: {figure.alt!r}")
        if not figure.caption or figure.caption == figure.alt:
            wrong.append(f"{figure.cell}: the caption is missing or repeats the alternative text")
    assert wrong == []


@each_chapter
def test_the_prose_is_neither_thin_nor_endless(chapter: Chapter) -> None:
    within(chapter, "words", chapter.words, WORDS)


@each_chapter
def test_the_chapter_has_enough_and_not_too_many_code_cells(chapter: Chapter) -> None:
    exercise_cells = [cell for cell in chapter.code_cells if {STUB_TAG, CHECK_TAG} & set(tags(cell))]
    within(chapter, "code cells besides exercises", len(chapter.code_cells) - len(exercise_cells), CODE_CELLS)


@each_chapter
def test_cells_are_short(chapter: Chapter) -> None:
    lengths = {cell.id: sum(bool(line.strip()) for line in cell.source.splitlines()) for cell in chapter.code_cells}
    assert {cell: lines for cell, lines in lengths.items() if lines > LINES_OF_ALL} == {}
    short = sum(lines < LINES_OF_MOST for lines in lengths.values())
    assert short > len(lengths) / 2, (
        f"{len(lengths) - short} of {len(lengths)} cells have {LINES_OF_MOST} lines or more"
    )


@each_chapter
def test_the_chapter_has_enough_figures(chapter: Chapter) -> None:
    within(chapter, "figures", len(chapter.figures), FIGURES)


@each_chapter
def test_almost_every_cell_is_compared(chapter: Chapter) -> None:
    within(chapter, "exempt cells", len(chapter.exempt_cells), EXEMPT)
    assert [cell.id for cell in chapter.tolerant_cells if not 0 < (tolerance(cell) or 0) <= 0.1] == []


@each_chapter
def test_the_chapter_has_enough_exercises(chapter: Chapter) -> None:
    within(chapter, "exercises", len(chapter.exercises), EXERCISES)


@each_chapter
def test_every_exercise_is_a_task_a_hint_a_stub_a_check_and_a_solution(chapter: Chapter) -> None:
    order = [cell.id for cell in chapter.notebook.cells]
    for number, exercise in enumerate(chapter.exercises, start=1):
        label = f"ex-{chapter.name}-{number}"
        assert exercise.label == label, "exercises are numbered in the order of the page"
        assert order[(start := order.index(label)) : start + 4] == [
            label,
            f"{label}-stub",
            f"{label}-check",
            f"{label}-solution",
        ]
        assert "{exercise}" in exercise.task.source
        assert f":label: {label}" in exercise.task.source
        assert "{dropdown}" in exercise.task.source, f"{label} has no hint"
        assert STUB_TAG in tags(exercise.stub)
        assert CHECK_TAG in tags(exercise.check)
        assert f"{{solution}} {label}" in exercise.solution.source
        assert ":class: dropdown" in exercise.solution.source
        ast.parse(exercise.solution_code)


@each_chapter
def test_every_check_on_the_page_says_what_is_missing(chapter: Chapter) -> None:
    wrong = {}
    for exercise in chapter.exercises:
        shown = "".join(text for output in exercise.check.outputs for _, text in texts(output))
        if not shown.startswith("not yet:") or len(shown.splitlines()) != 1:
            wrong[exercise.label] = shown
    assert wrong == {}


def _outside_code(markdown: str) -> str:
    return re.sub(r"^(`{3,}).*?^\1", "", markdown, flags=re.DOTALL | re.MULTILINE)


def _height(kind: str, text: str) -> int:
    return text.count("<tr") if kind == "text/html" else len(text.splitlines())
