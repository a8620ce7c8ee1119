"""Figures as OpenTelemetry has them. Imported only where they are on.

How they are read, sent and served is the SDK's; what is told meanwhile is added up here, since
an instrument of its own takes 7 to 13 us for that, most of it to find out which labels it has been
given, and a turn tells twenty figures. Counters and gauges of its can be asked for what there is
when somebody reads; histograms cannot, so to what its readers have collected they are added.
"""

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import replace
from math import inf
from threading import Lock
from time import time_ns
from typing import Any

from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.metrics import CallbackOptions, Meter, Observation
from opentelemetry.sdk.metrics import Histogram as SdkHistogram
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    Histogram,
    HistogramDataPoint,
    Metric,
    MetricExporter,
    MetricReader,
    MetricsData,
    PeriodicExportingMetricReader,
)
from prometheus_client import CollectorRegistry

from backend.telemetry import figures
from backend.telemetry.figures import Labels

type Key = frozenset[tuple[str, str]]


class Sums:
    """What a counter has been told, by labels; added to and read by any thread."""

    def __init__(self, counter: figures.Counter) -> None:
        self._sums: dict[Key, float] = {frozenset(known.items()): 0 for known in counter.known}
        self._lock = Lock()

    def add(self, amount: float, labels: Labels) -> None:
        key = frozenset(labels.items())
        with self._lock:
            self._sums[key] = self._sums.get(key, 0) + amount

    def read(self, _: CallbackOptions) -> list[Observation]:
        with self._lock:
            return [Observation(amount, dict(key)) for key, amount in self._sums.items()]


class _Point:
    """The amounts with the same labels."""

    __slots__ = ("began", "counts", "largest", "smallest", "total")

    def __init__(self, buckets: int) -> None:
        self.began = time_ns()
        self.counts = [0] * buckets
        self.total = 0.0
        self.smallest, self.largest = inf, -inf


class Amounts:
    """One histogram's amounts, for one reader; added to and read by any thread."""

    def __init__(self, histogram: figures.Histogram) -> None:
        self._histogram = histogram
        self._bounds = tuple(histogram.buckets)
        self._points: dict[Key, _Point] = {}
        self._lock = Lock()

    def record(self, amount: float, labels: Labels) -> None:
        key = frozenset(labels.items())
        with self._lock:
            point = self._points.get(key)
            if point is None:
                point = self._points[key] = _Point(len(self._bounds) + 1)
            point.counts[bisect_left(self._bounds, amount)] += 1
            point.total += amount
            if amount < point.smallest:
                point.smallest = amount
            if amount > point.largest:
                point.largest = amount

    def read(self, temporality: AggregationTemporality) -> Metric | None:
        """What came since the start, or since the last time; None where nothing did."""
        with self._lock:
            points = [self._told(key, point) for key, point in self._points.items()]
            if temporality is AggregationTemporality.DELTA:
                self._points.clear()
        told = self._histogram
        data = Histogram(points, temporality)
        return Metric(told.name, told.description, told.unit, data) if points else None

    def _told(self, key: Key, point: _Point) -> HistogramDataPoint:
        return HistogramDataPoint(
            attributes=dict(key),
            start_time_unix_nano=point.began,
            time_unix_nano=time_ns(),
            count=sum(point.counts),
            sum=point.total,
            bucket_counts=tuple(point.counts),
            explicit_bounds=self._bounds,
            min=point.smallest,
            max=point.largest,
        )


class AmountsReader(MetricReader):
    """A reader that is told amounts along with the SDK's own metrics."""

    def __init__(
        self, temporality: AggregationTemporality, *arguments: Any, **options: Any
    ) -> None:
        self._temporality = temporality
        self._amounts: list[Amounts] = []  # before a thread of the reader's begins
        super().__init__(*arguments, **options)

    def histogram(self, histogram: figures.Histogram) -> figures.Add:
        """Read it from now on; what amounts of it are told to."""
        amounts = Amounts(histogram)
        self._amounts.append(amounts)
        return amounts.record

    def _receive_metrics(
        self, metrics_data: MetricsData, timeout_millis: float = 10_000, **more: Any
    ) -> None:
        whole = self._completed(metrics_data)
        super()._receive_metrics(whole, timeout_millis, **more)  # type: ignore[safe-super]

    def _completed(self, collected: MetricsData) -> MetricsData:
        """With the amounts in the scope of the service, which has some other metric always."""
        read = (each.read(self._temporality) for each in tuple(self._amounts))
        (resource,) = collected.resource_metrics
        ours, *others = resource.scope_metrics
        ours = replace(ours, metrics=[*ours.metrics, *(metric for metric in read if metric)])
        return MetricsData([replace(resource, scope_metrics=[ours, *others])])


class SendingReader(AmountsReader, PeriodicExportingMetricReader):
    """It has all of them sent every minute, as the exporter wants them."""

    def __init__(self, exporter: MetricExporter) -> None:
        preferred = exporter._preferred_temporality or {}
        cumulative = AggregationTemporality.CUMULATIVE
        super().__init__(preferred.get(SdkHistogram, cumulative), exporter)


class ServingReader(AmountsReader, PrometheusMetricReader):
    """It has all of them served from a registry."""

    def __init__(self, registry: CollectorRegistry) -> None:
        cumulative = AggregationTemporality.CUMULATIVE
        super().__init__(cumulative, scope_info_enabled=False, registry=registry)


class OtelMeter:
    """`backend.telemetry.figures.Meter`, read by all of `readers`."""

    def __init__(self, meter: Meter, readers: Sequence[AmountsReader]) -> None:
        self._meter = meter
        self._readers = readers

    def counter(self, counter: figures.Counter) -> figures.Add:
        sums = Sums(counter)
        self._meter.create_observable_counter(
            counter.name, [sums.read], counter.unit, counter.description
        )
        return sums.add

    def histogram(self, histogram: figures.Histogram) -> figures.Add:
        records = [reader.histogram(histogram) for reader in self._readers]
        if len(records) == 1:
            return records[0]

        def record(amount: float, labels: Labels) -> None:
            for each in records:
                each(amount, labels)

        return record

    def gauge(self, gauge: figures.Gauge) -> None:
        def read(_: CallbackOptions) -> Iterator[Observation]:
            for value, labels in gauge.read():
                yield Observation(value, labels)

        self._meter.create_observable_gauge(gauge.name, [read], gauge.unit, gauge.description)
