"""Tools of others: how an MCP server is set up as a toolset, one entry of TOOLSETS.

Nothing here reads the environment: `backend.config` does, and puts each key in the place of
the variable's name.
"""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from backend.settings.providers import Secret

SECONDS_MAX = 120.0

ToolsetName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9]{0,19}$")]
ToolName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z][A-Za-z0-9_-]{0,39}$")]


class Toolset(BaseModel):
    """An MCP server over streamable HTTP, some of whose tools the assistant may use."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    url: Annotated[str, Field(pattern=r"^https?://[^\s/@]+(/\S*)?$")]
    key: Secret = None
    """Sent as a bearer token."""
    tools: tuple[ToolName, ...] = ()
    """Those that may be used without a person's word, by the server's names.

    Empty: those that say of themselves that they only read.
    """
    seconds: Annotated[float, Field(gt=0, le=SECONDS_MAX)] = 20.0
    """How long a call may take."""
    takes_key: bool = False
    """Whether the server does a call once that is repeated under `todo/idempotency-key`."""
