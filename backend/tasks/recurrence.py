"""When a recurring task comes round again, by the calendar and the clock of its time zone."""

from calendar import monthrange
from datetime import MAXYEAR, UTC, date, datetime, time, timedelta, tzinfo
from typing import NamedTuple

from backend.models import Recurrence

_PERIODS = {Recurrence.DAILY: timedelta(days=1), Recurrence.WEEKLY: timedelta(days=7)}


class Occurrence(NamedTuple):
    """One of a series: when it is due, and what the series means where that is not it.

    A series on the 31st is due on the 28th of February, and one at half past two an hour later
    where the clock is put forward at two.
    """

    due: datetime
    day: int | None = None
    """The day of the month, 1 to 31, of a monthly series."""
    at: time | None = None
    """The time of day that the clock skipped."""


def next_occurrence(last: Occurrence, pattern: Recurrence, zone: tzinfo = UTC) -> Occurrence:
    """The one after `last`: a period of `pattern` on, in `zone`, however long past that is.

    What `last` means besides its due date counts only where it explains it: a date that was
    changed by other means, or counted in another zone, begins the series anew.

    Raises:
        OverflowError: the next time is after the year 9999; the series ends.
    """
    start, day, zone = meant(last, pattern, zone)
    at = start.time()
    following = _next_day(start.date(), pattern, day)
    due = _instant(following, at, zone)
    skipped = due.astimezone(zone).time() != at
    return Occurrence(due, day, at if skipped else None)


def meant(
    last: Occurrence, pattern: Recurrence, zone: tzinfo
) -> tuple[datetime, int | None, tzinfo]:
    """When `last` is meant by the clock of `zone`, without a zone; and a monthly series' day.

    With the zone by which that is counted: UTC where the year cannot be written in `zone`.
    """
    if not _has_year(last.due, zone):
        zone = UTC
    local = last.due.astimezone(zone).replace(tzinfo=None)
    if last.at is not None and _instant(local.date(), last.at, zone) == last.due:
        local = datetime.combine(local.date(), last.at)
    day = _meant_day(local.date(), last.day) if pattern is Recurrence.MONTHLY else None
    return local, day, zone


def _has_year(due: datetime, zone: tzinfo) -> bool:
    """Whether the year of `due` in `zone` is one that can be written."""
    try:
        due.astimezone(zone)
    except OverflowError:
        return False
    return True


def _instant(day: date, at: time, zone: tzinfo) -> datetime:
    return datetime.combine(day, at.replace(fold=0), zone).astimezone(UTC)


def _meant_day(day: date, meant: int | None) -> int:
    cut = day.day == monthrange(day.year, day.month)[1]
    return meant if meant is not None and cut and meant > day.day else day.day


def _next_day(day: date, pattern: Recurrence, meant: int | None) -> date:
    if meant is None:
        return day + _PERIODS[pattern]
    year, month = (day.year + 1, 1) if day.month == 12 else (day.year, day.month + 1)
    if year > MAXYEAR:
        raise OverflowError("after the year 9999")
    return date(year, month, min(meant, monthrange(year, month)[1]))
