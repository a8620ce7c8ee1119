"""Dates in words: taken where each word is accounted for, and else said not to be understood."""

import asyncio
import time as clock
from calendar import monthrange
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import httpx
import pytest
from agents.testing import ScriptedModel
from hypothesis import given
from hypothesis import strategies as st

from backend.errors import ValidationFailed
from backend.tasks.date_words import WORDS_MAX, NotUnderstood, read, understand
from backend.tests.support.scripting import calls, outputs, says, together
from backend.tests.support.task_calls import add, listed
from backend.tests.test_chat import chat
from backend.tests.test_tools import use

BERLIN = ZoneInfo("Europe/Berlin")
THURSDAY = datetime(2026, 11, 26, 10, 30, tzinfo=BERLIN)
ZONES = ["UTC", "Europe/Berlin", "America/New_York", "Asia/Karachi", "Pacific/Kiritimati"]
ZONES += ["Pacific/Pago_Pago", "Australia/Lord_Howe", "America/St_Johns", "Asia/Kathmandu"]
WEEKDAYS = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"]
MONTHS = ["january", "february", "march", "april", "may", "june", "july", "august", "september"]
MONTHS += ["october", "november", "december"]


@pytest.mark.parametrize(
    ("words", "due"),
    [
        ("tomorrow", "2026-11-27"),
        ("Tomorrow.", "2026-11-27"),
        ("tonight", "2026-11-26"),
        ("next friday 5pm", "2026-11-27T17:00"),
        ("friday at 17:30", "2026-11-27T17:30"),
        ("thursday", "2026-12-03"),
        ("in two weeks", "2026-12-10"),
        ("in 90 minutes", "2026-11-26T12:00"),
        ("the day after tomorrow", "2026-11-28"),
        ("noon", "2026-11-26T12:00"),
        ("9am", "2026-11-27T09:00"),
        ("dec 5th", "2026-12-05"),
        ("Wednesday, 2 December", "2026-12-02"),
        ("nov 20", "2027-11-20"),
        ("29 february", "2028-02-29"),
        ("5 may 1960", "1960-05-05"),
        ("24.12.2026", "2026-12-24"),
        ("12/24/2026", "2026-12-24"),
        ("morgen", "2026-11-27"),
        ("freitag um 17 uhr", "2026-11-27T17:00"),
        ("in 3 Tagen", "2026-11-29"),
        ("mañana a las 17", "2026-11-27T17:00"),
        ("5 de diciembre", "2026-12-05"),
        ("demain à 17h", "2026-11-27T17:00"),
        ("明天", "2026-11-27"),
        ("آج", "2026-11-26"),
        ("завтра", "2026-11-27"),
    ],
)
def test_words_are_read_as_the_person_says_them(words: str, due: str) -> None:
    found = read(words, THURSDAY).due
    if "T" in due:
        assert isinstance(found, datetime)
        assert found == datetime.fromisoformat(due).replace(tzinfo=BERLIN)
        assert found.utcoffset() == timedelta()
    else:
        assert type(found) is date
        assert found == date.fromisoformat(due)


@pytest.mark.parametrize(
    ("words", "part"),
    [
        ("may", None),
        ("5", None),
        ("2027", None),
        ("mañana a las 5", "5"),
        ("tomorrow at 5", "5"),
        ("monday at 9", "9"),
        ("tomorrow 25:00", "25:00"),
        ("tomorrow 3pm EST", "est"),
        ("friday the 13th", "13"),
        ("monday 2 december", None),
        ("february 30", None),
        ("31 june", None),
        ("05/06/2027", None),
        ("20310501", None),
        ("friday or monday", None),
        ("friday 5pm 6pm", None),
        ("not friday", None),
        ("asap", None),
        ("in 3.5 days", None),
        ("in -3 days", None),
        ("in 9000 years", None),
        ("12 november 10000", None),
        ("call mom tomorrow", None),
        ("2 days before friday", None),
        ("now", None),
        ("\x00", None),
        ("١٢", None),
    ],
)
def test_what_is_not_accounted_for_is_named_and_nothing_is_guessed(
    words: str, part: str | None
) -> None:
    with pytest.raises(NotUnderstood) as raised:
        read(words, THURSDAY)
    assert raised.value.part in ((part,) if part else (words, *words.split()))


