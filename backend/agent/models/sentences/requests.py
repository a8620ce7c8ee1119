"""What a message asks for: each sentence is one request, by the first rule that takes it.

A rule is a regular expression over a sentence whose polite words are taken off. Where no rule
takes a sentence nothing is guessed: it comes back as not understood.
"""

import re
from typing import Any

from backend.agent.models.sentences.days import Today, split_when
from backend.agent.models.sentences.fields import read_fields, split_fields
from backend.agent.models.sentences.targets import (
    STOPS,
    Every,
    Request,
    capital,
    read_target,
)
from backend.models import TITLE_MAX

EXAMPLES = (
    "You can say:\n- Add buy milk tomorrow\n- Show my tasks\n- What is due today?\n"
    "- Mark task 5 as done\n- Move the dentist to Friday\n- Delete task 3"
)
NOT_UNDERSTOOD = "I'm not sure how to help with that, so I changed nothing. " + EXAMPLES
NO_TITLE = "What is the task? Say, for example: Add buy milk."
NO_UNDO = "I cannot undo by myself: use Undo below my answer that made the change."


type Understood = Request | str
"""A request, or the answer to what asks for nothing."""

_POLITE = re.compile(
    r"(?i)^(?:(?:please|ok|okay|now|then|also|and|(?:hi|hello|hey)(?=[,.!])|(?:can|could|would|will)"
    r" you|i want to|i['’]d like to|i would like to)[,.!]? )*|,? please$|,? thank(?:s| you)$"
)
_MY_LIST = re.compile(r"(?i) (?:from|off|to|on|in) (?:my|the) (?:to-?do )?(?:list|tasks)$")
_ASKED = r"(?:show|list|view|see|give me|tell me|what|which|how many|count|do i have|any)\b.*\b"
_DONE_WORD = "(?:done|completed?|finished)"
_TASK = "(?:an? |another |the )?(?:new )?(?:task|to-?do|reminder)"
_NEW = f"{_TASK}(?: called| named| to| for)?:?"
_LEVEL = "(?:high|medium|normal|low)"
_SMALL_TALK = {
    r"(?:hello|hi|hey|good (?:morning|afternoon|evening))(?: there)?": f"Hello! {EXAMPLES}",
    r"what can (?:you do|i say|i ask)|who are you|help(?: me)?": EXAMPLES,
    r"(?:many )?(?:thanks|thank you|thx|ty|cheers)(?: (?:so|very) much| a lot)?"
    r"|(?:great|perfect|nice|cool|good|awesome|well done|wonderful)(?: job| work)?": (
        "You're welcome!"
    ),
    r"(?:yes|yeah|yep|sure|ok|okay|no|nope|nothing|never mind|nevermind)": "All right.",
    r"(?:bye|goodbye|see you|good night)(?: later| soon)?": "Goodbye!",
    r"undo(?: (?:that|it|this|the last (?:change|one)))?|take (?:that|it) back": NO_UNDO,
    f"(?:add|create|make)(?: {_TASK})?": NO_TITLE,
}
_LISTS = {
    rf"{_ASKED}(?P<late>overdue|late|past due)\b.*|overdue(?: tasks)?": "pending",
    rf"{_ASKED}due (?P<day>today|tomorrow|this week|next week)\b.*"
    r"|(?:what['’]?s|what is) (?:on|up)? ?(?:for )?(?P<for>today|tomorrow|this week)": "pending",
    rf"{_ASKED}(?:pending|open|left|not|to do(?! list)|need to)\b.*|pending(?: tasks)?": "pending",
    rf"{_ASKED}{_DONE_WORD}\b.*|(?:completed|finished) tasks": "completed",
    rf"{_ASKED}(?:tasks?|to-?dos?|list|do i have)\b.*|(?:my |all )*tasks|list": "all",
}
_CHANGES = {
    r"add (?:an? |another |the )?(?:note|comment) (?:to|on|for) "
    r"(?P<target>.+?)(?:: ?| saying )(?P<description>.+)": "update_task",
    f"mark (?P<target>.+?)(?<! not)(?: as)? {_DONE_WORD}": "complete_task",
    f"(?:set|change|update) (?P<target>.+?) (?:to|as) {_DONE_WORD}": "complete_task",
    r"(?:complete|finish|check off|tick off) (?P<target>.+)": "complete_task",
    r"(?:i did|(?:i |i have |i['’]ve |i am |i['’]m )?(?:just |already )?"
    r"(?:done|completed|finished)(?: with)?(?: \w+ing)?) (?P<target>.+)": "complete_task",
    f"(?P<target>.+?)(?: is| are|['’]s)(?: now)? {_DONE_WORD}": "complete_task",
    r"(?:delete|remove|cancel|erase|get rid of) (?P<target>.+)": "delete_task",
    rf"(?:set|change|make|put) (?:the )?priority (?:of|for) (?P<target>.+?) (?:to )?"
    rf"(?P<priority>{_LEVEL})": "update_task",
    rf"(?:set|make|change|mark|update) (?P<target>.+?) (?:to |as )?(?P<priority>{_LEVEL})"
    r"(?:[- ]priority)": "update_task",
    r"(?:set|change|move|put|make) (?:the )?due date (?:of|for) (?P<target>.+?) to (?P<when>.+)": (
        "update_task"
    ),
    r"(?:move|postpone|reschedule|shift|push) (?P<target>.+?) (?:to|until|for) (?P<when>.+)": (
        "update_task"
    ),
    r"(?:change|rename|update|edit) (?!(?:the )?(?:due|priority|description))(?:the )?"
    r"(?:(?:title|name) of )?(?P<target>.+?) (?:to|into) (?P<title>(?!\w+ prior).+)": "update_task",
}
_ADDITIONS = (
    rf"(?:add|create|make|set) (?:an? |another )?(?:new )?(?P<before>{_LEVEL}[- ]priority|urgent"
    rf"|important) (?:task|to-?do|reminder)(?: called| named| to| for)?:? (?P<task>.+)",
    rf"(?:(?:(?:add|create)|(?:make|set) an?) {_NEW}|(?:add|new task):?) (?P<task>.+)",
    r"(?:remember|remind me|don['’]?t forget|do not forget) to (?P<task>.+)",
    r"i(?: need to| have to|(?: have|['’]ve) got to| must| should) (?P<task>.+)",
    r"(?P<task>(?:buy|call|phone|pay|send|email|mail|book|clean|wash|pick up|water|order|return"
    r"|renew|visit|fix|write|read|ask|schedule|feed|walk|bring|take) .+)",
)
_PRIORITY_SAID = re.compile(
    rf"(?i),? (?:with |at |as |\()?(?P<level>{_LEVEL}|top)[- ]priority\)?"
    r"|,? \(?(?P<urgent>urgent)\)?$"
)
_VERB = r"(?:add|mark|delete|remove|complete|finish|show|list|rename|change|move|remind me|set)"
_APART = re.compile(rf"(?i)(?:[.;!] +|,? and then |, then | and |, )(?={_VERB}\b)")
_BULLET = re.compile(r"^\s*(?:[-*•]|[0-9]{1,3}[.)])\s+")
_MANY = re.compile(r",(?: and| &)? | and | & ")


