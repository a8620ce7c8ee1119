"""Where calls are counted: in this process, or in a Redis that all replicas share.

Both count in moving windows. A Redis that hangs or is gone costs a call `REDIS_LIMIT` once;
then this process counts for itself, with limits of the same size, until Redis answers again.

What slowapi does here: its `Limiter` keeps the windows of this process, and its key function
reads the client's address. What it cannot do is done with `limits`, on which it is built: it
waits for its store without giving way to others, so Redis is asked through `limits.aio`; it
counts before sign-in and validation, by the path; and its headers are not those of the draft.
"""

import asyncio
import logging
import math
import time
from collections.abc import AsyncIterator, Coroutine, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Protocol

from limits import RateLimitItem, WindowStats
from limits.aio.storage import RedisStorage
from limits.aio.strategies import MovingWindowRateLimiter
from limits.errors import StorageError
from limits.strategies import RateLimiter
from slowapi import Limiter
from slowapi.util import get_remote_address

from backend.config import Settings, SettingsError
from backend.limits.windows import RecentCalls

logger = logging.getLogger(__name__)

REDIS_LIMIT = 0.25
"""Seconds that Redis may take to count one call; the event loop serves others meanwhile."""
LOOK_EVERY = 0.025
LOOKS_MAX = 100
"""Looks for what Redis says; only where this process is busy beyond measure are there so many."""
REDIS_PAUSE = 2.0
"""Seconds for which a Redis that did not answer is left alone."""
REDIS_AT_ONCE = 8
"""Calls of this process that Redis counts at the same time; the others wait their turn."""


@dataclass(frozen=True, slots=True)
class Standing:
    """How a key stands to its limit, the one of several that leaves it the least."""

    limit: RateLimitItem
    admitted: bool
    left: int
    """Calls that it may make now."""
    reset: int
    """Seconds, 1 or more, until its oldest call leaves the window."""


class _Windows(Protocol):
    async def hit(self, item: RateLimitItem, key: str, /) -> bool: ...

    async def get_window_stats(self, item: RateLimitItem, key: str, /) -> WindowStats: ...


class _InProcess:
    """slowapi's own count, which does not wait for anything; a store for each kind of key.

    Of `chat:someone` the kind is `chat`. With one store for all, whoever comes from many
    addresses could have a person's calls forgotten.
    """

    def __init__(self) -> None:
        self._limiters: dict[str, Limiter] = {}

    def _windows(self, key: str) -> RateLimiter:
        kind = key.partition(":")[0]
        if kind not in self._limiters:
            self._limiters[kind] = Limiter(
                get_remote_address,
                strategy="moving-window",
                storage_uri=f"{RecentCalls.STORAGE_SCHEME[0]}://",
            )
        return self._limiters[kind].limiter

    async def hit(self, item: RateLimitItem, key: str) -> bool:
        return self._windows(key).hit(item, key)

    async def get_window_stats(self, item: RateLimitItem, key: str) -> WindowStats:
        return self._windows(key).get_window_stats(item, key)


class Counters:
    """The counts of this app; `redis` are those it shares with other replicas."""

    def __init__(self, redis: _Windows | None = None) -> None:
        self._here = _InProcess()
        self._redis = redis
        self._away = False
        self._ask_again = 0.0
        self._places = asyncio.Semaphore(REDIS_AT_ONCE)

    async def count(self, limits: Sequence[RateLimitItem], key: str) -> Standing:
        """Count a call of `key`, unless one of the limits is reached and refuses it.

        `key` is a kind and who it is of, such as `chat:someone`.
        """
        if self._redis is not None:
            async with self._places:
                if standing := await self._ask(self._redis, limits, key):
                    return standing
        return await _standing(self._here, limits, key)

    async def _ask(
        self, redis: _Windows, limits: Sequence[RateLimitItem], key: str
    ) -> Standing | None:
        """What Redis says; None where it does not, or did not a moment ago."""
        now = asyncio.get_running_loop().time()
        if now < self._ask_again:
            return None
        if self._away:  # this call alone finds out whether it is back
            self._ask_again = now + REDIS_PAUSE
        try:
            standing = await _in_time(_standing(redis, limits, key))
        except (StorageError, OSError, TimeoutError) as error:
            self._note_away(error)
            return None
        self._note_back()
        return standing

    def _note_away(self, error: Exception) -> None:
        self._ask_again = asyncio.get_running_loop().time() + REDIS_PAUSE
        if not self._away:
            self._away = True
            logger.warning("Redis is away: this process counts limits for itself", exc_info=error)

    def _note_back(self) -> None:
        if self._away:
            self._away = False
            self._ask_again = 0.0
            logger.warning("Redis is back: limits are counted there again")


async def _standing(windows: _Windows, limits: Sequence[RateLimitItem], key: str) -> Standing:
    standings = []
    for limit in limits:
        admitted = await windows.hit(limit, key)
        reset, left = await windows.get_window_stats(limit, key)
        seconds = max(1, math.ceil(reset - time.time()))
        standings.append(Standing(limit, admitted, max(0, left), seconds))
        if not admitted:
            return standings[-1]
    return min(standings, key=lambda standing: standing.left)


async def _in_time[T](asking: Coroutine[Any, Any, T]) -> T:
    """What `asking` comes to within `REDIS_LIMIT`.

    A busy process reads an answer late; the time by which it is late is not held against Redis,
    or a burst of calls would have Redis taken for gone, and the limits with it.

    Raises:
        TimeoutError: the time is over.
    """
    loop = asyncio.get_running_loop()
    task = loop.create_task(asking)
    left = REDIS_LIMIT
    try:
        for _ in range(LOOKS_MAX):
            looked = loop.time()
            if (await asyncio.wait({task}, timeout=LOOK_EVERY))[0]:
                return task.result()
            late = loop.time() - looked - LOOK_EVERY
            left -= max(0.0, LOOK_EVERY - late)
            if left <= 0:
                break
        raise TimeoutError
    finally:
        task.cancel()


@asynccontextmanager
async def open_counters(settings: Settings) -> AsyncIterator[Counters]:
    """Where `settings` says; a Redis that is down does not stop the start.

    Raises:
        SettingsError: no Redis could be asked that way.
    """
    uri = settings.rate_limit_storage_uri.get_secret_value()
    if uri == "memory://":
        yield Counters()
        return
    from redis.asyncio import ConnectionPool  # an extra, which not everyone has
    from redis.asyncio.retry import Retry
    from redis.backoff import NoBackoff
    from redis.exceptions import RedisError

    # tried twice, since a connection that lay idle may be dead while Redis is well
    retry = Retry(NoBackoff(), 1)
    # and greeted with nothing, so that a new connection is there at once
    greeting: dict[str, Any] = {"protocol": 2, "driver_info": None}
    most = 2 * REDIS_AT_ONCE
    try:
        pool: Any = ConnectionPool.from_url(uri, max_connections=most, retry=retry, **greeting)
        pool.make_connection()  # which only now looks at what stands behind the `?`
    except (TypeError, ValueError, RedisError) as error:
        raise SettingsError(
            "RATE_LIMIT_STORAGE_URI: has a database or a parameter that redis-py does not take"
        ) from error
    options: dict[str, Any] = {"wrap_exceptions": True, "connection_pool": pool}
    # the pool says where Redis is, but limits wants an address with a port all the same
    storage = RedisStorage(
        "async+redis://localhost:6379",
        implementation="redispy",
        key_prefix="todo-chat",
        **options,
    )
    try:
        yield Counters(MovingWindowRateLimiter(storage))
    finally:
        await pool.aclose()
