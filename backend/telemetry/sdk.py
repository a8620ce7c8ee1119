"""OpenTelemetry's SDK, set up as the settings say. Imported only where something is told.

Providers are the app's own and not the process's global ones, so that several apps can live in
one process. Whatever is sent is sent by threads of the SDK's: a collector that hangs, or is
gone, holds nobody up, and what it did not take in time is dropped.
"""

import asyncio
import logging
import threading
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from typing import Any, cast
from urllib.parse import unquote
from uuid import uuid4

from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from prometheus_client import CollectorRegistry, start_http_server

from backend.config import Settings, SettingsError
from backend.telemetry import figures, spans
from backend.telemetry.meter import AmountsReader, OtelMeter, SendingReader, ServingReader
from backend.telemetry.tracing import OtelTracing
from backend.telemetry.wire import EndedSpan, WireExporter
from backend.version import VERSION

STOP_SECONDS = 3.0
"""How long an end of the app waits for what is still to be sent."""
_SERVICE_NAME = "todo-chat-backend"
_DROPS = "opentelemetry.sdk._shared_internal"


class Telemetry:
    """What an app tells of itself, until `stop`."""

    def __init__(self, settings: Settings) -> None:
        """Raises `SettingsError` where the port of the metrics cannot be had."""
        self.metrics_port: int | None = None
        """Where metrics are served."""
        self._held = ExitStack()
        """What is taken back at once."""
        self._stops: list[Callable[[], Any]] = []
        """What sends what is left, and may take its time."""
        resource = _resource(settings)
        try:
            self._measure(settings, resource)
            self._trace(settings, resource)
        except BaseException:
            self._held.close()
            raise

    def _trace(self, settings: Settings, resource: Resource) -> None:
        if settings.traces_to is None:
            return
        provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        exporter = WireExporter(settings.traces_to, headers=_headers(settings))
        exporter.described(resource, InstrumentationScope(_SERVICE_NAME))
        # it says of each span that it is dropped, which costs more than the span
        logging.getLogger(_DROPS).setLevel(logging.ERROR)
        processor = BatchSpanProcessor(exporter)
        self._stops.append(processor.shutdown)
        # the queue itself, which hands on whatever it is given; a span of the SDK's costs more
        tell = cast(Callable[[EndedSpan], None], processor._batch_processor.emit)
        tells_texts = settings.otel_instrumentation_genai_capture_message_content
        tracing = OtelTracing(provider, tell, tells_texts=tells_texts)
        self._held.enter_context(spans.told_to(tracing))

    def _measure(self, settings: Settings, resource: Resource) -> None:
        readers: list[AmountsReader] = []
        if settings.serves_metrics:
            registry = CollectorRegistry()
            readers.append(ServingReader(registry))
            self._serve(settings, registry)
        if settings.metrics_to is not None:
            exporter = OTLPMetricExporter(settings.metrics_to, headers=_headers(settings))
            readers.append(SendingReader(exporter))
        if not readers:
            return
        provider = MeterProvider(readers, resource=resource, shutdown_on_exit=False)
        self._stops.append(provider.shutdown)
        meter = OtelMeter(provider.get_meter(_SERVICE_NAME), readers)
        self._held.enter_context(figures.told_to(meter))

    def _serve(self, settings: Settings, registry: CollectorRegistry) -> None:
        host, port = settings.otel_exporter_prometheus_host, settings.otel_exporter_prometheus_port
        try:
            server, _ = start_http_server(port, host, registry)
        except OSError as error:
            raise SettingsError(
                f"OTEL_EXPORTER_PROMETHEUS_PORT: cannot listen on {host}, port {port}:"
                f" {error.strerror}"
            ) from None
        self.metrics_port = server.server_port
        self._held.callback(server.server_close)
        self._held.callback(server.shutdown)

    async def stop(self) -> None:
        """Tell nothing more, and send what is left in `STOP_SECONDS` or never."""
        await _in_thread(self._held.close)
        sending = [asyncio.ensure_future(_in_thread(stop)) for stop in self._stops]
        if sending:
            await asyncio.wait(sending, timeout=STOP_SECONDS)


def _resource(settings: Settings) -> Resource:
    return Resource.create(
        {
            "service.name": settings.otel_service_name,
            "service.version": VERSION,
            "service.instance.id": uuid4().hex,
        }
    )


def _headers(settings: Settings) -> Mapping[str, str] | None:
    """As the variable writes them: percent-encoded, with commas between."""
    given = settings.otel_exporter_otlp_headers
    if given is None:
        return None
    pairs = (pair.partition("=") for pair in given.get_secret_value().split(",") if "=" in pair)
    return {name.strip().lower(): unquote(value.strip()) for name, _, value in pairs}


async def _in_thread(work: Callable[[], Any]) -> None:
    """Wait for `work`, in a thread that holds up no end of the process."""
    loop = asyncio.get_running_loop()
    done = asyncio.Event()

    def run() -> None:
        try:
            work()
        finally:
            with suppress(RuntimeError):  # a loop that is closed waits for nothing
                loop.call_soon_threadsafe(done.set)

    threading.Thread(target=run, daemon=True).start()
    await done.wait()
