"""What the kernel knows of a connection that nobody has looked at yet."""

import socket
import sys

import pytest

from backend.faults.waiting import until
from backend.web.sockets import has_closed, quiet_for

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="told by Linux alone")


async def test_what_came_before_it_was_taken_up_is_dated_and_a_leaving_is_known() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        socket.create_connection(listener.getsockname()) as client,
    ):
        client.send(b"hello")
        taken_up, _ = listener.accept()
        with taken_up:

            async def is_late() -> bool:
                return quiet_for(taken_up) > 0.05

            await until(is_late, 5)
            assert not has_closed(taken_up)
            client.close()

            async def is_closed() -> bool:
                return has_closed(taken_up)

            await until(is_closed, 5)
            assert taken_up.recv(100) == b"hello"


def test_of_what_is_no_tcp_nothing_is_known() -> None:
    one, other = socket.socketpair()
    with one, other:
        other.close()
        assert (quiet_for(one), has_closed(one)) == (0.0, False)
    assert (quiet_for(one), has_closed(one)) == (0.0, False)
