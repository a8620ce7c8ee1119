"""Sessions: pieces of work on one connection, each a transaction or statements by themselves.

What belongs together is one flight: one wait, however many statements it is.
"""

import logging
from collections.abc import AsyncIterator, Generator, Mapping, Sequence
from contextlib import asynccontextmanager
from types import MappingProxyType
from typing import Any, Self

from psycopg import Error, OperationalError
from psycopg.errors import FeatureNotSupported, ReadOnlySqlTransaction
from sqlalchemy import Executable

from backend.errors import BeingErased
from backend.postgres.connection import ANSWER_S, FORGOTTEN, Asked, Connection
from backend.postgres.pool import Pool
from backend.postgres.queries import Query, query_of
from backend.postgres.results import Result
from backend.postgres.waiting import NoAnswer
from backend.telemetry import sql

logger = logging.getLogger(__name__)
statements_logger = logging.getLogger("backend.database.statements")
"""Told each statement, without its values, at DEBUG."""

STALE = (*FORGOTTEN, FeatureNotSupported)
"""What is said of a prepared statement that is not there, or whose table is another one now."""
REFUSED = "CHDEL"
"""What our trigger says of a write of somebody who is being erased; see `v0014_erasures`."""
_BEGIN = Asked(Query(b"BEGIN"))
_BEGIN_AS_ASSUMED = Asked(Query(b"BEGIN ISOLATION LEVEL READ COMMITTED"))
_COMMIT = Asked(Query(b"COMMIT"))
_ROLLBACK = Asked(Query(b"ROLLBACK"))
NO_VALUES: Mapping[str, object] = MappingProxyType({})

type Statement = tuple[Executable, Mapping[str, object]]
"""A statement and its values by name."""


class NotCommitted(Error):
    """What was to be committed has been rolled back, since a statement of it had failed."""


class Ahead:
    """A statement that rides with the next flight of its session; awaited, it gives its result."""

    def __init__(self, session: "Session", statement: Statement) -> None:
        self.statement = statement
        self.result: Result | None = None
        self._session = session

    def __await__(self) -> Generator[Any, Any, Result]:
        if self.result is None:
            yield from self._session.flight().__await__()
        if self.result is None:
            raise OperationalError("what was to ride with a flight was rolled back before")
        return self.result


