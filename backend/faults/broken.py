"""A build of the service with its first rule switched off, on which the suite must fail.

Only a server process of the suite is ever made so; production code knows nothing of it.
"""

from typing import Any

from backend.agent import tools
from backend.journal.turns import record_call


async def _record_afterwards(session: Any, *rest: Any) -> None:
    """Commit the change by itself; its record follows in the next transaction."""
    await session.commit()
    await record_call(session, *rest)


def break_the_rule() -> None:
    """Have this process commit a tool's change and its record one after the other."""
    vars(tools)["record_call"] = _record_afterwards
