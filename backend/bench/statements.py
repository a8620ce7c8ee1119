"""SQL of a turn, counted in the log of Postgres."""

import asyncio
import re
from collections.abc import Iterable
from dataclasses import dataclass

from backend.bench.database import Postgres, add_conversations, token_of
from backend.bench.load import Connection, http_request
from backend.bench.processes import provider, service
from backend.bench.report import Figure, bounded
from backend.bench.throughput import LONG, WITHIN

STATEMENTS_GOAL = 8
TRANSACTIONS_GOAL = 3
SETTLE_S = 0.3
"""Time for what the service still sends once it has answered."""

_LOGGED = re.compile(r"^in (\S+) LOG:  (?:statement|execute [^:]+): ((?:.|\n\t)*)$", re.MULTILINE)
_PINGS = (";", "SELECT 1")
_BOUNDARY = re.compile(r"(BEGIN|START TRANSACTION|COMMIT|ROLLBACK)\b", re.IGNORECASE)


@dataclass
class Counts:
    """What one request sent; a statement outside of BEGIN and COMMIT is a transaction too."""

    statements: int = 0
    transactions: int = 0
    pings: int = 0


def count_statements(lines: Iterable[str]) -> Counts:
    """Count the statements of one connection at a time, in the order they were sent."""
    counts = Counts()
    inside = False
    for line in lines:
        boundary = _BOUNDARY.match(line)
        if boundary:
            inside = boundary[1].upper() in ("BEGIN", "START TRANSACTION")
            counts.transactions += inside
        elif line.strip() in _PINGS:
            counts.pings += 1
        else:
            counts.statements += 1
            counts.transactions += not inside
    return counts


async def statements(postgres: Postgres, quick: bool) -> list[Figure]:
    """Statements and transactions of one turn, once the service is warm."""
    name = "statements"
    url = postgres.new_database(name)
    async with (
        provider() as port,
        service(postgres.folder, url, port) as running,
        Connection(running.port) as connection,
    ):
        [long] = add_conversations(url, 1, WITHIN)
        [full] = add_conversations(url, 1, LONG)
        postgres.log_statements()

        async def counted(message: str, conversation: int | None = None) -> Counts:
            body = {"conversation_id": conversation, "message": message}
            request = http_request("POST", "/api/chat", token_of(0), body)
            await asyncio.sleep(SETTLE_S)
            before = len(postgres.log())
            await connection.ask(request)
            await asyncio.sleep(SETTLE_S)
            sent = _LOGGED.findall(postgres.log()[before:])
            return count_statements(line for database, line in sent if database == name)

        for _ in range(10):
            await counted("Hello") if not quick else None
        new, continued = await counted("Hello"), await counted("Hello", long)
        adding = await counted("Add buy oat milk")
        moving = await counted("Hello", full)
    return [
        *_figures("plain turn, new conversation", new, goal=True),
        *_figures(f"plain turn, {WITHIN} messages", continued, goal=True),
        *_figures("add_task turn", adding, goal=False),
        *_figures("turn after which the context moves", moving, goal=False),
    ]


def _figures(name: str, counts: Counts, *, goal: bool) -> list[Figure]:
    ping = Figure(f"{name}: pre-pings", f"{counts.pings}")
    names = f"{name}: statements", f"{name}: transactions"
    if not goal:
        plain = zip(names, (counts.statements, counts.transactions), strict=True)
        return [*(Figure(each, f"{number}") for each, number in plain), ping]
    return [
        bounded(names[0], counts.statements, STATEMENTS_GOAL, ""),
        bounded(names[1], counts.transactions, TRANSACTIONS_GOAL, ""),
        ping,
    ]