class Session:
    """A piece of work on one connection, taken when it is needed and given back between.

    By default it is a transaction, from its first statement to `commit`. Where it is
    `autocommit` each flight is one by itself. For one task at a time.
    """

    def __init__(self, pool: Pool, *, autocommit: bool = False, seconds: float = ANSWER_S) -> None:
        self._pool = pool
        self._autocommit = autocommit
        self._seconds = seconds
        self._held: Connection | None = None
        """Where a transaction is open, or about to be."""
        self._unused = False
        """Whether nothing was sent yet on what is held."""
        self._ahead: list[Ahead] = []

    async def ready(self) -> None:
        """Take a connection now, so that the next flight starts at once.

        Raises what `Pool.take` does.
        """
        if self._held is None:
            self._held = await self._pool.take()
            self._unused = True

    async def execute(
        self, statement: Executable, values: Mapping[str, object] = NO_VALUES
    ) -> Result:
        """What one statement gives; see `flight`."""
        (result,) = await self.flight((statement, values))
        return result

    def ahead(self, statement: Executable, values: Mapping[str, object] = NO_VALUES) -> Ahead:
        """Have a statement ride with the next flight, before what that is for."""
        riding = Ahead(self, (statement, values))
        self._ahead.append(riding)
        return riding

    async def flight(self, *statements: Statement, commit: bool = False) -> list[Result]:
        """What each of the statements gives: one wait for all, and for the COMMIT behind them.

        Where one fails the rest is not run. What nothing can have come of, a statement that only
        reads or the first of a transaction, is sent again on a new connection where an old one
        turns out to be dead.

        Raises:
            psycopg.Error: of what failed first; the transaction is over, or can only be rolled
                back. Where the COMMIT was sent it may have been done.
            BeingErased: the same, where it would have written something of a person who is erased.
        """
        riding, self._ahead = self._ahead, []
        both = [*(each.statement for each in riding), *statements]
        try:
            results = await self._fly([_asked(*each) for each in both], commit)
        except Error as error:
            if error.sqlstate == REFUSED:
                raise BeingErased from error
            raise
        for each, result in zip(riding, results, strict=False):
            each.result = result
        return results[len(riding) :]

    async def _fly(self, asked: list[Asked], commit: bool) -> list[Result]:
        fresh = False
        while True:
            begins = self._held is None or self._unused
            connection = self._held or await self._pool.take(fresh=fresh)
            self._unused = False
            self._held = connection
            try:
                return await self._send(connection, asked, begins, commit)
            except BaseException as error:
                self._after(connection, error)
                if (
                    fresh
                    or not begins
                    or not self._came_to_nothing(connection, error, asked, commit)
                ):
                    raise
                await self.rollback()
                fresh = True

    def _came_to_nothing(
        self, connection: Connection, error: BaseException, asked: Sequence[Asked], commit: bool
    ) -> bool:
        """Whether a first flight has certainly done nothing, by a fault of the connection alone."""
        if isinstance(error, STALE):
            return True
        if not connection.reused or not connection.lost or isinstance(error, NoAnswer):
            return False
        only_reads = all(each.query.only_reads for each in asked)
        return isinstance(error, Error) and (only_reads or not (self._autocommit or commit))

    async def _send(
        self, connection: Connection, asked: list[Asked], begins: bool, commit: bool
    ) -> list[Result]:
        if statements_logger.isEnabledFor(logging.DEBUG):
            for each in asked:
                statements_logger.debug("%s", each.query.sql.decode())
        wrapped = not (self._autocommit and connection.assumes_isolation)
        before, behind = [], []
        if begins and wrapped:
            before = [_BEGIN if connection.assumes_isolation else _BEGIN_AS_ASSUMED]
        if commit or (self._autocommit and wrapped):
            behind = [_COMMIT]
        whole = [*before, *asked, *behind]
        with sql.flight(whole):
            results = await connection.ask(whole, self._seconds)
        if behind:
            _check_committed(results[-1])
        if behind or self._autocommit:
            self._let_go()
        return results[len(before) : len(results) - len(behind)]

    def _after(self, connection: Connection, error: BaseException) -> None:
        """Let go of a connection on which something went wrong, unless it waits for a rollback."""
        if isinstance(error, FORGOTTEN):
            self._pool.forget_prepared()
        if connection.lost or isinstance(error, ReadOnlySqlTransaction | FeatureNotSupported):
            self._held = None
            self._pool.discard(connection, failed=isinstance(error, Error))
        elif self._autocommit or connection.clean:
            self._let_go()

    def _let_go(self) -> None:
        if self._held is not None:
            connection, self._held = self._held, None
            self._pool.give_back(connection)

    async def commit(self) -> None:
        """Commit what was done; nothing is sent where nothing was."""
        if self._held is not None or self._ahead:
            await self.flight(commit=True)

    async def rollback(self) -> None:
        """Take back what was not committed; raises nothing, as a lost connection does it too."""
        self._ahead.clear()
        if self._held is None:
            return
        connection = self._held
        try:
            if connection.in_transaction:
                await connection.ask([_ROLLBACK], self._seconds)
        except Error as error:
            logger.warning("not rolled back, connection closed: %s", type(error).__name__)
        finally:
            self._let_go()

    async def close(self) -> None:
        """Give the connection back; what was not committed is rolled back."""
        await self.rollback()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


def _asked(statement: Executable, values: Mapping[str, object]) -> Asked:
    query = query_of(statement, values)
    return Asked(query, query.values(values))


def _check_committed(result: Result) -> None:
    if result.status != b"COMMIT":
        raise NotCommitted("the transaction was rolled back")


class Sessions:
    """Makes sessions; `seconds` is how long they wait for each answer."""

    def __init__(self, pool: Pool, *, autocommit: bool = False, seconds: float = ANSWER_S) -> None:
        self.pool = pool
        self.seconds = seconds
        self._autocommit = autocommit

    def __call__(self) -> Session:
        return Session(self.pool, autocommit=self._autocommit, seconds=self.seconds)

    @asynccontextmanager
    async def begin(self) -> AsyncIterator[Session]:
        """A session that is committed at the end of the block."""
        async with self() as session:
            yield session
            await session.commit()