# bounds are without a zone
FIRST, LAST = datetime(1971, 1, 1), datetime(2199, 1, 1)  # noqa: DTZ001
instants = st.datetimes(FIRST, LAST, timezones=st.just(UTC))


@st.composite
def moments(draw: st.DrawFn) -> datetime:
    return draw(instants).astimezone(ZoneInfo(draw(st.sampled_from(ZONES))))


@given(now=moments(), number=st.integers(1, 400), unit=st.sampled_from(["day", "week", "month"]))
def test_so_many_days_weeks_or_months_are_counted_from_the_persons_day(
    now: datetime, number: int, unit: str
) -> None:
    due = read(f"in {number} {unit}s", now).due
    today = now.date()
    if unit == "month":
        year, month = divmod(today.year * 12 + today.month - 1 + number, 12)
        last = monthrange(year, month + 1)[1]
        assert due == date(year, month + 1, min(today.day, last))
    else:
        assert due == today + timedelta(number * (7 if unit == "week" else 1))


@given(now=moments(), weekday=st.sampled_from(WEEKDAYS), hour=st.integers(0, 23))
def test_a_weekday_is_the_next_one_and_its_hour_is_by_the_persons_clock(
    now: datetime, weekday: str, hour: int
) -> None:
    day = read(weekday, now).due
    assert type(day) is date
    assert WEEKDAYS[day.weekday()] == weekday
    assert timedelta() <= day - now.date() <= timedelta(7)
    due = read(f"{weekday} at {hour:02}:15", now).due
    assert isinstance(due, datetime)
    local = due.astimezone(now.tzinfo)
    assert WEEKDAYS[local.weekday()] == weekday
    # where the clock skips that hour it is the one after it
    skipped = datetime.combine(local.date(), local.time(), now.tzinfo).utcoffset()
    assert local.strftime("%H:%M") == f"{hour:02}:15" or skipped != now.utcoffset()


@given(now=moments(), day=st.integers(1, 31), month=st.integers(1, 12))
def test_a_day_of_a_month_is_the_next_with_that_date_or_none_at_all(
    now: datetime, day: int, month: int
) -> None:
    words = f"{day} {MONTHS[month - 1]}"
    if day > monthrange(2028, month)[1]:
        with pytest.raises(NotUnderstood):
            read(words, now)
        return
    due = read(words, now).due
    assert (due.day, due.month) == (day, month)
    assert now.date() <= due
    earlier = [year for year in range(now.year, due.year) if day <= monthrange(year, month)[1]]
    assert all(date(year, month, day) < now.date() for year in earlier)


@given(now=moments(), minutes=st.integers(1, 999))
def test_so_many_minutes_are_as_long_where_the_clock_is_changed(
    now: datetime, minutes: int
) -> None:
    due = read(f"in {minutes} minutes", now).due
    assert due == now.astimezone(UTC).replace(second=0, microsecond=0) + timedelta(minutes=minutes)


PIECES = [*WEEKDAYS[:3], *MONTHS[:5], "5", "17", "2027", "5pm", "17:00", "in", "at", "next", "two"]
PIECES += ["days", "weeks", "ago", "tomorrow", "morgen", "a las", "the", "and", "not", "or", "."]


