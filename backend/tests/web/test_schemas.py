"""The bounds of a task's fields and the ways to break them, on create and on update alike."""

from datetime import UTC, datetime, timedelta, timezone

import httpx
import pytest

from backend.schemas.fields import iso_utc
from backend.tasks.dates import due_text
from backend.tasks.fields import TaskCreate
from backend.tests.support.task_calls import add, change, listed

JSON = {"Content-Type": "application/json"}


async def refused(alice: httpx.AsyncClient, body: bytes) -> str:
    """The field named by the 422 that `body` gets from POST and from PUT; nothing changes."""
    task = await add(alice)
    fields = set()
    for method, path in (("POST", "/api/tasks"), ("PUT", f"/api/tasks/{task['id']}")):
        answer = await alice.request(method, path, content=body, headers=JSON)
        assert answer.status_code == 422, answer.text
        assert answer.json()["error"]["code"] == "VALIDATION_ERROR"
        fields |= {fault["field"] for fault in answer.json()["error"]["details"] or []}
    assert await listed(alice) == [task]
    return ",".join(sorted(fields))


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ("x" * 200, "x" * 200),
        (f"  {'x' * 200}\n", "x" * 200),
        ("\U0001f95b" * 200, "\U0001f95b" * 200),
        (" Buy milk ", "Buy milk"),
        ("'; DROP TABLE tasks; --", "'; DROP TABLE tasks; --"),
    ],
)
async def test_a_title_is_trimmed_and_at_most_200_characters(
    sent: str, kept: str, alice: httpx.AsyncClient
) -> None:
    task = await add(alice, sent)
    assert task["title"] == kept
    assert (await change(alice, task, title=sent))["title"] == kept


UNSEEN = {
    "zero width space": "\u200b",
    "byte order mark": "\ufeff",
    "filler of Hangul": "\u3164",
    "bell": "\x07",
    "a mark alone": "\u0301\u0308",
    "blank of Braille": "\u2800",
    "half-width filler": "\uffa0",
    "tags and selectors": "\U000e0041\ufe0f\u180e",
    "order of writing": "\u202e\u2066 \u2069",
    "joiners between blanks": "\u200d\u3000\u2060",
}


@pytest.mark.parametrize("unseen", UNSEEN.values(), ids=UNSEEN)
async def test_a_title_and_a_tag_must_show_something(unseen: str, alice: httpx.AsyncClient) -> None:
    task = await add(alice, f"{unseen}x")
    refused = (
        await alice.post("/api/tasks", json={"title": unseen}),
        await alice.put(f"/api/tasks/{task['id']}", json={"title": unseen}),
        await alice.post("/api/tasks", json={"title": "Buy tea", "tags": ["home", unseen]}),
        await alice.post("/api/conversations", json={"title": unseen}),
    )
    assert [answer.status_code for answer in refused] == [422] * 4
    assert await listed(alice) == [task]


@pytest.mark.parametrize("unseen", UNSEEN.values(), ids=UNSEEN)
async def test_a_message_must_show_something_on_each_way_in(
    unseen: str, alice: httpx.AsyncClient
) -> None:
    part = {"type": "text", "text": unseen}
    ui = {"id": "c1", "message": {"id": "m1", "role": "user", "parts": [part, part]}}
    refused = (
        await alice.post("/api/chat", json={"message": f" {unseen} "}),
        await alice.post("/api/conversations/1/chat", json={"content": unseen}),
        await alice.post("/api/messages/1/edit", json={"content": unseen}),
        await alice.post("/api/ui/chat", json=ui),
    )
    assert [answer.status_code for answer in refused] == [422] * 4
    assert (await alice.get("/api/conversations")).json()["conversations"] == []


@pytest.mark.parametrize(
    "title", ["🏳️‍🌈", "ก็", "नि", "\u0e33", "…", "¶", "ﷺ", "\ue000", "\U0001fae9"]
)
async def test_a_title_of_one_sign_that_is_seen_is_enough(
    title: str, alice: httpx.AsyncClient
) -> None:
    assert (await add(alice, title, tags=[title]))["title"] == title


async def test_a_title_is_needed_to_create(alice: httpx.AsyncClient) -> None:
    answer = await alice.post("/api/tasks", json={"description": "of nothing"})
    assert answer.status_code == 422
    assert answer.json()["error"]["details"] == [
        {"field": "title", "message": "Field required", "type": "missing"}
    ]


