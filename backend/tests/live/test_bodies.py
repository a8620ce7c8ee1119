"""What clients send, of whatever version and size, and what of it is taken."""

import json
import time
from collections.abc import Callable, Coroutine
from functools import cache
from typing import Any

import httpx
import pytest
from agents.testing import ScriptedModel

from backend.routes.ui_body import BODY_MAX
from backend.schemas.newest_message import REST_MAX, SMALL, without_history
from backend.tests.live.conftest import Replicas
from backend.tests.live.test_streams import body, history, post
from backend.tests.support.live import said, streaming, user
from backend.tests.support.scripting import calls, says

AT_ONCE_S = 0.05
"""Seconds of work in one go, at the most; those of the processor, whoever else is at work."""


def worked[T](work: Coroutine[Any, Any, T]) -> tuple[T, float]:
    """What `work` comes to, and for how long it has held up the loop at the most."""
    longest = 0.0
    while True:
        began = time.thread_time()
        try:
            work.send(None)
        except StopIteration as end:
            return end.value, max(longest, time.thread_time() - began)
        longest = max(longest, time.thread_time() - began)


def message(number: int) -> dict[str, Any]:
    call: dict[str, Any] = {"type": "tool-add_task", "toolCallId": f"call-{number}"}
    call |= {
        "state": "output-available",
        "input": {"title": 'Buy "milk]} \\'},
        "output": {"success": True, "task_id": number},
    }
    said = {"type": "text", "text": "I have added it, and it is on your list now. " * 3}
    return {"id": f"a{number}", "role": "assistant", "parts": [{"type": "step-start"}, call, said]}


LAST = user("hello")
TEXT = {"type": "text", "text": "x"}


@cache
def long_history() -> list[Any]:
    return [None, 7, *map(message, range(10_000))]


BODIES: dict[str, Callable[[], dict[str, Any]]] = {
    "history": lambda: {"id": "c1", "messages": [*long_history(), LAST]},
    "one message": lambda: {"message": LAST, "messages": long_history(), "id": "c1"},
    "members": lambda: {
        "x": {"messages": [[TEXT] * 160_000]},
        "id": "c1",
        "messages": [LAST],
        "y": [0] * 400_000,
    },
    "file": lambda: {
        "id": "c1",
        "messages": [user("a"), LAST | {"url": "data:" + "x" * 5_000_000}],
    },
    "escapes": lambda: {"id": "c1", "messages": [LAST | {"url": "\n" * 2_500_000}]},
}


@pytest.mark.parametrize("kind", BODIES)
async def test_a_long_history_is_passed_over_and_holds_nobody_up(kind: str) -> None:
    sent = json.dumps(BODIES[kind]()).encode()
    assert len(sent) > 3_000_000
    rest, longest = worked(without_history(sent))
    assert longest < AT_ONCE_S
    taken = json.loads(rest)
    assert taken["id"] == "c1"
    assert len(rest) < SMALL
    newest = taken.get("message") or taken["messages"][-1]
    assert newest["parts"] == LAST["parts"]


TOO_LARGE: dict[str, Callable[[], str]] = {
    "parts": lambda: json.dumps(
        {"id": "c1", "messages": [user("x") | {"parts": [TEXT] * 160_000}]}
    ),
    "deep": lambda: '{"id": "c1", "messages":' + "[" * 4_000_000,
    "unended": lambda: '{"id": "c1", "messages": ["' + "a" * 4_000_000,
    "escapes": lambda: '{"id": "c1", "messages": ["' + "\\" * 4_000_001,
    "blanks": lambda: '{"id": "c1"' + " " * 4_000_000,
    "ends": lambda: '{"id": "c1"}' + "]" * 4_000_000,
    "lists": lambda: "[" * 4_000_000,
    "quotes": lambda: '"' * 4_000_000,
    "digits": lambda: "0" * 4_000_000,
}


@pytest.mark.parametrize("kind", TOO_LARGE)
async def test_what_stays_too_large_is_refused_and_holds_nobody_up(
    alice: httpx.AsyncClient, kind: str
) -> None:
    sent = TOO_LARGE[kind]()
    with pytest.raises(ValueError, match="too much"):
        worked(without_history(sent.encode()))
    headers = {"Content-Type": "application/json"}
    answer = await alice.post("/api/ui/chat", content=sent, headers=headers)
    assert answer.status_code == 413, answer.text
    assert answer.json()["error"]["code"] == "CONTENT_TOO_LARGE"


