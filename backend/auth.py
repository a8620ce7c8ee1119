"""Who is calling: Better Auth's session or JWT, judged anew for every request."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Annotated, Any

import httpx2
from fastapi import Depends, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from fastapi.security import APIKeyCookie, HTTPBearer
from starlette.exceptions import HTTPException

from backend.config import Settings
from backend.database import Sessions
from backend.errors import DatabaseUnavailable, InvalidSession
from backend.identity.cookies import cookie_counts, session_cookie
from backend.identity.key_set import KeySet
from backend.identity.sessions import SessionTable
from backend.identity.tokens import bearer_of, is_jwt, plain_token, signed_token
from backend.identity.web_tokens import WebTokens
from backend.rate_limiter import count_invalid, limit_failed_sign_ins, refuse_unread
from backend.settings.sign_in import SESSION_COOKIE
from backend.telemetry.spans import span
from backend.tls import believed
from backend.web.envelope import is_invalid


class SignIn:
    """The ways to say who is calling, as the settings allow them; `app.state.sign_in`."""

    def __init__(
        self, settings: Settings, sessions: SessionTable, web_tokens: WebTokens | None
    ) -> None:
        self._settings = settings
        self._sessions = sessions
        self._web_tokens = web_tokens

    async def user_of(self, request: Request, audience: str | None = None) -> str:
        """The caller's id. Where there is a bearer token, it alone counts, good or bad.

        A JWT may be made for `audience` instead of for the service as a whole.

        Raises:
            InvalidSession: no token, or one that is malformed, unknown, expired or not for us.
            SignInUnavailable: what judges the token is out of reach.
        """
        bearer = bearer_of(request.headers)
        if bearer is None:
            return await self._sessions.user_of(self._cookie_token(request))
        if self._web_tokens is not None and is_jwt(bearer):
            return await self._web_tokens.user_of(bearer, audience)
        token = plain_token(bearer) or signed_token(bearer, self._settings.better_auth_secret)
        if token is None:
            raise InvalidSession
        return await self._sessions.user_of(token)

    def _cookie_token(self, request: Request) -> str:
        cookie = session_cookie(request.headers, self._settings.better_auth_cookie)
        token = signed_token(cookie or "", self._settings.better_auth_secret)
        allowed = [*self._settings.allowed_origins, *self._own_origin(request)]
        if token is None or not cookie_counts(request.method, request.headers, allowed):
            raise InvalidSession
        return token

    def _own_origin(self, request: Request) -> list[str]:
        """Where our own page is served from, in front of which Better Auth may stand."""
        if not self._settings.web_page:
            return []
        return [f"{request.url.scheme}://{request.headers.get('host', '')}".lower()]


@asynccontextmanager
async def open_sign_in(settings: Settings, autocommit: Sessions) -> AsyncIterator[SignIn]:
    """Sign-in against the database; each statement is by itself.

    JWTs count only where `BETTER_AUTH_URL` says whose; their keys are fetched with the first.
    """
    sessions = SessionTable(autocommit, settings)
    await sessions.look()
    if settings.better_auth_url is None:
        yield SignIn(settings, sessions, None)
        return
    async with httpx2.AsyncClient(follow_redirects=False, verify=believed()) as client:
        keys = KeySet(settings.jwks_url, client)
        issued = WebTokens(keys, settings.jwt_issuer, settings.jwt_audience)
        yield SignIn(settings, sessions, issued)


@limit_failed_sign_ins
async def authenticate(request: Request, audience: str | None = None) -> str:
    """The id of the user whose session or JWT the request carries; see `SignIn.user_of`.

    Raises:
        InvalidSession: there is none that counts.
        RateLimited: the client's address has failed too often.
        SignInUnavailable: what judges it is out of reach.
    """
    sign_in: SignIn = request.app.state.sign_in
    with span("sign in"):
        return await sign_in.user_of(request, audience)


READ_S = 5.5
"""Seconds after which a request that only reads is told that the service is away.

Each of its waits has a bound, and this is one for all of them: they may come one after another.
A body that is streamed is not counted.
"""


class SignedInRoute(APIRoute):
    """A route that asks who is calling before it reads the body, so 401 comes before 422."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def handle_signed_in(request: Request) -> Response:
            request.state.user_id = await authenticate(request)
            refuse_unread(request)
            try:
                return await handle(request)
            except (RequestValidationError, HTTPException) as error:
                if is_invalid(error):
                    await count_invalid(request)
                raise

        async def handle_in_time(request: Request) -> Response:
            if request.method not in ("GET", "HEAD"):
                return await handle_signed_in(request)
            try:
                async with asyncio.timeout(READ_S):
                    return await handle_signed_in(request)
            except TimeoutError:
                raise DatabaseUnavailable from None

        return handle_in_time


_bearer = HTTPBearer(
    auto_error=False,
    scheme_name="bearer",
    description="Better Auth's session token, plain or signed, or a JWT of its plugin",
)
_cookie = APIKeyCookie(
    auto_error=False,
    scheme_name="cookie",
    name=SESSION_COOKIE,
    description="Better Auth's session cookie, perhaps with `__Secure-` before its name; for a"
    " call that changes something it counts only with an `Origin` that is allowed",
)


async def current_user(
    request: Request,
    _: Annotated[object, Depends(_bearer)],
    __: Annotated[object, Depends(_cookie)],
) -> str:
    """The caller's user id; asks for itself where the route is not a `SignedInRoute`."""
    known: str | None = getattr(request.state, "user_id", None)
    return known if known is not None else await authenticate(request)


CurrentUser = Annotated[str, Depends(current_user)]
