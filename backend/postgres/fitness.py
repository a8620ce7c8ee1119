"""Why a database cannot serve, in one line for whoever starts the service."""

from collections.abc import Callable

from psycopg import Error

from backend.errors import StartFailure

OLDEST = 15
"""The oldest major version of Postgres that serves."""

_ADVICE = {
    "42501": "grant the role CREATE on the schema, and make it the owner of the tables"
    " tasks, conversations and messages where they are there",
    "55P03": "another session holds a lock that the migration needs: end it, and start again",
    "57014": "it took too long: end what else works on these tables, and start again",
    "25006": "it can only be read: give the address of the primary",
    "53300": "it has no connection free: raise max_connections, or lower DATABASE_POOL_SIZE",
    "3D000": "make the database first, or name another in DATABASE_URL",
    "28P01": "the password is wrong",
}
"""What to do, by what Postgres calls it."""


class Unfit(StartFailure):
    """The database cannot serve, or cannot be brought up."""

    def __init__(self, why: str) -> None:
        super().__init__(f"DATABASE_URL: {why}")


def check_server(said: Callable[[str], str]) -> None:
    """Judge a server by what it says of itself when it is connected to.

    Raises:
        Unfit: it is too old, or its database cannot hold every text.
    """
    version = said("server_version")
    if version.split(".")[0].isdecimal() and int(version.split(".")[0]) < OLDEST:
        raise Unfit(f"this is Postgres {version}: {OLDEST} or newer is needed")
    encoding = said("server_encoding")
    if encoding not in ("UTF8", ""):
        raise Unfit(
            f"the database has the encoding {encoding}, which cannot hold every text:"
            " make one with ENCODING 'UTF8' TEMPLATE template0"
        )


def unfit(error: Error) -> Unfit:
    """What to say of an error that the start met; nothing of it was done."""
    said = (str(error).splitlines() or [type(error).__name__])[0].strip()
    advice = _ADVICE.get(error.sqlstate or "")
    return Unfit(f"{said}: {advice}" if advice else said)
