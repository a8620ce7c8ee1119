"""How often one may call: each signed-in user by bucket, each address that fails to sign in.

`rate_limit` marks a route with the name of its bucket and counts after sign-in and
validation, before the endpoint; `count_invalid` counts what validation refuses.
`RateLimitHeaders` tells the client how it stands, on whatever answer comes of a call that was
counted.
"""

import asyncio
import functools
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, nullcontext
from ipaddress import IPv6Address, ip_address, ip_network
from math import ceil
from typing import Any, Concatenate, Literal

from fastapi import Request
from limits import parse_many
from slowapi.util import get_remote_address
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from backend.config import Settings
from backend.errors import InvalidSession, RateLimited
from backend.fair_turns import LONG_BODY
from backend.identity.cookies import brings_session_cookie
from backend.limits.counters import Counters, Standing
from backend.limits.windows import KEYS_MAX
from backend.telemetry.figures import REFUSED

Bucket = Literal["chat", "history", "tasks"]

LONG_PAGES = "60/minute"
"""Pages of more than 100 kB that one address is sent, such as the API's document unpacked."""
LONG_INVALID = "10/minute"
"""Invalid calls with a body over `LONG_BODY`, each of which takes as long to be judged as many."""
SUSPECTS_AT_ONCE = 2
"""Sign-ins that are looked up at the same time for addresses that have failed too often."""


class RateLimits:
    """The limits of an app, each under the name by which answers tell of it."""

    def __init__(self, settings: Settings, counters: Counters) -> None:
        self._counters = counters
        self._cookie = settings.better_auth_cookie
        self._refused: OrderedDict[str, float] = OrderedDict()
        """When each is free again whose failures were too many, the longest refused first."""
        self._suspects = asyncio.Semaphore(SUSPECTS_AT_ONCE)
        self._limits = {
            "chat": parse_many(settings.rate_limit_chat),
            "history": parse_many(settings.rate_limit_history),
            "tasks": parse_many(settings.rate_limit_tasks),
            "invalid": parse_many(settings.rate_limit_tasks),
            "sign-in": parse_many(settings.rate_limit_sign_in),
            "pages": parse_many(LONG_PAGES),
            "long": parse_many(LONG_INVALID),
        }

    async def count(self, request: Request, bucket: Bucket, user_id: str) -> None:
        """Count a call of the user.

        Raises:
            RateLimited: the bucket is full, until the oldest call leaves the moving window.
        """
        _judge(
            request, bucket, await self._counters.count(self._limits[bucket], f"{bucket}:{user_id}")
        )

    async def count_invalid(self, request: Request, user_id: str) -> None:
        """Count a call of the user that is not valid; told only where it is one too many.

        Raises:
            RateLimited: it is.
        """
        key = f"invalid:{user_id}"
        standings = [await self._counters.count(self._limits["invalid"], key)]
        if _is_long(request):
            standings.append(await self._counters.count(self._limits["long"], f"long:{user_id}"))
        for standing in standings:
            if not standing.admitted:
                self._refuse(key, standing)
                _judge(request, "invalid", standing)

    def refuse_unread(self, user_id: str) -> None:
        """Refuse a long body of who has sent too many that were not valid.

        Raises:
            RateLimited: the user has, and the window is not over.
        """
        if self._is_refused(key := f"invalid:{user_id}"):
            REFUSED.add(1, {"limit": "invalid"})
            raise RateLimited(ceil(self._refused[key] - time.monotonic()))

    @asynccontextmanager
    async def failed_sign_ins(self, request: Request) -> AsyncIterator[None]:
        """Count the failure of a sign-in inside the block, by the client's address.

        Who is right passes wherever he comes from, since a whole office may share an address
        with a tab that polls with yesterday's session. One that failed too often is looked up
        a few at a time, so that a flood of guesses leaves the database to others.

        Raises:
            RateLimited: this one is wrong too, and the address has failed too often.
        """
        if not self._claims_a_session(request):
            yield
            return
        address = client_address(request)
        suspect = self._is_refused(f"sign-in:{address}")
        async with self._suspects if suspect else nullcontext():
            try:
                yield
            except InvalidSession:
                await self.count_failure(request, address)
                raise

    async def count_failure(self, request: Request, address: str) -> None:
        key = f"sign-in:{address}"
        standing = await self._counters.count(self._limits["sign-in"], key)
        if not standing.admitted:
            self._refuse(key, standing)
        _judge(request, "sign-in", standing)

    async def count_page(self, request: Request) -> None:
        address = client_address(request)
        _judge(
            request, "pages", await self._counters.count(self._limits["pages"], f"pages:{address}")
        )

    def _refuse(self, key: str, standing: Standing) -> None:
        self._refused[key] = time.monotonic() + standing.reset
        self._refused.move_to_end(key)
        if len(self._refused) > KEYS_MAX:
            self._refused.popitem(last=False)

    def _is_refused(self, key: str) -> bool:
        return self._refused.get(key, 0) > time.monotonic()

    def _claims_a_session(self, request: Request) -> bool:
        """Whether it brings what could be a session, right or wrong, rather than nothing."""
        headers = request.headers
        return "authorization" in headers or brings_session_cookie(headers, self._cookie)


