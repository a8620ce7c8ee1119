"""`/mcp` over HTTP: who may knock, who is calling, and then the SDK's transport.

Stateless: each request is answered in its own response, by whichever process it reaches. What
the SDK's own sub-application does for a whole server is done as everywhere here instead:
sign-in with its limits, bounds, the envelope of errors, the log.
"""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI, Request
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import Message, Receive, Scope, Send

from backend.auth import authenticate
from backend.config import Settings
from backend.errors import InvalidSession
from backend.mcp.server import create_server
from backend.mcp.words import TITLE
from backend.web.middleware import BODY_MAX
from backend.web.refusals import HostRefused, OriginRefused

PATH = "/mcp"
_PORT = re.compile(r":\d+$")
METADATA = "/.well-known/oauth-protected-resource"


class McpEndpoint:
    """The ASGI application behind `/mcp`; it serves while `running` is entered."""

    path = PATH
    """As the log names the route."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._transport = StreamableHTTPSessionManager(
            create_server(), json_response=True, stateless=True, max_request_body_size=BODY_MAX
        )

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """What the app is in while it serves; once for each app.

        The SDK has to be left by the task that entered it, which an app cannot promise.
        """
        started, ended = asyncio.Event(), asyncio.Event()

        async def run() -> None:
            async with self._transport.run():
                started.set()
                await ended.wait()

        running = asyncio.create_task(run())
        await started.wait()
        try:
            yield
        finally:
            ended.set()
            await running

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope["route"] = self
        request = Request(scope, receive)
        refuse_strangers(request, self._settings)
        try:
            audience = _resource(request, self._settings)
            request.state.user_id = await authenticate(request, audience)
        except InvalidSession as error:
            error.headers["WWW-Authenticate"] = _challenge(request, self._settings)
            raise
        body = await request.body()  # here, where what is too large or too slow is answered
        await self._transport.handle_request(scope, _replay(body, receive), send)


def _replay(body: bytes, receive: Receive) -> Receive:
    read = False

    async def again() -> Message:
        nonlocal read
        if read:
            return await receive()
        read = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again


def refuse_strangers(request: Request, settings: Settings) -> None:
    """See that it is meant for us, and comes from no page but those that may call.

    Else a page that has its own name lead to this machine could talk to a service on it.

    Raises:
        HostRefused: the client takes us for somebody else.
        OriginRefused: a page that is not allowed has sent it.
    """
    host = request.headers.get("host", "").lower()
    known = {*settings.mcp_hosts, *filter(None, [_own_host(settings)])}
    if not {host, _PORT.sub("", host)} & known:
        raise HostRefused
    origins = request.headers.getlist("origin")
    if not set(origins) <= set(settings.allowed_origins):
        raise OriginRefused


def _own_host(settings: Settings) -> str:
    return (settings.mcp_url or "").partition("://")[2].partition("/")[0].lower()


def _resource(request: Request, settings: Settings) -> str:
    """The address of `/mcp` as clients know it, which is also the audience of their tokens."""
    asked = f"{request.url.scheme}://{request.headers['host']}{PATH}"
    return (settings.mcp_url or asked).rstrip("/")


def _challenge(request: Request, settings: Settings) -> str:
    """What tells a client without a session where to get a token."""
    scheme, _, rest = _resource(request, settings).partition("://")
    host, _, path = rest.partition("/")
    suffix = f"/{path}" if path else ""
    return f'Bearer resource_metadata="{scheme}://{host}{METADATA}{suffix}"'


def mount_mcp(app: FastAPI, settings: Settings) -> McpEndpoint:
    """Serve `/mcp`, with a slash at its end as well, and the document of RFC 9728."""
    endpoint = McpEndpoint(settings)

    async def metadata(request: Request) -> Response:
        refuse_strangers(request, settings)
        document: dict[str, Any] = {
            "resource": _resource(request, settings),
            "resource_name": TITLE,
            "bearer_methods_supported": ["header"],
        }
        if settings.better_auth_url is not None:
            document["authorization_servers"] = [settings.jwt_issuer]
        return JSONResponse(document)

    for path in (PATH, f"{PATH}/"):
        app.router.routes.append(Route(path, endpoint, methods=["POST"]))
    for path in (METADATA, f"{METADATA}{PATH}"):
        app.router.routes.append(Route(path, metadata))
    return endpoint
