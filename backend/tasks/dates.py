"""Dates that have no time of day, and the instants that stand for them.

A date alone is stored as midnight UTC with a mark. It leaves as a time only where a format knows
no date, and then as noon, which is that day for nearly everybody.
"""

from collections.abc import Iterable
from datetime import UTC, date, datetime, time, tzinfo

from backend.schemas.fields import as_utc, iso_utc

WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")


def is_date_alone(due: datetime | None, marked: bool | None) -> bool:
    """Whether a stored due date means a day; without a mark midnight UTC is taken for one.

    A mark may be older than the date that a release without it has written.
    """
    return due is not None and marked is not False and as_utc(due).timetz() == time(tzinfo=UTC)


def due_of(due: datetime | None, marked: bool | None) -> date | None:
    """What a stored due date means: a date where that is a day, else a time in UTC."""
    if due is None:
        return None
    return as_utc(due).date() if is_date_alone(due, marked) else as_utc(due)


def as_stored(due: date | None) -> tuple[datetime | None, bool | None]:
    """The instant in UTC and the mark with which `due`, a date or an aware time, is stored."""
    if due is None or isinstance(due, datetime):
        return due, None if due is None else False
    return datetime.combine(due, time(), UTC), True


def noon(day: date, zone: tzinfo = UTC) -> datetime:
    """Noon of `day` in `zone`, in UTC; noon UTC at the ends of time, where that is no year."""
    try:
        return datetime.combine(day, time(12), zone).astimezone(UTC)
    except OverflowError:
        return datetime.combine(day, time(12), UTC)


def is_noon_of(instant: datetime, day: date, zones: Iterable[tzinfo]) -> bool:
    """Whether `instant` is what `day` has left as, to the minute, in one of `zones`."""
    minute = instant.replace(second=0, microsecond=0)
    return any(minute == noon(day, zone).replace(second=0) for zone in zones)


def due_text(due: date | None) -> str | None:
    """A date as YYYY-MM-DD, a time as ISO 8601 in UTC; as a model reads both."""
    if due is None or isinstance(due, datetime):
        return iso_utc(due)
    return due.isoformat()
