"""The faults of one scenario: each waits for its moment and then happens, once."""

import asyncio
from collections import Counter, defaultdict
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

from psycopg import AsyncConnection, OperationalError

from backend.faults.fleet import RUN_LIMIT, Replica, application
from backend.faults.hangs import hang
from backend.faults.postgres import Row, through_outages
from backend.faults.scenario import PROVIDER, WIDE, Fault, Kind, Message, Moment, Scenario
from backend.faults.seeds import STARVED_EVERY
from backend.faults.stage import Stage
from backend.faults.starving import Write, starve
from backend.faults.waiting import LOOK_AGAIN, until
from backend.tests.support.provider_wire import GARBAGE, Answer, Drop, Failure, Hang, Step

HOLD_LIMIT = 3.0
"""Seconds that a record is held up at the most, for the fault that waits for it."""
STALL = RUN_LIMIT + 0.5
"""Seconds that the database stalls: the run's limit comes in the middle of a transaction."""
FREEZE_LIMIT = 15.0
"""Seconds that a server is frozen at the most: twice as long as a dead run's lease."""

RELOADED, THOUGHT = 7.2, 10.0
"""Seconds after which a patient run's page is reloaded, and its model answers.

A lease that was not renewed has lapsed by the first.
"""

_HOLD = {
    Moment.RECORDING: """
        SELECT answer.id FROM messages answer JOIN messages asked ON asked.id = answer.reply_to
        WHERE answer.user_id = %s AND asked.content = %s AND answer.status = 'running'
        FOR UPDATE OF answer
    """,
    Moment.ENDING: """
        SELECT held.id FROM conversations held
        WHERE held.user_id = %s AND EXISTS (
            SELECT FROM messages asked WHERE asked.conversation_id = held.id AND asked.content = %s
        ) FOR UPDATE OF held
    """,
}
_HELD_UP = """
    SELECT pid FROM pg_stat_activity
    WHERE pg_backend_pid() = ANY (pg_blocking_pids(pid)) AND query LIKE %s
"""
_WAITING = {Moment.RECORDING: "%tool_calls_json%", Moment.ENDING: "%answered%"}
"""How the statement is known that waits for what is held."""


