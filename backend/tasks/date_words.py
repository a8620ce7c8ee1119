"""Dates in a person's words: `next friday 5pm`, `in two weeks`, `morgen`.

`dateparser` reads them, the next such day where there are several. It guesses where it does not
understand: it drops the 5 of `tomorrow at 5` and finds a day in `may`. So what it has made of a
text is held against the text, as it has put that into English: each word and each number of it
must be found in the date, or nothing is taken.
"""

import asyncio
import re
from calendar import monthrange
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, time, timedelta
from functools import cache
from typing import Any, NamedTuple

from backend.errors import ValidationFailed
from backend.tasks.dates import WEEKDAYS

WORDS_MAX = 60
"""Characters of a date in words; the library's time grows with them."""
_SECONDS_MAX = 5.0
_LANGUAGES = [
    "en",
    "de",
    "es",
    "fr",
    "it",
    "pt",
    "nl",
    "ur",
    "zh",
    "hi",
    "ar",
    "tr",
    "pl",
    "ru",
    "ja",
]
_MONTHS = (
    *("january", "february", "march", "april", "may", "june"),
    *("july", "august", "september", "october", "november", "december"),
)
_A_WEEKDAY, _A_MONTH, _A_UNIT = "|".join(WEEKDAYS), "|".join(_MONTHS), "day|week|month|year"
_HOUR = re.compile(r"\b(\d{1,2})(?:[:.](\d{2}))? ?(?:uhr|h)\b")
_LATE_HOUR = re.compile(r"\b(?:at|um|à|a las|às|alle|om) (1[3-9]|2[0-3])(?![\d:.])")
"""One that no other half of the day has."""
_TIME_OF_DAY = re.compile(
    r"(?<![\d.:/-])(?P<hour>\d{1,2})(?::(?P<minute>\d{2}))?"
    r"(?: ?(?P<half>[ap]m)\b|(?<=:\d\d)(?![\d:]))"
)
_PART = re.compile(r"\b(?:morning|afternoon|evening|night)\b")
_SPAN = re.compile(r"(?:in )?(?:(?P<hours>\d{1,3}) hour)?(?: ?(?P<minutes>\d{1,4}) minute)?")
_COUNTED = re.compile(
    rf"in (?P<n>\d{{1,4}}) (?P<unit>{_A_UNIT})"
    rf"|(?P<n2>\d{{1,4}}) (?P<unit2>{_A_UNIT}) (?P<way>in|ago)"
)
_WEEKDAY = re.compile(rf"(?:(?:next|this) )?(?P<weekday>{_A_WEEKDAY})")
_CALENDAR = re.compile(
    rf"(?:(?P<weekday>{_A_WEEKDAY}),? )?(?:(?P<day>\d{{1,2}})\.? (?P<month>{_A_MONTH})"
    rf"|(?P<month2>{_A_MONTH}) (?P<day2>\d{{1,2}}))(?:,? (?P<year>\d{{4}}))?"
)
_DATE_IN_NUMBERS = re.compile(
    r"(?P<year>\d{4})[-/](?P<month>\d{1,2})[-/](?P<day>\d{1,2})"
    r"|(?P<day2>\d{1,2})\.(?P<month2>\d{1,2})\.(?P<year2>\d{4})"
    r"|(?P<first>\d{1,2})/(?P<second>\d{1,2})/(?P<year3>\d{4})"
)
_YEARS = 8
"""A day without its year is looked for so many years ahead; a 29 February is always among them."""


class Understood(NamedTuple):
    """What words mean; `due` is a date, or an instant in UTC where they name an hour."""

    due: date
    told: str
    """The same for a person to read, with the words themselves."""


class NotUnderstood(ValueError):
    """Nothing is taken; `part` is what could not be read, the whole text at the most."""

    def __init__(self, part: str) -> None:
        super().__init__(part)
        self.part = part


