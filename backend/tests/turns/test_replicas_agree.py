"""Two replicas show one truth: random calls at either, and what the other then tells."""

from dataclasses import dataclass, field
from random import Random
from typing import Any

import httpx
import pytest
from agents.testing import ScriptedModel

from backend.tests.support.better_auth import execute
from backend.tests.support.fixtures import Run
from backend.tests.support.hunting import seeds
from backend.tests.support.scripting import calls, says
from backend.tests.support.task_calls import listed
from backend.tests.test_chat import chat, messages_of

CALLS = 40


@dataclass
class Conversation:
    """What is expected of one."""

    id: int
    title: str | None
    messages: list[str] = field(default_factory=list)
    archived: bool = False


@dataclass
class Account:
    """What a person who remembers all they did would say is there."""

    conversations: list[Conversation] = field(default_factory=list)
    """The most recently active first."""
    tasks: dict[int, str] = field(default_factory=dict)
    added: dict[int, int] = field(default_factory=dict)
    """The task that each message that can be undone has added."""


async def write(
    client: httpx.AsyncClient, model: ScriptedModel, account: Account, into: Conversation | None
) -> None:
    """A message that adds a task, in a conversation or a new one."""
    title = f"Task {len(account.tasks) + len(account.added)}"
    model.extend([calls("add_task", {"title": title}), says(f"Added {title}.")])
    turn = await chat(client, f"Add {title}", conversation_id=into.id if into else None)
    message = (await messages_of(client, turn["conversation_id"]))[-1]
    task_id = turn["tool_calls"][0]["result"]["task_id"]
    account.tasks[task_id], account.added[message["id"]] = title, task_id
    # what is written by rule names a new one after its first message
    into = into or Conversation(turn["conversation_id"], f"Add {title}")
    into.messages += [f"Add {title}", f"Added {title}."]
    into.archived = False
    account.conversations = [into, *(each for each in account.conversations if each is not into)]


async def ok(client: httpx.AsyncClient, method: str, path: str, body: object = None) -> Any:
    answer = await client.request(method, path, json=body)
    assert answer.is_success, answer.text
    return answer.json() if answer.content else None


async def some_call(
    random: Random, client: httpx.AsyncClient, model: ScriptedModel, account: Account
) -> None:
    """One call at `client`, taken down in `account`."""
    one = random.choice(account.conversations) if account.conversations else None
    path = f"/api/conversations/{one.id}" if one else ""
    match random.choice(["write", "go on", "go on", "rename", "archive", "delete", "undo"]):
        case "rename" if one:
            one.title = f"Title {random.randrange(100)}"
            await ok(client, "PATCH", path, {"title": one.title})
        case "archive" if one:
            one.archived = not one.archived
            await ok(client, "POST", f"{path}/{'archive' if one.archived else 'unarchive'}")
        case "delete" if one and random.random() < 0.4:
            account.conversations.remove(one)
            await ok(client, "DELETE", path)
            kept = {
                message["id"]
                for each in account.conversations
                for message in await messages_of(client, each.id)
            }
            account.added = {id_: task for id_, task in account.added.items() if id_ in kept}
        case "undo" if account.added:
            message_id = random.choice(list(account.added))
            await ok(client, "POST", f"/api/messages/{message_id}/undo")
            del account.tasks[account.added.pop(message_id)]
        case "go on":
            await write(client, model, account, one)
        case _:
            await write(client, model, account, None)


async def assert_told(client: httpx.AsyncClient, account: Account, random: Random) -> None:
    """What this replica tells is what the account says."""
    for archived in (False, True):
        page = await ok(client, "GET", f"/api/conversations?limit=100&archived={archived}")
        assert [
            (each["id"], each["title"], each["message_count"]) for each in page["conversations"]
        ] == [
            (each.id, each.title, len(each.messages))
            for each in account.conversations
            if each.archived is archived
        ]
    tasks = {task["id"]: task["title"] for task in await listed(client)}
    assert tasks == account.tasks
    if account.conversations:
        one = random.choice(account.conversations)
        history = await messages_of(client, one.id)
        assert [message["content"] for message in history] == one.messages[-50:]


@pytest.mark.parametrize("seed", seeds(2))
async def test_whatever_is_done_at_one_is_what_the_other_tells(
    alice: httpx.AsyncClient, model: ScriptedModel, run: Run, seed: int
) -> None:
    random, account = Random(seed), Account()
    limits = dict.fromkeys(
        ("rate_limit_chat", "rate_limit_history", "rate_limit_tasks"), "1000/minute"
    )
    async with run(alice, **limits) as one, run(alice, **limits) as two:
        for _ in range(CALLS):
            here, there = random.sample([one, two], 2)
            await some_call(random, here, model, account)
            await assert_told(there, account, random)


async def test_whoever_signs_out_is_signed_out_of_both(
    alice: httpx.AsyncClient, alice_id: str, run: Run, shared_database_url: str
) -> None:
    async with run(alice) as one, run(alice) as two:
        assert [(await each.get("/api/tasks")).status_code for each in (one, two)] == [200, 200]
        await execute(shared_database_url, 'DELETE FROM "session" WHERE "userId" = %s', alice_id)
        assert [(await each.get("/api/tasks")).status_code for each in (one, two)] == [401, 401]
