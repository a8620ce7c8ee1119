"""The five tools over MCP: real clients of the protocol, on two replicas of the service."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import jsonschema_rs
import pytest
from agents.mcp import MCPServerStreamableHttp
from mcp import Client
from mcp.shared.exceptions import MCPError

from backend.tests.support import better_auth
from backend.tests.support.mcp_clients import Mode, mcp_client, post, request_of, result_of
from backend.tests.support.servers import Server, serving

pytestmark = pytest.mark.long

NOWHERE = "http://127.0.0.1:1/v1"
MODES: list[Mode] = ["auto", "legacy"]


@pytest.fixture(scope="module")
async def replicas(shared_database_url: str) -> AsyncIterator[tuple[Server, Server]]:
    settings = {"MCP": "true", "OPENAI_MODEL": "offline"}
    async with (
        serving(shared_database_url, NOWHERE, **settings) as one,
        serving(shared_database_url, NOWHERE, **settings) as other,
    ):
        yield one, other


@dataclass
class Person:
    id: str
    token: str


@pytest.fixture
async def alice(shared_database_url: str) -> Person:
    user_id = await better_auth.add_user(shared_database_url, "alice")
    return Person(user_id, await better_auth.sign_in(shared_database_url, user_id))


@pytest.fixture
async def bob(shared_database_url: str) -> Person:
    user_id = await better_auth.add_user(shared_database_url, "bob")
    return Person(user_id, await better_auth.sign_in(shared_database_url, user_id))


async def call(client: Client, tool: str, key: str | None = None, **args: Any) -> dict[str, Any]:
    meta: Any = {"todo/idempotency-key": key} if key else None
    return result_of(await client.call_tool(tool, args, meta=meta))


async def histories(server: Server, person: Person) -> dict[str, list[dict[str, Any]]]:
    """The person's messages, by the title of their conversation."""
    async with server.client(person.token) as client:
        listed = (await client.get("/api/conversations")).json()["conversations"]
        return {
            each["title"]: (await client.get(f"/api/conversations/{each['id']}/messages")).json()
            for each in listed
        }


# What is served


@pytest.mark.parametrize("mode", MODES)
async def test_a_client_of_either_revision_finds_and_calls_the_five_tools(
    replicas: tuple[Server, Server], alice: Person, mode: Mode
) -> None:
    async with mcp_client(replicas[0].address, alice.token, mode=mode) as client:
        assert (client.protocol_version == "2026-07-28") is (mode == "auto")
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
        added = await call(client, "add_task", title="Buy milk", due_date="2030-01-31")
        task_id = added["task_id"]
        answers = {
            "add_task": added,
            "list_tasks": await call(client, "list_tasks", search="milk"),
            "update_task": await call(client, "update_task", task_id=task_id, priority="high"),
            "complete_task": await call(client, "complete_task", task_id=task_id),
            "delete_task": await call(client, "delete_task", task_id=task_id),
        }
        answers["failure"] = await call(client, "delete_task", task_id=task_id)
    assert tools.keys() == answers.keys() - {"failure"}
    for name, answer in answers.items():
        schema = tools.get(name, tools["delete_task"]).output_schema
        jsonschema_rs.validate(schema or False, answer)
    assert answers["list_tasks"]["tasks"][0]["task_id"] == task_id
    assert answers["failure"]["error_code"] == "TASK_NOT_FOUND"
    assert tools["add_task"].input_schema["required"] == ["title"]
    assert tools["list_tasks"].input_schema["required"] == []


async def test_the_hints_say_what_a_client_has_to_ask_its_person_about(
    replicas: tuple[Server, Server], alice: Person
) -> None:
    async with mcp_client(replicas[0].address, alice.token) as client:
        hints = {tool.name: tool.annotations for tool in (await client.list_tools()).tools}
    assert {name for name, each in hints.items() if each and each.read_only_hint} == {"list_tasks"}
    destructive = {name for name, each in hints.items() if each and each.destructive_hint}
    assert destructive == {"delete_task", "update_task"}
    assert [n for n, each in hints.items() if each and not each.idempotent_hint] == ["add_task"]
    assert not any(each.open_world_hint for each in hints.values() if each)


