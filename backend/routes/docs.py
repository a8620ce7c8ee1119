"""The API to be tried by hand: Swagger UI on the app's own OpenAPI document.

Its files come from a package, and the page runs nothing but them and the script below, known
by its hash; so its Content-Security-Policy needs no exception for others.
"""

import json
from base64 import b64encode
from hashlib import sha256
from importlib.resources import files
from typing import NamedTuple

from fastapi import APIRouter, FastAPI, Request, Response

from backend.web.prepared import LET_KEEP, Prepared

router = APIRouter(include_in_schema=False)

_START = """
window.onload = () => SwaggerUIBundle({
  url: "/openapi.json", dom_id: "#swagger-ui", deepLinking: true, validatorUrl: null,
});
"""
_PAGE = f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>To-do chat backend</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="/docs/swagger-ui.css">
<script src="/docs/swagger-ui-bundle.js"></script>
<script>{_START}</script>
</head>
<body>
<noscript>This page needs JavaScript; <a href="/openapi.json">the same as JSON</a>.</noscript>
<div id="swagger-ui"></div>
</body>
</html>
"""
_POLICY = "; ".join(
    [
        "default-src 'none'",
        f"script-src 'self' 'sha256-{b64encode(sha256(_START.encode()).digest()).decode()}'",
        "style-src 'self'",
        "img-src data:",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    ]
)


class ApiPages(NamedTuple):
    """What the routes below answer; `app.state.api_pages`."""

    document: Prepared
    page: Prepared
    script: Prepared
    style: Prepared


def prepare_api_pages(app: FastAPI) -> ApiPages:
    """Nothing is made yet: the document is, once all routes are there, when it is asked for."""

    def document() -> bytes:
        return json.dumps(app.openapi(), ensure_ascii=False, separators=(",", ":")).encode()

    return ApiPages(
        Prepared(document, "application/json"),
        Prepared(_PAGE.encode, "text/html; charset=utf-8", **{"Content-Security-Policy": _POLICY}),
        _packaged("swagger-ui-bundle.js", "text/javascript; charset=utf-8"),
        _packaged("swagger-ui.css", "text/css; charset=utf-8"),
    )


def _packaged(name: str, media_type: str) -> Prepared:
    def read() -> bytes:
        return files("fastapi_offline").joinpath("static", name).read_bytes()

    return Prepared(read, media_type, **LET_KEEP)


def _pages(request: Request) -> ApiPages:
    pages: ApiPages = request.app.state.api_pages
    return pages


@router.api_route("/openapi.json", methods=["GET", "HEAD"])
async def openapi_document(request: Request) -> Response:
    return await _pages(request).document.answer(request)


@router.api_route("/docs", methods=["GET", "HEAD"])
async def swagger_ui(request: Request) -> Response:
    return await _pages(request).page.answer(request)


@router.api_route("/docs/swagger-ui-bundle.js", methods=["GET", "HEAD"])
async def swagger_ui_script(request: Request) -> Response:
    return await _pages(request).script.answer(request)


@router.api_route("/docs/swagger-ui.css", methods=["GET", "HEAD"])
async def swagger_ui_style(request: Request) -> Response:
    return await _pages(request).style.answer(request)
