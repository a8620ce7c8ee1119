"""The HTTP client of a provider: what it hands on has been mended, streamed or not."""

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import aclosing, suppress
from typing import Any

import httpx2
from openai import DefaultAsyncHttpxClient

from backend.agent.wire.completions import mend_completion
from backend.agent.wire.events import ChatEvents, Event, Events, ResponsesEvents
from backend.agent.wire.exchange import Exchange, current
from backend.agent.wire.failures import Failed
from backend.agent.wire.responses import mend_response
from backend.telemetry.spans import carrier

TAIL_SECONDS = 1.0
"""How long the end of a stream is waited for once the answer is there.

A connection whose answer was read to its end is used again.
"""
_TRY_AGAIN = {"x-should-retry": "true"}
"""What the client of `openai` goes by, whatever the status is."""


class MendingClient(DefaultAsyncHttpxClient):
    """Reads each answer within the exchange that it belongs to."""

    async def send(self, request: httpx2.Request, **options: Any) -> httpx2.Response:
        request.headers.update(carrier())
        response = await super().send(request, **options)
        chat = request.url.path.endswith("/chat/completions")
        if response.status_code >= 400:
            return await _failed(response)
        kind = response.headers.get("content-type", "")
        if not options.get("stream"):
            return _mended(response, chat, current())
        events: Events = ChatEvents(current()) if chat else ResponsesEvents(current())
        if "json" in kind:
            return await _as_stream(response, events)
        return _remade(response, stream=_Mended(response, events))


async def _failed(response: httpx2.Response) -> httpx2.Response:
    """A failure as it is; one that is only of this attempt is said to be so."""
    if response.status_code == 400:
        text = (await response.aread())[:20_000]
        if b"tool_use_failed" in text:  # Groq: the model wrote a call that cannot be read
            return _remade(response, content=response.content, headers=_TRY_AGAIN)
    return response


def _mended(response: httpx2.Response, chat: bool, exchange: Exchange) -> httpx2.Response:
    try:
        body = json.loads(response.content)
    except (ValueError, RecursionError):
        return response
    try:
        body = (mend_completion if chat else mend_response)(body, exchange)
    except Failed as failure:
        return _failure_within(response, failure)
    return _remade(response, content=_dumped(body))


async def _as_stream(response: httpx2.Response, events: Events) -> httpx2.Response:
    """An answer in one piece, where a stream was asked for."""
    try:
        body = json.loads(await response.aread())
        whole = list(events.whole(body if isinstance(body, dict) else {}))
    except (ValueError, RecursionError):
        return response
    except Failed as failure:
        return _failure_within(response, failure)
    content = b"".join([*map(_framed, whole), b"data: [DONE]\n\n"])
    return _remade(response, content=content, headers={"content-type": "text/event-stream"})


def _failure_within(response: httpx2.Response, failure: Failed) -> httpx2.Response:
    """The answer with the status that it should have had."""
    content = _dumped({"error": failure.error})
    advice = {} if failure.again else {"x-should-retry": "false"}
    return _remade(response, content=content, status=failure.status, headers=advice)


def _remade(
    response: httpx2.Response,
    *,
    content: bytes | None = None,
    stream: httpx2.AsyncByteStream | None = None,
    status: int | None = None,
    headers: dict[str, str] | None = None,
) -> httpx2.Response:
    ours = {"content-length", "content-encoding", "transfer-encoding", *(headers or {})}
    kept = [(name, value) for name, value in response.headers.items() if name not in ours]
    return httpx2.Response(
        status or response.status_code,
        headers=[*kept, *(headers or {}).items()],
        content=content,
        stream=stream,
        request=response.request,
        extensions=response.extensions,
    )


def _dumped(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode(errors="replace")


def _framed(event: Event) -> bytes:
    name = f"event: {event['type']}\n" if "type" in event else ""
    return name.encode() + b"data: " + _dumped(event) + b"\n\n"


class _Mended(httpx2.AsyncByteStream):
    """The events of an answer as they go on, and the connection that they come by."""

    def __init__(self, response: httpx2.Response, events: Events) -> None:
        self._response = response
        self._events = events

    async def __aiter__(self) -> AsyncIterator[bytes]:
        self._response.headers["content-type"] = "text/event-stream"  # whatever it is called
        async with aclosing(_read_events(self._response)) as source:
            marked = False
            async for event in source:
                for mended in self._events.add(event) if event else ():
                    yield _framed(mended)
                marked = event is None
                if marked or self._events.done:
                    break
            if not self._events.done:
                for mended in self._events.end(marked=marked):
                    yield _framed(mended)
            await _drain(source)
        yield b"data: [DONE]\n\n"

    async def aclose(self) -> None:
        await self._response.aclose()


async def _read_events(response: httpx2.Response) -> AsyncGenerator[Event | None]:
    """The events of a stream, and None for the mark of its end; what is no object is left out."""
    async for sent in httpx2.EventSource(response):
        if sent.data.strip() == "[DONE]":
            yield None
        for event in _parsed(sent.data):
            yield event


async def _drain(source: AsyncGenerator[Event | None]) -> None:
    """Read on to the end of the body, so that the connection can be used again."""
    with suppress(TimeoutError, httpx2.HTTPError):
        async with asyncio.timeout(TAIL_SECONDS):
            async for _ in source:
                pass


def _parsed(text: str) -> Iterator[Event]:
    try:
        event = json.loads(text)
    except (ValueError, RecursionError):
        return
    if isinstance(event, dict):
        yield event
