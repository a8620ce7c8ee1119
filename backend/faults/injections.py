"""The faults of one scenario: each waits for its moment and then happens, once."""

import asyncio
from collections import Counter, defaultdict
from collections.abc import Coroutine
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol

from psycopg import AsyncConnection, OperationalError

from backend.faults.fleet import RUN_LIMIT, Fleet, Replica
from backend.faults.postgres import Postgres, Row, through_outages
from backend.faults.scenario import PROVIDER, Fault, Kind, Message, Moment, Scenario
from backend.faults.waiting import LOOK_AGAIN, until
from backend.tests.support.provider_wire import GARBAGE, Drop, Failure, Hang, Step

HOLD_LIMIT = 3.0
"""Seconds that a record is held up at the most, for the fault that waits for it."""
STALL = RUN_LIMIT + 0.5
"""Seconds that the database stalls: the run's limit comes in the middle of a transaction."""
FREEZE_LIMIT = 15.0
"""Seconds that a server is frozen at the most: twice as long as a dead run's lease."""

_HOLD = """
    SELECT answer.id FROM messages answer JOIN messages asked ON asked.id = answer.reply_to
    WHERE answer.user_id = %s AND asked.content = %s AND answer.status = 'running'
    FOR UPDATE OF answer
"""
_HELD_UP = """
    SELECT 1 FROM pg_stat_activity
    WHERE pg_backend_pid() = ANY (pg_blocking_pids(pid)) AND query LIKE '%tool_calls_json%'
"""


class Say(Protocol):
    def __call__(self, seed: int, what: str, felt_by_all: bool = False) -> None:
        """Take note of what happens in a scenario, and perhaps to those played beside it."""


@dataclass
class Stage:
    """What scenarios are played on."""

    postgres: Postgres
    fleet: Fleet
    say: Say
    """Told what happens."""


