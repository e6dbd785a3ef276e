"""Tables: the rows of a CSV file come back as they were written, or the file says what is wrong with it."""

import csv
import io
import re
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmguide.tables import read_table

COLUMNS = ["text", "label"]
FIELD = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "mine.csv"


def fields(path: Path, columns: list[str] = COLUMNS) -> list[tuple[str, ...]]:
    return [row for _, row in read_table(path, columns)]


@pytest.mark.parametrize("suffix", ["csv", "tsv"])
@given(rows=st.lists(st.tuples(FIELD, FIELD), min_size=1))
def test_what_the_csv_module_writes_comes_back_as_it_was(suffix: str, rows: list[tuple[str, str]]) -> None:
    written = io.StringIO()
    csv.writer(written, dialect="excel-tab" if suffix == "tsv" else "excel").writerows([COLUMNS, *rows])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"mine.{suffix}"
        path.write_bytes(written.getvalue().encode())

        assert fields(path) == rows


def test_columns_come_in_the_order_asked_for_and_others_are_left(file: Path) -> None:
    file.write_text("id,label,text\n7,good,a fine film\n")

    assert fields(file) == [("a fine film", "good")]
    assert fields(file, ["label"]) == [("good",)]


def test_rows_are_counted_as_a_spreadsheet_shows_them(file: Path) -> None:
    file.write_text('text,label\n"two\nlines",good\n\nbad,bad\n')

    assert read_table(file, COLUMNS) == [(2, ("two\nlines", "good")), (4, ("bad", "bad"))]


@pytest.mark.parametrize("word", ["NA", "null", "None", "nan", "", "007", "1e5", "True"])
def test_what_looks_like_a_missing_value_or_a_number_stays_text(word: str, file: Path) -> None:
    file.write_text(f"text,label\n{word},good\n")

    assert fields(file) == [(word, "good")]


def test_a_byte_order_mark_of_utf8_is_no_part_of_the_header(file: Path) -> None:
    file.write_text("text,label\né,1\n", encoding="utf-8-sig")

    assert fields(file) == [("é", "1")]


def test_a_text_may_be_a_book(file: Path) -> None:
    book = "word " * 40_000  # longer than the limit of the csv module
    file.write_text(f"text,label\n{book},1\n")

    assert fields(file) == [(book, "1")]


# Between tabs, quotes are quotes or letters


def test_tabs_separate_by_the_extension(tmp_path: Path) -> None:
    path = tmp_path / "mine.TSV"
    path.write_text("text\tlabel\ngood, all in all\t1\n")

    assert fields(path) == [("good, all in all", "1")]


@pytest.mark.parametrize(
    "rows",
    [
        [('"good" says the poster', "1"), ("bad", "0")],
        [('"never closed', "1"), ("bad", "0")],
        [('"opened here', "1"), ('closed here by an inch, 12"', "0")],
    ],
    ids=["a word in quotes", "never closed", "closed by chance"],
)
def test_quotes_that_are_letters_swallow_no_row(rows: list[tuple[str, str]], tmp_path: Path) -> None:
    path = tmp_path / "mine.tsv"
    path.write_text("".join(f"{text}\t{label}\n" for text, label in [("text", "label"), *rows]))

    assert fields(path) == rows


# What is wrong with a file


