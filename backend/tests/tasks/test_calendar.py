"""The calendar feed, read as a calendar reads it: by real parsers of the format."""

from datetime import UTC, date, datetime, timedelta
from time import process_time
from typing import Any
from zoneinfo import ZoneInfo

import httpx
import pytest
import recurring_ical_events  # type: ignore[import-untyped]
from icalendar import Calendar
from sqlalchemy import text

from backend.tests.support.databases import Sessions, statements_sent
from backend.tests.support.fixtures import Run
from backend.tests.support.task_calls import add, change, toggle
from backend.tests.tasks.test_task_pages import many

FEED = "/api/calendar"


async def feed(client: httpx.AsyncClient) -> str:
    """The path of a new feed."""
    answer = await client.post(FEED)
    assert answer.status_code == 201, answer.text
    path: str = answer.json()["path"]
    assert answer.json()["url"] == f"http://test{path}"
    return path


async def read(client: httpx.AsyncClient, path: str) -> Calendar:
    answer = await client.get(path)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "text/calendar; charset=utf-8"
    calendar = Calendar.from_ical(answer.content)
    assert not calendar.errors
    assert all(len(line) <= 75 for line in answer.content.split(b"\r\n"))
    return calendar


def by_title(calendar: Calendar) -> dict[str, Any]:
    return {str(each["SUMMARY"]): each for each in calendar.walk() if "SUMMARY" in each}


async def test_a_feed_is_made_shown_once_made_anew_and_revoked(
    alice: httpx.AsyncClient, client: httpx.AsyncClient
) -> None:
    assert (await alice.get(FEED)).json() == {"created_at": None}
    first = await feed(alice)
    assert (await alice.get(FEED)).json()["created_at"]
    await read(client, first)
    second = await feed(alice)
    assert (await client.get(first)).status_code == 404
    await read(client, second)
    assert (await alice.delete(FEED)).status_code == 204
    answer = await client.get(second)
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "FEED_NOT_FOUND")
    assert (await alice.delete(FEED)).status_code == 204


async def test_the_secret_is_not_in_the_database(
    alice: httpx.AsyncClient, alice_id: str, sessions: Sessions
) -> None:
    secret = (await feed(alice)).rpartition("/")[2].removesuffix(".ics")
    async with sessions() as session:
        sql = "SELECT secret_hash FROM calendar_feeds WHERE user_id = :owner"
        found = await (await session.connection()).execute(text(sql), {"owner": alice_id})
    assert secret not in found.scalar_one()
    assert len(secret) >= 40


async def test_a_feed_shows_its_owners_open_and_due_tasks_alone(
    alice: httpx.AsyncClient, bob: httpx.AsyncClient, client: httpx.AsyncClient
) -> None:
    shown = "Pay rent; now, or \\ never \u2028 ümläut " + "x" * 100
    task = await add(
        alice,
        shown,
        description="line\none, two",
        due_date="2026-12-01T09:00:00Z",
        tags=["home", "a,b"],
        priority="high",
        steps=[{"title": "find it", "done": True}],
    )
    await add(alice, "not due")
    await toggle(alice, await add(alice, "done", due_date="2026-12-01"))
    await add(bob, "theirs", due_date="2026-12-01")
    events = by_title(await read(client, await feed(alice)))
    assert list(events) == [shown]
    event = events[shown]
    assert event.name == "VEVENT"
    assert event["UID"] == f"task-{task['id']}@todo-chat"
    assert event["DESCRIPTION"] == "line\none, two\n[x] find it"
    assert [str(each) for each in event.categories] == ["home", "a,b"]
    assert event["PRIORITY"] == 1
    assert event["DTSTART"].dt == datetime(2026, 12, 1, 9, tzinfo=UTC)
    (alarm,) = event.subcomponents
    assert alarm["TRIGGER"].dt == timedelta(minutes=-10)


async def test_a_day_is_all_day_and_a_to_do_is_one_where_that_is_asked_for(
    alice: httpx.AsyncClient, client: httpx.AsyncClient
) -> None:
    await add(alice, "day", due_date="2026-12-01")
    path = await feed(alice)
    event = by_title(await read(client, path))["day"]
    assert event["DTSTART"].dt == date(2026, 12, 1)
    todo = by_title(await read(client, f"{path}?form=todos"))["day"]
    assert (todo.name, todo["DUE"].dt, todo["STATUS"]) == (
        "VTODO",
        date(2026, 12, 1),
        "NEEDS-ACTION",
    )
    assert (await client.get(f"{path}?form=songs")).status_code == 422


