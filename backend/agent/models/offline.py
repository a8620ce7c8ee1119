"""The built-in model behind OPENAI_MODEL=offline: rules where a provider has a language model.

It is given what any model is given and answers as any model does, with one tool call or a
text, and remembers nothing: each step is worked out anew from the input.
"""
# ruff: noqa: A002  (the SDK names a parameter `input`)

import json
import re
from collections.abc import AsyncIterator, Callable
from datetime import date, timedelta
from typing import Any, NamedTuple
from uuid import uuid4

from agents import ItemHelpers, Model, ModelResponse, TResponseInputItem, Usage
from agents.items import TResponseOutputItem, TResponseStreamEvent
from openai.types import responses as wire

from backend.agent.prompt import day_told
from backend.models import TITLE_MAX

type _Items = str | list[TResponseInputItem]

_INTRODUCTION = "(This is the built-in offline model, which takes plain sentences only.) "
_EXAMPLES = (
    "You can say: Add buy milk, need 2 gallons. Show my tasks. What's pending? Mark task 5 as "
    "done. Delete task 3. Change task 2 to Call mom. Add a note to task 1: urgent."
)
_NOT_UNDERSTOOD = f"I'm not sure how to help with that, so I changed nothing. {_EXAMPLES}"
_VERBS = {"add_task": "added", "complete_task": "completed", "delete_task": "deleted"}
_ASKED = "(?:show|list|view|see|give me|tell me|what|which|how many|count|do i have|any)\\b.*\\b"
_DONE = "(?:done|completed?|finished)"
_NEW = "(?:an? |another )?(?:new )?(?:task|to-?do|reminder)(?: called| named| to| for)?:?"
# In this order: a note is no new task, and a change to "done" is no new title.
_RULES = {
    "(?:hello|hi|hey|good (?:morning|afternoon|evening))(?: there)?": f"Hello! {_EXAMPLES}",
    "what can (?:you do|i say|i ask)|who are you|help(?: me)?": _EXAMPLES,
    f"{_ASKED}(?:pending|open|left|not|to do(?! list)|need to)\\b.*|pending(?: tasks)?": "pending",
    f"{_ASKED}{_DONE}\\b.*|(?:completed|finished) tasks": "completed",
    f"{_ASKED}(?:tasks?|to-?dos?|list|do i have)\\b.*|(?:my |all )*tasks|list": "all",
    "add (?:an? |another |the )?(?:note|comment) (?:to|on|for) "
    "(?P<target>.+?)(?:: ?| saying )(?P<description>.+)": "update_task",
    f"mark (?P<target>.+?)(?<! not)(?: as)? {_DONE}": "complete_task",
    f"(?:set|change|update) (?P<target>.+?) (?:to|as) {_DONE}": "complete_task",
    "(?:complete|finish|check off|tick off) (?P<target>.+)": "complete_task",
    "(?:i did|(?:i |i have |i['’]ve |i am |i['’]m )?(?:just |already )?"
    r"(?:done|completed|finished)(?: with)?(?: \w+ing)?) (?P<target>.+)": "complete_task",
    f"(?P<target>.+?)(?: is| are|['’]s)(?: now)? {_DONE}": "complete_task",
    "(?:delete|remove|cancel|erase|get rid of) (?P<target>.+)": "delete_task",
    "(?:change|rename|update|edit) (?!(?:the )?(?:due|priority|description))(?:the )?"
    "(?:(?:title|name) of )?(?P<target>.+?) (?:to|into) (?P<title>(?!\\w+ prior).+)": "update_task",
    f"(?:(?:(?:add|create)|(?:make|set) an?) {_NEW}|(?:add|new task):?) (?P<task>.+)": "add_task",
    "(?:remember|remind me|don['’]?t forget|do not forget) to (?P<task>.+)": "add_task",
    "i(?: need to| have to|(?: have|['’]ve) got to| must| should) (?P<task>.+)": "add_task",
}
_STOPS = " .,;:!?…"
_POLITE = (
    "(?i)^(?:(?:please|ok|okay|now|then|also|(?:hi|hello|hey)(?=[,.!])|(?:can|could|would|will)"
    " you|i want to|i['’]d like to|i would like to)[,.!]? )*|,? please$|, thank(?:s| you)$"
)
_LIST = "(?i) (?:from|off|to|on) (?:my|the) (?:to-?do )?(?:list|tasks)$"
_ID = r"(?i)(?:the )?(?:task |number |no\. |id )*#? ?([0-9]{1,18})"
_IT = "(?i)it|this|that|the task|(?:this|that) (?:one|task)"
_SEVERAL = r"(?i)(?:all|every|each|both|them|these|those)\b|everything|.* tasks$"
_IGNORED = {"the", "a", "an", "my", "task", "todo", "one", "called", "named", "about", "please"}
_WHEN = (
    "(?i),? (?:(?:due )?(?:by|on|before|due) (?P<day>[0-9]{4}-[0-9]{2}-[0-9]{2}|[a-z]+day|tomorrow"
    "|[a-z]+ [0-9]{1,2}(?:st|nd|rd|th)?(?:,? [0-9]{4})?)|(?P<soon>today|tomorrow))(?=, |$)"
)
_RESPONSE = (
    '{"id":"offline","object":"response","created_at":0,"model":"offline","output":[],"tools":[],'
    '"tool_choice":"auto","parallel_tool_calls":false,"usage":{"input_tokens":0,"output_tokens":0,'
    '"total_tokens":0,"input_tokens_details":{"cached_tokens":0,"cache_write_tokens":0},'
    '"output_tokens_details":{"reasoning_tokens":0}}}'
)


