"""A provider's client, and the models that are asked through it.

`openai` walks every history item and tool schema through the type hints of its parameters
before it sends them, to rename aliased keys and to format dates and files: two thirds of a
model call's CPU at 50 messages. What the Agents SDK hands over is plain JSON already, so the
large parameters go around that walk as `extra_body`, which is merged into the same body.
"""
# ruff: noqa: A002  (the SDK names a parameter `input`)

import copy
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import cached_property
from typing import Any

import httpx2
from agents import (
    FunctionTool,
    Model,
    ModelResponse,
    ModelSettings,
    OpenAIChatCompletionsModel,
    OpenAIResponsesModel,
    Tool,
)
from agents.items import TResponseStreamEvent
from openai import AsyncOpenAI
from openai.resources.chat import AsyncChat
from openai.resources.chat.completions import AsyncCompletions
from openai.resources.responses import AsyncResponses

from backend.settings.providers import Provider

_LARGE = ("input", "messages", "tools")
_NO_KEY = "none"
"""Sent to a server that asks for no key, as the client insists on one."""


def _around_the_walk(parameters: dict[str, Any]) -> dict[str, Any]:
    large = {name: parameters.pop(name) for name in _LARGE if name in parameters}
    return {**parameters, "extra_body": {**large, **(parameters.get("extra_body") or {})}}


class _Responses(AsyncResponses):
    async def create(self, *args: Any, **parameters: Any) -> Any:
        return await super().create(*args, **_around_the_walk(parameters))


class _Completions(AsyncCompletions):
    async def create(self, *args: Any, **parameters: Any) -> Any:
        # required here, so an empty one stands in for what extra_body brings
        return await super().create(*args, messages=(), **_around_the_walk(parameters))


class _Chat(AsyncChat):
    @cached_property
    def completions(self) -> AsyncCompletions:
        return _Completions(self._client)


class _Client(AsyncOpenAI):
    """`AsyncOpenAI` that sends what it is given, as it is given.

    Where the provider asks for a longer pause than `longest_pause` seconds it does not wait for
    another try, in which the run's time would pass, but lets the person know when to come back.
    """

    def __init__(self, *, longest_pause: float, base_url: str | None, **options: Any) -> None:
        super().__init__(base_url=base_url, **options)
        self._longest_pause = longest_pause
        if base_url is not None:  # read from OpenAI's own variables, and nobody else's business
            self.organization = self.project = None

    def _should_retry(self, response: httpx2.Response) -> bool:
        pause = self._parse_retry_after_header(response.headers) or 0
        return pause <= self._longest_pause and super()._should_retry(response)

    @cached_property
    def responses(self) -> AsyncResponses:
        return _Responses(self)

    @cached_property
    def chat(self) -> AsyncChat:
        return _Chat(self)


class _Fitted(Model):
    """A model that is asked within what its provider takes."""

    def __init__(self, model: Model, provider: Provider) -> None:
        self._model = model
        self._strict = provider.strict
        self._settings = ModelSettings(
            parallel_tool_calls=provider.parallel_tool_calls,
            include_usage=True,  # of streams, which do not say it unless asked
        )

    async def get_response(
        self,
        system_instructions: str | None,
        input: Any,
        model_settings: ModelSettings,
        tools: list[Tool],
        *args: Any,
        **kwargs: Any,
    ) -> ModelResponse:
        return await self._model.get_response(
            system_instructions, input, *self._fitting(model_settings, tools), *args, **kwargs
        )

    def stream_response(
        self,
        system_instructions: str | None,
        input: Any,
        model_settings: ModelSettings,
        tools: list[Tool],
        *args: Any,
        **kwargs: Any,
    ) -> AsyncIterator[TResponseStreamEvent]:
        return self._model.stream_response(
            system_instructions, input, *self._fitting(model_settings, tools), *args, **kwargs
        )

    def _fitting(
        self, settings: ModelSettings, tools: list[Tool]
    ) -> tuple[ModelSettings, list[Tool]]:
        fitting = tools if self._strict else [_plain(tool) for tool in tools]
        return settings.resolve(self._settings), fitting


def _plain(tool: Tool) -> Tool:
    if not isinstance(tool, FunctionTool):
        return tool
    plain = copy.copy(tool)
    plain.strict_json_schema = False
    return plain


@asynccontextmanager
async def open_models(provider: Provider, limit: float) -> AsyncIterator[dict[str, Model]]:
    """The provider's models by name; their one client is closed at the end.

    `limit` is a run's, in seconds. Two pauses between tries take a third of it at the most.
    """
    kind = OpenAIResponsesModel if provider.api == "responses" else OpenAIChatCompletionsModel
    async with _Client(
        api_key=provider.key.get_secret_value() if provider.key else _NO_KEY,
        base_url=provider.base_url,
        timeout=limit,
        max_retries=2,
        longest_pause=limit / 6,
    ) as client:
        yield {name: _Fitted(kind(name, client), provider) for name in provider.models}
