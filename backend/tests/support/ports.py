"""Ports for programs that have to be told theirs."""

import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def held_port() -> Iterator[int]:
    """A port of 127.0.0.1 that nobody else is given for the block, whoever listens there or not.

    It is bound and not listened at: on Linux who asks for this very port may then bind it too, by
    SO_REUSEADDR, which every server sets. Elsewhere it was merely free a moment ago.
    """
    with socket.socket() as held:
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        held.bind(("127.0.0.1", 0))
        port: int = held.getsockname()[1]
        if sys.platform != "linux":
            held.close()
        yield port
