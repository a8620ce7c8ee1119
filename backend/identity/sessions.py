"""Sessions of Better Auth, read from its table for each request and never written."""

import asyncio
import logging
from typing import Any

from psycopg.errors import InsufficientPrivilege, UndefinedColumn, UndefinedTable
from sqlalchemy import Select

from backend.config import Settings
from backend.database import Sessions
from backend.errors import AppError, InvalidSession, SignInUnavailable
from backend.identity.session_layout import Unreadable, find_layout, owner_query

logger = logging.getLogger(__name__)

_CHANGED = (UndefinedTable, UndefinedColumn, InsufficientPrivilege)
"""What Postgres says where the table is no longer as it was found."""


class SessionTable:
    """Better Auth's session table, in whichever of its forms it has.

    It is looked for at the start, and again where it was not there or has changed, since
    Better Auth may come up after us. Requests that want it at once share a look.
    """

    def __init__(self, autocommit: Sessions, settings: Settings) -> None:
        """`autocommit` makes sessions in which each statement is by itself."""
        self._autocommit = autocommit
        self._settings = settings
        self._lock = asyncio.Lock()
        self._looks = 0
        self._query: Select[Any] | None = None
        self._refusal: type[AppError] = InvalidSession
        self._said = ""

    async def look(self) -> None:
        """Find the table; where that fails, say so in one line, once for each reason.

        What was found before counts until this look is over.
        """
        problem, query = "", None
        refusal: type[AppError] = SignInUnavailable
        try:
            async with self._autocommit() as session:
                layout = await find_layout(session, self._settings)
        except Unreadable as error:
            problem = str(error)
        except InsufficientPrivilege:
            problem = "no right to look into its schema"
        else:
            query, refusal = owner_query(layout) if layout else None, InvalidSession
            problem = "" if layout else "there is none: is this Better Auth's database?"
        self._query, self._refusal = query, refusal
        self._looks += 1
        self._say(problem)

    def _say(self, problem: str) -> None:
        if problem and problem != self._said:
            logger.warning("Better Auth's session table cannot be read: %s", problem)
        self._said = problem

    async def user_of(self, token: str) -> str:
        """The id of the user whose session it is, asked of Postgres each time.

        Raises:
            InvalidSession: the token is unknown or expired, or there is no session table.
            SignInUnavailable: there is one that cannot be read.
        """
        looks, query = self._looks, self._query
        if query is None:
            query = await self._look_again(looks)
        try:
            user_id = await self._owner(query, token)
        except _CHANGED:
            user_id = await self._owner(await self._look_again(looks), token)
        if user_id is None:
            raise InvalidSession
        return str(user_id)

    async def _look_again(self, looks: int) -> Select[Any]:
        """What to ask, found anew unless that was done since there were so many `looks`.

        Raises:
            InvalidSession: there is no session table.
            SignInUnavailable: there is one that cannot be read.
        """
        async with self._lock:
            if self._looks == looks:
                await self.look()
        if self._query is None:
            raise self._refusal
        return self._query

    async def _owner(self, query: Select[Any], token: str) -> object:
        async with self._autocommit() as session:
            return (await session.execute(query, {"token": token})).scalar()
