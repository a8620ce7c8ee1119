"""How a run is closed: its end is written, and what is so then is what its client is told.

Nothing cuts a closing off. Where the database is away it is tried again for some seconds, while
the client waits, and then for a minute without it: an answer that is saved late is no client's
yet, and is given to whoever sends the message again.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial
from itertools import repeat
from typing import Any

from backend.agent.chat_agent import ToolStopped
from backend.agent.context.build import Context
from backend.agent.models.run_model import TOO_LONG, ProviderError
from backend.chat_errors import (
    AIServiceUnavailable,
    ChatError,
    ContextTooLong,
    DatabaseLost,
    ToolFailed,
    TurnInterrupted,
    TurnTakenUp,
)
from backend.conversations.approvals import Approval
from backend.conversations.tool_calls import ToolCall, as_shown, unfinished_answer
from backend.database import Session, Sessions
from backend.errors import RUNNING_RETRY_S, is_outage
from backend.journal.ending import (
    Record,
    fail_turn,
    finish_turn,
    mark_taken,
    mark_untaken,
    stop_turn,
    wait_for_person,
)
from backend.journal.requests import Answer, TurnRequest
from backend.journal.stream_log import Outcome
from backend.journal.turns import Turn, TurnClosed
from backend.models import MessageStatus
from backend.turns.runs import Run
from backend.turns.runtime import Runtime

logger = logging.getLogger(__name__)

OUTAGE_PAUSES = (0.1, 0.4, 1.0, 2.0, 2.0, 2.0)
"""Seconds before each further try to end a turn, where the database is away."""
STOPPED_EARLY = "Stopped before anything was said or done."
"""The answer of a turn that was stopped so early; nothing else would be left of it."""
MARK_LIMIT = 1.0
"""Seconds that a row may take to say whether its answer was taken, before the next try."""
LATE_PAUSES = tuple(repeat(0.5, 120))
"""The same once its client has been told that the database is away."""


type Write[T] = Callable[[Session], Awaitable[T]]


@dataclass(frozen=True, slots=True)
class Ended:
    """A run that has come to its answer, and what that was given to."""

    response: str
    context: Context


async def close_run(
    runtime: Runtime, run: Run, request: TurnRequest, end: Ended | BaseException
) -> Answer:
    """Write the end of `run`; its answer, if that is what is so then.

    Raises:
        ChatError: there is none, or it could not be saved yet.
    """
    write: Write[Answer] | None = None
    if isinstance(end, Ended) and run.turn.asks:
        write = partial(_wait, runtime, run)
    elif isinstance(end, Ended):
        write = partial(_finish, runtime, run, request, end)
    elif run.turn.stopped:
        write = partial(_stop, runtime, run)
    else:
        return await _close_failed(runtime, run, request, end)
    try:
        return await _write(runtime.autocommit, write, OUTAGE_PAUSES)
    except Exception as error:
        return await _close_failed(runtime, run, request, error, write)


async def _close_failed(
    runtime: Runtime,
    run: Run,
    request: TurnRequest,
    error: BaseException,
    end: Write[Answer] | None = None,
) -> Answer:
    """Close `run` as failed, or go on to write its `end`; its answer, if the row has it by now."""
    logger.warning("turn failed", exc_info=error, extra={"fields": _fields(run.turn)})
    if end is not None and isinstance(error, Exception) and is_outage(error):
        record = _close_late(runtime, run, end)
    else:
        record = await _fail(runtime, run)
    if record.status == MessageStatus.COMPLETE and record.attempt == run.turn.attempt:
        return _answer_of_run(run, record.content, record.calls, untaken=record.untaken)
    failure = _failure_of_run(run.turn, request, record, error)
    failed, waiting = MessageStatus.FAILED, _waiting(run.turn)
    ended = Outcome(failed, False, record.content, record.calls, waiting=waiting)
    run.ended(ended, failure or error)
    if failure is not None:
        raise failure from error
    raise error


def _is_untaken(run: Run) -> bool:
    """Whether the same text means this turn until its answer is handed over.

    One that is run again may have been asked for several times by now.
    """
    return run.untaken or run.turn.attempt > 1


async def _finish(
    runtime: Runtime, run: Run, request: TurnRequest, end: Ended, session: Session
) -> Answer:
    turn, untaken = run.turn, _is_untaken(run)
    title = runtime.afterwork.title_by_rule(turn, end.context, request.text)
    await finish_turn(session, turn, end.response, title, untaken=untaken)
    runtime.runs.release(run)
    runtime.afterwork.begin(turn, end.context, request.text, end.response)
    return _answer_of_run(run, end.response, turn.calls, untaken=untaken)


async def _wait(runtime: Runtime, run: Run, session: Session) -> Answer:
    untaken = _is_untaken(run)
    said = await wait_for_person(session, run.turn, untaken=untaken)
    runtime.runs.release(run)
    answer = _answer_of_run(
        run, said, run.turn.calls, untaken=untaken, status=MessageStatus.WAITING
    )
    return replace(answer, approvals=run.turn.approvals)


async def _stop(runtime: Runtime, run: Run, session: Session) -> Answer:
    turn = run.turn
    parts = [run.telling.said if run.telling else "", unfinished_answer(turn.calls)]
    said = "\n\n".join(filter(None, parts)) or STOPPED_EARLY
    await stop_turn(session, turn, said)
    runtime.runs.release(run)
    return _answer_of_run(run, said, turn.calls, untaken=False, stopped=True)


def _waiting(turn: Turn) -> list[Approval]:
    """The calls that are asked for, and decided or not, and not on record yet."""
    return [each for each in turn.approvals if not each["done"]]


def _answer_of_run(
    run: Run,
    response: str,
    calls: list[ToolCall],
    *,
    untaken: bool,
    stopped: bool = False,
    status: MessageStatus = MessageStatus.COMPLETE,
) -> Answer:
    """The answer, of which those who watch are told as well."""
    turn = run.turn
    run.ended(Outcome(status, stopped, response, calls, untaken, _waiting(turn)))
    return Answer(
        turn.conversation_id,
        turn.message_id,
        turn.attempt,
        turn.created_at,
        response,
        calls,
        untaken=untaken,
        stopped=stopped,
    )


async def _fail(runtime: Runtime, run: Run) -> Record:
    """Close the turn as failed; what its row says then, as far as it can be asked."""
    turn = run.turn
    try:
        return await _write(runtime.autocommit, partial(_fail_once, runtime, run), OUTAGE_PAUSES)
    except Exception as error:
        logger.error("turn not closed", exc_info=error, extra={"fields": _fields(turn)})
        return _close_late(runtime, run, partial(_fail_once, runtime, run))


async def _fail_once(runtime: Runtime, run: Run, session: Session) -> Record:
    try:
        record = await fail_turn(session, run.turn)
    except Exception as error:
        if is_outage(error):
            raise
        logger.error("turn not closed with its costs", exc_info=error)
        record = await fail_turn(session, run.turn, counted=False)
    runtime.runs.release(run)
    return record


def _close_late(runtime: Runtime, run: Run, write: Write[Any]) -> Record:
    """Go on trying to close the turn, whose client is told what is known of it so far."""

    async def close() -> None:
        try:
            await _write(runtime.autocommit, write, LATE_PAUSES)
        except Exception as error:
            logger.error("turn never closed", exc_info=error, extra={"fields": _fields(run.turn)})
        finally:
            runtime.runs.release(run)

    run.untaken = True
    runtime.runs.keep(close())
    said = unfinished_answer(run.turn.calls)
    return Record(MessageStatus.RUNNING, run.turn.attempt, said, run.turn.calls, untaken=True)


async def _write[T](sessions: Sessions, write: Write[T], pauses: Iterable[float]) -> T:
    """What `write` returns, which is tried again after each pause while the database is away."""
    for pause in pauses:
        try:
            async with sessions() as session:
                return await write(session)
        except Exception as error:
            if not is_outage(error):
                raise
            logger.warning("database away at the end of a turn", exc_info=error)
            await asyncio.sleep(pause)
    async with sessions() as session:
        return await write(session)


async def note_untaken(runtime: Runtime, message_id: int, attempt: int) -> None:
    """Have the row say that nobody waits for the answer of this attempt any more."""
    write = partial(mark_untaken, message_id=message_id, attempt=attempt)
    await _write(runtime.marks, write, OUTAGE_PAUSES)


async def settle(runtime: Runtime, answer: Answer, taken: bool) -> None:
    """Have the row say whether `answer` was taken, where it says otherwise."""
    if taken and answer.untaken:
        with runtime.runs.handed(answer.message_id) as handed:
            await _write(runtime.marks, partial(_mark_taken, answer, handed), OUTAGE_PAUSES)
    elif not taken and not answer.untaken:
        await note_untaken(runtime, answer.message_id, answer.attempt)


async def _mark_taken(answer: Answer, handed: float, session: Session) -> None:
    await session.ready()
    ago = asyncio.get_running_loop().time() - handed
    await mark_taken(session, answer.message_id, answer.attempt, ago)


def _fields(turn: Turn) -> dict[str, int]:
    return {"conversation_id": turn.conversation_id, "message_id": turn.message_id}


def _so_far(turn: Turn, calls: list[ToolCall]) -> dict[str, Any]:
    return {**_fields(turn), "tool_calls": as_shown(calls) or None}


def _failure_of_run(
    turn: Turn, request: TurnRequest, record: Record, error: BaseException
) -> ChatError | None:
    """What the client is told: why there is no answer, and what was done all the same.

    None for a fault of our own outside the tools, of which it is told nothing.
    """
    so_far = _so_far(turn, record.calls)
    message = record.content or None
    match error.__cause__ if isinstance(error, ToolStopped) else error:
        case ProviderError(reason=reason) if reason == TOO_LONG:
            return ContextTooLong(so_far, message=message)
        case ProviderError(reason=reason, retry_after=retry_after):
            return AIServiceUnavailable(so_far, reason, message=message, retry_after=retry_after)
        case TurnClosed():
            keyed = request.key is not None
            return TurnTakenUp(so_far, retry_after=RUNNING_RETRY_S, retryable=keyed)
        case asyncio.CancelledError():  # only the order to stop cancels a turn
            return TurnInterrupted(so_far, message=message)
        case Exception() as cause if is_outage(cause):
            return DatabaseLost(so_far, message=message, retry_after=1)
    if not isinstance(error, ToolStopped):
        return None
    logger.error("a tool could not go on", exc_info=error)
    return ToolFailed(so_far, message=message)
