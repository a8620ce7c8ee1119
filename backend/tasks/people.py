"""What is remembered of a person besides their tasks: the time zone that they named last.

Both are parts of statements that are there anyhow, so that neither costs a round trip.
"""

from sqlalchemy import Text, bindparam, select
from sqlmodel import SQLModel

from backend.database import Session, execute
from backend.personal import Person

people = SQLModel.metadata.tables[Person.__tablename__]
_owner = bindparam("owner", type_=Text)

LAST_ZONE = (
    select(people.c.time_zone).where(people.c.user_id == _owner).scalar_subquery().label("zone")
)
"""The name of the owner's time zone; null where none was ever named."""


NOTE_ZONE = """
    INSERT INTO people (user_id, time_zone)
    SELECT CAST(:owner AS text), CAST(:named_zone AS text)
    WHERE NOT EXISTS (
        SELECT FROM people
        WHERE user_id = CAST(:owner AS text) AND time_zone = CAST(:named_zone AS text)
    )
    ON CONFLICT (user_id) DO UPDATE
    SET time_zone = excluded.time_zone, updated_at = clock_timestamp()
"""
"""Remembers a zone as the owner's; writes nothing where it is so already."""
_GET_ZONE = select(LAST_ZONE)


async def last_zone(session: Session, user_id: str) -> str | None:
    """The time zone that the person named last; None where they never did."""
    zone: str | None = (await execute(session, _GET_ZONE, {"owner": user_id})).scalar()
    return zone
