"""The calendar feed as its owner sees it."""

from pydantic import BaseModel

from backend.schemas.fields import UtcDatetime


class FeedState(BaseModel):
    """Whether there is an address; null where there is none."""

    created_at: UtcDatetime | None


class FeedMade(BaseModel):
    """An address, which is told this once."""

    url: str
    path: str
    created_at: UtcDatetime