@pytest.mark.parametrize(
    ("due", "pattern", "expected"),
    [
        (
            "2026-03-27T09:00:00+01:00",
            "daily",
            ["2026-03-27T09:00", "2026-03-28T09:00", "2026-03-29T09:00", "2026-03-30T09:00"],
        ),
        ("2026-10-20T18:00:00+02:00", "weekly", ["2026-10-20T18:00", "2026-10-27T18:00"]),
        (
            "2026-01-31T08:00:00+01:00",
            "monthly",
            ["2026-01-31T08:00", "2026-02-28T08:00", "2026-03-31T08:00", "2026-04-30T08:00"],
        ),
        ("2028-01-29T08:00:00+01:00", "monthly", ["2028-01-29T08:00", "2028-02-29T08:00"]),
    ],
)
async def test_a_series_comes_round_by_its_own_clock_in_a_calendar_too(
    due: str,
    pattern: str,
    expected: list[str],
    alice: httpx.AsyncClient,
    client: httpx.AsyncClient,
) -> None:
    sent = {"title": "series", "due_date": due, "recurrence_pattern": pattern}
    await alice.post("/api/tasks", json=sent, headers={"X-Timezone": "Europe/Berlin"})
    calendar = await read(client, await feed(alice))
    first, last = datetime.fromisoformat(expected[0]), datetime.fromisoformat(expected[-1])
    found = recurring_ical_events.of(calendar).between(first.date(), last + timedelta(hours=20))
    berlin = ZoneInfo("Europe/Berlin")
    times = sorted(each["DTSTART"].dt.astimezone(berlin) for each in found)
    assert [f"{at:%Y-%m-%dT%H:%M}" for at in times] == expected


async def test_a_series_of_days_comes_round_by_the_calendar(
    alice: httpx.AsyncClient, client: httpx.AsyncClient
) -> None:
    await add(alice, "rent", due_date="2026-01-31", recurrence_pattern="monthly")
    calendar = await read(client, await feed(alice))
    found = recurring_ical_events.of(calendar).between((2026, 1, 1), (2026, 5, 2))
    days = sorted(each["DTSTART"].dt for each in found)
    assert days == [date(2026, 1, 31), date(2026, 2, 28), date(2026, 3, 31), date(2026, 4, 30)]


async def test_the_etag_stays_while_nothing_changes_and_spares_the_rest(
    alice: httpx.AsyncClient, client: httpx.AsyncClient
) -> None:
    task = await add(alice, due_date="2026-12-01")
    path = await feed(alice)
    first = await client.get(path)
    etag = first.headers["ETag"]
    assert (await client.get(path)).content == first.content
    with statements_sent() as statements:
        same = await client.get(path, headers={"If-None-Match": f'"x", {etag}'})
    assert (same.status_code, same.content, same.headers["ETag"]) == (304, b"", etag)
    assert len(statements) == 1
    await change(alice, task, title="Other")
    changed = await client.get(path, headers={"If-None-Match": etag})
    assert changed.status_code == 200
    undated = {"title": "Elsewhere"}
    await alice.post("/api/tasks", json=undated, headers={"X-Timezone": "Asia/Karachi"})
    elsewhere = await client.get(path)
    await alice.delete(f"/api/tasks/{task['id']}")
    tags = [each.headers["ETag"] for each in (first, changed, elsewhere, await client.get(path))]
    assert len({*tags}) == 4


async def test_guessed_secrets_are_counted_and_refused(alice: httpx.AsyncClient, run: Run) -> None:
    async with run(alice, rate_limit_sign_in="3/minute") as limited:
        path = await feed(limited)
        guesses = [f"{FEED}/{guess}.ics" for guess in ("x", "y" * 43, "%00", "z" * 500)]
        answers = [await limited.get(guess) for guess in guesses]
        assert [answer.status_code for answer in answers] == [404, 404, 404, 429]
        assert int(answers[-1].headers["Retry-After"]) > 0
        await read(limited, path)


@pytest.mark.e2e
async def test_a_calendar_of_five_thousand_is_read_fast(
    alice: httpx.AsyncClient, alice_id: str, client: httpx.AsyncClient, sessions: Sessions
) -> None:
    await many(
        sessions,
        alice_id,
        6250,  # a fifth of them is done
        due_date="timestamptz '2026-01-01Z' + n * interval '1 hour'",
        description="repeat('notes ', 20)",
    )
    path = await feed(alice)
    assert len(by_title(await read(client, path))) == 5000
    took: list[float] = []
    while not took or (min(took) >= 0.3 and len(took) < 3):
        begun = process_time()
        assert (await client.get(path)).status_code == 200
        took.append(process_time() - begun)
    assert min(took) < 0.3
