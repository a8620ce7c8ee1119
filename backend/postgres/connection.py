"""A connection on which several statements are one flight, and no wait lasts for ever.

psycopg makes the connection, adapts the values and reads the rows. Statement and answer go
through libpq's pipeline here: what belongs together is sent at once, an error skips the rest.
"""

import asyncio
import logging
from collections import namedtuple
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import Any, NamedTuple, Self

from psycopg import AsyncConnection, DatabaseError, DataError, Error, OperationalError
from psycopg.adapt import PyFormat, Transformer
from psycopg.errors import (
    DuplicatePreparedStatement,
    InvalidSqlStatementName,
    lookup,
)
from psycopg.pq import ConnStatus, DiagnosticField, ExecStatus, TransactionStatus
from psycopg.pq.abc import PGresult

from backend.postgres.ages import load_within_years
from backend.postgres.queries import Query
from backend.postgres.results import Result
from backend.postgres.waiting import Ears

logger = logging.getLogger(__name__)

ANSWER_S = 4.0
"""Seconds that an answer of the database may take."""
CANCEL_S = 2.0
"""Seconds for telling the server that nobody waits for an answer any more."""
PREPARE_AFTER = 2
"""Times a statement is sent on a connection before it is prepared there."""
PREPARED_MAX = 200
"""Statements prepared on a connection at the most."""

_INTEGERS = (20, 21, 23)
"""The oids of what psycopg takes an int for, by its size; Postgres knows better what it is."""


FORGOTTEN = (InvalidSqlStatementName, DuplicatePreparedStatement)
"""What is said where another server answers than the one that prepared."""


class Asked(NamedTuple):
    query: Query
    values: Sequence[object] = ()


_LOOK = Asked(Query(b"SELECT 1"))


class _Sent(NamedTuple):
    """A statement on its way; where it is prepared too, a result of that comes before its own."""

    key: tuple[bytes, tuple[int, ...]]
    prepared_as: bytes | None = None


