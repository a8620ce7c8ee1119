"""Whoever waits for an answer: still there, gone, or handed it.

An answer counts as taken once the last piece of its body was handed to the socket of a client
that had not left by then. What becomes of it on the wire nobody can know.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

type Settle = Callable[[bool], Awaitable[None]]
"""Told once, when the answer was sent or could not be, whether it was taken."""


class Client:
    """The client of one request, watched from when its body has been read.

    When it came and whether it has left is what its connection says, if that is one of
    `backend.web.protocol`.
    """

    def __init__(self, request: Request) -> None:
        told = request.scope.get("state", {})
        self.came: float = told.get("came", asyncio.get_running_loop().time())
        self.left = False
        self._has_left: Callable[[], bool] = told.get("has_left", lambda: False)
        self._receive = request.receive
        self._watching: asyncio.Task[None] | None = None
        self._when_left: list[Callable[[], None]] = []
        self._settle: Settle | None = None

    @property
    def waited(self) -> float:
        """Seconds since its request came to our socket."""
        return asyncio.get_running_loop().time() - self.came

    def when_left(self, tell: Callable[[], None]) -> None:
        """Have `tell` called when it leaves, or now if it has."""
        if self.left:
            tell()
        else:
            self._when_left.append(tell)

    def when_answered(self, settle: Settle) -> None:
        self._settle = settle

    def watch(self) -> None:
        """Notice from now on when it leaves; its body must have been read."""
        self._watching = asyncio.create_task(self._watch())

    async def _watch(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self._note_left()

    def _note_left(self) -> None:
        self.left = True
        for tell in self._when_left:
            tell()
        self._when_left.clear()

    def look(self) -> None:
        """Notice a leaving that the server knows of, though it has told nobody yet.

        Nothing can happen between this and what is called next: `receive` is taken to its first
        wait, and no further.
        """
        if self.left:
            return
        if self._has_left() or _at_once(self._receive()) == {"type": "http.disconnect"}:
            self._note_left()

    async def let_go(self, taken: bool) -> None:
        """Watch it no longer, and tell what has become of the answer."""
        if self._watching is not None:
            self._watching.cancel()
        if self._settle is not None:
            await self._settle(taken)


def _at_once(coming: Coroutine[Any, Any, Message] | Awaitable[Message]) -> Message | None:
    """What is there already; None where it would have to be waited for."""
    waiting = coming.__await__()
    try:
        next(waiting)
    except StopIteration as come:
        message: Message = come.value
        return message
    finally:
        if isinstance(coming, Coroutine):
            coming.close()
    return None


class Handed(Response):
    """A response, sent with an eye on whether its client takes it."""

    def __init__(self, response: Response, client: Client) -> None:
        self._response = response
        self._client = client

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        taken = False

        async def hand(message: Message) -> None:
            nonlocal taken
            is_last = message["type"] == "http.response.body" and not message.get("more_body")
            if is_last:
                self._client.look()
            await send(message)
            taken = is_last and not self._client.left

        try:
            await self._response(scope, receive, hand)
        finally:
            await self._client.let_go(taken)
