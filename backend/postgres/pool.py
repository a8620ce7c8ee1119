"""The connections of a process: bounded in number, and each wait for one in time.

A connection is looked at before it is used only where it has idled, has spoken unasked, or where
another one has failed since: what closes is heard of at once, without a question. In a pool
beside another, for what must not wait, such a one is replaced: a look that hangs takes a second.
"""

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any

from psycopg import OperationalError

from backend.postgres.address import Address
from backend.postgres.connection import Asked, Connection
from backend.postgres.queries import Query
from backend.telemetry.figures import CONNECTION_TIMEOUTS, CONNECTION_WAIT

logger = logging.getLogger(__name__)

CHECKOUT_S = 3.0
"""Seconds that a request waits for a connection that is free."""
LOOK_AFTER_S = 30.0
"""Seconds of idling after which a connection is looked at before it is used."""
LOOK_S = 1.0
"""Seconds that such a look may take."""
RECYCLE_S = 1800.0
"""Seconds after which a connection is replaced."""
FROZEN_MS = 3_000
"""Milliseconds a transaction may lie idle, less than a run's lease; ours never wait in one."""
STATEMENT_MS = 5_000
LOCK_MS = 3_500
"""Server's own limits, just beyond and just within what we wait for."""
READ_COMMITTED = "read committed"
"""The isolation that our statements assume."""

_SETTINGS = {
    "TimeZone": "UTC",
    "default_transaction_isolation": READ_COMMITTED,
    "idle_in_transaction_session_timeout": str(FROZEN_MS),
    "statement_timeout": str(STATEMENT_MS),
    "lock_timeout": str(LOCK_MS),
}
"""In a zone ahead of UTC year 9999 ends beyond Python's reach."""
_SET_UP = Query(
    b"SELECT pg_backend_pid() = $1::int AS direct,"
    b" current_setting('default_transaction_isolation') AS isolation, "
    + b", ".join(
        b"CASE WHEN pg_backend_pid() = $1::int THEN set_config('%s', '%s', false) END"
        % (name.encode(), value.encode())
        for name, value in _SETTINGS.items()
    )
)
"""Sets up the session, but only where the one that answers is the one that was connected to.

Behind a pooler the settings would stay on a connection that others share.
"""


class NoConnection(OperationalError):
    """All connections were in use for as long as is waited for one."""


class Pool:
    """Connections to one database; none is opened before it is needed."""

    def __init__(self, address: Address, size: int) -> None:
        self.size = size
        self.address = address.parameters
        self._places = asyncio.Semaphore(size)
        self._idle: list[Connection] = []
        self._open: set[Connection] = set()
        self._failed_at = 0.0
        self._closing: set[asyncio.Task[None]] = set()
        self._prepares = not address.pooled
        self.checkout_s = CHECKOUT_S
        self.beside: Pool | None = None
        """The pool of this process whose failures tell of the same network and database."""
        self.taken = 0
        """How often a connection was asked for: whether anybody needs the database."""

    @property
    def in_use(self) -> int:
        return self.size - self._places._value

    @property
    def idle(self) -> int:
        """Connections that are open and serve nobody."""
        return len(self._idle)

    async def take(self, *, fresh: bool = False) -> Connection:
        """A connection with no transaction open, to be given back; a new one where `fresh`.

        Raises:
            NoConnection: none was free in time.
            psycopg.Error: the database cannot be connected to.
        """
        self.taken += 1
        await self._take_place()
        try:
            return (None if fresh else await self._take_idle()) or await self._connect()
        except BaseException:
            self._places.release()
            raise

    async def _take_place(self) -> None:
        if not self._places.locked():
            await self._places.acquire()
            return
        clock = asyncio.get_running_loop().time
        began = clock()
        try:
            async with asyncio.timeout(self.checkout_s):
                await self._places.acquire()
        except TimeoutError:
            CONNECTION_TIMEOUTS.add()
            raise NoConnection(f"no connection was free within {self.checkout_s:g} s") from None
        finally:
            CONNECTION_WAIT.record(clock() - began)

    async def _take_idle(self) -> Connection | None:
        while self._idle:
            connection = self._idle.pop()
            now = asyncio.get_running_loop().time()
            if now - connection.made_at < RECYCLE_S and (
                not self._is_doubtful(connection, now)
                or (self.beside is None and await self._look(connection))
            ):
                connection.reused = True
                return connection
            self._close(connection)
        return None

    def _is_doubtful(self, connection: Connection, now: float) -> bool:
        idle_since = connection.last_used
        failed_at = max(pool._failed_at for pool in (self, self.beside) if pool)
        return connection.spoken_to or now - idle_since > LOOK_AFTER_S or idle_since < failed_at

    async def _look(self, connection: Connection) -> bool:
        try:
            return await connection.looks_well(LOOK_S)
        except BaseException:
            self._close(connection)
            raise

    def give_back(self, connection: Connection) -> None:
        """Take it back, or close it where it cannot serve another task."""
        if connection.clean:
            self._idle.append(connection)
        else:
            self._close(connection)
        self._places.release()

    def discard(self, connection: Connection, *, failed: bool) -> None:
        """Take it back for good; where it failed, those that idle are looked at before use."""
        if failed:
            self._failed_at = asyncio.get_running_loop().time()
        self._close(connection)
        self._places.release()

    def forget_prepared(self) -> None:
        """Prepare nothing from now on: the other side does not keep it."""
        if self._prepares:
            logger.info("prepared statements are not kept on the other side: none are made")
        self._prepares = False
        for connection in self._idle:
            connection.prepares = False

    async def _connect(self) -> Connection:
        hosts = self.address.get("host", "").count(",") + 1
        limit = hosts * float(self.address["connect_timeout"])
        try:
            async with asyncio.timeout(limit):
                connection = await Connection.open(self.address, prepares=self._prepares)
                self._open.add(connection)
                try:
                    await self._set_up(connection)
                except BaseException:
                    self._close(connection)
                    raise
        except TimeoutError:
            raise OperationalError(f"the database was not reached within {limit:g} s") from None
        return connection

    async def _set_up(self, connection: Connection) -> None:
        asked = Asked(_SET_UP, [connection.server_pid])
        (found,) = await connection.ask([asked])
        row = found.one()
        if not row.direct:
            connection.prepares = False
            self.forget_prepared()
            connection.assumes_isolation = row.isolation == READ_COMMITTED
        elif connection.prepares and not await connection.keeps_prepared(asked):
            self.forget_prepared()

    def _close(self, connection: Connection) -> None:
        self._open.discard(connection)
        if cancelling := connection.close():
            self._run_beside(cancelling)

    def _run_beside(self, cancelling: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(cancelling)
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    async def close(self) -> None:
        """Close all of them, also those in use, and wait for what is being cancelled: bounded."""
        self._idle.clear()
        for connection in tuple(self._open):
            self._close(connection)
        await asyncio.gather(*self._closing, return_exceptions=True)
