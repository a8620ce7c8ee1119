"""A collector, and apps that tell it everything."""

from collections.abc import Iterator
from random import Random

import pytest

from backend.tests.support.collector import Collector, collecting


@pytest.fixture(scope="session", autouse=True)
def numbers_of_its_own() -> Iterator[None]:
    """An exporter that tries again does so in a thread, also when its test is over.

    Hypothesis takes the numbers that it draws then for those of a strategy that it tries.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("opentelemetry.exporter.otlp.common.http.random", Random())
        yield


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    """It is sent what there is every few milliseconds, by the SDK's own settings."""
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "20")
    monkeypatch.setenv("OTEL_METRIC_EXPORT_INTERVAL", "20")
    with collecting() as collector:
        yield collector
