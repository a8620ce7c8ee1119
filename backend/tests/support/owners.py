"""Which statements of the service do not say whose rows they are about.

Rows of a large service lie in several places by their owners. What names the owner is done in one
of them; what does not is done in all, and is argued for in `specs/006-chat-backend/scale.md`.
"""

import logging
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache, lru_cache
from inspect import currentframe
from pathlib import Path
from types import FrameType

from sqlalchemy import Executable

from backend.postgres.queries import queries_logger
from backend.tests.support.documented import ROOT

_TABLES = (
    "tasks|conversations|messages|people|projects|calendar_feeds|spending|stream_log|erasures"
    '|"session"|"user"'
)
_OF_PEOPLE = re.compile(rf"\b(?:FROM|JOIN|INTO|UPDATE|USING) (?:{_TABLES})(?!\w)")
_NAMES_OWNER = re.compile(
    r"\buser_id = (?:CAST\()?\$\d"  # the owner is given, and asked for
    r"|^INSERT INTO \w+ \([^)]*\buser_id\b"
)
_PAGE = ROOT / "specs" / "006-chat-backend" / "scale.md"
_LIST = "## Statements that do not name the owner"
_BACKEND = ROOT / "backend"
_BELOW = (_BACKEND / "postgres", _BACKEND / "database.py", _BACKEND / "tests" / "support")


def names_owner(sql: str) -> bool:
    """Whether a statement says whose rows it is about, or is about nobody's."""
    told = " ".join(sql.split())
    return bool(_NAMES_OWNER.search(told)) or not _OF_PEOPLE.search(told)


@cache
def argued_for() -> frozenset[str]:
    """The statements that the page names, each as `file::name`."""
    listed = _PAGE.read_text().partition(_LIST)[2]
    return frozenset(re.findall(r"`(backend/[\w/]+\.py::\w+)`", listed))


@contextmanager
def looked_at() -> Iterator[set[str]]:
    """The names of those that this process makes meanwhile and that name no owner."""
    found: set[str] = set()

    def look(record: logging.LogRecord) -> None:
        if not names_owner(record.getMessage()):
            name = _name_of(record.__dict__["statement"])
            found.update({name} if name else ())

    handler = logging.Handler()
    handler.emit = look  # type: ignore[method-assign]
    queries_logger.addHandler(handler)
    queries_logger.setLevel(logging.DEBUG)
    queries_logger.propagate = False
    try:
        yield found
    finally:
        queries_logger.removeHandler(handler)
        queries_logger.setLevel(logging.NOTSET)
        queries_logger.propagate = True


def _name_of(statement: object) -> str:
    """Where it stands in the code: as a constant, else in the function that has it sent.

    Of a statement of the tests' own it is empty.
    """
    named = _constants(len(sys.modules)).get(id(statement))
    if named:
        return _place(*named[1:])
    frame: FrameType | None = currentframe()
    while frame is not None:
        path = Path(frame.f_code.co_filename)
        if path.is_relative_to(_BACKEND) and not any(map(path.is_relative_to, _BELOW)):
            return _place(path, frame.f_code.co_name)
        frame = frame.f_back
    return ""


@lru_cache(maxsize=1)
def _constants(modules: int) -> dict[int, tuple[Executable, Path, str]]:
    """Each constant by its `id`, with file and name, once so many modules have been imported."""
    return {
        id(each): (each, Path(str(module.__file__)), name)
        for module in reversed(list(sys.modules.values()))
        if getattr(module, "__name__", "").startswith("backend.")
        for name, value in vars(module).items()
        for each in (value if isinstance(value, tuple) else (value,))
        if isinstance(each, Executable)
    }


def _place(path: Path, name: str) -> str:
    place = path.relative_to(ROOT).as_posix()
    return "" if "/tests/" in place else f"{place}::{name}"