class Connection:
    """One connection, for one task at a time.

    Where it has failed or was given up it is `lost`: nothing more is sent on it.
    """

    def __init__(self, raw: AsyncConnection[Any], *, prepares: bool) -> None:
        self._raw = raw
        self.prepares = prepares
        """Whether the other side keeps what was prepared."""
        self.assumes_isolation = True
        """Whether a transaction is READ COMMITTED without saying so."""
        self.lost = False
        self.reused = False
        """Whether it has served before, and so may have died since."""
        self.last_used = self.made_at = asyncio.get_running_loop().time()
        self._transformer = Transformer(raw)
        self._times: dict[bytes, int] = {}
        self._prepared: dict[tuple[bytes, tuple[int, ...]], bytes] = {}
        self._names = 0
        self._ears = Ears(raw.pgconn.socket)

    @classmethod
    async def open(cls, parameters: Mapping[str, str], *, prepares: bool) -> Self:
        """Raises psycopg's errors, and `TimeoutError` nowhere: the caller sets a limit."""
        # the values are libpq's own parameters, of which psycopg's signature knows a few
        given: dict[str, Any] = dict(parameters)
        return cls(await AsyncConnection.connect(autocommit=True, **given), prepares=prepares)

    @property
    def clean(self) -> bool:
        """Whether it can serve another task: it is there, with no transaction open."""
        return not self.lost and self._status is TransactionStatus.IDLE

    @property
    def in_transaction(self) -> bool:
        return not self.lost and self._status is not TransactionStatus.IDLE

    @property
    def spoken_to(self) -> bool:
        """Whether the other side has said something that nobody asked for."""
        return self._ears.spoken_to

    @property
    def server_pid(self) -> int:
        """The process that serves it, as the other side gave it for cancelling."""
        return self._raw.pgconn.backend_pid

    def parameter(self, name: str) -> str:
        """What the server said of itself when it was connected to; "" for nothing."""
        return (self._raw.pgconn.parameter_status(name.encode()) or b"").decode()

    @property
    def _status(self) -> TransactionStatus:
        return TransactionStatus(self._raw.pgconn.transaction_status)

    async def ask(self, asked: Sequence[Asked], seconds: float = ANSWER_S) -> list[Result]:
        """What each of the statements gives, in one flight.

        Raises:
            NoAnswer: there was none in time; the connection is lost.
            psycopg.Error: the first that failed; those behind it were not run.
        """
        if self.lost:
            raise OperationalError("the connection was given up")
        try:
            with self._ears.limit(seconds), self._pipeline():
                pieces = [self._send(each) for each in asked]
                self._raw.pgconn.pipeline_sync()
                await self._flush()
                results = await self._results()
        except BaseException:
            # an answer that was not read to its end would be taken for that of the next
            self.lost = True
            raise
        self.last_used = asyncio.get_running_loop().time()
        return self._read(results, pieces)

    def _send(self, asked: Asked) -> _Sent:
        pgconn, sql = self._raw.pgconn, asked.query.sql
        values, types = self._dump(asked.values)
        key = sql, types
        if self.prepares and (name := self._prepared.get(key)):
            pgconn.send_query_prepared(name, values)
            return _Sent(key)
        if not self._to_be_prepared(sql):
            pgconn.send_query_params(sql, values, types)
            return _Sent(key)
        self._names += 1
        name = b"s%d" % self._names
        pgconn.send_prepare(name, sql, types)
        pgconn.send_query_prepared(name, values)
        return _Sent(key, name)

    def _to_be_prepared(self, sql: bytes) -> bool:
        if not self.prepares:
            return False
        times = self._times[sql] = self._times.get(sql, 0) + 1
        return times >= PREPARE_AFTER and len(self._prepared) < PREPARED_MAX

    def _dump(self, values: Sequence[object]) -> tuple[Sequence[Any] | None, tuple[int, ...]]:
        if not values:
            return None, ()
        dumped = self._transformer.dump_sequence(values, [PyFormat.TEXT] * len(values))
        types = self._transformer.types or ()
        return dumped, tuple(0 if each in _INTEGERS else each for each in types)

    async def _flush(self) -> None:
        pgconn = self._raw.pgconn
        while pgconn.flush():  # more than the kernel takes at once
            await self._ears.wait_to_send()
            pgconn.consume_input()

    async def _results(self) -> list[PGresult]:
        """All up to the end of the flight, or to the server's last word before it went away."""
        pgconn = self._raw.pgconn
        results: list[PGresult] = []
        while True:
            try:
                while pgconn.is_busy():
                    await self._ears.wait()
                    pgconn.consume_input()
            except OperationalError:
                self.lost = True
                if results and results[-1].status == ExecStatus.FATAL_ERROR:
                    return results
                raise
            result = pgconn.get_result()
            if result is None:
                if pgconn.status == ConnStatus.BAD:
                    raise OperationalError("the connection was lost")
            elif result.status == ExecStatus.PIPELINE_SYNC:
                return results
            else:
                results.append(result)

    def _read(self, results: Sequence[PGresult], pieces: Sequence[_Sent]) -> list[Result]:
        coming = iter(results)
        read = []
        for sent in pieces:
            if sent.prepared_as is not None and _checked(next(coming)):
                self._prepared[sent.key] = sent.prepared_as
            read.append(self._load(_checked(next(coming))))
        return read

    def _load(self, result: PGresult) -> Result:
        if result.status != ExecStatus.TUPLES_OK:
            return Result([], result.command_tuples or 0, result.command_status or b"")
        self._transformer.set_pgresult(result)
        names = tuple(result.fname(number) or b"" for number in range(result.nfields))
        make = _row_maker(names)
        try:
            rows = self._transformer.load_rows(0, result.ntuples, make)
        except DataError:
            rows = load_within_years(result, self._raw, make)
        return Result(rows, result.ntuples, result.command_status or b"")

    @contextmanager
    def _pipeline(self) -> Iterator[None]:
        self._raw.pgconn.enter_pipeline_mode()
        yield
        if not self.lost:
            self._raw.pgconn.exit_pipeline_mode()

    async def keeps_prepared(self, asked: Asked) -> bool:
        """Whether what is prepared in one flight is still there in the next."""
        self._times[asked.query.sql] = PREPARE_AFTER
        await self.ask([asked])
        try:
            await self.ask([asked])
        except FORGOTTEN:
            self.prepares = False
        return self.prepares

    async def looks_well(self, seconds: float) -> bool:
        """Whether it still answers, asked after it has idled or has said something unasked."""
        try:
            await self.ask([_LOOK], seconds)
        except Error:
            return False
        self._ears.spoken_to = False
        return self.clean

    def close(self) -> Coroutine[Any, Any, None] | None:
        """Close it at once, without a word that could hang.

        What it gives, if anything, is to be run beside: it has the server stop what nobody
        waits for any more, which would hold its locks until it is done.
        """
        self._ears.close()
        self.lost = True
        if self._status is TransactionStatus.ACTIVE:
            return self._cancel()
        self._raw.pgconn.finish()
        return None

    async def _cancel(self) -> None:
        try:
            await self._raw.cancel_safe(timeout=CANCEL_S)
        except Error as error:
            logger.info("not cancelled: %s", type(error).__name__)
        finally:
            self._raw.pgconn.finish()


def _checked(result: PGresult) -> PGresult:
    if result.status == ExecStatus.FATAL_ERROR:
        raise _error(result)
    return result


def _error(result: PGresult) -> Error:
    """Without Postgres's detail, which quotes rows."""
    state = (result.error_field(DiagnosticField.SQLSTATE) or b"").decode()
    said = (result.error_field(DiagnosticField.MESSAGE_PRIMARY) or b"").decode(errors="replace")
    try:
        kind = lookup(state)
    except KeyError:
        kind = DatabaseError
    return kind(said, info=result)


@lru_cache(maxsize=500)
def _row_maker(names: tuple[bytes, ...]) -> Callable[[Sequence[Any]], Any]:
    make_type: Any = namedtuple
    row = make_type("Row", [name.decode() for name in names], rename=True)
    make: Callable[[Sequence[Any]], Any] = row._make
    return make
