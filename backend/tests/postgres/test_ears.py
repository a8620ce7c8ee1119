"""What is heard of a connection to the database, on each loop that may carry the service."""

import asyncio
import socket
from asyncio import AbstractEventLoop
from collections.abc import Callable

import pytest
import uvloop

from backend.postgres.waiting import Ears


async def hear_the_end(mine: socket.socket, other: socket.socket) -> None:
    """The other side says a last word and closes; what is said to it then is answered by a reset,
    and of that each loop tells in its way.
    """
    ears = Ears(mine.fileno())
    with ears.limit(5):
        other.sendall(b"over")
        other.close()
        await ears.wait()
    with ears.limit(5):
        mine.send(b"still there?")
        await ears.wait()
        assert mine.recv(64) == b"over"
        await ears.wait()
    ears.close()


@pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_the_end_of_a_connection_that_was_reset_is_heard_at_once(
    loop: Callable[[], AbstractEventLoop],
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        mine = socket.create_connection(listening.getsockname())
        other, _ = listening.accept()
    mine.setblocking(False)
    with mine, other:
        asyncio.run(hear_the_end(mine, other), loop_factory=loop)
