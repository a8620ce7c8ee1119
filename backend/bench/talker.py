"""A provider that streams: told `Talk 100 20`, it says a hundred words, 20 ms apart.

Each word is the time at which it was said, so that whoever hears it knows how late it is; the
clock is the machine's. With no time between them, words are written as fast as they are taken.
"""

import asyncio
import json
import re
import sys
import time
from typing import cast

from uvicorn.loops.auto import auto_loop_factory

_ASKED = re.compile(rb"Talk (\d+) (\d+)")
_AT_ONCE = 20
"""Words in one write, where nothing is between them."""
_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
_RESPONSE = {
    "id": "resp_1",
    "object": "response",
    "created_at": 1,
    "model": "talker",
    "output": [],
    "parallel_tool_calls": True,
    "tool_choice": "auto",
    "tools": [],
    "status": "in_progress",
}
_PLACE = {"item_id": "msg_1", "output_index": 0, "content_index": 0, "logprobs": []}


def _event(kind: str, **fields: object) -> bytes:
    body = json.dumps({"type": kind, "sequence_number": 1, **fields})
    return f"event: {kind}\ndata: {body}\n\n".encode()


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def _word() -> str:
    return f"@{time.monotonic_ns()}@ "


class Talker(asyncio.Protocol):
    """One connection, with one answer under way at a time."""

    def __init__(self) -> None:
        self._received = b""
        self._said: list[str] = []
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, ended, body = self._received.partition(b"\r\n\r\n")
        length = re.search(rb"content-length: *(\d+)", head, re.IGNORECASE)
        if not ended or length is None or len(body) < int(length[1]):
            return
        words, pause = map(int, _ASKED.findall(body)[-1])
        self._received, self._said = b"", []
        created = _event("response.created", response=_RESPONSE)
        self._transport.write(_HEAD + _chunk(created))
        self._talk(words, pause / 1000)

    def _talk(self, left: int, pause: float) -> None:
        if self._transport.is_closing():
            return
        now = min(left, 1 if pause else _AT_ONCE)
        words = [_word() for _ in range(now)]
        self._said += words
        events = [_event("response.output_text.delta", delta=word, **_PLACE) for word in words]
        self._transport.write(_chunk(b"".join(events)))
        if left > now:
            asyncio.get_running_loop().call_later(pause, self._talk, left - now, pause)
        else:
            self._transport.write(_chunk(self._whole()) + b"0\r\n\r\n")

    def _whole(self) -> bytes:
        text = {"type": "output_text", "text": "".join(self._said), "annotations": []}
        message = {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed"}
        output = [message | {"content": [text]}]
        whole = _RESPONSE | {"output": output, "status": "completed"}
        return _event("response.completed", response=whole)


async def _serve() -> None:
    server = await asyncio.get_running_loop().create_server(Talker, "127.0.0.1", 0, backlog=1024)
    sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_serve(), loop_factory=auto_loop_factory())
