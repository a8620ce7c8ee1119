"""The wire as the real clients take it: the AI SDK's of three versions, and assistant-ui's."""

from typing import Any

import pytest
from agents.testing import ScriptedModel, function_call

from backend.tests.live.conftest import Replicas
from backend.tests.live.test_stop import stop
from backend.tests.live.test_streams import history, post
from backend.tests.support import ai_clients
from backend.tests.support.ai_clients import chat, decoded
from backend.tests.support.scripting import calls, says
from backend.tests.support.speaking import Speech

pytestmark = pytest.mark.long

NEWER = ("ai6", "ai7")


@pytest.fixture(params=ai_clients.SHORT)
def version(request: pytest.FixtureRequest) -> str:
    ai_clients.install()
    name: str = request.param
    return name


def at(replicas: Replicas) -> dict[str, Any]:
    """Where Alice's pages speak to, and as whom."""
    token = replicas.one.headers["authorization"].removeprefix("Bearer ")
    return {"token": token, "addresses": [str(each.base_url) for each in replicas[:2]]}


def shown(messages: list[dict[str, Any]]) -> list[Any]:
    """What a page shows of messages: whose they are, their texts, and what tools have done."""
    return [
        (message["role"], [seen(part) for part in message["parts"] if part["type"] != "step-start"])
        for message in messages
    ]


def seen(part: dict[str, Any]) -> Any:
    if part["type"] == "text":
        return part["text"]
    return part["type"], part.get("state"), part.get("input"), part.get("output")


async def test_a_page_shows_what_is_kept(
    replicas: Replicas, model: ScriptedModel, version: str
) -> None:
    look = Speech(function_call("add_task", {"title": "Buy milk"}, call_id="a"))
    look.say("Let me ", "add it.")
    look.end()
    model.extend([look.step, says("I have added milk."), says("You are welcome.")])
    async with chat(version, **at(replicas)) as page:
        done = await page.do("send", text="add milk")
        assert (done["status"], done["error"]) == ("ready", None)
        assert page.messages[-1]["parts"][-1]["state"] == "done"
        assert (await page.do("send", text="thanks"))["error"] is None
        kept = await history(replicas.two)
        assert shown(kept) == shown(page.messages)
        assert [each["id"] for each in kept] == [each["id"] for each in page.messages]
    async with chat(version, messages=kept, **at(replicas)) as reloaded:
        again = await reloaded.do("resume")
        assert (again["status"], again["error"]) == ("ready", None)
        assert shown(reloaded.messages) == shown(kept)


@pytest.mark.e2e
async def test_a_page_that_is_cut_off_resumes_at_another_replica(
    replicas: Replicas, model: ScriptedModel, version: str
) -> None:
    speech = Speech()
    model.extend([speech.step])
    async with chat(version, **at(replicas)) as page:
        sent = page.begin("send", text="hello")
        speech.say("One ", "two ")
        await page.shows(lambda messages: len(messages) == 2 and page.texts == ["One two"])
        await page.do("cut")
        assert (await sent)["status"] == "error"
        await page.do("move", to=1)
        # 5 keeps the torn message beside what is replayed, save on a page that is loaded anew
        resumed = page.begin("resume" if version in NEWER else "regenerate")
        await page.shows(lambda _: page.texts == ["One two"])
        speech.say("three")
        speech.end()
        assert (await resumed)["error"] is None
        assert page.texts == ["One two three"]
        assert len(page.messages) == 2
    assert len(model.calls) == 1


@pytest.mark.e2e
async def test_a_page_is_told_of_a_failure_and_tries_again(
    replicas: Replicas, model: ScriptedModel, version: str
) -> None:
    torn = Speech()
    torn.say("And now I ")
    torn.fail(ValueError("the provider's text"))
    model.extend([calls("add_task", {"title": "Buy milk"}), torn.step, says("Milk is added.")])
    async with chat(version, **at(replicas)) as page:
        failed = await page.do("send", text="add milk")
        assert failed["status"] == "error"
        assert failed["error"].startswith("I could not finish. Done so far: added task")
        assert page.messages[-1]["metadata"]["failed"] is True
        (data,) = [part for part in page.messages[-1]["parts"] if part["type"] == "data-error"]
        assert data["data"]["code"] == "AI_SERVICE_UNAVAILABLE"
        again = await page.do("regenerate")
        assert (again["status"], again["error"]) == ("ready", None)
        assert shown(page.messages) == shown(await history(replicas.one))
    assert page.texts == ["Milk is added."]
    tasks = (await replicas.one.get("/api/tasks")).json()["tasks"]
    assert [task["title"] for task in tasks] == ["Buy milk"]


@pytest.mark.e2e
async def test_a_page_stops_what_runs_elsewhere(
    replicas: Replicas, model: ScriptedModel, version: str
) -> None:
    speech = Speech()
    model.extend([speech.step])
    async with chat(version, **at(replicas)) as page:
        sent = page.begin("send", text="hello")
        speech.say("One ", "two ")
        await page.shows(lambda messages: len(messages) == 2 and page.texts == ["One two"])
        assert (await stop(replicas.two))["stopped"]
        done = await sent
        assert (done["status"], done["error"]) == ("ready", None)
        assert page.texts == ["One two"]
        assert page.messages[-1]["metadata"]["stopped"] is True
        assert page.messages[-1]["parts"][-1]["state"] == "done"


@pytest.mark.e2e
async def test_assistant_ui_takes_a_stream(replicas: Replicas, model: ScriptedModel) -> None:
    ai_clients.install()
    model.extend([calls("add_task", {"title": "Buy milk"}), says("I have added milk.")])
    await post(replicas.one, "add milk")
    where = at(replicas)
    message = await decoded(f"{where['addresses'][1]}/api/ui/chat/c1/stream", where["token"])
    call, said = message["parts"]
    assert (call["toolName"], call["args"]) == ("add_task", {"title": "Buy milk"})
    assert call["result"]["title"] == "Buy milk"
    assert said["text"] == "I have added milk."
