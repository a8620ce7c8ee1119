"""Approvals, and asking again, as the AI SDK's clients do them; and once each, in the stream."""

from typing import Any

import httpx
import pytest
from agents.testing import ScriptedModel, function_call

from backend.tests.live.conftest import Replicas
from backend.tests.live.test_clients import at, shown
from backend.tests.live.test_streams import body, history, post, resumed, texts
from backend.tests.support import ai_clients
from backend.tests.support.ai_clients import chat
from backend.tests.support.live import Events, kinds, said, streaming
from backend.tests.support.scripting import calls, says, together
from backend.tests.support.speaking import Speech


async def task(client: httpx.AsyncClient, title: str) -> int:
    made: int = (await client.post("/api/tasks", json={"title": title})).json()["id"]
    return made


async def titles(client: httpx.AsyncClient) -> list[str]:
    return [each["title"] for each in (await client.get("/api/tasks")).json()["tasks"]]


def decided(message: dict[str, Any], *approved: bool) -> dict[str, Any]:
    """The message as a client sends it back, with the person's word on each call that waits."""
    words = iter(approved)
    parts = [
        part
        | {
            "state": "approval-responded",
            "input": {"task_id": 999_999},
            "approval": part["approval"] | {"approved": next(words)},
        }
        if part.get("state") == "approval-requested"
        else part
        for part in message["parts"]
    ]
    return message | {"parts": parts}


async def go_on(client: httpx.AsyncClient, message: dict[str, Any], chat: str = "c1") -> Events:
    sent = {"id": chat, "messages": [message], "trigger": "submit-message"}
    sent |= {"messageId": message["id"]}
    responded = [p for p in message["parts"] if p.get("state") == "approval-responded"]
    known = [part["toolCallId"] for part in responded]
    stream = streaming(client, "POST", "/api/ui/chat", json=sent, known=known)
    async with stream as events:
        await events.rest()
        return events


async def test_a_call_waits_for_the_person_and_is_carried_out_once(
    replicas: Replicas, model: ScriptedModel
) -> None:
    number = await task(replicas.one, "Buy milk")
    look = Speech(function_call("delete_task", {"task_id": number}, call_id="a"))
    look.say("Shall I?")
    look.end()
    model.extend([look.step, says("It is deleted.")])
    asked = await post(replicas.one, "delete milk")
    assert kinds(asked.seen)[-4:] == [
        *("tool-input-available", "tool-approval-request", "finish-step", "finish")
    ]
    assert asked.seen[-1]["finishReason"] == "tool-calls"
    assert said(asked.seen) == ["Shall I?"]
    waiting = (await history(replicas.two))[-1]
    assert waiting["parts"][-1]["state"] == "approval-requested"
    assert kinds((await resumed(replicas.two)).seen) == kinds(asked.seen)
    assert await titles(replicas.one) == ["Buy milk"]
    for _ in range(2):
        done = await go_on(replicas.two, decided(waiting, True))
        assert kinds(done.seen) == [
            *("start", "tool-output-available", "start-step", "text-start", "text-delta"),
            *("text-end", "finish-step", "finish"),
        ]
        assert done.seen[0]["messageId"] == waiting["id"]
        assert said(done.seen) == ["It is deleted."]
    assert await titles(replicas.one) == []
    whole = await resumed(replicas.one)
    assert said(whole.seen) == ["Shall I?", "It is deleted."]
    assert texts((await history(replicas.one))[-1]) == ["Shall I?", "It is deleted."]
    against = await replicas.one.post(
        "/api/ui/chat", json={"id": "c1", "message": decided(waiting, False)}
    )
    assert against.status_code == 409


async def test_of_several_calls_each_has_its_own_word(
    replicas: Replicas, model: ScriptedModel
) -> None:
    one, two = [await task(replicas.one, title) for title in ("Buy milk", "Buy bread")]
    both = [calls("delete_task", {"task_id": number}) for number in (one, two)]
    model.extend([together(calls("list_tasks"), *both), says("One is deleted.")])
    await post(replicas.one, "delete both")
    waiting = (await history(replicas.one))[-1]
    done = await go_on(replicas.two, decided(waiting, False, True))
    assert kinds(done.seen)[:4] == [
        *("start", "tool-output-denied", "tool-output-available", "start-step")
    ]
    assert await titles(replicas.one) == ["Buy milk"]
    states = [part.get("state") for part in (await history(replicas.one))[-1]["parts"][1:4]]
    assert states == ["output-available", "output-denied", "output-available"]
    assert kinds((await resumed(replicas.one)).seen)[-1] == "finish"


