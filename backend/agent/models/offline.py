"""The built-in model behind OPENAI_MODEL=offline: rules where a provider has a language model.

It is given what any model is given and answers as any model does, with tool calls or a text,
and remembers nothing: each step is worked out anew from the input. What a sentence means
stands in `backend.agent.models.sentences`.
"""
# ruff: noqa: A002  (the SDK names a parameter `input`)

import json
import re
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, NamedTuple
from uuid import uuid4

from agents import (
    FunctionTool,
    ItemHelpers,
    Model,
    ModelResponse,
    ModelSettings,
    Tool,
    TResponseInputItem,
    Usage,
)
from agents.items import TResponseOutputItem, TResponseStreamEvent
from openai.types import responses as wire

from backend.agent.models.sentences.days import Today
from backend.agent.models.sentences.reports import Call, Report, Task
from backend.agent.models.sentences.requests import understand
from backend.agent.models.sentences.steps import (
    Ability,
    Memory,
    Steps,
    carry_out,
    change_these,
)
from backend.agent.models.sentences.targets import Nth, Numbered, Request, read_target
from backend.agent.words.prompt import CONTEXT_MARK, day_told

type _Items = str | list[TResponseInputItem]

_INTRODUCTION = "(This is the built-in offline model, which takes plain sentences only.) "
_RESPONSE = (
    '{"id":"offline","object":"response","created_at":0,"model":"offline","output":[],"tools":[],'
    '"tool_choice":"auto","parallel_tool_calls":false,"usage":{"input_tokens":0,"output_tokens":0,'
    '"total_tokens":0,"input_tokens_details":{"cached_tokens":0,"cache_write_tokens":0},'
    '"output_tokens_details":{"reasoning_tokens":0}}}'
)


class _Turn(NamedTuple):
    """What the person said, and the calls that were made for it."""

    text: str
    calls: list[Call]


class OfflineModel(Model):
    """`today` tells the day that "by Friday" counts from, by the input: the context's, or UTC's."""

    def __init__(self, today: Callable[[list[Any]], Today] = day_told) -> None:
        self._today = today

    async def get_response(
        self,
        system_instructions: str | None,
        input: _Items,
        model_settings: ModelSettings,
        tools: list[Tool],
        *_: Any,
        **__: Any,
    ) -> ModelResponse:
        output = self._output(input, tools)
        return ModelResponse(output, usage=Usage(requests=1), response_id=None)

    async def stream_response(
        self,
        system_instructions: str | None,
        input: _Items,
        model_settings: ModelSettings,
        tools: list[Tool],
        *_: Any,
        **__: Any,
    ) -> AsyncIterator[TResponseStreamEvent]:
        output = self._output(input, tools)
        empty = wire.Response.model_validate_json(_RESPONSE)
        words = re.findall(r"\s*\S+", ItemHelpers.extract_text(output[0]) or "")
        at: Any = {"item_id": output[0].id, "output_index": 0, "content_index": 0, "logprobs": []}
        yield wire.ResponseCreatedEvent(type="response.created", response=empty, sequence_number=0)
        for number, word in enumerate(words, 1):
            yield wire.ResponseTextDeltaEvent(
                type="response.output_text.delta", delta=word, sequence_number=number, **at
            )
        whole = empty.model_copy(update={"output": output, "status": "completed"})
        yield wire.ResponseCompletedEvent(
            type="response.completed", response=whole, sequence_number=len(words) + 1
        )

    def _output(self, given: _Items, tools: list[Tool]) -> list[TResponseOutputItem]:
        items: list[Any] = [{"role": "user", "content": given}] if isinstance(given, str) else given
        step = _next_step(_read_turns(items), self._today(items), _ability(tools))
        if not isinstance(step, str):
            return [
                wire.ResponseFunctionToolCall(
                    type="function_call",
                    call_id=uuid4().hex,
                    name=call.tool,
                    arguments=json.dumps(call.args),
                )
                for call in step
            ]
        first = all(item.get("role") != "assistant" for item in items)
        said = (_INTRODUCTION * first + step).encode(errors="replace").decode()
        text = wire.ResponseOutputText(type="output_text", text=said, annotations=[])
        return [
            wire.ResponseOutputMessage(
                type="message",
                id=uuid4().hex,
                role="assistant",
                status="completed",
                content=[text],
            )
        ]


def _ability(tools: list[Tool]) -> Ability:
    return Ability(
        {
            tool.name: frozenset(tool.params_json_schema.get("properties", {}))
            for tool in tools
            if isinstance(tool, FunctionTool)
        },
        several=any(
            "array" in json.dumps(tool.params_json_schema["properties"].get("task_id", ""))
            for tool in tools
            if isinstance(tool, FunctionTool)
        ),
    )


