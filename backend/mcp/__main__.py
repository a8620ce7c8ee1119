"""`python -m backend.mcp`: the tools of a running service, on standard input and output."""

import asyncio
import sys

from backend.config import SettingsError, load
from backend.mcp.bridge import serve
from backend.settings.mcp import BridgeSettings
from backend.web.logs import configure_logging


def main() -> None:
    """Serve until standard input ends; exits with 2 where the environment cannot work."""
    configure_logging("WARNING")
    try:
        settings = load(BridgeSettings)
    except SettingsError as error:
        sys.stderr.write(f"backend.mcp: {error}\n")
        sys.exit(2)
    asyncio.run(serve(settings))


if __name__ == "__main__":
    main()
