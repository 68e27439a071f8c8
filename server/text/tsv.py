"""Tables and word lists, here and in `emotion`: tab-separated files that can be edited without programming."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple


class Row(NamedTuple):
    """One row of a table; `place` is "file:line", for messages."""

    place: str
    cells: tuple[str, ...]


def read_rows(
    path: Path, columns: tuple[str, ...], *, blank_cells: bool = False, error: type[ValueError] = ValueError
) -> Iterator[Row]:
    """The rows below the header `columns`; blank lines and lines that begin with "#" are skipped.

    Args:
        blank_cells: whether a cell may be empty.
        error: raised with the place where the file is malformed.
    """
    header = None
    for number, line in _lines(path, error):
        row = Row(f"{path.name}:{number}", tuple(line.split("\t")))
        if header is None:
            header = row.cells
            if header != columns:
                raise error(f"{row.place}: the columns are {', '.join(header)}: expected {', '.join(columns)}")
            continue
        if len(row.cells) != len(columns):
            raise error(f"{row.place}: {len(row.cells)} columns, expected {len(columns)}, separated by single tabs")
        for column, cell in zip(columns, row.cells, strict=True):
            if cell != cell.strip() or not (cell or blank_cells):
                raise error(
                    f"{row.place}: {column} is {cell!r}: cells are not empty and have no blanks around them"
                    if not blank_cells
                    else f"{row.place}: {column} is {cell!r}: cells have no blanks around them"
                )
        yield row


def read_words(path: Path) -> tuple[str, ...]:
    """A word list, one entry a line, in its order; blank lines and lines that begin with "#" are skipped."""
    return tuple(line for _, line in _lines(path, ValueError))


def _lines(path: Path, error: type[ValueError]) -> Iterator[tuple[int, str]]:
    content = path.read_bytes()
    try:
        lines = content.decode("utf8").split("\n")
    except UnicodeDecodeError as failure:
        number = content.count(b"\n", 0, failure.start) + 1
        raise error(f"{path.name}:{number}: not UTF-8: {failure.reason}") from None
    return ((number, line) for number, line in enumerate(lines, 1) if line and not line.startswith("#"))
