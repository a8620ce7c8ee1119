"""A recurring task comes round once, on the right day, whoever completes it how often."""

import asyncio
from calendar import monthrange
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.database import Sessions
from backend.errors import TaskNotFound
from backend.models import ID_MAX, Recurrence
from backend.tasks import rules as tasks
from backend.tasks.recurrence import Occurrence, next_occurrence
from backend.tests.support.task_calls import add, change, listed, toggle

DAILY, WEEKLY, MONTHLY = Recurrence.DAILY, Recurrence.WEEKLY, Recurrence.MONTHLY


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def following(
    due: str, pattern: Recurrence, zone: str = "UTC", day: int | None = None, times: int = 1
) -> str:
    """When a series is due `times` on, by its own clock; `due` too is told by it."""
    clock = ZoneInfo(zone)
    last = Occurrence(datetime.fromisoformat(due).replace(tzinfo=clock).astimezone(UTC), day)
    for _ in range(times):
        last = next_occurrence(last, pattern, clock)
    return last.due.astimezone(clock).isoformat(timespec="minutes")[:16]


@pytest.mark.parametrize(
    ("due", "pattern", "day", "expected"),
    [
        ("2026-02-28T09:30", DAILY, None, "2026-03-01T09:30"),
        ("2025-12-31T00:00", DAILY, None, "2026-01-01T00:00"),
        ("2026-12-28T00:00", WEEKLY, None, "2027-01-04T00:00"),
        ("2020-01-01T00:00", DAILY, None, "2020-01-02T00:00"),
        ("2026-01-15T00:00", MONTHLY, None, "2026-02-15T00:00"),
        ("2026-12-15T00:00", MONTHLY, None, "2027-01-15T00:00"),
        ("2026-01-31T23:59", MONTHLY, None, "2026-02-28T23:59"),
        ("2028-01-31T00:00", MONTHLY, None, "2028-02-29T00:00"),
        ("2026-02-28T00:00", MONTHLY, 31, "2026-03-31T00:00"),
        ("2026-03-31T00:00", MONTHLY, 31, "2026-04-30T00:00"),
        ("2026-02-28T00:00", MONTHLY, 29, "2026-03-29T00:00"),
        ("2028-02-29T00:00", MONTHLY, 30, "2028-03-30T00:00"),
        ("2026-02-28T00:00", MONTHLY, None, "2026-03-28T00:00"),
        # a day that the due date does not come from, as after a change by other means
        ("2026-02-15T00:00", MONTHLY, 31, "2026-03-15T00:00"),
        ("9999-11-30T00:00", MONTHLY, 31, "9999-12-31T00:00"),
        ("9999-12-30T00:00", DAILY, None, "9999-12-31T00:00"),
    ],
)
def test_a_due_date_moves_by_one_period(
    due: str, pattern: Recurrence, day: int | None, expected: str
) -> None:
    assert following(due, pattern, day=day) == expected


@pytest.mark.parametrize(
    ("due", "pattern", "zone", "times", "expected"),
    [
        ("2026-03-01T09:00", MONTHLY, "Pacific/Auckland", 1, "2026-04-01T09:00"),
        ("2026-01-31T08:00", MONTHLY, "Australia/Sydney", 1, "2026-02-28T08:00"),
        ("2026-01-31T08:00", MONTHLY, "Australia/Sydney", 3, "2026-04-30T08:00"),
        ("2026-01-31T08:00", MONTHLY, "Australia/Sydney", 4, "2026-05-31T08:00"),
        ("2026-03-28T09:00", DAILY, "Europe/Berlin", 1, "2026-03-29T09:00"),
        ("2026-10-24T09:00", DAILY, "Europe/Berlin", 2, "2026-10-26T09:00"),
        ("2026-03-25T23:30", WEEKLY, "America/New_York", 40, "2026-12-30T23:30"),
        # half past two is skipped that night, and is half past two again the night after
        ("2026-03-28T02:30", DAILY, "Europe/Berlin", 1, "2026-03-29T03:30"),
        ("2026-03-28T02:30", DAILY, "Europe/Berlin", 2, "2026-03-30T02:30"),
        ("2026-02-28T02:30", MONTHLY, "America/New_York", 1, "2026-03-28T02:30"),
        ("2026-02-08T02:30", MONTHLY, "America/New_York", 1, "2026-03-08T03:30"),
        ("2026-02-08T02:30", MONTHLY, "America/New_York", 2, "2026-04-08T02:30"),
        ("2026-10-25T02:30", DAILY, "Europe/Berlin", 1, "2026-10-26T02:30"),
        ("2026-04-04T23:45", DAILY, "Australia/Lord_Howe", 2, "2026-04-06T23:45"),
        ("2024-02-29T12:00", MONTHLY, "Asia/Kathmandu", 12, "2025-02-28T12:00"),
        ("2024-02-29T12:00", MONTHLY, "Asia/Kathmandu", 13, "2025-03-29T12:00"),
    ],
)
def test_a_series_keeps_its_day_and_its_hour_by_its_own_clock(
    due: str, pattern: Recurrence, zone: str, times: int, expected: str
) -> None:
    assert following(due, pattern, zone, times=times) == expected


