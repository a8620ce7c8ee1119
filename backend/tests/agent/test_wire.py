"""What servers send that is not what the format says: mended, or an honest failure.

Never is a wish lost as a success: the task is there, or the person is told that it is not.
"""

import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from backend.tests.support.fixtures import Run
from backend.tests.support.provider_wire import Raw, Step
from backend.tests.support.scripted_provider import ScriptedProvider
from backend.tests.support.wire_bodies import (
    call,
    calling,
    completion,
    completion_of,
    raw,
    response,
    saying,
)

DONE = saying("Done.")
OFTEN = {"rate_limit_chat": "1000/minute", "rate_limit_tasks": "1000/minute"}


@pytest.fixture
async def provider() -> AsyncIterator[ScriptedProvider]:
    async with ScriptedProvider() as provider:
        yield provider


@pytest.fixture
async def wild(
    run: Run, alice: httpx.AsyncClient, provider: ScriptedProvider
) -> AsyncIterator[httpx.AsyncClient]:
    """Alice on an app whose model speaks Chat Completions, each in its own way."""
    settings = {"openai_base_url": provider.base_url, "openai_api": "chat_completions"}
    async with run(alice, None, **settings, **OFTEN) as client:
        yield client


async def say(client: httpx.AsyncClient, text: str = "Add buy milk", **more: Any) -> Any:
    return (await client.post("/api/chat", json={"message": text, **more})).json()


async def titles(client: httpx.AsyncClient) -> list[str]:
    return [task["title"] for task in (await client.get("/api/tasks")).json()["tasks"]]


async def added(client: httpx.AsyncClient, provider: ScriptedProvider, *steps: Step) -> bool:
    """Whether the task is there after a turn that was answered with `steps`."""
    before = await titles(client)
    provider.add(*steps)
    turn = await say(client)
    provider._steps.clear()
    now = await titles(client)
    if now == ["Buy milk", *before]:
        assert "error" not in turn, turn
        return True
    assert now == before, now
    return False


