"""Lists of conversations and of messages, page by page, and the cursors between the pages."""

import base64
import json
import re
from typing import Any

import httpx
import pytest
from agents.testing import ScriptedModel
from sqlalchemy import text

from backend.cursors import NEWEST, Position, write_cursor
from backend.tests.conversations.test_conversations import PATH, listed, make, opened
from backend.tests.conversations.test_history import conversation_of, message_in
from backend.tests.support.databases import Sessions
from backend.tests.support.scripting import says
from backend.tests.test_chat import chat


async def many(sessions: Sessions, user_id: str, number: int, *, ties: int = 1) -> list[int]:
    """Ids of conversations, newest first; `ties` of them were active at the same instant."""
    sql = """
        WITH made AS (
            INSERT INTO conversations (user_id, updated_at)
            SELECT :user, timestamptz '2026-01-01' + (n / :ties) * interval '1 microsecond'
            FROM generate_series(0, :number - 1) n RETURNING id, updated_at)
        SELECT array_agg(id ORDER BY updated_at DESC, id DESC) FROM made
    """
    async with sessions.begin() as session:
        connection = await session.connection()
        values = {"user": user_id, "number": number, "ties": ties}
        found = await connection.execute(text(sql), values)
        ids: list[int] = found.scalar_one()
    return ids


async def pages(client: httpx.AsyncClient, **query: Any) -> list[list[int]]:
    """The ids of every page, followed by `next` to the end."""
    found: list[list[int]] = []
    while True:
        answer = (await client.get(PATH, params=query)).json()
        found.append([each["id"] for each in answer["conversations"]])
        if answer["next"] is None:
            return found
        query["before"] = answer["next"]


# Pages of conversations


async def test_the_most_recently_active_come_first(
    alice: httpx.AsyncClient, model: ScriptedModel
) -> None:
    first, second = await make(alice), await make(alice)
    assert await listed(alice) == [second["id"], first["id"]]
    model.extend([says("ok")])
    await chat(alice, "on we go", conversation_id=first["id"])
    assert await listed(alice) == [first["id"], second["id"]]


async def test_twenty_come_unless_another_number_is_asked_for(
    alice: httpx.AsyncClient, alice_id: str, sessions: Sessions
) -> None:
    ids = await many(sessions, alice_id, 101)
    assert await listed(alice) == ids[:20]
    assert await listed(alice, limit=100) == ids[:100]
    assert await listed(alice, limit=1) == ids[:1]


@pytest.mark.parametrize("ties", [1, 3, 100])
@pytest.mark.parametrize("limit", [1, 2, 5, 12])
async def test_pages_hold_each_conversation_once_and_in_order_even_where_times_are_equal(
    alice: httpx.AsyncClient, alice_id: str, sessions: Sessions, limit: int, ties: int
) -> None:
    ids = await many(sessions, alice_id, 12, ties=ties)
    found = await pages(alice, limit=limit)
    assert [number for page in found for number in page] == ids
    assert {len(page) for page in found[:-1]} <= {limit}


async def test_new_activity_between_pages_repeats_and_skips_nothing_that_was_not_touched(
    alice: httpx.AsyncClient, alice_id: str, sessions: Sessions, model: ScriptedModel
) -> None:
    ids = await many(sessions, alice_id, 9, ties=4)
    first = (await alice.get(PATH, params={"limit": 3})).json()
    model.extend([says("ok")] * 3)
    for shown_or_not in (ids[1], ids[5]):
        await chat(alice, "hello", conversation_id=shown_or_not)
    await chat(alice, "a new one")
    await alice.delete(f"{PATH}/{ids[2]}")
    rest = await pages(alice, limit=3, before=first["next"])
    assert [number for page in rest for number in page] == [*ids[3:5], *ids[6:]]


async def test_the_archive_has_pages_of_its_own(
    alice: httpx.AsyncClient, alice_id: str, sessions: Sessions
) -> None:
    ids = await many(sessions, alice_id, 8)
    for number in ids[::2]:
        await alice.post(f"{PATH}/{number}/archive")
    assert await pages(alice, limit=3) == [ids[1::2][:3], ids[1::2][3:]]
    assert await pages(alice, limit=3, archived="true") == [ids[::2][:3], ids[::2][3:]]


async def test_someone_elses_cursor_shows_nothing_of_theirs(
    alice: httpx.AsyncClient, bob: httpx.AsyncClient, alice_id: str, sessions: Sessions
) -> None:
    await many(sessions, alice_id, 3)
    cursor = (await alice.get(PATH, params={"limit": 1})).json()["next"]
    assert await listed(bob, before=cursor) == []


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=101", "limit=x", "archived=perhaps", "q=%00", f"q={'x' * 201}"]
)
async def test_a_query_out_of_bounds_is_invalid(alice: httpx.AsyncClient, query: str) -> None:
    assert (await alice.get(f"{PATH}?{query}")).status_code == 422


# Cursors


