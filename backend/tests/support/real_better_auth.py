"""Better Auth itself, in a Node process on the tests' Postgres, and people signed up there."""

import asyncio
import json
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import httpx
from sqlalchemy import make_url

from backend.tests.support.servers import client_at

FOLDER = Path(__file__).with_name("better_auth_server")
SECRET = "vG8$pT2!kR5@zN9#mW4%xQ7^bL1&cY6*"


@dataclass
class Person:
    """Someone signed up, with all that Better Auth gave them and a browser that holds it."""

    browser: httpx.AsyncClient
    path: str
    user_id: str
    token: str
    signed: str
    cookie: str
    """Name and value, as a browser sends them back."""

    async def jwt(self) -> str:
        """A JWT issued just now."""
        answer = await self.browser.get(f"{self.path}/token")
        token: str = answer.raise_for_status().json()["token"]
        return token

    async def sign_out(self) -> None:
        (await self.browser.post(f"{self.path}/sign-out", json={})).raise_for_status()


@dataclass
class BetterAuth:
    """A running `server.mjs`; each path of it is a Better Auth with options of its own."""

    origin: str
    database_url: str

    @asynccontextmanager
    async def person(self, path: str = "/api/auth") -> AsyncIterator[Person]:
        """Someone new, signed up and in."""
        async with client_at(self.origin, headers={"Origin": self.origin}) as b:
            email = f"{uuid4().hex}@example.com"
            form = {"name": "Someone", "email": email, "password": uuid4().hex}
            answer = (await b.post(f"{path}/sign-up/email", json=form)).raise_for_status()
            signed_up = answer.json()
            cookie = answer.headers["set-cookie"].partition(";")[0]
            b.cookies.clear()  # one set as Secure would not go back over plain HTTP
            b.headers["Cookie"] = cookie
            token, signed = signed_up["token"], answer.headers["set-auth-token"]
            yield Person(b, path, signed_up["user"]["id"], token, signed, cookie)

    async def sign(self, **claims: object) -> str:
        """A JWT of the first path's key with these claims; issuer and audience are its own."""
        async with client_at(self.origin) as client:
            answer = await client.post("/sign", json=claims)
            token: str = answer.raise_for_status().json()["token"]
            return token


@asynccontextmanager
async def serving_better_auth(database_url: str) -> AsyncIterator[BetterAuth]:
    """Better Auth on a database, in which it makes its own tables; gone at the end."""
    address = make_url(database_url)
    given = {"user": address.username, "database": address.database, "secret": SECRET}
    words = json.dumps(given | {"host": address.query["host"]})
    process = await asyncio.create_subprocess_exec(
        "node", str(FOLDER / "server.mjs"), words, stdin=PIPE, stdout=PIPE
    )
    assert process.stdin
    assert process.stdout
    try:
        async with asyncio.timeout(30):
            said = (await process.stdout.readline()).decode()
        assert said.startswith("Serving at "), "Better Auth did not start"
        yield BetterAuth(said.split()[-1], database_url)
    finally:
        process.stdin.close()
        await process.wait()
