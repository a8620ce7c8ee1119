"""The log of runs that are streamed, for viewers at other processes, and the marks of a stop.

Both are for the runs of a whole process at once: one statement writes what all of them have
shown since the last one, and reads which of them are to stop. Another reads what has come of all
the turns that a process watches for its viewers. The log is written without waiting for the
disk, never in the transaction of an effect, and what it does not hold the record does.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import NamedTuple

from sqlalchemy import text

from backend.conversations.approvals import Approval, load_approvals
from backend.conversations.parts import Part
from backend.conversations.tool_calls import ToolCall, load_calls
from backend.database import Row, Session, execute
from backend.models import MessageStatus

LOG_LIFE = timedelta(minutes=15)
"""How long a row of the log is kept: longer than a run may take, since none is read after it."""


class Attempt(NamedTuple):
    """A run, as its row knows it."""

    message_id: int
    attempt: int


class Batch(NamedTuple):
    """Some events of a run; `seq` is how many batches came before."""

    run: Attempt
    seq: int
    events: list[Part]


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a turn has ended, by its record."""

    status: str
    """`complete`, `failed`, or `waiting` for the person to approve calls."""
    stopped: bool
    content: str
    calls: list[ToolCall]
    untaken: bool = False
    """Whether the row says that the answer has reached nobody."""
    waiting: Sequence[Approval] = ()
    """The calls that are asked for and not on record yet."""

    @property
    def left(self) -> str:
        """What is left to say at the end: of what it waits for the calls themselves tell."""
        return "" if self.status == MessageStatus.WAITING else self.content


@dataclass(slots=True)
class News:
    """What has come of a watched run since the last look: some events, or its end."""

    attempt: int
    batches: list[tuple[int, list[Part]]]
    ended: Outcome | None


_TO_STOP = """
    SELECT messages.id, messages.attempt
    FROM unnest(CAST(:running AS bigint[]), CAST(:running_attempts AS integer[]))
           AS running (id, attempt)
    JOIN messages ON messages.id = running.id AND messages.attempt = running.attempt
    WHERE messages.stop_attempt = messages.attempt AND messages.status = 'running'
"""
_READ_MARKS = text(_TO_STOP)
_WRITE_AND_READ_MARKS = text(f"""
    WITH logged AS (
        INSERT INTO stream_log (message_id, attempt, seq, events)
        SELECT message_id, attempt, seq, events
        FROM unnest(CAST(:messages AS bigint[]), CAST(:attempts AS integer[]),
                    CAST(:seqs AS integer[]), CAST(:events AS text[]))
               AS batch (message_id, attempt, seq, events),
             (SELECT set_config('synchronous_commit', 'off', true)) AS unhurried
        ON CONFLICT DO NOTHING
    )
    {_TO_STOP}
""")
# the lease as in `backend.conversations.messages.DEAD`
_LOOK = """
    SELECT looked.id, messages.attempt, {log},
           messages.status, messages.stopped_at IS NOT NULL AS stopped, ended,
           messages.repeats_until IS NOT NULL AS untaken,
           CASE WHEN ended THEN messages.content END AS content,
           CASE WHEN ended THEN messages.tool_calls_json END AS calls,
           CASE WHEN ended THEN messages.approvals_json END AS approvals
    FROM unnest(CAST(:messages AS bigint[]), CAST(:attempts AS integer[]),
                CAST(:seqs AS integer[])) AS looked (id, attempt, seq)
    JOIN messages ON messages.id = looked.id
    CROSS JOIN LATERAL (SELECT messages.status <> 'running'
        OR coalesce(messages.lease_until, messages.created_at) < clock_timestamp() AS ended)
    {join}
    ORDER BY 1, 3
"""
_LOOK_AT_LOG = text(
    _LOOK.format(
        log="logged.seq, logged.events",
        join="""
            LEFT JOIN stream_log AS logged
              ON NOT ended AND logged.message_id = looked.id
                 AND logged.attempt = looked.attempt AND logged.seq >= looked.seq
        """,
    )
)
_LOOK_AT_ENDS = text(_LOOK.format(log="NULL AS seq, NULL AS events", join=""))
_EXPIRE = text("DELETE FROM stream_log WHERE written_at < clock_timestamp() - :life")


async def write_logs(
    session: Session, batches: Sequence[Batch], running: Iterable[Attempt]
) -> list[Attempt]:
    """Write `batches`, a second time without harm; which of `running` are to stop."""
    ids, attempts = _columns(running)
    marks: dict[str, object] = {"running": ids, "running_attempts": attempts}
    if not batches:
        return [Attempt(*row) for row in await execute(session, _READ_MARKS, marks)]
    values = marks | {
        "messages": [batch.run.message_id for batch in batches],
        "attempts": [batch.run.attempt for batch in batches],
        "seqs": [batch.seq for batch in batches],
        "events": [json.dumps(batch.events, ensure_ascii=False) for batch in batches],
    }
    return [Attempt(*row) for row in await execute(session, _WRITE_AND_READ_MARKS, values)]


async def read_logs(
    session: Session, watched: Mapping[Attempt, int], *, logged: bool = True
) -> dict[int, News]:
    """What has come of each watched run, by its message: from the batch on that is named.

    Where the log is not to be read, only whether it has ended and how. A message that is not
    there any more is left out.
    """
    ids, attempts = _columns(watched)
    values = {"messages": ids, "attempts": attempts, "seqs": list(watched.values())}
    news: dict[int, News] = {}
    for row in await execute(session, _LOOK_AT_LOG if logged else _LOOK_AT_ENDS, values):
        ended = read_outcome(row, row.calls, row.approvals) if row.ended else None
        found = news.setdefault(row.id, News(row.attempt, [], ended))
        if row.seq is not None:
            found.batches.append((row.seq, json.loads(row.events)))
    return news


def read_outcome(row: Row, calls: str | None, approvals: str | None) -> Outcome:
    """How a turn has ended, by its row; one that seems to run belongs to a process that died."""
    status = MessageStatus.FAILED if row.status == MessageStatus.RUNNING else row.status
    waiting = [each for each in load_approvals(approvals) if not each["done"]]
    return Outcome(status, row.stopped, row.content, load_calls(calls), row.untaken, waiting)


async def expire_logs(session: Session) -> None:
    """Delete what is older than `LOG_LIFE`, whoever wrote it."""
    await execute(session, _EXPIRE, {"life": LOG_LIFE})


def _columns(runs: Iterable[Attempt]) -> tuple[list[int], list[int]]:
    runs = list(runs)
    return [run.message_id for run in runs], [run.attempt for run in runs]
