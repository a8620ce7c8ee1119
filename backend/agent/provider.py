"""The model behind the agent: chosen once for the process, its faults put into our words.

`openai` walks every history item and tool schema through the type hints of its parameters
before it sends them, to rename aliased keys and to format dates and files: two thirds of a
model call's CPU at 50 messages. What the Agents SDK hands over is plain JSON already, so the
large parameters go around that walk as `extra_body`, which is merged into the same body.
"""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import cached_property
from typing import Any
from uuid import uuid4

from agents import Model, ModelResponse, OpenAIChatCompletionsModel, OpenAIResponsesModel, Usage
from agents.items import TResponseStreamEvent
from openai import APIConnectionError, APIStatusError, APITimeoutError, AsyncOpenAI
from openai.resources.chat import AsyncChat
from openai.resources.chat.completions import AsyncCompletions
from openai.resources.responses import AsyncResponses
from openai.types.responses import ResponseFunctionToolCall

from backend.agent.admission import Place
from backend.agent.offline_model import OfflineModel
from backend.config import Settings
from backend.services.record import strip_unstorable, without_unstorable
from backend.services.spending import Spending

_LARGE = ("input", "messages", "tools")

_PLAIN_MAX = 300
"""Characters of arguments that cannot be nested too deeply to be read."""


TOO_LONG = "context_too_long"


class ProviderError(Exception):
    """The model gave no answer.

    `reason` is one of `timeout`, `connection`, `rate_limited`, `refused`, `unavailable`,
    `not_configured`, `bad_answer`, `context_too_long`; `retry_after` is in seconds, where the
    provider said it.
    """

    def __init__(self, reason: str, retry_after: int | None = None) -> None:
        self.reason = reason
        self.retry_after = retry_after
        super().__init__(reason)


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
    """`AsyncOpenAI` that sends what it is given, as it is given."""

    @cached_property
    def responses(self) -> AsyncResponses:
        return _Responses(self)

    @cached_property
    def chat(self) -> AsyncChat:
        return _Chat(self)


class UnconfiguredModel(Model):
    """Stands where no key is set: every call of it is a `ProviderError`."""

    async def get_response(self, *_: Any, **__: Any) -> ModelResponse:
        raise ProviderError("not_configured")

    def stream_response(self, *_: Any, **__: Any) -> AsyncIterator[TResponseStreamEvent]:
        raise ProviderError("not_configured")


@asynccontextmanager
async def open_model(settings: Settings) -> AsyncIterator[Model]:
    """The process's model; its client, shared by all runs, is closed at the end."""
    if settings.offline:
        yield OfflineModel()
    elif settings.openai_api_key is None:
        yield UnconfiguredModel()
    else:
        async with _Client(
            api_key=settings.openai_api_key.get_secret_value(),
            base_url=settings.openai_base_url,
            timeout=settings.ai_timeout_seconds,
            max_retries=2,
        ) as client:
            if settings.openai_api == "chat_completions":
                yield OpenAIChatCompletionsModel(settings.openai_model, client)
            else:
                yield OpenAIResponsesModel(settings.openai_model, client)


def as_provider_error(error: Exception) -> ProviderError:
    """The reason behind whatever a call of the model raised; its text stays behind."""
    match error:
        case ProviderError():
            return error
        case APITimeoutError():
            return ProviderError("timeout")
        case APIConnectionError():
            return ProviderError("connection")
        case APIStatusError(code="context_length_exceeded"):
            return ProviderError(TOO_LONG)
        case APIStatusError(status_code=429):
            return ProviderError("rate_limited", _retry_after(error))
        case APIStatusError(status_code=status) if status >= 500:
            return ProviderError("unavailable", _retry_after(error))
        case APIStatusError():
            return ProviderError("refused")
    return ProviderError("bad_answer")


def _retry_after(error: APIStatusError) -> int | None:
    given = error.response.headers.get("retry-after", "")
    return int(given) if given.isdecimal() and len(given) < 6 else None


def _readable(arguments: object) -> str:
    """Arguments as the text the SDK gets through: it fails on lone surrogates and on depth.

    Some servers send an object where the format has a text, or nothing at all.
    """
    if not isinstance(arguments, str):
        return json.dumps(without_unstorable(arguments)) if arguments else "{}"
    arguments = strip_unstorable(arguments)
    if "\\u" not in arguments and len(arguments) < _PLAIN_MAX:
        return arguments
    try:
        return json.dumps(without_unstorable(json.loads(arguments)))
    except RecursionError:
        return "null"
    except ValueError:
        return arguments


def _count(usage: Usage, spending: Spending) -> None:
    spending.add(
        input_tokens=usage.input_tokens,
        cached_tokens=usage.input_tokens_details.cached_tokens or 0,
        output_tokens=usage.output_tokens,
    )


class RunModel(Model):
    """The process's model as one run sees it.

    While it waits for the provider the run's place is free for others, and whatever the
    provider or its client raises comes out as a `ProviderError`. What each answer cost is added
    to `spending`.
    """

    def __init__(self, model: Model, place: Place, spending: Spending) -> None:
        self._model = model
        self._place = place
        self._spending = spending
        self._call_ids: set[str] = set()

    async def get_response(self, *args: Any, **kwargs: Any) -> ModelResponse:
        async with self._place.free():
            try:
                response = await self._model.get_response(*args, **kwargs)
                _count(response.usage, self._spending)
                for item in response.output:
                    if isinstance(item, ResponseFunctionToolCall):
                        self._mend(item)
            except Exception as error:
                raise as_provider_error(error) from error
        return response

    def _mend(self, call: ResponseFunctionToolCall) -> None:
        """Give a call an id of its own in this run, and arguments and a name that can be read.

        The SDK drops one of two calls under one id, or ends the run; some servers send none.
        """
        if not call.call_id or call.call_id in self._call_ids:
            call.call_id = f"call_{uuid4().hex}"
        self._call_ids.add(call.call_id)
        call.name = strip_unstorable(str(call.name))
        call.arguments = _readable(call.arguments)

    def stream_response(self, *args: Any, **kwargs: Any) -> AsyncIterator[TResponseStreamEvent]:
        return self._model.stream_response(*args, **kwargs)
