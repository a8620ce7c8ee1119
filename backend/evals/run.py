"""A case played over HTTP: a fresh person, their list, what they say, and the rows afterwards."""

import json
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Any, Self
from zoneinfo import ZoneInfo

import httpx
from agents import Model, ModelResponse
from agents.items import TResponseStreamEvent
from fastapi import FastAPI

from backend.agent.models.run_model import ProviderError
from backend.config import Settings
from backend.evals.case import EvalCase, Seed
from backend.main import create_app
from backend.tests.support import better_auth

LONGEST_S = 900.0
"""Seconds that a turn may take; a small model on a small machine is slow."""


@dataclass(slots=True)
class Outcome:
    """What a case came to."""

    today: date
    seeds: dict[str, dict[str, Any]]
    """The seeded tasks as they were made, by their names in the case."""
    tasks: dict[int, dict[str, Any]] = field(default_factory=dict)
    """The list afterwards, by id."""
    answers: list[str] = field(default_factory=list)
    calls: list[list[dict[str, Any]]] = field(default_factory=list)
    """The tool calls of each answer."""
    projects: dict[int, str] = field(default_factory=dict)
    """The names of the person's projects, by id."""
    tokens: int | None = None
    """Input and output of all turns; None where the provider counts none."""


class Failing(Model):
    """The provider's model, one of whose calls breaks off, as its server's would."""

    def __init__(self, model: Model, call: int) -> None:
        self._model = model
        self._left = call

    def _count(self) -> None:
        self._left -= 1
        if self._left == -1:
            raise ProviderError("unavailable")

    async def get_response(self, *args: Any, **kwargs: Any) -> ModelResponse:
        self._count()
        return await self._model.get_response(*args, **kwargs)

    async def stream_response(
        self, *args: Any, **kwargs: Any
    ) -> AsyncIterator[TResponseStreamEvent]:
        self._count()
        async for event in self._model.stream_response(*args, **kwargs):
            yield event


class Stage:
    """The apps that cases are played on: one a length of history, one for each that fails."""

    def __init__(self, settings: Settings, url: str) -> None:
        self._settings = settings
        self._url = url
        self._apps: dict[int, FastAPI] = {}

    @asynccontextmanager
    async def open(self, cases: Iterable[EvalCase]) -> AsyncIterator[Self]:
        """Start what `cases` want; closed at the end."""
        async with AsyncExitStack() as stack:
            for limit in {case.history_limit for case in cases}:
                self._apps[limit] = await stack.enter_async_context(self._started(limit))
            yield self

    @asynccontextmanager
    async def _started(self, history_limit: int) -> AsyncIterator[FastAPI]:
        app = create_app(self._settings.model_copy(update={"history_limit": history_limit}))
        async with app.router.lifespan_context(app):
            yield app

    @asynccontextmanager
    async def _app(self, case: EvalCase) -> AsyncIterator[FastAPI]:
        if case.fails is None:
            yield self._apps[case.history_limit]
            return
        async with self._started(case.history_limit) as app:
            models = app.state.runtime.providers._models
            for choice in models:
                models[choice] = Failing(models[choice], case.fails)
            yield app

    async def play(self, case: EvalCase) -> Outcome:
        """Play `case` for a person of its own."""
        user_id = await better_auth.add_user(self._url, "eval")
        token = await better_auth.sign_in(self._url, user_id)
        headers = {"Authorization": f"Bearer {token}", "X-Timezone": case.zone}
        async with (
            self._app(case) as app,
            httpx.AsyncClient(
                transport=httpx.ASGITransport(app),
                base_url="http://evals",
                headers=headers,
                timeout=LONGEST_S,
            ) as client,
        ):
            return await _played(client, case)


async def _played(client: httpx.AsyncClient, case: EvalCase) -> Outcome:
    outcome = Outcome(datetime.now(UTC).astimezone(ZoneInfo(case.zone)).date(), {})
    for name in case.projects:
        made = await client.post("/api/projects", json={"name": name})
        outcome.projects[made.raise_for_status().json()["id"]] = name
    for name, seed in case.seeds.items():
        outcome.seeds[name] = await _add(client, seed, outcome)
    await _talk(client, case, outcome)
    listed = (await client.get("/api/tasks")).raise_for_status().json()["tasks"]
    outcome.tasks = {task["id"]: task for task in listed}
    outcome.tokens = await _tokens(client)
    return outcome


async def _add(client: httpx.AsyncClient, seed: Seed, outcome: Outcome) -> dict[str, Any]:
    ids = {name: id_ for id_, name in outcome.projects.items()}
    sent = {
        "title": seed.title,
        "priority": seed.priority,
        "tags": list(seed.tags),
        "recurrence_pattern": seed.recurrence,
        "due_date": seed.due and seed.due.iso(outcome.today),
        "project_id": seed.project and ids[seed.project],
        "steps": [{"title": step} for step in seed.steps],
    }
    task = (await client.post("/api/tasks", json=sent)).raise_for_status().json()
    if seed.completed:
        done = await client.patch(f"/api/tasks/{task['id']}/complete")
        task = done.raise_for_status().json()
    made: dict[str, Any] = task
    return made


async def _talk(client: httpx.AsyncClient, case: EvalCase, outcome: Outcome) -> None:
    conversation = None
    for number, text in enumerate(case.says):
        body = {"conversation_id": conversation, "message": text}
        answer = await client.post("/api/chat", json=body)
        if answer.status_code == 503 and case.fails is not None:
            conversation = answer.json()["error"]["details"]["conversation_id"]
            answer = await client.post("/api/chat", json=body | {"conversation_id": conversation})
        told = answer.raise_for_status().json()
        conversation = told["conversation_id"]
        outcome.answers.append(told["response"])
        outcome.calls.append(told["tool_calls"] or [])
        if case.undo_after == number:
            history = await client.get(f"/api/conversations/{conversation}/messages")
            newest = history.raise_for_status().json()[-1]["id"]
            (await client.post(f"/api/messages/{newest}/undo")).raise_for_status()


async def _tokens(client: httpx.AsyncClient) -> int | None:
    usage = (await client.get("/api/usage?days=2")).raise_for_status().json()
    counted = [
        (day["input_tokens"] or 0) + (day["output_tokens"] or 0)
        for day in usage["days"]
        if day["input_tokens"] is not None
    ]
    return sum(counted) if counted else None


def as_text(outcome: Outcome) -> str:
    """The outcome for a report: the answers and the calls, and nothing of who it was."""
    lines = []
    for answer, calls in zip(outcome.answers, outcome.calls, strict=True):
        lines += [
            f"{call['tool']} {json.dumps(call['args'], ensure_ascii=False)}" for call in calls
        ]
        lines.append(answer)
    return "\n".join(lines)
