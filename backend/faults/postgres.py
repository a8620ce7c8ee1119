"""The Postgres of the suite: a server of its own, that can be made to fall over."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote

from psycopg import AsyncConnection, OperationalError
from psycopg.rows import dict_row

from backend.faults.waiting import LOOK_AGAIN, until
from backend.postgres.embedded import start_embedded
from backend.tests.support import better_auth

NAME = "faults"
"""The application name of the suite's own connections, which no fault is meant for."""
OWN_SETTINGS = "-c default_transaction_read_only=off -c synchronous_commit=local"
OUTAGE_LIMIT = 60.0
"""Seconds that the suite's own queries outlast an outage."""

type Row = dict[str, Any]


class Postgres:
    """A running server; in its `postgres` database lie our tables and Better Auth's."""

    def __init__(self, folder: Path, stack: AsyncExitStack) -> None:
        self._folder, self._stack = folder, stack
        self._restarting = asyncio.Lock()
        self.url = ""
        self.own_url = ""
        """For the suite itself, whose statements no setting of the server's holds up."""

    async def start(self) -> Self:
        """Start it, or join it where it runs.

        It keeps every commit through a crash of its own, though not through the machine's:
        without fsync a transaction is cheaper, and nobody pulls the plug here.
        """
        started = await asyncio.to_thread(start_embedded, self._folder)
        self._stack.callback(started.stop)
        self.url = started.url
        self.own_url = f"{started.url}&options={quote(OWN_SETTINGS)}&application_name={NAME}"
        return self

    async def prepare(self) -> None:
        await self.alter("SET fsync = off")
        async with self.connection() as connection:
            await connection.execute(better_auth.TABLES.encode())

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[AsyncConnection[Row]]:
        """A connection of the suite's own, each statement committed by itself."""
        connecting = AsyncConnection.connect(self.own_url, autocommit=True, row_factory=dict_row)
        async with await connecting as connection:
            yield connection

    async def ask(self, sql: str, *values: object) -> list[Row]:
        """The rows of a query; it waits for the server where that is away."""

        async def asked() -> list[Row]:
            async with self.connection() as connection:
                return await (await connection.execute(sql.encode(), values)).fetchall()

        return await through_outages(asked)

    async def restart(self) -> None:
        """Have it die without finishing anything (an immediate shutdown), and start again."""
        async with self._restarting:
            pid_file = self._folder / "cluster" / "postmaster.pid"
            os.kill(int(pid_file.read_text().split()[0]), signal.SIGQUIT)

            async def gone() -> bool:
                return not pid_file.exists()

            await until(gone, OUTAGE_LIMIT)
            await self.start()

    async def alter(self, setting: str) -> None:
        """Change a setting of the whole server, for all who use it, from now on."""
        async with self.connection() as connection:
            await connection.execute(f"ALTER SYSTEM {setting}".encode())
            await connection.execute("SELECT pg_reload_conf()")

    async def terminate_connections(self, well: Collection[str] = ()) -> None:
        """End every connection of the service, as an administrator or a failover does.

        Those of the servers named as `well` only where they idle: what they are at goes on.
        """
        async with self.connection() as connection:
            await connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE backend_type = 'client backend' AND application_name <> %s"
                " AND (state = 'idle' OR application_name <> ALL (%s))",
                [NAME, list(well)],
            )


async def through_outages[T](work: Callable[[], Awaitable[T]]) -> T:
    """What `work` gives, tried again while the server is away."""
    async with asyncio.timeout(OUTAGE_LIMIT):
        while True:
            try:
                return await work()
            except OperationalError:
                await asyncio.sleep(LOOK_AGAIN)


@asynccontextmanager
async def postgres(folder: Path) -> AsyncIterator[Postgres]:
    """A server with its files in `folder`, stopped at the end."""
    async with AsyncExitStack() as stack:
        server = await Postgres(folder, stack).start()
        await server.prepare()
        yield server
