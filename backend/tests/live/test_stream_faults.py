"""A stream always ends and never ends in a lie: killed owners, logs that cannot be written."""

import asyncio
import time

import httpx
import pytest
from agents.testing import ScriptedModel

from backend.journal.stream_log import expire_logs
from backend.models import utc_now
from backend.tests.live.conftest import Replicas
from backend.tests.live.test_stop import stop
from backend.tests.live.test_streams import body, history, post, resumed, texts
from backend.tests.support import better_auth
from backend.tests.support.live import kinds, said, streaming
from backend.tests.support.provider_wire import Answer, FunctionCall, Hang
from backend.tests.support.scripted_provider import ScriptedProvider
from backend.tests.support.scripting import calls, says
from backend.tests.support.servers import serving
from backend.tests.support.speaking import Speech
from backend.turns.channels import Channel, StreamCut, Viewer

pytestmark = [pytest.mark.long, pytest.mark.waits]

ADD = Answer(calls=(FunctionCall("add_task", '{"title": "Buy milk"}'),))


async def test_of_a_killed_process_its_viewers_see_a_cut_and_others_the_truth(
    shared_database_url: str, alice_id: str
) -> None:
    token = await better_auth.sign_in(shared_database_url, alice_id)
    async with (
        ScriptedProvider(ADD, Hang(), Answer("Milk is added.")) as provider,
        serving(shared_database_url, provider.base_url) as one,
        serving(shared_database_url, provider.base_url) as two,
        one.client(token) as at_one,
        two.client(token) as at_two,
        streaming(at_one, "POST", "/api/ui/chat", json=body("add milk")) as events,
    ):
        await events.until("tool-output-available")
        await provider.arrival()
        async with streaming(at_two, "GET", "/api/ui/chat/c1/stream") as elsewhere:
            await elsewhere.until("tool-output-available")
            await one.kill()
            killed = time.monotonic()
            with pytest.raises(httpx.RemoteProtocolError):
                await events.rest()
            assert not events.done
            await elsewhere.rest()
            assert time.monotonic() - killed < 8
        for ended in (elsewhere, await resumed(at_two)):
            (sentence,) = said(ended.seen)
            assert sentence.startswith("I could not finish. Done so far: added task")
            assert kinds(ended.seen)[-1] == "error"
            assert ended.seen[-1]["errorText"] == sentence
            assert ended.done
        async with streaming(at_two, "POST", "/api/ui/chat", json=body("add milk")) as again:
            await again.rest()
            assert said(again.seen) == ["Milk is added."]
        assert kinds(again.seen).count("tool-output-available") == 1
        assert texts((await history(at_two))[-1]) == ["Milk is added."]


async def test_a_log_that_cannot_be_written_or_read_costs_no_viewer_the_end(
    replicas: Replicas, model: ScriptedModel, shared_database_url: str
) -> None:
    speech = Speech()
    model.extend([calls("add_task", {"title": "Buy milk"}), speech.step])
    await better_auth.execute(
        shared_database_url, "ALTER TABLE stream_log RENAME TO stream_log_away"
    )
    try:
        async with (
            streaming(replicas.one, "POST", "/api/ui/chat", json=body("add milk")) as events,
        ):
            speech.say("Added ")
            await events.until("text-delta")
            async with streaming(replicas.two, "GET", "/api/ui/chat/c1/stream") as elsewhere:
                await elsewhere.until("start")
                assert (await stop(replicas.two))["stopped"]
                for each in (events, elsewhere):
                    await each.rest()
                    assert kinds(each.seen)[-1] == "abort"
                    assert said(each.seen)[-1].startswith("Added\n\nI could not finish.")
    finally:
        await better_auth.execute(
            shared_database_url, "ALTER TABLE stream_log_away RENAME TO stream_log"
        )


async def test_a_server_told_to_stop_ends_its_streams_and_waits_for_those_who_left(
    shared_database_url: str, alice_id: str
) -> None:
    token = await better_auth.sign_in(shared_database_url, alice_id)
    release = asyncio.Event()
    async with (
        ScriptedProvider(ADD, Hang(Answer("Added."), release)) as provider,
        serving(shared_database_url, provider.base_url) as one,
        serving(shared_database_url, provider.base_url) as two,
        two.client(token) as at_two,
    ):
        async with (
            one.client(token) as at_one,
            streaming(at_one, "POST", "/api/ui/chat", json=body("add milk")) as events,
        ):
            await events.until("tool-output-available")
        stopping = asyncio.create_task(one.stop())
        async with streaming(at_two, "GET", "/api/ui/chat/c1/stream") as elsewhere:
            await elsewhere.until("tool-output-available")
            release.set()
            await elsewhere.rest()
            assert kinds(elsewhere.seen)[-1] == "finish"
        assert await stopping == 0


