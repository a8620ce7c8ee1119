"""How a turn stands, for those who watch it or want it stopped.

The order to stop is a mark on the row, which names the attempt: one that comes late hits no later
one, and no other turn. Whoever runs the turn looks for it.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import TextClause, text

from backend.conversations.messages import read_id
from backend.database import Ahead, Result, Row, Session, execute
from backend.errors import MessageNotFound
from backend.journal.requests import TurnRequest
from backend.journal.stream_log import Attempt, Outcome, read_outcome

REPLAY_WINDOW = timedelta(minutes=10)
"""How long after its end a turn is shown again to whoever resumes its stream."""


@dataclass(frozen=True, slots=True)
class Standing:
    """A turn as its row tells it."""

    run: Attempt
    conversation_id: int
    created_at: datetime
    ended: Outcome | None
    """How it has ended; None while it is being run, by all that is known."""
    recent: bool
    """Whether it runs, or has ended within `REPLAY_WINDOW`."""


# the lease as in `backend.conversations.messages.DEAD`
_ALIVE = """
    messages.status = 'running'
      AND coalesce(messages.lease_until, messages.created_at) > clock_timestamp()
"""


def _turn(which: str) -> TextClause:
    return text(f"""
        SELECT messages.id, messages.attempt, messages.conversation_id, messages.created_at,
               messages.status, messages.stopped_at IS NOT NULL AS stopped, messages.content,
               messages.tool_calls_json, messages.approvals_json, messages.request_hash,
               messages.repeats_until IS NOT NULL AS untaken, {_ALIVE} AS alive,
               coalesce(messages.ended_at, messages.lease_until) > clock_timestamp()
                 - interval '{REPLAY_WINDOW.total_seconds():g} s' AS recent
        FROM messages
        WHERE messages.role = 'assistant' AND {which}
        LIMIT 1
    """)


_NEWEST_TURN = _turn("""
    messages.conversation_id = :conversation ORDER BY messages.created_at DESC, messages.id DESC
""")
_RUNNING = _turn(f"""
    messages.conversation_id = :conversation AND messages.status <> 'complete' AND {_ALIVE}
    ORDER BY messages.id DESC
""")
_NAMED = _turn("""
    messages.conversation_id = :conversation
      AND (messages.id = :number OR messages.reply_to IN (
        SELECT asked.id FROM messages AS asked
        WHERE asked.conversation_id = :conversation AND asked.role = 'user'
          AND asked.client_id = :name))
    ORDER BY messages.id = :number DESC, messages.id DESC
""")
_NUMBERED = _turn("messages.id = :message")
_KEYED = _turn(f"messages.user_id = :owner AND messages.idempotency_key = :key AND {_ALIVE}")
_STOP = text("""
    UPDATE messages SET stop_attempt = attempt
    WHERE id = :message AND attempt = :attempt AND status = 'running'
""")


async def newest_turn(session: Session, conversation_id: int) -> Standing | None:
    """The conversation's newest turn; None where there is none."""
    return await _read_standing(session, _NEWEST_TURN, conversation=conversation_id)


async def read_turn(session: Session, message_id: int) -> Standing | None:
    """The turn whose answer is in this row."""
    return await _read_standing(session, _NUMBERED, message=message_id)


async def running_turn(session: Session, user_id: str, request: TurnRequest) -> Standing | None:
    """The turn that runs under the request's key, if one does that is of the same request."""
    if request.key is None:
        return None
    return read_running(request, await ask_running(session, user_id, request.key))


def ask_running(session: Session, user_id: str, key: str) -> Ahead:
    """Ask with the next flight which turn runs under the person's key."""
    return session.ahead(_KEYED, {"owner": user_id, "key": key})


def read_running(request: TurnRequest, found: Result) -> Standing | None:
    """The turn that was found, if it is of the same request."""
    row = found.one_or_none()
    if row is None or not request.is_under_key(row.request_hash, row.conversation_id):
        return None
    return _standing(row)


async def find_turn(session: Session, conversation_id: int, name: str | None) -> Standing | None:
    """The turn that `name` means: its answer's id, or the client's id of the person's message.

    Without a name the newest that runs, if one does.

    Raises:
        MessageNotFound: this conversation has no turn of that name.
    """
    if name is None:
        return await _read_standing(session, _RUNNING, conversation=conversation_id)
    number = read_id(name) or 0
    found = await _read_standing(
        session, _NAMED, conversation=conversation_id, number=number, name=name
    )
    if found is None:
        raise MessageNotFound
    return found


async def _read_standing(session: Session, which: TextClause, **values: object) -> Standing | None:
    row = (await execute(session, which, values)).one_or_none()
    return None if row is None else _standing(row)


def _standing(row: Row) -> Standing:
    ended = None if row.alive else read_outcome(row, row.tool_calls_json, row.approvals_json)
    run = Attempt(row.id, row.attempt)
    return Standing(run, row.conversation_id, row.created_at, ended, bool(row.recent))


async def order_stop(session: Session, run: Attempt) -> None:
    """Ask whoever runs this attempt to stop; nothing where it has ended meanwhile."""
    await execute(session, _STOP, run._asdict() | {"message": run.message_id})
