"""Conversations as things a person keeps: made, opened, named, put away, deleted, gone on with."""

import asyncio
from typing import Any

import httpx
import pytest
from agents.testing import ModelStep, ScriptedModel

from backend.tests.conversations.test_history import conversation_of, insert, lease, message_in
from backend.tests.journal.test_retries import send
from backend.tests.support.databases import Sessions
from backend.tests.support.fixtures import Run
from backend.tests.support.scripting import calls, says
from backend.tests.test_chat import chat, messages_of

PATH = "/api/conversations"

NOT_IDS = ["0", "-1", "9223372036854775808", "1" * 500, "abc", "undefined", "1.5", "%31%00", "٣"]


async def make(client: httpx.AsyncClient, **body: Any) -> dict[str, Any]:
    answer = await client.post(PATH, json=body)
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made


async def opened(client: httpx.AsyncClient, conversation_id: object, **query: Any) -> Any:
    answer = await client.get(f"{PATH}/{conversation_id}", params=query)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def listed(client: httpx.AsyncClient, **query: Any) -> list[int]:
    answer = await client.get(PATH, params=query)
    assert answer.status_code == 200, answer.text
    return [each["id"] for each in answer.json()["conversations"]]


async def column(sessions: Sessions, conversation_id: int, name: str) -> Any:
    async with sessions() as session:
        connection = await session.connection()
        sql = f"SELECT {name} FROM conversations WHERE id = {conversation_id}"
        return (await connection.exec_driver_sql(sql)).scalar_one()


# Made and opened


async def test_an_empty_conversation_is_made_of_nothing(alice: httpx.AsyncClient) -> None:
    answer = await alice.post(PATH)
    made = answer.json()
    assert (answer.status_code, answer.headers["Location"]) == (201, f"{PATH}/{made['id']}")
    assert made == {
        "id": made["id"],
        "title": None,
        "provider": "openai",
        "model": "gpt-4o-mini",
        "message_count": 0,
        "created_at": made["created_at"],
        "updated_at": made["updated_at"],
        "archived_at": None,
        "origin": None,
        "project_id": None,
        "toolsets": [],
    }
    spent = ("input_tokens", "cached_tokens", "output_tokens", "cost_usd")
    nothing: dict[str, object] = {
        "messages": [],
        "next": None,
        "usage": {"answers": 0, **dict.fromkeys(spent)},
    }
    assert await opened(alice, made["id"]) == made | nothing


async def test_a_title_is_trimmed_and_a_provider_and_model_are_kept(
    alice: httpx.AsyncClient, sessions: Sessions
) -> None:
    made = await make(alice, title="  The garden ", provider="openai", model="gpt-4o-mini", id=7)
    assert (made["title"], made["provider"], made["model"]) == (
        "The garden",
        "openai",
        "gpt-4o-mini",
    )
    stored = "concat_ws(',', provider, model)"
    assert await column(sessions, made["id"], stored) == "openai,gpt-4o-mini"


@pytest.mark.parametrize(
    "body",
    [
        *({"title": title} for title in ("", "  ", "x" * 201, "a\x00b", 5, ["x"])),
        *({"provider": name} for name in ("", "elsewhere", "x" * 51, 1, "a\x00")),
        *({"model": name} for name in ("", "gpt-unheard-of", "x" * 201, False)),
    ],
)
async def test_what_is_not_valid_is_refused_alike_for_a_new_and_an_old_one(
    alice: httpx.AsyncClient, body: dict[str, Any]
) -> None:
    made = await make(alice, title="Before")
    new, old = (
        await alice.post(PATH, json=body),
        await alice.patch(f"{PATH}/{made['id']}", json=body),
    )
    assert (new.status_code, old.status_code) == (422, 422)
    assert old.json()["error"]["code"] == "VALIDATION_ERROR"
    assert (await opened(alice, made["id"]))["title"] == "Before"


