"""When the tasks of a list are due, as a model asks for it."""

import re
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta
from typing import NamedTuple

from backend.agent.task_arguments import Caller, here
from backend.errors import ValidationFailed
from backend.tasks.date_words import understand
from backend.tasks.filters import Due, DueRange, due_on, due_range, due_until

_DUE_WORDS = {
    "overdue": Due.OVERDUE,
    "late": Due.OVERDUE,
    "past due": Due.OVERDUE,
    "today": Due.TODAY,
    "week": Due.WEEK,
    "this week": Due.WEEK,
    "without": Due.NONE,
    "without a date": Due.NONE,
    "no date": Due.NONE,
    "undated": Due.NONE,
}
_DUE_DAY = re.compile(r"(?:due )?(?:(?P<how>before|by|until|on)\s+)?(?P<day>.+)")


class DueAsked(NamedTuple):
    """Which tasks are meant by when they are due; at first any."""

    range: DueRange | None = None
    without: bool = False
    overdue: bool = False
    understood: str | None = None
    """How words for a day were read."""


async def read_due(caller: Caller, text: str) -> DueAsked:
    """What `text` means where the person is: a word of the list above, or a day.

    A day is meant itself, with `by` or `until` all up to its end, with `before` all before it.

    Raises:
        ValidationFailed: it is neither.
    """
    words = " ".join(text.lower().split())
    if not words:
        return DueAsked()
    due = _DUE_WORDS.get(words)
    if due is Due.NONE:
        return DueAsked(without=True)
    now = await here(caller)
    zone = now.tzinfo or UTC
    if due is not None:
        return DueAsked(due_range(due, now, zone), overdue=due is Due.OVERDUE)
    found = _DUE_DAY.fullmatch(words)
    day, understood = await _day_to_filter(found["day"] if found else words, now)
    match found and found["how"]:
        case "before" if day == date.min:
            raise ValidationFailed("due: nothing is due before the year 1")
        case "before":
            meant = due_until(day - timedelta(1), zone)
        case "by" | "until":
            meant = due_until(day, zone)
        case _:
            meant = due_on(day, zone)
    return DueAsked(meant, understood=understood)


async def _day_to_filter(text: str, now: datetime) -> tuple[date, str | None]:
    with suppress(ValueError):
        return date.fromisoformat(text), None
    day, told = await understand("due", text, now)
    if isinstance(day, datetime):
        raise ValidationFailed("due: must be a day without an hour, or overdue, this week, no date")
    return day, told