async def test_asked_again_an_answer_is_taken_back_and_given_anew(
    replicas: Replicas, model: ScriptedModel
) -> None:
    model.extend([calls("add_task", {"title": "Buy milk"}), says("First.")])
    first = await post(replicas.one, "add milk")
    model.extend([calls("add_task", {"title": "Buy oat milk"}), says("Second.")])
    again = await post(replicas.two, "add milk", trigger="regenerate-message")
    assert said(again.seen) == ["Second."]
    assert again.seen[0]["messageId"] == first.seen[0]["messageId"]
    assert await titles(replicas.one) == ["Buy oat milk"]
    model.extend([calls("add_task", {"title": "Buy bread"}), says("Third.")])
    edited = await post(replicas.one, "add bread", messageId="m1")
    assert said(edited.seen) == ["Third."]
    assert await titles(replicas.one) == ["Buy bread"]
    asked, answered = await history(replicas.one)
    assert (texts(asked), texts(answered)) == (["add bread"], ["Third."])
    replayed = await post(replicas.two, "add bread")
    assert said(replayed.seen) == ["Third."]
    unknown = body("add milk", chat="c2", trigger="regenerate-message")
    assert (await replicas.one.post("/api/ui/chat", json=unknown)).status_code == 404
    foreign = body("add milk", trigger="regenerate-message")
    assert (await replicas.bob.post("/api/ui/chat", json=foreign)).status_code == 404


@pytest.fixture(params=ai_clients.SHORT[1:])
def version(request: pytest.FixtureRequest) -> str:
    ai_clients.install()
    name: str = request.param
    return name


async def test_pages_approve_deny_and_send_a_decision_again(
    replicas: Replicas, model: ScriptedModel, version: str
) -> None:
    one, two = [await task(replicas.one, title) for title in ("Buy milk", "Buy bread")]
    both = [calls("delete_task", {"task_id": number}) for number in (one, two)]
    model.extend([together(*both), says("One is deleted."), says("You are welcome.")])
    async with chat(version, automatic=True, **at(replicas)) as page:
        await page.do("send", text="delete both")
        first, second = [p for p in page.messages[-1]["parts"] if p["type"] != "step-start"]
        await page.do("move", to=1)
        await page.do("fail", times=1)
        await page.do("approve", approval=first["approval"]["id"], approved=True)
        await page.do("approve", approval=second["approval"]["id"], approved=False, reason="no")
        await page.shows(lambda _: bool(page.failed))
        again = await page.do("send")
        assert (again["status"], again["error"]) == ("ready", None)
        assert page.texts == ["One is deleted."]
        assert await titles(replicas.one) == ["Buy bread"]
        assert shown(page.messages) == shown(await history(replicas.one))
        assert (await page.do("send", text="thanks"))["error"] is None
        assert len(page.messages) == 4


async def test_pages_ask_again_and_say_it_otherwise(
    replicas: Replicas, model: ScriptedModel, version: str
) -> None:
    model.extend([calls("add_task", {"title": "Buy milk"}), says("First.")])
    async with chat(version, **at(replicas)) as page:
        await page.do("send", text="add milk")
        model.extend([calls("add_task", {"title": "Buy oat milk"}), says("Second.")])
        assert (await page.do("regenerate"))["error"] is None
        assert page.texts == ["Second."]
        model.extend([calls("add_task", {"title": "Buy bread"}), says("Third.")])
        edited = page.messages[0]["id"]
        assert (await page.do("send", text="add bread", messageId=edited))["error"] is None
        assert page.texts == ["Third."]
        assert shown(page.messages) == shown(await history(replicas.one))
    assert await titles(replicas.one) == ["Buy bread"]
