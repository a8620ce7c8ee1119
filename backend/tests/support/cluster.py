"""The topology of compose.yaml without containers: haproxy, replicas, PgBouncer and Redis.

haproxy runs by the file that is shipped, `backend/deploy/haproxy.cfg`, with as many replicas as
there are. `make cluster` serves it until it is told to stop; `make bench cluster` measures it.
"""

import asyncio
import os
import re
import shutil
import sys
from asyncio.subprocess import DEVNULL
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx

from backend import demo
from backend.faults.pooler import find_pgbouncer, pooler
from backend.postgres.embedded import start_embedded
from backend.tests.support.ports import held_port
from backend.tests.support.redis_server import PROGRAM as REDIS
from backend.tests.support.redis_server import RedisServer, redis_server
from backend.tests.support.servers import Server, client_at, serving

CONFIGURATION = Path(__file__).parents[2] / "deploy" / "haproxy.cfg"
NAMES = ("one", "two", "three", "four")
"""Of replicas, in the file of haproxy; no more can be started."""
START_LIMIT = 20.0
"""Seconds after which a proxy that finds no replica ready is given up."""


class NotInstalled(Exception):
    """Programs that a cluster needs are missing; the text names them."""


@dataclass
class Cluster:
    """Running; `address` is the proxy's."""

    address: str
    replicas: list[Server]
    redis: RedisServer
    pids: Mapping[str, list[int]]
    """Of all that runs, by the names of the programs."""

    def client(self, token: str | None = None) -> httpx.AsyncClient:
        """A client of whichever replica the proxy chooses, signed in where a token is given."""
        return client_at(self.address, token)


def find_haproxy() -> str | None:
    """The program, where Debian puts it too."""
    return shutil.which("haproxy", path=f"{os.environ.get('PATH', '')}:/usr/sbin")


def missing_programs() -> list[str]:
    """What a cluster needs and is not installed."""
    found = {"haproxy": find_haproxy(), "pgbouncer": find_pgbouncer(), "redis-server": REDIS}
    return [name for name, program in found.items() if program is None]


@contextmanager
def open_folder() -> Iterator[Path]:
    """A folder for the block that PgBouncer, which runs as nobody, may read."""
    with TemporaryDirectory(prefix="todo-chat-cluster-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder


@asynccontextmanager
async def running_cluster(
    database_url: str, provider_url: str, number: int = 2, **settings: str
) -> AsyncIterator[Cluster]:
    """As many replicas and what stands around them, on a database that is there.

    Raises:
        NotInstalled: a program is missing.
    """
    haproxy, pgbouncer = find_haproxy(), find_pgbouncer()
    if haproxy is None or pgbouncer is None or REDIS is None:
        missing = ", ".join(missing_programs())
        raise NotInstalled(f"not installed: {missing} (Debian's packages are named so)")
    async with AsyncExitStack() as stack:
        folder = stack.enter_context(open_folder())
        redis = await stack.enter_async_context(redis_server())
        url, pooling = await stack.enter_async_context(pooler(pgbouncer, database_url, folder))
        shared = {"RATE_LIMIT_STORAGE_URI": redis.uri, "DRAIN_SECONDS": "3"} | settings
        all_of_them = [serving(url, provider_url, **shared) for _ in range(number)]
        replicas = await asyncio.gather(*map(stack.enter_async_context, all_of_them))
        port = stack.enter_context(held_port())
        proxy = _proxy(haproxy, port, replicas, folder)
        address, proxying = await stack.enter_async_context(proxy)
        pids = {
            "replicas": [replica.process.pid for replica in replicas],
            "haproxy": [proxying],
            "PgBouncer": [pooling],
            "Redis": [redis.process.pid] if redis.process else [],
        }
        yield Cluster(address, replicas, redis, pids)


def _configuration(number: int) -> str:
    """The file that is shipped, with as many lines of replicas as there are."""
    lines = "".join(f'    server {name} "${{REPLICA_{name.upper()}}}"\n' for name in NAMES[:number])
    return re.sub(r"( +server one .*\n)( +server two .*\n)", lines, CONFIGURATION.read_text())


@asynccontextmanager
async def _proxy(
    program: str, port: int, replicas: list[Server], folder: Path
) -> AsyncIterator[tuple[str, int]]:
    """Its address and its process."""
    listen = f"127.0.0.1:{port}"
    configuration = folder / "haproxy.cfg"
    configuration.write_text(_configuration(len(replicas)))
    addresses = (replica.address.removeprefix("http://") for replica in replicas)
    process = await asyncio.create_subprocess_exec(
        program,
        "-db",
        "-f",
        str(configuration),
        env={"LISTEN": listen}
        | {f"REPLICA_{name.upper()}": each for name, each in zip(NAMES, addresses, strict=False)},
        stdout=DEVNULL,
        stderr=DEVNULL,
    )
    try:
        async with asyncio.timeout(START_LIMIT):
            await _until_ready(f"http://{listen}")
        yield f"http://{listen}", process.pid
    finally:
        process.kill()
        await process.wait()


async def _until_ready(address: str) -> None:
    async with client_at(address) as client:
        while True:
            try:
                if (await client.get("/ready")).status_code == 200:
                    return
            except httpx.TransportError:
                pass
            await asyncio.sleep(0.05)


async def serve() -> None:
    """A cluster with the offline model and a demo user, until it is interrupted."""
    with open_folder() as folder, start_embedded(folder / "postgres", durable=False) as postgres:
        token = demo.sign_in(postgres.url)
        async with running_cluster(postgres.url, "", OPENAI_MODEL="offline") as cluster:
            header = f"-H 'Authorization: Bearer {token}' -H 'Content-Type: application/json'"
            body = """-d '{"message": "Add buy groceries"}'"""
            sys.stdout.write(
                f"Two replicas behind haproxy at {cluster.address}; Ctrl-C stops.\n"
                f"curl -sw '\\n' {cluster.address}/api/chat {header} {body}\n"
            )
            sys.stdout.flush()
            await asyncio.Event().wait()


if __name__ == "__main__":
    try:
        asyncio.run(serve())
    except KeyboardInterrupt:
        sys.stdout.write("\n")
    except NotInstalled as error:
        sys.exit(str(error))
