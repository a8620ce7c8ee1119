"""Days and times in words, as arguments of a tool: `2026-11-27`, or an instant in UTC."""

import re
from datetime import UTC, date, datetime, time, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo

from backend.tasks.dates import WEEKDAYS

_WEEKDAY = "|".join(WEEKDAYS)
_NUMBER_WORDS = {"a": 1, "one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7}
_MONTH = "(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]{0,6}"
_DAY_SAID = (
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}|today|tonight|tomorrow|the day after tomorrow"
    rf"|(?:(?:next|this|coming) )?(?:{_WEEKDAY})|next week"
    rf"|in (?:[0-9]{{1,3}}|{'|'.join(_NUMBER_WORDS)}) (?:days?|weeks?)"
    rf"|{_MONTH} [0-9]{{1,2}}(?:st|nd|rd|th)?(?:,? [0-9]{{4}})?"
)
_HOUR = r"(?:at )?(?P<hour>[0-9]{1,2})(?::(?P<minute>[0-9]{2}))? ?(?P<half>[ap])\.?m\b\.?"
_CLOCK = r"at (?P<hour24>[0-9]{1,2}):(?P<minute24>[0-9]{2})|at (?P<word>noon|midnight)"
_TIME_SAID = re.compile(rf"(?i)(?:^|,? ){_HOUR}|(?:^|,? )(?:{_CLOCK})(?= |$|,)")
_WHEN = re.compile(
    rf"(?i)(?:^|,? )(?:(?:due )?(?:by|on|before|due|for|until) )?(?P<day>{_DAY_SAID})(?= |$|,)"
)
_EVERY_SO_OFTEN = re.compile(
    rf"(?i)(?:^|,? )(?:(?:every|each) (?:(?P<weekday>{_WEEKDAY})|(?P<unit>day|morning|evening|week"
    r"|month))|(?P<adverb>daily|weekly|monthly))(?= |$|,)"
)
_PATTERN = {"day": "daily", "morning": "daily", "evening": "daily", "week": "weekly"}
_YEARS = 5
"""A day that is named without its year is looked for so many years ahead; 29 February is in it."""


class Today(NamedTuple):
    """The day it is for the person, and the zone in which it is."""

    date: date
    zone: ZoneInfo


class When(NamedTuple):
    """When something is due, as a tool takes it, and how it repeats (`daily`, ...)."""

    due: str | None
    repeats: str | None


def split_when(text: str, today: Today) -> tuple[str, When]:
    """`text` without the words for a day, a time and a repetition, and what they say.

    Words that name no day, such as February 30, stay where they are. A time alone is today's.
    """
    text, repeats, first = _split_every(text, today.date)
    without_time, at = _split_time(text)
    found, day = _WHEN.search(without_time), None
    if found and (day := _day_named(found["day"].lower(), today.date)):
        without_time = without_time[: found.start()] + without_time[found.end() :]
    day = day or first
    if day is None and at is None:
        return text, When(None, repeats)
    if at is None:
        return without_time, When(day.isoformat() if day else None, repeats)
    instant = datetime.combine(day or today.date, at, today.zone).astimezone(UTC)
    return without_time, When(f"{instant:%Y-%m-%dT%H:%M:%SZ}", repeats)


def _split_every(text: str, today: date) -> tuple[str, str | None, date | None]:
    found = _EVERY_SO_OFTEN.search(text)
    if not found:
        return text, None, None
    rest = text[: found.start()] + text[found.end() :]
    if found["weekday"]:
        return rest, "weekly", _next_weekday(found["weekday"].lower(), today)
    unit = (found["unit"] or found["adverb"]).lower()
    return rest, _PATTERN.get(unit, "monthly" if unit == "month" else unit), None


def _split_time(text: str) -> tuple[str, time | None]:
    found = _TIME_SAID.search(text)
    if not found:
        return text, None
    if found["word"]:
        at = time(12 if found["word"].lower() == "noon" else 0)
    elif found["hour24"]:
        hour, minute = int(found["hour24"]), int(found["minute24"])
        if hour > 23 or minute > 59:
            return text, None
        at = time(hour, minute)
    else:
        hour, minute = int(found["hour"]), int(found["minute"] or 0)
        if not 1 <= hour <= 12 or minute > 59:
            return text, None
        at = time(hour % 12 + (12 if found["half"].lower() == "p" else 0), minute)
    return text[: found.start()] + text[found.end() :], at


def _day_named(words: str, today: date) -> date | None:
    fixed = {"today": 0, "tonight": 0, "tomorrow": 1, "the day after tomorrow": 2, "next week": 7}
    if words in fixed:
        return today + timedelta(fixed[words])
    if counted := re.fullmatch(r"in (\w+) (day|week)s?", words):
        number = _NUMBER_WORDS.get(counted[1]) or int(counted[1])
        return today + timedelta(number * (7 if counted[2] == "week" else 1))
    which, _, weekday = words.rpartition(" ")
    if weekday in WEEKDAYS:
        day = _next_weekday(weekday, today)
        same_week = day.isocalendar()[:2] == today.isocalendar()[:2]
        return day + timedelta(7) if which == "next" and same_week else day
    return _calendar_day(re.sub("(?<=[0-9])[a-z]+|,", "", words), today)


def _next_weekday(weekday: str, today: date) -> date:
    return today + timedelta((WEEKDAYS.index(weekday) - today.weekday()) % 7)


def _calendar_day(words: str, today: date) -> date | None:
    """The day with this date, or the nearest to come with this month and day."""
    for pattern in ("%Y-%m-%d", "%b %d %Y", "%B %d %Y"):
        try:
            return datetime.strptime(words, pattern).replace(tzinfo=UTC).date()
        except ValueError:
            pass
    for year in range(today.year, today.year + _YEARS):
        for pattern in ("%b %d %Y", "%B %d %Y"):
            try:
                day = datetime.strptime(f"{words} {year}", pattern).replace(tzinfo=UTC).date()
            except ValueError:
                continue
            if day >= today:
                return day
    return None