def encoded(fields: Any) -> str:
    text = fields if isinstance(fields, str) else json.dumps(fields, separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


AT = "2026-01-01T00:00:00+00:00"
BROKEN = [
    *("", "x", "===", "%F0%9F%98%80", "A" * 201, "A" * 5000, "..", "bnVsbA"),
    *(encoded(text) for text in ("", "{}", "[]", "null", "[" * 100, '[1,"conversations"]')),
    encoded([1, "conversations", AT, 0]),
    encoded([1, "conversations", AT, 2**63]),
    encoded([1, "conversations", AT, True]),
    encoded([1, "conversations", AT, "1"]),
    encoded([1, "conversations", AT, 1.0]),
    encoded([1, "conversations", AT, 1, 1]),
    encoded([2, "conversations", AT, 1]),
    encoded([True, "conversations", AT, 1]),
    encoded([1, "archived", AT, 1]),
    encoded([1, "messages of 1", AT, 1]),
    encoded([1, "conversations", "2026-01-01T00:00:00", 1]),
    encoded([1, "conversations", "2026-01-01", 1]),
    encoded([1, "conversations", "2026-01-01T01:00:00+01:00", 1]),
    encoded([1, "conversations", "0000-00-00T00:00:00+00:00", 1]),
    encoded([1, "conversations", "0001-01-01T00:00:00+14:00", 1]),
    encoded([1, "conversations", "9999-12-31T23:00:00-12:00", 1]),
    encoded([1, "conversations", "2026-01-01T00:00:00+00:00:00.5", 1]),
    encoded([1, "conversations", "yesterday", 1]),
    encoded([1, "conversations", 5, 1]),
    encoded(f'[1, "conversations", "{AT}", 1]'),
    encoded([1, "conversations", AT, 1]) + "==",
]


def test_the_forged_cursors_are_near_one_that_is_good() -> None:
    good = Position(NEWEST.at.replace(2026, 1, 1, 0, 0, 0, 0), 1)
    assert encoded([1, "conversations", AT, 1]) == write_cursor("conversations", good)


@pytest.mark.parametrize("cursor", BROKEN)
async def test_a_broken_or_forged_cursor_is_invalid(alice: httpx.AsyncClient, cursor: str) -> None:
    made = await make(alice)
    for path in (PATH, f"{PATH}?archived=true", f"{PATH}/{made['id']}/messages"):
        ours = path.endswith("true") and cursor == encoded([1, "archived", AT, 1])
        between = "&" if "?" in path else "?"
        answer = await alice.get(f"{path}{between}before={cursor}")
        assert answer.status_code == (200 if ours else 422)
        if not ours:
            assert answer.json()["error"]["details"][0]["field"] == "query.before"


async def test_a_link_is_good_however_the_id_was_written(
    alice: httpx.AsyncClient, model: ScriptedModel
) -> None:
    model.extend([says("a"), says("b")])
    number = (await chat(alice, "one"))["conversation_id"]
    await chat(alice, "two", conversation_id=number)
    page = await alice.get(f"/api/conversations/0{number}/messages", params={"limit": 2})
    older = await alice.get(page.links["next"]["url"])
    assert [message["content"] for message in older.json()] == ["one", "a"]


async def test_a_cursor_is_good_for_the_list_it_came_from_alone(
    alice: httpx.AsyncClient, alice_id: str, sessions: Sessions
) -> None:
    one, other = await many(sessions, alice_id, 2)
    for number in (one, other):
        for said in ("m1", "m2"):
            await message_in(sessions, number, alice_id, "user", said)
    of_list = (await alice.get(PATH, params={"limit": 1})).json()["next"]
    of_one = (await opened(alice, one, limit=1))["next"]
    wrong = [
        (PATH, of_one),
        (f"{PATH}/{one}/messages", of_list),
        (f"{PATH}/{other}/messages", of_one),
        (f"{PATH}?archived=true", of_list),
    ]
    answers = [await alice.get(path, params=_with(path, cursor)) for path, cursor in wrong]
    assert [each.status_code for each in answers] == [422] * len(wrong)


def _with(path: str, cursor: str) -> dict[str, str]:
    given = dict(httpx.URL(path).params)
    return given | {"before": cursor}


# Pages of messages


async def older(client: httpx.AsyncClient, answer: httpx.Response) -> httpx.Response | None:
    """The page that the `Link` of an answer names."""
    if "Link" not in answer.headers:
        return None
    found = re.fullmatch(r'<(/[^>]+)>; rel="next"', answer.headers["Link"])
    assert found
    return await client.get(found[1])


@pytest.mark.parametrize("limit", [1, 2, 3, 7])
async def test_older_pages_hold_each_message_once_even_where_times_are_equal(
    alice: httpx.AsyncClient, alice_id: str, sessions: Sessions, limit: int
) -> None:
    number = await conversation_of(sessions, alice_id)
    for said in "abcdefg":
        await message_in(sessions, number, alice_id, "user", said)
    sql = """UPDATE messages SET created_at = '2026-01-01' WHERE conversation_id = :id
        AND content NOT IN ('a', 'g') RETURNING 1"""
    async with sessions.begin() as session:
        await (await session.connection()).execute(text(sql), {"id": number})
    order = "bcdefag"
    page: httpx.Response | None = await alice.get(f"{PATH}/{number}/messages?limit={limit}")
    found = ""
    while page is not None:
        found = "".join(message["content"] for message in page.json()) + found
        page = await older(alice, page)
    assert found == order


async def test_a_new_turn_between_pages_of_messages_changes_nothing_in_the_older_ones(
    alice: httpx.AsyncClient, model: ScriptedModel
) -> None:
    model.extend([says("a1"), says("a2"), says("a3")])
    number = (await chat(alice, "m1"))["conversation_id"]
    await chat(alice, "m2", conversation_id=number)
    newest = await alice.get(f"{PATH}/{number}/messages", params={"limit": 2})
    await chat(alice, "m3", conversation_id=number)
    page = await older(alice, newest)
    assert page is not None
    assert [message["content"] for message in page.json()] == ["m1", "a1"]
    assert "Link" not in page.headers


async def test_a_browser_may_read_where_the_next_page_is(alice: httpx.AsyncClient) -> None:
    answer = await alice.get(PATH, headers={"Origin": "http://localhost:3000"})
    exposed = answer.headers["Access-Control-Expose-Headers"]
    assert {"Link", "Location", "Content-Disposition"} <= set(exposed.split(", "))
