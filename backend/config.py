"""Settings: the only reader of the environment.

Every variable is described in `.env.example`. A value that cannot work is refused at the
start with one line that names the variable.
"""

import json
import os
import re
from typing import Annotated, Literal, Self

from pydantic import (
    Field,
    SecretStr,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from backend.errors import StartFailure
from backend.settings.addresses import Address, ListenHost, origin
from backend.settings.limits import LimitSettings
from backend.settings.mcp import McpSettings
from backend.settings.providers import (
    ANTHROPIC_URL,
    OFFLINE_MODEL,
    OPENAI,
    Api,
    ModelName,
    OfferedModel,
    Provider,
    ProviderName,
    Secret,
    refuse_incomplete,
    usable,
)
from backend.settings.sign_in import SignInSettings
from backend.settings.telemetry import TelemetrySettings
from backend.settings.toolsets import Toolset, ToolsetName


class SettingsError(StartFailure):
    """The environment cannot work; the text is one line a variable and quotes no value."""


def _variable(name: object) -> SecretStr:
    """The secret in the variable of this name, in the environment or in `.env`."""
    if not isinstance(name, str) or not re.fullmatch("[A-Z][A-Z0-9_]{0,99}", name):
        raise ValueError("must be the name of a variable, such as GROQ_API_KEY")
    alias: str = name

    class Variable(BaseSettings):
        model_config = _SOURCES
        value: SecretStr | None = Field(default=None, validation_alias=alias)

    found = Variable().value
    if found is None:
        raise ValueError("names a variable that is not set")
    return found


_SOURCES = SettingsConfigDict(env_file=".env", env_ignore_empty=True, extra="ignore", frozen=True)


class Settings(LimitSettings, McpSettings, SignInSettings, TelemetrySettings):
    """The environment, typed and checked; read once, handed to `create_app`."""

    model_config = _SOURCES

    database_url: SecretStr | None = None
    """Unset: the embedded Postgres."""
    database_pool_size: int = Field(default=10, ge=2, le=200)
    """Connections of this process at the most; there is no overflow."""

    openai_api_key: Secret = None
    openai_base_url: Address = None
    openai_model: ModelName = "gpt-4o-mini"
    openai_api: Api = "responses"
    """The wire format: OpenAI speaks both, most other servers only `chat_completions`."""
    openai_tracing: bool = False
    """Send traces, with the texts in them, to OpenAI."""
    anthropic_api_key: Secret = None
    anthropic_model: ModelName = "claude-sonnet-4-5"
    providers: Annotated[dict[ProviderName, Provider], NoDecode] = Field(default={})
    """Further providers by name, and what is different of a built-in one."""
    toolsets: Annotated[dict[ToolsetName, Toolset], NoDecode] = Field(default={})
    """MCP servers whose tools the assistant may use, by name."""
    toolset_commands: bool = False
    """Whether a toolset may be a program that this process starts."""
    default_provider: ProviderName | None = None
    """Whose first model answers where a conversation names none; None: OPENAI_MODEL."""
    ai_timeout_seconds: float = Field(default=30.0, gt=0, le=600)
    """The limit of a whole run, all its model calls and tools together."""
    history_limit: int = Field(default=50, ge=2, le=50)
    """Messages the model is given at the most, the new one included."""

    approval_tools: Annotated[frozenset[str], NoDecode] = frozenset()
    """Tools whose calls a person approves first, where the client can ask."""
    ai_summaries: bool = True
    """Whether the model writes titles and summaries; else, and if it fails, a rule does."""
    ai_titles: Literal["rule", "model"] = "model"
    """Who names a conversation once its second turn is answered; before that a rule does."""

    allowed_origins: Annotated[list[str], NoDecode] = Field(default=["http://localhost:3000"])
    allowed_headers: Annotated[list[str], NoDecode] = Field(default=[])
    """Header fields that pages may send besides those that are known."""

    retention_days: int | None = Field(default=None, ge=1, le=36_500)
    """After how many days what was deleted, and keys of requests, are removed; None: never."""

    web_page: bool = False
    """Serve the page at `/`, a chat and a list; the demo does so unless told otherwise."""

    host: ListenHost = "127.0.0.1"
    port: int = Field(default=8000, ge=0, le=65535)
    request_seconds: float = Field(default=15.0, gt=0, le=600)
    """How long a client may take to send a request's head, and again for its body."""
    drain_seconds: float = Field(default=0.0, ge=0, le=300)
    """How long after the order to stop new requests are still taken, while `/ready` says no."""
    shutdown_seconds: int = Field(default=20, ge=1, le=900)
    """How long runs in flight may go on after the order to stop; the rest are then closed."""
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"

    @field_validator("database_url")
    @classmethod
    def _postgres_only(cls, value: SecretStr | None) -> SecretStr | None:
        # not urlsplit, whose complaints quote the password
        scheme = value.get_secret_value().partition("://")[0] if value else "postgresql"
        if scheme not in ("postgres", "postgresql"):
            raise ValueError("must start with postgresql:// or postgres://")
        return value

    @field_validator("approval_tools", mode="before")
    @classmethod
    def _names_of_tools(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        names = {name.strip() for name in value.split(",")} - {""}
        if any(not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", name) for name in names):
            raise ValueError("must list names of tools such as delete_task, separated by commas")
        return names

    @field_validator("allowed_origins", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        if isinstance(value, str):
            return [part.strip().rstrip("/") for part in value.split(",") if part.strip()]
        return value

    @field_validator("allowed_headers", mode="before")
    @classmethod
    def _split_headers(cls, value: object) -> object:
        if isinstance(value, str):
            value = [part.strip() for part in value.split(",") if part.strip()]
            if not all(re.fullmatch(r"[A-Za-z0-9!#$%&'+.^_`|~-]+", name) for name in value):
                raise ValueError("must list names of header fields such as X-Trace (no *)")
        return value

    @field_validator("allowed_origins")
    @classmethod
    def _exact_origins(cls, value: list[str]) -> list[str]:
        return [*map(origin, value)]

    @field_validator("providers", "toolsets", mode="before")
    @classmethod
    def _from_json(cls, value: object, info: ValidationInfo) -> object:
        if isinstance(value, str):
            try:
                value = json.loads(value)
            except (ValueError, RecursionError):
                raise ValueError(f"must be a JSON object of {info.field_name} by name") from None
        if not isinstance(value, dict):
            raise ValueError(f"must be a JSON object of {info.field_name} by name")
        return {name: cls._with_keys(name, entry) for name, entry in value.items()}

    @classmethod
    def _with_keys(cls, owner: str, entry: object) -> object:
        """The entry with the keys themselves where it names variables: none stands in it."""
        if not isinstance(entry, dict):
            return entry
        found = {}
        for member in ("key", "person_key"):
            try:
                if entry.get(member) is not None:
                    found[member] = _variable(entry[member])
            except ValueError as error:
                raise ValueError(f"{owner}.{member}: {error}") from None
        return entry | found

    @field_validator("providers")
    @classmethod
    def _complete(cls, value: dict[str, Provider]) -> dict[str, Provider]:
        refuse_incomplete(value)
        return value

    @model_validator(mode="after")
    def _commands_allowed(self) -> Self:
        if any(each.command for each in self.toolsets.values()) and not self.toolset_commands:
            raise ValueError("TOOLSETS: has a command, which TOOLSET_COMMANDS=true would allow")
        return self

    @model_validator(mode="after")
    def _known_default(self) -> Self:
        if self.default_provider not in (None, *self.offered) and not self.lacks_key:
            raise ValueError(f"DEFAULT_PROVIDER: must be one of: {', '.join(self.offered)}")
        return self

    @property
    def offline(self) -> bool:
        """Whether OPENAI_MODEL names the built-in model instead of a provider's."""
        return self.openai_model == OFFLINE_MODEL

    @property
    def lacks_key(self) -> bool:
        """Whether the default is a model of OpenAI that has no key: chat then answers 503."""
        by_default = self.default_provider in (None, OPENAI) and not self.offline
        return by_default and OPENAI not in self.offered

    @property
    def offered(self) -> dict[str, Provider]:
        """The providers that may answer, by name; without its key a built-in one is not there."""
        openai = Provider(
            base_url=self.openai_base_url,
            key=self.openai_api_key,
            api=self.openai_api,
            models={} if self.offline else {self.openai_model: OfferedModel()},
        )
        anthropic = Provider(
            base_url=ANTHROPIC_URL,
            key=self.anthropic_api_key,
            models={self.anthropic_model: OfferedModel()},
        )
        offline = self.offline or self.default_provider == OFFLINE_MODEL
        return usable(openai, anthropic, self.providers, offline=offline)


def load_settings() -> Settings:
    """Read the environment and `.env`.

    Raises:
        SettingsError: a value is not possible.
    """
    return load(Settings)


def load[S: BaseSettings](kind: type[S]) -> S:
    """Settings of one kind, as `load_settings` reads those of the service.

    Raises:
        SettingsError: a value is not possible, or one that has to be set is missing.
    """
    try:
        return kind()
    except UnicodeDecodeError:
        raise SettingsError(".env: is not UTF-8 text") from None
    except ValidationError as error:
        faults = error.errors(include_input=False, include_url=False)
        raise SettingsError("; ".join(map(_line, faults))) from None


def forget_libpq() -> None:
    """Take out of this process's environment what libpq would read there by itself."""
    for name in [each for each in os.environ if each.startswith("PG")]:
        del os.environ[name]


def _line(fault: ErrorDetails) -> str:
    """`PORT: must be ...`, or `PROVIDERS: groq.base_url: must be ...`; names only, no value."""
    variable, *path = [str(part)[:50] for part in fault["loc"]] or [""]
    said = fault["msg"].removeprefix("Value error, ")
    line = ": ".join(filter(None, [variable.upper(), ".".join(path), said]))
    return re.sub("[^ -~]", "?", line)
