"""The server that Debian packages, as the oldest that serves; skipped where it is not installed."""

import asyncio
import os
import pwd
import shutil
import socket
from asyncio.subprocess import DEVNULL
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import psycopg
import pytest

PROGRAMS = Path("/usr/lib/postgresql")
START_LIMIT = 30.0


def oldest_programs() -> Path:
    """The folder of the oldest server's programs, from 15 on."""
    found = [folder for folder in PROGRAMS.glob("*/bin") if int(folder.parent.name) >= 15]
    if not found:
        pytest.skip("no server of Debian's is installed")
    return min(found, key=lambda folder: int(folder.parent.name))


@asynccontextmanager
async def debian_postgres() -> AsyncIterator[str]:
    """The address of a server of its own, in the C locale, stopped at the end."""
    programs = oldest_programs()
    with TemporaryDirectory(prefix="todo-chat-debian-") as folder:
        user = _give_away(folder) if os.geteuid() == 0 else None
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]
        initdb = await asyncio.create_subprocess_exec(
            *(programs / "initdb", "-D", f"{folder}/data", "-U", "postgres", "--auth=trust"),
            *("--no-sync", "--encoding=UTF8", "--locale=C"),
            user=user,
            cwd=folder,
            stdout=DEVNULL,
        )
        assert await initdb.wait() == 0
        options = (f"-p{port}", f"-k{folder}", "-hlocalhost", "-F")
        server = await asyncio.create_subprocess_exec(
            *(programs / "postgres", "-D", f"{folder}/data", *options),
            user=user,
            cwd=folder,
            stderr=DEVNULL,
        )
        url = f"postgresql://postgres@127.0.0.1:{port}/postgres"
        try:
            await _answers(url)
            yield url
        finally:
            server.terminate()
            await server.wait()


def _give_away(folder: str) -> int:
    """To an account that is not root, as which Postgres refuses to run."""
    nobody = pwd.getpwnam("nobody")
    shutil.chown(folder, nobody.pw_uid, nobody.pw_gid)
    return nobody.pw_uid


async def _answers(url: str) -> None:
    async with asyncio.timeout(START_LIMIT):
        while True:
            try:
                connection = await psycopg.AsyncConnection.connect(url)
            except psycopg.OperationalError:
                await asyncio.sleep(0.05)
            else:
                await connection.close()
                return
