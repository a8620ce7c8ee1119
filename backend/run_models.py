"""The tables of what runs leave beside their messages: what they cost, and what they have shown."""

from datetime import date, datetime
from decimal import Decimal
from typing import Any, ClassVar

from sqlalchemy import BigInteger, Column, Date, ForeignKey, Index, Integer, Numeric, String, Text
from sqlmodel import Field, SQLModel

from backend.columns import count, partial_index, word
from backend.models import MODEL_MAX, PROVIDER_MAX, USER_ID_MAX, stamp


class Spent(SQLModel, table=True):
    """What one attempt at a turn has cost: its day, who answered, tokens and US dollars."""

    __tablename__ = "spending"
    __table_args__: ClassVar[Any] = (
        partial_index("ix_spending_user_day", "user_id", "day", where="day IS NOT NULL"),
    )

    message_id: int = Field(
        sa_column=Column(
            BigInteger,
            ForeignKey("messages.id", ondelete="CASCADE"),
            primary_key=True,
            autoincrement=False,
        )
    )
    attempt: int = Field(sa_column=Column(Integer, primary_key=True, autoincrement=False))
    user_id: str = Field(sa_column=Column(String(USER_ID_MAX), nullable=False))
    day: date | None = Field(default=None, sa_column=Column(Date, nullable=True))
    """In UTC, where it is another than that of the message: the turn was taken up later."""
    provider: str | None = Field(default=None, sa_column=word(PROVIDER_MAX))
    model: str | None = Field(default=None, sa_column=word(MODEL_MAX))
    input_tokens: int | None = Field(default=None, sa_column=count())
    cached_tokens: int | None = Field(default=None, sa_column=count())
    output_tokens: int | None = Field(default=None, sa_column=count())
    cost_usd: Decimal | None = Field(default=None, sa_column=Column(Numeric, nullable=True))
    """At the price of that moment; null where nobody knew it."""


class StreamedEvents(SQLModel, table=True):
    """Some of what a run that is streamed has shown so far, for viewers at other processes.

    A convenience: the record of the message is the truth. Rows go away by their age.
    """

    __tablename__ = "stream_log"
    __table_args__: ClassVar[Any] = (Index("ix_stream_log_written", "written_at"),)

    message_id: int = Field(sa_column=Column(BigInteger, primary_key=True, autoincrement=False))
    attempt: int = Field(sa_column=Column(Integer, primary_key=True, autoincrement=False))
    seq: int = Field(sa_column=Column(Integer, primary_key=True, autoincrement=False))
    """How many events came before these."""
    events: str = Field(sa_column=Column(Text, nullable=False))
    written_at: datetime = stamp()