async def test_pieces_of_any_length_are_read_as_json_reads_them() -> None:
    """What is passed over in windows is the same wherever a window ends."""
    for length in range(256 * 1024 - 40, 256 * 1024 + 8):
        for filling in ("x", "\\", '"'):
            odd = message(1) | {"y": filling * (length // len(filling)), "z": [{"]": "{"}]}
            sent = json.dumps({"id": "c1", "messages": [odd, LAST], "trigger": "t"}).encode()
            rest, _ = worked(without_history(sent))
            assert json.loads(rest) == {"id": "c1", "messages": [LAST], "trigger": "t"}
    assert REST_MAX < BODY_MAX


async def test_clients_of_every_version_are_understood(
    alice: httpx.AsyncClient, model: ScriptedModel
) -> None:
    part = {"type": "text", "text": "hello"}
    newer = {"type": "hologram", "payload": {"a": [1]}, "state": 7, "approval": "?"}
    sent: list[dict[str, Any]] = [
        {"messages": [{"id": "m", "role": "user", "content": "hello"}], "data": None},
        {"messages": [{"role": "user", "content": "hello", "parts": [part], "createdAt": "x"}]},
        {"messages": [{"id": 7, "role": "user", "parts": [newer, part], "metadata": "m"}]},
        {"message": {"id": "m", "role": "user", "parts": [part]}, "trigger": "submit-user-message"},
        {"message": {"id": "x" * 300, "role": "user", "parts": [part]}, "messageId": 5},
        {"message": {"id": "a\x00", "role": "user", "parts": [part]}, "v": 9, "tools": [{}]},
    ]
    for number, given in enumerate(sent):
        model.extend([says("Hello.")])
        request = {"id": f"c{number}", **given}
        async with streaming(alice, "POST", "/api/ui/chat", json=request) as events:
            await events.rest()
        assert events.response.status_code == 200, (given, events.response.text)
        assert said(events.seen) == ["Hello."]


@pytest.mark.parametrize("chat", ["%2E", "%2E%2E", "a%2Fb", "%2F", "x" * 256, "a%00b", "%7F"])
async def test_an_id_that_no_chat_can_have_is_refused_wherever_it_stands(
    alice: httpx.AsyncClient, chat: str
) -> None:
    assert (await alice.get(f"/api/ui/chat/{chat}/stream")).status_code == 204
    assert (await alice.get(f"/api/ui/chat/{chat}")).status_code == 422
    assert (await alice.post(f"/api/ui/chat/{chat}/stop", json={})).status_code == 422


async def test_an_id_of_255_characters_of_any_script_is_a_chats(
    alice: httpx.AsyncClient, model: ScriptedModel
) -> None:
    for chat in ("x" * 255, "\N{CAT FACE}" * 255, "a b?c#d&e%2F;:@", "undefined", "-1", "0x1"):
        model.extend([says("Hello.")])
        events = await post(alice, "hello", chat=chat)
        assert said(events.seen) == ["Hello."], chat
        quoted = httpx.QueryParams({"": chat}).__str__().removeprefix("=").replace("+", "%20")
        assert len(await history(alice, quoted)) == 2


async def test_a_message_of_another_is_not_found_and_a_decision_for_nothing_is_refused(
    replicas: Replicas, model: ScriptedModel
) -> None:
    task = (await replicas.one.post("/api/tasks", json={"title": "Buy milk"})).json()["id"]
    model.extend([calls("delete_task", {"task_id": task})])
    await post(replicas.one, "delete milk")
    asked = (await history(replicas.one))[-1]
    parts = [each for each in asked["parts"] if each["type"] != "step-start"]
    parts[0] |= {"state": "approval-responded"}

    def deciding(message_id: str, **approval: object) -> dict[str, Any]:
        part = parts[0] | {"approval": parts[0]["approval"] | {"approved": True} | approval}
        return {"id": "c1", "message": asked | {"id": message_id, "parts": [part]}}

    for client, sent, status in (
        (replicas.bob, deciding(asked["id"]), 404),
        (replicas.one, deciding("999999"), 404),
        (replicas.one, deciding("undefined"), 404),
        (replicas.one, deciding(asked["id"], id="approval_1_1_1"), 409),
        (replicas.bob, body("x", trigger="regenerate-message", messageId=asked["id"]), 404),
        (replicas.one, body("x", trigger="regenerate-message", messageId="999999"), 404),
    ):
        answer = await client.post("/api/ui/chat", json=sent)
        assert answer.status_code == status, (sent, answer.text)
    assert (await replicas.one.get("/api/tasks")).json()["total"] == 1
