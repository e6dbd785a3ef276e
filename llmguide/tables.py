"""Tables: the rows of a CSV file, or what is wrong with it."""

import csv
import io
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Literal


def read_table(path: str | Path, columns: Sequence[str]) -> list[tuple[int, tuple[str, ...]]]:
    """Some columns of a CSV in UTF-8 with a header, every field as it stands; in `.tsv` and `.tab` tabs separate.

    Returns:
        For each row that is not blank: its number as a spreadsheet shows it (the header is row 1), and its fields.

    Raises:
        FileNotFoundError: there is no such file.
        IsADirectoryError: the path is a folder.
        ValueError: the file is not UTF-8, lacks a column, has no rows, or has a row that does not fit; which, and why.
    """
    path = Path(path).expanduser()
    (_, header), *rows = _rows(path)
    _check_header(path, header, columns)
    if not rows:
        raise ValueError(f"{path} has no rows, only a header; put one text a row below it")
    for number, row in rows:
        if len(row) != len(header):
            raise ValueError(
                f"{path}, row {number}: {len(row)} fields, the header has {len(header)}; "
                "put a field that holds the separator in double quotes"
            )
    places = [header.index(column) for column in columns]
    return [(number, tuple(row[place] for place in places)) for number, row in rows]


def _rows(path: Path) -> list[tuple[int, list[str]]]:
    """The rows of a file that are not blank, with their numbers; the first is the header."""
    text = _decoded(path)
    csv.field_size_limit(max(csv.field_size_limit(), len(text)))  # a text may be a book
    if path.suffix.lower() in (".tsv", ".tab"):
        rows = _rows_between_tabs(path, text)
    else:
        rows = _parsed(path, text, delimiter=",")
    if not rows:
        raise ValueError(f"{path} has no rows: it is empty; it needs a header and one text a row")
    return rows


def _rows_between_tabs(path: Path, text: str) -> list[tuple[int, list[str]]]:
    """Quotes are quotes in some of these files and letters in others: letters where they would swallow rows."""
    plain = _parsed(path, text, delimiter="\t", quotes=False)
    try:
        quoted = _parsed(path, text, delimiter="\t")
    except ValueError:
        return plain
    fits = len({len(row) for _, row in plain}) == 1
    return plain if fits and len(plain) != len(quoted) else quoted


def _parsed(path: Path, text: str, *, delimiter: str, quotes: bool = True) -> list[tuple[int, list[str]]]:
    quoting: Literal[0, 3] = csv.QUOTE_MINIMAL if quotes else csv.QUOTE_NONE
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, quoting=quoting, strict=True)
    rows: list[tuple[int, list[str]]] = []
    number = 0
    try:
        for number, row in enumerate(reader, start=1):
            if row:
                rows.append((number, row))
    except csv.Error as error:
        raise ValueError(
            f"{path}, row {number + 1}: {error}; a double quote begins a field there and does not end it. "
            'Quote the whole field and write a quote in it twice, as in "a ""fine"" film"'
        ) from error
    return rows


def _decoded(path: Path) -> str:
    if path.is_dir():
        held = ", ".join(sorted(each.name for each in path.iterdir())[:5]) or "nothing"
        raise IsADirectoryError(f"{path} is a folder; give one file of it (it holds {held})")
    if not path.is_file():
        raise FileNotFoundError(f"file {path} does not exist; Python looks in {Path.cwd()}, give the whole path")
    data = path.read_bytes()
    if data.startswith(b"PK\x03\x04"):
        raise ValueError(f"{path} is a workbook (or another zip file), not a CSV; save it as CSV UTF-8")
    try:
        if b"\0" not in data:
            return data.decode("utf-8-sig")
        line = data[: data.index(b"\0")].count(b"\n") + 1
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
    encoding = _guessed_encoding(data)
    raise ValueError(
        f"{path} is not UTF-8 (line {line}), it looks like {encoding}; save it as CSV UTF-8, or convert it: "
        f'Path("new.csv").write_text(Path({str(path)!r}).read_text("{encoding}"), "utf-8")'
    )


def _guessed_encoding(data: bytes) -> str:
    """The likeliest of what spreadsheets write: bytes above 127 come in pairs in GBK, mostly alone in Latin-1."""
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "utf-16"
    if b"\0" in data:
        return "utf-16-le" if data[1::2].count(0) > data[::2].count(0) else "utf-16-be"
    high = re.findall(rb"[\x80-\xff]+", data)
    western = "cp1252" if re.search(rb"[\x80-\x9f]", data) else "latin-1"  # the first has curly quotes
    try:
        data.decode("gb18030")
    except UnicodeDecodeError:
        return western
    return "gbk" if 2 * sum(len(run) for run in high if len(run) > 1) > sum(map(len, high)) else western


def _check_header(path: Path, header: list[str], columns: Sequence[str]) -> None:
    if all(header.count(column) == 1 for column in columns):
        return
    marks = [mark for mark in ";\t|," if len(header) == 1 and mark in header[0]]
    if marks:
        hint = f"separator {marks[0]!r}? save it with commas, or as .tsv where it is a tab"
    elif any(header.count(column) > 1 for column in columns):
        hint = "one is there twice; rename the other"
    elif {column.lower() for column in columns} <= {column.strip().lower() for column in header}:
        hint = "capitals or spaces differ; correct them in the file"
    else:
        hint = "is the header missing? other names are given as text= and label="
    raise ValueError(f"{path} needs {','.join(columns)}; found {','.join(header)} - {hint}")