@dataclass
class Faults:
    """A scenario's faults, and what they need to know of it while it is played."""

    scenario: Scenario
    stage: Stage
    user_id: str
    write: Write
    stop: Callable[[int], Coroutine[Any, Any, None]]
    """Have the person stop what is being answered."""
    serving: dict[int, Replica] = field(default_factory=dict)
    """Where the message of a number was sent last."""
    leaving: dict[int, asyncio.Event] = field(default_factory=lambda: defaultdict(asyncio.Event))
    """Set when the client of a message is to hang up."""
    happened: list[Fault] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)
    _requests: Counter[int] = field(default_factory=Counter)
    _over: set[int] = field(default_factory=set)
    _begun: set[Fault] = field(default_factory=set)
    _frozen: dict[int, list[Replica]] = field(default_factory=dict)
    _thought: asyncio.Event = field(default_factory=asyncio.Event)
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
        if self.scenario.patient and not self._thought.is_set():
            return self._asked_patiently(message, answer)
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
        for moment in (Moment.RECORDING, Moment.ENDING):
            for fault in self._due(message, moment):
                last = isinstance(answer, Answer) and not answer.calls
                if last if moment is Moment.ENDING else number == fault.request:
                    answer = Hang(answer)
                    self._begin(fault, self._while_held(fault, message, answer.release))
        return answer

    def _asked_patiently(self, message: Message, answer: Step) -> Step:
        """The model of a patient run thinks for longer than a lease."""
        for fault in self._due(message, Moment.ASKED):
            self._note(fault)
            self._begin(fault, self._starve(message))
            self._go_on(self._think())
        return Hang(answer, self._thought)

    async def _starve(self, message: Message) -> None:
        replica = self.serving[message.number]
        way = self.scenario.seed // STARVED_EVERY
        await starve(way, self.stage, replica, self.user_id, message.text, self.write)

    async def _think(self) -> None:
        await asyncio.sleep(RELOADED)
        for number in self.serving:
            self.leaving[number].set()
        await asyncio.sleep(THOUGHT - RELOADED)
        self._thought.set()

    async def over(self, message: Message) -> None:
        """The client is done with `message`: nothing of it is frozen any more."""
        self._over.add(message.number)
        await self._thaw(message.number)

    async def _thaw(self, number: int) -> None:
        for replica in self._frozen.pop(number, ()):
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

    async def _while_held(self, fault: Fault, message: Message, answered: asyncio.Event) -> None:
        """Hold the row that a statement of this moment must wait for, and strike when it does."""
        try:
            async with self.stage.postgres.connection() as mine, mine.transaction():
                await mine.execute(_HOLD[fault.moment].encode(), [self.user_id, message.text])
                answered.set()
                held_up = 0

                async def waits() -> bool:
                    nonlocal held_up
                    held_up = await _held_up(mine, _WAITING[fault.moment])
                    return bool(held_up)

                await until(waits, HOLD_LIMIT)
                await asyncio.sleep(fault.delay)
                await self._happen(fault, held_up)
        except (TimeoutError, OperationalError):  # another fault came in between
            pass
        finally:
            answered.set()

    async def _happen(self, fault: Fault, held_up: int = 0) -> None:
        """`held_up` is the database's process that waits for a row which the suite holds."""
        fleet, replica = self.stage.fleet, self.serving[fault.message]
        if fault.kind is Kind.PAUSE and fault.message in self._over:
            return
        if fault.kind is Kind.KILL and replica.killed:
            return
        if fault.kind in WIDE:
            await self.stage.one_patient.acquire()
            self._note(fault)
            self._go_on(self._befall_all(fault, replica))
            return
        self._note(fault)
        match fault.kind:
            case Kind.KILL:
                fleet.kill(replica)
            case Kind.STOP:
                self._go_on(self._stop(replica))
            case Kind.PAUSE:
                fleet.freeze(replica)
                self._frozen.setdefault(fault.message, []).append(replica)
                self._go_on(self._thaw_in_time(fault.message))
                self.leaving[fault.message].set()
            case Kind.LEAVE:
                self.leaving[fault.message].set()
            case Kind.STOPPED:
                if fault.moment is Moment.ASKED:  # the model is silent for as long
                    await self.stop(fault.message)
                else:
                    self._go_on(self.stop(fault.message))
            case Kind.TERMINATE:
                well = [application(slot) for slot in self.stage.patient]
                await through_outages(lambda: self.stage.postgres.terminate_connections(well))
            case Kind.STALL:
                await asyncio.sleep(STALL)
            case _:
                self._go_on(hang(fault, self.stage, replica, self.user_id, held_up))

    async def _befall_all(self, fault: Fault, replica: Replica) -> None:
        """What no lease outlasts may not happen while a patient run is played."""
        try:
            if fault.kind is Kind.RESTART:
                await self.stage.postgres.restart()
            else:
                await hang(fault, self.stage, replica, self.user_id, 0)
        finally:
            self.stage.one_patient.release()

    async def _stop(self, replica: Replica) -> None:
        try:
            code = await self.stage.fleet.stop(replica)
        except TimeoutError:
            self.complaints.append("a server that was told to stop did not")
        else:
            if code not in (0, -9):  # -9: killed by another scenario before it was gone
                self.complaints.append(f"a server that was told to stop left with {code}")


async def _held_up(connection: AsyncConnection[Row], statement: str) -> int:
    """The process that waits for the row which this connection's transaction holds, or 0."""
    await connection.execute("SELECT pg_stat_clear_snapshot()")
    row = await (await connection.execute(_HELD_UP.encode(), [statement])).fetchone()
    return row["pid"] if row else 0


def _provider_fault(fault: Fault) -> Step:
    match fault.kind:
        case Kind.HANG:
            return Hang()
        case Kind.DROP:
            return Drop()
        case Kind.GARBAGE:
            return GARBAGE
    return Failure(500, headers={"retry-after-ms": "1"})
