"""How soon what the model says is with those who look, in the process that runs the turn."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from statistics import median
from time import monotonic, process_time

import pytest
from agents.testing import ScriptedModel

from backend.tests.live.conftest import Replicas
from backend.tests.live.test_streams import body
from backend.tests.support.live import Events, streaming
from backend.tests.support.speaking import Speech
from backend.turns.channels import FLUSH_SECONDS

pytestmark = pytest.mark.waits

AT_MOST = 0.020
"""Seconds from the model's word to the viewer's event."""
WORDS, TURNS = 40, 3
"""Of as many the median counts in processors' time, and the quickest by the clock: others use the
machine as well, and what waits by itself waits each time."""


async def seconds_to_be_seen(
    speech: Speech, events: Events, *pieces: str, clock: Callable[[], float] = monotonic
) -> float:
    """From the last of `pieces`, all said at once, until a viewer has text."""
    began = clock()
    speech.say(*pieces)
    await events.until("text-delta")
    return clock() - began


@asynccontextmanager
async def watched_turn(
    replicas: Replicas, model: ScriptedModel, number: int = 0
) -> AsyncIterator[tuple[Speech, Events]]:
    """A turn whose model has been asked, and what a viewer is shown of it."""
    speech = Speech()
    model.extend([speech.step])
    turn = body("hello", chat=f"c{number}")
    async with streaming(replicas.one, "POST", "/api/ui/chat", json=turn) as events:
        await speech.begun.wait()
        yield speech, events


async def test_text_reaches_those_who_look_at_this_process_within_20_ms(
    replicas: Replicas, model: ScriptedModel
) -> None:
    async with watched_turn(replicas, model) as (speech, events):
        await seconds_to_be_seen(speech, events, "It ")
        words = [f"word{number} " for number in range(WORDS)]
        taken = [await seconds_to_be_seen(speech, events, each) for each in words]
        worked = [
            await seconds_to_be_seen(speech, events, each, clock=process_time) for each in words
        ]
        speech.end()
        await events.rest()
    assert min(taken) <= AT_MOST
    assert median(worked) <= AT_MOST - FLUSH_SECONDS


@pytest.mark.parametrize(
    ("held", "clear"),
    [
        ("1 <", " 2 holds"),
        ("add_", "ress book"),
        ("list_tas", "te is a word"),
        ("complete", "ly done"),
        ("Well\n``", " is no fence"),
    ],
)
async def test_text_that_was_held_is_with_those_who_look_20_ms_after_it_is_clear(
    replicas: Replicas, model: ScriptedModel, held: str, clear: str
) -> None:
    taken = []
    for number in range(TURNS):
        async with watched_turn(replicas, model, number) as (speech, events):
            speech.say(held)
            taken.append(await seconds_to_be_seen(speech, events, clear))
            while held + clear not in "".join(part.get("delta", "") for part in events.seen):
                await events.until("text-delta")
            speech.end()
            await events.rest()
    assert min(taken) <= AT_MOST


@pytest.mark.parametrize(
    "text",
    [
        *('{"a": "b"}', "[1, 2]", "```\nx = 1\n```", "see <three> words", "it is <|odd"),
        "Use the stairs",
    ],
)
async def test_text_that_may_be_more_than_text_to_its_end_is_there_20_ms_after_it(
    replicas: Replicas, model: ScriptedModel, text: str
) -> None:
    taken = []
    for number in range(TURNS):
        async with watched_turn(replicas, model, number) as (speech, events):
            speech.say(*text)
            speech.end()
            await speech.closed.wait()
            began = monotonic()
            while text not in "".join(part.get("delta", "") for part in events.seen):
                await events.until("text-delta")
            taken.append(monotonic() - began)
            await events.rest()
    assert min(taken) <= AT_MOST
