"""This service as an MCP server: its settings."""

import re
from typing import Annotated

from pydantic import AfterValidator, Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, NoDecode

from backend.settings.addresses import Address, http_url

_HOST = re.compile(r"([\w.-]+|\[[0-9a-f:]+\])(:\d{1,5})?")
_HERE = ["localhost", "127.0.0.1", "[::1]"]


class McpSettings(BaseSettings):
    """The part of `backend.config.Settings` that is about MCP."""

    mcp: bool = False
    """Whether the tools are served at `/mcp`."""
    mcp_url: Address = None
    """Where clients find `/mcp`, and the audience of tokens made for it. Unset: as they ask."""
    mcp_hosts: Annotated[list[str], NoDecode] = Field(default=_HERE)
    """What a client's `Host` may say; without a port, any port."""

    @field_validator("mcp_hosts", mode="before")
    @classmethod
    def _split_hosts(cls, value: object) -> object:
        if isinstance(value, str):
            value = [part.strip().lower() for part in value.split(",") if part.strip()]
            if not all(_HOST.fullmatch(host) for host in value):
                raise ValueError("must list hosts such as todo.example.com (no *, no path)")
        return value


class BridgeSettings(BaseSettings):
    """The environment of `python -m backend.mcp`, which a client starts."""

    todo_mcp_url: Annotated[str, AfterValidator(http_url)] = "http://127.0.0.1:8000/mcp"
    """Where the service is."""
    todo_mcp_token: SecretStr
    """The session token, or JWT, of the person whose tasks they are."""