def _read_turns(items: list[Any]) -> list[_Turn]:
    """The turns, oldest first; what the app puts in between is none."""
    turns, asked = [_Turn("", [])], dict[str, Any]()
    for item in items:
        match item:
            case {"role": "user", "content": text} if not str(text).startswith(CONTEXT_MARK):
                turns.append(_Turn(str(text), []))
            case {"type": "function_call", "call_id": call_id}:
                asked[call_id] = item
            case {"type": "function_call_output", "call_id": call_id, "output": output}:
                call = asked.get(call_id, {})
                args = _object_in_text(call.get("arguments"))
                turns[-1].calls.append(Call(str(call.get("name")), args, _object_in_text(output)))
    return turns


def _object_in_text(text: Any) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except (TypeError, ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _next_step(turns: list[_Turn], today: Today, ability: Ability) -> list[Call] | str:
    """The calls to make now, or the answer. What was called in this turn is not called again."""
    made, reports = list(turns[-1].calls), list[str]()
    memory = _memory(turns[:-1])
    for steps in _wanted(turns, today, ability, memory):
        step = _follow(steps, made)
        if isinstance(step, list):
            return step
        if step.text not in reports:
            reports.append(step.text)
    return "\n".join(reports)


def _wanted(turns: list[_Turn], today: Today, ability: Ability, memory: Memory) -> Iterator[Steps]:
    """The steps of each request of the last message; an answer to a question goes before all."""
    day = today.date.isoformat()
    if chosen := _chosen(turns, today, ability):
        yield chosen
        return
    for request in understand(turns[-1].text, today):
        yield carry_out(request, memory, ability, day)
        memory = _memory([turns[-1]]) if turns[-1].calls else memory


def _follow(steps: Steps, made: list[Call]) -> list[Call] | Report:
    """Run `steps` over the calls that were made, which are used up: what comes where they end."""
    try:
        wanted = next(steps)
        while True:
            results = [_take(call, made) for call in wanted]
            missing = [call for call, found in zip(wanted, results, strict=True) if found is None]
            if missing:
                return missing
            wanted = steps.send([found for found in results if found is not None])
    except StopIteration as end:
        report: Report = end.value
        return report


def _take(call: Call, made: list[Call]) -> Call | None:
    """The call among those made, which is then used up."""
    for at, each in enumerate(made):
        if (each.tool, each.args) == (call.tool, call.args):
            return made.pop(at)
    return None


def _chosen(turns: list[_Turn], today: Today, ability: Ability) -> Steps | None:
    """What the turn before asked about, carried out as the last message answers."""
    if len(turns) < 2:
        return None
    before = turns[-2]
    made, memory = list(before.calls), _memory(turns[:-2])
    for request in understand(before.text, today):
        steps = carry_out(request, memory, ability, today.date.isoformat())
        step = _follow(steps, made)
        if isinstance(step, list):
            return None
        if step.request and step.choice:
            return _answered(turns[-1].text, step.request, step, ability, today)
    return None


def _answered(
    text: str, request: Request, asked: Report, ability: Ability, today: Today
) -> Steps | None:
    """The steps of `request` for what `text` chooses; None where it chooses nothing."""
    choice = asked.choice
    found: list[Task] = []
    if re.match(r"(?i)\W*(?:yes|yeah|yep|sure|ok|okay|do it|go ahead|please do)\b", text):
        found = list(choice) if len(choice) == 1 or "all" in asked.text.split() else []
    match read_target(re.sub(r"(?i),? please\W*$", "", text)):
        case Nth(place) if choice[place : place + 1 or None]:
            found = [choice[place]]
        case Numbered(task_id):
            found = [task for task in choice if task["task_id"] == task_id]
    if not found:
        return None
    if request.tool in ("delete_task", "complete_task"):
        return change_these(request, found, ability)
    target = Numbered(found[0]["task_id"])
    return carry_out(
        request._replace(target=target), Memory(None, ()), ability, today.date.isoformat()
    )


def _memory(turns: list[_Turn]) -> Memory:
    """The task that was named last, and the list that was shown last."""
    calls = [call for turn in turns for call in turn.calls]
    lists = [call for call in calls if call.tool == "list_tasks" and "search" not in call.args]
    listed = tuple(lists[-1].tasks) if lists else ()
    return Memory(_named(calls), listed)


def _named(calls: list[Call]) -> int | None:
    for call in reversed(calls):
        if "results" in call.result:
            return None
        named = call.result.get("task_id", call.args.get("task_id"))
        if isinstance(named, int):
            return named
        if "search" in call.args:  # a name that led to no single task
            return None
        if len(call.tasks) == 1:
            only = call.tasks[0]["task_id"]
            return only if isinstance(only, int) else None
    return None
