"""The person's time zone: which day it is there, and what is overdue by it."""

import asyncio
import re
from datetime import UTC, date, datetime, timedelta, tzinfo
from zoneinfo import ZoneInfo

import httpx
import pytest
from agents.testing import ScriptedModel

from backend.agent.words.prompt import INSTRUCTIONS, day_context
from backend.database import Sessions
from backend.models import utc_now
from backend.tasks.open_tasks import OpenTasks, open_tasks
from backend.tests.support.fixtures import Run
from backend.tests.support.scripting import given, says
from backend.tests.support.task_calls import add, toggle
from backend.time_zones import _at_offset, zone_of

FAR = ("Pacific/Kiritimati", "Pacific/Pago_Pago")
"""Fourteen hours ahead and eleven behind: it is never the same day in both."""


async def told(client: httpx.AsyncClient, model: ScriptedModel, **headers: str) -> str:
    """The day's context that the model is given for a message with these headers."""
    model.extend([says("Hello.")])
    answer = await client.post("/api/chat", json={"message": "hello"}, headers=headers)
    assert answer.status_code == 200, answer.text
    return str(given(model)[-2]["content"])


@pytest.mark.parametrize("zone", [*FAR, "Europe/Berlin", "Asia/Kathmandu", "UTC", "Etc/GMT+5"])
async def test_today_is_the_day_where_the_person_is(
    alice: httpx.AsyncClient, model: ScriptedModel, zone: str
) -> None:
    before = utc_now()
    context = await told(alice, model, **{"X-Timezone": zone})
    days = {
        f"Today is {moment.astimezone(ZoneInfo(zone)):%A, %Y-%m-%d};"
        for moment in (before, utc_now())
    }
    assert any(day in context for day in days)
    offset = f"{before.astimezone(ZoneInfo(zone)):%:z}"
    assert f"the person's time zone is {zone}, where it is UTC{offset} now." in context


async def test_near_midnight_the_days_differ_and_so_do_the_weekdays() -> None:
    moment = datetime(2026, 12, 31, 23, 30, tzinfo=UTC)
    lines = {
        zone: day_context(
            moment.astimezone(ZoneInfo(zone)), OpenTasks([], 0, 0, None)
        ).splitlines()[1]
        for zone in ("Europe/Berlin", "America/New_York", "UTC")
    }
    assert lines["Europe/Berlin"].startswith("Today is Friday, 2027-01-01;")
    assert lines["America/New_York"].startswith("Today is Thursday, 2026-12-31;")
    assert lines["UTC"].endswith("time zone is UTC, where it is UTC+00:00 now.")


@pytest.mark.parametrize(
    ("sent", "meant"),
    [
        ("europe/berlin", "Europe/Berlin"),
        ("AMERICA/NEW_YORK", "America/New_York"),
        ("Asia/Calcutta", "Asia/Calcutta"),
        ("US/Pacific", "US/Pacific"),
        ("Europe/Kiev", "Europe/Kiev"),
        ("etc/gmt-14", "Etc/GMT-14"),
        ("gmt", "GMT"),
        ("Etc/Unknown", "UTC"),
        ("etc/unknown", "UTC"),
        ("undefined", "UTC"),
        ("null", "UTC"),
        ('"Asia/Katmandu"', "Asia/Katmandu"),
        ("'pst8pdt' ", "PST8PDT"),
        ("Etc/GMT+5", "Etc/GMT+5"),
        ("GMT+5", "Etc/GMT-5"),
        ("+05:30", "Asia/Kolkata"),
        ("GMT+0530", "Asia/Kolkata"),
        ("UTC+05:45", "Asia/Kathmandu"),
        ("-03:30", "America/St_Johns"),
        ("UTC-8", "Etc/GMT+8"),
        ("utc+2", "Etc/GMT-2"),
        ("GMT-0300", "Etc/GMT+3"),
        ("+14", "Etc/GMT-14"),
        ("-00:00", "UTC"),
        ("GMT+0000", "UTC"),
        ("UTC+0", "UTC"),
    ],
)
async def test_a_zone_is_read_as_browsers_send_it(
    alice: httpx.AsyncClient, model: ScriptedModel, sent: str, meant: str
) -> None:
    assert f"time zone is {meant}," in await told(alice, model, **{"X-Timezone": sent})


