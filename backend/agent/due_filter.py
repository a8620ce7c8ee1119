"""When the tasks of a list are due, as a model asks for it."""

import re
from datetime import date, timedelta
from typing import NamedTuple

from backend.agent.task_arguments import Caller
from backend.errors import ValidationFailed
from backend.models import utc_now
from backend.tasks.filters import Due, DueRange, due_on, due_range, due_until
from backend.tasks.people import last_zone
from backend.time_zones import zone_of

_WORDS = {
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
_DAY = re.compile(r"(?:due )?(?:(?P<how>before|by|until|on)\s+)?(?P<day>.+)")


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
    due = _WORDS.get(words)
    if due is Due.NONE:
        return DueAsked(without=True)
    zone = zone_of(caller.zone or await last_zone(caller.session, caller.user_id))
    if due is not None:
        return DueAsked(due_range(due, utc_now(), zone), overdue=due is Due.OVERDUE)
    found = _DAY.fullmatch(words)
    day = _day(found["day"] if found else "")
    match found and found["how"]:
        case "before" if day == date.min:
            raise ValidationFailed("due: nothing is due before the year 1")
        case "before":
            return DueAsked(due_until(day - timedelta(1), zone))
        case "by" | "until":
            return DueAsked(due_until(day, zone))
    return DueAsked(due_on(day, zone))


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise ValidationFailed(
            "due: must be overdue, today, this week, no date, or a day such as 2026-01-31, with "
            "before or by in front of it if need be"
        ) from None
