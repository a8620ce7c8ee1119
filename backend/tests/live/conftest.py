"""Two replicas on real sockets, and Alice at both of them; one scripted model answers for both."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import NamedTuple

import httpx
import pytest
from agents.testing import ScriptedModel
from fastapi import FastAPI

from backend.tests.support import better_auth
from backend.tests.support.fixtures import make_settings, running
from backend.tests.support.live import served
from backend.tests.support.servers import client_at


class Replicas(NamedTuple):
    """Alice's clients at each replica, Bob's at the first, and the apps."""

    one: httpx.AsyncClient
    two: httpx.AsyncClient
    bob: httpx.AsyncClient
    apps: list[FastAPI]


@pytest.fixture
async def replicas(
    shared_database_url: str, model: ScriptedModel, alice_id: str, bob_id: str
) -> AsyncIterator[Replicas]:
    settings = make_settings(shared_database_url, approval_tools={"delete_task"})
    alice = await better_auth.sign_in(shared_database_url, alice_id)
    bob = await better_auth.sign_in(shared_database_url, bob_id)
    async with AsyncExitStack() as stack:
        apps = [await stack.enter_async_context(running(settings, model)) for _ in range(2)]
        addresses = [await stack.enter_async_context(served(app)) for app in apps]

        async def client(address: str, token: str) -> httpx.AsyncClient:
            return await stack.enter_async_context(client_at(address, token, timeout=20))

        one, two = [await client(address, alice) for address in addresses]
        yield Replicas(one, two, await client(addresses[0], bob), apps)