def _judge(request: Request, name: str, standing: Standing) -> None:
    """Tell the client how it stands, and refuse it where it stands badly."""
    limit = standing.limit
    request.state.rate_limit = {
        "RateLimit-Policy": f'"{name}";q={limit.amount};w={limit.get_expiry()}',
        "RateLimit": f'"{name}";r={standing.left};t={standing.reset}',
    }
    if not standing.admitted:
        REFUSED.add(1, {"limit": name})
        raise RateLimited(standing.reset)


def client_address(request: Request) -> str:
    """The client's address, one for a whole /64 of IPv6, which is what one household gets.

    It is the peer's, or what a proxy in FORWARDED_ALLOW_IPS says: the server has settled that.
    """
    host = get_remote_address(request)
    try:
        address = ip_address(host)
    except ValueError:
        return "unknown"
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped:
            return str(address.ipv4_mapped)
        return str(ip_network((address.packed, 64), strict=False))
    return str(address)


async def count_call(request: Request, bucket: Bucket) -> None:
    """Count a call of the signed-in user, in an endpoint that `rate_limit` does not mark.

    Raises:
        RateLimited: the user's bucket is full.
    """
    await _limits_of(request).count(request, bucket, request.state.user_id)


async def count_call_of(request: Request, bucket: Bucket, user_id: str) -> None:
    """`count_call` for a caller who is known by other means than signing in."""
    await _limits_of(request).count(request, bucket, user_id)


async def count_guess(request: Request) -> None:
    """Count a secret that is none among the failed sign-ins of the client's address.

    Raises:
        RateLimited: the address has failed too often.
    """
    await _limits_of(request).count_failure(request, client_address(request))


async def count_long_page(request: Request) -> None:
    """Count a long page that anybody may have, by the client's address.

    Raises:
        RateLimited: the address has had too many.
    """
    await _limits_of(request).count_page(request)


def rate_limit[**P, R](
    bucket: Bucket,
) -> Callable[[Callable[P, Awaitable[R]]], Callable[P, Awaitable[R]]]:
    """Count a call of the endpoint, which takes `request: Request`, against `bucket`.

    The endpoint raises `RateLimited` when the user's bucket is full.
    """

    def decorate(endpoint: Callable[P, Awaitable[R]]) -> Callable[P, Awaitable[R]]:
        @functools.wraps(endpoint)
        async def limited(*args: P.args, **kwargs: P.kwargs) -> R:
            request: Any = kwargs["request"]
            await _limits_of(request).count(request, bucket, request.state.user_id)
            return await endpoint(*args, **kwargs)

        return limited

    return decorate


def refuse_unread(request: Request) -> None:
    """Refuse a long body unread where the user has sent too many that were not valid.

    What is long takes as long to be judged as many calls; a short one is judged all the same.

    Raises:
        RateLimited: the user has, within the window.
    """
    if _is_long(request):
        _limits_of(request).refuse_unread(request.state.user_id)


def _is_long(request: Request) -> bool:
    size = request.headers.get("content-length", "0")
    return "transfer-encoding" in request.headers or (size.isdecimal() and int(size) > LONG_BODY)


async def count_invalid(request: Request) -> None:
    """Count a call that is not valid, whichever route it was meant for.

    Raises:
        RateLimited: the user has made too many.
    """
    await _limits_of(request).count_invalid(request, request.state.user_id)


def limit_failed_sign_ins[**P](
    authenticate: Callable[Concatenate[Request, P], Awaitable[str]],
) -> Callable[Concatenate[Request, P], Awaitable[str]]:
    """Limit how often `authenticate` raises `InvalidSession` for one client address."""

    @functools.wraps(authenticate)
    async def limited(request: Request, /, *args: P.args, **kwargs: P.kwargs) -> str:
        async with _limits_of(request).failed_sign_ins(request):
            return await authenticate(request, *args, **kwargs)

    return limited


def _limits_of(request: Request) -> RateLimits:
    limits: RateLimits = request.app.state.rate_limits
    return limits


class RateLimitHeaders:
    """Put how the client stands on the answer, an error as well as any other."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_limit(message: Message) -> None:
            if message["type"] == "http.response.start":
                told = scope.get("state", {}).get("rate_limit", {})
                MutableHeaders(scope=message).update(told)
            await send(message)

        await self.app(scope, receive, send_with_limit)
