"""What `specs/` and README.md show is run and what they name is looked for: neither can drift."""

import json
import re
from collections import defaultdict
from collections.abc import AsyncIterator
from functools import cache
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
from agents.testing import ScriptedModel
from fastapi import FastAPI
from psycopg.rows import dict_row
from uvicorn.importer import import_from_string

from backend import demo, main, models
from backend.agent.context.truncate import compact
from backend.agent.tools import create_tools_for_user
from backend.config import Settings
from backend.errors import AppError, NotFound
from backend.tests.house.test_layout import FLOORS, MODULES, floor
from backend.tests.support.databases import execute as execute_sql
from backend.tests.support.databases import temporary_database
from backend.tests.support.documented import (
    ROOT,
    Section,
    assert_answered,
    body_of,
    commands,
    configure,
    execute,
    sections,
    send,
    timeless,
)
from backend.tests.support.fixtures import client_of, make_settings, running, settled
from backend.tests.support.scripting import calls, outputs, says, unsaved_turn

SPECS = ROOT / "specs" / "006-chat-backend"
CONTRACTS = SPECS / "contracts"
CHAT_API = CONTRACTS / "chat-api.md"
TOOLS = CONTRACTS / "tool-definitions.md"
README = ROOT / "README.md"
TESTS = ROOT / "backend" / "tests"
PAGES = [*sorted(SPECS.rglob("*.md")), *sorted(ROOT.glob("*.md"))]

TABLES = "tasks conversations messages people projects calendar_feeds spending stream_log erasures"
NAMED = re.compile(r"(?<![\w/])((?:backend|specs)/[\w/-]+\.(?:py|md)|test_\w+\.py)(?:::(\w+))?")


@pytest.fixture(scope="module")
async def pages_database(postgres_url: str, migrated_template: str) -> AsyncIterator[str]:
    async with temporary_database(postgres_url, migrated_template) as url:
        yield url


@pytest.fixture
async def empty_database(pages_database: str) -> str:
    """One database emptied for each section, as a copy for each would take seconds in all."""
    tables = TABLES.replace(" ", ", ")
    await execute_sql(pages_database, f"TRUNCATE {tables} RESTART IDENTITY")
    return pages_database


def section_of(page: Path, title: str) -> Section:
    return next(section for section in sections(page) if section.title == title)


UNUSED: Any = None


def tool_schemas() -> dict[str, tuple[str, Any]]:
    """The description and the parameters of each tool, as a model is given them."""
    turn = unsaved_turn()
    tools: list[Any] = create_tools_for_user("someone", UNUSED, turn)
    return {tool.name: (tool.description, tool.params_json_schema) for tool in tools}


SCHEMAS = tool_schemas()
PLAYED = [s for page in PAGES for s in sections(page) if {b.kind for b in s.blocks} - {"", "text"}]


@pytest.mark.parametrize("section", PLAYED, ids=lambda each: f"{each.page.stem}: {each.title}")
async def test_every_example_is_what_the_service_does(
    section: Section, empty_database: str, model: ScriptedModel
) -> None:
    given = {"openai_model": "offline"} | section.settings
    given.pop("database_url", None)
    settings = make_settings(empty_database, **given)
    async with (
        running(settings, model if section.page == TOOLS else None) as app,
        client_of(app, demo.sign_in(empty_database)) as client,
    ):
        if section.page == TOOLS:
            await play_tools(section, client, model)
        else:
            await play(section, client, empty_database)


async def play(section: Section, client: httpx.AsyncClient, url: str) -> None:
    """Run a section from top to bottom; a `json` block is the answer of the one before it."""
    blocks = iter(section.blocks)
    answer: Any = None
    for kind, text in blocks:
        match kind:
            case "http":
                if "{next}" in text:
                    text = text.replace("{next}", answer["next"])
                sent = await send(client, text)
                assert_answered(sent, next(blocks).text)
                answer = body_of(sent.text)
            case "sql":
                await settled(client)
                answer = await rows(url, text)
            case "sh" | "bash":
                answer = [await execute(client, words) for words in commands(text)][-1]
            case "json":
                shown = json.loads(text)
                assert timeless(shown) == timeless(answer) or section.page == README
            case "dotenv":
                await configure(text)
            case _:
                assert kind in ("", "text"), f"nothing runs a block of {kind!r}"


async def play_tools(section: Section, client: httpx.AsyncClient, model: ScriptedModel) -> None:
    """Have the model send each first block of a pair; the second goes on record, and is read."""
    blocks = iter(section.blocks[section.title in SCHEMAS :])
    for kind, text in blocks:
        shown = next(blocks).text
        if kind == "http":
            assert_answered(await send(client, text), shown)
            continue
        name = section.title.split()[0]
        model.extend([calls(name, text), says("Done.")])
        answer = await client.post("/api/chat", json={"message": "Go."})
        result, recorded = outputs(model)[-1], answer.json()["tool_calls"]
        kept = recorded[-1]["result"] if recorded else result
        assert timeless(kept) == timeless(json.loads(shown))
        assert result == compact(name, kept)


async def rows(url: str, query: str) -> list[dict[str, Any]]:
    async with await psycopg.AsyncConnection.connect(url, row_factory=dict_row) as connection:
        return await (await connection.execute(query.encode())).fetchall()