class _Call(NamedTuple):
    """A call, to make or made. While `args` lacks its id, `target` is an id, a name or "it"."""

    tool: str
    args: dict[str, Any]
    target: int | str | None = None
    result: Any = None

    @property
    def tasks(self) -> list[dict[str, Any]]:
        listed = self.result.get("tasks")
        tasks = listed if isinstance(listed, list) else []
        return [t for t in tasks if isinstance(t, dict) and {"task_id", "title"} <= {*t}]


class _Turn(NamedTuple):
    text: str
    calls: list[_Call]


class OfflineModel(Model):
    """`today` tells the day that "by Friday" counts from, by the input: the context's, or UTC's."""

    def __init__(self, today: Callable[[list[Any]], date] = day_told) -> None:
        self._today = today

    async def get_response(
        self, system_instructions: str | None, input: _Items, *_: Any, **__: Any
    ) -> ModelResponse:
        return ModelResponse([self._output(input)], usage=Usage(requests=1), response_id=None)

    async def stream_response(
        self, system_instructions: str | None, input: _Items, *_: Any, **__: Any
    ) -> AsyncIterator[TResponseStreamEvent]:
        item, empty = self._output(input), wire.Response.model_validate_json(_RESPONSE)
        words = re.findall(r"\s*\S+", ItemHelpers.extract_text(item) or "")
        at: Any = {"item_id": item.id, "output_index": 0, "content_index": 0, "logprobs": []}
        yield wire.ResponseCreatedEvent(type="response.created", response=empty, sequence_number=0)
        for number, word in enumerate(words, 1):
            yield wire.ResponseTextDeltaEvent(
                type="response.output_text.delta", delta=word, sequence_number=number, **at
            )
        whole = empty.model_copy(update={"output": [item], "status": "completed"})
        yield wire.ResponseCompletedEvent(
            type="response.completed", response=whole, sequence_number=len(words) + 1
        )

    def _output(self, given: _Items) -> TResponseOutputItem:
        items: list[Any] = [{"role": "user", "content": given}] if isinstance(given, str) else given
        step, key = _next_step(_read(items), self._today(items)), uuid4().hex
        if isinstance(step, _Call):
            return wire.ResponseFunctionToolCall(
                type="function_call", call_id=key, name=step.tool, arguments=json.dumps(step.args)
            )
        first = all(item.get("role") != "assistant" for item in items)
        said = (_INTRODUCTION * first + step).encode(errors="replace").decode()
        text = wire.ResponseOutputText(type="output_text", text=said, annotations=[])
        return wire.ResponseOutputMessage(
            type="message", id=key, role="assistant", status="completed", content=[text]
        )


