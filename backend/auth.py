"""Who is calling: Better Auth's session token, looked up anew for every request."""

import logging
from collections.abc import Callable, Coroutine
from typing import Annotated, Any

from fastapi import Depends, Request, Response
from fastapi.routing import APIRoute
from fastapi.security import HTTPBearer
from psycopg.errors import UndefinedTable
from sqlalchemy import text
from sqlalchemy.exc import ProgrammingError

from backend.errors import InvalidSession
from backend.rate_limiter import limit_failed_sign_ins

logger = logging.getLogger(__name__)

_TOKEN_MAX = 512

# Some generators of Better Auth make the column without a zone; it then holds UTC, whatever
# the connection's time zone is.
_SESSION_OWNER = text("""
    SELECT "userId" FROM "session" WHERE token = :token AND
      CASE pg_typeof("expiresAt")
        WHEN 'timestamptz'::regtype THEN "expiresAt"::timestamptz > now()
        ELSE "expiresAt"::timestamp > now() AT TIME ZONE 'UTC'
      END
""")


def bearer_token(header: str | None) -> str | None:
    """The token of an `Authorization: Bearer` header, the scheme in any case; else None."""
    scheme, _, token = (header or "").strip().partition(" ")
    token = token.strip()
    if scheme.lower() != "bearer" or not 0 < len(token) <= _TOKEN_MAX:
        return None
    return token if token.isascii() and token.isprintable() and " " not in token else None


@limit_failed_sign_ins
async def authenticate(request: Request) -> str:
    """The id of the user whose session the request carries, asked of Postgres each time.

    Raises:
        InvalidSession: no token, or one that is malformed, unknown or expired.
        RateLimited: the client's address has failed too often.
    """
    token = bearer_token(request.headers.get("authorization"))
    if token is None:
        raise InvalidSession
    try:
        async with request.app.state.autocommit_engine.connect() as connection:
            user_id = await connection.scalar(_SESSION_OWNER, {"token": token})
    except ProgrammingError as error:
        if not isinstance(error.orig, UndefinedTable):
            raise
        logger.error('there is no "session" table: is this Better Auth\'s database?')
        raise InvalidSession from None
    if user_id is None:
        raise InvalidSession
    return str(user_id)


class SignedInRoute(APIRoute):
    """A route that asks who is calling before it reads the body, so 401 comes before 422."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def handle_signed_in(request: Request) -> Response:
            request.state.user_id = await authenticate(request)
            return await handle(request)

        return handle_signed_in


_bearer = HTTPBearer(
    auto_error=False, scheme_name="session", description="Better Auth's session token"
)


async def current_user(request: Request, _: Annotated[object, Depends(_bearer)]) -> str:
    """The caller's user id; asks for itself where the route is not a `SignedInRoute`."""
    known: str | None = getattr(request.state, "user_id", None)
    return known if known is not None else await authenticate(request)


CurrentUser = Annotated[str, Depends(current_user)]