@given(words=st.lists(st.sampled_from(PIECES), min_size=1, max_size=6))
def test_no_number_that_was_said_is_lost(words: list[str]) -> None:
    """Whatever is taken holds each hour, day and year that stands in the words."""
    try:
        due = read(" ".join(words), THURSDAY).due
    except NotUnderstood:
        return
    local = due.astimezone(BERLIN) if isinstance(due, datetime) else due
    told = {str(local.day), str(local.year)}
    if isinstance(local, datetime):
        told |= {"5pm" if local.hour == 17 else "", f"{local:%H:%M}", f"{local.hour}"}
    days = (local if not isinstance(local, datetime) else local.date()) - THURSDAY.date()
    counted = {str(abs(days.days)), str(abs(days.days) // 7), "0"}
    for word in words:
        if word[0].isdigit():
            assert word in told | counted, (words, due)
        if word in WEEKDAYS:
            assert WEEKDAYS[local.weekday()] == word
        if word in MONTHS:
            assert MONTHS[local.month - 1] == word


# Through the tools


async def test_the_tools_take_words_in_the_persons_zone_and_say_what_was_understood(
    alice: httpx.AsyncClient, bob: httpx.AsyncClient, model: ScriptedModel
) -> None:
    zone = "Pacific/Kiritimati"
    await add(bob, "Hers", due_date="2031-01-01")
    wanted = [
        {"title": "Call", "due_date": "Tomorrow 5pm"},
        {"title": "Pay", "due_date": "in 2 days"},
    ]
    model.extend([together(*(calls("add_task", each) for each in wanted)), says("Added.")])
    headers = {"X-Timezone": zone}
    answer = await alice.post("/api/chat", json={"message": "add"}, headers=headers)
    call, pay = (each["result"] for each in answer.json()["tool_calls"])
    today = datetime.now(ZoneInfo(zone)).date()
    five = datetime.fromisoformat(call["due_date"]).astimezone(ZoneInfo(zone))
    assert five == datetime(*(today + timedelta(1)).timetuple()[:3], 17, tzinfo=ZoneInfo(zone))
    assert call["understood"].endswith(f"{today + timedelta(1)} 17:00, {zone}")
    assert call["understood"].startswith('"Tomorrow 5pm" as ')
    assert pay["due_date"] == f"{today + timedelta(2)}"
    moved = {"task_id": [call["task_id"], pay["task_id"]], "due_date": "in two weeks"}
    model.extend([calls("update_task", moved), says("Moved.")])
    turn = await chat(alice, "move both")  # the zone is remembered
    assert turn["tool_calls"][0]["result"]["due_date"] == f"{today + timedelta(14)}"
    assert "understood" in turn["tool_calls"][0]["result"]
    asked = ["in two weeks", "before in two weeks", "by in 2 weeks", "in 15 days"]
    model.extend([together(*(calls("list_tasks", {"due": due}) for due in asked)), says("So.")])
    turn = await chat(alice, "list")
    assert [each["result"]["count"] for each in turn["tool_calls"]] == [2, 0, 2, 0]
    assert "understood" in turn["tool_calls"][0]["result"]


@pytest.mark.parametrize("words", ["mañana a las 5", "sometime soon", "5" * (WORDS_MAX + 1)])
async def test_words_that_are_no_date_change_nothing(
    alice: httpx.AsyncClient, model: ScriptedModel, words: str
) -> None:
    task = await add(alice, due_date="2031-05-01")
    for tool, arguments in (
        ("add_task", {"title": "New", "due_date": words}),
        ("update_task", {"task_id": task["id"], "due_date": words}),
        ("list_tasks", {"due": words}),
    ):
        result = await use(alice, model, tool, arguments)
        assert (result["success"], result["error_code"]) == (False, "VALIDATION_ERROR")
        assert "was not understood" in result["error"] or "at most" in result["error"]
    assert await listed(alice) == [task]


async def test_dates_at_the_ends_of_time_are_judged_as_ever(
    alice: httpx.AsyncClient, model: ScriptedModel
) -> None:
    dates = ["1969-12-31", "0001-01-01", "9999-12-31", "10000-01-01", "2026-02-30", "5 may 1960"]
    added = (calls("add_task", {"title": each, "due_date": each}) for each in dates)
    model.extend([together(*added), says("So.")])
    await chat(alice, "add")
    due = [result.get("due_date") for result in outputs(model)[-len(dates) :]]
    assert due == ["1969-12-31", "0001-01-01", "9999-12-31", None, None, "1960-05-05"]


async def test_reading_words_does_not_hold_the_loop() -> None:
    """The costliest texts that are taken, each read in a thread, while the loop ticks."""
    pieces = ("5pm ", "1 ", "in ", "1:1:1 ", "明", "m ")
    texts = [piece * (WORDS_MAX // len(piece)) for piece in pieces]
    waits: list[float] = []
    held = 0.0
    """The most of the processors' time that went by between two ticks: no load has a part in it."""

    async def tick() -> None:
        nonlocal held
        last, used = clock.monotonic(), clock.process_time()
        while True:
            await asyncio.sleep(0)
            now, since = clock.monotonic(), clock.process_time()
            waits[-1], held = max(waits[-1], now - last), max(held, since - used)
            last, used = now, since

    while not waits or (min(waits) >= 0.5 and len(waits) < 5):
        # again where the machine was busy with other things: what holds the loop does each time
        waits.append(0.0)
        ticking = asyncio.ensure_future(tick())
        for text in texts:
            with pytest.raises(ValidationFailed):
                await understand("due_date", text, THURSDAY)
        ticking.cancel()
    assert held < 0.5
    assert min(waits) < 0.5
