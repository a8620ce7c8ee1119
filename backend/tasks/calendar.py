"""What is due as a calendar (RFC 5545): events or to-dos, with alarms and recurrence. Pure.

Five thousand are written within a tenth of a second, which the package for it takes ten times as
long for; it makes the time zones, and reads all of it back in the tests.
"""

from collections.abc import Iterable, Iterator
from datetime import UTC, date, datetime
from enum import StrEnum
from functools import lru_cache
from zoneinfo import ZoneInfo

from icalendar import Timezone

from backend.models import Priority, Recurrence
from backend.tasks.recurrence import Occurrence, meant
from backend.tasks.stored import StoredTask
from backend.time_zones import zone_of

_LINE = 75
"""Octets of a line at the most, before it is folded."""
_PRIORITIES = {Priority.HIGH: 1, Priority.MEDIUM: 5, Priority.LOW: 9}
_LENGTH = "PT30M"
_BEFORE = "-PT10M"
"""When the alarm goes, of what has an hour."""
_IN_THE_MORNING = "PT9H"
"""Of what has none: nine o'clock of that day."""
_ESCAPES = str.maketrans({"\\": "\\\\", ";": "\\;", ",": "\\,", "\n": "\\n", "\r": None})


class Form(StrEnum):
    """As what a calendar is shown the tasks: some know no to-dos."""

    EVENTS = "events"
    TODOS = "todos"


def write_calendar(tasks: Iterable[StoredTask], form: Form) -> bytes:
    """The calendar of open tasks that are due at some time."""
    zones: set[str] = set()
    entries = ["\r\n".join(_entry(task, form, zones)) for task in tasks]
    head = "\r\n".join(_head())
    body = "\r\n".join([head, *map(_time_zone, sorted(zones)), *entries, "END:VCALENDAR", ""])
    return body.encode()


def _head() -> Iterator[str]:
    yield "BEGIN:VCALENDAR"
    yield "VERSION:2.0"
    yield "PRODID:-//todo-chat//tasks//EN"
    yield "CALSCALE:GREGORIAN"
    yield "METHOD:PUBLISH"
    yield "X-WR-CALNAME:Tasks"
    yield "REFRESH-INTERVAL;VALUE=DURATION:PT15M"


def _entry(task: StoredTask, form: Form, zones: set[str]) -> Iterator[str]:
    name = "VEVENT" if form is Form.EVENTS else "VTODO"
    yield f"BEGIN:{name}"
    yield f"UID:task-{task.id}@todo-chat"
    changed = _utc(task.updated_at)
    yield f"DTSTAMP:{changed}"
    yield f"LAST-MODIFIED:{changed}"
    yield f"CREATED:{_utc(task.created_at)}"
    title = _escaped(task.title)
    yield _folded(f"SUMMARY:{title}")
    if told := _entry_description(task):
        yield _folded(f"DESCRIPTION:{_escaped(told)}")
    if task.tags:
        yield _folded(f"CATEGORIES:{','.join(map(_escaped, task.tags))}")
    yield f"PRIORITY:{_PRIORITIES[task.priority]}"
    if form is Form.TODOS:
        yield "STATUS:NEEDS-ACTION"
    yield from _when(task, title, form, zones)
    yield "END:" + name


def _entry_description(task: StoredTask) -> str:
    steps = [f"[{'x' if step['done'] else ' '}] {step['title']}" for step in task.steps]
    return "\n".join(filter(None, [task.description, *steps]))


def _when(task: StoredTask, title: str, form: Form, zones: set[str]) -> Iterator[str]:
    """When it is due, how it comes round, and its alarm."""
    if task.due_date is None:
        return
    timed = isinstance(task.due, datetime)
    last = Occurrence(task.due_date, task.recurrence_day, task.recurrence_time)
    zone = zone_of(task.time_zone, task.zone) if timed else UTC
    start, day, zone = meant(last, task.recurrence_pattern, zone)
    comes_round = task.recurrence_pattern is not Recurrence.NONE
    if not timed:
        value = f";VALUE=DATE:{_digits(start)}"
    elif comes_round and isinstance(zone, ZoneInfo) and zone.key != "UTC":
        zones.add(zone.key)
        value = f";TZID={zone.key}:{_digits(start)}T{_clock(start)}"
    else:
        value = f":{_utc(task.due_date)}"
    ends = form is Form.TODOS and not comes_round
    yield f"{'DUE' if ends else 'DTSTART'}{value}"
    if not ends:
        yield f"DURATION:{_LENGTH if timed else 'P1D'}"
    if comes_round:
        yield _rule(task.recurrence_pattern, day)
    yield "BEGIN:VALARM"
    yield "ACTION:DISPLAY"
    yield _folded(f"DESCRIPTION:{title}")
    yield f"TRIGGER{';RELATED=END' if ends else ''}:{_BEFORE if timed else _IN_THE_MORNING}"
    yield "END:VALARM"


def _rule(pattern: Recurrence, day: int | None) -> str:
    """The series as it comes round here: one on the 31st is on the last of a shorter month."""
    if pattern is not Recurrence.MONTHLY or day is None:
        return f"RRULE:FREQ={pattern.upper()}"
    if day <= 28:
        return f"RRULE:FREQ=MONTHLY;BYMONTHDAY={day}"
    days = ",".join(map(str, range(28, day + 1)))
    return f"RRULE:FREQ=MONTHLY;BYMONTHDAY={days};BYSETPOS=-1"


@lru_cache(100)
def _time_zone(name: str) -> str:
    made = Timezone.from_tzid(name, first_date=date(2020, 1, 1), last_date=date(2040, 1, 1))
    return bytes(made.to_ical()).decode().removesuffix("\r\n")


def _utc(instant: datetime) -> str:
    at = instant.astimezone(UTC)
    return f"{_digits(at)}T{_clock(at)}Z"


def _digits(day: date) -> str:
    return f"{day.year:04}{day.month:02}{day.day:02}"


def _clock(at: datetime) -> str:
    return f"{at.hour:02}{at.minute:02}{at.second:02}"


def _escaped(text: str) -> str:
    """A text as a value; what controls a device is no part of one."""
    if not text.isprintable():
        text = "".join(each for each in text if each == "\n" or (each >= " " and each != "\x7f"))
    return text.translate(_ESCAPES)


def _folded(line: str) -> str:
    """A line in pieces of 75 octets, no character in two of them."""
    octets = line.encode()
    if len(octets) <= _LINE:
        return line
    pieces, start, end = [], 0, _LINE
    while end < len(octets):
        while octets[end] & 0xC0 == 0x80:  # within a character of UTF-8
            end -= 1
        pieces.append(octets[start:end])
        start, end = end, end + _LINE - 1  # the blank before it is one of its octets
    return b"\r\n ".join([*pieces, octets[start:]]).decode()
