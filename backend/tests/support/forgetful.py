"""A pooler that hands each transaction to another server connection, and says nothing of it.

It knows nothing of prepared statements and passes on the first server's key for cancelling, so
nothing tells it from a direct connection but what it forgets.
"""

import asyncio
from asyncio import StreamReader, StreamWriter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count

from backend.tests.support.tcp_proxy import connect_to, through

IDLE = b"Z\x00\x00\x00\x05I"
SERVERS = 3


@asynccontextmanager
async def forgetful_pooler(database_url: str) -> AsyncIterator[str]:
    """Its address, for the same database; connections are closed at the end."""
    tasks: set[asyncio.Task[None]] = set()

    async def accept(reader: StreamReader, writer: StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        tasks.add(task)
        servers = []
        try:
            startup = await _startup(reader, writer)
            for _ in range(SERVERS):
                servers.append(await connect_to(database_url))
                greeting = await _greet(*servers[-1], startup)
                if len(servers) == 1:
                    first = greeting
            writer.write(first)
            await _pool(reader, writer, servers)
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            for each in (writer, *(server for _, server in servers)):
                each.transport.abort()
            tasks.discard(task)

    listener = await asyncio.start_server(accept, "127.0.0.1", 0)
    try:
        yield through(database_url, listener.sockets[0].getsockname()[1])
    finally:
        listener.close()
        for task in tuple(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _startup(reader: StreamReader, writer: StreamWriter) -> bytes:
    """The client's first message, once it has been refused TLS and GSS."""
    while True:
        length = await reader.readexactly(4)
        rest = await reader.readexactly(int.from_bytes(length) - 4)
        if int.from_bytes(rest[:4]) not in (80877103, 80877104):
            return length + rest
        writer.write(b"N")


async def _greet(reader: StreamReader, writer: StreamWriter, startup: bytes) -> bytes:
    writer.write(startup)
    return await reader.readuntil(IDLE)


async def _pool(
    reader: StreamReader, writer: StreamWriter, servers: list[tuple[StreamReader, StreamWriter]]
) -> None:
    """Each flight that begins outside of a transaction goes to the next server in turn."""
    for turn in count():
        server_reader, server = servers[turn % len(servers)]
        while True:
            asked = await reader.read(1 << 20)
            if not asked:
                return
            server.write(asked)
            answer = b""
            while answer[-6:-1] != IDLE[:-1]:
                piece = await server_reader.read(1 << 20)
                if not piece:
                    return
                writer.write(piece)
                answer += piece
            if answer.endswith(IDLE):
                break