async def test_a_description_is_at_most_1000_characters(alice: httpx.AsyncClient) -> None:
    assert (await add(alice, description="x" * 1000))["description"] == "x" * 1000
    assert (await add(alice, description=" kept \n"))["description"] == " kept \n"
    assert (await add(alice, description=None))["description"] == ""


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ([" Home ", "HOME", "", "  ", "work", "home"], ["home", "work"]),
        (["b", "a", "B"], ["b", "a"]),
        ([f"tag {n}" for n in range(20)], [f"tag {n}" for n in range(20)]),
        (["x"] * 50, ["x"]),
        ([f" {'X' * 50} "], ["x" * 50]),
        (None, []),
    ],
)
async def test_tags_are_trimmed_lower_cased_and_without_doubles(
    sent: object, kept: list[str], alice: httpx.AsyncClient
) -> None:
    task = await add(alice, tags=sent)
    assert task["tags"] == kept
    assert (await change(alice, task, tags=sent))["tags"] == kept


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ("2026-01-31", "2026-01-31T12:00:00Z"),
        ("2026-01-31T10:30", "2026-01-31T10:30:00Z"),
        ("2026-01-31 10:30:15", "2026-01-31T10:30:15Z"),
        ("2026-01-31T10:30:15.250Z", "2026-01-31T10:30:15.250000Z"),
        ("2026-01-31T10:30:00+05:30", "2026-01-31T05:00:00Z"),
        ("2026-01-31T23:30:00-08:00", "2026-02-01T07:30:00Z"),
        (" 2026-01-31 ", "2026-01-31T12:00:00Z"),
        ("2028-02-29", "2028-02-29T12:00:00Z"),
        ("0001-01-01", "0001-01-01T12:00:00Z"),
        ("9999-12-31T23:59:59.999999Z", "9999-12-31T23:59:59.999999Z"),
        ("", None),
        ("  ", None),
        (None, None),
    ],
)
async def test_a_due_date_leaves_in_utc(
    sent: str | None, kept: str | None, alice: httpx.AsyncClient
) -> None:
    task = await add(alice, due_date=sent)
    assert task["due_date"] == kept
    assert (await change(alice, task, due_date=sent))["due_date"] == kept
    assert (await change(alice, task, due_date=kept))["due_date"] == kept
    assert [task["due_date"] for task in await listed(alice)] == [kept]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("title", '""'),
        ("title", '" \\t\\n "'),
        ("title", f'"{"x" * 201}"'),
        ("title", "null"),
        ("title", "1"),
        ("title", '["Buy milk"]'),
        ("title", '"a\\u0000b"'),
        ("title", '"a\\ud800b"'),
        ("description", f'"{"x" * 1001}"'),
        ("description", "{}"),
        ("description", '"\\u0000"'),
        ("description", '"\\udfff"'),
        ("priority", '"HIGH"'),
        ("priority", '"urgent"'),
        ("priority", '""'),
        ("priority", "1"),
        ("priority", '"\\ud800"'),
        ("recurrence_pattern", '"Daily"'),
        ("recurrence_pattern", '"yearly"'),
        ("recurrence_pattern", "true"),
        ("due_date", '"tomorrow"'),
        ("due_date", '"2026-02-30"'),
        ("due_date", '"2026-13-01"'),
        ("due_date", '"2026-01-01T25:00"'),
        ("due_date", '"10000-01-01"'),
        ("due_date", '"0000-01-01"'),
        ("due_date", '"9999-12-31T23:59:59-01:00"'),
        ("due_date", '"0001-01-01T00:00:00+01:00"'),
        ("due_date", '"1767225600"'),
        ("due_date", '"20260101"'),
        ("due_date", '"2026-01-01\\u0000"'),
        ("due_date", '"\\ud800"'),
        ("due_date", "1767225600"),
        ("due_date", "1e400"),
        ("due_date", "NaN"),
        ("due_date", "true"),
        ("due_date", "[]"),
        ("tags", '"home"'),
        ("tags", "{}"),
        ("tags", str([f"tag {n}" for n in range(21)]).replace("'", '"')),
        ("tags", f'["{"x" * 51}"]'),
    ],
)
async def test_a_value_past_its_bounds_is_refused(
    field: str, value: str, alice: httpx.AsyncClient
) -> None:
    title = "" if field == "title" else '"title": "Buy tea", '
    assert await refused(alice, f'{{{title}"{field}": {value}}}'.encode()) == field


@pytest.mark.parametrize(
    "tags", ["[null]", "[1]", '[["a"]]', '["a\\u0000"]', '["\\ud800"]', '["\\ud83d", "\\ude00"]']
)
async def test_a_tag_that_is_no_text_is_refused(tags: str, alice: httpx.AsyncClient) -> None:
    field = await refused(alice, f'{{"title": "Buy tea", "tags": {tags}}}'.encode())
    assert field.split(".")[0] == "tags"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"title=Buy+tea",
        b"null",
        b"[]",
        b'"Buy tea"',
        b"1",
        b'{"title": "Buy \xff tea"}',
        b'{"title": "Buy \xed\xa0\x80 tea"}',
        b'{"title": "Buy \x00 tea"}',
        b"\xff\xfe\x00",
        b'{"title": ' + b"[" * 20000,
        b'{"title": "Buy tea", "due_date": ' + b"9" * 5000 + b"}",
    ],
)
async def test_a_body_that_is_no_json_object_is_refused(
    body: bytes, alice: httpx.AsyncClient
) -> None:
    await refused(alice, body)


async def test_unknown_fields_are_ignored_whatever_they_hold(alice: httpx.AsyncClient) -> None:
    body = b'{"title": "Buy tea", "x": "\\u0000", "\\ud800": "\\ud800", "y": NaN, "z": {"a": []}}'
    answer = await alice.post("/api/tasks", content=body, headers=JSON)
    assert (answer.status_code, answer.json()["title"]) == (201, "Buy tea")


async def test_a_refusal_never_quotes_what_was_sent(alice: httpx.AsyncClient) -> None:
    body = {"title": "", "priority": "hunter2", "due_date": "hunter2", "tags": "hunter2"}
    answer = await alice.post("/api/tasks", json=body)
    assert answer.status_code == 422
    assert "hunter2" not in answer.text


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (None, None),
        (datetime(2026, 1, 31, tzinfo=UTC), "2026-01-31T00:00:00Z"),
        (datetime(2026, 1, 31), "2026-01-31T00:00:00Z"),  # noqa: DTZ001
        (datetime(2026, 1, 31, 1, tzinfo=timezone(timedelta(hours=2))), "2026-01-30T23:00:00Z"),
    ],
)
def test_a_time_is_written_in_utc(value: datetime | None, written: str | None) -> None:
    assert iso_utc(value) == written
    assert due_text(TaskCreate(title="Buy milk", due_date=value).due_date) == written