async def understand(field: str, text: str, now: datetime) -> Understood:
    """What `text` means at `now`, which is in the person's zone; read off the event loop.

    Raises:
        ValidationFailed: it is not understood as a whole; it says of `field` what is not.
    """
    said = " ".join(text.split())
    if len(said) > WORDS_MAX:
        raise ValidationFailed(f"{field}: must be a date, {WORDS_MAX} characters at most")
    try:
        async with asyncio.timeout(_SECONDS_MAX):
            return await asyncio.get_running_loop().run_in_executor(_reader(), read, said, now)
    except NotUnderstood as error:
        whole = "" if error.part == said else f' in "{said}"'
        unread = f'"{error.part}"{whole} was not understood'
    except TimeoutError:
        unread = "the date could not be read in time"
    raise ValidationFailed(
        f"{field}: {unread}. Nothing was changed. It must be a date such as 2026-01-31, a date and "
        "a time, or words that say exactly which day, and which hour if any."
    )


@cache
def _reader() -> ThreadPoolExecutor:
    """One thread, since the library's tables are nobody else's affair meanwhile."""
    return ThreadPoolExecutor(1, thread_name_prefix="dates")


def read(text: str, now: datetime) -> Understood:
    """What `text` means at `now`, which is in the person's zone.

    Raises:
        NotUnderstood: not every part of it can be accounted for.
    """
    plain = _LATE_HOUR.sub(r"\1:00", _HOUR.sub(_clock, text.lower().strip(" .,;!?")))
    local = now.replace(tzinfo=None, second=0, microsecond=0)
    found, english = _parse(plain, local)
    rest, at = _split_time(" ".join(english.split()), text)
    rest = " ".join(_PART.sub("", rest).split()).strip(" ,.")
    if found is None and not _CALENDAR.fullmatch(rest):
        raise NotUnderstood(text)
    if at is None and rest and (span := _SPAN.fullmatch(rest)) and span[0]:
        return _understood_as(text, _after(span, now), now)
    day = _day_meant(rest, local.date(), found, text, timed=at is not None)
    if at is None:
        return _understood_as(text, day, now)
    if found is not None and found.time() != at:
        raise NotUnderstood(text)
    return _understood_as(text, _instant(day, at, now), now)


def _clock(found: re.Match[str]) -> str:
    return f"{found[1]}:{found[2] or '00'}"


def _parse(text: str, local: datetime) -> tuple[datetime | None, str]:
    """What the library finds, and the text in its English."""
    # half a second and 30 MB, when it is needed first
    from dateparser.conf import settings  # type: ignore[import-untyped]
    from dateparser.date import DateDataParser, sanitize_date  # type: ignore[import-untyped]
    from dateparser.languages.loader import default_loader  # type: ignore[import-untyped]

    wanted: dict[str, Any] = {
        "PREFER_DATES_FROM": "future",
        "RELATIVE_BASE": local,
        "RETURN_TIME_AS_PERIOD": True,
        "PARSERS": ["relative-time", "absolute-time"],
    }
    parser = DateDataParser(languages=_LANGUAGES, settings=wanted, try_previous_locales=False)
    found = parser.get_date_data(text)
    if found.date_obj is None or found.locale is None:
        return None, text
    locale = default_loader.get_locale(found.locale)
    english = locale.translate(sanitize_date(text), keep_formatting=False, settings=settings)
    return found.date_obj.replace(tzinfo=None), english


def _split_time(english: str, text: str) -> tuple[str, time | None]:
    found = list(_TIME_OF_DAY.finditer(english))
    if not found:
        return english, None
    if len(found) > 1:
        raise NotUnderstood(text)
    hour, minute, half = int(found[0]["hour"]), int(found[0]["minute"] or 0), found[0]["half"]
    if minute > 59 or hour > 23 or (half and not 1 <= hour <= 12):
        raise NotUnderstood(found[0][0])
    if half:
        hour = hour % 12 + (12 if half == "pm" else 0)
    return english[: found[0].start()] + " " + english[found[0].end() :], time(hour, minute)


def _after(span: re.Match[str], now: datetime) -> datetime:
    elapsed = timedelta(hours=int(span["hours"] or 0), minutes=int(span["minutes"] or 0))
    return (now.astimezone(UTC) + elapsed).replace(second=0, microsecond=0)


