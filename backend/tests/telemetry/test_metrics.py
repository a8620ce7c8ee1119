"""The figures of a running service, sent to a collector and served for Prometheus."""

import re
from typing import Any

import httpx
import pytest
from agents.testing import ModelStep, ScriptedModel
from opentelemetry.proto.metrics.v1.metrics_pb2 import AGGREGATION_TEMPORALITY_DELTA as DELTA

from backend.errors import StartFailure
from backend.telemetry.figures import TURN_SECONDS
from backend.tests.support.collector import Collector, attributes
from backend.tests.support.fixtures import Run, make_settings, running, settled
from backend.tests.support.scripting import calls, says

SERVED: dict[str, Any] = {
    "otel_metrics_exporter": {"prometheus"},
    "otel_exporter_prometheus_host": "127.0.0.1",
    "otel_exporter_prometheus_port": 0,
}
SAMPLE = re.compile(r"^(\w+)(?:\{(.*)\})? (\S+)$", re.MULTILINE)
LABEL = re.compile(r'(\w+)="([^"]*)"')


async def scrape(client: httpx.AsyncClient) -> dict[str, dict[tuple[tuple[str, str], ...], float]]:
    """What the app behind `client` serves: by name, then by labels."""
    transport: Any = client._transport
    port = transport.app.state.metrics_port
    async with httpx.AsyncClient() as prometheus:
        text = (await prometheus.get(f"http://127.0.0.1:{port}/metrics")).text
    found: dict[str, dict[tuple[tuple[str, str], ...], float]] = {}
    for name, labels, value in SAMPLE.findall(text):
        found.setdefault(name, {})[tuple(sorted(LABEL.findall(labels)))] = float(value)
    return found


async def say(client: httpx.AsyncClient, text: str, **more: Any) -> httpx.Response:
    return await client.post("/api/chat", json={"message": text} | more)


async def test_a_turn_is_counted_and_timed_by_how_it_ended(
    alice: httpx.AsyncClient, run: Run, model: ScriptedModel
) -> None:
    model.extend([calls("add_task", {"title": "Buy milk"}), says("Added.")])
    async with run(alice, **SERVED) as client:
        assert (await say(client, "Add buy milk")).status_code == 200
        assert (await say(client, "And no words are left")).status_code == 503
        told = await scrape(client)

    turns = told["todo_turns_total"]
    assert turns[("outcome", "answered"), ("reason", "")] == 1
    assert turns[("outcome", "failed"), ("reason", "bad_answer")] == 1
    answered = (("outcome", "answered"),)
    assert told["todo_turn_duration_seconds_count"][answered] == 1
    whole, outside, own = (
        told[f"todo_turn_{name}_seconds_sum"][answered] for name in ("duration", "outside", "own")
    )
    assert whole == pytest.approx(outside + own)
    assert told["db_client_operation_duration_seconds_count"][()] > 5
    assert told["db_client_connection_max"][()] == 10


async def test_figures_go_to_a_collector_as_well(
    alice: httpx.AsyncClient, run: Run, model: ScriptedModel, collector: Collector
) -> None:
    model.extend([says("Hello.")])
    async with run(alice, otel_exporter_otlp_endpoint=collector.url) as client:
        assert (await say(client, "Hello")).status_code == 200
    turns = collector.metrics["todo.turns"].sum.data_points
    (counted,) = (attributes(point) for point in turns if point.as_int == 1)
    assert counted == {"outcome": "answered", "reason": ""}


async def test_a_collector_and_prometheus_are_told_the_same(
    alice: httpx.AsyncClient, run: Run, model: ScriptedModel, collector: Collector
) -> None:
    model.extend([says("Hello.")])
    both = SERVED | {"otel_metrics_exporter": {"otlp", "prometheus"}}
    async with run(alice, **both, otel_exporter_otlp_endpoint=collector.url) as client:
        assert (await say(client, "Hello")).status_code == 200
        served = await scrape(client)

    name = "todo.turn.duration"
    (sent,) = collector.metrics[name].histogram.data_points
    assert attributes(sent) == {"outcome": "answered"}
    assert sent.min == sent.max == sent.sum
    assert list(sent.explicit_bounds) == list(TURN_SECONDS.buckets)
    assert sum(sent.bucket_counts) == sent.count == 1
    answered = (("outcome", "answered"),)
    assert served["todo_turn_duration_seconds_sum"][answered] == sent.sum
    buckets = served["todo_turn_duration_seconds_bucket"]
    below = {dict(labels)["le"]: number for labels, number in buckets.items()}
    assert len(below) == len(sent.bucket_counts)
    assert below["+Inf"] == 1


