"""Builds of the service with one rule switched off each, on which the suite must fail.

Only a server process of the suite is ever made so; production code knows nothing of it.
"""

from typing import Any

from sqlalchemy import text

from backend import main
from backend.agent import tools
from backend.journal.record import record_call
from backend.turns import leases

_RENEW_ALL = text("""
    UPDATE messages SET lease_until = clock_timestamp() + interval '6 s'
    FROM unnest(CAST(:messages AS bigint[]), CAST(:attempts AS integer[]))
      AS held (message, of_attempt)
    WHERE id = message AND attempt = of_attempt AND status = 'running'
    RETURNING id
""")


async def _record_afterwards(session: Any, *rest: Any) -> None:
    """Commit the change by itself; its record follows in the next transaction."""
    await session.commit()
    await record_call(session, *rest)


def record_apart() -> None:
    """Have this process commit a tool's change and its record one after the other."""
    vars(tools)["record_call"] = _record_afterwards


async def _renew_all(session: Any, runs: Any) -> set[int]:
    """In one statement, which waits for a row that somebody has locked."""
    ids, attempts = zip(*runs, strict=True)
    values = {"messages": list(ids), "attempts": list(attempts)}
    return set((await session.execute(_RENEW_ALL, values)).scalars())


def leases_through_the_pool() -> None:
    """Have this process renew its leases as any request writes its rows, all of them at once."""
    create_pool = vars(main)["create_pool"]
    shared: list[Any] = []

    def create_one_pool(*settings: Any) -> Any:
        if not shared:
            shared.append(create_pool(*settings))
        return shared[0]

    vars(main)["create_pool"] = create_one_pool
    vars(leases)["renew_leases"] = _renew_all


def told_before_its_commit() -> None:
    """Have this process show a call to viewers before it is on record."""
    tellings: dict[int, Any] = {}
    call = vars(tools)["_call_and_record"]

    async def call_and_remember(*given: Any) -> str:
        turn, telling = given[3], given[-1]
        tellings[turn.message_id] = telling
        said: str = await call(*given)
        return said

    async def tell_and_record(session: Any, turn: Any, told: Any) -> None:
        if telling := tellings[turn.message_id]:
            telling.called(told)
        await record_call(session, turn, told)

    vars(tools)["_call_and_record"] = call_and_remember
    vars(tools)["record_call"] = tell_and_record


BUILDS = {
    "record": record_apart,
    "leases": leases_through_the_pool,
    "told": told_before_its_commit,
}
