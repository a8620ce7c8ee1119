"""A call of the model as a run sees it: its faults put into our words, its answer mended."""
# ruff: noqa: A002  (the SDK names a parameter `input`)

import email.utils
import math
import re
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Collection
from contextlib import AbstractAsyncContextManager, aclosing
from typing import Any
from uuid import uuid4

from agents import Model, ModelResponse, ModelSettings, Usage
from agents.items import TResponseStreamEvent
from openai import APIConnectionError, APIStatusError, APITimeoutError
from openai.types.responses import (
    ResponseCompletedEvent,
    ResponseFunctionToolCall,
    ResponseOutputItem,
    ResponseUsage,
)

from backend.agent.wire.calls import mend_arguments
from backend.agent.wire.exchange import KEPT, Exchanges
from backend.agent.wire.failures import AGAIN, BrokenOff, Failed
from backend.agent.words.seen import SeenModel
from backend.conversations.tool_calls import strip_unstorable
from backend.journal.spending import Spending
from backend.models import utc_now

_DAY_SECONDS = 86_400
TOO_LONG = "context_too_long"
"""The reason of a `ProviderError` where the input was longer than the model takes."""

_SAYS_TOO_LONG = re.compile(
    r"context[ _-]?(length|window|size|limit)"  # OpenAI, vLLM, Ollama, llama.cpp, OpenRouter
    r"|prompt (is )?too long|prompt contains \d+ tokens"  # Anthropic, Ollama; Mistral
    r"|maximum (prompt|model) length|max_model_len"  # xAI, vLLM
    r"|exceeded model token limit"  # Moonshot
    r"|input token count|input is too long|too many (input )?tokens"  # Gemini, Bedrock, Cohere
    r"|reduce (the length of )?(the|your) (messages?|prompt|input)",  # Groq, OpenAI
    re.IGNORECASE,
)
"""What servers say of a request that is longer than the model's window."""
_TOO_LONG_CODES = {
    "context_length_exceeded",
    "exceed_context_size_error",
    "model_context_window_exceeded",
    "request_too_large",
}


_NO_MONEY = {"insufficient_quota", "exceeded_current_quota_error", "insufficient_balance"}
"""OpenAI's code, Moonshot's type, and others' of a 429 that waiting does not end."""
_BUSY = ("rate_limited", "unavailable")
"""The reasons with which a provider may say when to come back."""

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
        case APIStatusError(status_code=status):
            words = f"{error.message} {error.body}"  # some have it in places of their own
            reason = _provider_reason(status, {error.code, error.type}, words)
            return ProviderError(reason, _retry_after(error) if reason in _BUSY else None)
        case Failed(status=status, error=told):
            names = {str(told.get(name)) for name in ("code", "type")}
            return ProviderError(_provider_reason(status, names, str(told.get("message") or "")))
        case BrokenOff(began=True):
            return ProviderError("connection")
    return ProviderError("bad_answer")


def _provider_reason(status: int, names: Collection[str | None], message: str) -> str:
    """By the status, by the error's code and type, and where they say nothing by its words."""
    if status in (400, 413) and _too_long(status, names, message):
        return TOO_LONG
    if "tool_use_failed" in names:  # Groq: the model wrote a call that cannot be read
        return "bad_answer"
    if status in (408, 504):
        return "timeout"
    if status == 429 and not _NO_MONEY.intersection(names):
        return "rate_limited"
    if status >= 500 or status in AGAIN:
        return "unavailable"
    return "refused" if status >= 400 else "bad_answer"


def _too_long(status: int, names: Collection[str | None], message: str) -> bool:
    """Whether the request is longer than the model takes: by its code, or by well-known words."""
    known = _TOO_LONG_CODES.intersection(names)
    return bool(known or status == 413 or _SAYS_TOO_LONG.search(message[:2000]))


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
    return math.ceil(seconds) if 0 <= seconds <= _DAY_SECONDS else None


def _count_tokens(usage: Usage | ResponseUsage | None, spending: Spending) -> None:
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
    cost is added to `spending`; what the provider wants back with its calls is kept in `run`.
    `by` says who answers, provider and model, to those who run the service.
    """

    def __init__(
        self,
        model: Model,
        outside: Outside,
        spending: Spending,
        run: Exchanges | None = None,
        by: tuple[str, str] = ("", ""),
    ) -> None:
        self._model = model
        self._by = by
        self._outside = outside
        self._spending = spending
        self._run = run or Exchanges()
        self._call_ids: set[str] = set()

    async def get_response(
        self,
        system_instructions: str | None,
        input: Any,
        model_settings: ModelSettings,
        *args: Any,
        **kwargs: Any,
    ) -> ModelResponse:
        settings = self._settings(input, model_settings)
        with SeenModel(self._by, self._spending, input) as call:
            try:
                async with self._outside():
                    with call.asking():
                        response = await self._model.get_response(
                            system_instructions, input, settings, *args, **kwargs
                        )
                    call.over()
                self._take(response.output, response.usage)
            except Exception as error:
                raise as_provider_error(error) from error
            call.answered(response.output)
        return response

    async def stream_response(
        self,
        system_instructions: str | None,
        input: Any,
        model_settings: ModelSettings,
        *args: Any,
        **kwargs: Any,
    ) -> AsyncIterator[TResponseStreamEvent]:
        """The events of an answer; the last of them comes once the run has its place again.

        Raises:
            ProviderError: there is no whole answer, though a part of it may have been seen.
        """
        settings = self._settings(input, model_settings)
        answer = self._model.stream_response(system_instructions, input, settings, *args, **kwargs)
        completed: ResponseCompletedEvent | None = None
        with SeenModel(self._by, self._spending, input) as call:
            try:
                async with self._outside(), aclosing(_events(answer, call)) as events:
                    async for event in events:
                        if isinstance(event, ResponseCompletedEvent):
                            completed = event
                        else:
                            yield event
                    call.over()
                if completed is None:
                    raise ProviderError("bad_answer")
                self._take(completed.response.output, completed.response.usage)
            except Exception as error:
                raise as_provider_error(error) from error
            call.answered(completed.response.output)
        yield completed

    def _settings(self, given: Any, settings: ModelSettings) -> ModelSettings:
        """The settings with the run in them, which knows what came with the calls of `given`."""
        for item in given if isinstance(given, list) else ():
            if reasoning := (item.get("provider_data") or {}).get(KEPT):
                self._run.reasoning.setdefault(item["call_id"], reasoning)
        return settings.resolve(ModelSettings(extra_args={"run": self._run}))

    def _take(self, output: list[ResponseOutputItem], usage: Usage | ResponseUsage | None) -> None:
        _count_tokens(usage, self._spending)
        for item in output:
            if isinstance(item, ResponseFunctionToolCall):
                self._mend(item)

    def _mend(self, call: ResponseFunctionToolCall) -> None:
        """Give a call of a model that speaks over no wire what the wire sees to elsewhere.

        An id of its own in this run, since the SDK drops one of two calls under one id.
        """
        if not call.call_id or call.call_id in self._call_ids:
            call.call_id = uuid4().hex[:9]
        self._call_ids.add(call.call_id)
        call.name = strip_unstorable(str(call.name))
        call.arguments = mend_arguments(call.arguments)


async def _events(
    answer: AsyncIterator[TResponseStreamEvent], call: SeenModel
) -> AsyncGenerator[TResponseStreamEvent]:
    with call.asking():  # with the first the request goes out
        first = await anext(answer, None)
    if first is None:
        return
    yield first
    async for event in answer:
        yield event