@dataclass
class Faults:
    """A scenario's faults, and what they need to know of it while it is played."""

    scenario: Scenario
    stage: Stage
    user_id: str
    serving: dict[int, Replica] = field(default_factory=dict)
    """Where the message of a number was sent last."""
    leaving: dict[int, asyncio.Event] = field(default_factory=lambda: defaultdict(asyncio.Event))
    """Set when the client of a message is to hang up."""
    happened: list[Fault] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)
    _requests: Counter[int] = field(default_factory=Counter)
    _over: set[int] = field(default_factory=set)
    _begun: set[Fault] = field(default_factory=set)
    _frozen: dict[int, Replica] = field(default_factory=dict)
    _under_way: set[asyncio.Task[None]] = field(default_factory=set)

    def sent(self, message: Message, replica: Replica) -> None:
        """The client sends `message`, not for the first time perhaps."""
        self.serving[message.number] = replica
        for fault in self._due(message, Moment.SENT):
            self._begin(fault, self._after(fault))

    def asked(self, message: Message, answer: Step) -> Step:
        """What the provider does where the model would give `answer`."""
        self._requests[message.number] += 1
        number = self._requests[message.number]
        self.stage.say(self.scenario.seed, f"message {message.number}: model request {number}")
        for fault in self._due(message, Moment.ASKED):
            if fault.kind in PROVIDER and 0 <= number - fault.request < fault.lasting:
                if number == fault.request:
                    self._note(fault)
                return _provider_fault(fault)
            if fault.kind not in PROVIDER and number == fault.request:
                answer = Hang(answer)
                self._begin(fault, self._at_once(fault, answer.release))
        for fault in self._due(message, Moment.ANSWERED):
            if number == fault.request:
                self._begin(fault, self._after(fault))
        for fault in self._due(message, Moment.RECORDING):
            if number == fault.request:
                answer = Hang(answer)
                self._begin(fault, self._at_the_record(fault, message, answer.release))
        return answer

    def froze(self, message: Message) -> bool:
        """Whether the server that had `message` is frozen now."""
        return message.number in self._frozen

    async def over(self, message: Message) -> None:
        """The client is done with `message`: nothing of it is frozen any more."""
        self._over.add(message.number)
        await self._thaw(message.number)

    async def _thaw(self, number: int) -> None:
        if replica := self._frozen.pop(number, None):
            await self.stage.fleet.thaw(replica)

    async def _thaw_in_time(self, number: int) -> None:
        """Let go of a server that others wait for, should the client take longer than that."""
        for _ in range(round(FREEZE_LIMIT / LOOK_AGAIN)):
            if number not in self._frozen:
                return
            await asyncio.sleep(LOOK_AGAIN)
        await self._thaw(number)

    async def finished(self) -> None:
        """Wait for the faults that are under way."""
        while waiting := [task for task in self._under_way if not task.done()]:
            await asyncio.gather(*waiting)

    def _due(self, message: Message, moment: Moment) -> list[Fault]:
        return [
            fault
            for fault in self.scenario.faults
            if (fault.message, fault.moment) == (message.number, moment)
            and fault not in self._begun
        ]

    def _note(self, fault: Fault) -> None:
        self.happened.append(fault)
        where = self.serving[fault.message].name
        what = f"message {fault.message} at {where}: {fault.kind}, {fault.moment}"
        self.stage.say(self.scenario.seed, what, True)

    def _begin(self, fault: Fault, happening: Coroutine[Any, Any, None]) -> None:
        self._begun.add(fault)
        self._go_on(happening)

    def _go_on(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)

    async def _after(self, fault: Fault) -> None:
        await asyncio.sleep(fault.delay)
        await self._happen(fault)

    async def _at_once(self, fault: Fault, answered: asyncio.Event) -> None:
        await self._happen(fault)
        answered.set()

    async def _at_the_record(self, fault: Fault, message: Message, answered: asyncio.Event) -> None:
        """Hold the assistant's row, so that the record of a change has to wait, and strike then."""
        try:
            async with self.stage.postgres.connection() as mine, mine.transaction():
                await mine.execute(_HOLD.encode(), [self.user_id, message.text])
                answered.set()
                await until(partial(_is_held_up, mine), HOLD_LIMIT)
                await self._happen(fault)
        except (TimeoutError, OperationalError):  # another fault came in between
            pass
        finally:
            answered.set()

    async def _happen(self, fault: Fault) -> None:
        if fault.kind is Kind.PAUSE and fault.message in self._over:
            return
        self._note(fault)
        fleet, replica = self.stage.fleet, self.serving[fault.message]
        match fault.kind:
            case Kind.KILL:
                fleet.kill(replica)
            case Kind.STOP:
                self._go_on(self._stop(replica))
            case Kind.PAUSE:
                fleet.freeze(replica)
                self._frozen[fault.message] = replica
                self._go_on(self._thaw_in_time(fault.message))
                self.leaving[fault.message].set()
            case Kind.LEAVE:
                self.leaving[fault.message].set()
            case Kind.TERMINATE:
                await through_outages(self.stage.postgres.terminate_connections)
            case Kind.STALL:
                await asyncio.sleep(STALL)
            case Kind.RESTART:
                await self.stage.postgres.restart()

    async def _stop(self, replica: Replica) -> None:
        try:
            code = await self.stage.fleet.stop(replica)
        except TimeoutError:
            self.complaints.append("a server that was told to stop did not")
        else:
            if code not in (0, -9):  # -9: killed by another scenario before it was gone
                self.complaints.append(f"a server that was told to stop left with {code}")


async def _is_held_up(connection: AsyncConnection[Row]) -> bool:
    """Whether a record waits for the row that this connection's transaction holds."""
    await connection.execute("SELECT pg_stat_clear_snapshot()")
    return (await connection.execute(_HELD_UP.encode())).rowcount > 0


def _provider_fault(fault: Fault) -> Step:
    match fault.kind:
        case Kind.HANG:
            return Hang()
        case Kind.DROP:
            return Drop()
        case Kind.GARBAGE:
            return GARBAGE
    return Failure(500, headers={"retry-after-ms": "1"})
