"""What the kernel knows of a connection before the event loop does.

A process that is busy, or stands still, takes up late what came in time. Where the system does
not tell, nothing came before it was taken up, and nobody has left.
"""

import socket
import struct

_STATE, _MS_SINCE_DATA = struct.Struct("B"), struct.Struct("52xI")
"""Where both stand in Linux's `struct tcp_info`."""
_CLOSED, _CLOSED_BY_PEER = 7, 8
_BYTES = 56


def quiet_for(connection: socket.socket) -> float:
    """Seconds since the other side has last sent something."""
    told = _tcp_info(connection)
    return _MS_SINCE_DATA.unpack(told)[0] / 1000 if told else 0.0


def has_closed(connection: socket.socket) -> bool:
    """Whether the other side takes and sends nothing any more."""
    told = _tcp_info(connection)
    return bool(told) and _STATE.unpack_from(told)[0] in (_CLOSED, _CLOSED_BY_PEER)


def _tcp_info(connection: socket.socket) -> bytes:
    if not hasattr(socket, "TCP_INFO"):
        return b""
    try:
        told = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _BYTES)
    except OSError:  # not TCP, or closed here
        return b""
    return told if len(told) == _BYTES else b""
