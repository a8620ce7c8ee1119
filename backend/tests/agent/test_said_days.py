"""A due date that a model wrote itself, held against the day that the person's words name."""

from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import httpx
import pytest
from agents.testing import ScriptedModel
from hypothesis import given
from hypothesis import strategies as st

from backend.agent.said_days import days_named, other_than_said
from backend.tests.support.scripting import calls, says
from backend.tests.support.task_calls import add
from backend.tests.test_chat import chat

THURSDAY = date(2026, 11, 26)


@pytest.mark.parametrize(
    ("text", "days"),
    [
        ("Postpone the dentist to tomorrow", [27]),
        ("Call mom Today, and dad in two days", [26, 28]),
        ("Plants every Monday", [30]),
        ("Pay it in 1 week", []),
        ("Buy milk", []),
        ("Two days after tomorrow", []),
        ("the day before Friday", []),
        ("not tomorrow", []),
        ("tomorrow or 2026-12-01", []),
        ("on friday the 4th", []),
        ("Todayish, intomorrow", []),
    ],
)
def test_days_are_named_where_the_words_surely_do(text: str, days: list[int]) -> None:
    named = days_named(text, THURSDAY)
    assert [day.day for day in named if day.month == 11] == days


ZONES = st.sampled_from(["UTC", "Pacific/Kiritimati", "America/Los_Angeles", "Asia/Kolkata"])


@given(st.dates(date(1971, 1, 1), date(2199, 1, 1)), ZONES, st.integers(-400, 400))
def test_a_day_that_was_said_is_never_objected_to_and_another_is(
    day: date, zone: str, off: int
) -> None:
    now = datetime.combine(day, time(12), ZoneInfo(zone))
    tomorrow = day + timedelta(1)
    written = tomorrow + timedelta(off)
    told = other_than_said("Call mom tomorrow", written.isoformat(), now)
    assert (told is None) == (off == 0)
    if told:
        assert f"{tomorrow}" in told
        assert f"{written}" in told
    late = datetime(tomorrow.year, tomorrow.month, tomorrow.day, 23, 30, tzinfo=now.tzinfo)
    instant = late.astimezone(ZoneInfo("UTC")).isoformat()
    assert other_than_said("Call mom tomorrow", instant, now) is None


async def test_a_date_that_is_not_the_day_said_is_refused_once_and_taken_where_it_is_insisted_on(
    alice: httpx.AsyncClient, model: ScriptedModel
) -> None:
    task = await add(alice, "Dentist")
    wrong = calls("update_task", {"task_id": task["id"], "due_date": "2031-05-01"})
    right = calls("update_task", {"task_id": task["id"], "due_date": "tomorrow"})
    model.extend([wrong, right, says("Moved.")])
    refused, moved = (await chat(alice, "Move the dentist to tomorrow"))["tool_calls"]
    assert refused["result"]["error_code"] == "VALIDATION_ERROR"
    assert 'the person said "tomorrow"' in refused["result"]["error"]
    assert moved["result"]["success"] is True
    assert moved["result"]["due_date"] != "2031-05-01"
    model.extend([wrong, wrong, says("Moved.")])
    refused, moved = (await chat(alice, "Move the dentist to tomorrow"))["tool_calls"]
    assert refused["result"]["success"] is False
    assert moved["result"]["due_date"] == "2031-05-01"
    model.extend([wrong, says("Moved.")])
    (moved,) = (await chat(alice, "Move the dentist two days after tomorrow"))["tool_calls"]
    assert moved["result"]["success"] is True