@pytest.mark.parametrize(
    ("offset", "zone"),
    [(name, zone_of(_at_offset(name))) for name in ("+02:00", "+05:30", "+12:45", "-09:30", "-11")],
)
def test_an_offset_is_a_zone_of_that_offset(offset: str, zone: tzinfo) -> None:
    summer_or_winter = {
        f"{datetime(2026, month, 1, tzinfo=zone):%:z}"[: len(offset)] for month in (1, 7)
    }
    assert offset in summer_or_winter


async def test_a_zone_may_be_named_twice(alice: httpx.AsyncClient, model: ScriptedModel) -> None:
    model.extend([says("Hello.")])
    twice = [("X-Timezone", "Asia/Tokyo"), ("X-Timezone", "Asia/Tokyo")]
    answer = await alice.post("/api/chat", json={"message": "hello"}, headers=twice)
    assert answer.status_code == 200
    assert "time zone is Asia/Tokyo," in str(given(model)[-2]["content"])


async def test_the_zone_that_was_named_last_counts_where_none_is(
    alice: httpx.AsyncClient, bob: httpx.AsyncClient, model: ScriptedModel
) -> None:
    for zone in FAR:
        await told(alice, model, **{"X-Timezone": zone})
        for headers in ({}, {"X-Timezone": "Etc/Unknown"}, {"X-Timezone": " "}):
            assert f"time zone is {zone}," in await told(alice, model, **headers)
    await alice.post("/api/tasks", json={"title": "x"}, headers={"X-Timezone": "Asia/Tokyo"})
    assert "time zone is Asia/Tokyo," in await told(alice, model)
    assert "time zone is UTC," in await told(bob, model)


async def test_two_turns_at_once_may_both_name_a_zone(
    alice: httpx.AsyncClient, model: ScriptedModel
) -> None:
    model.extend([says("Hello.")] * 6)
    answers = await asyncio.gather(
        *(
            alice.post(
                "/api/chat", json={"message": f"hello {n}"}, headers={"X-Timezone": FAR[n % 2]}
            )
            for n in range(6)
        )
    )
    assert {answer.status_code for answer in answers} == {200}


@pytest.mark.parametrize("headers", [{}, {"X-Timezone": ""}, {"X-Timezone": " "}])
async def test_without_a_zone_it_is_utc(
    alice: httpx.AsyncClient, model: ScriptedModel, headers: dict[str, str]
) -> None:
    assert "time zone is UTC," in await told(alice, model, **headers)


@pytest.mark.parametrize(
    "zone",
    [
        *(
            "Berlin",
            "+2:0",
            "+25",
            "UTC+15",
            "+05:31",
            "GMT+5:60",
            "UTC+",
            "Europe",
            "Europe/",
            "localtime",
            "Factory",
        ),
        *("../../etc/passwd", "/etc/localtime", "Europe/../UTC", "Europe\\Berlin", "zone.tab"),
        *("posix/UTC", "x" * 4000, "U\u00e9", "Europe/Berlin, UTC", "nil"),
    ],
)
async def test_a_zone_that_is_none_is_invalid_and_nothing_is_begun(
    alice: httpx.AsyncClient, model: ScriptedModel, zone: str
) -> None:
    headers = [(b"X-Timezone", zone.encode())]
    answer = await alice.post("/api/chat", json={"message": "hello"}, headers=headers)
    assert answer.status_code == 422
    (detail,) = answer.json()["error"]["details"]
    assert detail["field"] == "X-Timezone"
    assert not model.calls


async def test_the_fixed_part_is_the_same_bytes_for_all_people_days_and_zones(
    alice: httpx.AsyncClient, bob: httpx.AsyncClient, model: ScriptedModel
) -> None:
    await bob.post("/api/tasks", json={"title": "Pay rent"})
    contexts = [
        await told(client, model, **{"X-Timezone": zone}) for client in (alice, bob) for zone in FAR
    ]
    assert len(set(contexts)) == 4
    fixed = {
        (
            call.system_instructions,
            str([vars(tool).get("params_json_schema") for tool in call.tools]),
        )
        for call in model.calls
    }
    assert len(fixed) == 1
    assert not re.search(r"\d{4}-\d\d-\d\d|Pay rent|Pacific", INSTRUCTIONS)


