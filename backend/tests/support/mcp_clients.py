"""Clients of `/mcp`: the SDK's own, and plain HTTP for what no client of a library would send."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Literal

import httpx
import httpx2
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from mcp_types import CallToolResult, Implementation

from backend.tls import believed

TODAY = "2026-07-28"
"""The protocol's newest revision, in which each request stands for itself."""
Mode = Literal["auto", "legacy"]


@asynccontextmanager
async def mcp_client(
    address: str, token: str, *, mode: Mode = "auto", name: str = "", agent: str = "an-agent/1.0"
) -> AsyncIterator[Client]:
    """The SDK's client at `address`, which speaks the newest revision it can, or an earlier one."""
    headers = {"Authorization": f"Bearer {token}", "User-Agent": agent}
    info = Implementation(name=name, version="1") if name else None
    async with httpx2.AsyncClient(headers=headers, timeout=30, verify=believed()) as http:
        transport = streamable_http_client(f"{address}/mcp", http_client=http)
        async with Client(transport, mode=mode, client_info=info) as client:
            yield client


def result_of(answer: CallToolResult) -> dict[str, Any]:
    """What a tool answered, as structured content."""
    content: dict[str, Any] = answer.structured_content
    return content


def request_of(method: str, **params: Any) -> dict[str, Any]:
    """A request of the newest revision, as it stands in a body."""
    envelope = {
        "io.modelcontextprotocol/protocolVersion": TODAY,
        "io.modelcontextprotocol/clientCapabilities": {},
    }
    meta = envelope | params.pop("_meta", {})
    return {"jsonrpc": "2.0", "id": 1, "method": method, "params": params | {"_meta": meta}}


async def post(
    client: httpx.AsyncClient, path: str, body: dict[str, Any], **headers: str
) -> httpx.Response:
    """Send `body` as the newest revision wants it."""
    name = body["params"].get("name", body["params"].get("uri"))
    named = {"Mcp-Name": name} if name else {}
    wanted = {
        "Accept": "application/json, text/event-stream",
        "MCP-Protocol-Version": TODAY,
        "Mcp-Method": body["method"],
    }
    return await client.post(path, json=body, headers=wanted | named | headers)
