"""What a turn leaves to do once it has been answered: a title, and a shorter context.

It is done outside the person's wait, in tasks of the app's own, and all of it follows from the
database: what is lost with the process, or dropped because too much is waiting, is done after
the next turn. Nothing that goes wrong here touches an answer.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

from agents import Model

from backend.agent.context.budget import Budget
from backend.agent.context.build import Context
from backend.agent.context.history import PastTurn, first_kept, past_turn
from backend.agent.context.summaries import digest, summary_by_model
from backend.agent.context.titles import title_by_model, title_by_rule
from backend.agent.models.catalog import Providers
from backend.agent.models.offline import OfflineModel
from backend.agent.models.run_model import RunModel
from backend.config import Settings
from backend.conversations.messages import StoredMessage
from backend.conversations.tool_calls import changes
from backend.database import Sessions
from backend.journal.afterwork import (
    Left,
    Remembered,
    left_to_do,
    name_conversation,
    read_summary,
    remember,
    rewrite_summary,
)
from backend.journal.spending import Spending
from backend.journal.turns import Turn
from backend.models import Role
from backend.telemetry.figures import AFTERWORK_DROPPED
from backend.telemetry.spans import span
from backend.turns.admission import Place

logger = logging.getLogger(__name__)

NAMED_UNTIL = 6
"""Messages of a conversation up to which the model is asked for its title, once they are two."""
WAITING_MAX = 100
"""Turns with something left to do, in this process; what comes beyond them is dropped."""
STOP_SECONDS = 2.0
"""How long a stop waits for what is under way."""
REWRITES = 3
"""Tries to add to a summary that others write at the same time."""

type Job = Callable[[Place], Coroutine[Any, Any, None]]


class Afterwork:
    """The work of this process after its turns."""

    def __init__(
        self,
        settings: Settings,
        autocommit: Sessions,
        providers: Providers,
        places: asyncio.Semaphore,
    ) -> None:
        self._settings = settings
        self._autocommit = autocommit
        self._providers = providers
        self._places = places
        self._tasks: dict[tuple[int, int], asyncio.Task[None]] = {}
        self._stopping = False

    def title_by_rule(self, turn: Turn, context: Context, text: str) -> str | None:
        """The title to write with the answer; None where there is one."""
        if turn.conversation.title is not None:
            return None
        return title_by_rule(_first_message(context, text))

    def begin(self, turn: Turn, context: Context, text: str, answer: str) -> None:
        """Start what is left to do after `turn`, which has been answered with `answer`.

        `context` is what the answer was given to. Nothing is raised: the answer stands.
        """
        try:
            if jobs := self._jobs(turn, context, text, answer):
                self._start(turn, jobs)
        except Exception as error:
            logger.error("work after a turn not begun", exc_info=error)

    def _jobs(self, turn: Turn, context: Context, text: str, answer: str) -> list[Job]:
        jobs: list[Job] = []
        model = self._writer(turn)
        if model is not None and self._is_to_be_named(turn, context, text):
            jobs.append(partial(self._name, model, turn, [*_messages(context), text], answer))
        this = _this_turn(turn, context.budget, text, answer)
        if turn.behind:
            return [*jobs, partial(self._add, turn, this)] if changes(turn.calls) else jobs
        turns = [*context.read, this]
        if start := self._first_kept(turns, context.budget):
            jobs.append(partial(self._remember, model, turn, turns, start, context.budget))
        return jobs

    def _is_to_be_named(self, turn: Turn, context: Context, text: str) -> bool:
        """Whether the model is asked for a title: the second answer is there, or little more.

        A conversation of one turn is named by rule, as nobody may ever look for it.
        """
        named = turn.conversation.title
        if self._settings.ai_titles == "rule" or turn.conversation.message_count > NAMED_UNTIL:
            return False
        return named is not None and named == title_by_rule(_first_message(context, text))

    def _first_kept(self, turns: list[PastTurn], budget: Budget) -> int:
        """Where the context of the next turn begins in `turns`; 0 leaves it where it is."""
        start = first_kept(turns, self._settings.history_limit - 1, budget)
        # the newest stays in any case: the next turn leaves it out if it is too long
        return min(start, len(turns) - 1)

    def shorten(self, turn: Turn, context: Context) -> None:
        """Start the next turn's context where this one's began, which was too long even so.

        So a conversation whose model takes less than is known of it gets out of that by itself.
        """
        start = min(context.start, len(context.read) - 1)
        if start > 0 and not turn.behind:
            job = partial(self._remember, None, turn, context.read, start, context.budget)
            self._start(turn, [job])

    def _writer(self, turn: Turn) -> Model | None:
        """The model that writes titles and summaries; None where it is done by rule."""
        choice = self._providers.of_conversation(turn.conversation)
        model = self._providers.model(choice)
        if not self._settings.ai_summaries or isinstance(model, OfflineModel):
            return None
        return model

    def _spending(self, turn: Turn) -> Spending:
        choice = self._providers.of_conversation(turn.conversation)
        return Spending(pricing=self._providers.pricing(choice))

    def _asked(self, model: Model, turn: Turn, place: Place, spending: Spending) -> RunModel:
        by = self._providers.of_conversation(turn.conversation)
        return RunModel(model, place.free, spending, by=by)

    def _start(self, turn: Turn, jobs: list[Job]) -> None:
        """One conversation's work at a time: a second would do the same, and in vain.

        Only what a turn behind the context has done nobody else will say.
        """
        key = turn.conversation_id, turn.message_id if turn.behind else 0
        if key in self._tasks:
            return
        if self._stopping or len(self._tasks) >= WAITING_MAX:
            AFTERWORK_DROPPED.add()
            logger.warning("no room for the work after a turn")
            return
        self._tasks[key] = asyncio.create_task(self._do(turn, jobs))
        self._tasks[key].add_done_callback(lambda _: self._tasks.pop(key))

    async def _do(self, turn: Turn, jobs: list[Job]) -> None:
        fields = {"conversation_id": turn.conversation_id, "message_id": turn.message_id}
        with span("after turn"):
            for job in jobs:
                try:
                    async with Place(self._places) as place:
                        await job(place)
                except Exception as error:
                    said = "work after a turn failed"
                    logger.warning(said, exc_info=error, extra={"fields": fields})

    async def _name(
        self, model: Model, turn: Turn, messages: list[str], answer: str, place: Place
    ) -> None:
        by_rule = title_by_rule(messages[0])
        async with self._autocommit() as session:
            if not (await left_to_do(session, turn, by_rule)).unnamed:
                return
        spending = self._spending(turn)
        asked = self._asked(model, turn, place, spending)
        title = await title_by_model(asked, messages, answer)
        async with self._autocommit() as session:
            await name_conversation(session, turn, by_rule, title or by_rule, spending)

    async def _left(self, turn: Turn) -> Left:
        """Asked before the model is: the turn may have begun before another's work was done."""
        async with self._autocommit() as session:
            return await left_to_do(session, turn)

    async def _remember(
        self,
        model: Model | None,
        turn: Turn,
        turns: list[PastTurn],
        start: int,
        budget: Budget,
        place: Place,
    ) -> None:
        """Move the beginning of the context to `turns[start]`; what is before falls out."""
        if model is not None and not (await self._left(turn)).unmoved:
            return
        spending = self._spending(turn)
        covered = turn.conversation.summary_to or 0
        fallen = [each for each in turns[:start] if each.messages[-1].id > covered]
        before, summary = turn.conversation.summary, None
        if model is not None:
            asked = self._asked(model, turn, place, spending)
            summary = await summary_by_model(asked, budget, before, fallen)
        remembered = Remembered(
            context_from=turns[start].messages[0].id,
            summary=summary or digest(before, fallen),
            summary_to=turns[start - 1].messages[-1].id,
        )
        async with self._autocommit() as session:
            await remember(session, turn, remembered, spending)

    async def _add(self, turn: Turn, this: PastTurn, _: Place) -> None:
        """Add what an old turn has done to the summary, which already tells that it was asked."""
        for _try in range(REWRITES):
            async with self._autocommit() as session:
                was = await read_summary(session, turn)
                told = digest(was, [this])
                if await rewrite_summary(session, turn.owner, turn.conversation_id, was, told):
                    return
        logger.warning("a summary was not added to")

    @property
    def waiting(self) -> int:
        """Conversations with work that is not done."""
        return len(self._tasks)

    async def drain(self, seconds: float) -> None:
        """Wait for what is under way, `seconds` at the most."""
        if self._tasks:
            await asyncio.wait(tuple(self._tasks.values()), timeout=seconds)

    async def stop(self) -> None:
        """Take nothing more, wait shortly, and cancel the rest."""
        self._stopping = True
        await self.drain(STOP_SECONDS)
        left = tuple(self._tasks.values())
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)


def _messages(context: Context) -> list[str]:
    return [turn.messages[0].content for turn in context.read]


def _first_message(context: Context, text: str) -> str:
    """The oldest message that was read, which may be of a turn that failed; else the new one."""
    return context.read[0].messages[0].content if context.read else text


def _this_turn(turn: Turn, budget: Budget, text: str, answer: str) -> PastTurn:
    """The turn as it will be read."""
    asked = StoredMessage(turn.asked_id, Role.USER, text, [], turn.created_at)
    said = StoredMessage(turn.message_id, Role.ASSISTANT, answer, turn.calls, turn.created_at)
    return past_turn([asked, said], budget)


@asynccontextmanager
async def keep_afterwork(
    settings: Settings, autocommit: Sessions, providers: Providers, places: asyncio.Semaphore
) -> AsyncIterator[Afterwork]:
    """The afterwork for the app's life; at its end none is under way."""
    afterwork = Afterwork(settings, autocommit, providers, places)
    try:
        yield afterwork
    finally:
        await afterwork.stop()
