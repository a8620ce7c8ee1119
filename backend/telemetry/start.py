"""Where telling begins: the SDK is imported here and nowhere before, and only if it is wanted."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from backend.config import Settings


@asynccontextmanager
async def keep_telemetry(settings: Settings) -> AsyncIterator[int | None]:
    """Tell what the settings want for the app's life; the port that serves metrics, if one does.

    Raises:
        SettingsError: that port cannot be had.
    """
    if not settings.telemetry:
        yield None
        return
    from backend.telemetry.sdk import Telemetry

    telemetry = Telemetry(settings)
    try:
        yield telemetry.metrics_port
    finally:
        await telemetry.stop()
