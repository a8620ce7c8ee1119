"""Which turn a message means: a new one, or one that was begun before.

With a key (`Idempotency-Key`) the client says it. Without one, the client in service sends
the same text again after a failure, and after its connection was lost. So the same text by the
same user means the turn that failed, or whose answer reached nobody, where that is the newest of
its conversation, or the only one of a conversation whose id the client never learnt.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from sqlalchemy import TextClause, text

from backend.conversations.approvals import load_approvals
from backend.conversations.names import ask_chat, read_chat
from backend.conversations.tool_calls import load_calls
from backend.database import Row, Session, execute
from backend.errors import AlreadyUndone, ConversationNotFound, MessageChanged, ValidationFailed
from backend.journal.quotas import Quota, admit_turn, ask_admission
from backend.journal.requests import Answer, TurnRequest
from backend.journal.statements import RETRY_WINDOW
from backend.journal.turns import Turn, begin_turn, take_up
from backend.models import ID_MAX, MessageStatus
from backend.telemetry.figures import LEASES_LAPSED

KEY_LIFE = timedelta(hours=24)


RENEWALS = 2
"""Of a lease, after which a run in another process is one that goes on."""


@dataclass(frozen=True, slots=True)
class Busy:
    """The turn is being run, by all that is known; who asks again later is told more."""

    message_id: int
    attempt: int
    lease_until: datetime
    joined: bool
    """Whether it is the turn that was meant; else that is not clear yet."""


@dataclass(frozen=True, slots=True)
class Known:
    """What a process knows of runs, so that a look at the rows tells it more."""

    here: Collection[tuple[int, int]] = ()
    """Message and attempt of the runs of this process."""
    untaken: Callable[[], list[int]] = list
    """Messages whose answer nobody here waits for any more, whatever their rows say yet."""
    taken: Callable[[], list[int]] = list
    """Messages whose answer was handed over before this request came, likewise."""
    leases: dict[tuple[int, int], set[datetime]] = field(default_factory=dict)
    """The leases seen of each run; the second renewal proves that its process lives.

    The first may have been on its way while the database, or the process, stood still; and who
    wakes renews before it finds that a client has left. The second says that as well.
    """

    def lives(self, message_id: int, attempt: int, lease_until: datetime) -> bool:
        run = message_id, attempt
        seen = self.leases.setdefault(run, set())
        seen.add(lease_until)
        return run in self.here or len(seen) > RENEWALS


# the lease as in `conversations.messages.DEAD`
_FOUND = """
    m.id, m.conversation_id, m.attempt, m.status, m.created_at, m.lease_until,
    m.content, m.tool_calls_json, m.approvals_json, m.repeats_until IS NOT NULL AS repeats,
    m.stopped_at IS NOT NULL AS stopped,
    m.status = 'running' AND coalesce(m.lease_until, m.created_at) < clock_timestamp() AS dead
"""
_FIND_KEYED = text(f"""
    SELECT {_FOUND}, m.request_hash, m.undone_at, c.deleted_at IS NOT NULL AS deleted,
           m.created_at < clock_timestamp() - interval '{KEY_LIFE.total_seconds():g} s' AS expired
    FROM messages m JOIN conversations c ON c.id = m.conversation_id
    WHERE m.user_id = :owner AND m.idempotency_key = :key
    FOR UPDATE OF m
""")
FORGET_KEY = text("""
    UPDATE messages SET idempotency_key = NULL WHERE id = :message AND user_id = :owner
""")


def _find_twin(place: str) -> TextClause:
    """The turn of the same text in a place, if it has failed, runs, or reached nobody.

    What came, `waited` seconds before the transaction began, before that answer was handed over
    was not said after it.
    """
    return text(f"""
        SELECT {_FOUND}
        FROM messages m
        JOIN messages asked ON asked.id = m.reply_to
        JOIN conversations c ON c.id = m.conversation_id
        WHERE m.user_id = :owner AND asked.content = :text AND c.deleted_at IS NULL
          -- what is recorded there does not stand any more
          AND m.undone_at IS NULL
          AND m.stopped_at IS NULL
          AND (
            m.status <> 'complete' AND m.status <> 'waiting' AND coalesce(m.ended_at, m.lease_until)
              > clock_timestamp() - interval '{RETRY_WINDOW.total_seconds():g} s'
            OR m.status IN ('complete', 'waiting') AND m.repeats_until
              > transaction_timestamp() - make_interval(secs => :waited)
              AND NOT m.id = ANY(CAST(:taken AS bigint[]))
            OR m.status = 'complete' AND m.id = ANY(CAST(:untaken AS bigint[]))
          )
          AND NOT EXISTS (
            SELECT FROM messages later
            WHERE later.conversation_id = m.conversation_id AND later.id > m.id
          )
          AND {place}
        ORDER BY m.id DESC LIMIT 1
        FOR UPDATE OF m
    """)


_FIND_TWIN_HERE = _find_twin("m.conversation_id = :conversation")
_FIND_TWIN_ALONE = _find_twin("""
    NOT EXISTS (
      SELECT FROM messages earlier
      WHERE earlier.conversation_id = m.conversation_id AND earlier.id < m.reply_to
    )
