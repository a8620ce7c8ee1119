"""Calls of outside tools with a death in them: `python -m backend.faults.outside`.

For each tool, moment and victim a message has the tool called, the process of the service or that
of the toolset is killed, and the client sends the message again until it is answered. Then what
the toolset has done is held against what is on record: nothing may be done that is not on
record, nor twice what may be done only once.
"""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx

from backend.faults.outside_cases import CASES, Case, Moment, Victim, breaches
from backend.faults.outside_toolset import Toolset
from backend.faults.postgres import Postgres, postgres
from backend.faults.report import say
from backend.faults.waiting import LOOK_AGAIN, until
from backend.tests.support import better_auth
from backend.tests.support.ports import held_port
from backend.tests.support.provider_wire import Answer, Failure, FunctionCall, Request, Step
from backend.tests.support.scripted_provider import ScriptedProvider
from backend.tests.support.servers import Server, serving

PATIENCE = 60.0
"""Seconds within which a message has to be answered, and a process has to start."""


class Model:
    """Asks for the call once in each attempt, whatever it is told; and may fail behind it, once."""

    def __init__(self) -> None:
        self.calls: dict[str, FunctionCall] = {}
        self.fails: set[str] = set()
        self.offered: set[str] = set()
        """The tools of the last request."""

    def __call__(self, request: Request) -> Step:
        self.offered = {each["name"] for each in request.body["tools"]}
        said = [each["content"] for each in request.items if each.get("role") == "user"]
        text = next((each for each in reversed(said) if each in self.calls), None)
        if text is None:
            return Answer("Hello.")
        own = [each for each in request.items if str(each.get("call_id", "")).startswith("own")]
        if not own:
            return Answer(calls=(self.calls[text],))
        if text in self.fails:
            self.fails.discard(text)
            return Failure(401)  # which is not tried again
        return Answer("Done.")


@dataclass
class Stage:
    toolset: Toolset
    model: Model
    start: Callable[[], Any]
    servers: list[Server]
    token: str
    open: asyncio.Event
    """Whether the client sends again."""

    async def ready(self, tool: str) -> None:
        """Wait until the server that comes next offers the tool again."""

        async def offers() -> bool:
            async with self.servers[0].client(self.token) as client:
                await client.post("/api/chat", json={"message": "Hello"})
            return tool in self.model.offered

        await until(offers, PATIENCE)

    async def replace(self, server: Server) -> None:
        await server.kill()
        self.servers.remove(server)
        self.servers.append(await self.start())


@asynccontextmanager
async def stage_set(folder: Path, database_url: str, token: str) -> AsyncIterator[Stage]:
    """Two servers of the service, a provider, and the toolset under two names."""
    async with AsyncExitStack() as stack:
        toolset, model = Toolset(folder, stack.enter_context(held_port())), Model()
        await toolset.start()
        stack.push_async_callback(toolset.kill)
        provider = await stack.enter_async_context(ScriptedProvider(then=model))
        entry = {"url": toolset.url, "approve": [], "seconds": 20}
        toolsets = {"plain": entry, "keyed": entry | {"takes_key": True}}

        async def start() -> Server:
            settings = {"TOOLSETS": json.dumps(toolsets)}
            serves = serving(database_url, provider.base_url, log=os.devnull, **settings)
            running: Server = await stack.enter_async_context(serves)
            return running

        servers = [*await asyncio.gather(start(), start())]
        yield Stage(toolset, model, start, servers, token, asyncio.Event())


_numbers = count(1)


async def play(case: Case, stage: Stage) -> list[str]:
    """Play it to its end; a sentence for each thing that does not hold."""
    await stage.ready(case.tool)
    n = next(_numbers)
    text = f"Use {case.tool} for {n}"
    stage.model.calls[text] = FunctionCall(case.tool, json.dumps({"n": n}), f"own{n:06}")
    if case.victim == Victim.TOOLSET:
        stage.model.fails.add(text)
    if case.moment == Moment.AWAY:
        await stage.toolset.kill()
    first = stage.servers[0]
    stage.open.clear()
    sending = asyncio.create_task(_send(stage, text))
    replacing = None
    if case.moment == Moment.AWAY:
        async with asyncio.timeout(PATIENCE):
            while text in stage.model.fails:  # noqa: ASYNC110  # the first attempt is not over
                await asyncio.sleep(LOOK_AGAIN)
        await stage.toolset.start()
        await stage.ready(case.tool)
    else:
        async with asyncio.timeout(PATIENCE):
            await stage.toolset.until(case.moment)
        if case.victim == Victim.SERVICE:
            replacing = asyncio.create_task(stage.replace(first))
        else:
            await stage.toolset.kill()
            await stage.toolset.start()
            await stage.ready(case.tool)
    stage.open.set()
    going_on = asyncio.create_task(stage.toolset.go_on())
    try:
        async with asyncio.timeout(PATIENCE):
            answer = await sending
            if replacing:
                await replacing
    finally:
        going_on.cancel()
    return [f"{case}: {each}" for each in breaches(case, answer, stage.toolset.done(n))]


async def _send(stage: Stage, text: str) -> dict[str, Any]:
    """The answer to the message, which is sent until there is one."""
    headers = {"Authorization": f"Bearer {stage.token}", "Idempotency-Key": text}
    async with httpx.AsyncClient(timeout=PATIENCE, headers=headers) as client:
        while True:
            with suppress(httpx.HTTPError):
                url = f"{stage.servers[0].address}/api/chat"
                answer = await client.post(url, json={"message": text})
                if answer.status_code == 200:
                    body: dict[str, Any] = answer.json()
                    return body
            await stage.open.wait()
            await asyncio.sleep(LOOK_AGAIN)


async def play_all(cases: list[Case], stages: int = 1) -> list[str]:
    """What does not hold in any of them, on so many stages side by side."""
    with TemporaryDirectory(prefix="todo-chat-faults-") as name:
        folder = Path(name)
        async with postgres(folder / "postgres") as server:
            places = [folder / str(number) for number in range(min(stages, len(cases)))]
            for place in places:
                place.mkdir()
            turns = (
                _play_on(place, server, cases[number :: len(places)])
                for number, place in enumerate(places)
            )
            return [wrong for found in await asyncio.gather(*turns) for wrong in found]


async def _play_on(folder: Path, server: Postgres, cases: list[Case]) -> list[str]:
    """Play cases one behind the other, on a stage of their own."""
    user_id = await better_auth.add_user(server.own_url, "someone")
    token = await better_auth.sign_in(server.own_url, user_id)
    wrong: list[str] = []
    async with stage_set(folder, server.url, token) as stage:
        for case in cases:
            found = await play(case, stage)
            say(f"{case}: {'FAILED' if found else 'holds'}")
            wrong += found
    return wrong


def main() -> int:
    """1 where something was lost or done twice."""
    wrong = asyncio.run(play_all(CASES))
    for each in wrong:
        say(f"\nFAILED: {each}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
