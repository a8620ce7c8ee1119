"""The database's address, as Neon, Prisma or Supabase give it, made into libpq's parameters.

No error and no log line quotes any part of it but a parameter by its name.
"""

import logging
import re
from typing import NamedTuple

from psycopg import pq
from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from backend.config import SettingsError

logger = logging.getLogger(__name__)

CONNECT_DEFAULTS = {
    "application_name": "todo-chat",
    "client_encoding": "UTF8",
    "connect_timeout": "3",
    "keepalives_idle": "10",
    "keepalives_interval": "5",
    "keepalives_count": "3",
    "tcp_user_timeout": "5000",
}
"""libpq's parameters where the address gives none; in seconds, the last in milliseconds."""
LIBPQ_PARAMETERS = frozenset(option.keyword.decode() for option in pq.Conninfo.get_defaults())


class Address(NamedTuple):
    """`parameters` are libpq's; `pooled` is whether the address itself names a pooler."""

    parameters: dict[str, str]
    pooled: bool


def read_address(url: str) -> Address:
    """What `DATABASE_URL` says.

    Raises:
        SettingsError: it is not a Postgres address.
    """
    if url.count("@") > 1:  # the rest of the password would be taken for a host, and be named
        raise SettingsError("DATABASE_URL: a @ in the name or password must be written %40")
    try:
        address = make_url(url).set(drivername="postgresql")
    except (ArgumentError, ValueError):
        raise SettingsError("DATABASE_URL: cannot be read as an address") from None
    return Address(_parameters(address), _names_a_pooler(address))


def _names_a_pooler(address: URL) -> bool:
    hosts = [address.host or "", *address.normalized_query.get("host", ())]
    asked = address.normalized_query.get("pgbouncer", ()) == ("true",)
    return any("-pooler" in host for host in hosts) or asked or "prepare_threshold" in address.query


def _parameters(address: URL) -> dict[str, str]:
    """Those of other libraries are dropped and named."""
    given = {
        name: ",".join(values) if name in ("host", "hostaddr", "port") else values[-1]
        for name, values in address.normalized_query.items()
    }
    given.pop("prepare_threshold", None)
    given.pop("pgbouncer", None)
    if ssl := given.pop("ssl", None):
        given.setdefault("sslmode", "require" if ssl == "true" else ssl)
    for name in sorted(given.keys() - LIBPQ_PARAMETERS):
        logger.warning("DATABASE_URL: parameter %s is not libpq's and was dropped", name)
    parts = {
        "host": address.host,
        "port": str(address.port) if address.port else None,
        "user": address.username,
        "password": str(address.password) if address.password is not None else None,
        "dbname": address.database,
    }
    named = {name: value for name, value in parts.items() if value}
    ours = {name: value for name, value in given.items() if name in LIBPQ_PARAMETERS}
    found = CONNECT_DEFAULTS | named | ours
    if not re.fullmatch("[1-9][0-9]{0,2}", found["connect_timeout"]):
        raise SettingsError("DATABASE_URL: connect_timeout must be seconds, from 1 to 999")
    return found
