"""A call of the model as a run sees it: its faults put into our words, its answer mended."""

import email.utils
import json
import math
import re
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, aclosing
from typing import Any
from uuid import uuid4

from agents import Model, ModelResponse, Usage
from agents.items import TResponseStreamEvent
from openai import APIConnectionError, APIStatusError, APITimeoutError
from openai.types.responses import (
    ResponseCompletedEvent,
    ResponseFunctionToolCall,
    ResponseOutputItem,
    ResponseUsage,
)

from backend.conversations.tool_calls import strip_unstorable, without_unstorable
from backend.journal.spending import Spending
from backend.models import utc_now

_DAY = 86_400
_PLAIN_MAX = 300
"""Characters of arguments that cannot be nested too deeply to be read."""
TOO_LONG = "context_too_long"
"""The reason of a `ProviderError` where the input was longer than the model takes."""

_TOO_LONG = re.compile(
    r"context[ _-]?(length|window|size|limit)"  # OpenAI, vLLM, Ollama, llama.cpp, OpenRouter
    r"|prompt (is )?too long|prompt contains \d+ tokens"  # Anthropic, Ollama; Mistral
    r"|maximum (prompt|model) length|max_model_len"  # xAI, vLLM
    r"|input token count|input is too long|too many (input )?tokens"  # Gemini, Bedrock, Cohere
    r"|reduce (the length of )?(the|your) (messages?|prompt|input)",  # Groq, OpenAI
    re.IGNORECASE,
)
"""What servers say of a request that is longer than the model's window."""
_TOO_LONG_CODES = {"context_length_exceeded", "exceed_context_size_error", "request_too_large"}


type Outside = Callable[[], AbstractAsyncContextManager[None]]
"""Opens a stretch in which a run waits for something outside of the process."""


class ProviderError(Exception):
    """The model gave no answer.

    `reason` is one of those of `backend.errors.AIServiceUnavailable`, or `TOO_LONG`;
    `retry_after` is in seconds, where the provider said it.
    """

    def __init__(self, reason: str, retry_after: int | None = None) -> None:
        self.reason = reason
        self.retry_after = retry_after
        super().__init__(reason)


class UnconfiguredModel(Model):
    """Stands where no key is set: every call of it is a `ProviderError`."""

    async def get_response(self, *_: Any, **__: Any) -> ModelResponse:
        raise ProviderError("not_configured")

    def stream_response(self, *_: Any, **__: Any) -> AsyncIterator[TResponseStreamEvent]:
        raise ProviderError("not_configured")


def as_provider_error(error: Exception) -> ProviderError:
    """The reason behind whatever a call of the model raised; its text stays behind."""
    match error:
        case ProviderError():
            return error
        case APITimeoutError():
            return ProviderError("timeout")
        case APIConnectionError():
            return ProviderError("connection")
        case APIStatusError() if _too_long(error):
            return ProviderError(TOO_LONG)
        case APIStatusError(status_code=408):
            return ProviderError("timeout")
        case APIStatusError(status_code=429) if error.code != "insufficient_quota":
            return ProviderError("rate_limited", _retry_after(error))
        case APIStatusError(status_code=status) if status >= 500:
            return ProviderError("unavailable", _retry_after(error))
        case APIStatusError():
            return ProviderError("refused")
    return ProviderError("bad_answer")


def _too_long(error: APIStatusError) -> bool:
    """Whether the request is longer than the model takes: by its code, or by well-known words."""
    if error.status_code not in (400, 413):
        return False
    known = {error.code, error.type} & _TOO_LONG_CODES
    return bool(known or error.status_code == 413 or _TOO_LONG.search(error.message[:2000]))


def _retry_after(error: APIStatusError) -> int | None:
    """Whole seconds, up to a day, from a number of them or a date."""
    given = error.response.headers.get("retry-after", "")
    try:
        if given.endswith("GMT"):
            seconds = (email.utils.parsedate_to_datetime(given) - utc_now()).total_seconds()
        else:
            seconds = float(given)
    except ValueError:
        return None
    return math.ceil(seconds) if 0 <= seconds <= _DAY else None


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


def _count(usage: Usage | ResponseUsage | None, spending: Spending) -> None:
    if usage is not None:
        spending.add(
            input_tokens=usage.input_tokens,
            cached_tokens=usage.input_tokens_details.cached_tokens or 0,
            output_tokens=usage.output_tokens,
        )


class RunModel(Model):
    """The process's model as one run sees it.

    It waits for the provider inside `outside()`, where the run's place is free for others, and
    whatever the provider or its client raises comes out as a `ProviderError`. What each answer
    cost is added to `spending`.
    """

    def __init__(self, model: Model, outside: Outside, spending: Spending) -> None:
        self._model = model
        self._outside = outside
        self._spending = spending
        self._call_ids: set[str] = set()

    async def get_response(self, *args: Any, **kwargs: Any) -> ModelResponse:
        async with self._outside():
            try:
                response = await self._model.get_response(*args, **kwargs)
                self._take(response.output, response.usage)
            except Exception as error:
                raise as_provider_error(error) from error
        return response

    async def stream_response(
        self, *args: Any, **kwargs: Any
    ) -> AsyncIterator[TResponseStreamEvent]:
        """The events of an answer; the last of them comes once the run has its place again.

        Raises:
            ProviderError: there is no whole answer, though a part of it may have been seen.
        """
        completed: ResponseCompletedEvent | None = None
        try:
            async with self._outside(), aclosing(self._events(*args, **kwargs)) as events:
                async for event in events:
                    if isinstance(event, ResponseCompletedEvent):
                        completed = event
                    else:
                        yield event
            if completed is None:
                raise ProviderError("bad_answer")
            self._take(completed.response.output, completed.response.usage)
        except Exception as error:
            raise as_provider_error(error) from error
        yield completed

    async def _events(self, *args: Any, **kwargs: Any) -> AsyncGenerator[TResponseStreamEvent]:
        async for event in self._model.stream_response(*args, **kwargs):
            yield event

    def _take(self, output: list[ResponseOutputItem], usage: Usage | ResponseUsage | None) -> None:
        _count(usage, self._spending)
        for item in output:
            if isinstance(item, ResponseFunctionToolCall):
                self._mend(item)

    def _mend(self, call: ResponseFunctionToolCall) -> None:
        """Give a call an id of its own in this run, and arguments and a name that can be read.

        The SDK drops one of two calls under one id, or ends the run; some servers send none.
        """
        if not call.call_id or call.call_id in self._call_ids:
            call.call_id = f"call_{uuid4().hex}"
        self._call_ids.add(call.call_id)
        call.name = strip_unstorable(str(call.name))
        call.arguments = _readable(call.arguments)
