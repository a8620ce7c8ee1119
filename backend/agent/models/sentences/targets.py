"""What a request is, and which tasks the words for them mean."""

import re
from typing import Any, NamedTuple

STOPS = " .,;:!?…"
_NUMBER = re.compile(r"(?i)(?:the )?(?:task |number |no\. |id )*#? ?([0-9]{1,18})")
_IT = re.compile(r"(?i)it|this|that|the task|(?:this|that) (?:one|task)")
_PLACES = ("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth")
_NTH = re.compile(rf"(?i)(?:the |my )?(?P<place>{'|'.join(_PLACES)}|last)(?: (?:one|task|item))?")
_EVERY_TASK = re.compile(
    r"(?i)(?:all|every|each)(?: of)?(?: (?:them|it))?(?: (?:the|my))?"
    r"(?: (?P<status>open|pending|completed|done|finished))?(?: (?:tasks?|to-?dos?|items?|ones?))?"
    r"|(?:my |the )?(?P<alone>open|pending|completed|done|finished) (?:tasks|to-?dos|items|ones)"
    r"|(?:my |the )?(?:whole |entire )?(?:list|tasks)|everything"
)
_SEVERAL_SAID = re.compile(r"(?i)(?:all|every|each|both|them|these|those)\b|everything|.* tasks$")
_STATUS_SAID = {"open": "pending", "pending": "pending", "": "all"}
_IGNORED = {"the", "a", "an", "my", "task", "todo", "one", "called", "named", "about", "please"}
_TASK_NUMBERS = re.compile(
    r"(?i)(?:the )?(?:tasks?|numbers?) #?[0-9]{1,18}"
    r"(?:(?:, ?| and |, and | & )(?:task )?#?[0-9]{1,18})+"
)
_ALL = r"(?i)(?:all |every )?(?:of )?(?:my |the )?"
_OVERDUE_TASKS = re.compile(
    _ALL + r"(?P<when>(?P<late>overdue|late)|today['’]?s) (?:tasks|to-?dos|ones)"
)
_TAGGED = re.compile(
    _ALL + r"(?:tasks|to-?dos|ones|everything) (?:tagged|labelled|with (?:the )?tag) (?:with |as )?"
    r"[\"'#]?(?P<tag>[\w-]+)[\"']?"
)
_OF_PRIORITY = re.compile(_ALL + r"(?P<level>high|low|medium)[- ]priority (?:tasks|to-?dos|ones)")


class Named(NamedTuple):
    """The task whose title has these words."""

    words: str


class Numbered(NamedTuple):
    """The task of this id."""

    task_id: int


class Nth(NamedTuple):
    """The task at this place, from 0, of the list that was shown last; -1 is its last."""

    place: int


class Every(NamedTuple):
    """All tasks of a status: `pending`, `completed` or `all`."""

    status: str


class It(NamedTuple):
    """The task that was named last."""


class Numbers(NamedTuple):
    """The tasks of these ids."""

    ids: tuple[int, ...]


class Those(NamedTuple):
    """The open tasks that `list_tasks` finds with these arguments."""

    filters: dict[str, Any]
    told: str
    """The same in words."""


type Target = Named | Numbered | Numbers | Nth | Every | Those | It


class Request(NamedTuple):
    """A tool to be called with `args`; where it is about a task, `target` says which."""

    tool: str
    args: dict[str, Any]
    target: Target | None = None
    only: str | None = None
    """Of a list: those `overdue`, or due `today`, `tomorrow` or this `week`."""
    repeats: str | None = None
    """`daily`, `weekly` or `monthly`, where that was asked for."""


def read_target(text: str) -> Target | None:
    """The task or tasks that `text` means; None where it says none."""
    text = text.strip(STOPS)
    if number := _NUMBER.fullmatch(text):
        return Numbered(int(number[1]))
    if _TASK_NUMBERS.fullmatch(text):
        return Numbers(tuple(dict.fromkeys(map(int, re.findall("[0-9]+", text)))))
    if those := _those(text):
        return those
    if _IT.fullmatch(text):
        return It()
    if nth := _NTH.fullmatch(text):
        word = nth["place"].lower()
        return Nth(-1 if word == "last" else _PLACES.index(word))
    if every := _EVERY_TASK.fullmatch(text):
        status = (every["status"] or every["alone"] or "").lower()
        return Every(_STATUS_SAID.get(status, "completed"))
    return Named(text) if words_of(text) and not _SEVERAL_SAID.match(text) else None


def _those(text: str) -> Those | None:
    if late := _OVERDUE_TASKS.fullmatch(text):
        return Those({"due": "overdue" if late["late"] else "today"}, late["when"])
    if tagged := _TAGGED.fullmatch(text):
        return Those({"tag": tagged["tag"].lower()}, f"tagged {tagged['tag'].lower()}")
    if level := _OF_PRIORITY.fullmatch(text):
        word = level["level"].lower()
        return Those({"priority": word}, f"{word} priority")
    return None


def capital(text: str) -> str:
    """`text` as a title: without the quotes around it, with a capital."""
    text = re.sub('^["“](.+)["”]$', r"\1", text.strip(" ,;:").rstrip(STOPS))
    return text[:1].upper() + text[1:]


def words_of(text: object) -> list[str]:
    """The words that tell one title from another."""
    return [word for word in re.findall(r"\w+", str(text).casefold()) if word not in _IGNORED]
