"""A request or a run that is cut off at any of its waits: nothing is lost or done twice."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from itertools import count
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from starlette.types import ASGIApp, Receive, Scope, Send

from backend.faults.stops import stopped_at
from backend.journal.requests import Answer
from backend.tests.support import better_auth
from backend.tests.support.fixtures import client_of, make_settings, running
from backend.tests.support.scripted_provider import ScriptedProvider, answer_by_rule
from backend.turns.runs import Run

STRIDE = 3
"""Of so many waits one is tried, which takes two seconds; `make hunt` tries them all."""


class CutOff:
    """An app whose requests are cut off at one of their waits."""

    def __init__(self, app: ASGIApp, at_wait: int) -> None:
        self._app = app
        self._at_wait = at_wait

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await stopped_at(self._app(scope, receive, send), self._at_wait)


@pytest.fixture
async def app(shared_database_url: str) -> AsyncIterator[FastAPI]:
    """An app whose model adds what it is told to."""
    async with ScriptedProvider(then=answer_by_rule) as provider:
        settings = make_settings(shared_database_url, openai_base_url=provider.base_url)
        async with running(settings) as app:
            yield app


@pytest.mark.parametrize("stride", [STRIDE, pytest.param(1, marks=pytest.mark.hunt)])
@pytest.mark.parametrize("cut", ["request", "run"])
async def test_what_is_cut_off_anywhere_is_the_same_turn_when_it_is_sent_again(
    app: FastAPI,
    shared_database_url: str,
    monkeypatch: pytest.MonkeyPatch,
    cut: str,
    stride: int,
) -> None:
    wrong = []
    for wait in count(1, stride):
        user = await better_auth.add_user(shared_database_url, "alice")
        token = await better_auth.sign_in(shared_database_url, user)
        with monkeypatch.context() as patched:
            if cut == "run":
                _cut_off_runs(patched, wait)
            first = await _post(CutOff(app, wait) if cut == "request" else app, token)
        again = first if first == 200 else await _post(app, token)
        async with client_of(app, token) as alice:
            tasks = (await alice.get("/api/tasks")).json()["total"]
            kept = (await alice.get("/api/conversations")).json()["conversations"]
        if (again, tasks, [each["message_count"] for each in kept]) != (200, 1, [2]):
            wrong.append((wait, first, again, tasks, kept))
        if first == 200:
            break
    assert wait > 5
    assert not wrong


def _cut_off_runs(patched: pytest.MonkeyPatch, wait: int) -> None:
    """Have runs cut off, as at the end of a process, at one of their waits."""
    begin = Run.begin

    def begin_and_cut_off(self: Run, work: Coroutine[Any, Any, Answer]) -> None:
        async def cut() -> Answer:
            return await stopped_at(work, wait)

        begin(self, cut())

    patched.setattr(Run, "begin", begin_and_cut_off)


async def _post(app: ASGIApp, token: str) -> int | None:
    """The status of the same message, which adds a task; None where it came to no answer."""
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app),
        base_url="http://test",
        headers={"Authorization": f"Bearer {token}"},
    ) as client:
        asking = asyncio.create_task(client.post("/api/chat", json={"message": "Add tea"}))
        await asyncio.wait({asking})
        return None if asking.cancelled() else asking.result().status_code
