"""Tasks as files: what goes out comes in again, what others write is understood or named."""

import csv
import io
import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from backend.database import Sessions as OwnSessions
from backend.tasks.transfer import drafts, store
from backend.tests.support.rows import fingerprint
from backend.tests.support.task_calls import add, listed

PATH = "/api/transfer/tasks"
NASTY = [
    "=HYPERLINK(1)",
    "+1",
    "-1",
    "@SUM(A1)",
    "'=quoted",
    "''-twice",
    "\uff1d1",
    'say "hi", twice',
    "two\nlines",
    "a;b,c\td",
    "Ärger 🎉",
    "[x] done?",
]


async def exported(client: httpx.AsyncClient, form: str) -> bytes:
    answer = await client.get(PATH, params={"format": form})
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-disposition"] == f'attachment; filename="tasks.{form}"'
    return answer.content


async def sent(client: httpx.AsyncClient, file: bytes | str, **query: Any) -> httpx.Response:
    content = file.encode() if isinstance(file, str) else file
    return await client.post(PATH, content=content, params=query)


async def taken(client: httpx.AsyncClient, file: bytes | str, **query: Any) -> dict[str, Any]:
    """What is told of a file that is taken in, which the dry run before has told as well."""
    tried = await sent(client, file, **query)
    assert tried.status_code == 200, tried.text
    answer = await sent(client, file, dry_run=False, **query)
    assert answer.status_code == 200, answer.text
    told: dict[str, Any] = answer.json()
    assert {**tried.json(), "dry_run": False} == told
    return told


async def shown(client: httpx.AsyncClient) -> list[dict[str, Any]]:
    """The person's tasks without what each database gives anew, projects by their names."""
    projects = (await client.get("/api/projects")).json()["projects"]
    names = {each["id"]: each["name"] for each in projects}
    tasks = await listed(client)
    for task in tasks:
        task["project"] = names.get(task.pop("project_id"))
        for step in task["steps"]:
            step.pop("id")
        for name in ("id", "user_id", "updated_at"):
            task.pop(name)
    return tasks


async def fill(client: httpx.AsyncClient) -> None:
    project = (await client.post("/api/projects", json={"name": "=Home, sweet"})).json()["id"]
    for title in NASTY:
        await add(
            client,
            title,
            description=f"{title}\n{title}",
            tags=[title[:20], "plain"],
            steps=[{"title": title, "done": True}, {"title": "Plain"}],
            project_id=project,
        )
    await add(client, "On a day", due_date="2026-12-01", recurrence_pattern="weekly")
    done = await add(client, "At a time", due_date="2026-12-01T09:30:00+02:00", priority="high")
    await client.patch(f"/api/tasks/{done['id']}/complete")


@pytest.mark.parametrize("form", ["csv", "json"])
async def test_what_goes_out_comes_in_again_as_it_was_for_another_too(
    alice: httpx.AsyncClient, bob: httpx.AsyncClient, form: str
) -> None:
    await fill(alice)
    file = await exported(alice, form)
    told = await taken(bob, file)
    assert (told["form"], told["tasks"], told["faults"]) == (form, len(NASTY) + 2, [])
    assert (told["projects"], told["left_out"]) == (["=Home, sweet"], [])
    assert await shown(bob) == await shown(alice)
    assert await exported(bob, form) == file


async def test_a_spreadsheet_finds_no_formula_in_what_goes_out(alice: httpx.AsyncClient) -> None:
    await fill(alice)
    rows = csv.reader(io.StringIO((await exported(alice, "csv")).decode(), newline=""))
    assert not [cell for row in rows for cell in row if cell[:1] in tuple("=+-@\t\r\uff1d")]


async def test_the_download_of_an_account_brings_its_tasks(
    alice: httpx.AsyncClient, bob: httpx.AsyncClient
) -> None:
    await fill(alice)
    whole = (await alice.get("/api/account/export")).content
    assert (await taken(bob, whole))["tasks"] == len(NASTY) + 2
    assert [task["title"] for task in await shown(bob)] == [
        task["title"] for task in await shown(alice)
    ]


