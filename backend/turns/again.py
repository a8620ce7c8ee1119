"""Turns that go on: by what the person has decided, or because they are asked for again."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from backend.database import Session
from backend.errors import NotPending
from backend.journal.again import Edit, ask_again
from backend.journal.approvals import Asked, Decision, Expired, decide
from backend.journal.begin import Busy
from backend.journal.quotas import Quota
from backend.journal.requests import Answer, TurnRequest
from backend.journal.turns import Turn
from backend.telemetry.spans import span
from backend.turns.admission import Place
from backend.turns.running import start_run
from backend.turns.runs import Run, to_its_end
from backend.turns.runtime import Runtime
from backend.turns.take import LOOK_AGAIN, read_day
from backend.web.clients import Client

type Look = Callable[
    [Session, tuple[int, int] | None], Awaitable[tuple[Turn, Asked] | Answer | Busy | Expired]
]
"""One look, told which attempt was at work at the last."""


def _quota(runtime: Runtime) -> Quota:
    return Quota(runtime.settings.chat_concurrency, runtime.settings.daily_token_budget)


async def decide_and_go_on(
    runtime: Runtime,
    user_id: str,
    message_id: str,
    decisions: Sequence[Decision],
    zone: str | None = None,
    *,
    streamed: bool = False,
) -> Run | Answer | Busy:
    """Write down what the person has decided, and start the run that goes on with it.

    The answer where something is pending still, or the same was decided before; `Busy` where
    another process runs it, or for longer than its time.

    Raises what `backend.journal.approvals.decide` does, and `NotPending` after 24 hours.
    """

    async def look(
        session: Session, _: tuple[int, int] | None
    ) -> tuple[Turn, Asked] | Answer | Busy | Expired:
        return await decide(
            session,
            user_id,
            message_id,
            decisions,
            history_limit=runtime.settings.history_limit,
            quota=_quota(runtime),
        )

    return await _go_on(runtime, user_id, look, zone, approvals=True, streamed=streamed)


async def ask_again_and_go_on(
    runtime: Runtime,
    user_id: str,
    message_id: str,
    client: Client,
    *,
    edit: Edit | None = None,
    zone: str | None = None,
    approvals: bool = False,
    streamed: bool = False,
) -> Run | Answer | Busy:
    """Start the run that answers the newest turn anew, or, with `edit`, what is said instead.

    Raises what `backend.journal.again.ask_again` does.
    """

    async def look(
        session: Session, joined: tuple[int, int] | None
    ) -> tuple[Turn, Asked] | Answer | Busy:
        return await ask_again(
            session,
            user_id,
            message_id,
            edit=edit,
            waited=client.waited,
            joined=joined,
            history_limit=runtime.settings.history_limit,
            quota=_quota(runtime),
        )

    return await _go_on(runtime, user_id, look, zone, approvals=approvals, streamed=streamed)


async def _go_on(
    runtime: Runtime, user_id: str, look: Look, zone: str | None, *, approvals: bool, streamed: bool
) -> Run | Answer | Busy:
    """Look until the turn is ours to run, or has its answer; for a stream a busy one will do."""
    clock = asyncio.get_running_loop().time
    deadline = clock() + runtime.settings.ai_timeout_seconds
    async with Place(runtime.places) as place:
        joined = None
        while True:
            looked = clock()
            with span("begin turn"):
                begun = await to_its_end(
                    _look(runtime, user_id, look, zone, joined), then_strike=True
                )
            if isinstance(begun, tuple):
                turn, asked, day = begun
                request = TurnRequest(
                    asked.conversation_id, asked.text, zone=zone, approvals=approvals
                )
                return start_run(runtime, place, user_id, request, turn, day, streamed=streamed)
            if not isinstance(begun, Busy) or streamed or looked > deadline:
                return begun
            joined = begun.message_id, begun.attempt
            async with place.free():
                await asyncio.sleep(LOOK_AGAIN)


async def _look(
    runtime: Runtime, user_id: str, look: Look, zone: str | None, joined: tuple[int, int] | None
) -> tuple[Turn, Asked, str] | Answer | Busy:
    async with runtime.sessions.begin() as session:
        await session.ready()
        begun = await look(session, joined)
        if isinstance(begun, tuple):
            return *begun, await read_day(session, user_id, begun[0], zone)
    if isinstance(begun, Expired):
        raise NotPending
    return begun
