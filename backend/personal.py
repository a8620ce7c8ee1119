"""Tables of what a person has besides tasks and conversations, as `backend.models` has those."""

from datetime import date, datetime
from decimal import Decimal

from sqlalchemy import Column, Date, Index, Numeric, String, text
from sqlmodel import Field, SQLModel

from backend.columns import counter, identity, instant, required, word
from backend.models import TITLE_MAX, USER_ID_MAX, ZONE_MAX, stamp


class Project(SQLModel, table=True):
    """What tasks and conversations may belong to; deleted, it has neither any more."""

    __tablename__ = "projects"
    __table_args__ = (
        Index("ix_projects_user_active", "user_id", "deleted_at", "created_at", "id"),
    )

    id: int | None = Field(default=None, sa_column=identity())
    user_id: str = Field(sa_column=required(USER_ID_MAX))
    name: str = Field(sa_column=required(TITLE_MAX))
    created_at: datetime = stamp()
    updated_at: datetime = stamp()
    deleted_at: datetime | None = Field(default=None, sa_column=instant(nullable=True))


class CalendarFeed(SQLModel, table=True):
    """The address under which somebody's calendar may read what is due; one a person."""

    __tablename__ = "calendar_feeds"

    user_id: str = Field(sa_column=Column(String(USER_ID_MAX), primary_key=True))
    secret_hash: str = Field(sa_column=Column(String(64), nullable=False, unique=True))
    """SHA-256 of what stands in the address, in hexadecimal."""
    created_at: datetime = stamp()


class Person(SQLModel, table=True):
    """What is remembered of somebody who signs in, under Better Auth's id of them."""

    __tablename__ = "people"

    user_id: str = Field(sa_column=Column(String(USER_ID_MAX), primary_key=True))
    time_zone: str | None = Field(default=None, sa_column=word(ZONE_MAX))
    """The one that their last request with a zone has named."""
    updated_at: datetime = stamp()


class Erasure(SQLModel, table=True):
    """That all of a person is being deleted, or was today; it goes after midnight UTC."""

    __tablename__ = "erasures"

    user_hash: str = Field(sa_column=Column(String(64), primary_key=True))
    """SHA-256 of the person's id, in hexadecimal."""
    user_id: str | None = Field(default=None, sa_column=word(USER_ID_MAX))
    """Whose rows are to go; null once they are gone."""
    begun_at: datetime = stamp()
    """From here on nothing new of theirs is begun."""
    closed_at: datetime | None = Field(default=None, sa_column=instant(nullable=True))
    """From here on nothing of theirs is written, by turns that run either."""
    counted_at: datetime | None = Field(default=None, sa_column=instant(nullable=True))
    erased_at: datetime | None = Field(default=None, sa_column=instant(nullable=True))
    day: date | None = Field(default=None, sa_column=Column(Date, nullable=True))
    """The day in UTC of which tokens and dollars are, though the rows that said so are gone."""
    tokens: int = Field(default=0, sa_column=counter())
    dollars: Decimal = Field(
        default=Decimal(0), sa_column=Column(Numeric, nullable=False, server_default=text("0"))
    )
