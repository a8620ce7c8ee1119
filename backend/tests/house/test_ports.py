"""A port that is held is nobody else's, whether its program is there or away."""

import socket
import sys

import pytest

from backend.tests.support.ports import held_port


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a port is not held")
def test_a_held_port_is_its_programs_through_all_its_lives_and_nobody_elses() -> None:
    with held_port() as port:
        address = ("127.0.0.1", port)
        with socket.socket() as other, pytest.raises(OSError, match="in use"):
            other.bind(address)  # as the kernel would for one that asks for any port
        for _ in range(2):
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection(address)
            with socket.create_server(address):  # a server, by SO_REUSEADDR
                socket.create_connection(address).close()
