"""A run's model kept from going in circles, and from answering with calls that it has not made."""
# ruff: noqa: A002  (the SDK names a parameter `input`)

import json
from collections.abc import AsyncIterator
from typing import Any

from agents import Model, ModelResponse, ModelSettings, Tool
from agents.items import TResponseOutputItem, TResponseStreamEvent
from openai.types.responses import (
    ResponseFunctionToolCall,
    ResponseOutputMessage,
    ResponseOutputText,
)

from backend.agent.words.answers import from_the_record, is_only_a_call
from backend.journal.turns import Turn
from backend.visible import shows_something

READS_MAX = 4
"""Answers of the model in a row that only look at the list, with nothing changed between them."""
READING = "list_tasks"
_NOT_A_CALL = (
    "A note from the app, not written by the person: your last answer was a tool call written as "
    "text, and nothing was done. Make the call itself, or answer the person in words."
)


class GuardedModel(Model):
    """`model`, for one attempt at `turn`.

    Once it repeats a call, or has looked at the list for `READS_MAX` times, the next answer has
    to be words. An answer that is only a call in words is neither shown nor carried out: the
    model is asked once more. What it does not say then, the record does.
    """

    def __init__(self, model: Model, turn: Turn) -> None:
        self._model = model
        self._turn = turn
        self._made: set[tuple[str, str]] = set()
        self._reads = 0
        self._must_answer = False
        self._asked_again = False

    async def get_response(
        self,
        system_instructions: str | None,
        input: Any,
        model_settings: ModelSettings,
        tools: list[Tool],
        *args: Any,
        **kwargs: Any,
    ) -> ModelResponse:
        names = [tool.name for tool in tools]

        async def ask(given: Any) -> ModelResponse:
            settings = model_settings
            if self._must_answer:
                settings = settings.resolve(ModelSettings(tool_choice="none"))
            return await self._model.get_response(
                system_instructions, given, settings, tools, *args, **kwargs
            )

        response = await ask(input)
        if _is_call_in_words(response.output, names) and not self._asked_again:
            self._asked_again = True
            items = [{"role": "user", "content": input}] if isinstance(input, str) else input
            response = await ask([*items, {"role": "user", "content": _NOT_A_CALL}])
        calls = _calls_of_output(response.output)
        if self._must_answer or _is_call_in_words(response.output, names):
            response.output = self._words(response.output, names)
        else:
            self._note(calls)
        return response

    def stream_response(self, *args: Any, **kwargs: Any) -> AsyncIterator[TResponseStreamEvent]:
        return self._model.stream_response(*args, **kwargs)

    def _note(self, calls: list[ResponseFunctionToolCall]) -> None:
        made = {(call.name, _plain(call.arguments)) for call in calls}
        reads = all(name == READING for name, _ in made)
        self._reads = self._reads + 1 if reads else 0
        self._must_answer = bool(made & self._made) or self._reads >= READS_MAX
        if not reads:  # the list is another now
            self._made = {each for each in self._made if each[0] != READING}
        self._made |= made

    def _words(
        self, output: list[TResponseOutputItem], names: list[str]
    ) -> list[TResponseOutputItem]:
        """What of an answer is words; where that is nothing, what the record says."""
        text = _text_of_output(output)
        if not shows_something(text) or is_only_a_call(text, names):
            text = from_the_record(self._turn.calls)
        part = ResponseOutputText(type="output_text", text=text, annotations=[])
        return [
            ResponseOutputMessage(
                id="record",
                type="message",
                role="assistant",
                status="completed",
                content=[part],
            )
        ]


def _calls_of_output(output: list[TResponseOutputItem]) -> list[ResponseFunctionToolCall]:
    return [item for item in output if isinstance(item, ResponseFunctionToolCall)]


def _text_of_output(output: list[TResponseOutputItem]) -> str:
    parts = (
        part for item in output if isinstance(item, ResponseOutputMessage) for part in item.content
    )
    return "".join(part.text for part in parts if isinstance(part, ResponseOutputText))


def _is_call_in_words(output: list[TResponseOutputItem], names: list[str]) -> bool:
    return not _calls_of_output(output) and is_only_a_call(_text_of_output(output), names)


def _plain(arguments: str) -> str:
    """Arguments in one spelling."""
    try:
        return json.dumps(json.loads(arguments), sort_keys=True)
    except (ValueError, RecursionError):
        return arguments