@pytest.mark.parametrize(
    ("data", "encoding"),
    [
        ("text,label\nUn café très agréable, déjà vu,1\n".encode("latin-1"), "latin-1"),
        ("text,label\n“Fine”,1\n".encode("cp1252"), "cp1252"),
        ("text,label\nété,1\n".encode("latin-1"), "latin-1"),
        ("text,label\n这部电影很好看,1\n太无聊了,0\n".encode("gbk"), "gbk"),
        ("text,label\nfine,1\n".encode("utf-16"), "utf-16"),
        ("text,label\n很好,1\n".encode("utf-16"), "utf-16"),
        ("text,label\nfine,1\n".encode("utf-16-le"), "utf-16-le"),
        ("text,label\nfine,1\n".encode("utf-16-be"), "utf-16-be"),
    ],
)
def test_another_encoding_is_guessed_and_the_way_to_convert_it_works(data: bytes, encoding: str, file: Path) -> None:
    file.write_bytes(data)

    with pytest.raises(ValueError, match=f"{file} is not UTF-8 .*, it looks like {encoding};") as caught:
        read_table(file, COLUMNS)

    new = file.with_name("new.csv")
    recipe = str(caught.value).rpartition("convert it: ")[2].replace("new.csv", str(new))
    eval(recipe, {"Path": Path})
    assert new.read_text("utf-8") == data.decode(encoding)


def test_the_line_that_is_not_utf8_is_named(file: Path) -> None:
    file.write_bytes("text,label\nfine,1\ncafé,1\n".encode("latin-1"))

    with pytest.raises(ValueError, match=r"not UTF-8 \(line 3\)"):
        read_table(file, COLUMNS)


def test_a_workbook_is_no_csv(file: Path) -> None:
    file.write_bytes(b"PK\x03\x04 and so on")

    with pytest.raises(ValueError, match="mine.csv is a workbook .* save it as CSV UTF-8"):
        read_table(file, COLUMNS)


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ("text;label", "needs text,label; found text;label - separator ';'? save it with commas"),
        ("text\tlabel", "found text\tlabel - separator '\\t'? save it with commas, or as .tsv"),
        ("Text,LABEL", "found Text,LABEL - capitals or spaces differ"),
        ("text, label", "found text, label - capitals or spaces differ"),
        ("review,label", "found review,label - is the header missing? other names are given as text= and label="),
        ("text,text,label", "found text,text,label - one is there twice"),
        ("text,label;other", "found text,label;other - is the header missing?"),
    ],
)
def test_a_header_that_does_not_fit_is_shown_with_what_it_lacks(header: str, message: str, file: Path) -> None:
    file.write_text(f"{header}\na,b\n")

    with pytest.raises(ValueError, match=re.escape(message)):
        read_table(file, COLUMNS)


def test_an_unquoted_comma_is_named_by_its_row(file: Path) -> None:
    file.write_text('text,label\n"good, really",1\nbad, really,0\n')

    with pytest.raises(ValueError, match="mine.csv, row 3: 3 fields, the header has 2; put .* in double quotes"):
        read_table(file, COLUMNS)


def test_a_row_that_is_too_short_is_named(file: Path) -> None:
    file.write_text("text,label\ngood\n")

    with pytest.raises(ValueError, match="row 2: 1 fields, the header has 2"):
        read_table(file, COLUMNS)


@pytest.mark.parametrize("row", ['"never closed,1', '"good" says the poster,1'])
def test_a_quote_that_opens_a_field_and_does_not_end_it_is_named(row: str, file: Path) -> None:
    file.write_text(f"text,label\nfine,1\n{row}\nfine,1\n")

    with pytest.raises(ValueError, match="mine.csv, row 3: .* a double quote begins a field there"):
        read_table(file, COLUMNS)


@pytest.mark.parametrize("content", ["", "\n\n", "text,label\n", "text,label\n\n"])
def test_a_file_without_rows_says_so(content: str, file: Path) -> None:
    file.write_text(content)

    with pytest.raises(ValueError, match="mine.csv has no rows"):
        read_table(file, COLUMNS)


def test_a_missing_file_says_where_python_looks(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)

    with pytest.raises(FileNotFoundError, match=f"file mine.csv does not exist; Python looks in {tmp_path}"):
        read_table("mine.csv", COLUMNS)


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    (tmp_path / "mine.csv").touch()

    with pytest.raises(IsADirectoryError, match=r"is a folder; give one file of it \(it holds mine.csv\)"):
        read_table(tmp_path, COLUMNS)
