"""PgBouncer in transaction mode, as managed databases put it in front of theirs."""

import asyncio
import os
import shutil
from asyncio.subprocess import DEVNULL
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from backend.faults.waiting import until
from backend.tests.support.ports import held_port

START_LIMIT = 10.0
"""Seconds after which a pooler that nobody can connect to is given up."""

CONFIGURATION = """\
[databases]
* = host={folder} port=5432 user=postgres
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = any
pool_mode = transaction
max_client_conn = 400
default_pool_size = 20
server_login_retry = 1
idle_transaction_timeout = 5
"""


def find_pgbouncer() -> str | None:
    """The program, where Debian puts it too: there it is not on everybody's PATH."""
    return shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin")


@asynccontextmanager
async def pooled(program: str, database_url: str, folder: Path) -> AsyncIterator[str]:
    """The address of the same database through a PgBouncer that runs for the block."""
    async with pooler(program, database_url, folder) as (url, _):
        yield url


@asynccontextmanager
async def pooler(program: str, database_url: str, folder: Path) -> AsyncIterator[tuple[str, int]]:
    """The same, and the PgBouncer's process."""
    socket_folder = parse_qs(urlsplit(database_url).query)["host"][0]
    settings = folder / "pgbouncer.ini"
    as_nobody = ["-u", "nobody"] if os.geteuid() == 0 else []  # it refuses to be root
    with held_port() as port:
        settings.write_text(CONFIGURATION.format(folder=socket_folder, port=port))
        process = await asyncio.create_subprocess_exec(
            program, "-q", *as_nobody, str(settings), stdout=DEVNULL, stderr=DEVNULL
        )
        try:
            await until(partial(_accepts, port), START_LIMIT)
            database = urlsplit(database_url).path
            yield f"postgresql://postgres@127.0.0.1:{port}{database}", process.pid
        finally:
            process.kill()
            await process.wait()


async def _accepts(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    await writer.wait_closed()
    return True
