"""Whether a due date is a day that the person's words name, where they surely name one. Pure.

Small models are told what day it is and cannot count from it: of "tomorrow" they make some day
of the week, and call it tomorrow. Only plain English words count here; what they do not name is
nothing to object to.
"""

import re
from datetime import date, datetime, timedelta

from backend.tasks.dates import WEEKDAYS

_FROM_TODAY = {"today": 0, "tonight": 0, "tomorrow": 1}
_NUMBERS = {"a": 1, "one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7}
_DAY = re.compile(
    rf"(?i)\b(?:(?P<near>{'|'.join(_FROM_TODAY)})|(?P<weekday>{'|'.join(WEEKDAYS)})"
    rf"|in (?P<number>\d{{1,3}}|{'|'.join(_NUMBERS)}) (?P<unit>day|week)s?)\b"
)
_UNSURE = re.compile(
    r"(?i)\b(?:after|ago|before|but|except|from|instead|last|later|months?|next week|not|past|since"
    r"|until|was|weekend|years?|january|february|march|april|may|june|july|august|september|october"
    r"|november|december)\b|n't\b|\d{4}|\d(?:st|nd|rd|th)\b|\d[./-]\d"
)
"""With one of these a day may be counted from another, be one that was, or not be meant."""


def names_a_day(text: str) -> bool:
    return _DAY.search(text) is not None and _UNSURE.search(text) is None


def days_named(text: str, today: date) -> dict[date, str]:
    """The days that `text` names, with the words for each; none where it could name others.

    A weekday is the coming one, today as well, or the one a week after.
    """
    days: dict[date, str] = {}
    for found in _DAY.finditer(text) if names_a_day(text) else ():
        if weekday := found["weekday"]:
            first = today + timedelta((WEEKDAYS.index(weekday.lower()) - today.weekday()) % 7)
            days |= {first: found[0], first + timedelta(7): found[0]}
        elif near := found["near"]:
            days[today + timedelta(_FROM_TODAY[near.lower()])] = found[0]
        else:
            number = _NUMBERS.get(found["number"].lower()) or int(found["number"])
            week = 7 if found["unit"].lower() == "week" else 1
            days[today + timedelta(number * week)] = found[0]
    return days


def other_than_said(text: str, due: str, now: datetime) -> str | None:
    """What is wrong with `due`, a date in digits, where it is none of the days that were said.

    `now` is where the person is. None where there is nothing to object to.
    """
    named = days_named(text, now.date())
    try:
        at = datetime.fromisoformat(due.strip())
    except ValueError:
        return None
    meant = {at.date()}
    if at.tzinfo is not None:
        meant.add(at.astimezone(now.tzinfo).date())
    if not named or meant & named.keys():
        return None
    day, words = next(iter(named.items()))
    return (
        f'the person said "{words}", which is {day:%A} {day}, and this is {at:%A} {at:%Y-%m-%d}. '
        f"Nothing was changed. Make the call again with due_date {day}."
    )
