"""Pages of Markdown as the tests read them, and what runs the examples and commands in them.

The rules for whoever writes a page stand in `specs/006-chat-backend/contracts/chat-api.md`,
under *How the examples are read*.
"""

import json
import re
import shlex
import subprocess
from collections.abc import Iterator
from http import HTTPStatus
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import uvicorn

from backend.agent.models.catalog import open_providers
from backend.config import Settings
from backend.database import create_pool

ROOT = Path(__file__).parents[3]

_FENCE = re.compile(r"^```(.*)\n((?:.*\n)*?)```$", re.MULTILINE)
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?Z")
_TIMES = {
    "created_at",
    "updated_at",
    "completed_at",
    "archived_at",
    "undone_at",
    "after",
    "resets_at",
}
_CURSOR = re.compile(r"[\w-]{40,}")
_DAY = re.compile(r"\d{4}-\d\d-\d\d")


class Block(NamedTuple):
    """A fenced block: the word after its fence, and what is in it."""

    kind: str
    text: str


class Section(NamedTuple):
    """What stands under one `##` of a page."""

    page: Path
    title: str
    text: str

    @property
    def blocks(self) -> list[Block]:
        return [Block(*found) for found in _FENCE.findall(self.text)]

    @property
    def settings(self) -> dict[str, str | None]:
        """The variables of its `dotenv` blocks; an empty value is none at all."""
        return variables("".join(block.text for block in self.blocks if block.kind == "dotenv"))

    @property
    def table(self) -> list[list[str]]:
        """The cells of its tables, without backticks and without their heads."""
        lines = re.findall(r"^\|(.*)\|$", self.text, re.MULTILINE)
        split = [re.split(r"(?<!\\)\|", line) for line in lines]
        cells = [[cell.strip("` ").replace(r"\|", "|") for cell in line] for line in split]
        heads = {number - 1 for number, row in enumerate(cells) if set(row[0]) == {"-"}}
        return [row for number, row in enumerate(cells) if not {number, number - 1} & heads]


def sections(page: Path) -> Iterator[Section]:
    for part in re.split(r"^## ", page.read_text(), flags=re.MULTILINE):
        title, _, text = part.partition("\n")
        yield Section(page, title.strip("`# "), text)


def variables(dotenv: str) -> dict[str, str | None]:
    lines = (line.partition("=") for line in dotenv.splitlines())
    return {name.lower(): value or None for name, _, value in lines}


def timeless(value: Any, key: str = "") -> Any:
    """`value` with one word for each time that a clock gave, and for each cursor made of one."""
    if isinstance(value, dict):
        return {name: timeless(inner, name) for name, inner in value.items()}
    if isinstance(value, list):
        return [timeless(inner) for inner in value]
    if key == "date" and _DAY.fullmatch(str(value)):
        return "a day"
    if key == "next" and isinstance(value, str):
        return "a cursor"
    return "a time" if key in _TIMES and _TIME.fullmatch(str(value)) else value


async def send(client: httpx.AsyncClient, request: str) -> httpx.Response:
    """The answer to an `http` block: method and path, headers, an empty line, the body."""
    head, _, body = request.partition("\n\n")
    line, *headers = head.splitlines()
    method, path = line.split()
    fields = {"Content-Type": "application/json"} | dict(each.split(": ", 1) for each in headers)
    return await client.request(method, path, headers=fields, content=body or None)


def assert_answered(answer: httpx.Response, shown: str) -> None:
    """That `answer` is the one `shown`, which may leave out headers."""
    head, _, body = shown.partition("\n\n")
    status, *headers = head.splitlines()
    phrase = HTTPStatus(answer.status_code).phrase
    assert status == f"HTTP/1.1 {answer.status_code} {phrase}", answer.text
    for name, value in (line.split(": ", 1) for line in headers):
        found = _CURSOR.sub("...", answer.headers[name])
        if name == "RateLimit":
            found, value = (re.sub(r";t=\d+$", "", each) for each in (found, value))
        assert found.isdecimal() if name == "Retry-After" else found == value
    assert timeless(body_of(answer.text)) == timeless(body_of(body))


def body_of(text: str) -> Any:
    """What a body says: JSON, or the parts of a stream, with texts in pieces put together."""
    if not text.startswith("data: "):
        return json.loads(text or "null")
    parts: list[Any] = []
    for line in filter(None, text.splitlines()):
        said = line.removeprefix("data: ")
        part: Any = said if said == "[DONE]" else json.loads(said)
        before = parts[-1] if parts else {}
        if "delta" in part and "delta" in before:
            before["delta"] += part["delta"]
        else:
            parts.append(part)
    return parts


def commands(text: str) -> list[list[str]]:
    """The words of each command in a shell's block."""
    lines = text.replace("\\\n", " ").splitlines()
    return [words for line in lines if (words := shlex.split(line, comments=True))]


async def execute(client: httpx.AsyncClient, words: list[str]) -> Any:
    """Run one command as far as it goes without a network; the answer of a `curl`."""
    while words and re.match(r"[A-Z_]+=", words[0]):
        words = words[1:]
    match words:
        case ["curl", *_]:
            return await _paste(client, words)
        case ["make", *targets]:
            dry = ["make", "-n", *targets]
            subprocess.run(dry, cwd=ROOT, check=True, capture_output=True)  # noqa: S603, ASYNC221
        case [".venv/bin/python", "-m", "uvicorn", "backend.main:app", *options]:
            uvicorn.main.make_context("uvicorn", ["backend.main:app", *options])
        case [".venv/bin/python", "-m", "pytest", *paths]:
            assert all((ROOT / path.split("::")[0]).exists() for path in paths)
        case ["cp", source, _]:
            assert (ROOT / source).exists()
        case ["git" | "cd", *_] | []:
            pass
        case _:
            raise AssertionError(f"nothing runs {words}")
    return None


async def _paste(client: httpx.AsyncClient, words: list[str]) -> Any:
    """What a `curl` command answers; whoever it names is the demo user here."""
    given = list(pairwise(words))
    url = httpx.URL(next(word for word in words if word.startswith("http")))
    body = next((value for flag, value in given if flag == "-d"), None)
    method = next((value for flag, value in given if flag == "-X"), "POST" if body else "GET")
    headers = dict(value.split(": ", 1) for flag, value in given if flag == "-H")
    assert ("Authorization" in headers) is url.path.startswith("/api/")
    headers.pop("Authorization", None)
    answer = await client.request(method, url.raw_path.decode(), headers=headers, content=body)
    assert answer.is_success, answer.text
    return answer.json() if answer.content else None


async def configure(dotenv: str) -> None:
    """Take the variables as the service would, as far as it goes without a network."""
    given: Any = variables(dotenv)
    assert set(given) <= set(Settings.model_fields)
    settings = Settings(_env_file=None, **given)
    async with open_providers(settings, None):
        assert not settings.openai_base_url or settings.openai_api == "chat_completions"
    if settings.database_url:
        create_pool(settings, settings.database_url.get_secret_value())
