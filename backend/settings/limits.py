"""How often and how much one may: the settings of the limits."""

import re
from decimal import Decimal
from importlib.util import find_spec
from ipaddress import ip_network
from typing import Annotated

from limits import parse_many
from pydantic import AfterValidator, Field, SecretStr
from pydantic_settings import BaseSettings

_REDIS = (
    r"rediss?://([^\s@/?#]*@)?([\w.-]+|\[[0-9A-Fa-f:]+\])"
    r"(?P<port>:\d{1,5})?(/\d*)?(\?[^\s#]*)?"
)
_PORT_MAX = 65_535


def _parsable(value: str) -> str:
    try:
        possible = all(item.amount > 0 and item.multiples > 0 for item in parse_many(value))
    except ValueError:
        possible = False
    if not possible or re.search(r"(?<!\d)0+\s*(?:/|[a-z])", value.lower()):
        raise ValueError("must be a limit such as 10/minute")
    return value


def _known_store(value: SecretStr) -> SecretStr:
    uri = value.get_secret_value()
    if uri.startswith(("redis://", "rediss://")) and find_spec("redis") is None:
        raise ValueError("needs a package: pip install -r requirements-redis.txt")
    named = re.fullmatch(_REDIS, uri)
    if uri != "memory://" and (named is None or int((named["port"] or ":0")[1:]) > _PORT_MAX):
        raise ValueError("must be memory:// or redis://[user:password@]host[:port][/database]")
    return value


def _addresses(value: str) -> str:
    try:
        _ = value == "*" or [ip_network(part.strip()) for part in value.split(",")]
    except ValueError:
        raise ValueError("must list addresses or networks such as 10.0.0.0/8, or be *") from None
    return value


Limit = Annotated[str, AfterValidator(_parsable)]


class LimitSettings(BaseSettings):
    """The part of `backend.config.Settings` that is about limits."""

    rate_limit_chat: Limit = "10/minute"
    rate_limit_history: Limit = "30/minute"
    rate_limit_tasks: Limit = "60/minute"
    rate_limit_sign_in: Limit = "30/minute"
    """Failed sign-ins of one client address."""
    rate_limit_storage_uri: Annotated[SecretStr, AfterValidator(_known_store)] = SecretStr(
        "memory://"
    )
    """`memory://`, where each process counts for itself, or a Redis; it may hold a password."""
    forwarded_allow_ips: Annotated[str, AfterValidator(_addresses)] = "127.0.0.1"
    """Proxies whose X-Forwarded-For names the client: addresses and networks, or `*` for all."""
    chat_concurrency: int = Field(default=3, ge=1, le=1000)
    """Turns of one person that may run at once, over all processes."""
    daily_token_budget: int | None = Field(default=None, ge=1)
    """Input and output tokens of one person's turns in a day of UTC; None is no limit."""
    daily_cost_budget: Decimal | None = Field(default=None, gt=0, le=1_000_000, decimal_places=6)
    """US dollars, the same; what has no known price counts nothing."""