ZONES = st.sampled_from(
    [
        *("UTC", "Europe/Berlin", "America/New_York", "Australia/Sydney", "Australia/Lord_Howe"),
        *("Pacific/Kiritimati", "Pacific/Pago_Pago", "Asia/Kathmandu", "America/St_Johns"),
        *("Africa/Casablanca", "America/Santiago", "Pacific/Chatham", "Asia/Tehran"),
    ]
)


@given(
    st.datetimes(datetime(2020, 1, 1), datetime(2036, 12, 31)),  # noqa: DTZ001
    st.sampled_from([DAILY, WEEKLY, MONTHLY]),
    ZONES,
)
def test_a_series_is_due_each_period_by_its_own_clock_and_never_drifts(
    start: datetime, pattern: Recurrence, zone: str
) -> None:
    clock = ZoneInfo(zone)
    last = Occurrence(start.replace(tzinfo=clock).astimezone(UTC))
    first = last.due.astimezone(clock).replace(tzinfo=None)
    for number in range(1, 15):
        before, last = last, next_occurrence(last, pattern, clock)
        day = last.due.astimezone(clock).date()
        assert last.due > before.due
        if pattern is MONTHLY:
            years, month = divmod(first.month - 1 + number, 12)
            assert (day.year, day.month) == (first.year + years, month + 1)
            assert day.day == min(first.day, monthrange(day.year, day.month)[1])
        else:
            days = number if pattern is DAILY else 7 * number
            assert day == first.date() + timedelta(days)
        meant = datetime.combine(day, first.time(), clock).astimezone(UTC)
        assert last.due == meant


@pytest.mark.parametrize("pattern", [DAILY, WEEKLY, MONTHLY])
@pytest.mark.parametrize("zone", ["UTC", "Pacific/Kiritimati", "Pacific/Pago_Pago"])
def test_a_series_ends_with_the_year_9999(pattern: Recurrence, zone: str) -> None:
    with pytest.raises(OverflowError):
        next_occurrence(Occurrence(at("9999-12-31T13:00")), pattern, ZoneInfo(zone))


async def complete_in_turn(client: httpx.AsyncClient, task: Any, times: int) -> list[str]:
    """Complete the series' open task, `times` over; the due dates of those that came."""
    dates = []
    for _ in range(times):
        await toggle(client, task)
        (task,) = await listed(client, completed="false")
        dates.append(task["due_date"][:10])
    return dates


async def test_the_next_occurrence_is_the_same_task_one_period_on(
    alice: httpx.AsyncClient, alice_id: str
) -> None:
    task = await add(
        alice,
        description="the blue bin",
        priority="high",
        due_date="2026-01-01T07:00Z",
        tags=["home"],
        recurrence_pattern="weekly",
    )
    done = await toggle(alice, task)
    assert done == task | {"completed": True, "updated_at": done["updated_at"]}
    following, same = await listed(alice)
    assert same == done
    new = {key: following[key] for key in ("id", "created_at", "updated_at")}
    assert following == task | new | {"due_date": "2026-01-08T07:00:00Z"}
    assert following["id"] != task["id"]
    assert following["user_id"] == alice_id


async def test_a_month_that_is_too_short_does_not_shorten_those_after(
    alice: httpx.AsyncClient,
) -> None:
    task = await add(alice, due_date="2026-01-31", recurrence_pattern="monthly")
    dates = await complete_in_turn(alice, task, 4)
    assert dates == ["2026-02-28", "2026-03-31", "2026-04-30", "2026-05-31"]