def understand(text: str, today: Today) -> list[Understood]:
    """The requests in a message, in their order; one that no rule takes is said to be none."""
    found: list[Understood] = []
    lines = [line for line in text.splitlines() if line.strip(STOPS)] or [text]
    for line in lines:
        plain = _BULLET.sub("", line)
        if found and _is_addition(found[-1]) and _one(plain, today) is None:
            found += _added(plain, today)  # a further line of a list
            continue
        for sentence in _sentences(plain, today):
            taken = _one(sentence, today)
            found += [NOT_UNDERSTOOD] if taken is None else taken
    return found


def _sentences(line: str, today: Today) -> list[str]:
    """The line in its parts, where each begins with a verb of ours and is understood."""
    parts = _APART.split(line)
    whole = len(parts) == 1 or any(_one(part, today) is None for part in parts)
    return [line] if whole else parts


def _is_addition(request: Understood) -> bool:
    return request == NO_TITLE or (isinstance(request, Request) and request.tool == "add_task")


def _one(sentence: str, today: Today) -> list[Understood] | None:
    """What one sentence asks for; None where no rule takes it."""
    asked = _POLITE.sub("", " ".join(sentence.split()).rstrip(STOPS)).rstrip(STOPS)
    for pattern, answer in _SMALL_TALK.items():
        if re.fullmatch(pattern, asked, re.IGNORECASE):
            return [answer]
    if sentence.strip() and not re.search(r"\w", sentence):
        return ["All right."] if len(sentence.strip()) < 9 and not sentence.isascii() else None
    if request := read_fields(asked, today):
        return [request]
    for pattern, status in _LISTS.items():
        if found := re.fullmatch(pattern, asked, re.IGNORECASE):
            return [_list(status, asked, found.groupdict())]
    for pattern, tool in _CHANGES.items():
        if found := re.fullmatch(pattern, asked, re.IGNORECASE):
            parts = {key: _MY_LIST.sub("", part) for key, part in found.groupdict().items()}
            changed = _change_asked(tool, parts, today)
            return None if changed is None else [changed]
    for pattern in _ADDITIONS:
        if found := re.fullmatch(pattern, asked, re.IGNORECASE):
            before = found.groupdict().get("before")
            task = _MY_LIST.sub("", found["task"])
            return _added(f"{task}, {before}" if before else task, today) or None
    return None