async def test_what_is_told_since_the_last_time_adds_up_where_the_collector_wants_that(
    alice: httpx.AsyncClient,
    run: Run,
    model: ScriptedModel,
    collector: Collector,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", "delta")
    model.extend([says("Hello.")] * 3)
    async with run(alice, otel_exporter_otlp_endpoint=collector.url) as client:
        for _ in range(3):
            assert (await say(client, "Hello")).status_code == 200

    told = collector.all_metrics
    timed = [each.histogram for each in told if each.name == "todo.turn.duration"]
    counted = [each.sum for each in told if each.name == "todo.turns"]
    assert {each.aggregation_temporality for each in (*timed, *counted)} == {DELTA}
    assert sum(point.count for each in timed for point in each.data_points) == 3
    assert sum(point.as_int for each in counted for point in each.data_points) == 3


async def test_what_limits_refuse_and_what_is_given_again_is_counted(
    alice: httpx.AsyncClient, run: Run, model: ScriptedModel
) -> None:
    model.extend([says("Hello.")])
    async with run(alice, **SERVED, rate_limit_chat="2/minute") as client:
        for _ in range(2):
            headers = {"Idempotency-Key": "one"}
            asked = {"message": "Hello"}
            assert (await client.post("/api/chat", json=asked, headers=headers)).status_code == 200
        assert (await say(client, "Hello")).status_code == 429
        told = await scrape(client)
    assert told["todo_turns_replayed_total"] == {(): 1}
    refused = {
        dict(labels)["limit"] for labels, n in told["todo_limits_refused_total"].items() if n
    }
    assert refused == {"chat"}


async def test_labels_have_few_values_whatever_clients_make_up(
    alice: httpx.AsyncClient, run: Run, model: ScriptedModel, alice_id: str
) -> None:
    made_up = "zanzibar"
    model.extend([calls(made_up, {}), says("No."), ModelStep(error=RuntimeError(made_up))])
    async with run(alice, **SERVED) as client:
        answer = (await say(client, "Hello")).json()
        await say(client, "Hello again", conversation_id=answer["conversation_id"])
        for path in (f"/{made_up}", f"/api/tasks/{made_up}", f"/api/tasks?q={made_up}"):
            await client.request(made_up.upper(), path)
            await client.get(path)
        await settled(client)
        told = await scrape(client)
    values = {value for samples in told.values() for labels in samples for _, value in labels}
    assert [each for each in values if made_up in each.lower() or alice_id in each] == []
    series = told["http_server_request_duration_seconds_count"]
    assert {dict(labels)["http_request_method"] for labels in series} <= {"POST", "GET", "_OTHER"}
    assert sum(map(len, told.values())) < 600


async def test_metrics_are_served_on_a_port_of_their_own_and_not_in_the_open(
    alice: httpx.AsyncClient, run: Run
) -> None:
    async with run(alice, **SERVED) as client:
        assert (await client.get("/metrics")).status_code == 404
        taken: Any = client._transport
        settings = make_settings("postgresql://nowhere", **SERVED).model_copy(
            update={"otel_exporter_prometheus_port": taken.app.state.metrics_port}
        )
        with pytest.raises(StartFailure, match="OTEL_EXPORTER_PROMETHEUS_PORT: cannot listen"):
            async with running(settings):
                pass


async def test_a_variable_that_opentelemetry_cannot_follow_stops_the_start_with_one_line(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OTEL_METRIC_EXPORT_TIMEOUT", "soon")
    monkeypatch.setenv("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "many")
    settings = make_settings("postgresql://nowhere", otel_exporter_otlp_endpoint="http://[::1]:1")
    with pytest.raises(StartFailure, match=r"^OTEL_[^\n]+$"):
        async with running(settings):
            pass
