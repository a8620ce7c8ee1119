"""A file read as whichever form it has. Pure."""

from datetime import datetime, tzinfo
from enum import StrEnum

from backend.tasks.transfer.drafts import Reading
from backend.tasks.transfer.own import read_csv, read_json
from backend.tasks.transfer.tables import HEAD_LINES, decoded
from backend.tasks.transfer.ticktick import read_ticktick
from backend.tasks.transfer.todoist import read_todoist


class Form(StrEnum):
    """Whose file it is."""

    AUTO = "auto"
    CSV = "csv"
    JSON = "json"
    TODOIST = "todoist"
    TICKTICK = "ticktick"


def read_file(
    file: bytes, form: Form, *, zone: tzinfo, now: datetime, project: str | None = None
) -> tuple[Form, Reading]:
    """Whose it is, and what is in it; `project` is for tasks whose file names none.

    Raises:
        Unreadable: it cannot be read as a whole.
    """
    text = decoded(file)
    if form is Form.AUTO:
        form = _form_of(text)
    reading = Reading(zone, now.astimezone(zone).date())
    match form:
        case Form.JSON:
            read_json(text, reading)
        case Form.TODOIST:
            read_todoist(text, reading)
        case Form.TICKTICK:
            read_ticktick(text, reading)
        case _:
            read_csv(text, reading)
    for draft in reading.drafts:
        draft.project = draft.project or project
    reading.close()
    return form, reading


def _form_of(text: str) -> Form:
    if text.lstrip()[:1] in ("{", "["):
        return Form.JSON
    for line in text.lower().split("\n", HEAD_LINES)[:HEAD_LINES]:
        if "list name" in line and "title" in line:
            return Form.TICKTICK
        if "type" in line and "content" in line and "indent" in line:
            return Form.TODOIST
    return Form.CSV