async def test_nobody_elses_tasks_go_out_or_change(
    alice: httpx.AsyncClient, bob: httpx.AsyncClient, bob_id: str, shared_database_url: str
) -> None:
    await bob.post("/api/projects", json={"name": "Work"})
    await add(bob, "Bob's")
    before = await fingerprint(shared_database_url, bob_id)
    told = await taken(alice, "title,project\nMine,Work\n")
    assert told["projects"] == ["Work"]  # that of another is none of hers
    assert b"Bob's" not in await exported(alice, "csv")
    assert await fingerprint(shared_database_url, bob_id) == before


async def test_a_dry_run_and_a_file_with_one_bad_line_do_nothing(
    alice: httpx.AsyncClient, alice_id: str, shared_database_url: str
) -> None:
    before = await fingerprint(shared_database_url, alice_id)
    file = (
        "title,priority,due_date,completed,tags,steps\n"
        "Good,high,2026-12-01,no,,\n"
        ",low,,,,\n"
        'Bad,urgent,soon,maybe,"' + ",".join(map(str, range(21))) + '",\n'
        f"{'x' * 201},,,,,\n"
    )
    told = (await sent(alice, file)).json()
    assert (told["tasks"], told["fault_count"], told["dry_run"]) == (1, 6, True)
    assert {(each["line"], each["field"]) for each in told["faults"]} == {
        *((3, "title"), (4, "priority"), (4, "due_date"), (4, "completed"), (4, "tags")),
        (5, "title"),
    }
    assert all(each["reason"] for each in told["faults"])
    refused = await sent(alice, file, dry_run=False)
    assert refused.status_code == 422
    error = refused.json()["error"]
    assert "line 3: title" in {each["field"] for each in error["details"]}
    assert await fingerprint(shared_database_url, alice_id) == before


TODOIST = Path(__file__).with_name("samples") / "todoist.csv"


async def test_todoists_file_is_taken_and_what_has_no_place_here_is_named(
    alice: httpx.AsyncClient,
) -> None:
    told = await taken(alice, TODOIST.read_bytes(), project="Home")
    assert (told["form"], told["tasks"], told["projects"]) == ("todoist", 5, ["Home"])
    left = {each["what"]: each["lines"] for each in told["left_out"]}
    assert left == {
        "how long it takes": [3],
        "who is responsible": [8],
        "a deadline beside the date": [8],
        "the date 'next tuesday or so', which is said in words": [11],
    }
    tasks = {task["title"]: task for task in await shown(alice)}
    assert next(iter(tasks)) == "Repot the basil"
    basil = tasks["Repot the basil"]
    assert basil["tags"] == ["garden", "weekend"]
    assert basil["steps"] == [{"title": "Buy compost", "done": False}]
    assert basil["description"] == "From the shed\n\nGet the peat-free one"
    assert (basil["priority"], basil["project"]) == ("high", "Home")
    assert basil["due_date"] == "2026-10-05T12:00:00Z"
    assert tasks["Call the bank"]["due_date"] == "2026-10-06T13:30:00Z"
    assert tasks["Call the bank"]["tags"] == ["weekly"]
    patterns = {title: task["recurrence_pattern"] for title, task in tasks.items()}
    assert (patterns["Stretch"], patterns["Water the ferns"]) == ("daily", "weekly")
    assert (patterns["Something"], tasks["Something"]["due_date"]) == ("none", None)


TICKTICK = Path(__file__).with_name("samples") / "ticktick.csv"


async def test_tickticks_file_is_taken_and_what_has_no_place_here_is_named(
    alice: httpx.AsyncClient,
) -> None:
    told = await taken(alice, TICKTICK.read_bytes())
    assert (told["form"], told["tasks"], told["projects"]) == ("ticktick", 3, ["Sport"])
    left = {each["what"] for each in told["left_out"]}
    assert left == {
        *("the folder of a list", "reminders", "when it begins"),
        "the repetition 'RRULE:FREQ=WEEKLY;INTERVAL=2;BYDAY=MO,TU'",
    }
    tasks = {task["title"]: task for task in await shown(alice)}
    milk, morning, run = tasks["Buy milk"], tasks["Morning"], tasks["Run"]
    assert (milk["project"], milk["tags"], milk["priority"]) == (None, ["food", "home"], "medium")
    assert milk["due_date"] == "2026-07-20T12:00:00Z"  # all day, by the clock of Berlin
    assert milk["steps"] == [{"title": "Oat milk", "done": True}]
    assert milk["created_at"] == "2026-07-18T08:00:00Z"
    assert morning["steps"] == [
        {"title": "Exercise", "done": False},
        {"title": "Meditate", "done": True},
    ]
    assert (morning["tags"], morning["recurrence_pattern"]) == (["plans"], "daily")
    assert (run["completed"], run["recurrence_pattern"]) == (True, "none")


