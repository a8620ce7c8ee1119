"""Tables of what a person has besides tasks and conversations, as `backend.models` has those."""

from datetime import datetime

from sqlalchemy import Column, Index, String
from sqlmodel import Field, SQLModel

from backend.columns import identity, instant, required, word
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