async def test_the_open_tasks_are_a_resource_and_stand_in_the_prompt(
    replicas: tuple[Server, Server], alice: Person, bob: Person
) -> None:
    async with mcp_client(replicas[0].address, alice.token) as client:
        await call(client, "add_task", title="Water the plants")
        done = await call(client, "add_task", title="Old thing")
        await call(client, "complete_task", task_id=done["task_id"])
        (resource,) = (await client.list_resources()).resources
        (content,) = (await client.read_resource(resource.uri)).contents
        (prompt,) = (await client.list_prompts()).prompts
        plan = (await client.get_prompt(prompt.name)).messages[0].content
        with pytest.raises(MCPError, match="Unknown resource"):
            await client.read_resource("todo://tasks/of-bob")
    titles = [task["title"] for task in json.loads(getattr(content, "text", ""))["tasks"]]
    assert titles == ["Water the plants"]
    assert "Water the plants" in getattr(plan, "text", "")
    async with mcp_client(replicas[1].address, bob.token) as client:
        (content,) = (await client.read_resource(resource.uri)).contents
    assert json.loads(getattr(content, "text", ""))["tasks"] == []


async def test_the_day_and_the_clock_are_those_of_the_zone_that_the_person_named_last(
    replicas: tuple[Server, Server], alice: Person
) -> None:
    zone = "Pacific/Kiritimati"  # a day ahead of half of the world
    async with replicas[0].client(alice.token) as http:
        made = {"title": "Rent", "due_date": "2030-03-30T23:30:00Z"}
        made |= {"recurrence_pattern": "monthly"}
        task = (await http.post("/api/tasks", json=made, headers={"X-Timezone": zone})).json()
        async with mcp_client(replicas[1].address, alice.token) as client:
            (content,) = (await client.read_resource("todo://tasks/open")).contents
            await call(client, "complete_task", task_id=task["id"])
        (following,) = (await http.get("/api/tasks?completed=false")).json()["tasks"]
    told = json.loads(getattr(content, "text", ""))
    assert (told["today"], told["time_zone"]) == (f"{datetime.now(ZoneInfo(zone)):%Y-%m-%d}", zone)
    # the 31st by her clock, which April has not
    assert following["due_date"] == "2030-04-29T23:30:00Z"


async def test_the_agents_sdk_calls_the_tools_on_any_replica(
    replicas: tuple[Server, Server], alice: Person
) -> None:
    for number, server in enumerate(replicas):
        params: Any = {
            "url": f"{server.address}/mcp",
            "headers": {"Authorization": f"Bearer {alice.token}"},
        }
        async with MCPServerStreamableHttp(params, use_structured_content=True) as tools:
            assert len(await tools.list_tools()) == 5
            await tools.call_tool("add_task", {"title": f"From replica {number}"})
            listed = result_of(await tools.call_tool("list_tasks", {}))
            assert listed["count"] == number + 1


# On record


@pytest.mark.parametrize("mode", MODES)
async def test_what_a_client_changes_stands_in_the_history_under_its_name_and_can_be_undone(
    replicas: tuple[Server, Server], alice: Person, mode: Mode
) -> None:
    server = replicas[0]
    async with mcp_client(
        server.address, alice.token, mode=mode, name="Claude Desktop", agent="Claude Desktop/9.9"
    ) as client:
        added = await call(client, "add_task", title="Call mom")
        await call(client, "list_tasks")
        await call(client, "complete_task", task_id=added["task_id"])
        await call(client, "complete_task", task_id=added["task_id"])  # done already
        await call(client, "complete_task", task_id=2**40)  # there is none
    (messages,) = (await histories(server, alice)).values()
    assert [message["content"] for message in messages] == [
        f'Added "Call mom" as task {added["task_id"]}.',
        'Completed "Call mom".',
    ]
    assert {message["role"] for message in messages} == {"assistant"}
    assert messages[0]["tool_calls"] == [
        {"tool": "add_task", "args": {"title": "Call mom"}, "result": added}
    ]
    async with server.client(alice.token) as http:
        (listed,) = (await http.get("/api/conversations")).json()["conversations"]
        assert (listed["title"], listed["origin"]) == ("Claude Desktop", "Claude Desktop")
        assert listed["message_count"] == 2
        for message in reversed(messages):
            undone = await http.post(f"/api/messages/{message['id']}/undo")
            assert undone.status_code == 200
        assert (await http.get("/api/tasks")).json()["total"] == 0
        assert (await http.get("/api/usage")).json()["days"] == []