ARGUMENTS: dict[str, Any] = {
    "an object": {"title": "Buy milk"},
    "a list of one": [{"title": "Buy milk"}],
    "twice encoded": json.dumps('{"title": "Buy milk"}'),
    "three times": json.dumps(json.dumps('{"title": "Buy milk"}')),
    "in a fence": '```json\n{"title": "Buy milk"}\n```',
    "in a bare fence": '```\n{"title": "Buy milk"}```',
    "a trailing comma": '{"title": "Buy milk",}',
    "a trailing comma in a list": '{"title": "Buy milk", "tags": ["a",],}',
    "a raw line break": '{"title": "Buy milk", "description": "a\nb"}',
    "Python's": "{'title': 'Buy milk', 'description': None}",
    "a token behind": '{"title": "Buy milk"}<|call|>',
    "an empty one before": '{}{"title": "Buy milk"}',
    "twice the same": '{"title": "Buy milk"}{"title": "Buy milk"}',
    "blanks around": ' \n{"title": "Buy milk"}\n ',
}
NAMES: dict[str, Any] = {
    "a namespace": "functions.add_task",
    "a channel": "add_task<|channel|>commentary",
    "a channel and json": "add_task<|channel|>json",
    "both": "functions.add_task<|channel|>commentary",
    "a number": "functions.add_task:0",
    "capitals": "Add_Task",
    "a dash": "add-task",
    "quotation marks": '"add_task"',
    "parentheses": "add_task()",
    "blanks": " add_task ",
    "default_api": "default_api.add_task",
}
BARE = {"name": "add_task", "arguments": '{"title": "Buy milk"}'}
MESSAGES: dict[str, Raw] = {
    "no id": calling({"type": "function", "function": BARE}),
    "a null id": calling(call(call_id=None)),
    "a number as id": calling(call(call_id=7)),
    "no type": calling({"id": "abcdefghi", "function": BARE}),
    "a null type": calling({"id": "abcdefghi", "type": None, "function": BARE}),
    "another type": calling({"id": "abcdefghi", "type": "tool", "function": BARE}),
    "no function around": calling({"id": "abcdefghi", **BARE}),
    "one call, no list": completion({"role": "assistant", "tool_calls": call()}),
    "the older form": completion({"role": "assistant", "function_call": BARE}, "function_call"),
    "parameters for arguments": calling(
        {"function": {"name": "add_task", "parameters": {"title": "Buy milk"}}}
    ),
    "no role": completion({"content": None, "tool_calls": [call()]}, "tool_calls"),
    "no content": completion({"role": "assistant", "tool_calls": [call()]}, "tool_calls"),
    "content as a list": calling(call(), content=[]),
    "content as parts": calling(call(), content=[{"type": "text", "text": "Adding."}]),
    "content as an object": calling(call(), content={"text": "Adding."}),
    "a null reason": completion({"role": "assistant", "tool_calls": [call()]}, None),
    "stop as reason": completion({"role": "assistant", "tool_calls": [call()]}, "stop"),
    "another reason": completion({"role": "assistant", "tool_calls": [call()]}, "tool_use"),
    "no reason": completion_of([{"message": {"role": "assistant", "tool_calls": [call()]}}]),
    "a null among calls": calling(None, call()),
    "the same call twice": calling(call(), call()),
    "choices as an object": raw({"choices": {"message": {"tool_calls": [call()]}}}),
    "a delta": completion_of([{"delta": {"role": "assistant", "tool_calls": [call()]}}]),
    "two choices": completion_of(
        [
            {"index": 0, "finish_reason": "stop", "message": {"content": "I add it."}},
            {"index": 1, "finish_reason": "tool_calls", "message": {"tool_calls": [call()]}},
        ]
    ),
    "the call in the first of two": completion_of(
        [
            {"index": 0, "finish_reason": "tool_calls", "message": {"tool_calls": [call()]}},
            {"index": 1, "finish_reason": "stop", "message": {"content": "Added it."}},
        ]
    ),
}
JSON_CALL = '{"name": "add_task", "arguments": {"title": "Buy milk"}}'
WRITTEN: dict[str, str] = {
    "Hermes": f"<tool_call>\n{JSON_CALL}\n</tool_call>",
    "Hermes, unclosed": f"<tool_call>{JSON_CALL}",
    "Hermes, after a text": f"I'll add it.\n<tool_call>{JSON_CALL}</tool_call>",
    "Hermes, with a thought": f"<think>Hm.</think>\n<tool_call>{JSON_CALL}</tool_call>",
    "Qwen Coder": "<tool_call>\n<function=add_task>\n<parameter=title>\nBuy milk\n</parameter>\n"
    "</function>\n</tool_call>",
    "Llama at Groq": '<function=add_task>{"title": "Buy milk"}</function>',
    "Llama 3.1": '<|python_tag|>{"name": "add_task", "parameters": {"title": "Buy milk"}}',
    "Mistral": f"[TOOL_CALLS][{JSON_CALL}]",
    "Mistral 3": '[TOOL_CALLS]add_task[ARGS]{"title": "Buy milk"}',
    "GLM": "<tool_call>add_task\n<arg_key>title</arg_key>\n<arg_value>Buy milk</arg_value>\n"
    "</tool_call>",
    "MiniMax": '<minimax:tool_call>\n<invoke name="add_task">\n<parameter name="title">Buy milk'
    "</parameter>\n</invoke>\n</minimax:tool_call>",
    "Kimi": "<|tool_calls_section_begin|><|tool_call_begin|>functions.add_task:0"
    '<|tool_call_argument_begin|>{"title": "Buy milk"}<|tool_call_end|>'
    "<|tool_calls_section_end|>",
    "DeepSeek": "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>add_task\n"
    '```json\n{"title": "Buy milk"}\n```<｜tool▁call▁end｜><｜tool▁calls▁end｜>',
    "gpt-oss": "<|channel|>analysis<|message|>Add it.<|end|><|start|>assistant<|channel|>commentary"
    ' to=functions.add_task <|constrain|>json<|message|>{"title": "Buy milk"}<|call|>',
    "Gemma": f"```tool_call\n{JSON_CALL}\n```",
}


async def test_a_call_in_whatever_form_is_carried_out_once(
    wild: httpx.AsyncClient, provider: ScriptedProvider
) -> None:
    given = {
        **{f"arguments: {name}": calling(call(each)) for name, each in ARGUMENTS.items()},
        **{f"name: {name}": calling(call(name=each)) for name, each in NAMES.items()},
        **{f"message: {name}": each for name, each in MESSAGES.items()},
        **{f"written: {name}": saying(each) for name, each in WRITTEN.items()},
    }
    missed = [name for name, each in given.items() if not await added(wild, provider, each, DONE)]
    assert not missed


