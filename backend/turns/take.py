"""One turn, from a request to its answer: begin, run, close.

A request begins a turn and waits for it; the run is a task of the process, which goes on whoever
leaves. No transaction and no connection is open while the model thinks, and a run holds one of
the process's places only while it works.
"""

import asyncio
import logging
from functools import partial

from psycopg.errors import UniqueViolation

from backend.agent.chat_agent import create_agent, run_agent
from backend.agent.context.budget import budget_of
from backend.agent.context.build import Context, build_context
from backend.agent.models.catalog import Choice
from backend.agent.models.run_model import TOO_LONG, ProviderError, RunModel
from backend.agent.models.told_model import ToldModel
from backend.agent.prompt import OPEN_TASKS_SHOWN, day_context
from backend.agent.tools import create_tools_for_user
from backend.agent.wire.exchange import Exchanges
from backend.conversations.parts import parts_of
from backend.database import open_session
from backend.errors import TooManyTurns, TurnInProgress
from backend.journal.begin import Busy, Known, begin_or_resume
from backend.journal.quotas import Quota, lock_user
from backend.journal.requests import Answer, TurnRequest
from backend.journal.statements import LEASE
from backend.journal.turns import Turn
from backend.models import utc_now
from backend.tasks.listing import ask_open_tasks, read_open_tasks
from backend.time_zones import zone_of
from backend.turns.admission import Place
from backend.turns.channels import Channel
from backend.turns.closing import Ended, close_run, note_untaken, settle
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
        return await _begin(runtime, place, user_id, request, client, streamed=streamed)


async def _begin(
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
        # what may be a retry is settled when the twin's lease is renewed or lapses
        patience = max(patience, 2 * LEASE.total_seconds())
    deadline = asyncio.get_running_loop().time() + patience
    known = Known(runtime.runs.held(), runtime.runs.untaken)
    refused = False
    while True:
        looked = asyncio.get_running_loop().time()
        busy = None
        try:
            begun = await begin_run(
                runtime, place, user_id, request, known, client.waited, streamed=streamed
            )
            if not isinstance(begun, Busy) or (streamed and begun.joined):
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
    waited: float,
    *,
    streamed: bool = False,
) -> Run | Answer | Busy:
    """Look once which turn `request` means, and start its run where it is for us to run it.

    Between the commit that begins a turn and its run nothing can cut us off. The run takes over
    `place`.
    """
    look = _look(runtime, user_id, request, known, waited)
    begun = await to_its_end(look, then_strike=True)
    if not isinstance(begun, tuple):
        return begun
    turn, day = begun
    run = Run(turn, partial(_note_untaken, runtime), _channel(turn) if streamed else None)
    runtime.runs.hold(run)
    run.begin(_carry_out(runtime, place.pass_on(), user_id, request, run, day))
    return run


def _channel(turn: Turn) -> Channel:
    """Where the turn is watched; what earlier attempts have done is shown first."""
    channel = Channel(turn.message_id, turn.conversation_id, turn.created_at)
    for part in parts_of("", turn.calls):
        channel.tell(part)
    return channel


def _note_untaken(runtime: Runtime, run: Run) -> None:
    runtime.runs.keep(note_untaken(runtime, *run.key))


async def _look(
    runtime: Runtime, user_id: str, request: TurnRequest, known: Known, waited: float
) -> tuple[Turn, str] | Answer | Busy:
    """What `begin_or_resume` says, and with a turn the day's context, in one transaction."""
    settings = runtime.settings
    now = utc_now()
    async with runtime.sessions.begin() as session:
        lock_user(session, user_id)
        listed = ask_open_tasks(session, user_id, OPEN_TASKS_SHOWN, now, request.zone)
        begun = await begin_or_resume(
            session,
            user_id,
            request,
            history_limit=settings.history_limit,
            quota=Quota(settings.chat_concurrency, settings.daily_token_budget),
            known=known,
            waited=waited,
        )
        if not isinstance(begun, Turn):
            return begun
        open_tasks = read_open_tasks(await listed, now, request.zone)
        begun.zone = open_tasks.zone
        here = now.astimezone(zone_of(open_tasks.zone))
        return begun, day_context(here, open_tasks)


async def _carry_out(
    runtime: Runtime, place: Place, user_id: str, request: TurnRequest, run: Run, day: str
) -> Answer:
    """Run the turn and close it, whatever befalls the run."""
    async with place:
        try:
            end: Ended | BaseException
            end = await _run(runtime, place, user_id, request, run, day)
        except BaseException as error:
            end = error
        run.closes()
        return await to_its_end(_close(runtime, place, run, request, end))


async def _close(
    runtime: Runtime, place: Place, run: Run, request: TurnRequest, end: Ended | BaseException
) -> Answer:
    await place.take()  # many may fail at once
    return await close_run(runtime, run, request, end)


async def _run(
    runtime: Runtime, place: Place, user_id: str, request: TurnRequest, run: Run, day: str
) -> Ended:
    """The answer, and what it was given to; within the limit, however many runs it takes.

    A model that finds its input too long gets half of it, once, if nothing has been done yet.
    """
    turn = run.turn
    end = asyncio.get_running_loop().time() + runtime.settings.ai_timeout_seconds
    choice = runtime.providers.of_conversation(turn.conversation)
    turn.provider, turn.model = choice
    budget = budget_of(choice.model, runtime.providers.window(choice))
    messages = runtime.settings.history_limit
    context = build_context(turn, day, request.text, budget, messages)
    done = len(turn.calls), len(turn.earlier)
    try:
        return Ended(await _attempt(runtime, place, user_id, run, context, end), context)
    except ProviderError as error:
        if error.reason != TOO_LONG:
            raise
        context = build_context(turn, day, request.text, budget.halved(context.items), messages)
        if done != (len(turn.calls), len(turn.earlier)):
            runtime.afterwork.shorten(turn, context)
            raise
    async with Place(runtime.places) as another:
        try:
            return Ended(await _attempt(runtime, another, user_id, run, context, end), context)
        except ProviderError as error:
            if error.reason == TOO_LONG:
                runtime.afterwork.shorten(turn, context)
            raise


async def _attempt(
    runtime: Runtime, place: Place, user_id: str, run: Run, context: Context, end: float
) -> str:
    """Run a fresh agent on `context` until `end` at the latest, by the loop's clock."""
    turn, telling = run.turn, run.telling
    async with open_session(runtime.sessions) as session:
        tools = create_tools_for_user(user_id, session, turn, telling)
        by = Exchanges(f"{turn.provider}/{turn.model}", turn.reasoning)
        named = runtime.providers.model(Choice(str(turn.provider), str(turn.model)))
        model = RunModel(named, place.free, turn.spending, by)
        agent = create_agent(ToldModel(model, telling) if telling else model, tools)
        limit = end - asyncio.get_running_loop().time()
        try:
            answer = await run_agent(agent, context, turn, limit)
            return telling.conclude(answer) if telling else answer
        finally:
            # a run that is cut off ends before the tool it has cancelled, which needs its session
            async with turn.calling:
                pass