async def test_a_client_takes_projects_by_name_and_steps_and_its_changes_are_undone(
    replicas: tuple[Server, Server], alice: Person
) -> None:
    server = replicas[0]
    async with server.client(alice.token) as http:
        project = (await http.post("/api/projects", json={"name": "Kitchen"})).json()["id"]
    async with mcp_client(server.address, alice.token) as client:
        added = await call(
            client, "add_task", title="Paint", project="kitchen", steps=["Buy paint", "Tape"]
        )
        assert (added["project_id"], added["steps"]) == (project, ["Buy paint", "Tape"])
        await call(client, "update_task", task_id=added["task_id"], steps=["[x] Buy paint"])
        listed = await call(client, "list_tasks", project=str(project))
        assert [task["steps"] for task in listed["tasks"]] == [["[x] Buy paint"]]
        nowhere = await call(client, "add_task", title="x", project="Nowhere")
        assert nowhere["error_code"] == "VALIDATION_ERROR"
    (messages,) = (await histories(server, alice)).values()
    async with server.client(alice.token) as http:
        await http.post(f"/api/messages/{messages[-1]['id']}/undo")
        (task,) = (await http.get("/api/tasks")).json()["tasks"]
        steps = [(step["title"], step["done"]) for step in task["steps"]]
        assert steps == [("Buy paint", False), ("Tape", False)]


@pytest.mark.parametrize(
    ("name", "agent", "title"),
    [
        ("", "Claude-User/1.0 (+https://example.com)", "Claude-User"),
        ("IDE\n\x1b[31m of 'Robert'); --", "x/1", "IDE[31m of 'Robert'); --"),
        ("", "/", "MCP client"),
        ("\u3164\u0301", "/", "MCP client"),
        ("n" * 5000, "x/1", "n" * 100),
    ],
)
async def test_a_client_is_called_what_it_says_of_itself_as_far_as_that_is_a_name(
    replicas: tuple[Server, Server], alice: Person, name: str, agent: str, title: str
) -> None:
    meta: dict[str, Any] = {}
    if name:
        meta["io.modelcontextprotocol/clientInfo"] = {"name": name, "version": "1"}
    body = request_of("tools/call", name="add_task", arguments={"title": "a"}, _meta=meta)
    async with replicas[0].client(alice.token) as http:
        answer = await post(http, "/mcp", body, **{"User-Agent": agent})
    assert answer.json()["result"]["structuredContent"]["success"] is True
    assert list(await histories(replicas[0], alice)) == [title]


async def test_each_client_has_its_conversation_and_a_deleted_one_is_followed_by_another(
    replicas: tuple[Server, Server], alice: Person
) -> None:
    server = replicas[0]

    async def add(name: str) -> None:
        async with mcp_client(server.address, alice.token, name=name) as client:
            await call(client, "add_task", title=f"From {name}")

    await add("One")
    await add("Two")
    async with server.client(alice.token) as http:
        two, one = (await http.get("/api/conversations")).json()["conversations"]
        assert (await http.delete(f"/api/conversations/{one['id']}")).status_code == 204
        assert (await http.post(f"/api/conversations/{two['id']}/archive")).status_code == 200
        await add("One")
        await add("Two")
        restored = await http.post(f"/api/conversations/{one['id']}/restore")
        assert restored.status_code == 200
        await add("One")
        listed = (await http.get("/api/conversations")).json()["conversations"]
    assert [(each["title"], each["message_count"]) for each in listed] == [
        ("One", 2),
        ("Two", 2),
        ("One", 1),
    ]


async def test_a_conversation_of_a_client_can_be_continued_by_the_person(
    replicas: tuple[Server, Server], alice: Person
) -> None:
    async with mcp_client(replicas[0].address, alice.token, name="IDE") as client:
        await call(client, "add_task", title="Ship it")
    async with replicas[0].client(alice.token) as http:
        (listed,) = (await http.get("/api/conversations")).json()["conversations"]
        body = {"conversation_id": listed["id"], "message": "Add buy milk"}
        answer = (await http.post("/api/chat", json=body)).json()
        assert answer["conversation_id"] == listed["id"]
    async with mcp_client(replicas[0].address, alice.token, name="IDE") as client:
        await call(client, "add_task", title="Ship it again")
    (messages,) = (await histories(replicas[0], alice)).values()
    assert [message["role"] for message in messages] == ["assistant", "user"] + ["assistant"] * 2


# The same call again


async def test_a_call_that_is_repeated_with_its_key_is_done_once(
    replicas: tuple[Server, Server], alice: Person, bob: Person
) -> None:
    async def add(server: Server, person: Person, title: str) -> dict[str, Any]:
        async with mcp_client(server.address, person.token, name="IDE") as client:
            return await call(client, "add_task", key="the-key", title=title)

    one, other = replicas
    answers = await asyncio.gather(*(add(server, alice, "Once") for server in replicas * 3))
    assert [answer["task_id"] for answer in answers] == [answers[0]["task_id"]] * 6
    reused = await add(one, alice, "Something else")
    assert reused["error_code"] == "VALIDATION_ERROR"
    assert (await add(other, bob, "Once"))["task_id"] != answers[0]["task_id"]
    async with one.client(alice.token) as http:
        assert (await http.get("/api/tasks")).json()["total"] == 1
        chat = {"Idempotency-Key": "the-key"}
        taken = await http.post("/api/chat", json={"message": "hi"}, headers=chat)
        assert taken.status_code == 422
    ((message,),) = (await histories(one, alice)).values()
    assert message["tool_calls"][0]["result"] == answers[0]