TOLD: dict[str, Raw] = {
    "half an object": calling(call('{"title": "Buy')),
    "two objects": calling(call('{"title": "Buy milk"}{"title": "Buy bread"}')),
    "words": calling(call("Buy milk")),
    "a number": calling(call(7)),
    "too deep": calling(call('{"title": ' + "[" * 5000 + "]" * 5000 + "}")),
    "no name": calling(call(name=None)),
    "no function": calling({"id": "abcdefghi", "type": "function"}),
    "nothing but null": calling(None),
    "another tool": calling(call(name="buy_milk")),
    "half a written one": saying('<tool_call>{"name": "add_task", "arguments": {"title": "Bu'),
}


@pytest.mark.parametrize("step", TOLD.values(), ids=TOLD.keys())
async def test_a_call_that_cannot_be_read_is_told_to_the_model(
    wild: httpx.AsyncClient, provider: ScriptedProvider, step: Raw
) -> None:
    assert await added(wild, provider, step, calling(call()), DONE)
    assert '"success": false' in str(provider.requests[1].items)


TEXTS: dict[str, tuple[Any, str]] = {
    "a thought": ("<think>Hm, milk.</think>\n\nHello.", "Hello."),
    "an unclosed thought": ("Hello.\n<think>Was that all?", "Hello."),
    "the end of a thought": ("Hm, milk.\n</think>\nHello.", "Hello."),
    "thoughts between": ("<think>a</think>Hel<think>b</think>lo.", "Hello."),
    "another tag": ("<thinking>Hm.</thinking>Hello.", "Hello."),
    "Magistral": ("[THINK]Hm.[/THINK]Hello.", "Hello."),
    "gpt-oss": (
        "<|channel|>analysis<|message|>Hm.<|end|><|start|>assistant<|channel|>final<|message|>Hello.",
        "Hello.",
    ),
    "a token": ("Hello.<|im_end|>", "Hello."),
    "parts": (
        [
            {"type": "thinking", "thinking": [{"type": "text", "text": "Hm."}]},
            {"type": "text", "text": "Hello."},
        ],
        "Hello.",
    ),
    "two parts": ([{"type": "text", "text": "Hel"}, "lo."], "Hello."),
    "a part alone": ({"type": "text", "text": "Hello."}, "Hello."),
    "no markup": ("1 < 2 and [x] and `a` and a | b", "1 < 2 and [x] and `a` and a | b"),
    "a call that is told of": (
        f"I saw <tool_call>{JSON_CALL}</tool_call> in your list.",
        f"I saw <tool_call>{JSON_CALL}</tool_call> in your list.",
    ),
}


async def test_only_what_is_meant_for_the_person_is_shown_and_kept(
    wild: httpx.AsyncClient, provider: ScriptedProvider
) -> None:
    provider.add(*(saying(sent) for sent, _ in TEXTS.values()))
    shown = {name: (await say(wild, f"Hello {name}"))["response"] for name in TEXTS}
    assert shown == {name: text for name, (_, text) in TEXTS.items()}
    assert not await titles(wild)


async def test_nothing_but_a_thought_is_an_empty_answer(
    wild: httpx.AsyncClient, provider: ScriptedProvider
) -> None:
    provider.add(*map(saying, ("<think>Hm.</think>", "<think>Hm.", "", None, [], 7)))
    for number in range(6):
        turn = await say(wild, f"Hello {number}")
        assert turn["response"].startswith("I'm not sure how to help with that.")


def failing(status: int, **error: Any) -> Raw:
    return raw({"error": {"message": "no", **error}}, status)


