"""Tests that mostly wait, played at once, as one behind the other they would take half a minute."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import Any

import pytest

type Ends = Mapping[str, Awaitable[None]]
"""How the cases end, by the names of their tests."""


class SideBySide[Stage]:
    """The cases of a module; each has a stage of its own, so that none knows of the others.

    The module has a fixture `ends`, of its scope, that yields what `played` does.
    """

    def __init__(self) -> None:
        self._cases: dict[str, Callable[[Stage], Coroutine[Any, Any, None]]] = {}

    def case(
        self, case: Callable[[Stage], Coroutine[Any, Any, None]]
    ) -> Callable[[Ends], Awaitable[None]]:
        """A test of that name, which tells how the case has ended."""
        name = case.__name__
        self._cases[name] = case

        async def test(ends: Ends) -> None:
            await ends[name]

        test.__name__, test.__doc__ = name, case.__doc__
        return test

    @asynccontextmanager
    async def played(
        self,
        request: pytest.FixtureRequest,
        stage: Callable[[], AbstractAsyncContextManager[Stage]],
    ) -> AsyncIterator[Ends]:
        """Begin the cases whose tests were chosen, once all of their stages stand."""
        chosen = {item.name for item in request.session.items if item.parent is request.node}
        async with AsyncExitStack() as stack:
            stages = {
                name: await stack.enter_async_context(stage())
                for name in self._cases
                if name in chosen
            }
            ends = {
                name: asyncio.create_task(self._cases[name](each)) for name, each in stages.items()
            }
            yield ends
            await asyncio.gather(*ends.values(), return_exceptions=True)
