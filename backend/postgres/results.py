"""What a statement gives."""

from collections.abc import Iterator
from typing import Any

type Row = Any
"""A named tuple of a statement's columns."""


class Result:
    """The rows of a statement, each a named tuple; all of them are here already."""

    __slots__ = ("_rows", "rowcount", "status")

    def __init__(self, rows: list[Any], rowcount: int, status: bytes = b"") -> None:
        self._rows = rows
        self.rowcount = rowcount
        """How many rows were read or written."""
        self.status = status
        """What Postgres calls what it has done, as `COMMIT`."""

    def __iter__(self) -> Iterator[Any]:
        return iter(self._rows)

    def all(self) -> list[Any]:
        return self._rows

    def one_or_none(self) -> Any:
        """The only row; None where there is none.

        Raises:
            LookupError: there are more.
        """
        if len(self._rows) > 1:
            raise LookupError(f"{len(self._rows)} rows, not one")
        return self._rows[0] if self._rows else None

    def one(self) -> Any:
        """The only row; `LookupError` where there is not one."""
        row = self.one_or_none()
        if row is None:
            raise LookupError("no row")
        return row

    def first(self) -> Any:
        return self._rows[0] if self._rows else None

    def scalar(self) -> Any:
        """The first value of the first row; None where there is none."""
        return self._rows[0][0] if self._rows else None

    def scalar_one(self) -> Any:
        """The first value of the only row; `LookupError` where there is not one."""
        return self.one()[0]

    def scalars(self) -> list[Any]:
        """The first value of each row."""
        return [row[0] for row in self._rows]
