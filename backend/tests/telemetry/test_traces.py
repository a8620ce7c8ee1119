"""What traces tell of a turn, to a collector that takes real OTLP; and what they never tell."""

import json
import subprocess
import sys
from pathlib import Path
from time import monotonic
from typing import Any

import httpx
import pytest
from agents.testing import ScriptedModel
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.proto.trace.v1.trace_pb2 import Status
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import SpanContext, SpanKind

from backend.telemetry import spans
from backend.telemetry.sdk import STOP_SECONDS, Telemetry
from backend.tests.support.collector import Collector, attributes
from backend.tests.support.fixtures import Run, make_settings, settled
from backend.tests.support.provider_wire import PROVIDER_TEXT, Answer, Failure, FunctionCall
from backend.tests.support.scripted_provider import ScriptedProvider
from backend.tests.support.scripting import calls, says
from backend.tests.support.toolset_server import READS, serving_tools, tool

pytestmark = [pytest.mark.long, pytest.mark.waits]

CALLERS = "0af7651916cd43dd8448eb211c80319c"
TRACEPARENT = f"00-{CALLERS}-b7ad6b7169203331-01"
STEPS = (
    "POST /api/chat",
    "sign in",
    "begin turn",
    "invoke_agent todo-assistant",
    "execute_tool add_task",
    "finish turn",
)


async def say(client: httpx.AsyncClient, text: str, **headers: str) -> httpx.Response:
    return await client.post("/api/chat", json={"message": text}, headers=headers)


async def test_a_turn_is_one_trace_from_its_request_to_its_last_statement(
    alice: httpx.AsyncClient, run: Run, model: ScriptedModel, collector: Collector
) -> None:
    model.extend([calls("add_task", {"title": "Buy milk"}), says("Added.")])
    async with run(alice, otel_exporter_otlp_endpoint=collector.url) as client:
        answer = await say(client, "Add buy milk")
        await settled(client)

    (trace,) = {span.trace_id.hex() for span in collector.spans}
    assert answer.headers["traceresponse"].split("-")[1] == trace
    names = [span.name for span in collector.spans]
    assert {name: names.count(name) for name in STEPS} == dict.fromkeys(STEPS, 1)
    assert names.count("chat gpt-4o-mini") == 2
    by_id = {span.span_id: span for span in collector.spans}
    parents = {
        span.name: by_id[span.parent_span_id].name
        for span in collector.spans[:-1]
        if span.parent_span_id
    }
    assert parents["execute_tool add_task"] == "invoke_agent todo-assistant"
    sql = [span for span in collector.spans if "db.system.name" in attributes(span)]
    assert {by_id[span.parent_span_id].name for span in sql} >= {
        *("sign in", "begin turn", "execute_tool add_task", "finish turn")
    }


async def test_a_call_of_a_model_is_told_by_the_conventions(
    alice: httpx.AsyncClient, run: Run, collector: Collector
) -> None:
    milk = FunctionCall("add_task", '{"title": "Buy milk"}')
    async with ScriptedProvider(Answer(calls=(milk,)), Answer("Added.")) as provider:
        told = {"openai_base_url": provider.base_url, "openai_model": "gpt-5"}
        async with run(alice, None, otel_exporter_otlp_endpoint=collector.url, **told) as client:
            assert (await say(client, "Add buy milk")).status_code == 200

    first, second = sorted(
        collector.named("chat gpt-5"), key=lambda span: span.start_time_unix_nano
    )
    assert (
        attributes(first).items()
        >= {
            "gen_ai.operation.name": "chat",
            "gen_ai.provider.name": "openai",
            "gen_ai.request.model": "gpt-5",
            "gen_ai.response.finish_reasons": ["tool_call"],
        }.items()
    )
    assert attributes(first)["gen_ai.usage.input_tokens"] > 0
    assert attributes(first)["gen_ai.usage.output_tokens"] > 0
    assert attributes(second)["gen_ai.response.finish_reasons"] == ["stop"]


@pytest.mark.parametrize("streamed", [False, True])
async def test_the_callers_trace_goes_on_through_us_to_the_provider(
    alice: httpx.AsyncClient, run: Run, collector: Collector, streamed: bool
) -> None:
    accept = "text/event-stream" if streamed else "application/json"
    asked = {"traceparent": TRACEPARENT, "baggage": "who=alice", "accept": accept}
    async with ScriptedProvider(Answer("Hello.")) as provider:
        told = {"openai_base_url": provider.base_url}
        async with run(alice, None, otel_exporter_otlp_endpoint=collector.url, **told) as client:
            assert (await say(client, "Hello", **asked)).status_code == 200
        request = await provider.arrival()

    (chat,) = collector.named("chat gpt-4o-mini")
    assert request.headers["traceparent"] == f"00-{CALLERS}-{chat.span_id.hex()}-01"
    assert "baggage" not in request.headers
    assert {span.trace_id.hex() for span in collector.spans} == {CALLERS}


