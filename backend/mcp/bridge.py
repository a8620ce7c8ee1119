"""For clients that start programs: what comes on standard input is passed on to `/mcp`.

Nothing is kept and nothing is judged here. Each request is one of its own to the service, which
may be restarted meanwhile; it is told what the client calls itself.
"""

from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any

import httpx2
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel.server import Server
from mcp.server.stdio import stdio_server
from mcp.shared.exceptions import MCPError
from mcp_types import (
    INTERNAL_ERROR,
    CallToolRequestParams,
    CallToolResult,
    GetPromptRequestParams,
    GetPromptResult,
    Implementation,
    ListPromptsResult,
    ListResourcesResult,
    ListToolsResult,
    PaginatedRequestParams,
    ReadResourceRequestParams,
    ReadResourceResult,
)
from mcp_types.version import LATEST_MODERN_VERSION

from backend.mcp.words import INSTRUCTIONS, NAME, TITLE
from backend.settings.mcp import BridgeSettings
from backend.version import VERSION

type Context = ServerRequestContext[Any, Any]

TIMEOUT_S = 30.0
_AWAY = "The to-do service cannot be reached, or refuses TODO_MCP_TOKEN."
_PROTOCOLS = "io.modelcontextprotocol/"


class Bridge:
    """A server that has each request answered by the service."""

    def __init__(self, settings: BridgeSettings, http: httpx2.AsyncClient) -> None:
        self._url = settings.todo_mcp_url
        self._http = http
        self._signed_in = True
        http.event_hooks["response"] = [self._note_sign_in]

    async def _note_sign_in(self, answer: httpx2.Response) -> None:
        """Whether the service takes the token; the SDK says only that it answered badly."""
        self._signed_in = answer.status_code != HTTPStatus.UNAUTHORIZED

    async def _ask[R](self, ctx: Context, ask: Callable[[Client], Awaitable[R]]) -> R:
        """What the service answers to the client that started us.

        Raises:
            MCPError: it is out of reach, or refuses the token; or what it says itself.
        """
        said = ctx.session.client_params
        service = Client(
            streamable_http_client(self._url, http_client=self._http),
            mode=LATEST_MODERN_VERSION,
            client_info=said.client_info if said else Implementation(name=NAME, version=""),
        )
        try:
            async with service:
                try:
                    outcome: R | MCPError = await ask(service)
                except MCPError as error:  # here, as the client would wrap it on its way out
                    outcome = error
        except Exception as error:
            raise MCPError(INTERNAL_ERROR, _AWAY) from error
        if isinstance(outcome, MCPError):
            raise outcome if self._signed_in else MCPError(INTERNAL_ERROR, _AWAY)
        return outcome

    async def list_tools(self, ctx: Context, _: PaginatedRequestParams | None) -> ListToolsResult:
        return await self._ask(ctx, lambda service: service.list_tools())

    async def call_tool(self, ctx: Context, params: CallToolRequestParams) -> CallToolResult:
        return await self._ask(
            ctx,
            lambda service: service.call_tool(params.name, params.arguments, meta=_own_meta(ctx)),
        )

    async def list_resources(
        self, ctx: Context, _: PaginatedRequestParams | None
    ) -> ListResourcesResult:
        return await self._ask(ctx, lambda service: service.list_resources())

    async def read_resource(
        self, ctx: Context, params: ReadResourceRequestParams
    ) -> ReadResourceResult:
        return await self._ask(ctx, lambda service: service.read_resource(params.uri))

    async def list_prompts(
        self, ctx: Context, _: PaginatedRequestParams | None
    ) -> ListPromptsResult:
        return await self._ask(ctx, lambda service: service.list_prompts())

    async def get_prompt(self, ctx: Context, params: GetPromptRequestParams) -> GetPromptResult:
        return await self._ask(
            ctx, lambda service: service.get_prompt(params.name, params.arguments)
        )


def _own_meta(ctx: Context) -> Any:
    """What the client says of a call besides what the protocol does."""
    said = dict(ctx.meta or {})
    return {name: said[name] for name in said if "/" in name and not name.startswith(_PROTOCOLS)}


async def serve(settings: BridgeSettings) -> None:
    """Serve standard input until it ends."""
    headers = {"Authorization": f"Bearer {settings.todo_mcp_token.get_secret_value()}"}
    async with httpx2.AsyncClient(headers=headers, timeout=TIMEOUT_S) as http:
        bridge = Bridge(settings, http)
        server: Server[Any] = Server(
            NAME,
            title=TITLE,
            version=VERSION,
            instructions=INSTRUCTIONS,
            on_list_tools=bridge.list_tools,
            on_call_tool=bridge.call_tool,
            on_list_resources=bridge.list_resources,
            on_read_resource=bridge.read_resource,
            on_list_prompts=bridge.list_prompts,
            on_get_prompt=bridge.get_prompt,
        )
        async with stdio_server() as (incoming, outgoing):
            await server.run(incoming, outgoing, server.create_initialization_options())