def _day_meant(
    english: str, today: date, found: datetime | None, text: str, *, timed: bool
) -> date:
    """The day that `english` names, which must be the one that was found.

    Raises:
        NotUnderstood: it names none, or another.
    """
    day = None if found is None else found.date()
    if not english and timed and day in (today, today + timedelta(1)):
        return day
    if counted := _COUNTED.fullmatch(english):
        expected = _counted_day(counted, today)
    elif weekday := _WEEKDAY.fullmatch(english):
        near = day is not None and today <= day <= today + timedelta(7)
        same = day is not None and WEEKDAYS[day.weekday()] == weekday["weekday"]
        expected = day if near and same else None
    elif named := _CALENDAR.fullmatch(english):
        expected = next(_calendar_days(named, today), None)
        day = expected if day is None or named["year"] is None else day
    elif numbers := _DATE_IN_NUMBERS.fullmatch(english):
        expected = _in_numbers(numbers)
    else:
        raise NotUnderstood(_unread(english, text))
    if expected is None or expected != day:
        raise NotUnderstood(text)
    return expected


def _unread(english: str, text: str) -> str:
    """The words that are of no day, where they stand in the text; else all of it."""
    known = {*WEEKDAYS, *_MONTHS, "next", "this", "in", "day", "week", "month", "year", "ago"}
    strange = [word for word in english.split() if word not in known]
    named = re.sub(r"\d+(?= (?:day|week|month|year)s?\b)", "", english).split()
    part = " ".join(word for word in strange if word in named)
    return part if part and part in text.lower() else text


def _counted_day(found: re.Match[str], today: date) -> date | None:
    number = int(found["n"] or found["n2"]) * (-1 if found["way"] == "ago" else 1)
    unit = found["unit"] or found["unit2"]
    try:
        if unit in ("day", "week"):
            return today + timedelta(number * (7 if unit == "week" else 1))
        months = today.year * 12 + today.month - 1 + number * (12 if unit == "year" else 1)
        year, month = divmod(months, 12)
        return date(year, month + 1, min(today.day, monthrange(year, month + 1)[1]))
    except (ValueError, OverflowError):
        return None


def _calendar_days(found: re.Match[str], today: date) -> Iterator[date]:
    """The days with this date, or with this month and day from today on."""
    month = _MONTHS.index(found["month"] or found["month2"]) + 1
    day = int(found["day"] or found["day2"])
    years = [int(found["year"])] if found["year"] else range(today.year, today.year + _YEARS + 1)
    for year in years:
        try:
            named = date(year, month, day)
        except ValueError:
            continue
        weekday = found["weekday"]
        if not found["year"] and named < today:
            continue
        yield from [named] if not weekday or WEEKDAYS[named.weekday()] == weekday else []
        return


def _in_numbers(found: re.Match[str]) -> date | None:
    """A date in numbers; one that is two days, by who reads it, is none."""
    if found["first"]:
        first, second = int(found["first"]), int(found["second"])
        if first != second and first <= 12 and second <= 12:
            return None
        month, day = min(first, second), max(first, second)
        if first == second:
            month = day = first
    else:
        month, day = int(found["month"] or found["month2"]), int(found["day"] or found["day2"])
    try:
        return date(int(found["year"] or found["year2"] or found["year3"]), month, day)
    except ValueError:
        return None


def _instant(day: date, at: time, now: datetime) -> datetime:
    try:
        return datetime.combine(day, at, now.tzinfo).astimezone(UTC)
    except OverflowError:
        raise NotUnderstood(f"{day}") from None


def _understood_as(text: str, due: date, now: datetime) -> Understood:
    if not isinstance(due, datetime):
        return Understood(due, f'"{text}" as {due:%A} {due.isoformat()}')
    local = due.astimezone(now.tzinfo)
    return Understood(due, f'"{text}" as {local:%A} {local:%Y-%m-%d %H:%M}, {now.tzinfo}')
