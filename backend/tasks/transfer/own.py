"""Our own forms, CSV and JSON: what goes out comes in again as it was. Pure."""

import json
from collections.abc import Mapping
from typing import Any

from backend.schemas.fields import iso_utc
from backend.tasks.dates import due_text
from backend.tasks.stored import StoredTask
from backend.tasks.transfer.drafts import Draft, Reading, Unreadable, due_of
from backend.tasks.transfer.tables import plain, rows_of
from backend.time_zones import zone_of

COLUMNS = (
    *("title", "description", "completed", "completed_at", "priority", "due_date", "tags"),
    *("project", "steps", "recurrence_pattern", "time_zone", "created_at"),
)
_TRUE, _FALSE = ("true", "yes", "1", "x"), ("false", "no", "0", "")
DONE, OPEN = "[x] ", "[ ] "


def as_object(task: StoredTask, project: str | None) -> dict[str, Any]:
    """A task as our JSON has it."""
    return {
        "title": task.title,
        "description": task.description,
        "completed": task.completed,
        "completed_at": iso_utc(task.completed_at),
        "priority": task.priority.value,
        "due_date": due_text(task.due),
        "tags": task.tags,
        "project": project,
        "steps": [{"title": step["title"], "done": step["done"]} for step in task.steps],
        "recurrence_pattern": task.recurrence_pattern.value,
        "time_zone": task.time_zone,
        "created_at": iso_utc(task.created_at),
    }


def as_cells(task: StoredTask, project: str | None) -> list[str]:
    """A task as our CSV has it, in the order of `COLUMNS`."""
    values = as_object(task, project)
    values["completed"] = "true" if task.completed else "false"
    values["tags"] = _as_list(task.tags)
    values["steps"] = _as_lines(values["steps"])
    return ["" if values[name] is None else str(values[name]) for name in COLUMNS]


def _as_list(tags: list[str]) -> str:
    """Tags with commas between them, where that tells them apart."""
    if any("," in tag or tag.startswith(("[", "'")) for tag in tags):
        return json.dumps(tags, ensure_ascii=False)
    return ", ".join(tags)


def _as_lines(steps: list[dict[str, Any]]) -> str:
    """A line for each step, where that tells them apart."""
    if any(set("\r\n") & set(step["title"]) for step in steps):
        return json.dumps(steps, ensure_ascii=False)
    return "\n".join((DONE if step["done"] else OPEN) + step["title"] for step in steps)


def read_csv(text: str, reading: Reading) -> None:
    """Read our CSV, or one of a spreadsheet that has some of its columns.

    Raises:
        Unreadable: it has no column of titles, or its quotes do not match.
    """
    for line, cells in rows_of(text, "title"):
        values = {name: plain(cells.get(name) or "") for name in COLUMNS}
        for name in sorted(cells.keys() - set(COLUMNS)):
            if cells[name].strip():
                reading.leave_out(line, f"column {name[:50]!r}")
        draft = _draft(line, values, reading)
        draft.completed = _yes(values["completed"], line, reading)
        draft.tags = _tags_of_cell(values["tags"])
        for title, done in _steps(values["steps"]):
            reading.step(draft, line, title, done)
        reading.add(draft)


def _yes(cell: str, line: int, reading: Reading) -> bool:
    word = cell.strip().lower()
    if word not in _TRUE + _FALSE:
        reading.fault(line, "completed", "must be true or false")
    return word in _TRUE


def _tags_of_cell(cell: str) -> list[str]:
    if cell.startswith("["):
        listed = _json(cell)
        if isinstance(listed, list) and all(isinstance(tag, str) for tag in listed):
            return listed
    return cell.split(",")


def _steps(cell: str) -> list[tuple[str, bool]]:
    listed = _json(cell) if cell.startswith("[{") else None
    if isinstance(listed, list) and all(isinstance(step, dict) for step in listed):
        return [(str(step.get("title", "")), step.get("done") is True) for step in listed]
    lines = (line for line in cell.splitlines() if line.strip())
    return [
        (line[len(DONE) :], line.lower().startswith(DONE))
        if line.lower().startswith((DONE, OPEN))
        else (line, False)
        for line in lines
    ]


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def read_json(text: str, reading: Reading) -> None:
    """Read our JSON, a list of such tasks, or the download of a whole account.

    Raises:
        Unreadable: it is no JSON, or has no list of tasks.
    """
    try:
        whole = json.loads(text)
    except (ValueError, RecursionError) as error:
        line = getattr(error, "lineno", 1)
        raise Unreadable(f"line {line}: not JSON") from None
    tasks = whole.get("tasks") if isinstance(whole, dict) else whole
    if not isinstance(tasks, list):
        raise Unreadable("it has no list of tasks")
    named = _projects_by_id(whole)
    for number, each in enumerate(tasks, 1):
        if not isinstance(each, dict):
            reading.fault(number, "task", "must be an object")
            continue
        number_of = each.get("project_id")
        known = named.get(number_of) if isinstance(number_of, int) else None
        values = {**each, "project": each.get("project") or known}
        draft = _draft(number, values, reading)
        draft.completed = each.get("completed") is True
        draft.tags = each.get("tags") or []
        steps = each.get("steps")
        for step in steps if isinstance(steps, list) else []:
            part = step if isinstance(step, dict) else {}
            reading.step(draft, number, part.get("title", ""), part.get("done") is True)
        reading.add(draft)


def _projects_by_id(whole: object) -> Mapping[object, str]:
    listed = whole.get("projects") if isinstance(whole, dict) else None
    return {
        each["id"]: each["name"]
        for each in (listed if isinstance(listed, list) else [])
        if isinstance(each, dict)
        and isinstance(each.get("id"), int)
        and isinstance(each.get("name"), str)
    }


def _draft(line: int, values: Mapping[str, Any], reading: Reading) -> Draft:
    """What both forms have in common."""
    draft = Draft(
        line,
        title=values.get("title") or "",
        description=values.get("description") or "",
        priority=values.get("priority") or "medium",
        recurrence=values.get("recurrence_pattern") or "none",
        project=values.get("project") or None,
        completed_at=values.get("completed_at"),
        created_at=values.get("created_at"),
    )
    if isinstance(draft.priority, str):
        draft.priority = draft.priority.strip().lower()
    if isinstance(draft.recurrence, str):
        draft.recurrence = draft.recurrence.strip().lower()
    name = values.get("time_zone")
    if isinstance(name, str) and name:
        draft.time_zone = getattr(zone_of(name), "key", None)
        if draft.time_zone is None:
            reading.leave_out(line, "time zone that is not known")
    try:
        draft.due = due_of(
            values.get("due_date"), zone_of(draft.time_zone) if draft.time_zone else reading.zone
        )
    except ValueError as error:
        reading.fault(line, "due_date", str(error))
    return draft
