"""A stream as a response: what its viewer is shown, on the wire of the AI SDK."""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial

from fastapi import Request, Response
from starlette.types import Receive, Scope, Send

from backend.journal.begin import Busy
from backend.journal.requests import Answer, TurnRequest
from backend.journal.standing import Standing, running_turn
from backend.models import MessageStatus
from backend.rate_limiter import count_call
from backend.turns.channels import StreamCut, Viewer, broken_off
from backend.turns.runs import Run
from backend.turns.runtime import Runtime
from backend.turns.streams import Stream
from backend.turns.take import find_or_begin
from backend.web.clients import Client
from backend.web.ui_stream import (
    HEADERS,
    KEEP_ALIVE,
    NOTHING,
    Known,
    MessageStream,
    error_of,
    metadata,
)


def wants_stream(request: Request) -> bool:
    """Whether the client asks for events, where a route can answer in one piece as well."""
    accepted = request.headers.get("accept", "").lower().split(",")
    return any(each.partition(";")[0].strip() == "text/event-stream" for each in accepted)


async def stream_turn(
    request: Request, runtime: Runtime, user_id: str, client: Client, asked: TurnRequest
) -> Response:
    """The stream of the turn that is asked for; one that runs is joined, whatever the limits say.

    Raises:
        As `take_turn`, but for what befalls a run: that is told in the stream.
        TooManyViewers: the person has as many streams open as they may.
    """
    async with runtime.autocommit() as session:
        running = await running_turn(session, user_id, asked)
    if running is not None:
        return follow_turn(runtime, user_id, client, running)
    await count_call(request, "chat")
    find = partial(find_or_begin, runtime, user_id, asked, client, streamed=True)
    return await show(runtime, user_id, client, find)


async def show(
    runtime: Runtime,
    user_id: str,
    client: Client,
    begin: Callable[[], Awaitable[Run | Answer | Busy]],
    known: Known = NOTHING,
) -> Response:
    """The stream of what `begin` begins, joins or finds, behind what the client has of it.

    Raises:
        TooManyViewers: the person has as many streams open as they may.
        What `begin` raises.
    """
    stream = Stream(runtime, user_id, client)
    try:
        await stream.watch(await begin())
    except BaseException:
        stream.close()
        raise
    return EventStream(stream, known)


def follow_turn(runtime: Runtime, user_id: str, client: Client, turn: Standing) -> Response:
    """The stream of a turn that was begun before, from its beginning.

    Raises:
        TooManyViewers: the person has as many streams open as they may.
    """
    stream = Stream(runtime, user_id, client)
    stream.follow(turn)
    return EventStream(stream)


class EventStream(Response):
    """Sent as it comes; cut, and not closed, where what comes next is not known."""

    def __init__(self, stream: Stream, known: Known = NOTHING) -> None:
        replayed = {"Idempotency-Replayed": "true"} if stream.replayed else {}
        super().__init__(headers=HEADERS | replayed)
        del self.headers["content-length"]
        self._viewer = stream.viewer
        self._stream = stream
        self._known = known

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        channel = self._viewer.channel
        wire = MessageStream(channel.message_id, self._known)
        begun = wire.begin(metadata(channel.conversation_id, channel.created_at))
        try:
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            await send({"type": "http.response.body", "body": begun, "more_body": True})
            try:
                await self._send_parts(wire, send)
            except asyncio.CancelledError:  # only the order to stop cancels a request
                if not self._stream.cut_off():
                    raise
                await self._send_parts(wire, send)
        except StreamCut:
            return  # without an end, so that the server cuts the connection
        finally:
            self._stream.close()
        if channel.ended is None:
            # the server, told to stop, is to wait for a run whose client has left
            await self._stream.outlast()

    async def _send_parts(self, wire: MessageStream, send: Send) -> None:
        channel, rest = self._viewer.channel, b""
        async for parts in self._viewer.parts():
            chunk = b"".join(map(wire.show, parts))
            if channel.ended is not None:
                rest += chunk
            else:
                body = chunk or KEEP_ALIVE
                await send({"type": "http.response.body", "body": body, "more_body": True})
        await send({"type": "http.response.body", "body": rest + _end(wire, self._viewer)})


def _end(wire: MessageStream, viewer: Viewer) -> bytes:
    """How the turn has ended; nothing for a viewer that has left."""
    ended = viewer.channel.ended
    if ended is None:
        return b""
    if ended.stopped:
        return wire.stop()
    if ended.status == MessageStatus.COMPLETE:
        return wire.finish()
    if ended.status == MessageStatus.WAITING:
        return wire.wait()
    return wire.fail(error_of(viewer.channel.error or broken_off(viewer.channel, ended)))
