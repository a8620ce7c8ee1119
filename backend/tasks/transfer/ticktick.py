"""TickTick's CSV, as its backup makes it: some lines of its own, then the columns. Pure.

A list is a project and a column of it a tag; a task below another is a step of it, and so is each
line of a check list. A rule of repetition is taken where it is one of ours.
"""

import re
from datetime import UTC, datetime

from backend.tasks.transfer.drafts import Draft, Reading, due_of
from backend.tasks.transfer.tables import rows_of
from backend.time_zones import zone_of

_PRIORITY_OF_TICKTICK = {"0": "medium", "": "medium", "1": "low", "3": "medium", "5": "high"}
_STATUS_OF_TICKTICK = {"0": False, "": False, "1": True, "2": True, "-1": True}
_ITEM = re.compile(r"^\s*([▫▪☐☑□■])\s*(.*)$")
_DONE_MARKS = "▪☑■"
_LOST = {"folder name": "the folder of a list", "reminder": "reminders"}
_YES = ("true", "y", "yes", "1")
_OFFSET_OF_TICKTICK = re.compile(r"([+-]\d\d)(\d\d)$")
_INBOX = "inbox"
_PLAIN_RULES = {
    "DAILY": ((), "daily"),
    "WEEKLY": (("BYDAY",), "weekly"),
    "MONTHLY": (("BYMONTHDAY",), "monthly"),
}
"""What a rule may say beside how often, so that the due date says it as well."""


def read_ticktick(text: str, reading: Reading) -> None:
    """Read it.

    Raises:
        Unreadable: it has none of its columns, or its quotes do not match.
    """
    known: dict[str, Draft] = {}
    below: list[tuple[str, Draft]] = []
    for line, cells in rows_of(text, "list name", "title"):
        draft = _task(line, cells, reading)
        if own := (cells.get("taskid") or "").strip():
            known[own] = draft
        if parent := (cells.get("parentid") or "").strip():
            below.append((parent, draft))
        else:
            reading.add(draft)
    for parent, draft in below:
        above = known.get(parent)
        while above is not None and above not in reading.drafts:
            above = next((known.get(over) for over, each in below if each is above), None)
            if above is draft:
                above = None
        if above is None:
            reading.add(draft)
            continue
        reading.step(above, draft.line, draft.title, draft.completed)
        if any((draft.description, draft.due, any(draft.tags), draft.steps)):
            reading.leave_out(draft.line, "date, tags and description of a task below another")


def _task(line: int, cells: dict[str, str], reading: Reading) -> Draft:
    def cell(name: str) -> str:
        return (cells.get(name) or "").strip()

    draft = Draft(line, title=cell("title"), tags=cell("tags").split(","))
    if cell("list name").lower() != _INBOX:
        draft.project = cell("list name") or None
    reading.tag(draft, cell("column name"))
    _content(draft, cells, reading)
    if cell("priority") not in _PRIORITY_OF_TICKTICK:
        reading.fault(line, "Priority", "must be 0, 1, 3 or 5")
    if cell("status") not in _STATUS_OF_TICKTICK:
        reading.fault(line, "Status", "must be 0, 1, 2 or -1")
    draft.priority = _PRIORITY_OF_TICKTICK.get(cell("priority"), "medium")
    draft.completed = _STATUS_OF_TICKTICK.get(cell("status"), False)
    draft.completed_at = _iso(cell("completed time")) if draft.completed else None
    draft.created_at = _iso(cell("created time"))
    for name, what in _LOST.items():
        if cell(name):
            reading.leave_out(line, what)
    if cell("kind").upper() == "NOTE":
        reading.leave_out(line, "that it is a note and no task")
    if cell("status") == "-1":
        reading.leave_out(line, "that it was given up, not done")
    _dates(draft, cells, reading)
    _repeat_by_rule(draft, cell("repeat"), reading)
    return draft


def _content(draft: Draft, cells: dict[str, str], reading: Reading) -> None:
    """What it holds: the items of a check list are steps, the rest is a description."""
    content = (cells.get("content") or "").strip()
    rest = content.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    if (cells.get("is check list") or "").strip().lower() in _YES:
        items = [found for found in map(_ITEM.match, rest) if found]
        for sign, title in (item.groups() for item in items):
            if title.strip():
                reading.step(draft, draft.line, title, sign in _DONE_MARKS)
        rest = [each for each in rest if not _ITEM.match(each)]
    reading.describe(draft, "\n".join(rest).strip())


def _dates(draft: Draft, cells: dict[str, str], reading: Reading) -> None:
    named = (cells.get("timezone") or "").strip()
    zone = zone_of(named) if named else reading.zone
    draft.time_zone = getattr(zone, "key", None)
    begins, ends = (_iso((cells.get(f"{which} date") or "").strip()) for which in ("start", "due"))
    if begins and ends and begins != ends:
        reading.leave_out(draft.line, "when it begins")
    try:
        due = due_of(ends or begins, zone)
    except ValueError as error:
        reading.fault(draft.line, "Due Date", str(error))
        return
    all_day = (cells.get("is all day") or "").strip().lower() in _YES
    if isinstance(due, datetime) and all_day:
        due = due.astimezone(zone).date()
    draft.due = due


def _iso(said: str) -> str:
    """With a colon in the offset, without which not every reader takes it."""
    return _OFFSET_OF_TICKTICK.sub(r"\1:\2", said)


def _repeat_by_rule(draft: Draft, rule: str, reading: Reading) -> None:
    if not rule:
        return
    parts = dict(
        part.split("=", 1) for part in rule.upper().removeprefix("RRULE:").split(";") if "=" in part
    )
    beside, pattern = _PLAIN_RULES.get(parts.pop("FREQ", ""), ((), None))
    parts.pop("WKST", None)
    parts = {name: value for name, value in parts.items() if not name.startswith("TT_")}
    plain = parts.pop("INTERVAL", "1") == "1" and set(parts) <= set(beside)
    if pattern is None or not plain or any("," in value for value in parts.values()):
        reading.leave_out(draft.line, f"the repetition {rule[:80]!r}")
    else:
        draft.recurrence = pattern
        if draft.due is None:
            draft.due = datetime.combine(reading.today, datetime.min.time(), UTC).date()
