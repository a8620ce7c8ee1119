"""A provider's client, and the models that are asked through it.

`openai` walks every history item and tool schema through the type hints of its parameters
before it sends them, to rename aliased keys and to format dates and files: two thirds of a
model call's CPU at 50 messages. What the Agents SDK hands over is plain JSON already, so the
large parameters go around that walk as `extra_body`, which is merged into the same body.

On that way a request is made fit for its provider; `backend.agent.wire` says how, and reads
the answer before anybody else does.
"""
# ruff: noqa: A002  (the SDK names a parameter `input`)

import copy
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import cached_property
from typing import Any
from urllib.parse import urlsplit

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
from openai import APIStatusError, AsyncOpenAI, Omit
from openai.resources.chat import AsyncChat
from openai.resources.chat.completions import AsyncCompletions
from openai.resources.responses import AsyncResponses
from openai.types.shared import Reasoning

from backend.agent.models.families import asked_by_default
from backend.agent.wire.exchange import Exchange, Exchanges, opened
from backend.agent.wire.failures import AGAIN
from backend.agent.wire.http import MendingClient
from backend.agent.wire.lessons import Lessons
from backend.agent.wire.requests import fit_messages, merged
from backend.settings.providers import Asking, Provider
from backend.tls import believed

_LARGE = ("input", "messages", "tools")
_NO_KEY = "none"
"""Sent to a server that asks for no key, as the client insists on one."""
_OWN_HOSTS = ("openai.com", "openai.azure.com", "cognitiveservices.azure.com")
"""Where the newer name of the most output tokens is known, and for some models demanded."""

type Create = Callable[..., Awaitable[Any]]


def _around_the_walk(parameters: dict[str, Any]) -> dict[str, Any]:
    large = {name: parameters.pop(name) for name in _LARGE if name in parameters}
    return {**parameters, "extra_body": {**large, **(parameters.get("extra_body") or {})}}


class _Responses(AsyncResponses):
    _client: "_Client"

    async def create(self, *, run: Exchanges | None = None, **parameters: Any) -> Any:
        def fitted(asking: Asking) -> dict[str, Any]:
            if asking.roles in ("alternate", "no_system") and "input" in parameters:
                return {"input": merged(parameters["input"])}
            return {}

        return await self._client.ask(super().create, run or Exchanges(), parameters, fitted)


class _Completions(AsyncCompletions):
    _client: "_Client"

    async def create(self, *, run: Exchanges | None = None, **parameters: Any) -> Any:
        run = run or Exchanges()

        def fitted(asking: Asking) -> dict[str, Any]:
            model = str(parameters["model"])
            messages = fit_messages(parameters["messages"], model, asking, run)
            most = parameters.get("max_tokens")
            if most and self._client.is_openais:
                return {"messages": messages, "max_tokens": Omit(), "max_completion_tokens": most}
            return {"messages": messages}

        async def create(**fitting: Any) -> Any:
            # required here, so an empty one stands in for what extra_body brings
            return await AsyncCompletions.create(self, messages=(), **fitting)

        return await self._client.ask(create, run, parameters, fitted)


class _Chat(AsyncChat):
    _client: "_Client"

    @cached_property
    def completions(self) -> AsyncCompletions:
        return _Completions(self._client)


