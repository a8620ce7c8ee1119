"""The browser of the page's tests: Debian's Chromium, which no test tool has to download."""

import shutil

SWITCHES = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
ZONE = "Europe/Berlin"


def find_chromium() -> str | None:
    """Where the browser is; None where it is not installed."""
    return shutil.which("chromium")
