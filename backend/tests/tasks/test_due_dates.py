"""A due date that has no hour: known as a day, whatever it has to look like on its way."""

from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import httpx
import pytest
from agents.testing import ScriptedModel
from sqlalchemy import text

from backend.database import Sessions as OwnSessions
from backend.models import utc_now
from backend.tasks.open_tasks import open_tasks
from backend.tests.support.databases import Sessions
from backend.tests.support.scripting import calls, given, outputs, says
from backend.tests.support.task_calls import add, change, listed, toggle

SIX = ("title", "description", "priority", "due_date", "tags", "recurrence_pattern")
"""The fields that the client in service sends with each change."""


async def stored(sessions: Sessions, task: Any) -> tuple[datetime | None, bool | None, str | None]:
    async with sessions() as session:
        sql = "SELECT due_date, due_is_date, time_zone FROM tasks WHERE id = :id"
        row = (await (await session.connection()).execute(text(sql), {"id": task["id"]})).one()
    return row.due_date, row.due_is_date, row.time_zone


async def set_row(sessions: Sessions, task: Any, values: str) -> None:
    async with sessions.begin() as session:
        sql = f"UPDATE tasks SET {values} WHERE id = :id"
        await (await session.connection()).execute(text(sql), {"id": task["id"]})


def zoned(zone: str) -> dict[str, str]:
    return {"X-Timezone": zone}


async def test_a_date_alone_is_stored_as_such_and_a_time_at_midnight_is_none(
    alice: httpx.AsyncClient, sessions: Sessions
) -> None:
    midnight = datetime(2026, 12, 1, tzinfo=UTC)
    day = await add(alice, due_date="2026-12-01")
    assert day["due_date"] == "2026-12-01T12:00:00Z"
    assert await stored(sessions, day) == (midnight, True, None)
    for written in ("2026-12-01T00:00:00Z", "2026-11-30T16:00:00-08:00"):
        time = await add(alice, due_date=written)
        assert time["due_date"] == "2026-12-01T00:00:00Z"
        assert await stored(sessions, time) == (midnight, False, None)
    none = await change(alice, day, due_date=None)
    assert none["due_date"] is None
    assert await stored(sessions, day) == (None, None, None)


async def test_a_day_is_noon_where_the_person_is_known_to_be(
    alice: httpx.AsyncClient, bob: httpx.AsyncClient, model: ScriptedModel
) -> None:
    task = await add(alice, due_date="2026-12-01")
    answer = await alice.get(f"/api/tasks/{task['id']}", headers=zoned("Asia/Tokyo"))
    assert answer.json()["due_date"] == "2026-12-01T03:00:00Z"
    assert (await listed(alice))[0]["due_date"] == "2026-12-01T12:00:00Z"
    model.extend([says("Hello.")])
    await alice.post("/api/chat", json={"message": "hello"}, headers=zoned("pacific/auckland"))
    for path in ("", "/search"):
        assert (await listed(alice, path))[0]["due_date"] == "2026-11-30T23:00:00Z"
    assert (await add(bob, due_date="2026-12-01"))["due_date"] == "2026-12-01T12:00:00Z"


@pytest.mark.parametrize("zone", [None, "Europe/Berlin", "Pacific/Kiritimati", "Pacific/Pago_Pago"])
async def test_the_noon_that_comes_back_with_another_title_changes_nothing(
    zone: str | None, alice: httpx.AsyncClient, sessions: Sessions
) -> None:
    headers = zoned(zone) if zone else {}
    sent = {"title": "Pay rent", "due_date": "2026-01-31", "recurrence_pattern": "monthly"}
    shown = (await alice.post("/api/tasks", json=sent, headers=headers)).json()
    before = await stored(sessions, shown)
    # as a field for local times sends it back: to the minute
    back = {name: shown[name] for name in SIX} | {"title": "Pay the rent"}
    back["due_date"] = datetime.fromisoformat(shown["due_date"]).isoformat(timespec="minutes")
    for named in (headers, {}, zoned("Asia/Kathmandu")):
        answer = await alice.put(f"/api/tasks/{shown['id']}", json=back, headers=named)
        assert answer.json()["title"] == "Pay the rent"
        assert await stored(sessions, shown) == before
    await toggle(alice, shown)
    assert (await listed(alice, completed="false"))[0]["due_date"][:10] in (
        "2026-02-28",
        "2026-02-27",  # noon in Kiritimati
    )


