"""CSV as people have it: whatever their spreadsheet made of its encoding, marks and signs. Pure."""

import csv
import io
import re
from collections.abc import Iterable, Iterator

from backend.tasks.transfer.drafts import LINES_MAX, Unreadable

FIELD_MAX = 100_000
"""Characters of a cell; what is taken of one is far less."""
HEAD_LINES = 12
"""Lines among which the names of the columns are looked for."""

type Row = tuple[int, dict[str, str]]
"""The line it ends on, and its cells by the lower-case names of their columns."""

_MARKS = ((b"\xef\xbb\xbf", "utf-8-sig"), (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"))
_RISKY = "=+\\-@\t\r\uff1d\uff0b\uff0d\uff20"
_FORMULA = re.compile(f"'*[{_RISKY}]")
_GUARDED = re.compile(f"'+[{_RISKY}]")


def decoded(file: bytes) -> str:
    """The text of a file in UTF-8, or in UTF-16 with its mark.

    Raises:
        Unreadable: it is in neither, or holds NUL.
    """
    encoding = next((name for mark, name in _MARKS if file.startswith(mark)), "utf-8")
    try:
        text = file.decode(encoding)
    except UnicodeDecodeError as error:
        line = file.count(b"\n", 0, error.start) + 1
        raise Unreadable(f"line {line}: not UTF-8; save the file as UTF-8") from None
    if "\x00" in text:
        line = text.count("\n", 0, text.index("\x00")) + 1
        raise Unreadable(f"line {line}: holds NUL, so it is no text")
    return text


def rows_of(text: str, *named: str) -> Iterator[Row]:
    """The rows behind the line with the names of the columns, which are to be among them.

    Cells are separated by the sign that the names are. An empty row is left out.

    Raises:
        Unreadable: there is no such line, or the quotes of one do not match.
    """
    columns: list[str] = []
    number = 0
    for number, (line, cells) in enumerate(_read_rows(text, _separator(text, named)), 1):
        if number > LINES_MAX:
            raise Unreadable(f"line {line}: a file has at most {LINES_MAX} lines")
        if not columns:
            names = [cell.strip().lower() for cell in cells]
            if set(named) <= set(names):
                columns = names
            elif number >= HEAD_LINES:
                break
            continue
        if any(cell.strip() for cell in cells):
            if len(cells) > len(columns) and any(cell.strip() for cell in cells[len(columns) :]):
                raise Unreadable(f"line {line}: more cells than columns; is a quote missing?")
            yield line, dict(zip(columns, cells, strict=False))
    if not columns:
        raise Unreadable(f"no line names the columns {', '.join(named)}")


def _separator(text: str, named: tuple[str, ...]) -> str:
    head = "\n".join(text.split("\n", HEAD_LINES)[:HEAD_LINES]).lower()
    for sign in (",", ";", "\t"):
        if any(sign in line and all(name in line for name in named) for line in head.split("\n")):
            return sign
    return ","


def _read_rows(text: str, separator: str) -> Iterator[tuple[int, list[str]]]:
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    while True:
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise Unreadable(f"line {reader.line_num}: {error}") from None
        if any(len(cell) > FIELD_MAX for cell in cells):
            raise Unreadable(f"line {reader.line_num}: a cell of more than {FIELD_MAX} signs")
        yield reader.line_num, cells


def written(rows: Iterable[Iterable[str]]) -> str:
    """Rows as CSV, in which a spreadsheet finds no formula."""
    file = io.StringIO(newline="")
    csv.writer(file).writerows([guarded(cell) for cell in row] for row in rows)
    return file.getvalue()


def guarded(cell: str) -> str:
    """`cell`, behind an apostrophe where a spreadsheet might take it for a formula."""
    return f"'{cell}" if _FORMULA.match(cell) else cell


def plain(cell: str) -> str:
    """A cell without the apostrophe that `guarded` has put before it."""
    return cell[1:] if _GUARDED.match(cell) else cell
