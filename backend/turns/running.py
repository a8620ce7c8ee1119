"""A run, from its start to the end of its turn: a task of the process.

No transaction and no connection is open while the model thinks, and a run holds one of the
process's places only while it works.
"""

import asyncio
from dataclasses import replace
from functools import partial

from backend.agent.budgets import budget_of
from backend.agent.chat_agent import create_agent, run_agent
from backend.agent.context.build import Context, build_context
from backend.agent.decided import do_decided
from backend.agent.models.catalog import Choice
from backend.agent.models.run_model import TOO_LONG, ProviderError, RunModel
from backend.agent.models.told_model import ToldModel
from backend.agent.outside_tools import OutsideTools
from backend.agent.tools import create_tools_for_user
from backend.agent.wire.exchange import Exchanges
from backend.agent.words.prompt import outside_note
from backend.conversations.approvals import is_to_do
from backend.conversations.parts import parts_of
from backend.database import open_session
from backend.journal.requests import Answer, TurnRequest
from backend.journal.turns import Turn
from backend.telemetry.spans import span
from backend.turns.admission import Place
from backend.turns.channels import Channel
from backend.turns.closing import Ended, close_run, note_untaken
from backend.turns.runs import Run, to_its_end
from backend.turns.runtime import Runtime
from backend.turns.seen import SeenRun


def start_run(
    runtime: Runtime,
    place: Place,
    user_id: str,
    request: TurnRequest,
    turn: Turn,
    day: str,
    *,
    streamed: bool = False,
) -> Run:
    """Start the run of a turn that was begun, without a wait in between."""
    run = Run(turn, partial(_note_untaken, runtime), _channel(turn) if streamed else None)
    runtime.runs.hold(run)
    run.begin(_carry_out(runtime, place.pass_on(), user_id, request, run, day))
    return run


def _channel(turn: Turn) -> Channel:
    """Where the turn is watched; what earlier attempts have done is shown first."""
    channel = Channel(turn.message_id, turn.conversation_id, turn.created_at)
    channel.began = asyncio.get_running_loop().time()
    waiting = [each for each in turn.approvals if not each["done"]]
    for part in parts_of("", turn.calls, waiting):
        channel.tell(part)
    return channel


def _note_untaken(runtime: Runtime, run: Run) -> None:
    runtime.runs.keep(note_untaken(runtime, *run.key))


async def _carry_out(
    runtime: Runtime, place: Place, user_id: str, request: TurnRequest, run: Run, day: str
) -> Answer:
    """Run the turn and close it, whatever befalls the run."""
    async with place:
        with SeenRun(run.turn):
            try:
                end: Ended | BaseException
                end = await _run_agent(runtime, place, user_id, request, run, day)
            except BaseException as error:
                end = error
            run.closes()
            with span("finish turn"):
                return await to_its_end(_close(runtime, place, run, request, end))


async def _close(
    runtime: Runtime, place: Place, run: Run, request: TurnRequest, end: Ended | BaseException
) -> Answer:
    await place.take()  # many may fail at once
    return await close_run(runtime, run, request, end)


async def _run_agent(
    runtime: Runtime, place: Place, user_id: str, request: TurnRequest, run: Run, day: str
) -> Ended:
    """The answer, and what it was given to; within the limit, however many runs it takes.

    A model that finds its input too long gets half of it, once, if nothing has been done yet.
    """
    turn = run.turn
    end = asyncio.get_running_loop().time() + runtime.settings.ai_timeout_seconds
    choice = runtime.providers.of_conversation(turn.conversation)
    turn.provider, turn.model = choice
    turn.said = request.text
    turn.spending.pricing = runtime.providers.pricing(choice)
    turn.ask_first = runtime.settings.approval_tools if request.approvals else ()
    budget = budget_of(choice.model, runtime.providers.window(choice))
    outside = await _outside(runtime, place, user_id, run, budget.more_tools, request.approvals)
    if outside:
        budget = budget.less(outside.offer.size)
    if any(map(is_to_do, turn.approvals)):
        await _do_decided(runtime, user_id, run, outside, end)
    messages = runtime.settings.history_limit
    context = await build_context(turn, day, request.text, budget, messages)
    done = len(turn.calls), len(turn.earlier)
    try:
        answer = await _attempt(runtime, place, user_id, run, context, outside, end)
        return Ended(answer, context)
    except ProviderError as error:
        if error.reason != TOO_LONG:
            raise
        context = await build_context(
            turn, day, request.text, budget.halved(context.items), messages
        )
        if done != (len(turn.calls), len(turn.earlier)):
            runtime.afterwork.shorten(turn, context)
            raise
    async with Place(runtime.places) as another:
        try:
            if outside:
                outside = replace(outside, waiting=another.free)
            answer = await _attempt(runtime, another, user_id, run, context, outside, end)
            return Ended(answer, context)
        except ProviderError as error:
            if error.reason == TOO_LONG:
                runtime.afterwork.shorten(turn, context)
            raise


async def _outside(
    runtime: Runtime, place: Place, user_id: str, run: Run, most: int, can_ask: bool
) -> OutsideTools | None:
    """The tools of the conversation's toolsets, up to `most` bytes; None where it has none."""
    names = runtime.toolsets.used(run.turn.conversation.toolsets)
    if not names:
        return None
    async with place.free():
        offer = await runtime.toolsets.offer(names, most)
    if run.telling:
        run.telling.know([tool.full_name for tool in offer.tools])
    return OutsideTools(
        runtime.toolsets, offer, user_id, run.turn, run.telling, can_ask, place.free
    )


async def _do_decided(
    runtime: Runtime, user_id: str, run: Run, outside: OutsideTools | None, end: float
) -> None:
    """Do what the person has decided, until `end` at the latest, by the loop's clock.

    Raises:
        ProviderError: there was not enough time.
    """
    try:
        async with asyncio.timeout_at(end), open_session(runtime.sessions) as session:
            await do_decided(user_id, session, run.turn, run.telling, outside)
    except TimeoutError as error:
        raise ProviderError("timeout") from error


async def _attempt(
    runtime: Runtime,
    place: Place,
    user_id: str,
    run: Run,
    context: Context,
    outside: OutsideTools | None,
    end: float,
) -> str:
    """Run a fresh agent on `context` until `end` at the latest, by the loop's clock."""
    turn, telling = run.turn, run.telling
    async with open_session(runtime.sessions) as session:
        tools = create_tools_for_user(user_id, session, turn, telling)
        note = ""
        if outside:
            tools += outside.bind(session)
            note = outside_note(bool(outside.offer.tools), outside.offer.down)
        by = Exchanges(f"{turn.provider}/{turn.model}", turn.reasoning)
        choice = Choice(str(turn.provider), str(turn.model))
        named = runtime.providers.model(choice)
        model = RunModel(named, place.free, turn.spending, by, choice)
        agent = create_agent(ToldModel(model, telling) if telling else model, tools, turn, note)
        limit = end - asyncio.get_running_loop().time()
        try:
            answer = await run_agent(agent, context, turn, limit)
            return telling.conclude(answer) if telling and not turn.asks else answer
        finally:
            # a run that is cut off ends before the tool it has cancelled, which needs its session
            async with turn.calling:
                pass
