"""Bytes to a server as no client library would send them, and what comes back."""

import asyncio
import json
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

READ_LIMIT = 20.0
"""Seconds after which a connection that the server should have closed fails the test."""


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def code(self) -> str:
        """The code of the envelope, which this has to be."""
        envelope: dict[str, Any] = json.loads(self.body)
        assert set(envelope) == {"error", "detail"}
        code: str = envelope["error"]["code"]
        return code


def request(line: str | bytes, *fields: str | bytes, body: bytes = b"") -> bytes:
    """A request without a Content-Length; its connection is closed after the answer."""
    head = [line, "Host: service", "Connection: close", *fields, "", ""]
    return b"\r\n".join(_bytes(each) for each in head) + body


def with_length(line: str, *fields: str | bytes, body: bytes) -> bytes:
    return request(line, *fields, f"Content-Length: {len(body)}", body=body)


def _bytes(text: str | bytes) -> bytes:
    return text if isinstance(text, bytes) else text.encode()


async def opened(address: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    target = urlsplit(address)
    return await asyncio.open_connection(target.hostname, target.port)


async def send(address: str, data: bytes) -> Answer:
    """The answer to `data`, all of it sent at once."""
    return await trickle(address, data)


async def trickle(address: str, first: bytes, drop: bytes = b"", every: float = 0.05) -> Answer:
    """The answer to `first` and then a `drop` every so many seconds; the connection is closed.

    An empty answer has status 0.
    """
    reader, writer = await opened(address)
    writer.write(first)
    dripping = asyncio.create_task(_drip(writer, drop, every))
    try:
        async with asyncio.timeout(READ_LIMIT):
            received = await _read(reader)
    finally:
        dripping.cancel()
        writer.close()
    return parsed(received)


async def _drip(writer: asyncio.StreamWriter, drop: bytes, every: float) -> None:
    while drop:
        await asyncio.sleep(every)
        writer.write(drop)


async def _read(reader: asyncio.StreamReader) -> bytes:
    received = b""
    try:
        while some := await reader.read(65_536):
            received += some
    except ConnectionResetError:
        pass  # it was closed with something of ours unread
    return received


def parsed(received: bytes) -> Answer:
    """The first answer in `received`, after any that only says to go on."""
    head, _, body = received.removeprefix(b"HTTP/1.1 100 Continue\r\n\r\n").partition(b"\r\n\r\n")
    line, *fields = head.decode("latin-1").split("\r\n")
    headers = dict(field.lower().split(": ", 1) for field in fields)
    status = int(line.split()[1]) if line else 0
    return Answer(status, headers, body[: int(headers.get("content-length", len(body)))])
