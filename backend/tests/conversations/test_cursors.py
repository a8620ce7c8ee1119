"""Cursors, whatever position they are of and whatever a client makes of them."""

import json
from base64 import urlsafe_b64encode
from datetime import UTC, datetime
from random import Random

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.cursors import CURSOR_MAX, Position, read_cursor, write_cursor
from backend.models import ID_MAX
from backend.tests.journal.test_undo import execute
from backend.tests.support.databases import Sessions
from backend.tests.support.hunting import seeds

POSITIONS = st.builds(
    Position, st.datetimes(timezones=st.timezones(), allow_imaginary=False), st.integers(1, ID_MAX)
).filter(lambda position: 2 < position.at.year < 9998)
LISTS = st.sampled_from(["conversations", "archived", "messages of 1", "messages of 11"])
FORGED = st.lists(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=30) | LISTS,
    max_size=6,
).map(lambda fields: urlsafe_b64encode(json.dumps(fields).encode()).decode().rstrip("="))


@given(LISTS, POSITIONS)
def test_a_cursor_is_read_as_the_position_it_was_written_for(listed: str, at: Position) -> None:
    cursor = write_cursor(listed, at)
    # an hour that the clocks repeat is equal to no time of another zone
    assert read_cursor(listed, cursor) == at._replace(at=at.at.astimezone(UTC))
    assert len(cursor) <= CURSOR_MAX


@given(LISTS, LISTS, POSITIONS)
def test_a_cursor_of_another_list_is_none(written: str, read: str, at: Position) -> None:
    if written != read:
        with pytest.raises(ValueError, match="not one of ours"):
            read_cursor(read, write_cursor(written, at))


@given(LISTS, FORGED | st.text(max_size=CURSOR_MAX + 1))
def test_a_text_that_is_read_at_all_is_one_that_would_be_written(listed: str, text: str) -> None:
    try:
        position = read_cursor(listed, text)
    except ValueError:
        return
    assert write_cursor(listed, position) == text


@pytest.mark.parametrize("seed", seeds(2))
async def test_pages_of_any_size_hold_each_row_once_while_others_come_and_move(
    alice: httpx.AsyncClient, alice_id: str, sessions: Sessions, seed: int
) -> None:
    """What is there all the time is listed once; what moves up meanwhile at the most once."""
    random = Random(seed)
    ids = [(await alice.post("/api/conversations")).json()["id"] for _ in range(25)]
    moment = "UPDATE conversations SET updated_at = CAST(:at AS timestamptz) WHERE id = :id"
    for id_ in ids:
        at = datetime(2020, 1, 1, 0, 0, random.randrange(4)).astimezone()
        await execute(sessions, moment, at=at, id=id_)
    found: list[int] = []
    moved: set[int] = set()
    cursor: str | None = None
    while True:
        query = {"limit": random.randint(1, 6)} | ({"before": cursor} if cursor else {})
        page = (await alice.get("/api/conversations", params=query)).json()
        found += [each["id"] for each in page["conversations"]]
        cursor = page["next"]
        if cursor is None:
            break
        moved.add(up := random.choice(ids))
        await execute(sessions, moment, at=datetime(2025, 1, 1).astimezone(), id=up)
        await alice.post("/api/conversations")
    assert len(found) == len(set(found))
    assert set(ids) - moved <= set(found) <= set(ids)
