"""The page's files as they stand, under a policy that lets nothing in from elsewhere.

The page is a client of the service like any other: it signs in by token or cookie and speaks to
the routes that everybody has.
"""

from pathlib import Path

from fastapi import FastAPI
from fastapi.responses import FileResponse
from starlette.responses import Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

FILES = Path(__file__).with_name("static")

POLICY = "; ".join(
    [
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    ]
)
"""No inline script or style, nothing from another host, and no text that becomes markup."""

_FRESH = {"Cache-Control": "no-cache"}
"""Kept by the browser, and asked about each time, so that an upgrade is seen at once."""


class _Files(StaticFiles):
    async def get_response(self, path: str, scope: Scope) -> Response:
        response = await super().get_response(path, scope)
        response.headers.update(_FRESH)
        return response


async def _serve_index() -> FileResponse:
    return FileResponse(FILES / "index.html", headers={"Content-Security-Policy": POLICY, **_FRESH})


def install_page(app: FastAPI) -> None:
    """Serve the page at `/` and its files under `/page`."""
    app.add_api_route("/", _serve_index, methods=["GET", "HEAD"], include_in_schema=False)
    app.mount("/page", _Files(directory=FILES))
