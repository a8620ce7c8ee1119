"""Others than the one who asked: they look at a turn's stream, anywhere, and may stop it."""

import asyncio
from collections.abc import Callable
from random import Random
from time import time
from typing import Any

import httpx

from backend.faults.client import PAUSE, Client
from backend.faults.sendings import Sent
from backend.faults.streams import Seen, view

LATE = 1.0
"""Seconds after which an onlooker comes, at the most."""


async def look_on(client: Client, sent: Sent, number: int, over: Callable[[], bool]) -> None:
    """Follow a turn until an end of it was seen, or all is over; after a break elsewhere."""
    random = Random(f"{sent.message.text} {number}")  # noqa: S311  # repeatable, not secret
    await asyncio.sleep(LATE * random.random())
    while not (sent.views and sent.views[-1].end) and not over():
        replica = await client.stage.fleet.choose(random, client.stage.ordinary)
        seen = Seen(replica.name)
        sent.views.append(seen)
        url = f"{replica.address}/api/ui/chat/{client.chat}/stream"
        try:
            await view(client.http, "GET", seen, url, headers=client.headers)
        except httpx.HTTPError:
            seen.cut = True
        await asyncio.sleep(PAUSE)


async def stop(client: Client, number: int) -> None:
    """Stop the turn of a message, at any server; once, whatever comes of it."""
    sent = next(each for each in client.sent if each.message.number == number)
    random = Random(f"stop {sent.message.text}")  # noqa: S311  # repeatable, not secret
    replica = await client.stage.fleet.choose(random, client.stage.ordinary)
    url = f"{replica.address}/api/ui/chat/{client.chat}/stop"
    said: Any = None
    try:
        answer = await client.http.post(
            url, json={"messageId": f"m{number}"}, headers=client.headers
        )
        said = answer.json() if answer.status_code == 200 else None
    except httpx.HTTPError:
        pass
    client.stage.say(client.scenario.seed, f"message {number}: stop at {replica.name}: {said}")
    sent.stops.append((time(), said))
