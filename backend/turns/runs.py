"""The runs of this process: tasks of its own, which go on whoever leaves.

This is not a memory of conversations: it says only which rows this process is at work on, and
who waits here for what. Another process learns from the lease in the row whether to wait for a
run or to take it up.
"""

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from backend.agent.tools import TOOLS
from backend.agent.words.events import Telling
from backend.errors import AppError
from backend.journal.requests import Answer
from backend.journal.stream_log import Outcome
from backend.journal.turns import Turn
from backend.turns.channels import Channel

TOOL_NAMES = [tool.template.name for tool in TOOLS]

STOP_SECONDS = 5.0
"""How long an end of the process waits for runs that it has cut off to close their turns."""


class Run:
    """One attempt at a turn, under way in this process.

    Its task ends with the answer, or with the error that says why there is none; its turn is
    closed by then, or is being closed by another task.
    """

    def __init__(
        self, turn: Turn, untaken: Callable[["Run"], None], channel: Channel | None = None
    ) -> None:
        self.turn = turn
        self.channel = channel
        """Where it is watched; None where nobody has asked for a stream."""
        self.telling = None if channel is None else Telling(channel.tell, TOOL_NAMES)
        self.waiting = 0
        """Clients here that want its answer."""
        self.untaken = False
        """Whether all of them have left, or were told that there is no answer."""
        self._note_untaken = untaken
        self._closing = False
        self._task: asyncio.Task[Answer]

    @property
    def key(self) -> tuple[int, int]:
        return self.turn.message_id, self.turn.attempt

    def begin(self, work: Coroutine[Any, Any, Answer]) -> None:
        """Start `work` at once, up to its first wait: cut off before, it could close nothing."""
        loop = asyncio.get_running_loop()
        self._task = asyncio.Task(work, loop=loop, eager_start=True)
        self._task.add_done_callback(_retrieve)

    def joined(self) -> None:
        """Another client waits for the answer."""
        self.waiting += 1

    def left(self) -> None:
        """A client that has waited has left."""
        self.waiting -= 1
        if not self.waiting and not self.untaken:
            self.untaken = True
            self._note_untaken(self)

    def cut_off(self) -> None:
        """End the run, which closes its turn; one that is closing it already is let be."""
        if not self._task.done() and not self._task.cancelling():
            self._task.cancel()

    async def stop(self) -> None:
        """End the run as the person wishes, once the call is committed that it is at.

        Nothing where it is being closed already.
        """
        async with self.turn.calling:
            if self._closing or self.turn.stopped:
                return
            self.turn.stopped = True
            self.cut_off()

    def closes(self) -> None:
        """Note that its row is being closed: a stop that comes from now on is too late."""
        self._closing = True

    def ended(self, outcome: Outcome, error: BaseException | None = None) -> None:
        """Tell those who watch how it has ended, once that is written."""
        if self.channel:
            known = error if error is None or isinstance(error, AppError) else AppError()
            self.channel.end(outcome, known)

    async def answer(self) -> Answer:
        """The answer, once it is there.

        Raises:
            ChatError: there is none; `details` say why, and what was done all the same.
        """
        try:
            return await asyncio.shield(self._task)
        except asyncio.CancelledError:
            if self._task.done():
                raise
        self.cut_off()  # only the order to stop cancels a request
        return await asyncio.shield(self._task)

    @property
    def is_under_way(self) -> bool:
        return not self._task.done()

    async def wait(self, seconds: float | None = None) -> None:
        """Wait for its end, for `seconds` at the most."""
        await asyncio.wait((self._task,), timeout=seconds)


class Runs:
    """All of them, and the small tasks that see to their rows."""

    def __init__(self) -> None:
        self.busy = asyncio.Event()
        """Set while there is one."""
        self._held: dict[tuple[int, int], Run] = {}
        self._tasks: set[asyncio.Task[Any]] = set()
        self._handed: dict[int, float] = {}

    def hold(self, run: Run) -> None:
        """Count `run` among those whose leases are renewed, until `release`."""
        self._held[run.key] = run
        self.busy.set()

    def release(self, run: Run) -> None:
        self._held.pop(run.key, None)
        if not self._held:
            self.busy.clear()

    def held(self) -> dict[tuple[int, int], Run]:
        """The runs whose leases are renewed, by message and attempt."""
        return self._held

    def find(self, message_id: int) -> Run | None:
        """The run of this process that writes to a row now, if there is one."""
        return next((run for (held, _), run in self._held.items() if held == message_id), None)

    def untaken(self) -> list[int]:
        """The rows whose answer nobody here waits for any more."""
        return [run.turn.message_id for run in self._held.values() if run.untaken]

    @contextmanager
    def handed(self, message_id: int) -> Iterator[float]:
        """An answer was handed over now, by the loop's clock; its row says so after the block."""
        now = asyncio.get_running_loop().time()
        self._handed[message_id] = now
        try:
            yield now
        finally:
            self._handed.pop(message_id, None)

    def taken_before(self, came: float) -> list[int]:
        """The rows that do not say yet that their answer was handed over before `came`."""
        return [message_id for message_id, handed in self._handed.items() if handed < came]

    def keep(self, work: Coroutine[Any, Any, None]) -> None:
        """Do something to its end in a task of the process."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(_retrieve)

    async def end(self) -> None:
        """Cut off the runs that are left, each of which closes its turn, and wait for them."""
        for run in self._held.values():
            run.cut_off()
        with suppress(TimeoutError):
            async with asyncio.timeout(STOP_SECONDS):
                for run in tuple(self._held.values()):
                    await run.wait()
                await asyncio.gather(*self._tasks, return_exceptions=True)
        for task in self._tasks:
            task.cancel()


def _retrieve(task: asyncio.Task[Any]) -> None:
    """Look at how a task has ended: an error that nobody waited for is no news of its own."""
    if not task.cancelled():
        task.exception()


async def to_its_end[T](work: Coroutine[Any, Any, T], *, then_strike: bool = False) -> T:
    """The result of `work`, which a cancellation of this task does not cut off.

    For what has to be known to its end: whether a turn has begun, and how it stands. The
    cancellation is forgotten then, or it strikes at the next wait.
    """
    task = asyncio.ensure_future(work)
    struck = False
    while not task.done():
        try:
            await asyncio.wait((task,))
        except asyncio.CancelledError:
            struck = True
    if struck and then_strike and (current := asyncio.current_task()):
        current.cancel()
    return task.result()
