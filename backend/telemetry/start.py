"""Where telling begins: the SDK is imported here and nowhere before, and only if it is wanted."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from backend.config import Settings, SettingsError


@asynccontextmanager
async def keep_telemetry(settings: Settings) -> AsyncIterator[int | None]:
    """Tell what the settings want for the app's life; the port that serves metrics, if one does.

    Raises:
        SettingsError: that port cannot be had, or a variable of OpenTelemetry's cannot be followed.
    """
    if not settings.telemetry:
        yield None
        return
    try:
        from backend.telemetry.sdk import Telemetry

        telemetry = Telemetry(settings)
    except ValueError as error:  # the SDK's, of what it reads by itself
        said = (str(error).splitlines() or [""])[0]
        raise SettingsError(f"OTEL_*: {said}") from error
    try:
        yield telemetry.metrics_port
    finally:
        await telemetry.stop()
