"""A collector, and apps that tell it everything."""

from collections.abc import Iterator

import pytest

from backend.tests.support.collector import Collector, collecting


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    """It is sent what there is every few milliseconds, by the SDK's own settings."""
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "20")
    monkeypatch.setenv("OTEL_METRIC_EXPORT_INTERVAL", "20")
    with collecting() as collector:
        yield collector