class _Client(AsyncOpenAI):
    """`AsyncOpenAI` that sends what it is given, fitted to its provider and nothing more.

    Where the provider asks for a longer pause than `longest_pause` seconds it does not wait for
    another try, in which the run's time would pass, but lets the person know when to come back.
    """

    def __init__(
        self,
        *,
        longest_pause: float,
        base_url: str | None,
        askings: dict[str, Asking],
        **options: Any,
    ) -> None:
        super().__init__(base_url=base_url, **options)
        self._longest_pause = longest_pause
        self._askings = askings
        self._lessons: defaultdict[str, Lessons] = defaultdict(Lessons)
        host = urlsplit(base_url or "").hostname or "openai.com"
        self.is_openais = host.endswith(_OWN_HOSTS)
        if base_url is not None:  # read from OpenAI's own variables, and nobody else's business
            self.organization = self.project = None

    async def ask(
        self,
        create: Create,
        run: Exchanges,
        parameters: dict[str, Any],
        fitted: Callable[[Asking], dict[str, Any]],
    ) -> Any:
        """Send a request as its model takes it; again with what the server teaches, if it does."""
        model = str(parameters["model"])
        lessons, asking = self._lessons[model], self._askings.get(model, Asking())
        tools = parameters.get("tools")
        names = frozenset(map(_name, tools)) if isinstance(tools, list) else frozenset()
        while True:
            asked = lessons.asking.over(asking)
            given = {**parameters, **fitted(asked)}
            given = {name: each for name, each in given.items() if not isinstance(each, Omit)}
            sent = lessons.without_dropped(given)
            try:
                with opened(Exchange(run, names, asked.call_ids == "own")):
                    return await create(**_around_the_walk(sent))
            except APIStatusError as error:
                if not lessons.learn(error, given):
                    raise

    def _should_retry(self, response: httpx2.Response) -> bool:
        pause = self._parse_retry_after_header(response.headers) or 0
        if pause > self._longest_pause:
            return False
        told = "x-should-retry" in response.headers
        return (response.status_code in AGAIN and not told) or super()._should_retry(response)

    @cached_property
    def responses(self) -> AsyncResponses:
        return _Responses(self)

    @cached_property
    def chat(self) -> AsyncChat:
        return _Chat(self)


def _name(tool: dict[str, Any]) -> str:
    return str((tool.get("function") or tool).get("name"))


class _Fitted(Model):
    """A model that is asked within what its provider takes."""

    def __init__(self, model: Model, provider: Provider, asking: Asking) -> None:
        self._model = model
        self._strict = provider.strict
        self._settings = ModelSettings(
            parallel_tool_calls=provider.parallel_tool_calls,
            include_usage=True,  # of streams, which do not say it unless asked
            reasoning=Reasoning(effort=asking.reasoning_effort)
            if asking.reasoning_effort
            else None,
            temperature=asking.temperature,
            max_tokens=asking.max_output_tokens,
            extra_headers=asking.extra_headers,
            extra_body=asking.extra_body,
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
        return self._settings.resolve(settings), fitting


def _plain(tool: Tool) -> Tool:
    if not isinstance(tool, FunctionTool) or not tool.strict_json_schema:
        return tool  # an outside tool's is as its server has it
    plain = copy.copy(tool)
    plain.params_json_schema = _lax(tool.params_json_schema)
    plain.strict_json_schema = False
    return plain


def _lax(schema: dict[str, Any]) -> dict[str, Any]:
    """A strict schema as others have it: what may be null need not be there, and is never null."""
    known = {name: _without_null(part) for name, part in schema.get("properties", {}).items()}
    needed = [
        name for name in schema.get("required", ()) if known[name] is schema["properties"][name]
    ]
    return {**schema, "properties": known, "required": needed}


def _without_null(part: dict[str, Any]) -> dict[str, Any]:
    """The same part where it takes no null."""
    others = [each for each in part.get("anyOf", ()) if each.get("type") != "null"]
    if len(others) == len(part.get("anyOf", ())):
        return part
    rest = {name: value for name, value in part.items() if name != "anyOf"}
    return {**rest, **others[0]} if len(others) == 1 else {**rest, "anyOf": others}


@asynccontextmanager
async def open_models(provider: Provider, limit: float) -> AsyncIterator[dict[str, Model]]:
    """The provider's models by name; their one client is closed at the end.

    `limit` is a run's, in seconds. Two pauses between tries take a third of it at the most.
    """
    kind = OpenAIResponsesModel if provider.api == "responses" else OpenAIChatCompletionsModel
    askings = {
        name: model.over(provider).over(asked_by_default(name))
        for name, model in provider.models.items()
    }
    async with _Client(
        api_key=provider.key.get_secret_value() if provider.key else _NO_KEY,
        base_url=provider.base_url,
        timeout=limit,
        max_retries=2,
        longest_pause=limit / 6,
        askings=askings,
        http_client=MendingClient(proxy=provider.proxy, timeout=limit, verify=believed()),
    ) as client:
        yield {
            name: _Fitted(kind(name, client), provider, askings[name]) for name in provider.models
        }