ENCODINGS = {
    "with a mark": "title\nÄrger\n".encode("utf-8-sig"),
    "UTF-16": "title\tpriority\r\nÄrger\thigh\r\n".encode("utf-16"),
    "semicolons": "title;priority\r\nÄrger;high\r\n".encode(),
    "old line ends": "title\rÄrger\r".encode(),
    "empty lines": "\n\ntitle\n\nÄrger\n,,\n".encode(),
}


@pytest.mark.parametrize("kind", ENCODINGS)
async def test_a_spreadsheets_ways_to_write_a_file_are_read(
    kind: str, alice: httpx.AsyncClient
) -> None:
    await taken(alice, ENCODINGS[kind])
    assert [task["title"] for task in await listed(alice)] == ["Ärger"]


UNREADABLE = {
    "latin 1": ("title\nMilk\nÄrger\n".encode("latin-1"), "line 3: not UTF-8"),
    "NUL": (b"title\nMi\0lk\n", "line 2: holds NUL"),
    "an open quote": (b'title\nGood\n"Milk\nand more\n', "line "),
    "a stray quote": (b'title\n"Milk"s\n', "line 2: "),
    "too many cells": (b"title,tags\nMilk,home,and more\n", "line 2: more cells than columns"),
    "no columns": (b"milk\nbread\n", "no line names the columns title"),
    "nothing": (b"", "no line names the columns title"),
    "half of JSON": (b'{"tasks": [', "line 1: not JSON"),
    "deep JSON": (b"[" * 100_000, "not JSON"),
    "JSON without tasks": (b"{}", "no list of tasks"),
    "a cell without end": (b"title\n" + b"x" * 140_000, "line 2: "),
    "too many tasks": (b"title\n" + b"Milk\n" * (drafts.ROWS_MAX + 1), "at most 5000 tasks"),
}


@pytest.mark.parametrize("kind", UNREADABLE)
async def test_a_file_that_cannot_be_read_is_refused_with_the_reason(
    kind: str, alice: httpx.AsyncClient
) -> None:
    file, reason = UNREADABLE[kind]
    for dry_run in (True, False):
        answer = await sent(alice, file, dry_run=dry_run)
        assert answer.status_code == 422, answer.text
        (detail,) = answer.json()["error"]["details"]
        assert reason in detail["message"]
    assert await listed(alice) == []


async def test_any_json_is_taken_or_named_and_breaks_nothing(alice: httpx.AsyncClient) -> None:
    odd: list[Any] = [None, 5, "x", [], {}, True, {"a": [1]}, 1e300, "2026-01-01", "\ud800"]
    names = ("title", "description", "priority", "due_date", "tags", "steps", "project")
    more = ("project_id", "recurrence_pattern", "time_zone", "created_at", "completed_at")
    tasks = [{"title": "Fine", name: value} for name in (*names, *more) for value in odd]
    answer = await sent(alice, json.dumps({"tasks": [*tasks, *odd], "projects": odd}))
    assert answer.status_code == 200, answer.text
    assert answer.json()["fault_count"] > 50


async def test_10_megabytes_are_refused(alice: httpx.AsyncClient) -> None:
    answer = await sent(alice, b"title\n" + b"Milk\n" * 2_000_000)
    assert answer.status_code == 413


async def test_a_person_has_so_many_tasks_at_the_most(
    alice: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch, own_sessions: OwnSessions
) -> None:
    monkeypatch.setattr(store, "TASKS_MAX", 3)
    await taken(alice, "title\nOne\nTwo\n")
    for dry_run in (True, False):
        answer = await sent(alice, "title\nThree\nFour\n", dry_run=dry_run)
        assert answer.status_code == 422
        assert "there may be 3" in answer.json()["error"]["message"]
    assert len(await listed(alice)) == 2


async def test_without_a_session_nothing_goes_out_or_in(client: httpx.AsyncClient) -> None:
    assert (await client.get(PATH)).status_code == 401
    assert (await sent(client, "title\nx\n")).status_code == 401
