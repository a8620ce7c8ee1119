"""Sentences about tags, repeats, projects, steps and dates that go, and lists that are filtered."""

import re
from typing import Any

from backend.agent.models.sentences.days import Today, split_when
from backend.agent.models.sentences.targets import STOPS, Request, capital, read_target

_DATE = r"(?:due )?(?:dates?|deadline)"
_FIELD_NAMES = {
    "date": "due_date",
    "deadline": "due_date",
    "description": "description",
    "note": "description",
    "tag": "tags",
    "priority": "priority",
    "repeat": "recurrence",
    "recurrence": "recurrence",
    "step": "steps",
    "project": "project",
}
_FIELD = rf"(?P<field>{_DATE}|description|notes?|tags|priority|repeat|recurrence|steps|project)"
_GONE = r"(?: any ?more| any longer)?"
_EVERY_FIELD = r"(?P<every>(?:every|each) .+|daily|weekly|monthly)"
_UPDATES = (
    r"(?:tag|label) (?P<target>.+?) (?:with|as) (?P<tags>.+)",
    r"(?:add|put) (?:the )?tags? (?P<tags>.+?) (?:to|on) (?P<target>.+)",
    r"(?:remove|take|delete) (?:the )?tags? (?P<untag>.+?) (?:from|off) (?P<target>.+)",
    rf"(?:remove|clear|delete|drop) (?:the )?{_FIELD} (?:of|from|for|on) (?P<target>.+)",
    rf"(?:the )?(?P<target>.+?) (?:has|needs?) no (?P<field>{_DATE}|repeat|tags|steps)(?:ing)?"
    rf"{_GONE}(?:, .+)?",
    r"stop (?P<field>repeat)ing (?P<target>.+)",
    rf"make (?P<target>.+?) repeat {_EVERY_FIELD}",
    rf"repeat (?P<target>.+?) {_EVERY_FIELD}",
    r"(?:move|put) (?P<target>.+?) (?:to|into|in) (?:the )?project (?P<project>.+)",
    r"(?:move|put) (?P<target>.+?) (?:to|into|in) the (?P<project>.+) project",
    r"take (?P<target>.+?) out of (?:its|the) (?P<field>project)",
    r"(?:break|split) (?P<target>.+?)(?: down| up)? into(?: steps:?)? (?P<steps>.+)",
)
_ASKED = r"(?:show|list|view|see|give me|tell me|what|which|how many|do i have)\b.*?\b"
_LISTS = (
    rf"{_ASKED}(?P<priority>high|medium|low)[- ]priority\b.*",
    rf"{_ASKED}(?:tagged|labelled|with (?:the )?tag) (?:with |as )?[\"'#]?(?P<tag>[\w-]+)[\"']?",
    rf"{_ASKED}(?P<undated>(?:without|with no|have no|has no)) (?:a |any )?{_DATE}",
    rf"{_ASKED}due (?P<how>before|by|until|on) (?P<when>.+)",
    rf"{_ASKED}(?:tasks|list|to-?dos) (?P<sort>(?:sorted |ordered )?by {_DATE})",
    r"(?:do i have |is there |show )?(?:anything|any tasks?|something) about (?P<search>.+)",
    rf"{_ASKED}(?:tasks|to-?dos) (?:in|of) (?:the )?project (?P<project>.+)",
    rf"{_ASKED}(?:tasks|to-?dos) (?:in|of) the (?P<project>.+) project",
)
_TAGGED = re.compile(r"(?i),? (?:and )?tag(?:ged)? (?:it )?(?:with |as )?(?P<tags>[\w, -]+)$")
_IN_PROJECT = re.compile(
    r"(?i) (?:to|in|into) (?:the )?(?:project (?P<project>[\w -]+)|(?P<project2>[\w-]+) project)$"
)
_STEPS_SAID = re.compile(r"(?i),? (?:with|in) (?:the )?steps:? (?P<steps>.+)$")
_APART = re.compile(r",? and |, ?| & ")


def read_fields(asked: str, today: Today) -> Request | None:
    """The request of a sentence of that kind; None where it is of another."""
    for pattern in _UPDATES:
        if found := re.fullmatch(pattern, asked, re.IGNORECASE):
            target = read_target(found["target"])
            args = _change_of_field(found.groupdict(), today)
            return Request("update_task", args, target) if target and args else None
    for pattern in _LISTS:
        if found := re.fullmatch(pattern, asked, re.IGNORECASE):
            args = _filters(found.groupdict(), today)
            return Request("list_tasks", args) if args else None
    return None


def _change_of_field(parts: dict[str, str | None], today: Today) -> dict[str, Any] | None:
    match {name: value for name, value in parts.items() if value and name != "target"}:
        case {"tags": tags}:
            return {"tags": [f"+{tag}" for tag in _tags_said(tags)]}
        case {"untag": tags}:
            return {"tags": [f"-{tag}" for tag in _tags_said(tags)]}
        case {"field": field}:
            word = field.lower().split()[-1]
            return {"clear": [_FIELD_NAMES.get(word) or _FIELD_NAMES[word.rstrip("s")]]}
        case {"every": every}:
            rest, when = split_when(every, today)
            if rest.strip(STOPS) or when.repeats is None:
                return None
            due = {"due_date": when.due} if when.due else {}
            return {"recurrence": when.repeats} | due
        case {"project": project}:
            return {"project": capital(project)}
        case {"steps": steps}:
            return {"steps": _parts(steps)}
    return None


def _filters(parts: dict[str, str | None], today: Today) -> dict[str, Any] | None:
    status = {"status": "pending"}
    match {name: value for name, value in parts.items() if value}:
        case {"how": how, "when": words}:
            rest, when = split_when(words, today)
            if rest.strip(STOPS) or when.due is None:
                return None
            how = {"before": "before ", "on": ""}.get(how.lower(), "by ")
            return status | {"due": how + when.due[:10]}
        case {"undated": _}:
            return status | {"due": "no date"}
        case {"sort": _}:
            return status | {"sort": "due"}
        case {"search": words}:
            return {"status": "all", "search": words.strip(STOPS)}
        case {"project": name}:
            return status | {"project": capital(name)}
        case {"priority": word} | {"tag": word} as given:
            return status | {next(iter(given)): word.lower()}
    return None


def split_fields(phrase: str) -> tuple[str, dict[str, Any]]:
    """A new task without the words for its tags, its project and its steps, and what they say."""
    fields: dict[str, Any] = {}
    if found := _STEPS_SAID.search(phrase):
        phrase, fields["steps"] = phrase[: found.start()], _parts(found["steps"])
    if found := _TAGGED.search(phrase):
        phrase, fields["tags"] = phrase[: found.start()], _tags_said(found["tags"])
    if found := _IN_PROJECT.search(phrase):
        named = found["project"] or found["project2"]
        phrase, fields["project"] = phrase[: found.start()], capital(named)
    return phrase, fields


def _tags_said(text: str) -> list[str]:
    return [tag.strip(" \"'#").lower() for tag in _APART.split(text) if tag.strip(" \"'#")]


def _parts(text: str) -> list[str]:
    return [capital(part) for part in _APART.split(text) if part.strip(STOPS)]
