"""Work whose waits are counted, so that it can be stopped at the one of one's choice."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Generator
from types import coroutine
from typing import Any


async def stopped_at[T](work: Awaitable[T], number: int) -> T:
    """Do `work`, and have its task cancelled at its `number`th wait, counted from 1.

    It is cancelled as any other is: what it waits for then is, and the word comes to it there.
    The waits of tasks that it begins count as well.
    """
    task = asyncio.current_task()
    loop = asyncio.get_running_loop()
    waits = 0

    def count_wait() -> None:
        nonlocal waits
        waits += 1
        if waits == number and task:
            task.cancel()

    def begin[R](
        _: asyncio.AbstractEventLoop, child: Coroutine[Any, Any, R], **options: Any
    ) -> asyncio.Task[R]:
        counted = _as_coroutine(_counted(child, count_wait))
        begun = asyncio.Task(counted, loop=loop, **options)
        begun.add_done_callback(lambda _: _close(child))
        return begun

    earlier = loop.get_task_factory()
    loop.set_task_factory(begin)
    try:
        return await _counted(work, count_wait)
    finally:
        loop.set_task_factory(earlier)


def _close(work: Coroutine[Any, Any, Any]) -> None:
    """Close what was cancelled before its first step, and the work that it was given to do."""
    frame = getattr(work, "cr_frame", None)
    for given in frame.f_locals.values() if frame else ():
        if asyncio.iscoroutine(given):
            given.close()
    work.close()


async def _as_coroutine[T](work: Awaitable[T]) -> T:
    return await work


@coroutine
def _counted[T](work: Awaitable[T], count_wait: Callable[[], None]) -> Generator[Any, Any, T]:
    running = work.__await__()
    step: Callable[[Any], Any] = running.send
    given: Any = None
    while True:
        try:
            waited_for = step(given)
        except StopIteration as end:
            result: T = end.value
            return result
        count_wait()
        try:
            step, given = running.send, (yield waited_for)
        except BaseException as error:
            step, given = running.throw, error