async def test_a_title_with_half_a_character_is_refused(alice: httpx.AsyncClient) -> None:
    body = b'{"title": "\\ud83d"}'
    answer = await alice.post(PATH, content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 422


async def test_a_provider_that_is_not_set_up_is_refused_with_what_is(
    alice: httpx.AsyncClient,
) -> None:
    error = (await alice.post(PATH, json={"provider": "elsewhere"})).json()["error"]
    assert error["details"][0]["field"] == "provider"
    assert "openai" in error["details"][0]["message"]


async def test_a_conversation_is_opened_with_its_newest_messages_and_the_way_to_older_ones(
    alice: httpx.AsyncClient, model: ScriptedModel
) -> None:
    model.extend([says("a1"), says("a2")])
    number = (await chat(alice, "m1"))["conversation_id"]
    await chat(alice, "m2", conversation_id=number)
    whole = await opened(alice, number)
    assert [each["content"] for each in whole["messages"]] == ["m1", "a1", "m2", "a2"]
    assert (whole["message_count"], whole["next"]) == (4, None)
    newest = await opened(alice, number, limit=3)
    assert newest["messages"] == whole["messages"][1:]
    older = await alice.get(f"{PATH}/{number}/messages", params={"before": newest["next"]})
    assert older.json() == whole["messages"][:1]
    assert "Link" not in older.headers


@pytest.mark.parametrize("limit", ["0", "101", "x", ""])
async def test_an_opened_conversation_has_one_to_a_hundred_messages(
    alice: httpx.AsyncClient, limit: str
) -> None:
    made = await make(alice)
    assert (await alice.get(f"{PATH}/{made['id']}?limit={limit}")).status_code == 422


# Changed


async def test_only_what_is_sent_changes_and_null_clears(alice: httpx.AsyncClient) -> None:
    made = await make(alice, title="Before", model="gpt-4o-mini")
    path = f"{PATH}/{made['id']}"
    assert (await alice.patch(path, json={})).json() == made
    assert (await alice.patch(path, json={"title": " After "})).json() == {
        **made,
        "title": "After",
    }
    cleared = (await alice.patch(path, json={"title": None, "model": None})).json()
    assert cleared == {**made, "title": None}


@pytest.mark.parametrize(
    ("before", "change", "stored"),
    [
        ({}, {"provider": "openai"}, ("openai", None)),
        ({}, {"model": "gpt-4o-mini"}, ("openai", "gpt-4o-mini")),
        ({"model": "gpt-4o-mini"}, {"provider": "openai"}, ("openai", None)),
        ({"model": "gpt-4o-mini"}, {"model": None}, ("openai", None)),
        ({"model": "gpt-4o-mini"}, {"provider": None}, (None, None)),
        ({"provider": "openai"}, {"title": "x"}, ("openai", None)),
    ],
)
async def test_a_provider_brings_its_default_model_and_a_model_keeps_its_provider(
    alice: httpx.AsyncClient,
    sessions: Sessions,
    before: dict[str, Any],
    change: dict[str, Any],
    stored: tuple[str | None, str | None],
) -> None:
    made = await make(alice, **before)
    changed = (await alice.patch(f"{PATH}/{made['id']}", json=change)).json()
    assert (changed["provider"], changed["model"]) == ("openai", "gpt-4o-mini")
    found = [await column(sessions, made["id"], name) for name in ("provider", "model")]
    assert tuple(found) == stored


async def test_a_choice_that_is_not_set_up_any_more_is_shown_as_what_answers_now(
    alice: httpx.AsyncClient, alice_id: str, sessions: Sessions
) -> None:
    sql = "UPDATE conversations SET provider = 'gone', model = 'm' WHERE id = :id RETURNING id"
    number = await insert(sessions, sql, id=await conversation_of(sessions, alice_id))
    shown = await opened(alice, number)
    assert (shown["provider"], shown["model"]) == ("openai", "gpt-4o-mini")
    changed = await alice.patch(f"{PATH}/{number}", json={"model": "gpt-4o-mini"})
    assert changed.status_code == 200


async def test_neither_a_name_nor_the_archive_moves_a_conversation_up(
    alice: httpx.AsyncClient,
) -> None:
    first, second = await make(alice), await make(alice)
    path = f"{PATH}/{first['id']}"
    await alice.patch(path, json={"title": "Named"})
    await alice.post(f"{path}/archive")
    await alice.post(f"{path}/unarchive")
    assert await listed(alice) == [second["id"], first["id"]]
    assert (await opened(alice, first["id"]))["updated_at"] == first["updated_at"]


# Put away


async def test_an_archived_conversation_is_in_the_archive_alone_and_stays_readable(
    alice: httpx.AsyncClient,
) -> None:
    kept, away = await make(alice), await make(alice)
    path = f"{PATH}/{away['id']}"
    first = await alice.post(f"{path}/archive")
    again = await alice.post(f"{path}/archive")
    assert (first.status_code, first.json()) == (again.status_code, again.json())
    assert first.json() == {**away, "archived_at": first.json()["archived_at"]}
    assert first.json()["archived_at"].endswith("Z")
    assert await listed(alice) == [kept["id"]]
    assert await listed(alice, archived="true") == [away["id"]]
    assert (await opened(alice, away["id"]))["archived_at"] is not None
    for _ in range(2):
        back = await alice.post(f"{path}/unarchive")
        assert (back.status_code, back.json()) == (200, away)
    assert await listed(alice, archived="true") == []


async def test_a_new_message_fetches_a_conversation_back_from_the_archive(
    alice: httpx.AsyncClient, model: ScriptedModel
) -> None:
    made = await make(alice)
    await alice.post(f"{PATH}/{made['id']}/archive")
    model.extend([says("Welcome back.")])
    await chat(alice, "hello again", conversation_id=made["id"])
    assert await listed(alice) == [made["id"]]


@pytest.mark.parametrize("how", ["in it", "without its id", "under its key"])
async def test_a_failed_message_sent_again_fetches_its_conversation_back_too(
    alice: httpx.AsyncClient, model: ScriptedModel, how: str
) -> None:
    key = "a-key" if how == "under its key" else None
    model.extend([ModelStep.raise_error(RuntimeError()), says("Here I am.")])
    failed = await send(alice, "hello", key)
    number = failed.json()["error"]["details"]["conversation_id"]
    await alice.post(f"{PATH}/{number}/archive")
    body = {"conversation_id": number} if how == "in it" else {}
    again = await send(alice, "hello", key, **body)
    assert again.json()["conversation_id"] == number
    assert await listed(alice) == [number]


# Deleted


async def test_a_deleted_conversation_is_reached_by_no_route_and_its_rows_stay(
    alice: httpx.AsyncClient, alice_id: str, model: ScriptedModel, sessions: Sessions
) -> None:
    model.extend([calls("add_task", {"title": "Milk"}), says("Added.")])
    keyed = {"Idempotency-Key": f"gone-{alice_id}"}
    body = {"message": "Add milk"}
    turn = (await alice.post("/api/chat", json=body, headers=keyed)).json()
    number = turn["conversation_id"]
    answer = (await messages_of(alice, number))[1]
    path = f"{PATH}/{number}"
    assert (await alice.delete(path)).status_code == 204
    gone = [
        await alice.delete(path),
        *[await alice.get(f"{path}{rest}") for rest in ("", "/messages", "/export")],
        await alice.patch(path, json={"title": "x"}),
        *[await alice.post(f"{path}/{verb}") for verb in ("archive", "unarchive")],
        await alice.post(f"{path}/chat", json={"content": "hello?"}),
        await alice.post("/api/chat", json={"message": "hello?", "conversation_id": number}),
        await alice.post("/api/chat", json=body, headers=keyed),
        await alice.post(f"/api/messages/{answer['id']}/undo"),
    ]
    assert [each.status_code for each in gone] == [404] * len(gone)
    assert await listed(alice) == await listed(alice, q="milk") == []
    sql = "SELECT count(*) FROM messages WHERE conversation_id = :id"
    assert await insert(sessions, sql, id=number) == 2


async def test_a_turn_under_way_in_a_deleted_conversation_ends_and_brings_nothing_back(
    alice: httpx.AsyncClient, model: ScriptedModel
) -> None:
    made = await make(alice)
    path = f"{PATH}/{made['id']}"

    async def delete_meanwhile(_: object) -> ModelStep:
        assert (await alice.delete(path)).status_code == 204
        return ModelStep(says("Too late."))

    model.extend([ModelStep.respond(delete_meanwhile)])
    answer = await alice.post(f"{path}/chat", json={"content": "hello"})
    assert (answer.status_code, answer.json()["content"]) == (200, "Too late.")
    assert (await alice.get(path)).status_code == 404
    assert await listed(alice) == []


# Gone on with


async def test_a_turn_in_the_other_dress_is_the_same_turn(
    alice: httpx.AsyncClient, model: ScriptedModel
) -> None:
    made = await make(alice)
    add, look = calls("add_task", {"title": "Milk"}), calls("list_tasks")
    model.extend([look, add, calls("list_tasks"), says("Added.")])
    answer = await alice.post(f"{PATH}/{made['id']}/chat", json={"content": " Add milk "})
    assert answer.status_code == 200
    said = answer.json()
    user, assistant = await messages_of(alice, made["id"])
    assert user["content"] == "Add milk"
    assert said == {
        "id": assistant["id"],
        "role": "assistant",
        "content": "Added.",
        "tool_calls": assistant["tool_calls"],
        "tools_executed": ["list_tasks", "add_task"],
        "created_at": assistant["created_at"],
        "conversation_id": made["id"],
    }


async def test_a_plain_answer_in_the_other_dress_has_no_tools(
    alice: httpx.AsyncClient, model: ScriptedModel
) -> None:
    made = await make(alice)
    model.extend([says("Hello.")])
    said = (await alice.post(f"{PATH}/{made['id']}/chat", json={"content": "hi"})).json()
    assert (said["tool_calls"], said["tools_executed"]) == (None, [])


@pytest.mark.parametrize("body", [{}, {"content": " "}, {"content": "x" * 2001}, {"message": "hi"}])
async def test_a_content_is_held_to_the_rules_of_a_message(
    alice: httpx.AsyncClient, body: dict[str, Any]
) -> None:
    made = await make(alice)
    assert (await alice.post(f"{PATH}/{made['id']}/chat", json=body)).status_code == 422


async def test_a_key_means_one_turn_in_either_dress(
    alice: httpx.AsyncClient, alice_id: str, model: ScriptedModel
) -> None:
    made = await make(alice)
    model.extend([says("Once.")])
    keyed = {"Idempotency-Key": f"both-{alice_id}"}
    path = f"{PATH}/{made['id']}/chat"
    first = await alice.post(path, json={"content": "hi"}, headers=keyed)
    again = await alice.post(path, json={"content": "hi"}, headers=keyed)
    assert first.json() == again.json()
    assert again.headers["Idempotency-Replayed"] == "true"
    body = {"message": "hi", "conversation_id": made["id"]}
    plain = await alice.post("/api/chat", json=body, headers=keyed)
    assert (plain.status_code, plain.json()["response"]) == (200, "Once.")


async def test_a_first_message_that_failed_in_an_empty_conversation_is_taken_up(
    alice: httpx.AsyncClient, model: ScriptedModel
) -> None:
    made = await make(alice)
    model.extend([ModelStep(error=TimeoutError()), says("There.")])
    path = f"{PATH}/{made['id']}/chat"
    failed = await alice.post(path, json={"content": "hello"})
    assert (failed.status_code, failed.json()["error"]["code"]) == (503, "AI_SERVICE_UNAVAILABLE")
    assert (await opened(alice, made["id"]))["message_count"] == 1
    body = {"message": "hello", "conversation_id": made["id"]}
    assert (await alice.post("/api/chat", json=body)).json()["response"] == "There."
    assert [each["content"] for each in await messages_of(alice, made["id"])] == ["hello", "There."]


# Counted


async def test_the_count_is_of_what_the_history_shows(
    alice: httpx.AsyncClient, alice_id: str, sessions: Sessions
) -> None:
    number = await conversation_of(sessions, alice_id)
    rows = [("user", "q", "complete"), ("assistant", "a", "complete")]
    rows += [
        ("assistant", content, status) for status in ("failed", "running") for content in ("", "x")
    ]
    ids = [
        await message_in(sessions, number, alice_id, role, content, status=status)
        for role, content, status in rows
    ]
    sql = "UPDATE conversations SET message_count = 6 WHERE id = :id RETURNING id"
    await insert(sessions, sql, id=number)
    for until, shown in (("1 minute", 3), ("-1 minute", 4)):
        for each in ids[-2:]:
            await lease(sessions, each, until)
        assert len(await messages_of(alice, number)) == shown
        [counted] = (await alice.get(PATH)).json()["conversations"]
        assert counted["message_count"] == shown


async def test_the_count_grows_with_each_turn(
    alice: httpx.AsyncClient, model: ScriptedModel
) -> None:
    made = await make(alice)
    for turns in (1, 2, 3):
        model.extend([says("ok")])
        await chat(alice, f"message {turns}", conversation_id=made["id"])
        assert (await opened(alice, made["id"]))["message_count"] == 2 * turns


# Whose it is, and in which order that is judged


async def calls_of(client: httpx.AsyncClient, number: object) -> dict[str, httpx.Response]:
    """The answers of every route of one conversation."""
    path = f"{PATH}/{number}"
    return {
        "open": await client.get(path),
        "messages": await client.get(f"{path}/messages"),
        "export": await client.get(f"{path}/export"),
        "change": await client.patch(path, json={"title": "Mine now"}),
        "archive": await client.post(f"{path}/archive"),
        "unarchive": await client.post(f"{path}/unarchive"),
        "chat": await client.post(f"{path}/chat", json={"content": "hello"}),
        "delete": await client.delete(path),
    }


async def test_someone_elses_conversation_is_not_found_and_stands(
    alice: httpx.AsyncClient, bob: httpx.AsyncClient, model: ScriptedModel
) -> None:
    made = await make(alice, title="Secret plans")
    model.extend([says("Quite.")])
    await chat(alice, "a secret", conversation_id=made["id"])
    before = await opened(alice, made["id"])
    for name, answer in (await calls_of(bob, made["id"])).items():
        assert answer.status_code == 404, name
        assert answer.json()["error"]["code"] == "CONVERSATION_NOT_FOUND", name
    assert await listed(bob) == await listed(bob, q="secret") == []
    assert await opened(alice, made["id"]) == before


@pytest.mark.parametrize("number", NOT_IDS)
async def test_an_id_of_any_shape_that_is_not_ones_own_is_not_found(
    alice: httpx.AsyncClient, run: Run, number: str
) -> None:
    async with run(alice, rate_limit_chat="1000/minute") as client:
        answers = await calls_of(client, number)
    assert {name: each.status_code for name, each in answers.items()} == dict.fromkeys(answers, 404)


async def test_without_a_session_every_route_is_closed(client: httpx.AsyncClient) -> None:
    answers = [*(await calls_of(client, "abc")).values(), await client.get(f"{PATH}?before=x")]
    answers.append(await client.post(PATH, json={"title": ""}))
    assert [each.status_code for each in answers] == [401] * len(answers)


INVALID: list[tuple[str, str, object]] = [
    ("GET", "?before=x", None),
    ("GET", "/999/messages?before=x", None),
    ("GET", "/999?limit=0", None),
    ("GET", "/999/export?format=pdf", None),
    ("PATCH", "/999", {"title": ""}),
    ("PATCH", "/999", {"provider": "elsewhere"}),
    ("POST", "", {"provider": "elsewhere"}),
    ("POST", "/999/chat", {"content": ""}),
]


async def test_a_request_is_judged_401_422_429_404(alice: httpx.AsyncClient, run: Run) -> None:
    full = {f"rate_limit_{name}": "1/minute" for name in ("chat", "history", "tasks")}
    for method, path, body in INVALID:
        # by itself, as one too many that are not valid is refused as well
        async with run(alice, **full) as client:
            await calls_of(client, 999)
            limited = await calls_of(client, 999)
            assert {each.status_code for each in limited.values()} == {429}
            invalid = await client.request(method, f"{PATH}{path}", json=body)
            assert invalid.status_code == 422, path


async def test_many_changes_at_once_all_succeed(alice: httpx.AsyncClient) -> None:
    made = await make(alice)
    path = f"{PATH}/{made['id']}"
    asked = [alice.patch(path, json={"title": f"Title {n}"}) for n in range(5)]
    asked += [alice.post(f"{path}/archive") for _ in range(5)]
    assert {each.status_code for each in await asyncio.gather(*asked)} == {200}
