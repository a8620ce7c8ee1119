"""The dashboard and the alert rules: valid, and about what a running service really tells."""

import asyncio
import json
import re
from collections.abc import Iterator

import httpx
import yaml

from backend.tests.support.documented import ROOT
from backend.tests.support.fixtures import Run
from backend.tests.support.provider_wire import Answer
from backend.tests.support.scripted_provider import ScriptedProvider
from backend.tests.telemetry.test_metrics import SERVED, scrape

DASHBOARD = json.loads((ROOT / "backend/deploy/grafana/dashboard.json").read_text())
ALERTS = yaml.safe_load((ROOT / "backend/deploy/prometheus/alerts.yaml").read_text())
RULES = [rule for group in ALERTS["groups"] for rule in group["rules"]]
RUNBOOK = (ROOT / "specs/006-chat-backend/runbook.md").read_text()
GROUPING = re.compile(r"\b(?:by|without) \([^)]*\)")
SELECTED = re.compile(r"\b([a-z]+_\w+)(?:{([^}]*)})?")


def expressions() -> Iterator[str]:
    yield from (rule["expr"] for rule in RULES)
    for panel in DASHBOARD["panels"]:
        yield from (target["expr"] for target in panel["targets"])


def named() -> Iterator[tuple[str, set[str]]]:
    """Each metric that is named, with the labels that are asked for of it."""
    for text in expressions():
        for name, labels in SELECTED.findall(GROUPING.sub("", text)):
            if name != "histogram_quantile":
                yield name, set(re.findall(r"(\w+)(?:=|!)", labels)) - {"job", "instance"}


def grouped() -> set[str]:
    """The labels that anything is grouped by."""
    words = (label for text in expressions() for label in GROUPING.findall(text))
    return set(re.findall(r"\w+", " ".join(words))) - {"by", "job", "instance"}


async def test_every_metric_that_they_name_is_told_by_a_service_at_work(
    alice: httpx.AsyncClient, run: Run
) -> None:
    async def turn(client: httpx.AsyncClient, accept: str) -> None:
        asked = {"message": "Hello"}
        answer = await client.post("/api/chat", json=asked, headers={"accept": accept})
        assert answer.status_code == 200

    async with ScriptedProvider(then=Answer("Hello.")) as provider:
        # so small a pool that turns and requests wait for each other
        told = {"openai_base_url": provider.base_url, "database_pool_size": 2, **SERVED}
        async with run(alice, None, **told) as client:
            kinds = ["text/event-stream", "application/json"] * 3
            lists = [client.get("/api/tasks") for _ in range(8)]
            await asyncio.gather(*(turn(client, kind) for kind in kinds), *lists)
            while "todo_event_loop_lag_seconds_count" not in (seen := await scrape(client)):
                await client.get("/health")

    missing = {name for name, _ in named()} - seen.keys()
    assert missing == set()
    labels = {label for samples in seen.values() for each in samples for label, _ in each}
    asked = grouped().union(*(labels for _, labels in named()))
    assert asked - labels == {"error_type"}  # nothing has failed


def test_alerts_and_panels_are_what_prometheus_and_grafana_take() -> None:
    assert len({rule["alert"] for rule in RULES}) == len(RULES)
    for rule in RULES:
        assert {"alert", "expr", "labels", "annotations"} <= rule.keys()
        assert rule["labels"]["severity"] in ("page", "ticket")
        assert re.fullmatch(r"\d+[smh]", rule.get("for", "5m"))
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(set(ids)) == len(ids)
    for panel in DASHBOARD["panels"]:
        assert panel["targets"]
        assert {"x", "y", "w", "h"} == panel["gridPos"].keys()
    for text in expressions():
        assert text.count("(") == text.count(")")


def test_each_alert_has_its_line_in_the_runbook() -> None:
    lines = re.findall(r'^\| <a id="(\w+)"></a>(\w+) \|', RUNBOOK, re.MULTILINE)
    assert [name for _, name in lines] == [rule["alert"] for rule in RULES]
    assert all(anchor == name.lower() for anchor, name in lines)
    for rule in RULES:
        assert rule["annotations"]["runbook"] == f"runbook.md#{rule['alert'].lower()}"
