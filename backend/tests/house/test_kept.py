"""The page of what is kept names every table of people, and the columns that hold their data."""

import re

from sqlmodel import SQLModel

import backend.personal
import backend.run_models  # noqa: F401  # both fill SQLModel.metadata
from backend.tests.house.test_specs import SPECS

PAGE = SPECS / "kept.md"
OWN_ROWS = ("idempotency_key", "input_tokens", "cached_tokens", "output_tokens", "request_hash")
"""Columns of messages that the page tells of by themselves, since they are kept otherwise."""
PLAIN = {
    *("id", "user_id", "conversation_id", "message_id", "project_id", "previous_id", "reply_to"),
    *("created_at", "updated_at", "deleted_at", "archived_at", "completed_at", "ended_at"),
    *("undone_at", "stopped_at", "lease_until", "repeats_until", "begun_at", "closed_at"),
    *("counted_at", "erased_at", "written_at", "message_count", "context_from", "summary_to"),
    *("attempt", "stop_attempt", "seq", "role", "status", "completed"),
}
"""What says how and when, and nothing of what anybody wrote or did."""
TOLD = {
    "tasks": {
        "titles": {"title"},
        "descriptions": {"description"},
        "dates": {"due_date", "due_is_date", "time_zone", "recurrence_pattern"}
        | {"recurrence_day", "recurrence_time", "priority"},
        "tags": {"tags"},
        "steps": {"steps"},
    },
    "projects": {"names": {"name"}},
    "conversations": {
        "titles": {"title"},
        "summaries": {"summary"},
        "provider and model": {"provider", "model"},
        "toolsets chosen": {"toolsets"},
        "names that clients gave": {"client_id", "origin"},
    },
    "messages": {
        "what was said": {"content"},
        "what tools did": {"tool_calls_json"},
        "approval": {"approvals_json"},
        "replaced": {"replaced_json"},
        "retry": {"idempotency_key", "request_hash"},
        "tokens": {"input_tokens", "cached_tokens", "output_tokens", "provider", "model"},
        "names": {"client_id", "origin"},
    },
    "spending": {
        "tokens": {"input_tokens", "cached_tokens", "output_tokens"},
        "dollars": {"cost_usd"},
        "day and model": {"day", "provider", "model"},
    },
    "stream_log": {"streamed": {"events"}},
    "calendar_feeds": {"hash": {"secret_hash"}},
    "people": {"time zone": {"time_zone"}},
    "erasures": {"hash": {"user_hash"}, "that day had cost": {"day", "tokens", "dollars"}},
}
"""By table, the words of the page and the columns that they stand for."""


def rows() -> list[list[str]]:
    lines = re.findall(r"^\| (.*) \|$", PAGE.read_text(), re.MULTILINE)
    return [line.split(" | ") for line in lines]


def test_every_table_has_its_line_with_all_groups_of_columns() -> None:
    for name, table in SQLModel.metadata.tables.items():
        told = " ".join(row[0] for row in rows() if f"`{name}`" in row[1])
        assert told, f"kept.md says nothing of the table {name}"
        assert {column.name for column in table.c} - PLAIN == set().union(*TOLD[name].values())
        if name != "messages":  # names of clients are told of with conversations
            assert not [words for words in TOLD[name] if words not in told], name


def test_every_line_says_how_long() -> None:
    assert all(len(row) == 3 and row[2].strip() for row in rows())
    page = PAGE.read_text()
    assert all(f"`{name}`" in page for name in OWN_ROWS)
