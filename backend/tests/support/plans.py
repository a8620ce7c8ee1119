"""How Postgres runs what a service asks: the plans of its statements, with the values it sent."""

from collections.abc import Awaitable, Callable, Iterator
from typing import Any

from backend.database import Result, Session
from backend.postgres.connection import Asked
from backend.postgres.pool import Pool
from backend.postgres.queries import Query, query_of
from backend.postgres.session import Statement

type Node = dict[str, Any]
"""A node of a plan, as `EXPLAIN (FORMAT JSON)` gives it."""


class Noting(Session):
    """A session that keeps what it sends, with the values."""

    sent: list[Asked]

    async def flight(self, *statements: Statement, commit: bool = False) -> list[Result]:
        for statement, values in statements:
            query = query_of(statement, values)
            self.sent.append(Asked(query, query.values(values)))
        return await super().flight(*statements, commit=commit)


async def plans(pool: Pool, ask: Callable[[Session], Awaitable[object]]) -> list[Node]:
    """The plan of each statement that `ask` sends, at its root."""
    async with Noting(pool) as session:
        session.sent = []
        await ask(session)
    connection = await pool.take()
    try:
        explained = await connection.ask([_explain(asked) for asked in session.sent])
    finally:
        pool.give_back(connection)
    return [each.scalar_one()[0]["Plan"] for each in explained]


def _explain(asked: Asked) -> Asked:
    return Asked(Query(b"EXPLAIN (FORMAT JSON) " + asked.query.sql), asked.values)


def nodes(plan: Node) -> Iterator[Node]:
    """A plan's node and all below it."""
    yield plan
    for inner in plan.get("Plans", []):
        yield from nodes(inner)


def scans(plan: Node, table: str) -> set[str]:
    """The kinds of nodes that read a table."""
    return {node["Node Type"] for node in nodes(plan) if node.get("Relation Name") == table}
