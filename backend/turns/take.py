"""One turn, from a request to its answer: begin, run, finish; and the honest end of a failure.

The four steps stand in `take_turn`. No transaction and no connection is open while the model
thinks, and a turn holds one of the process's places only while it works.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy.exc import IntegrityError
from sqlmodel.ext.asyncio.session import AsyncSession

from backend.agent.chat_agent import ToolStopped, create_agent, run_agent
from backend.agent.context.budget import budget_of
from backend.agent.context.build import Context, build_context
from backend.agent.models.catalog import Choice
from backend.agent.models.run_model import TOO_LONG, ProviderError, RunModel
from backend.agent.prompt import OPEN_TASKS_SHOWN, day_context
from backend.agent.tools import create_tools_for_user
from backend.conversations.tool_calls import ToolCall, as_shown
from backend.database import open_session
from backend.errors import (
    RUNNING_RETRY_S,
    AIServiceUnavailable,
    ChatError,
    ContextTooLong,
    DatabaseLost,
    ToolFailed,
    TooManyTurns,
    TurnInProgress,
    TurnInterrupted,
    TurnTakenUp,
    is_outage,
)
from backend.journal.begin import Answered, Busy, begin_or_resume
from backend.journal.quotas import Quota
from backend.journal.statements import LEASE
from backend.journal.turns import Turn, TurnClosed, TurnRequest, fail_turn, finish_turn
from backend.models import utc_now
from backend.tasks import rules as tasks
from backend.turns.admission import Place
from backend.turns.runtime import Runtime

logger = logging.getLogger(__name__)

LOOK_AGAIN = 0.2
"""Seconds between two looks at a turn that another request is running."""
OUTAGE_PAUSES = (0.1, 0.4, 1.0, 2.0)
"""Seconds before each further try to end a turn, where the database is away."""


@dataclass(frozen=True, slots=True)
class Finished:
    """A turn that this request has run to its answer."""

    conversation_id: int
    message_id: int
    created_at: datetime
    response: str
    calls: list[ToolCall]


async def take_turn(runtime: Runtime, user_id: str, request: TurnRequest) -> Finished | Answered:
    """Answer `request`: run its turn, take it up after a failure, or give its answer again.

    Raises:
        ConversationNotFound: not there, deleted, or someone else's.
        ValidationFailed: the key came with another request before.
        AlreadyUndone: the keyed turn failed, and what it had done was taken back.
        TurnInProgress: another request runs the keyed turn, beyond the time limit.
        TooManyTurns: as many of the user's turns are running as may.
        BudgetSpent: the user's tokens of the day are used.
        ChatError: the turn was begun and has no answer; `details` say why, and what was done
            all the same.
    """
    async with Place(runtime.places) as place:
        begun = await _begin(runtime, place, user_id, request)
        if isinstance(begun, Answered):
            return begun
        turn, day = begun
        with runtime.leases.hold(turn):
            try:
                answer, context = await _run(runtime, place, user_id, request, turn, day)
                title = runtime.afterwork.title_by_rule(turn, context, request.text)
                await _end(runtime, lambda session: finish_turn(session, turn, answer, title))
            except BaseException as error:
                done = await asyncio.shield(_close_failed(runtime, turn, error))
                if failure := _failure(turn, request, done, error):
                    raise failure from error
                raise
    runtime.afterwork.begin(turn, context, request.text, answer)
    return Finished(turn.conversation_id, turn.message_id, turn.created_at, answer, turn.calls)


async def _begin(
    runtime: Runtime, place: Place, user_id: str, request: TurnRequest
) -> tuple[Turn, str] | Answered:
    """The turn and the day's context, once it is clear that it is for this request to run it."""
    alive: dict[int, datetime | None] = {**runtime.leases.messages()}
    quota = Quota(runtime.settings.chat_concurrency, runtime.settings.daily_token_budget)
    patience = runtime.settings.ai_timeout_seconds
    if request.key is None:
        # what may be a retry is settled when the twin's lease is renewed or lapses
        patience = max(patience, 2 * LEASE.total_seconds())
    deadline = asyncio.get_running_loop().time() + patience
    refused = False
    while True:
        looked = asyncio.get_running_loop().time()
        try:
            async with runtime.sessions.begin() as session:
                begun = await begin_or_resume(
                    session,
                    user_id,
                    request,
                    history_limit=runtime.settings.history_limit,
                    quota=quota,
                    alive=alive,
                )
                if isinstance(begun, Answered):
                    return begun
                if isinstance(begun, Turn):
                    now = utc_now().astimezone(ZoneInfo(request.zone))
                    listed = await tasks.open_tasks(session, user_id, OPEN_TASKS_SHOWN, now)
                    return begun, day_context(now, listed)
                _note_lease(alive, begun)
        except IntegrityError as error:
            # the same key at the same moment: the next look finds the other's turn
            logger.info("two requests under one key", exc_info=error)
        except TooManyTurns:
            # under a key, one of those that run may be this turn, begun since the look
            if request.key is None or refused:
                raise
            refused = True
            continue
        # by the start of the look: this process may have stood still, or waited for a lock, since
        if looked > deadline:
            raise TurnInProgress
        async with place.free():
            await asyncio.sleep(LOOK_AGAIN)


