"""Kinds of columns and indexes, for the tables in `backend.models`."""

from datetime import datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    DateTime,
    ForeignKey,
    Identity,
    Index,
    String,
    text,
)

from backend.text_search import search_terms


def identity() -> Column[int]:
    return Column(BigInteger, Identity(), primary_key=True)


def instant(*, default: str | None = None, nullable: bool = False) -> Column[datetime]:
    return Column(
        DateTime(timezone=True),
        nullable=nullable,
        server_default=text(default) if default else None,
    )


def partial_index(name: str, *columns: str, where: str, unique: bool = False) -> Index:
    return Index(name, *columns, unique=unique, postgresql_where=text(where))


def search_index(name: str, column: str, where: str) -> Index:
    return Index(
        name,
        text(search_terms(column)),
        postgresql_using="gin",
        postgresql_with={"fastupdate": "off"},
        postgresql_where=text(where),
    )


def word(length: int) -> Column[str]:
    return Column(String(length), nullable=True)


def count() -> Column[int]:
    return Column(BigInteger, nullable=True)


def counter() -> Column[int]:
    return Column(BigInteger, nullable=False, server_default=text("0"))


def flag() -> Column[bool]:
    return Column(Boolean, nullable=False, server_default=text("false"))


def reference(target: str, *, nullable: bool = True, unique: bool | None = None) -> Column[int]:
    return Column(BigInteger, ForeignKey(target), nullable=nullable, unique=unique)


def required(length: int, default: str | None = None) -> Column[str]:
    """A text that every row has; `default` is what the database fills in."""
    return Column(
        String(length), nullable=False, server_default=None if default is None else str(default)
    )


def items() -> Column[list[Any]]:
    """A JSON array, empty unless a row says otherwise."""
    return Column(JSON, nullable=False, server_default=text("'[]'"))