async def test_the_zone_is_no_part_of_what_a_key_names(
    alice: httpx.AsyncClient, model: ScriptedModel
) -> None:
    model.extend([says("Hello.")])
    answers = [
        await alice.post(
            "/api/chat",
            json={"message": "hello"},
            headers={"Idempotency-Key": "one", "X-Timezone": zone},
        )
        for zone in FAR
    ]
    assert [answer.status_code for answer in answers] == [200, 200]
    assert answers[1].headers["idempotency-replayed"] == "true"


async def test_a_page_may_send_the_zone(alice: httpx.AsyncClient) -> None:
    preflight = {
        "Origin": "http://localhost:3000",
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization,content-type,x-timezone",
    }
    assert (await alice.options("/api/chat", headers=preflight)).status_code == 200


async def test_the_offline_model_counts_from_the_persons_day(
    alice: httpx.AsyncClient, run: Run
) -> None:
    async with run(alice, model=None, openai_model="offline") as client:
        for zone in FAR:
            before = utc_now()
            headers = {"X-Timezone": zone}
            body = {"message": "Add buy milk by tomorrow"}
            answer = await client.post("/api/chat", json=body, headers=headers)
            due = date.fromisoformat(answer.json()["tool_calls"][0]["args"]["due_date"])
            today = {moment.astimezone(ZoneInfo(zone)).date() for moment in (before, utc_now())}
            assert due - timedelta(1) in today


async def counted(own_sessions: Sessions, user_id: str, zone: str, moment: str) -> OpenTasks:
    now = datetime.fromisoformat(moment).replace(tzinfo=ZoneInfo(zone))
    async with own_sessions() as session:
        return await open_tasks(session, user_id, 1, now.astimezone(UTC), zone)


async def test_open_and_overdue_tasks_are_counted_beyond_those_that_are_listed(
    alice: httpx.AsyncClient, bob: httpx.AsyncClient, model: ScriptedModel
) -> None:
    await bob.post("/api/tasks", json={"title": "Not hers", "due_date": "2020-01-01"})
    for number in range(35):
        await add(alice, f"old {number}", due_date="2020-01-01T10:00:00Z")
    await toggle(alice, await add(alice, "done", due_date="2020-01-01"))
    await add(alice, "to come", due_date="2099-01-01")
    await add(alice, "whenever")
    context = await told(alice, model)
    assert "Open tasks (37, of them overdue: 35)" in context


async def test_a_time_is_overdue_when_it_has_passed(
    alice: httpx.AsyncClient, alice_id: str, own_sessions: Sessions
) -> None:
    await add(alice, "call", due_date="2026-06-10T12:00:00Z")
    for zone, moment, overdue in (
        ("UTC", "2026-06-10T11:59", 0),
        ("UTC", "2026-06-10T12:01", 1),
        ("Asia/Tokyo", "2026-06-10T20:59", 0),
        ("Asia/Tokyo", "2026-06-10T21:01", 1),
    ):
        assert (await counted(own_sessions, alice_id, zone, moment)).overdue == overdue, moment


async def test_a_date_is_overdue_when_it_is_over_where_the_person_is(
    alice: httpx.AsyncClient, alice_id: str, own_sessions: Sessions
) -> None:
    await add(alice, "pay rent", due_date="2026-06-10")
    for zone, moment, overdue in (
        ("UTC", "2026-06-10T23:59", 0),
        ("UTC", "2026-06-11T00:01", 1),
        ("America/New_York", "2026-06-10T23:59", 0),
        ("America/New_York", "2026-06-11T00:01", 1),
        ("Asia/Tokyo", "2026-06-10T23:59", 0),
        ("Asia/Tokyo", "2026-06-11T00:01", 1),
        ("Pacific/Kiritimati", "2026-06-11T00:01", 1),
    ):
        assert (await counted(own_sessions, alice_id, zone, moment)).overdue == overdue, (
            zone,
            moment,
        )
