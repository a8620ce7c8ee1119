"""The certificates that are believed, read once in a process."""

from functools import cache
from ssl import SSLContext

import httpx2


@cache
def believed() -> SSLContext:
    """What a client of ours checks a server's certificate against.

    To read them takes a hundredth of a second and more, for each client that would do it itself.

    Raises:
        OSError: the files that the environment names are not there.
    """
    return httpx2.create_ssl_context()
