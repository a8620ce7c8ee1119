"""Todoist's CSV: of a project that is exported as a template, and of a backup. Pure.

Its columns are TYPE, CONTENT, DESCRIPTION, PRIORITY, INDENT, AUTHOR, RESPONSIBLE, DATE, DATE_LANG,
TIMEZONE, and since 2024 DURATION, DURATION_UNIT, DEADLINE, DEADLINE_LANG. What is one deeper than
another task is a step of it; a section's name is a tag; a comment is part of the description.
"""

import re
from datetime import UTC, date, datetime, time, timedelta, tzinfo

from backend.tasks.dates import WEEKDAYS
from backend.tasks.transfer.drafts import Draft, Reading, due_of
from backend.tasks.transfer.tables import rows_of
from backend.time_zones import zone_of

SAID_MAX = 60
"""Characters of a date that is understood."""

_PRIORITY_OF_TODOIST = {"1": "high", "2": "high", "3": "medium", "4": "medium", "": "medium"}
_LABEL = re.compile(r"(?:^|(?<=\s))@([^\s@]+)")
_LOST = {
    "responsible": "who is responsible",
    "duration": "how long it takes",
    "deadline": "a deadline beside the date",
    "attachments": "attachments",
}
_EVERY_OF_TODOIST = {
    **dict.fromkeys(("every day", "everyday", "daily", "every! day", "ev day"), "daily"),
    **dict.fromkeys(("every week", "weekly", "every! week", "ev week"), "weekly"),
    **dict.fromkeys(("every month", "monthly", "every! month", "ev month"), "monthly"),
    **{f"every {day}": "weekly" for day in (*WEEKDAYS, *(day[:3] for day in WEEKDAYS))},
}
_TIME_AT_END = re.compile(r"^(.*?)[ ,]*(?:at |@ ?)?\b(\d{1,2})(?::(\d\d))?(?::\d\d)? ?([ap]m)?$")
_DATE_FORMS = ("%b %d %Y", "%d %b %Y", "%B %d %Y", "%d %B %Y", "%d/%m/%Y", "%Y/%m/%d")


def read_todoist(text: str, reading: Reading, project: str | None = None) -> None:
    """Read it; its tasks belong to `project`, which the file does not name.

    Raises:
        Unreadable: it has none of its columns, or its quotes do not match.
    """
    section, above, last = "", None, None
    for line, cells in rows_of(text, "type", "content"):
        content = (cells.get("content") or "").strip()
        match (cells.get("type") or "").strip().lower():
            case "section":
                section, above, last = content, None, None
            case "task":
                last = _task(line, cells, content, reading)
                if above is not None and (cells.get("indent") or "1").strip() not in ("", "1"):
                    _below(last, above, reading)
                    continue
                last.project = project
                reading.tag(last, section)
                above = reading.add(last)
            case "note" if above is not None:
                reading.describe(above, content)
            case "note":
                reading.leave_out(line, "a comment on a section or the project")
            case "meta" | "":
                pass
            case other:
                reading.fault(line, "TYPE", f"must be task, section or note, not {other[:20]!r}")


def _task(line: int, cells: dict[str, str], content: str, reading: Reading) -> Draft:
    draft = Draft(line, title=_LABEL.sub("", content).strip() or content)
    draft.tags = _LABEL.findall(content)
    draft.tags += [label.strip().lstrip("@") for label in re.split("[,;]", cells.get("labels", ""))]
    reading.describe(draft, (cells.get("description") or "").strip())
    priority = (cells.get("priority") or "").strip()
    if priority not in _PRIORITY_OF_TODOIST:
        reading.fault(line, "PRIORITY", "must be 1, 2, 3 or 4")
    draft.priority = _PRIORITY_OF_TODOIST.get(priority, "medium")
    for name, what in _LOST.items():
        if (cells.get(name) or "").strip() not in ("", "None"):
            reading.leave_out(line, what)
    named = (cells.get("timezone") or "").strip()
    zone = zone_of(named) if named else reading.zone
    draft.time_zone = getattr(zone, "key", None)
    said = (cells.get("date") or "").strip()
    if said and not _date(draft, said, zone, reading):
        reading.leave_out(line, f"the date {said[:50]!r}, which is said in words")
    return draft


def _below(draft: Draft, above: Draft, reading: Reading) -> None:
    """Make a step of it, which has a title and nothing else."""
    reading.step(above, draft.line, draft.title, draft.completed)
    if any((draft.description, draft.due, any(draft.tags), draft.recurrence != "none")):
        reading.leave_out(draft.line, "date, labels and description of a task below another")


def _date(draft: Draft, said: str, zone: tzinfo, reading: Reading) -> bool:
    """Whether the date is understood, which is then the draft's."""
    if len(said) > SAID_MAX:
        return False
    words = " ".join(said.lower().replace(",", " ").split())
    day, at = _split(words)
    for part, hour in ((words, None), (day, at)):
        if part in _EVERY_OF_TODOIST:
            draft.recurrence = _EVERY_OF_TODOIST[part]
            draft.due = _on(_next_day_due(part, reading.today), hour, zone)
            return True
        if found := _todoist_day(part):
            draft.due = _on(found, hour, zone)
            return True
    try:
        draft.due = due_of(said, zone)
    except ValueError:
        return False
    return True


def _split(words: str) -> tuple[str, time | None]:
    found = _TIME_AT_END.match(words)
    if not found:
        return words, None
    day, hour, minute, half = found.groups()
    number = int(hour)
    if half:
        number = number % 12 + (12 if half == "pm" else 0)
    elif minute is None:
        return words, None
    try:
        return day.strip(), time(number, int(minute or 0))
    except ValueError:
        return words, None


def _todoist_day(words: str) -> date | None:
    for form in ("%Y-%m-%d", *_DATE_FORMS):
        try:
            return datetime.strptime(words, form).replace(tzinfo=UTC).date()
        except ValueError:
            continue
    return None


def _next_day_due(every: str, today: date) -> date:
    """The first day on which it is due, from today on."""
    for number, name in enumerate(WEEKDAYS):
        if every.removeprefix("every ") in (name, name[:3]):
            return today + timedelta(days=(number - today.weekday()) % 7)
    return today


def _on(day: date, at: time | None, zone: tzinfo) -> date:
    if at is None:
        return day
    try:
        return datetime.combine(day, at, zone).astimezone(UTC)
    except OverflowError:
        return day
