"""Tools of others: how an MCP server is set up as a toolset, one entry of TOOLSETS.

Nothing here reads the environment: `backend.config` does, and puts each secret in the place of
the variable's name.
"""

import re
from typing import Annotated, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    StringConstraints,
    model_validator,
)

from backend.settings.addresses import Address
from backend.settings.providers import Secret

SECONDS_MAX = 120.0
PERSON_KEY_MIN = 32
"""Characters: as many bits as the signature has."""
_OUR_VERBS = frozenset({"add", "complete", "delete", "list", "update"})
"""With one of these in front a tool of theirs could be called what one of ours is."""
_TAKEN = frozenset(
    {
        *("accept", "authorization", "connection", "content-length", "content-type", "cookie"),
        *("host", "last-event-id", "transfer-encoding"),
    }
)
"""Headers that the client sets."""


def _not_ours(name: str) -> str:
    if name in _OUR_VERBS:
        raise ValueError("must not be the first word of a tool that is built in")
    return name


def _free_header(name: str) -> str:
    if name.lower() in _TAKEN or name.lower().startswith("mcp-"):
        raise ValueError("must not be a header that the client sets")
    return name


def _long_enough(value: SecretStr | None) -> SecretStr | None:
    if value and len(value.get_secret_value()) < PERSON_KEY_MIN:
        raise ValueError(f"must have {PERSON_KEY_MIN} characters or more")
    return value


ToolsetName = Annotated[
    str, StringConstraints(pattern=r"^[a-z][a-z0-9]{0,19}$"), AfterValidator(_not_ours)
]
TOOL_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,39}")
ToolName = Annotated[str, StringConstraints(pattern=f"^{TOOL_NAME.pattern}$")]
_Header = Annotated[
    str, StringConstraints(pattern=r"^[A-Za-z][A-Za-z0-9-]{0,39}$"), AfterValidator(_free_header)
]
_Word = Annotated[str, StringConstraints(pattern=r"^[^\x00-\x1f\x7f]{1,1000}$")]


class Toolset(BaseModel):
    """An MCP server, some of whose tools the assistant may use."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    url: Annotated[Address, Field(pattern=r"^https?://[^\s/@]+(/\S*)?$")] = None
    """Of one that speaks streamable HTTP."""
    command: Annotated[tuple[_Word, ...], Field(max_length=100)] = ()
    """Of one that is started here and speaks over stdin and stdout: a program and its arguments."""
    key: Secret = None
    """Sent as a bearer token; a program finds it in its environment as `TOOLSET_KEY`."""
    default: bool = True
    """Whether it is used where a conversation has chosen none."""
    tools: tuple[ToolName, ...] = ()
    """Those that may be used, by the server's names; empty: all."""
    approve: tuple[ToolName, ...] | None = None
    """Those that a person approves first; None: all that do not say that they destroy nothing."""
    seconds: Annotated[float, Field(gt=0, le=SECONDS_MAX)] = 20.0
    """How long a call may take."""
    takes_key: bool = False
    """Whether the server does a call once that is repeated under `todo/idempotency-key`."""
    person_key: Annotated[Secret, AfterValidator(_long_enough)] = None
    """Signs the token that names the person to the server; None: nobody is named."""
    person_header: _Header = "X-Person"
    """In which that token is sent."""
    link_local: bool = False
    """Whether the server may be on the network on which clouds hand out secrets."""

    @model_validator(mode="after")
    def _reached_one_way(self) -> Self:
        if (self.url is None) is not bool(self.command):
            raise ValueError("must have either url or command")
        if self.command and self.person_key:
            raise ValueError("person_key goes with url alone")
        return self
