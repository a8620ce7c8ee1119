"""How a toolset's server is reached over HTTP: only where it may be, and read only so far."""

import asyncio
import socket
from collections.abc import AsyncIterator
from ipaddress import IPv4Address, IPv6Address, ip_address
from ssl import SSLContext
from typing import Any

import httpx2

ANSWER_MAX = 1024 * 1024
"""Bytes of one answer of a server."""
_METADATA = frozenset(map(ip_address, ("100.100.100.200", "192.0.0.192", "fd00:ec2::254")))
"""Where clouds hand out secrets, besides the link-local addresses."""


class GuardedTransport(httpx2.AsyncHTTPTransport):
    """Connects to addresses that were looked at, and reads no more of an answer than may be.

    What a name means is asked once, and what was looked at is what is connected to.
    """

    def __init__(self, verify: SSLContext | bool, *, link_local: bool) -> None:
        super().__init__(verify=verify, trust_env=False)
        self._link_local = link_local

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        named = request.url
        addresses = await _addresses(named.host)
        if not self._link_local and any(map(_hands_out_secrets, addresses)):
            raise httpx2.ConnectError("the server is where none may be", request=request)
        request.extensions = {**request.extensions, "sni_hostname": named.host}
        try:
            response = await self._first_that_answers(request, addresses)
        finally:
            request.url = named
        response.stream = _BoundedStream(response.stream)
        if response.headers.get("content-encoding", "identity") != "identity":
            # nobody has asked for it, and packed it is no measure of what comes out
            await response.aclose()
            raise httpx2.ReadError("the answer is packed", request=request)
        return response

    async def _first_that_answers(
        self, request: httpx2.Request, addresses: list[IPv4Address | IPv6Address]
    ) -> httpx2.Response:
        *others, last = addresses
        for address in others:
            request.url = request.url.copy_with(host=str(address))
            try:
                return await super().handle_async_request(request)
            except (httpx2.ConnectError, httpx2.ConnectTimeout):
                continue
        request.url = request.url.copy_with(host=str(last))
        return await super().handle_async_request(request)


async def _addresses(host: str) -> list[IPv4Address | IPv6Address]:
    """What the name means, without doubles; never nothing.

    Raises:
        OSError: it means nothing.
    """
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return list({ip_address(str(each[4][0]).partition("%")[0]): None for each in found})


def _hands_out_secrets(address: IPv4Address | IPv6Address) -> bool:
    plain = getattr(address, "ipv4_mapped", None) or address
    return plain.is_link_local or plain in _METADATA


class _BoundedStream(httpx2.AsyncByteStream):
    def __init__(self, stream: Any) -> None:
        self._stream = stream

    async def __aiter__(self) -> AsyncIterator[bytes]:
        read = 0
        async for chunk in self._stream:
            read += len(chunk)
            if read > ANSWER_MAX:
                raise httpx2.ReadError("the answer is too large")
            yield chunk

    async def aclose(self) -> None:
        await self._stream.aclose()
