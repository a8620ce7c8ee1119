"""What a call of the five tools is about: who makes it, and the fields that it gives a task."""

import json
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any, NamedTuple

from backend.agent.said_days import names_a_day, other_than_said
from backend.database import Session
from backend.errors import ProjectNotFound, ValidationFailed
from backend.models import Recurrence, utc_now
from backend.tasks.date_words import understand
from backend.tasks.people import last_zone
from backend.tasks.projects import StoredProject, get_project, list_projects
from backend.tasks.steps import Step, with_titles
from backend.text_search import fold
from backend.time_zones import zone_of

type Given = Mapping[str, Any]
"""Arguments as `read_arguments` leaves them."""
type Fields = dict[str, Any]

DONE = "[x] "
"""Before the title of a step that is done."""
_TICK = re.compile(r"\[(?P<done>[xX ])\]\s*")
_WRITTEN = re.compile(r"\s*[0-9]{4}-[0-9]{2}-[0-9]{2}")
"""Begins a date, or a date and a time, that is not in words."""
_NO_PROJECT = frozenset({"no project", "-", "0"})
_PLAIN_FIELDS = ("title", "description", "due_date", "priority")
_REPEATS = [each.value for each in Recurrence if each is not Recurrence.NONE]
CLEARABLE = {
    "description": "description",
    "due_date": "due_date",
    "priority": "priority",
    "tags": "tags",
    "recurrence": "recurrence_pattern",
    "project": "project_id",
    "steps": "steps",
}
"""What can be cleared, and the field that is put back to its default by it."""


class Caller(NamedTuple):
    """Whose tasks a call is about, and in which transaction it is made."""

    session: Session
    user_id: str
    zone: str | None = None
    """The person's time zone by its name."""
    project_id: int | None = None
    """Where new tasks go: the project of the conversation, if it has one."""
    words: str = ""
    """What the person has just said, where they have, and the model does not insist on its call."""


async def given_fields(caller: Caller, given: Given) -> tuple[Fields, Fields]:
    """The fields of a task in the arguments, but for its steps; not judged yet.

    With what the result says besides: how a date in words was understood.

    Raises:
        ValidationFailed: one cannot be one, or is given and cleared at once.
    """
    fields = {name: given[name] for name in _PLAIN_FIELDS if name in given}
    said: Fields = {}
    if isinstance(due := given.get("due_date"), str):
        if not _WRITTEN.match(due):
            understood = await understand("due_date", due, await here(caller))
            fields["due_date"], said["understood"] = understood
        elif names_a_day(caller.words) and (
            wrong := other_than_said(caller.words, due, await here(caller))
        ):
            raise ValidationFailed(f"due_date: {wrong}")
    if "tags" in given:
        fields["tags"] = _tags_argument(given["tags"])
    if "recurrence" in given:
        if given["recurrence"] not in _REPEATS:
            raise ValidationFailed(f"recurrence: must be one of {', '.join(_REPEATS)}")
        fields["recurrence_pattern"] = given["recurrence"]
    if "project" in given:
        project = await project_of(caller, given)
        fields["project_id"] = project and project.id
    for name in _cleared(given):
        if name in given:
            raise ValidationFailed(f"{name}: is given and cleared at once")
        fields[CLEARABLE[name]] = None
    return fields, said


async def here(caller: Caller) -> datetime:
    """What time it is where the person is."""
    zone = caller.zone or await last_zone(caller.session, caller.user_id)
    return utc_now().astimezone(zone_of(zone))


def _tags_argument(tags: Any) -> list[str]:
    listed = tags.split(",") if isinstance(tags, str) else tags
    if not isinstance(listed, list) or not all(isinstance(tag, str) for tag in listed):
        raise ValidationFailed("tags: must be a list of texts")
    return listed


def _cleared(given: Given) -> list[str]:
    names = given.get("clear", [])
    listed = names.split(",") if isinstance(names, str) else names
    if not isinstance(listed, list) or not all(isinstance(name, str) for name in listed):
        raise ValidationFailed("clear: must be a list of names")
    cleared = [name.strip().lower().replace(" ", "_") for name in listed]
    if wrong := [name for name in cleared if name not in CLEARABLE]:
        raise ValidationFailed(
            f"clear: {wrong[0][:50]} is none of {', '.join(CLEARABLE)}. Nothing was changed."
        )
    return cleared


def are_changes(tags: Sequence[str]) -> bool:
    """Whether tags are to be added and taken away, each with its sign, and not to be all."""
    signed = [tag.strip()[:1] in ("+", "-") for tag in tags]
    return bool(signed) and all(signed)


def with_tags(before: Sequence[str], changes: Sequence[str]) -> list[str]:
    """The tags that a task has after `changes`, such as `+home` and `-work`."""
    tags = dict.fromkeys(before)
    for change in map(str.strip, changes):
        tag = change[1:].strip().lower()
        if change[0] == "-":
            tags.pop(tag, None)
        else:
            tags[tag] = None
    return list(tags)


def given_steps(given: Given, before: Sequence[Step] = ()) -> Fields:
    """The steps in the arguments as a field; one that was there under its title stays it."""
    if "steps" not in given:
        return {}
    steps = given["steps"]
    if not isinstance(steps, list) or not all(isinstance(step, str) for step in steps):
        raise ValidationFailed("steps: must be a list of titles")
    return {"steps": with_titles(before, [_read_step(step) for step in steps if step.strip()])}


def _read_step(text: str) -> tuple[str, bool]:
    marked = _TICK.match(text.strip())
    done = marked is not None and marked["done"] in "xX"
    return text.strip()[marked.end() if marked else 0 :].strip(), done


async def project_of(caller: Caller, given: Given) -> StoredProject | None:
    """The project in the arguments, by its name or id; None where none is meant.

    Raises:
        ValidationFailed: there is none such, or there are several; the model is to ask.
    """
    named = str(given.get("project", "")).strip()
    if not named or fold(named) in _NO_PROJECT:
        return None
    there = await list_projects(caller.session, caller.user_id)
    found = [each for each in there if str(each.id) == named.removeprefix("#")]
    found = found or [each for each in there if fold(each.name) == fold(named)]
    if len(found) == 1:
        return found[0]
    told = json.dumps([[each.id, each.name] for each in found or there[:20]], ensure_ascii=False)
    if found:
        raise ValidationFailed(f"Several projects are called so, as [id, name]: {told}. Ask which.")
    raise ValidationFailed(
        f"There is no such project. Nothing was changed. The person's projects, as [id, name]: "
        f"{told}. Ask which is meant; a new one is made on the page, not here."
    )


async def own_project(caller: Caller) -> int | None:
    """The conversation's project, unless it was deleted since the turn began."""
    if caller.project_id is None:
        return None
    with suppress(ProjectNotFound):
        return (await get_project(caller.session, caller.user_id, caller.project_id)).id
    return None