def _note_lease(alive: dict[int, datetime | None], busy: Busy) -> None:
    """Remember the first lease seen; a later one proves that its process lives."""
    alive.setdefault(busy.message_id, busy.lease_until)


async def _run(
    runtime: Runtime, place: Place, user_id: str, request: TurnRequest, turn: Turn, day: str
) -> tuple[str, Context]:
    """The answer, and what it was given to; within the limit, however many runs it takes.

    A model that finds its input too long gets half of it, once, if nothing has been done yet.
    """
    end = asyncio.get_running_loop().time() + runtime.settings.ai_timeout_seconds
    choice = runtime.providers.of_conversation(turn.conversation)
    turn.provider, turn.model = choice
    budget = budget_of(choice.model, runtime.providers.window(choice))
    messages = runtime.settings.history_limit
    context = build_context(turn, day, request.text, budget, messages)
    done = len(turn.calls), len(turn.earlier)
    try:
        return await _attempt(runtime, place, user_id, turn, context, end), context
    except ProviderError as error:
        if error.reason != TOO_LONG:
            raise
        context = build_context(turn, day, request.text, budget.halved(context.items), messages)
        if done != (len(turn.calls), len(turn.earlier)):
            runtime.afterwork.shorten(turn, context)
            raise
    async with Place(runtime.places) as another:
        try:
            return await _attempt(runtime, another, user_id, turn, context, end), context
        except ProviderError as error:
            if error.reason == TOO_LONG:
                runtime.afterwork.shorten(turn, context)
            raise


async def _attempt(
    runtime: Runtime, place: Place, user_id: str, turn: Turn, context: Context, end: float
) -> str:
    """Run a fresh agent on `context` until `end` at the latest, by the loop's clock."""
    async with open_session(runtime.sessions) as session:
        tools = create_tools_for_user(user_id, session, turn)
        model = runtime.providers.model(Choice(str(turn.provider), str(turn.model)))
        agent = create_agent(RunModel(model, place.free, turn.spending), tools)
        limit = end - asyncio.get_running_loop().time()
        try:
            return await run_agent(agent, context, turn, limit)
        finally:
            # a run that is cut off ends before the tool it has cancelled, which needs its session
            async with turn.calling:
                pass


async def _end[T](runtime: Runtime, write: Callable[[AsyncSession], Awaitable[T]]) -> T:
    """Write a turn's end, one statement; again for some seconds while the database is away."""
    for pause in OUTAGE_PAUSES:
        try:
            async with runtime.autocommit() as session:
                return await write(session)
        except Exception as error:
            if not is_outage(error):
                raise
            logger.warning("database away at the end of a turn", exc_info=error)
            await asyncio.sleep(pause)
    async with runtime.autocommit() as session:
        return await write(session)


async def _close_failed(runtime: Runtime, turn: Turn, error: BaseException) -> list[ToolCall]:
    """Close a turn whose run ended badly; the calls on record, from the database's mouth.

    Where the database stays away so does the lease, and readers take the turn as failed.
    """
    fields = {"conversation_id": turn.conversation_id, "message_id": turn.message_id}
    logger.warning("turn failed", exc_info=error, extra={"fields": fields})
    try:
        return await _end(runtime, lambda session: fail_turn(session, turn))
    except Exception as unclosed:
        logger.error("turn not closed", exc_info=unclosed, extra={"fields": fields})
        return turn.calls


def _failure(
    turn: Turn, request: TurnRequest, done: list[ToolCall], error: BaseException
) -> ChatError | None:
    """What the client is told: why there is no answer, and what was done all the same.

    None for a fault of our own outside the tools, of which it is told nothing.
    """
    so_far: dict[str, Any] = {
        "conversation_id": turn.conversation_id,
        "message_id": turn.message_id,
        "tool_calls": as_shown(done) or None,
    }
    match error.__cause__ if isinstance(error, ToolStopped) else error:
        case ProviderError(reason=reason) if reason == TOO_LONG:
            return ContextTooLong(so_far)
        case ProviderError(reason=reason, retry_after=retry_after):
            return AIServiceUnavailable(so_far, reason, retry_after=retry_after)
        case TurnClosed():
            keyed = request.key is not None
            return TurnTakenUp(so_far, retry_after=RUNNING_RETRY_S, retryable=keyed)
        case asyncio.CancelledError():  # only the order to stop cancels a turn
            return TurnInterrupted(so_far)
        case Exception() as cause if is_outage(cause):
            return DatabaseLost(so_far, retry_after=1)
    if not isinstance(error, ToolStopped):
        return None
    logger.error("a tool could not go on", exc_info=error)
    return ToolFailed(so_far)
