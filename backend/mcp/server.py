"""What the MCP server says of itself and answers: tools, the open tasks, a prompt.

The SDK speaks the protocol, today's revision and the ones before it. A request is signed in by
`backend.mcp.endpoint` before it comes here; `ctx.request` is that request.
"""

import json
from datetime import datetime
from typing import Any, cast

from fastapi import Request
from mcp.server.caching import CacheableMethod, CacheHint
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel.server import Server
from mcp.shared.exceptions import MCPError
from mcp_types import (
    INVALID_PARAMS,
    CallToolRequestParams,
    CallToolResult,
    GetPromptRequestParams,
    GetPromptResult,
    ListPromptsResult,
    ListResourcesResult,
    ListToolsResult,
    PaginatedRequestParams,
    Prompt,
    PromptMessage,
    ReadResourceRequestParams,
    ReadResourceResult,
    Resource,
    TextContent,
    TextResourceContents,
)

from backend.errors import RateLimited
from backend.journal.outside import OutsideCall
from backend.mcp.calls import IDEMPOTENCY_KEY, Result, call_tool
from backend.mcp.tools import TOOLS
from backend.mcp.words import INSTRUCTIONS, NAME, TITLE
from backend.tasks.people import last_zone
from backend.time_zones import zone_of
from backend.version import VERSION
from backend.visible import shows_something

type Context = ServerRequestContext[Any, Request]

RATE_LIMITED = -32029
"""A JSON-RPC error of our own, where the person's calls of the minute are used up."""
NAME_MAX = 100
"""Characters of a client's name that are kept."""
OPEN_TASKS = Resource(
    uri="todo://tasks/open",
    name="open-tasks",
    title="Open tasks",
    description="What is still to be done, newest first, and what day it is for the person.",
    mime_type="application/json",
)
PLAN_MY_DAY = Prompt(
    name="plan-my-day",
    title="Plan my day",
    description="Plan the day from the tasks that are open.",
)
_PLAN = """\
Plan my day. First what is overdue or due today, then what is urgent, then the rest as far as a \
day goes; say briefly why, and ask me before you change a task. My open tasks, as data:
"""


def create_server() -> Server[Any]:
    """A server without a transport; it keeps nothing between requests."""
    lists: tuple[CacheableMethod, ...] = ("tools/list", "resources/list", "prompts/list")
    return Server(
        NAME,
        title=TITLE,
        version=VERSION,
        instructions=INSTRUCTIONS,
        # they are the same for everybody, for as long as a release serves
        cache_hints=dict.fromkeys(lists, CacheHint(ttl_ms=300_000, scope="public")),
        on_list_tools=_list_tools,
        on_call_tool=_call_tool,
        on_list_resources=_list_resources,
        on_read_resource=_read_resource,
        on_list_prompts=_list_prompts,
        on_get_prompt=_get_prompt,
    )


async def _list_tools(_: Context, __: PaginatedRequestParams | None) -> ListToolsResult:
    return ListToolsResult(tools=[*TOOLS])


async def _call_tool(ctx: Context, params: CallToolRequestParams) -> CallToolResult:
    if params.name not in {tool.name for tool in TOOLS}:
        raise MCPError(INVALID_PARAMS, "Unknown tool")
    result = await _answer_counted(ctx, params.name, params.arguments or {})
    return CallToolResult(
        content=[TextContent(type="text", text=json.dumps(result, ensure_ascii=False))],
        structured_content=result,
        is_error=result["success"] is not True,
    )


async def _answer_counted(ctx: Context, name: str, arguments: dict[str, Any]) -> Result:
    """What the tool answers, if the person has a call left."""
    try:
        await _count_request(ctx)
    except RateLimited as error:
        return {
            "success": False,
            "error": error.message,
            "error_code": error.code,
            "retry_after": int(error.headers["Retry-After"]),
        }
    key = (ctx.meta or {}).get(IDEMPOTENCY_KEY)
    caller = OutsideCall(_user_id(ctx), client_name(ctx), None if key is None else str(key))
    return await call_tool(_request(ctx).app.state.sessions, caller, name, arguments)


async def _list_resources(_: Context, __: PaginatedRequestParams | None) -> ListResourcesResult:
    return ListResourcesResult(resources=[OPEN_TASKS])


async def _read_resource(ctx: Context, params: ReadResourceRequestParams) -> ReadResourceResult:
    if params.uri != OPEN_TASKS.uri:
        raise MCPError(INVALID_PARAMS, "Unknown resource")
    return ReadResourceResult(
        contents=[
            TextResourceContents(
                uri=OPEN_TASKS.uri, mime_type=OPEN_TASKS.mime_type, text=await _open_tasks(ctx)
            )
        ]
    )


async def _list_prompts(_: Context, __: PaginatedRequestParams | None) -> ListPromptsResult:
    return ListPromptsResult(prompts=[PLAN_MY_DAY])


async def _get_prompt(ctx: Context, params: GetPromptRequestParams) -> GetPromptResult:
    if params.name != PLAN_MY_DAY.name:
        raise MCPError(INVALID_PARAMS, "Unknown prompt")
    text = TextContent(type="text", text=_PLAN + await _open_tasks(ctx))
    return GetPromptResult(
        description=PLAN_MY_DAY.description, messages=[PromptMessage(role="user", content=text)]
    )


async def _open_tasks(ctx: Context) -> str:
    """The day and the tasks that are open, as JSON.

    Raises:
        MCPError: the person's calls are used up, or the database is away.
    """
    result = await _answer_counted(ctx, "list_tasks", {"status": "pending"})
    if result["success"] is not True:
        raise MCPError(RATE_LIMITED, result["error"], {"retry_after": result.get("retry_after")})
    async with _request(ctx).app.state.autocommit() as session:
        zone = zone_of(await last_zone(session, _user_id(ctx)))
    listed = {
        "today": f"{datetime.now(zone):%Y-%m-%d}",
        "time_zone": str(zone),
        "tasks": result["tasks"],
    }
    return json.dumps(listed, ensure_ascii=False)


async def _count_request(ctx: Context) -> None:
    request = _request(ctx)
    await request.app.state.rate_limits.count(request, "tasks", _user_id(ctx))


def _request(ctx: Context) -> Request:
    return cast(Request, ctx.request)  # there is one wherever HTTP has led here


def _user_id(ctx: Context) -> str:
    user_id: str = _request(ctx).state.user_id
    return user_id


def client_name(ctx: Context) -> str:
    """What the client calls itself, else the product its `User-Agent` names.

    A revision without sessions has no place for the first but the envelope of each request.
    """
    said = ctx.session.client_params
    agent = _request(ctx).headers.get("user-agent", "").partition("/")[0]
    for name in (said and said.client_info.title, said and said.client_info.name, agent):
        kept = "".join(filter(str.isprintable, name or "")).strip()[:NAME_MAX].strip()
        if shows_something(kept):
            return kept
    return "MCP client"
