"""Addresses in the environment, judged at the start and not by whoever first calls there."""

import re
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, StringConstraints

_PORTS = {"http": 80, "https": 443}


def _host(value: str) -> str | None:
    """The host of an http:// or https:// address as a browser writes it; None where it is none."""
    try:
        parts = urlsplit(value)
        name, port = parts.hostname or "", parts.port
        ascii_name = name if ":" in name else name.encode("idna").decode()
    except ValueError:  # also what IDNA and `int` say
        return None
    plain = value.isprintable() and " " not in value  # urlsplit takes line breaks out
    known = parts.scheme in _PORTS and port != 0
    return ascii_name if plain and known and re.fullmatch(r"[\w.%:-]+", ascii_name) else None


def http_url(value: str | None) -> str | None:
    """The address itself.

    Raises:
        ValueError: nobody could be called there.
    """
    if value and _host(value) is None:
        raise ValueError("must be an http:// or https:// address, with a host and without blanks")
    return value


def origin(value: str) -> str:
    """An origin as browsers send it: in lower case, ASCII, without the port of its scheme.

    Raises:
        ValueError: it is none, or more than one.
    """
    host = _host(value)
    if host is None or not re.fullmatch(r"https?://[^\s/?#@*]+", value, re.IGNORECASE):
        raise ValueError("must list exact origins such as https://app.example.com (no *, no path)")
    parts = urlsplit(value)
    port = "" if parts.port in (None, _PORTS[parts.scheme]) else f":{parts.port}"
    return f"{parts.scheme}://{f'[{host}]' if ':' in host else host}{port}"


Address = Annotated[str | None, AfterValidator(http_url)]
ListenHost = Annotated[str, StringConstraints(pattern=r"^[!-~]{1,253}$")]
"""A name or an address to listen on; whether it is this machine's shows when it is listened on."""