@pytest.mark.parametrize("key", ["k" * 256, "a\x00b", "\n"])
async def test_a_key_that_cannot_be_kept_is_told_and_nothing_is_done(
    replicas: tuple[Server, Server], alice: Person, key: str
) -> None:
    async with mcp_client(replicas[0].address, alice.token) as client:
        answer = await call(client, "add_task", key=key, title="Milk")
        assert answer["error_code"] == "VALIDATION_ERROR"
        assert (await call(client, "list_tasks"))["count"] == 0


async def test_a_hundred_calls_at_once_are_each_done_and_on_record(
    replicas: tuple[Server, Server], alice: Person
) -> None:
    async with (
        mcp_client(replicas[0].address, alice.token, name="IDE") as one,
        mcp_client(replicas[1].address, alice.token, name="IDE") as other,
    ):
        answers = await asyncio.gather(
            *(call((one, other)[n % 2], "add_task", title=f"Task {n}") for n in range(100))
        )
    assert {answer["success"] for answer in answers} == {True}
    async with replicas[0].client(alice.token) as http:
        (listed,) = (await http.get("/api/conversations")).json()["conversations"]
        assert listed["message_count"] == 100
        assert (await http.get("/api/tasks")).json()["total"] == 100


# Someone else


async def test_a_second_user_sees_and_changes_nothing(
    replicas: tuple[Server, Server], alice: Person, bob: Person
) -> None:
    async with mcp_client(replicas[0].address, alice.token) as client:
        task_id = (await call(client, "add_task", title="Alice's"))["task_id"]
    async with mcp_client(replicas[0].address, bob.token) as client:
        assert (await call(client, "list_tasks"))["tasks"] == []
        for tool in ("complete_task", "delete_task", "update_task"):
            refused = await call(client, tool, task_id=task_id, user_id=alice.id)
            assert refused["error_code"] in ("TASK_NOT_FOUND", "VALIDATION_ERROR")
    assert await histories(replicas[0], bob) == {}
    async with mcp_client(replicas[1].address, alice.token) as client:
        (task,) = (await call(client, "list_tasks"))["tasks"]
        assert (task["title"], task["completed"]) == ("Alice's", False)


async def test_several_tasks_are_changed_by_one_call_that_is_on_record_and_undone_as_one(
    replicas: tuple[Server, Server], alice: Person, bob: Person
) -> None:
    async with mcp_client(replicas[0].address, bob.token) as client:
        theirs = (await call(client, "add_task", title="Hers"))["task_id"]
    async with mcp_client(replicas[0].address, alice.token) as client:
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
        ids = [(await call(client, "add_task", title=f"T{n}"))["task_id"] for n in range(2)]
        given: dict[str, Any] = {"task_id": [*ids, theirs], "tags": ["x"], "recurrence": "daily"}
        changed = await call(client, "update_task", **given)
        done = await call(client, "complete_task", task_id=[*ids, theirs])
        gone = await call(client, "delete_task", task_id=[*ids, theirs], key="once")
        again = await call(client, "delete_task", task_id=[*ids, theirs], key="once")
        none = await call(client, "delete_task", task_id=[*ids, theirs])
        wrong = await call(client, "update_task", task_id=ids, tags=["a\x00b"])
        for name in ("tag", "search", "due"):
            listed = await call(client, "list_tasks", **{name: "a\x00b"})
            assert listed["error_code"] == "VALIDATION_ERROR", name
    named = ("update_task", "complete_task", "delete_task", "delete_task")
    for name, answer in zip(named, (changed, done, gone, none), strict=True):
        jsonschema_rs.validate(tools[name].output_schema or False, answer)
    assert (changed["tags"], changed["count"], done["count"], again) == (["x"], 2, 2, gone)
    assert [each["success"] for each in gone["results"]] == [True, True, False]
    assert (none["error_code"], wrong["error_code"]) == ("TASK_NOT_FOUND", "VALIDATION_ERROR")
    (messages,) = (await histories(replicas[1], alice)).values()
    last = messages[-1]
    assert last["tool_calls"][0]["result"] == gone
    async with replicas[1].client(alice.token) as client:
        assert (await client.post(f"/api/messages/{last['id']}/undo")).status_code == 200
        back = (await client.get("/api/tasks", params={"completed": "true"})).json()["tasks"]
    assert {task["id"] for task in back} == set(ids)