def _list(status: str, asked: str, parts: dict[str, str | None]) -> Request:
    late = asked.lower().startswith("overdue") or parts.get("late")
    only = "overdue" if late else parts.get("day") or parts.get("for")
    return Request("list_tasks", {"status": status}, only=only and only.lower().split()[-1])


def _added(phrase: str, today: Today) -> list[Understood]:
    """One task, or one for each of a list of short things: milk, eggs and bread."""
    phrase, fields = split_fields(phrase)
    phrase, priority = _split_priority(phrase)
    phrase, when = split_when(phrase, today)
    shared = {"due_date": when.due, "priority": priority, **fields}
    titles, description = [phrase], ""
    parts = [part for part in _MANY.split(phrase) if part.strip(STOPS)]
    if "," in phrase and len(parts) > 2 and all(len(part.split()) < 4 for part in parts):
        titles = parts
    elif "," in phrase:
        first, _, description = phrase.partition(", ")
        titles = [first]
    requests = [_addition(title, description, shared) for title in titles]
    return [each._replace(repeats=when.repeats) for each in requests if each.args.get("title")]


def _addition(phrase: str, description: str, shared: dict[str, str | None]) -> Request:
    title = capital(phrase)
    if len(title) > TITLE_MAX:
        description = "\n".join(filter(None, [title, description]))
        title = title[:TITLE_MAX].rsplit(" ", 1)[0] if " " in title[:TITLE_MAX] else title
        title = title[:TITLE_MAX]
    args = {"title": title, "description": description.strip(), **shared}
    return Request("add_task", {name: value for name, value in args.items() if value})


def _split_priority(phrase: str) -> tuple[str, str | None]:
    found = _PRIORITY_SAID.search(phrase)
    if not found:
        important = phrase.endswith((", urgent", ", important"))
        return (phrase.rpartition(",")[0], "high") if important else (phrase, None)
    rest = phrase[: found.start()] + phrase[found.end() :]
    return rest, _level(found["level"] or "high")


def _level(word: str) -> str:
    return {"top": "high", "normal": "medium"}.get(word.lower(), word.lower())


def _change_asked(tool: str, parts: dict[str, str], today: Today) -> Request | None:
    target = read_target(parts.pop("target"))
    if target is None or (isinstance(target, Every) and not {*parts} <= {"priority", "when"}):
        return None
    args: dict[str, Any] = {}
    for name, value in parts.items():
        match name:
            case "title":
                args[name] = capital(value)[:TITLE_MAX]
            case "priority":
                args[name] = _level(value)
            case "when":
                rest, when = split_when(value, today)
                if rest.strip(STOPS) or when.due is None:
                    return None
                args["due_date"] = when.due
            case _:
                args[name] = value
    return Request(tool, args, target)
