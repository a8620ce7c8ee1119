"""One turn, from a request to its answer: begin, run, close.

A request begins a turn and waits for it; the run is a task of the process, which goes on whoever
leaves.
"""

import asyncio
import logging
from datetime import datetime
from functools import partial

from psycopg.errors import UniqueViolation

from backend.agent.words.prompt import OPEN_TASKS_SHOWN, day_context
from backend.database import Session
from backend.errors import TooManyTurns, TurnInProgress
from backend.journal.begin import Busy, Known, begin_or_resume
from backend.journal.quotas import Quota, lock_user
from backend.journal.requests import Answer, TurnRequest
from backend.journal.statements import LEASE
from backend.journal.turns import Turn
from backend.models import utc_now
from backend.tasks.open_tasks import OpenTasks, ask_open_tasks, open_tasks, read_open_tasks
from backend.tasks.open_tasks import Place as Where
from backend.telemetry.figures import REPLAYED
from backend.telemetry.spans import span
from backend.time_zones import zone_of
from backend.turns.admission import Place
from backend.turns.closing import settle
from backend.turns.running import start_run
from backend.turns.runs import Run, to_its_end
from backend.turns.runtime import Runtime
from backend.web.clients import Client

logger = logging.getLogger(__name__)

LOOK_AGAIN = 0.2
"""Seconds between two looks at a turn that another process is running."""


async def take_turn(runtime: Runtime, user_id: str, request: TurnRequest, client: Client) -> Answer:
    """Answer `request`: run its turn, take it up after a failure, or give its answer again.

    Raises:
        ConversationNotFound: not there, deleted, or someone else's.
        ValidationFailed: the key came with another request before.
        AlreadyUndone: the keyed turn failed, and what it had done was taken back.
        TurnInProgress: another request runs the turn, beyond the time limit.
        TooManyTurns: as many of the user's turns are running as may.
        BudgetSpent: the user's tokens of the day are used.
        ChatError: the turn was begun and has no answer; `details` say why, and what was done
            all the same.
    """
    begun = await find_or_begin(runtime, user_id, request, client)
    return await wait_for(runtime, begun, client)


async def wait_for(runtime: Runtime, begun: Run | Answer | Busy, client: Client) -> Answer:
    """The answer that `client` waits for, once it is there."""
    if isinstance(begun, Busy):
        raise TurnInProgress
    if isinstance(begun, Run):
        begun.joined()
        client.when_left(begun.left)
        begun = await begun.answer()
    client.when_answered(partial(settle, runtime, begun))
    return begun


async def find_or_begin(
    runtime: Runtime, user_id: str, request: TurnRequest, client: Client, *, streamed: bool = False
) -> Run | Answer | Busy:
    """The run of the turn that is meant, or its answer, once it is clear which that is.

    For a stream also a turn that another process runs, which is watched and not waited for.
    """
    async with Place(runtime.places) as place:
        return await _begin_run(runtime, place, user_id, request, client, streamed=streamed)


async def _begin_run(
    runtime: Runtime,
    place: Place,
    user_id: str,
    request: TurnRequest,
    client: Client,
    *,
    streamed: bool,
) -> Run | Answer | Busy:
    patience = runtime.settings.ai_timeout_seconds
    if request.key is None:
        # what may be a retry is settled when the twin's lease is renewed twice or lapses
        patience = max(patience, 2 * LEASE.total_seconds())
    deadline = asyncio.get_running_loop().time() + patience
    taken = partial(runtime.runs.taken_before, client.came)
    known = Known(runtime.runs.held(), runtime.runs.untaken, taken)
    refused = False
    while True:
        looked = asyncio.get_running_loop().time()
        busy = None
        try:
            begun = await begin_run(
                runtime, place, user_id, request, known, client, streamed=streamed
            )
            if not isinstance(begun, Busy) or (streamed and begun.joined):
                if isinstance(begun, Answer):
                    REPLAYED.add()
                return begun
            busy = begun
        except UniqueViolation as error:
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
            await _pause(runtime, busy)


async def _pause(runtime: Runtime, busy: Busy | None) -> None:
    """Wait until it is worth another look: not for long, and not past the end of a run here."""
    run = busy and runtime.runs.find(busy.message_id)
    if run and run.is_under_way:
        await run.wait(LOOK_AGAIN)
    else:
        await asyncio.sleep(LOOK_AGAIN)


async def begin_run(
    runtime: Runtime,
    place: Place,
    user_id: str,
    request: TurnRequest,
    known: Known,
    client: Client,
    *,
    streamed: bool = False,
) -> Run | Answer | Busy:
    """Look once which turn `request` means, and start its run where it is for us to run it.

    Between the commit that begins a turn and its run nothing can cut us off. The run takes over
    `place`.
    """
    look = _look(runtime, user_id, request, known, client)
    with span("begin turn"):
        begun = await to_its_end(look, then_strike=True)
    if not isinstance(begun, tuple):
        return begun
    return start_run(runtime, place, user_id, request, *begun, streamed=streamed)


async def _look(
    runtime: Runtime, user_id: str, request: TurnRequest, known: Known, client: Client
) -> tuple[Turn, str] | Answer | Busy:
    """What `begin_or_resume` says, and with a turn the day's context, in one transaction."""
    settings = runtime.settings
    now = utc_now()
    async with runtime.sessions.begin() as session:
        await session.ready()
        lock_user(session, user_id)
        place = Where(request.conversation_id, request.project_id)
        listed = ask_open_tasks(session, user_id, OPEN_TASKS_SHOWN, now, request.zone, place)
        begun = await begin_or_resume(
            session,
            user_id,
            request,
            history_limit=settings.history_limit,
            quota=Quota(
                settings.chat_concurrency,
                settings.daily_token_budget,
                settings.daily_cost_budget,
            ),
            known=known,
            waited=client.waited,
        )
        if not isinstance(begun, Turn):
            return begun
        shown = read_open_tasks(await listed, now, request.zone)
        if (shown.project and shown.project.id) != begun.conversation.project_id:
            # a turn that is taken up in a conversation which the request does not name
            place = Where(begun.conversation_id)
            shown = await open_tasks(session, user_id, OPEN_TASKS_SHOWN, now, shown.zone, place)
        return begun, _day_context(shown, now, begun)


def _day_context(shown: OpenTasks, now: datetime, turn: Turn) -> str:
    """What a run is told of the day, and of the tasks as they stand."""
    turn.zone = shown.zone
    return day_context(now.astimezone(zone_of(shown.zone)), shown)


async def read_day(session: Session, user_id: str, turn: Turn, zone: str | None) -> str:
    """The same for a turn that goes on, asked once it is clear how the tasks stand."""
    now = utc_now()
    place = Where(turn.conversation_id)
    shown = await open_tasks(session, user_id, OPEN_TASKS_SHOWN, now, zone, place)
    return _day_context(shown, now, turn)