FAILED: dict[str, tuple[Step, str]] = {
    "broken off": (saying("I have ad", "error"), "unavailable"),
    "broken off, empty": (saying("", "error"), "unavailable"),
    "an error beside the choice": (
        completion_of([{"finish_reason": "stop", "error": {"code": 502}, "message": {}}]),
        "unavailable",
    ),
    "sensitive": (saying("", "sensitive"), "unavailable"),
    "network_error": (saying("Half", "network_error"), "unavailable"),
    "DeepSeek is full": (saying("", "insufficient_system_resource"), "unavailable"),
    "aborted": (saying("Ha", "abort"), "unavailable"),
    "too long as a reason": (saying("", "model_context_window_exceeded"), "context_too_long"),
    "401 in a 200": (raw({"error": {"code": 401, "message": "no"}}), "refused"),
    "402 in a 200": (raw({"error": {"code": "402", "message": "no"}}), "refused"),
    "429 in a 200": (raw({"error": {"code": 429, "message": "no"}}), "rate_limited"),
    "too long in a 200": (
        raw({"error": {"code": 400, "message": "maximum context length is 4096 tokens"}}),
        "context_too_long",
    ),
    "503 in a 200": (raw({"error": {"code": 503, "message": "no"}}), "unavailable"),
    "words in a 200": (raw({"error": "model is overloaded"}), "unavailable"),
    "a type in a 200": (raw({"error": {"type": "rate_limit_error"}}), "rate_limited"),
    "null choices beside it": (raw({"choices": None, "error": {"code": 429}}), "rate_limited"),
    "no choices": (raw({"choices": []}), "bad_answer"),
    "a gateway's code": (raw({"code": 429, "msg": "slow down"}), "rate_limited"),
    "tool_use_failed": (failing(400, code="tool_use_failed"), "bad_answer"),
    "409": (failing(409), "unavailable"),
    "425": (failing(425), "unavailable"),
    "498": (failing(498, code="capacity_exceeded"), "unavailable"),
}
NOT_RETRYABLE = ("refused", "context_too_long")


