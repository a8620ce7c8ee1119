"""Limits per verified user: one bucket for each name below, whatever the path or the address.

The limits are slowapi's, built for each app from its settings; `rate_limit` marks a route
with the name of its bucket and runs after sign-in and validation, before the endpoint.
"""

import functools
import math
import time
from collections.abc import Awaitable, Callable
from typing import Any, Literal

from fastapi import Request
from slowapi import Limiter
from slowapi.errors import RateLimitExceeded

from backend.config import Settings
from backend.errors import RateLimited

Bucket = Literal["chat", "history", "tasks"]
Check = Callable[..., Awaitable[None]]


def _user_key(request: Request) -> str:
    # slowapi skips the limit for an empty key, without a word
    return f"user:{request.state.user_id}"


def create_rate_limits(settings: Settings) -> dict[Bucket, Check]:
    """One check a bucket over one storage; each takes `request`.

    A check raises `RateLimited` when the user's bucket is full, with the seconds until the
    oldest call leaves the moving window.
    """
    limiter = Limiter(
        key_func=_user_key, strategy="moving-window", storage_uri=settings.rate_limit_storage_uri
    )
    limiter.enabled = True  # slowapi reads the environment too, where others may switch it off

    def check(bucket: Bucket, limit: str) -> Check:
        async def admit(request: Request) -> None:
            """Counted by slowapi before it is called; there is nothing left to do."""

        admit.__name__ = bucket  # slowapi files the limits of a function under its name
        counted = limiter.shared_limit(limit, scope=bucket)(admit)

        async def check_bucket(request: Request) -> None:
            try:
                await counted(request=request)
            except RateLimitExceeded:
                limit_hit, key = request.state.view_rate_limit
                reset, _ = limiter.limiter.get_window_stats(limit_hit, *key)
                raise RateLimited(retry_after=math.ceil(reset - time.time())) from None

        return check_bucket

    return {
        "chat": check("chat", settings.rate_limit_chat),
        "history": check("history", settings.rate_limit_history),
        "tasks": check("tasks", settings.rate_limit_tasks),
    }


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
            await request.app.state.rate_limits[bucket](request=request)
            return await endpoint(*args, **kwargs)

        return limited

    return decorate
