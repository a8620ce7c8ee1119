"""How Postgres runs what a service asks: the plans of its statements, with the values it sent."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlmodel.ext.asyncio.session import AsyncSession

from backend.database import create_sessions

type Node = dict[str, Any]
"""A node of a plan, as `EXPLAIN (FORMAT JSON)` gives it."""


@asynccontextmanager
async def noted(engine: AsyncEngine) -> AsyncIterator[list[tuple[str, Any]]]:
    """The statements that are sent meanwhile, each with its values."""
    sent: list[tuple[str, Any]] = []

    def note(_connection: Any, _cursor: Any, statement: str, values: Any, *_: Any) -> None:
        sent.append((statement, values))

    event.listen(engine.sync_engine, "before_cursor_execute", note)
    try:
        yield sent
    finally:
        event.remove(engine.sync_engine, "before_cursor_execute", note)


async def plans(
    engine: AsyncEngine, ask: Callable[[AsyncSession], Awaitable[object]]
) -> list[Node]:
    """The plan of each statement that `ask` sends, at its root."""
    async with create_sessions(engine)() as session:
        await ask(session)  # what a connection asks when it is new is not counted
        async with noted(engine) as sent:
            await ask(session)
        connection = await session.connection()
        explained = [
            await connection.exec_driver_sql(f"EXPLAIN (FORMAT JSON) {statement}", values)
            for statement, values in sent
        ]
    return [each.scalar_one()[0]["Plan"] for each in explained]


def nodes(plan: Node) -> Iterator[Node]:
    """A plan's node and all below it."""
    yield plan
    for inner in plan.get("Plans", []):
        yield from nodes(inner)


def scans(plan: Node, table: str) -> set[str]:
    """The kinds of nodes that read a table."""
    return {node["Node Type"] for node in nodes(plan) if node.get("Relation Name") == table}