""")


async def begin_or_resume(
    session: Session,
    user_id: str,
    request: TurnRequest,
    *,
    history_limit: int,
    quota: Quota,
    known: Known,
    waited: float,
) -> Turn | Answer | Busy:
    """Begin the turn that `request` means, or say why it need not, or cannot yet, be run.

    The session has locked the user: each message finds what the one before began.
    `waited` is for how many seconds the request has been here; the session has a connection by
    then, since its transaction's start stands for now. Without a key the same text joins
    a turn that is run again, or that nobody waits for. Of another that seems to run, only proof
    of death makes it a retry of that, and only proof of life a message of its own.

    Raises:
        ConversationNotFound: not there, deleted, or someone else's.
        ValidationFailed: the key came with another request before.
        MessageChanged: the same, where the key is made of the client's names.
        AlreadyUndone: the turn under the key failed, and the person took back what it had done.
        TooManyTurns: the user's quota of turns at once is taken, so none is begun or taken up.
        BudgetSpent: the user's tokens of the day are.
        UniqueViolation: the same key came at the same moment; look again.
    """
    if request.conversation_id is not None and not 0 < request.conversation_id <= ID_MAX:
        raise ConversationNotFound
    admission = ask_admission(session, user_id, quota)
    named = None
    if request.chat is not None and request.conversation_id is None:
        named = ask_chat(session, user_id, request.chat)
    if request.key is not None:
        found = await _keyed(session, user_id, request)
    if named is not None:
        chat = read_chat(str(request.chat), await named)
        request = replace(request, conversation_id=chat and chat.conversation_id)
    if request.key is None:
        found = await _twin(session, user_id, request, known, waited)
    if found is None:
        await admit_turn(admission)
        return await begin_turn(session, user_id, request, history_limit=history_limit)
    if found.status in (MessageStatus.COMPLETE, MessageStatus.WAITING):
        return given_again(found)
    if found.status == MessageStatus.RUNNING and not found.dead:
        joined = request.key is not None or _joins(found, known)
        return Busy(found.id, found.attempt, found.lease_until, joined)
    await admit_turn(admission)
    if found.dead:
        LEASES_LAPSED.add()
    return await take_up(
        session,
        user_id,
        found.conversation_id,
        found.id,
        found.attempt,
        history_limit=history_limit,
    )


def given_again(found: Row) -> Answer:
    """The answer that is in a row, or what it waits for."""
    waits = found.status == MessageStatus.WAITING
    return Answer(
        found.conversation_id,
        found.id,
        found.attempt,
        found.created_at,
        found.content,
        load_calls(found.tool_calls_json),
        replayed=True,
        untaken=found.repeats,
        approvals=load_approvals(found.approvals_json) if waits else [],
        stopped=found.stopped,
    )


async def _keyed(session: Session, user_id: str, request: TurnRequest) -> Row | None:
    """The turn begun under the request's key in the last 24 hours, locked."""
    found = await execute(session, _FIND_KEYED, {"owner": user_id, "key": request.key})
    row = found.one_or_none()
    if row is None:
        return None
    if row.expired:
        await execute(session, FORGET_KEY, {"owner": user_id, "message": row.id})
        return None
    if not request.is_under_key(row.request_hash, row.conversation_id):
        if request.is_keyed_by_names:
            raise MessageChanged
        raise ValidationFailed(
            "This Idempotency-Key came with another request before.",
            details=[
                {
                    "field": "Idempotency-Key",
                    "message": "came with another request before",
                    "type": "idempotency_key_reused",
                }
            ],
        )
    if row.deleted:
        raise ConversationNotFound
    if row.undone_at is not None and row.status != MessageStatus.COMPLETE:
        raise AlreadyUndone
    return row


async def _twin(
    session: Session, user_id: str, request: TurnRequest, known: Known, waited: float
) -> Row | None:
    """The turn that the same text without a key means, or may yet prove to mean; locked."""
    values: dict[str, object] = {
        "owner": user_id,
        "text": request.text,
        "waited": waited,
        "untaken": known.untaken(),
        "taken": known.taken(),
    }
    statement = _FIND_TWIN_ALONE
    if request.conversation_id is not None:
        values["conversation"] = request.conversation_id
        statement = _FIND_TWIN_HERE
    row = (await execute(session, statement, values)).one_or_none()
    if row is None or row.status != MessageStatus.RUNNING or row.dead or _joins(row, known):
        return row
    return None if known.lives(row.id, row.attempt, row.lease_until) else row


def _joins(row: Row, known: Known) -> bool:
    """Whether the same text without a key is this running turn, and no message of its own."""
    return bool(row.attempt > 1 or row.repeats or row.id in known.untaken())
