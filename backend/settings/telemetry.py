"""What is told to those who run the service, by the variables that OpenTelemetry has for it.

Its SDK reads further ones by itself, such as OTEL_TRACES_SAMPLER or OTEL_RESOURCE_ATTRIBUTES.
"""

import re
from importlib.util import find_spec
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode

from backend.settings.addresses import Address, ListenHost
from backend.settings.providers import Secret


def _pairs(value: SecretStr | None) -> SecretStr | None:
    parts = value.get_secret_value().split(",") if value else []
    if not all(re.fullmatch(r"[^=]+=.*", part) for part in parts):
        raise ValueError("must list headers such as api-key=abc,x-tenant=todo")
    return value


class TelemetrySettings(BaseSettings):
    """The part of `backend.config.Settings` that is about traces and metrics."""

    otel_sdk_disabled: bool = False
    otel_service_name: str = Field(default="todo-chat-backend", min_length=1, max_length=100)
    otel_exporter_otlp_endpoint: Address = None
    """A collector that is sent both over HTTP, at `/v1/traces` and `/v1/metrics`."""
    otel_exporter_otlp_traces_endpoint: Address = None
    otel_exporter_otlp_metrics_endpoint: Address = None
    """The whole address of either, where it is another one."""
    otel_exporter_otlp_headers: Annotated[Secret, AfterValidator(_pairs)] = None
    """`name=value,...`, sent to the collector; a key, as a rule."""
    otel_traces_exporter: Literal["otlp", "none"] = "otlp"
    otel_metrics_exporter: Annotated[frozenset[str], NoDecode] = frozenset({"otlp"})
    """`otlp` sends them where an address is set, `prometheus` serves them on a port of its own."""
    otel_exporter_prometheus_host: ListenHost = "localhost"
    otel_exporter_prometheus_port: int = Field(default=9464, ge=0, le=65535)
    otel_instrumentation_genai_capture_message_content: bool = False
    """Whether spans of model calls tell what was asked and answered: people's texts."""

    @field_validator("otel_metrics_exporter", mode="before")
    @classmethod
    def _names_of_exporters(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        names = {name.strip() for name in value.split(",")} - {"", "none"}
        if names - {"otlp", "prometheus"}:
            raise ValueError("must be otlp, prometheus, both with a comma between, or none")
        return frozenset(names)

    @model_validator(mode="after")
    def _has_the_packages(self) -> Self:
        if self.telemetry and find_spec("opentelemetry.sdk") is None:
            raise ValueError(
                "OTEL_EXPORTER_OTLP_ENDPOINT, OTEL_METRICS_EXPORTER: need packages:"
                " pip install -r requirements-otel.txt"
            )
        return self

    @property
    def traces_to(self) -> str | None:
        """Where traces are sent; None where they are off."""
        if self.otel_sdk_disabled or self.otel_traces_exporter == "none":
            return None
        return self.otel_exporter_otlp_traces_endpoint or self._collector("traces")

    @property
    def metrics_to(self) -> str | None:
        """Where metrics are sent; None where they are not."""
        if self.otel_sdk_disabled or "otlp" not in self.otel_metrics_exporter:
            return None
        return self.otel_exporter_otlp_metrics_endpoint or self._collector("metrics")

    def _collector(self, signal: str) -> str | None:
        base = self.otel_exporter_otlp_endpoint
        return base and f"{base.rstrip('/')}/v1/{signal}"

    @property
    def serves_metrics(self) -> bool:
        return not self.otel_sdk_disabled and "prometheus" in self.otel_metrics_exporter

    @property
    def telemetry(self) -> bool:
        """Whether anything is told to anybody."""
        return bool(self.traces_to or self.metrics_to or self.serves_metrics)
