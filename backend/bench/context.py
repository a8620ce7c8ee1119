"""What a long conversation sends to its model, beside sending its last 50 messages each time."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

from backend.agent.context.tokens import ITEM, texts, tokenizer_of
from backend.bench.database import Postgres, token_of
from backend.bench.load import Connection, http_request
from backend.bench.processes import service
from backend.bench.report import Figure, Verdict
from backend.tests.support.provider_wire import Answer, FunctionCall, Request
from backend.tests.support.scripted_provider import ScriptedProvider, answer_by_rule

TURNS = 200
LAST = 50
"""Messages that the plain way sends, the new one included."""
REPEATED_GOAL = 0.75
"""Of the tokens sent, those that were there, in the same place, in the request before."""

type Items = list[dict[str, Any]]


@dataclass(frozen=True)
class Sent:
    """The tokens of requests, one after the other, and how many of them repeat the one before."""

    tokens: int
    repeated: int


async def context(postgres: Postgres, quick: bool) -> list[Figure]:
    """One person talks, adds tasks and asks for them; the model's tokens are counted."""
    url = postgres.new_database("context")
    answers: list[dict[str, Any]] = []
    async with ScriptedProvider(then=_answer) as provider:
        port = int(provider.base_url.split(":")[2].split("/")[0])
        async with (
            service(postgres.folder, url, port, settings={"AI_SUMMARIES": "true"}) as running,
            Connection(running.port) as connection,
        ):
            body: dict[str, Any] = {"conversation_id": None}
            for number in range(TURNS):
                body["message"] = _message(number)
                request = http_request("POST", "/api/chat", token_of(0), body)
                answers.append(await connection.ask(request))
                body["conversation_id"] = answers[0]["conversation_id"]
    return _figures(provider.requests, answers)


def _message(number: int) -> str:
    """Each tenth asks for the list, each fifth adds a task, the others talk."""
    if number % 10 == 9:
        return f"Show my tasks, please, for the {number}th time"
    if number % 5 == 2:
        return f"Add water the plants in room {number} before the weekend"
    return f"What would you do about this, and why? I have been thinking of it for {number} days."


def _answer(request: Request) -> Answer:
    newest = request.items[-1]
    if request.body.get("tools") and str(newest.get("content")).startswith("Show"):
        arguments = {"status": "all", "search": None, "limit": None}
        return Answer(calls=(FunctionCall("list_tasks", json.dumps(arguments)),))
    return answer_by_rule(request)


def _figures(requests: list[Request], answers: list[dict[str, Any]]) -> list[Figure]:
    runs = [request for request in requests if request.body.get("tools")]
    notes = [request for request in requests if not request.body.get("tools")]
    ours = _count([[*_fixed(run), *run.items] for run in runs])
    plain = _count([[*_fixed(run), *items] for run, items in _plain(runs, answers)])
    beside = sum(_tokens(part) for note in notes for part in [*_fixed(note), *note.items])
    share, before = ours.repeated / ours.tokens, plain.repeated / plain.tokens
    verdict: Verdict = "ok" if share >= REPEATED_GOAL else "FAILED"
    less: Verdict = "ok" if ours.tokens + beside <= plain.tokens else "FAILED"
    return [
        Figure(
            "repeated from the request before", f"{share:.1%}", f">= {REPEATED_GOAL:.0%}", verdict
        ),
        Figure(f"with the last {LAST} messages", f"{before:.1%}"),
        Figure(
            "tokens sent a turn", f"{(ours.tokens + beside) / TURNS:.0f}", "<= the last 50", less
        ),
        Figure("of these, for title and summaries", f"{beside / TURNS:.0f}"),
        Figure(f"with the last {LAST} messages", f"{plain.tokens / TURNS:.0f}"),
        Figure("not repeated, a turn", f"{(ours.tokens + beside - ours.repeated) / TURNS:.0f}"),
        Figure(f"with the last {LAST} messages", f"{(plain.tokens - plain.repeated) / TURNS:.0f}"),
    ]


def _plain(runs: list[Request], answers: list[dict[str, Any]]) -> Iterator[tuple[Request, Items]]:
    """Each request of a run with the last messages in place of what was sent of the history."""
    past: list[Items] = []
    waiting = iter(runs)
    for number, answer in enumerate(answers):
        for _ in range(2 if answer["tool_calls"] else 1):
            run = next(waiting)
            asked = {"role": "user", "content": _message(number)}
            now = run.items[run.items.index(asked) - 1 :]
            yield run, [*(item for message in past[1 - LAST :] for item in message), *now]
        past += [[{"role": "user", "content": _message(number)}], _stored(number, answer)]


def _stored(number: int, answer: dict[str, Any]) -> Items:
    items: Items = []
    for call in answer["tool_calls"] or []:
        call_id = f"call_{number}"
        made = {"name": call["tool"], "arguments": json.dumps(call["args"])}
        items += [
            {"type": "function_call", "call_id": call_id, **made},
            {
                "type": "function_call_output",
                "call_id": call_id,
                "output": json.dumps(call["result"]),
            },
        ]
    return [*items, {"role": "assistant", "content": answer["response"]}]


def _fixed(request: Request) -> Items:
    """What stands before the items, as two parts of the request."""
    return [
        {"prompt": request.body["instructions"]},
        {"tools": json.dumps(request.body.get("tools"))},
    ]


def _count(requests: list[Items]) -> Sent:
    tokens = repeated = 0
    before: Items = []
    for parts in requests:
        sizes = [_tokens(part) for part in parts]
        same = 0
        while same < min(len(parts), len(before)) and parts[same] == before[same]:
            same += 1
        tokens += sum(sizes)
        repeated += sum(sizes[:same])
        before = parts
    return Sent(tokens, repeated)


def _tokens(part: dict[str, Any]) -> int:
    return ITEM + sum(_text_tokens(text) for text in texts(part))


@cache
def _text_tokens(text: str) -> int:
    return tokenizer_of("gpt-4o-mini").count(text)