async def test_noon_of_another_day_or_another_hour_of_that_day_is_a_change(
    alice: httpx.AsyncClient, sessions: Sessions
) -> None:
    for written in ("2026-12-02T12:00:00Z", "2026-12-01T12:30:00Z", "2026-12-01T00:00:00Z"):
        task = await add(alice, due_date="2026-12-01")
        assert (await change(alice, task, due_date=written))["due_date"] == written
        assert await stored(sessions, task) == (datetime.fromisoformat(written), False, None)


@pytest.mark.parametrize(
    ("due", "noon"),
    [
        ("0001-01-01", "0001-01-01T12:00:00Z"),
        ("9999-12-31", "9999-12-31T12:00:00Z"),
        ("2011-12-30", "2011-12-30T22:00:00Z"),
    ],
)
@pytest.mark.parametrize("zone", ["Pacific/Apia", "Etc/GMT+12"])
async def test_a_day_that_a_zone_does_not_have_has_a_noon_all_the_same(
    due: str, noon: str, zone: str, alice: httpx.AsyncClient
) -> None:
    sent = {"title": "x", "due_date": due}
    answer = await alice.post("/api/tasks", json=sent, headers=zoned(zone))
    assert answer.status_code == 201
    shown = answer.json()
    assert zone == "Etc/GMT+12" or shown["due_date"][:4] == noon[:4]
    assert (await change(alice, shown, due_date=shown["due_date"])) == shown | {
        "updated_at": (await listed(alice))[0]["updated_at"]
    }


async def test_a_row_of_an_earlier_release_is_judged_by_its_hour(
    alice: httpx.AsyncClient, alice_id: str, sessions: Sessions, own_sessions: OwnSessions
) -> None:
    day = await add(alice, due_date="2026-12-01T00:00:00Z")
    time = await add(alice, due_date="2026-12-01T09:00:00Z")
    stale = await add(alice, due_date="2026-12-01")
    for task in (day, time):
        await set_row(sessions, task, "due_is_date = NULL")
    await set_row(sessions, stale, "due_date = '2026-12-01T15:00Z'")
    dues = {task["id"]: task["due_date"] for task in await listed(alice)}
    assert dues[day["id"]] == "2026-12-01T12:00:00Z"
    assert dues[time["id"]] == "2026-12-01T09:00:00Z"
    assert dues[stale["id"]] == "2026-12-01T15:00:00Z"
    async with own_sessions() as session:
        told = {
            task.id: task.due for task in (await open_tasks(session, alice_id, 9, utc_now()))[0]
        }
    assert told[day["id"]] == date(2026, 12, 1)
    assert told[time["id"]] == datetime(2026, 12, 1, 9, tzinfo=UTC)


async def test_the_model_sees_a_day_as_a_date_and_a_time_as_a_time(
    alice: httpx.AsyncClient, model: ScriptedModel
) -> None:
    await add(alice, "day", due_date="2026-12-01")
    await add(alice, "time", due_date="2026-12-01T00:00:00Z")
    added = {"title": "new", "due_date": "2026-12-02"}
    model.extend([calls("list_tasks"), calls("add_task", added), says("Done.")])
    await alice.post("/api/chat", json={"message": "go"}, headers=zoned("America/New_York"))
    context = given(model, 0)[0]["content"]
    assert '"day", "2026-12-01"]' in context
    assert '"time", "2026-12-01T00:00:00Z"]' in context
    listing, new = outputs(model)
    assert [t["due_date"] for t in listing["tasks"]] == ["2026-12-01T00:00:00Z", "2026-12-01"]
    assert new["due_date"] == "2026-12-02"


