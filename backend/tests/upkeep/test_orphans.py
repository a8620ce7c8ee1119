"""People whom Better Auth has deleted are erased by a command, and nobody else ever."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from backend import erase
from backend.tests.support import better_auth
from backend.tests.support.databases import temporary_database
from backend.tests.support.rows import fingerprint, rows_of, seed


@pytest.fixture
async def url(postgres_url: str, migrated_template: str) -> AsyncIterator[str]:
    """A database of its own, since it is looked through for whoever is not known."""
    async with temporary_database(postgres_url, migrated_template) as url:
        yield url


type Erase = Callable[..., Awaitable[tuple[int | None, str]]]


@pytest.fixture
def erase_orphans(
    url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Erase:
    """The exit code of the command and what it says, without a process for it."""

    def run(arguments: list[str]) -> int:
        try:
            erase.main(arguments)
        except SystemExit as ended:
            return int(str(ended.code))
        return 0

    async def erased(*options: str, **settings: str) -> tuple[int | None, str]:
        for name, value in ({"DATABASE_URL": url} | settings).items():
            monkeypatch.setenv(name, value)
        code = await asyncio.to_thread(run, ["--orphans", *options])
        said = capsys.readouterr()
        return code, said.out + said.err

    return erased


async def erase_by_command(url: str, *options: str) -> tuple[int | None, str]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "backend.erase", "--orphans", *options),
        env={"PATH": os.environ["PATH"], "DATABASE_URL": url},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await process.communicate()
    return process.returncode, said.decode()


async def test_who_is_not_known_any_more_is_erased_once_it_is_confirmed(
    url: str, erase_orphans: Erase
) -> None:
    await better_auth.execute(url, better_auth.TABLES)
    alice = await better_auth.add_user(url, "alice")
    bob = await better_auth.add_user(url, "bob")
    for user_id in (alice, bob):
        await seed(url, user_id, 20)
    before = await fingerprint(url, bob)
    assert await erase_by_command(url) == (
        0,
        "0 people, 0 rows in all\nNothing was done. With --yes they are erased, for good.\n",
    )
    await better_auth.execute(url, 'DELETE FROM "user" WHERE id = %s', alice)
    rows = await rows_of(url, alice)
    code, said = await erase_orphans()
    assert code == 0
    assert said.startswith(f"'{alice}': {sum(rows.values())} rows\n1 people, ")
    assert await rows_of(url, alice) == rows
    code, said = await erase_orphans("--yes")
    assert (code, said.splitlines()[-1]) == (0, "They are erased.")
    assert await rows_of(url, alice) == {}
    assert await fingerprint(url, bob) == before


@pytest.mark.parametrize(
    ("table", "settings", "why"),
    [
        (None, {}, "there is no table user"),
        ('CREATE TABLE "user" (id text PRIMARY KEY)', {}, "is empty"),
        (
            "CREATE TABLE \"user\" AS SELECT 'somebody' AS id",
            {"BETTER_AUTH_URL": "http://127.0.0.1:1"},
            "JWTs may name people",
        ),
    ],
)
async def test_where_it_cannot_know_who_is_gone_it_refuses(
    url: str, erase_orphans: Erase, table: str | None, settings: dict[str, str], why: str
) -> None:
    await seed(url, "alice", 3)
    if table:
        await better_auth.execute(url, table)
    code, said = await erase_orphans("--yes", **settings)
    assert code == 2
    assert why in said
    assert await rows_of(url, "alice")
