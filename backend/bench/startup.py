"""From the start of the process to the first healthy answer."""

from statistics import median
from time import perf_counter

from backend.bench.database import Postgres
from backend.bench.processes import import_sdk, provider, service
from backend.bench.report import Figure, bounded

LIMIT_S = 5.0


async def startup(postgres: Postgres, quick: bool) -> list[Figure]:
    """On an empty database, which the start builds up, and on one that is ready.

    Most of it is the import of the SDK, so that is measured by itself as well.
    """
    url = postgres.new_database("startup")
    seconds: list[float] = []
    imports: list[float] = []
    async with provider() as port:
        for _ in range(2 if quick else 4):
            async with service(postgres.folder, url, port) as running:
                seconds.append(running.start_seconds)
            started = perf_counter()
            await import_sdk()
            imports.append(perf_counter() - started)
    return [
        bounded("start, tables to be made", seconds[0], LIMIT_S, " s"),
        bounded("start, tables there (median)", median(seconds[1:]), LIMIT_S, " s"),
        Figure("of that, import agents (median)", f"{median(imports):.4g} s"),
    ]