async def test_what_is_due_at_midnight_utc_is_overdue_at_that_time_and_a_day_when_it_is_over(
    alice: httpx.AsyncClient, alice_id: str, own_sessions: OwnSessions
) -> None:
    """17:00 in Los Angeles is midnight in UTC."""
    await add(alice, "at five", due_date="2026-06-10T17:00:00-07:00")
    await add(alice, "that day", due_date="2026-06-11")
    los_angeles = ZoneInfo("America/Los_Angeles")
    for moment, overdue in (
        (datetime(2026, 6, 10, 16, 59, tzinfo=los_angeles), 0),
        (datetime(2026, 6, 10, 17, 1, tzinfo=los_angeles), 1),
        (datetime(2026, 6, 11, 23, 59, tzinfo=los_angeles), 1),
        (datetime(2026, 6, 12, 0, 1, tzinfo=los_angeles), 2),
    ):
        async with own_sessions() as session:
            now = moment.astimezone(UTC)
            counted = await open_tasks(session, alice_id, 1, now, "America/Los_Angeles")
        assert counted.overdue == overdue, moment


async def test_a_series_is_counted_in_the_zone_it_was_begun_in(
    alice: httpx.AsyncClient, sessions: Sessions
) -> None:
    daily = {"title": "Run", "due_date": "2026-03-28T08:00:00Z", "recurrence_pattern": "daily"}
    task = (await alice.post("/api/tasks", json=daily, headers=zoned("Europe/Berlin"))).json()
    answer = await alice.patch(f"/api/tasks/{task['id']}/complete", headers=zoned("Asia/Tokyo"))
    assert answer.json()["completed"] is True
    (following,) = await listed(alice, completed="false")
    assert following["due_date"] == "2026-03-29T07:00:00Z"
    assert (await stored(sessions, following))[2] == "Europe/Berlin"
    # another time is meant where the person is now
    moved = await change(alice, following, due_date="2026-03-29T08:00:00Z")
    assert (await stored(sessions, moved))[2] == "Asia/Tokyo"


async def test_a_task_without_a_zone_recurs_by_the_last_that_the_person_named(
    alice: httpx.AsyncClient, sessions: Sessions
) -> None:
    """1 March, 09:00 at +13:00, is due on 1 April."""
    monthly = {"due_date": "2026-02-28T20:00:00Z", "recurrence_pattern": "monthly"}
    task = await add(alice, **monthly)
    await set_row(sessions, task, "recurrence_day = 28")  # as it was counted in UTC
    await alice.patch(f"/api/tasks/{task['id']}/complete", headers=zoned("Pacific/Auckland"))
    (following,) = await listed(alice, completed="false")
    assert following["due_date"] == "2026-03-31T20:00:00Z"


async def test_a_day_recurs_by_the_calendar_in_every_zone(alice: httpx.AsyncClient) -> None:
    for zone in ("Pacific/Kiritimati", "Pacific/Pago_Pago"):
        sent = {"title": zone, "due_date": "2026-01-31", "recurrence_pattern": "monthly"}
        task = (await alice.post("/api/tasks", json=sent, headers=zoned(zone))).json()
        await toggle(alice, task)
        (following,) = await listed(alice, "/search", q=zone, completed="false")
        local = datetime.fromisoformat(following["due_date"]).astimezone(ZoneInfo(zone))
        assert local.replace(tzinfo=None) == datetime(2026, 2, 28, 12)  # noqa: DTZ001


async def test_undo_gives_back_the_day_and_that_it_was_one(
    alice: httpx.AsyncClient, model: ScriptedModel, sessions: Sessions
) -> None:
    for due in ("2026-12-01", "2026-12-01T00:00:00Z"):
        task = await add(alice, due_date=due)
        before = await stored(sessions, task)
        moved = {"task_id": task["id"], "due_date": "2026-12-02T09:00:00Z"}
        model.extend([calls("update_task", moved), says("Moved.")])
        turn = (await alice.post("/api/chat", json={"message": f"move it {due}"})).json()
        assert (await stored(sessions, task))[1] is False
        history = await alice.get(f"/api/conversations/{turn['conversation_id']}/messages")
        undone = await alice.post(f"/api/messages/{history.json()[-1]['id']}/undo")
        assert undone.status_code == 200
        assert await stored(sessions, task) == before
        assert (await listed(alice))[0] == task


def test_the_longest_way_round_the_world_is_a_day_or_two() -> None:
    """`open_tasks` counts for three days, since there is no zone in which it is another."""
    now = utc_now()
    days = {now.astimezone(ZoneInfo(zone)).date() - now.date() for zone in FAR}
    assert days <= {timedelta(-1), timedelta(0), timedelta(1)}


FAR = ("Pacific/Kiritimati", "Etc/GMT-14", "Etc/GMT+12", "UTC")
