"""A model provider on the loopback that speaks OpenAI's two wire formats, streamed if asked to.

In a test, `ScriptedProvider` gives out its steps, one to a request. As a process of its own
(`python -m backend.tests.support.scripted_provider`) it answers by `answer_by_rule`, as fast as it
can or after `--delay` seconds, and `GET /seen` tells what it was sent.
"""

import argparse
import asyncio
import json
import sys
from collections import Counter, deque
from collections.abc import Callable
from functools import lru_cache, partial
from types import TracebackType
from typing import Self, cast

from uvicorn.loops.auto import auto_loop_factory

from backend.tests.support.provider_wire import (
    Answer,
    Drop,
    Failure,
    FunctionCall,
    Hang,
    Request,
    Step,
    json_answer,
    render,
)

MARKER = "Add "
"""A message that starts so is answered, by rule, with a call of `add_task`."""


class _Connection(asyncio.Protocol):
    """Keep-alive HTTP/1.1 for clients that send a length and wait for each answer."""

    def __init__(
        self, serve: Callable[[Request, "_Connection"], None], open_now: set["_Connection"]
    ) -> None:
        self._serve = serve
        self._open_now = open_now
        self._received = b""
        self.transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self._open_now.add(self)

    def connection_lost(self, _: Exception | None) -> None:
        self._open_now.discard(self)

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, ended, rest = self._received.partition(b"\r\n\r\n")
        if not ended:
            return
        request_line, *lines = head.decode("latin-1").split("\r\n")
        pairs = (line.partition(":") for line in lines)
        headers = {name.lower(): value.strip() for name, _, value in pairs}
        if len(rest) < int(headers.get("content-length", 0)):
            return
        self._received = b""
        path = request_line.split(" ")[1]
        self._serve(Request(path, headers, json.loads(rest or b"{}")), self)

    def send(self, answer: bytes) -> None:
        """Write the answer, unless the client has left."""
        if not self.transport.is_closing():
            self.transport.write(answer)


class ScriptedProvider:
    """Answers each request with the next of its steps, and keeps what it was asked.

    When the steps are used up it answers with `then`, or with what `then` says to the request;
    without one, a request too many fails the `async with` block.
    """

    def __init__(self, *steps: Step, then: Step | Callable[[Request], Step] | None = None) -> None:
        self.requests: list[Request] = []
        self._steps = deque(steps)
        self._then = then
        self._arrived: asyncio.Queue[Request] = asyncio.Queue()
        self._connections: set[_Connection] = set()
        self._held: set[asyncio.Task[None]] = set()
        self._too_many = 0

    @property
    def base_url(self) -> str:
        """What to set `OPENAI_BASE_URL` to, inside the `async with` block."""
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/v1"

    def add(self, *steps: Step) -> None:
        """Append to the script."""
        self._steps.extend(steps)

    async def arrival(self) -> Request:
        """The next request not yet returned here; waits until it has come."""
        return await self._arrived.get()

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        opened = partial(_Connection, self._serve, self._connections)
        self._server = await loop.create_server(opened, "127.0.0.1", 0)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.close()
        for task in self._held:
            task.cancel()
        for connection in tuple(self._connections):
            connection.transport.abort()
        await self._server.wait_closed()
        assert error or not self._too_many, f"{self._too_many} requests beyond the script"

    def _serve(self, request: Request, connection: _Connection) -> None:
        self.requests.append(request)
        self._arrived.put_nowait(request)
        step = self._next(request)
        if step is None:
            self._too_many += 1
        self._take(step or Failure(500), request, len(self.requests), connection)

    def _next(self, request: Request) -> Step | None:
        if self._steps:
            return self._steps.popleft()
        return self._then(request) if callable(self._then) else self._then

    def _take(self, step: Step, request: Request, number: int, connection: _Connection) -> None:
        match step:
            case Drop():
                connection.send(step.sent)
                connection.transport.close()
            case Hang():
                take_later = partial(self._take, step.then, request, number, connection)
                task = asyncio.ensure_future(_after(step.release, take_later))
                self._held.add(task)
                task.add_done_callback(self._held.discard)
            case _:
                streamed = request.body.get("stream") is True
                connection.send(render(step, request.path, number, streamed=streamed))


async def _after(event: asyncio.Event, action: Callable[[], None]) -> None:
    await event.wait()
    action()


def answer_by_rule(request: Request) -> Answer:
    """`add_task` for a message that starts with `MARKER`; else, and once it ran, a text."""
    for item in reversed(request.items):
        if item.get("type") == "function_call_output" or item.get("role") == "tool":
            break
        if item.get("role") == "user":
            text = str(item["content"])
            if text.startswith(MARKER):
                nothing = dict.fromkeys(("description", "due_date", "priority"))
                arguments = {"title": text.removeprefix(MARKER)[:200], **nothing}
                return Answer(calls=(FunctionCall("add_task", json.dumps(arguments)),))
            break
    return Answer("Here is a plain answer of ordinary length, for the benchmark.")


async def _serve_by_rule(port: int, delay: float) -> None:
    """Serve until cancelled; the port is written to stdout as the first line."""
    loop = asyncio.get_running_loop()
    rendered = lru_cache(maxsize=256)(render)
    seen: Counter[int] = Counter()

    def serve(request: Request, connection: _Connection) -> None:
        if request.path == "/seen":
            connection.send(json_answer(200, seen))
            seen.clear()
            return
        seen[len(request.items)] += 1
        streamed = request.body.get("stream") is True
        answer = rendered(answer_by_rule(request), request.path, 0, streamed=streamed)
        if delay:
            loop.call_later(delay, connection.send, answer)
        else:
            connection.send(answer)

    opened = partial(_Connection, serve, set())
    server = await loop.create_server(opened, "127.0.0.1", port, backlog=1024)
    sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    await server.serve_forever()


def main() -> None:
    parser = argparse.ArgumentParser(description="Answer model requests by rule.")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument("--delay", type=float, default=0.0, help="seconds before each answer")
    options = parser.parse_args()
    serving = _serve_by_rule(options.port, options.delay)
    asyncio.run(serving, loop_factory=auto_loop_factory())


if __name__ == "__main__":
    main()
