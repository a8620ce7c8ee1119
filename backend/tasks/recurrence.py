"""When a recurring task comes round again."""

from calendar import monthrange
from datetime import MAXYEAR, UTC, datetime, timedelta

from backend.models import Recurrence

_PERIODS = {Recurrence.DAILY: timedelta(days=1), Recurrence.WEEKLY: timedelta(days=7)}


def series_day(due: datetime | None, pattern: Recurrence, day: int | None) -> int | None:
    """The day of the month, 1 to 31, that a monthly series means; None for any other.

    `day` is what the series is known to mean; without it, it means the day of `due` in UTC.
    """
    if pattern is not Recurrence.MONTHLY or due is None:
        return None
    return day or due.astimezone(UTC).day


def next_due(due: datetime, pattern: Recurrence, day: int | None = None) -> datetime:
    """`due`, an aware time, plus one period of `pattern` in UTC, however long past it is.

    `day` is the `series_day` where `due` was cut to the end of a shorter month; a month
    without that day gives its last one.

    Raises:
        OverflowError: the next time is after the year 9999; the series ends.
    """
    due = due.astimezone(UTC)
    if pattern is Recurrence.MONTHLY:
        return _next_month(due, day or due.day)
    return due + _PERIODS[pattern]


def _next_month(due: datetime, day: int) -> datetime:
    year, month = (due.year + 1, 1) if due.month == 12 else (due.year, due.month + 1)
    if year > MAXYEAR:
        raise OverflowError("after the year 9999")
    return due.replace(year=year, month=month, day=min(day, monthrange(year, month)[1]))