async def test_what_does_not_finish_in_time_is_told_to_its_viewers(
    shared_database_url: str, alice_id: str
) -> None:
    token = await better_auth.sign_in(shared_database_url, alice_id)
    async with (
        ScriptedProvider(ADD, Hang()) as provider,
        serving(shared_database_url, provider.base_url, SHUTDOWN_SECONDS="1") as server,
        server.client(token) as client,
        streaming(client, "POST", "/api/ui/chat", json=body("add milk")) as events,
    ):
        await events.until("tool-output-available")
        assert await server.stop() == 0
        await events.rest()
        assert kinds(events.seen)[-1] == "error"
        assert events.done
        assert events.seen[-1]["errorText"].startswith("I could not finish. Done so far: added")


async def test_a_viewer_without_news_is_told_that_the_connection_stands() -> None:
    channel = Channel(2, 1, utc_now())
    viewer = Viewer(channel, sign_of_life=0.01)
    news = viewer.parts()
    assert await anext(news) == []
    channel.tell({"say": "Hello"})
    assert await anext(news) == [{"say": "Hello"}]
    channel.cut_off()
    with pytest.raises(StreamCut):
        await anext(news)


async def test_rows_of_the_log_go_by_their_age_whoever_wrote_them(
    replicas: Replicas, model: ScriptedModel, shared_database_url: str
) -> None:
    model.extend([says("Hello.")])
    message = int((await post(replicas.one, "hello")).seen[0]["messageId"])
    write = "INSERT INTO stream_log VALUES (%s, 9, %s, '[]', now() - %s::interval)"
    for number, age in enumerate(("20 minutes", "10 minutes")):
        await better_auth.execute(shared_database_url, write, message, number, age)
    async with replicas.apps[1].state.runtime.autocommit() as session:
        await expire_logs(session)
    kept = "SELECT seq FROM stream_log WHERE message_id = %s AND attempt = 9"
    assert await better_auth.execute(shared_database_url, kept, message) == [(1,)]


async def test_whoever_watches_a_turn_that_is_taken_up_elsewhere_has_to_come_again(
    replicas: Replicas, model: ScriptedModel, shared_database_url: str
) -> None:
    speech = Speech()
    model.extend([speech.step])
    async with streaming(replicas.one, "POST", "/api/ui/chat", json=body("hello")) as events:
        speech.say("One ")
        await events.until("text-delta")
        async with streaming(replicas.two, "GET", "/api/ui/chat/c1/stream") as elsewhere:
            await elsewhere.until("text-delta")
            taken_up = "UPDATE messages SET attempt = attempt + 1 WHERE id = %s"
            number = events.seen[0]["messageId"]
            await better_auth.execute(shared_database_url, taken_up, int(number))
            with pytest.raises(httpx.RemoteProtocolError):
                await elsewhere.rest()
            assert not elsewhere.done


@pytest.mark.parametrize("api", ["responses", "chat_completions"])
async def test_both_wire_formats_are_streamed_and_counted(
    shared_database_url: str, alice_id: str, api: str
) -> None:
    token = await better_auth.sign_in(shared_database_url, alice_id)
    add = Answer("Let me add it.", calls=(FunctionCall("add_task", '{"title": "Buy milk"}'),))
    async with (
        ScriptedProvider(add, Answer("Milk is on your list now.")) as provider,
        serving(shared_database_url, provider.base_url, OPENAI_API=api) as server,
        server.client(token) as client,
        streaming(client, "POST", "/api/ui/chat", json=body("add milk")) as events,
    ):
        await events.rest()
        assert said(events.seen) == ["Let me add it.", "Milk is on your list now."]
        assert texts((await history(client))[-1]) == said(events.seen)
        spent = "SELECT input_tokens, output_tokens FROM messages WHERE id = %s"
        number = int(events.seen[0]["messageId"])
        rows = await better_auth.execute(shared_database_url, spent, number)
        assert rows == [(20, 10)]
