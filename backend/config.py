"""Settings: the only reader of the environment.

Every variable is described in `.env.example`. A value that cannot work is refused at the
start with one line that names the variable.
"""

import re
from functools import cached_property
from typing import Annotated, Literal
from urllib.parse import urlsplit

from limits import parse_many
from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

OFFLINE_MODEL = "offline"


class SettingsError(Exception):
    """The environment cannot work; the text is one line a variable and quotes no value."""


class Settings(BaseSettings):
    """The environment, typed and checked; read once, handed to `create_app`."""

    model_config = SettingsConfigDict(
        env_file=".env", env_ignore_empty=True, extra="ignore", frozen=True
    )

    database_url: SecretStr | None = None
    """Unset: the embedded Postgres."""
    database_pool_size: int = Field(default=10, ge=2, le=200)
    """Connections of this process at the most; there is no overflow."""

    openai_api_key: SecretStr | None = None
    openai_base_url: str | None = None
    openai_model: str = Field(default="gpt-4o-mini", min_length=1)
    openai_api: Literal["responses", "chat_completions"] = "responses"
    """The wire format: OpenAI speaks both, most other servers only `chat_completions`."""
    openai_tracing: bool = False
    """Send traces, with the texts in them, to OpenAI."""
    ai_timeout_seconds: float = Field(default=30.0, gt=0, le=600)
    """The limit of a whole run, all its model calls and tools together."""
    history_limit: int = Field(default=50, ge=2, le=50)
    """Messages the model is given at the most, the new one included."""

    rate_limit_chat: str = "10/minute"
    rate_limit_history: str = "30/minute"
    rate_limit_tasks: str = "60/minute"
    rate_limit_storage_uri: str = "memory://"

    allowed_origins: Annotated[list[str], NoDecode] = ["http://localhost:3000"]

    better_auth_secret: SecretStr | None = None
    better_auth_url: str | None = None

    host: str = "127.0.0.1"
    port: int = Field(default=8000, ge=0, le=65535)
    request_seconds: float = Field(default=15.0, gt=0, le=600)
    """How long a client may take to send a request's head, and again for its body."""
    shutdown_seconds: int = Field(default=35, ge=1, le=900)
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

    @field_validator("openai_api_key")
    @classmethod
    def _fits_a_header(cls, value: SecretStr | None) -> SecretStr | None:
        if value and not re.fullmatch(r"[!-~]+", value.get_secret_value()):
            raise ValueError("must be plain letters, digits and signs, without blanks")
        return value

    @field_validator("rate_limit_chat", "rate_limit_history", "rate_limit_tasks")
    @classmethod
    def _parsable_limit(cls, value: str) -> str:
        try:
            possible = all(item.amount > 0 and item.multiples > 0 for item in parse_many(value))
        except ValueError:
            possible = False
        if not possible or re.search(r"(?<!\d)0+\s*(?:/|[a-z])", value.lower()):
            raise ValueError("must be a limit such as 10/minute")
        return value

    @field_validator("allowed_origins", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        if isinstance(value, str):
            return [part.strip().rstrip("/").lower() for part in value.split(",") if part.strip()]
        return value

    @field_validator("allowed_origins")
    @classmethod
    def _exact_origins(cls, value: list[str]) -> list[str]:
        for origin in value:
            if not re.fullmatch(r"https?://[^\s/?#@*]+", origin):
                raise ValueError(
                    "must list exact origins such as https://app.example.com (no *, no path)"
                )
        return value

    @field_validator("openai_base_url", "better_auth_url")
    @classmethod
    def _http_url(cls, value: str | None) -> str | None:
        if value and not (urlsplit(value).scheme in ("http", "https") and urlsplit(value).netloc):
            raise ValueError("must be an http:// or https:// address")
        return value

    @field_validator("rate_limit_storage_uri")
    @classmethod
    def _known_storage(cls, value: str) -> str:
        if urlsplit(value).scheme != "memory":
            raise ValueError("must be memory://")
        return value

    @cached_property
    def offline(self) -> bool:
        """Whether the built-in model answers instead of a provider."""
        return self.openai_model == OFFLINE_MODEL


def load_settings() -> Settings:
    """Read the environment and `.env`.

    Raises:
        SettingsError: a value is not possible.
    """
    try:
        return Settings()
    except UnicodeDecodeError:
        raise SettingsError(".env: is not UTF-8 text") from None
    except ValidationError as error:
        lines = (
            f"{'.'.join(str(part).upper() for part in fault['loc'][:1])}: "
            f"{fault['msg'].removeprefix('Value error, ')}"
            for fault in error.errors(include_input=False, include_url=False)
        )
        raise SettingsError("; ".join(lines)) from None