async def test_saving_the_same_due_date_keeps_the_day_of_the_series(
    alice: httpx.AsyncClient,
) -> None:
    task = await add(alice, due_date="2026-01-31", recurrence_pattern="monthly")
    await complete_in_turn(alice, task, 1)
    (task,) = await listed(alice, completed="false")
    saved = {key: task[key] for key in ("due_date", "recurrence_pattern", "tags", "priority")}
    task = await change(alice, task, title="Pay the rent", **saved)
    assert await complete_in_turn(alice, task, 1) == ["2026-03-31"]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ([{"due_date": "2026-02-27"}], "2026-03-27"),
        ([{"due_date": "2026-02-27"}, {"due_date": "2026-02-28"}], "2026-03-28"),
        ([{"recurrence_pattern": "daily"}, {"recurrence_pattern": "monthly"}], "2026-03-28"),
    ],
)
async def test_another_due_date_or_pattern_sets_the_day_of_the_series_anew(
    changes: list[dict[str, str]], expected: str, alice: httpx.AsyncClient
) -> None:
    task = await add(alice, due_date="2026-01-31", recurrence_pattern="monthly")
    await complete_in_turn(alice, task, 1)
    (task,) = await listed(alice, completed="false")
    for fields in changes:
        task = await change(alice, task, **fields)
    assert await complete_in_turn(alice, task, 1) == [expected]


@pytest.mark.parametrize("pattern", ["daily", "weekly", "monthly"])
async def test_without_a_due_date_the_next_has_none(pattern: str, alice: httpx.AsyncClient) -> None:
    await toggle(alice, await add(alice, recurrence_pattern=pattern))
    following, _ = await listed(alice)
    assert (following["due_date"], following["recurrence_pattern"]) == (None, pattern)


@pytest.mark.parametrize("pattern", ["daily", "weekly", "monthly"])
async def test_after_the_year_9999_completing_succeeds_and_nothing_follows(
    pattern: str, alice: httpx.AsyncClient
) -> None:
    task = await add(alice, due_date="9999-12-31", recurrence_pattern=pattern)
    assert (await toggle(alice, task))["completed"] is True
    assert len(await listed(alice)) == 1


async def test_a_task_that_does_not_recur_has_no_next(alice: httpx.AsyncClient) -> None:
    await toggle(alice, await add(alice, due_date="2026-01-01"))
    assert len(await listed(alice)) == 1


async def test_toggling_many_times_makes_one_next_occurrence(alice: httpx.AsyncClient) -> None:
    task = await add(alice, due_date="2026-01-01", recurrence_pattern="daily")
    for _ in range(7):
        await toggle(alice, task)
    assert len(await listed(alice)) == 2
    await change(alice, task, due_date="2026-06-01", recurrence_pattern="weekly")
    await toggle(alice, task)
    await toggle(alice, task)
    assert len(await listed(alice)) == 2


async def test_a_next_occurrence_that_was_deleted_does_not_come_back(
    alice: httpx.AsyncClient,
) -> None:
    task = await add(alice, due_date="2026-01-01", recurrence_pattern="daily")
    await toggle(alice, task)
    (following,) = await listed(alice, completed="false")
    await alice.delete(f"/api/tasks/{following['id']}")
    for _ in range(4):
        await toggle(alice, task)
    assert [task["completed"] for task in await listed(alice)] == [True]


@pytest.mark.parametrize("times", [7, 8])
async def test_toggling_at_once_loses_no_toggle_and_makes_one_next_occurrence(
    times: int, alice: httpx.AsyncClient
) -> None:
    task = await add(alice, recurrence_pattern="daily")
    await asyncio.gather(*(toggle(alice, task) for _ in range(times)))
    following, same = await listed(alice)
    assert same["completed"] is (times % 2 == 1)
    assert following["completed"] is False


async def test_completing_at_once_from_both_sides_makes_one_next_occurrence(
    alice: httpx.AsyncClient, alice_id: str, own_sessions: Sessions
) -> None:
    task = await add(alice, recurrence_pattern="daily")

    async def complete() -> None:
        async with own_sessions.begin() as session:
            await tasks.set_completed(session, alice_id, task["id"], completed=True)

    await asyncio.gather(*(complete() for _ in range(6)), toggle(alice, task))
    assert len(await listed(alice)) == 2


async def test_completing_what_is_done_changes_nothing(
    alice: httpx.AsyncClient, alice_id: str, bob_id: str, own_sessions: Sessions
) -> None:
    task = await toggle(alice, await add(alice))
    async with own_sessions.begin() as session:
        again = await tasks.set_completed(session, alice_id, task["id"], completed=True)
        assert again.task.completed_at is not None
        for user_id, task_id in ((bob_id, task["id"]), (alice_id, ID_MAX + 1), (alice_id, -1)):
            with pytest.raises(TaskNotFound):
                await tasks.set_completed(session, user_id, task_id, completed=True)
    assert await listed(alice) == [task]