async def test_a_trace_that_its_caller_does_not_sample_is_handed_on_and_not_told(
    alice: httpx.AsyncClient, run: Run, collector: Collector
) -> None:
    asked = TRACEPARENT.removesuffix("01") + "00"
    async with ScriptedProvider(Answer("Hello.")) as provider:
        told = {"openai_base_url": provider.base_url}
        async with run(alice, None, otel_exporter_otlp_endpoint=collector.url, **told) as client:
            answer = await say(client, "Hello", traceparent=asked)
        request = await provider.arrival()

    for header in (answer.headers["traceresponse"], request.headers["traceparent"]):
        assert header.split("-")[1::2] == [CALLERS, "00"]
    assert collector.spans == []


async def test_servers_of_tools_are_told_which_trace_their_call_belongs_to(
    alice: httpx.AsyncClient, run: Run, model: ScriptedModel, collector: Collector
) -> None:
    model.extend([calls("others_look", {}), says("Seen.")])
    async with serving_tools(tool("look", READS)) as server:
        toolsets = {"others": {"url": server.url}}
        told = {"otel_exporter_otlp_endpoint": collector.url, "toolsets": toolsets}
        async with run(alice, **told) as client:
            assert (await say(client, "Look", traceparent=TRACEPARENT)).status_code == 200

    (call,) = collector.named("execute_tool others_look")
    ours = f"00-{CALLERS}-{call.span_id.hex()}-01"
    assert [meta["traceparent"] for meta in server.metas] == [ours]
    assert [headers["traceparent"] for headers in server.headers] == [ours]


async def test_a_failure_is_told_by_a_word_and_never_by_its_message(
    alice: httpx.AsyncClient, run: Run, collector: Collector
) -> None:
    async with ScriptedProvider(Failure(400)) as provider:
        told = {"openai_base_url": provider.base_url}
        async with run(alice, None, otel_exporter_otlp_endpoint=collector.url, **told) as client:
            assert (await say(client, "Hello")).status_code == 503

    (chat,), (turn,) = (
        collector.named(name) for name in ("chat gpt-4o-mini", "invoke_agent todo-assistant")
    )
    assert attributes(chat)["error.type"] == "refused"
    assert attributes(turn)["todo.turn.reason"] == "refused"
    assert PROVIDER_TEXT.encode() not in b"".join(collector.bodies)


MARK = "zanzibar"
"""Stands in everything that is nobody's business."""


async def do_everything(client: httpx.AsyncClient, model: ScriptedModel) -> list[str]:
    """Say, find and fail with `MARK` in each text; the secrets that came by."""
    model.extend([calls("add_task", {"title": f"Buy {MARK}"}), says(f"Added {MARK}.")])
    answer = (await say(client, f"Add {MARK}")).json()
    model.extend([calls("complete_task", {"task_id": f"{MARK}"}), says("No.")])
    await say(client, f"Finish {MARK}")
    await say(client, f"And then the model has no words left for {MARK}")
    for path in (
        f"/api/tasks?q={MARK}",
        f"/api/conversations?q={MARK}",
        f"/api/conversations/{MARK}/messages",
        f"/{MARK}",
        f"/api/conversations/{answer['conversation_id']}/messages?cursor={MARK}",
    ):
        await client.get(path)
    feed = (await client.post("/api/calendar")).json()
    path = httpx.URL(feed["url"]).path
    assert (await client.get(path)).status_code == 200
    return [MARK, path.rpartition("/")[2].partition(".")[0]]


async def test_no_text_and_no_secret_is_in_what_is_told_or_logged(
    alice: httpx.AsyncClient,
    run: Run,
    model: ScriptedModel,
    collector: Collector,
    capsys: pytest.CaptureFixture[str],
) -> None:
    secrets = ["key-of-the-provider", "key-of-the-collector"]
    told = {
        "otel_exporter_otlp_endpoint": collector.url,
        "otel_exporter_otlp_headers": f"Authorization=Bearer%20{secrets[1]}",
        "openai_api_key": secrets[0],
        "log_level": "DEBUG",
    }
    async with run(alice, **told) as client:
        secrets += await do_everything(client, model)
        await settled(client)
    secrets.append(alice.headers["authorization"].removeprefix("Bearer "))

    assert collector.headers[0]["authorization"] == f"Bearer {secrets[1]}"
    assert len(collector.spans) > 30
    sent = b"".join(collector.bodies).lower()
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("{")]
    logged = [line for line in lines if '"logger": "http' not in line]  # the test's own client
    assert [secret for secret in secrets if secret.lower().encode() in sent] == []
    assert [each for each in secrets for line in logged if each.lower() in line.lower()] == []
    traces = {span.trace_id.hex() for span in collector.spans}
    assert {json.loads(line)["trace_id"] for line in logged if '"POST"' in line} <= traces