def _read(items: list[Any]) -> list[_Turn]:
    """The turns, oldest first: those with calls, and the last. Context from the app has none."""
    turns, asked = [_Turn("", [])], dict[str, Any]()
    for item in items:
        match item:
            case {"role": "user", "content": text}:
                turns = [*(turn for turn in turns if turn.calls), _Turn(str(text), [])]
            case {"type": "function_call", "call_id": call_id}:
                asked[call_id] = item
            case {"type": "function_call_output", "call_id": call_id, "output": output}:
                call = asked.get(call_id, {})
                args, result = _object(call.get("arguments")), _object(output)
                turns[-1].calls.append(_Call(str(call.get("name")), args, result=result))
    return turns


def _object(text: Any) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except (TypeError, ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _understand(text: str, today: date) -> _Call | str | None:
    """The call that `text` asks for, or the reply to it; None where no rule takes it."""
    asked = re.sub(_POLITE, "", " ".join(text.split()).rstrip(_STOPS)).rstrip(_STOPS)
    for pattern, meaning in _RULES.items():
        if found := re.fullmatch(pattern, asked, re.IGNORECASE):
            parts = {name: re.sub(_LIST, "", part) for name, part in found.groupdict().items()}
            if "task" in parts:
                return _addition(parts["task"], today)
            if parts:
                return _change(meaning, parts)
            listing = meaning in ("pending", "completed", "all")
            return _Call("list_tasks", {"status": meaning}) if listing else meaning
    return None


def _addition(phrase: str, today: date) -> _Call | None:
    phrase, due = _split_due(phrase, today)
    title, _, description = phrase.partition(", ")
    args = {"title": _title(title), "description": description, "due_date": due}
    return _Call("add_task", {k: v for k, v in args.items() if v}) if args["title"] else None


def _split_due(text: str, today: date) -> tuple[str, str | None]:
    """`text` without the day in it, and that day: the nearest that is called so, in five years."""
    if not (found := re.search(_WHEN, text)):
        return text, None
    wanted = re.sub("(?<=[0-9])[a-z]+|,", "", (found["day"] or found["soon"]).lower())
    for n in range(5 * 366):
        day = today + timedelta(n)
        names = f"{day:%A|%B {day.day}|%b {day.day}|%B {day.day} %Y|%b {day.day} %Y|%Y-%m-%d}"
        if wanted in [*("today", "tomorrow")[n : n + 1], *names.lower().split("|")]:
            return text[: found.start()] + text[found.end() :], day.isoformat()
    return text, None


def _change(tool: str, parts: dict[str, Any]) -> _Call | None:
    target = parts.pop("target")
    args = {name: _title(part) if name == "title" else part for name, part in parts.items()}
    if number := re.fullmatch(_ID, target):
        return _Call(tool, args, int(number[1]))
    if re.fullmatch(_IT, target):
        return _Call(tool, args, "it")
    return _Call(tool, args, target) if _words(target) and not re.match(_SEVERAL, target) else None


def _title(text: str) -> str:
    text = re.sub('^["“](.+)["”]$', r"\1", text.strip(" ,;:").rstrip(_STOPS))
    return (text[:1].upper() + text[1:])[:TITLE_MAX]


def _words(text: object) -> list[str]:
    return [word for word in re.findall(r"\w+", str(text).casefold()) if word not in _IGNORED]


def _next_step(turns: list[_Turn], today: date) -> _Call | str:
    """The call to make now, or the answer. A failed call is told, never made again."""
    request = _settled(turns, today)
    last = turns[-1].calls[-1] if turns[-1].calls else None
    if isinstance(request, str) or (not last and request.target is None):
        return request
    if last and last.result.get("success") is not True:
        return f"I could not do that: {str(last.result.get('error') or 'it failed').rstrip('.')}."
    if last and last.tool == request.tool:
        return _report(last)
    if isinstance(request.target, int) and "description" not in request.args:
        return _Call(request.tool, {"task_id": request.target, **request.args})
    if last:
        return _on_match(request, _fitting(request, last))
    # one word is searched for, as the others may stand apart in the title
    words = [word for word in re.findall(r"\w+", str(request.target)) if _words(word)]
    search = {} if isinstance(request.target, int) else {"search": max(words, key=len)}
    return _Call("list_tasks", {"status": "all", **search})


def _settled(turns: list[_Turn], today: date) -> _Call | str:
    """What the last message asks for, with a choice or an "it" traced to the task it means."""
    request = _understand(turns[-1].text, today) or _chosen(turns, today) or _NOT_UNDERSTOOD
    if isinstance(request, str) or request.target != "it":
        return request
    for call in [call for turn in turns[:-1] for call in turn.calls][::-1]:
        named = call.result.get("task_id", call.args.get("task_id"))
        if isinstance(named, int):
            return request._replace(target=named)
        if "search" in call.args:  # a name that led to no single task
            break
        if len(call.tasks) == 1:
            return request._replace(target=call.tasks[0]["task_id"])
    return "Which task do you mean? Please give its name or its id."


def _chosen(turns: list[_Turn], today: date) -> _Call | None:
    """The request before, where several tasks fitted it and the last message says which."""
    before = _understand(turns[-2].text, today) if turns[1:] else None
    if not isinstance(before, _Call) or before.target is None:
        return None
    found, words = _fitting(before, turns[-2].calls[-1]), _words(turns[-1].text)
    for task, nth in zip(found, ("first", "second", "third", "fourth", "fifth"), strict=False):
        if len(found) > 1 and words in ([nth], [str(task["task_id"])]):
            return before._replace(target=task["task_id"])
    return None


def _fitting(request: _Call, listed: _Call) -> list[dict[str, Any]]:
    """The tasks the target may mean: by id or title, else by its words; to finish, pending ones."""
    tasks, wanted = listed.tasks, _words(request.target)
    if isinstance(request.target, int):
        return [task for task in tasks if task["task_id"] == request.target]
    found = [task for task in tasks if _words(task["title"]) == wanted]
    found = found or [task for task in tasks if {*wanted} <= {*_words(task["title"])}]
    pending = [task for task in found if not task.get("completed")]
    return pending if pending and request.tool == "complete_task" else found


def _on_match(request: _Call, found: list[dict[str, Any]]) -> _Call | str:
    if not found:
        return f'I can find no task "{request.target}" in your list.'
    if len(found) > 1:
        return f"These tasks fit: {', '.join(map(_name, found[:5]))}. Which one do you mean?"
    args = {"task_id": found[0]["task_id"], **request.args}
    if "description" in args and found[0].get("description"):
        args["description"] = f"{found[0]['description']}\n{args['description']}"
    return _Call(request.tool, args)


def _report(call: _Call) -> str:
    if call.tool != "list_tasks":
        return f"I've {_VERBS.get(call.tool, 'updated')} {_name(call.result)}."
    if not call.tasks:
        return f"You have no {call.args.get('status')} tasks.".replace(" all ", " ")
    return "\n".join([str(call.result.get("message")), *(f"- {_name(t)}" for t in call.tasks)])


def _name(task: dict[str, Any]) -> str:
    due = f", due {str(task['due_date'])[:10]}" if task.get("due_date") else ""
    done = ", completed" if task.get("completed") else ""
    return f'"{task.get("title")}" (task {task.get("task_id")}{due}{done})'