@pytest.mark.parametrize(("step", "reason"), FAILED.values(), ids=FAILED.keys())
async def test_a_failure_in_whatever_form_has_its_own_reason(
    wild: httpx.AsyncClient,
    provider: ScriptedProvider,
    step: Step,
    reason: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("openai._base_client.INITIAL_RETRY_DELAY", 0.001)
    provider._then = step
    details = (await say(wild))["error"]["details"]
    assert details["reason"] == reason
    assert details["retryable"] is (reason not in NOT_RETRYABLE)


@pytest.mark.usefixtures("hurried")
async def test_what_a_tool_did_before_an_answer_was_broken_off_stays(
    wild: httpx.AsyncClient, provider: ScriptedProvider
) -> None:
    provider.add(calling(call()), *[saying("I have ad", "error")] * 3)
    details = (await say(wild))["error"]["details"]
    assert details["reason"] == "unavailable"
    assert [each["tool"] for each in details["tool_calls"]] == ["add_task"]
    assert await titles(wild) == ["Buy milk"]


async def test_a_failure_of_one_attempt_is_tried_again(
    wild: httpx.AsyncClient, provider: ScriptedProvider
) -> None:
    broken = failing(400, code="tool_use_failed", failed_generation="<function=add")
    assert await added(wild, provider, broken, calling(call()), DONE)
    assert await added(wild, provider, saying("", "error"), calling(call()), DONE)


async def test_ids_are_ones_that_every_server_takes_and_none_stands_twice(
    wild: httpx.AsyncClient, provider: ScriptedProvider
) -> None:
    ids = ["chatcmpl-tool-1", "aB3dE6gH9", "aB3dE6gH9", "", "call.1"]
    provider.add(calling(*(call(f'{{"title": "{n}"}}', call_id=i) for n, i in enumerate(ids))))
    provider.add(DONE, DONE)
    turn = await say(wild)
    await say(wild, "And now?", conversation_id=turn["conversation_id"])
    for request in provider.requests[1:]:
        items = request.items
        made = [each["id"] for item in items for each in item.get("tool_calls") or ()]
        answered = [item["tool_call_id"] for item in items if item.get("role") == "tool"]
        assert len(set(made)) == 5
        assert made == answered
        assert all(len(each) == 9 and each.isalnum() and each.isascii() for each in made)


USAGES: list[Any] = [
    {"prompt_tokens": 10**19, "completion_tokens": 5, "total_tokens": 10**19},
    {"prompt_tokens": "many", "completion_tokens": 5},
    {"prompt_tokens": 1.5, "completion_tokens": 5},
    {"prompt_tokens": -1, "completion_tokens": 5},
    {"prompt_tokens": True, "completion_tokens": 5},
    {"prompt_tokens": None, "completion_tokens": None},
    {},
    [],
    ["a"],
    "a lot",
    12,
    None,
]
COUNTED: list[Any] = [
    {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15},
    {"prompt_tokens": 10.0, "completion_tokens": "5"},
    {"prompt_tokens": 10, "completion_tokens": 5, "prompt_tokens_details": [1]},
    {"prompt_tokens": 10, "completion_tokens": 5, "prompt_tokens_details": {"cached_tokens": "x"}},
    {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": [1], "queue_time": "x"},
    {"prompt_tokens": 10, "completion_tokens": 5, "prompt_cache_hit_tokens": 10**19},
]


async def test_usage_of_any_shape_breaks_no_answer_and_what_cannot_be_counted_is_unknown(
    wild: httpx.AsyncClient, provider: ScriptedProvider
) -> None:
    provider.add(*(saying("Hello.", usage=usage) for usage in [*USAGES, *COUNTED]))
    for number in range(len(USAGES) + len(COUNTED)):
        assert (await say(wild, f"Hello {number}"))["response"] == "Hello."
    [day] = (await wild.get("/api/usage")).json()["days"]
    assert day["uncounted_turns"] == len(USAGES)
    assert day["input_tokens"] == 10 * len(COUNTED)
    assert day["output_tokens"] == 5 * len(COUNTED)


OUTPUTS: dict[str, list[Any]] = {
    "plain": [{"type": "function_call", "call_id": "c", "id": "f", **BARE}],
    "no call_id": [{"type": "function_call", "id": "f", **BARE}],
    "no id": [{"type": "function_call", **BARE}],
    "an object": [
        {"type": "function_call", "name": "add_task", "arguments": {"title": "Buy milk"}}
    ],
    "an unknown item before": [{"type": "moderation", "x": 1}, {"type": "function_call", **BARE}],
    "a null and a text": [None, "I add it.", {"type": "function_call", **BARE}],
    "reasoning": [
        {"type": "reasoning", "id": "rs_1", "summary": None},
        {"type": "function_call", **BARE},
    ],
    "a namespace": [{"type": "function_call", **BARE, "name": "functions.add_task"}],
    "written": [
        {"type": "message", "content": [{"type": "output_text", "text": WRITTEN["Hermes"]}]}
    ],
}


@pytest.fixture
async def responding(
    run: Run, alice: httpx.AsyncClient, provider: ScriptedProvider
) -> AsyncIterator[httpx.AsyncClient]:
    """The same over the Responses API."""
    async with run(alice, None, openai_base_url=provider.base_url, **OFTEN) as client:
        yield client


async def test_the_same_holds_over_the_responses_api(
    responding: httpx.AsyncClient, provider: ScriptedProvider
) -> None:
    done = response({"type": "message", "content": "Done."})
    for name, output in OUTPUTS.items():
        assert await added(responding, provider, response(*output), done), name
    usages = [{"input_tokens": 10**19, "output_tokens": 1}, "many", [], {"input_tokens": 1.5}]
    provider.add(*(response({"type": "message", "content": "Hi."}, usage=each) for each in usages))
    for number in range(len(usages)):
        assert (await say(responding, f"Hello {number}"))["response"] == "Hi."
    told = {
        "type": "message",
        "content": [{"type": "output_text", "text": "<think>Hm.</think>Hi."}],
    }
    provider.add(response({"type": "moderation"}, told, status=None))
    assert (await say(responding, "Hello"))["response"] == "Hi."


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ({"status": "queued"}, "unavailable"),
        ({"status": "in_progress"}, "unavailable"),
        ({"status": "failed", "error": {"code": "server_error", "message": "no"}}, "unavailable"),
        (
            {"status": "failed", "error": {"code": "rate_limit_exceeded", "message": "no"}},
            "rate_limited",
        ),
        ({"status": "cancelled"}, "unavailable"),
        ({"status": "incomplete", "incomplete_details": {"reason": "x"}}, "bad_answer"),
        ({"error": {"code": 429}}, "rate_limited"),
    ],
)
async def test_a_response_that_is_not_finished_is_no_answer(
    responding: httpx.AsyncClient,
    provider: ScriptedProvider,
    body: dict[str, Any],
    reason: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("openai._base_client.INITIAL_RETRY_DELAY", 0.001)
    provider._then = response(**body)
    assert (await say(responding))["error"]["details"]["reason"] == reason