async def test_texts_are_told_where_the_operator_asks_for_them(
    alice: httpx.AsyncClient, run: Run, model: ScriptedModel, collector: Collector
) -> None:
    model.extend([says("Hello yourself.")])
    told = {
        "otel_exporter_otlp_endpoint": collector.url,
        "otel_instrumentation_genai_capture_message_content": True,
    }
    async with run(alice, **told) as client:
        await say(client, "Hello there")

    (chat,) = collector.named("chat gpt-4o-mini")
    assert "Hello there" in attributes(chat)["gen_ai.input.messages"]
    assert "Hello yourself." in attributes(chat)["gen_ai.output.messages"]


async def test_a_span_is_written_as_the_sdk_writes_it_and_without_what_is_no_text(
    collector: Collector,
) -> None:
    values: dict[str, Any] = {
        "text": "milk, \u00fc",
        "long": "x" * 70_000,
        "whole": 200,
        "negative": -1,
        "no": False,
        "part": 0.25,
        "texts": ["stop", "more"],
    }
    telemetry = Telemetry(make_settings("", otel_exporter_otlp_endpoint=collector.url))
    with spans.span("outer", values | {"broken": "\ud800"}) as outer:
        outer.fail("tired")
        with spans.span("inner", values, "client"):
            pass
    await telemetry.stop()

    (first,), (second,) = collector.named("outer"), collector.named("inner")
    assert attributes(first) == values | {"error.type": "tired"}
    trace, own_id = int.from_bytes(second.trace_id), int.from_bytes(second.span_id)
    own = SpanContext(trace, own_id, is_remote=False)
    above = SpanContext(trace, int.from_bytes(first.span_id), is_remote=False)
    theirs = ReadableSpan(
        "inner",
        own,
        above,
        attributes=values,
        kind=SpanKind.CLIENT,
        start_time=second.start_time_unix_nano,
        end_time=second.end_time_unix_nano,
    )
    (by_the_sdk,) = encode_spans([theirs]).resource_spans[0].scope_spans[0].spans
    by_the_sdk.ClearField("status")  # an empty one
    assert second == by_the_sdk
    assert first.status.code == Status.STATUS_CODE_ERROR


@pytest.mark.parametrize("trouble", ["hangs", "gone"])
async def test_a_collector_that_takes_nothing_holds_up_no_turn_and_no_stop(
    alice: httpx.AsyncClient, run: Run, model: ScriptedModel, collector: Collector, trouble: str
) -> None:
    collector.hangs.set()
    url = collector.url if trouble == "hangs" else "http://127.0.0.1:1"
    model.extend([says("Hello.")] * 20)
    told = {"otel_exporter_otlp_endpoint": url, "rate_limit_chat": "100/minute"}
    async with run(alice, **told) as client:
        if trouble == "hangs":
            await say(client, "Hello")
            while not collector.arrived.is_set():
                await client.get("/health")
        began = monotonic()
        for _ in range(15):
            assert (await say(client, "Hello")).status_code == 200
        took = monotonic() - began
        began = monotonic()
    assert took < 10
    assert monotonic() - began < STOP_SECONDS + 6


OFF = """
import asyncio, sys
from backend.config import Settings
from backend.main import create_app
from backend.telemetry.start import keep_telemetry

settings = Settings(_env_file=None)
create_app(settings)
async def live():
    async with keep_telemetry(settings):
        pass
asyncio.run(live())
heavy = ("opentelemetry.sdk", "opentelemetry.exporter", "prometheus_client", "google.protobuf")
print([name for name in heavy if name in sys.modules])
"""


@pytest.mark.e2e
def test_where_nothing_is_told_nothing_of_the_sdk_is_imported() -> None:
    checkout = Path(__file__).parents[3]
    words: Any = [sys.executable, "-c", OFF]
    done = subprocess.run(words, cwd=checkout, capture_output=True, text=True, check=True)  # noqa: S603
    assert done.stdout.strip() == "[]"
