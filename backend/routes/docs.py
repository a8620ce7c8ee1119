"""The API to be tried by hand: Swagger UI on the app's own OpenAPI document.

The page runs nothing but two files of one version, known by their hashes, and the script
below, known by its own; so its Content-Security-Policy needs no exception for others.
"""

from base64 import b64encode
from hashlib import sha256

from fastapi import APIRouter
from fastapi.responses import HTMLResponse

router = APIRouter(include_in_schema=False)

_FROM = "https://cdn.jsdelivr.net/npm/swagger-ui-dist@5.35.0"
_SCRIPT_HASH = "sha384-gjRm0bEPMeTmMh5jT2cHccIwCUZSTd8YC+j0d0sXw0MdGEfScduGpSyF3ZSSLkX9"
_STYLE_HASH = "sha384-WlYgdmXYOOBWL5apwjDEZwN+U3HmXSSu5R6V5aGxEcf7z+KuRNwBhoxKVN1i3D5I"
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
<link rel="stylesheet" href="{_FROM}/swagger-ui.css" integrity="{_STYLE_HASH}" crossorigin>
<script src="{_FROM}/swagger-ui-bundle.js" integrity="{_SCRIPT_HASH}" crossorigin></script>
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
        f"script-src {_FROM}/swagger-ui-bundle.js"
        f" 'sha256-{b64encode(sha256(_START.encode()).digest()).decode()}'",
        f"style-src {_FROM}/swagger-ui.css",
        "img-src data:",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    ]
)


@router.get("/docs")
async def swagger_ui() -> HTMLResponse:
    return HTMLResponse(_PAGE, headers={"Content-Security-Policy": _POLICY})
