"""What is read of a file: tasks that may come to be, what is wrong, and what is left out. Pure."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, tzinfo
from typing import Any

from pydantic import TypeAdapter, ValidationError

from backend.models import DESCRIPTION_MAX, STEPS_MAX, TAG_MAX
from backend.schemas.fields import DueDate, Title
from backend.tasks.fields import TaskCreate

FAULTS_MAX = 100
"""Faults and things left out that are named; the rest are counted."""
ROWS_MAX = 5000
"""Tasks of one file, and with their steps, comments and sections five times as many lines."""
LINES_MAX = 5 * ROWS_MAX
CUT = "…"

_TITLE: TypeAdapter[str] = TypeAdapter(Title)
_DUE: TypeAdapter[date | None] = TypeAdapter(DueDate)


@dataclass(frozen=True, slots=True)
class Fault:
    """Why a line cannot be taken; `line` counts from 1, of a JSON file its tasks."""

    line: int
    field: str
    reason: str


@dataclass(slots=True)
class LeftOut:
    """Something of a file that has no place here, with the first lines it stands in."""

    what: str
    count: int = 0
    lines: list[int] = field(default_factory=list)


@dataclass(slots=True)
class Draft:
    """A task as a file has it, checked by `Reading.add`."""

    line: int
    title: str = ""
    description: str = ""
    priority: str = "medium"
    due: object = None
    tags: list[str] = field(default_factory=list)
    steps: list[tuple[str, bool]] = field(default_factory=list)
    recurrence: str = "none"
    project: str | None = None
    time_zone: str | None = None
    completed: bool = False
    completed_at: object = None
    created_at: object = None
    task: TaskCreate | None = None


class Unreadable(Exception):
    """The file as a whole cannot be read; the text says why, and where."""


@dataclass(slots=True)
class Reading:
    """What has been read so far."""

    zone: tzinfo
    """By whose clock times without a zone are meant."""
    today: date
    drafts: list[Draft] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    fault_count: int = 0
    left_out: dict[str, LeftOut] = field(default_factory=dict)

    def fault(self, line: int, name: str, reason: str) -> None:
        self.fault_count += 1
        if len(self.faults) < FAULTS_MAX:
            self.faults.append(Fault(line, name, reason))

    def leave_out(self, line: int, what: str) -> None:
        """Note that a line has something that goes nowhere."""
        if what not in self.left_out and len(self.left_out) >= FAULTS_MAX:
            what = "more of this kind"
        left = self.left_out.setdefault(what, LeftOut(what))
        left.count += 1
        if len(left.lines) < FAULTS_MAX and line not in left.lines[-1:]:
            left.lines.append(line)

    def describe(self, draft: Draft, more: str) -> None:
        """Put `more` behind a task's description; what is too long is cut, and said to be."""
        whole = "\n\n".join(filter(None, [draft.description, more]))
        if len(whole) > DESCRIPTION_MAX:
            self.leave_out(draft.line, f"what of a description is beyond {DESCRIPTION_MAX} signs")
            whole = whole[: DESCRIPTION_MAX - 1] + CUT
        draft.description = whole

    def tag(self, draft: Draft, name: str) -> None:
        """Give a task a section's name as a tag."""
        if name := name.strip().lower()[:TAG_MAX].strip():
            draft.tags.append(name)

    def step(self, draft: Draft, line: int, title: str, done: bool) -> None:
        """Make a task below another a step of it."""
        try:
            draft.steps.append((_TITLE.validate_python(title), done))
        except ValidationError as error:
            self.fault(line, "title", reason_of(error))

    def add(self, draft: Draft) -> Draft:
        if len(self.drafts) >= ROWS_MAX:
            raise Unreadable(f"line {draft.line}: a file has at most {ROWS_MAX} tasks")
        self.drafts.append(draft)
        return draft

    def close(self) -> None:
        """Check what was added, when nothing more comes to it."""
        for draft in self.drafts:
            self._check(draft)
        self.drafts = [draft for draft in self.drafts if draft.task is not None]

    def _check(self, draft: Draft) -> None:
        before = self.fault_count
        for name in ("completed_at", "created_at"):
            self._take(draft, name, lambda value: instant_of(value, self.zone))
        if draft.project is not None:
            self._take(draft, "project", _TITLE.validate_python)
        if len(draft.steps) > STEPS_MAX:
            self.fault(draft.line, "steps", f"a task has at most {STEPS_MAX} steps")
            return
        values: Mapping[str, Any] = {
            "title": draft.title,
            "description": draft.description,
            "priority": draft.priority,
            "due_date": draft.due,
            "tags": draft.tags,
            "steps": [{"title": title, "done": done} for title, done in draft.steps],
            "recurrence_pattern": draft.recurrence,
        }
        try:
            task = TaskCreate.model_validate(values)
        except ValidationError as error:
            for each in error.errors():
                name = ".".join(map(str, each["loc"][:1]))
                self.fault(draft.line, name, each["msg"].removeprefix("Value error, "))
            return
        if self.fault_count == before:
            draft.task = task

    def _take(self, draft: Draft, name: str, read: Callable[[Any], object]) -> None:
        try:
            setattr(draft, name, read(getattr(draft, name)))
        except (ValidationError, ValueError) as error:
            said = reason_of(error) if isinstance(error, ValidationError) else str(error)
            self.fault(draft.line, name, said)


def reason_of(error: ValidationError) -> str:
    return error.errors()[0]["msg"].removeprefix("Value error, ")


def instant_of(value: object, zone: tzinfo) -> datetime | None:
    """The instant of a text in ISO 8601, by the clock of `zone` where it names none; "" is none.

    Raises:
        ValueError: it is none.
    """
    due = due_of(value, zone)
    if due is None or isinstance(due, datetime):
        return due
    return datetime(due.year, due.month, due.day, 12, tzinfo=UTC)


_OFFSET_AT_END = re.compile(r"(Z|[+-]\d\d:?\d\d)$", re.IGNORECASE)


def due_of(value: object, zone: tzinfo) -> date | None:
    """A date alone, or an instant in UTC, of a text in ISO 8601.

    Raises:
        ValueError: it is none.
    """
    if not isinstance(value, str | None):
        raise ValueError("must be a text")
    try:
        due = _DUE.validate_python(value)
    except ValidationError as error:
        raise ValueError(reason_of(error)) from None
    if isinstance(due, datetime) and value and not _OFFSET_AT_END.search(value.strip()):
        try:
            return due.replace(tzinfo=zone).astimezone(UTC)
        except OverflowError:
            raise ValueError("must lie in the years 1 to 9999 in UTC") from None
    return due
