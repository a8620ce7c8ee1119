"""How people are signed in: the settings of Better Auth, and what follows from its address."""

from functools import cached_property
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, NoDecode

from backend.settings.addresses import Address

SESSION_COOKIE = "better-auth.session_token"
"""Better Auth's own name; over TLS it puts `__Secure-` before it."""


class SignInSettings(BaseSettings):
    """The part of `backend.config.Settings` that is about sign-in."""

    better_auth_secret: SecretStr | None = None
    """Set: a signature that is wrong is refused before the database is asked."""
    better_auth_url: Address = None
    """Set: JWTs of this Better Auth count."""
    better_auth_jwks_url: Address = None
    better_auth_issuer: str | None = None
    better_auth_audience: str | None = None
    better_auth_cookie: str = Field(default=SESSION_COOKIE, pattern=r"^[!#-+\--:<>-~]+$")
    better_auth_session_table: str | None = Field(default=None, pattern=r"^[^.\x00]+(\.[^\x00]+)?$")
    """A name to the letter, or `schema.table`. Unset: looked for."""
    better_auth_session_columns: Annotated[tuple[str, ...] | None, NoDecode] = None
    """Of the token, the user and the end of a session. Unset: looked for."""

    @field_validator("better_auth_jwks_url", "better_auth_issuer", "better_auth_audience")
    @classmethod
    def _for_jwts(cls, value: str | None, info: ValidationInfo) -> str | None:
        if value and not info.data.get("better_auth_url"):
            raise ValueError("is of no use without BETTER_AUTH_URL")
        return value

    @field_validator("better_auth_session_columns", mode="before")
    @classmethod
    def _three_names(cls, value: object) -> object:
        if isinstance(value, str):
            value = tuple(part.strip() for part in value.split(","))
            if len(value) != 3 or not all(value):
                raise ValueError("must be three names such as token,user_id,expires_at")
        return value

    @cached_property
    def jwks_url(self) -> str:
        """Where Better Auth lists its public keys; a path in its address stands for /api/auth."""
        if self.better_auth_jwks_url:
            return self.better_auth_jwks_url
        url = (self.better_auth_url or "").rstrip("/")
        return f"{url}/jwks" if urlsplit(url).path else f"{url}/api/auth/jwks"

    @cached_property
    def jwt_issuer(self) -> str:
        return self.better_auth_issuer or self._better_auth_origin

    @cached_property
    def jwt_audience(self) -> str:
        return self.better_auth_audience or self._better_auth_origin

    @cached_property
    def _better_auth_origin(self) -> str:
        """As a browser writes it: in lower case, without a path and without the usual port."""
        url = urlsplit(self.better_auth_url or "")
        host = url.netloc.rpartition("@")[2].lower()
        return f"{url.scheme}://{host.removesuffix({'http': ':80', 'https': ':443'}[url.scheme])}"
