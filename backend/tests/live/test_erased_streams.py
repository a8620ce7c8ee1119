"""All of a person is deleted while a turn of theirs is streamed."""

from agents.testing import ScriptedModel

from backend.tests.live.conftest import Replicas
from backend.tests.live.test_streams import body, resumed
from backend.tests.support.live import kinds, streaming
from backend.tests.support.rows import rows_of, rows_of_nobody
from backend.tests.support.scripting import calls
from backend.tests.support.speaking import Speech


async def test_a_stream_ends_as_stopped_wherever_it_is_seen_and_leaves_no_row(
    replicas: Replicas, model: ScriptedModel, alice_id: str, shared_database_url: str
) -> None:
    more = Speech()
    model.extend([calls("add_task", {"title": "Buy milk"}), more.step])
    async with (
        streaming(replicas.one, "POST", "/api/ui/chat", json=body("add milk")) as events,
        streaming(replicas.two, "GET", "/api/ui/chat/c1/stream") as elsewhere,
    ):
        more.say("I have ")
        await events.until("text-delta")
        await elsewhere.until("text-delta")
        answer = await replicas.two.delete("/api/account")
        assert answer.status_code == 204, answer.text
        assert kinds(await events.rest())[-1] in ("abort", "finish", "error")
        assert events.done
        assert kinds(await elsewhere.rest())[-1] == kinds(events.seen)[-1]
        assert elsewhere.done
    assert await rows_of(shared_database_url, alice_id) == {}
    assert await rows_of_nobody(shared_database_url) == 0
    assert (await resumed(replicas.two)).response.status_code == 204