async def test_every_route_has_an_example() -> None:
    paths = main.create_app(make_settings("postgresql://nobody@127.0.0.1:1/x")).openapi()["paths"]
    routes = {f"{method.upper()} {path}" for path, each in paths.items() for method in each}
    pages = "".join(page.read_text() for page in CONTRACTS.glob("*.md"))
    asked = re.findall(r"^```http\n([A-Z]+ [^\s?]+)", pages, re.MULTILINE)

    assert {re.sub(r"\{\w+\}", "1", route) for route in routes} <= set(asked)


def test_the_errors_are_those_the_service_raises() -> None:
    def family(kind: type[AppError]) -> set[type[AppError]]:
        return {kind, *(each for child in kind.__subclasses__() for each in family(child))}

    raised = {(str(k.status), k.code, k.message) for k in family(AppError) - {NotFound}}
    told = {(row[0], row[1], row[2]) for row in section_of(CHAT_API, "Errors").table}
    shown = r'^HTTP/1.1 (\d+)[^`]*?"code": "(\w+)",\s+"message": "(.*?)"'
    answers = set(re.findall(shown, CHAT_API.read_text(), re.MULTILINE))

    assert raised <= told
    assert answers <= told
    assert told - raised <= answers


@pytest.mark.parametrize("tool", SCHEMAS)
def test_a_tools_description_and_schema_are_those_the_model_is_given(tool: str) -> None:
    section = section_of(TOOLS, tool)
    described = re.findall(r"^> (.*)$", section.text, re.MULTILINE)

    assert (" ".join(described), json.loads(section.blocks[0].text)) == SCHEMAS[tool]


CATALOG = r"""
    SELECT concat_ws(' ', attname, format_type(atttypid, atttypmod),
        CASE WHEN attnotnull THEN 'no' ELSE 'yes' END,
        CASE attidentity WHEN '' THEN split_part(pg_get_expr(adbin, adrelid), '::', 1)
            ELSE 'identity' END) AS said
    FROM pg_attribute LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
    WHERE attrelid = 'NAME'::regclass AND attnum > 0 AND NOT attisdropped
    UNION ALL SELECT conname || ' ' || pg_get_constraintdef(oid)
    FROM pg_constraint WHERE conrelid = 'NAME'::regclass AND contype <> 'n'
    UNION ALL SELECT indexrelid::regclass || CASE WHEN indisunique THEN ' UNIQUE' ELSE '' END
        || substring(pg_get_indexdef(indexrelid), ' \(.*\)')
    FROM pg_index WHERE indrelid = 'NAME'::regclass
        AND NOT EXISTS (SELECT FROM pg_constraint WHERE conindid = indexrelid)
"""


@pytest.mark.parametrize("name", TABLES.split())
async def test_the_tables_are_those_of_a_migrated_database(name: str, pages_database: str) -> None:
    documented = section_of(SPECS / "data-model.md", name).table
    told = [" ".join(cell for cell in row[:-1] if cell) for row in documented]
    found = await rows(pages_database, CATALOG.replace("NAME", name))

    assert sorted(told) == sorted(row["said"] for row in found)


def test_the_limits_and_states_are_those_of_the_models() -> None:
    page = SPECS / "data-model.md"
    for name, value, _ in section_of(page, "Limits of the fields").table:
        assert getattr(models, name) == int(value), name
    states = [row[0] for row in section_of(page, "The states of a message").table]
    assert states == list(models.MessageStatus)


def test_the_floors_are_those_that_are_held() -> None:
    told = section_of(SPECS / "plan.md", "Floors and rooms").table
    rooms = re.compile(r"backend/(\w+)")

    assert [set(rooms.findall(row[1])) for row in told] == [set(each) for each in FLOORS[::-1]]


def test_the_way_of_a_message_goes_down_the_stairs() -> None:
    drawn = section_of(SPECS / "plan.md", "The way of one message").blocks[0].text
    steps = re.findall(r"^(\d?) +([\w/]+)\.py", drawn, re.MULTILINE)
    floors = [floor(path.replace("/", ".")) + 1 for _, path in steps]

    assert {path.replace("/", ".") for _, path in steps} <= set(MODULES)
    assert floors == sorted(floors, reverse=True)
    assert all(int(told) == held for (told, _), held in zip(steps, floors, strict=True) if told)


def test_uvicorn_finds_the_app(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(vars(main), "app", None)  # so that it is gone again afterwards
    del main.app

    assert isinstance(import_from_string("backend.main:app"), FastAPI)


@cache
def named_files() -> dict[str, list[Path]]:
    """The tests' files by name; what npm has installed beside them is none of ours."""
    found = defaultdict[str, list[Path]](list)
    for folder, folders, names in TESTS.walk():
        folders[:] = {*folders} - {"node_modules", "__pycache__"}
        for name in names:
            found[name].append(folder / name)
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_file_and_function_that_is_named_is_there(page: Path) -> None:
    for name, function in NAMED.findall(page.read_text()):
        places = [ROOT / name] if "/" in name else named_files()[name]
        (file,) = (place for place in places if place.exists())
        assert re.search(rf"\b{function}\b", file.read_text()), f"{name}::{function}"


def test_the_breakdown_is_done_and_each_item_names_what_shows_it() -> None:
    items = re.findall(r"^- (.*(?:\n  .*)*)", (SPECS / "tasks.md").read_text(), re.MULTILINE)

    assert items
    for item in items:
        assert item.startswith("[x] "), item
        assert NAMED.search(item), item
