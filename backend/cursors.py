"""Where a page of a list ends, as the opaque text that a client hands back for the next one.

A position is the time and the id of the last row shown, so a page begins behind that row
whatever was added, moved or removed meanwhile, and rows of one instant keep an order. A cursor
is not signed: it says where to go on, and the query says whose rows there are.
"""

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from sqlalchemy import BigInteger, DateTime, bindparam, tuple_

from backend.models import ID_MAX

CURSOR_MAX = 200
"""Characters; ours have about 90."""
_VERSION = 1


class Position(NamedTuple):
    at: datetime
    id: int


NEWEST = Position(datetime.max.replace(tzinfo=UTC), ID_MAX)
"""Behind which nothing stands that is newer."""
OLDEST = Position(datetime.min.replace(tzinfo=UTC), 0)

POSITION = tuple_(
    bindparam("position_at", type_=DateTime(timezone=True)),
    bindparam("position_id", type_=BigInteger),
)


def position_values(position: Position) -> dict[str, object]:
    """The values of `POSITION` in a statement; beyond both ends stand rows that have no year."""
    beyond = {NEWEST: "infinity", OLDEST: "-infinity"}
    return {"position_at": beyond.get(position, position.at), "position_id": position.id}


def write_cursor(listed: str, position: Position) -> str:
    """The cursor of a position in the list that is named `listed`."""
    at = position.at.astimezone(UTC).isoformat()
    fields = json.dumps([_VERSION, listed, at, position.id], separators=(",", ":"))
    return urlsafe_b64encode(fields.encode()).decode().rstrip("=")


def read_cursor(listed: str, cursor: str) -> Position:
    """The position that `cursor` was written for.

    Raises:
        ValueError: `write_cursor` gave no such text for this list.
    """
    if len(cursor) > CURSOR_MAX:
        raise ValueError("too long")
    padded = cursor + "=" * (-len(cursor) % 4)
    match json.loads(urlsafe_b64decode(padded)):
        case [_, _, str(at), int(id_)] if type(id_) is int and 0 < id_ <= ID_MAX:
            position = Position(datetime.fromisoformat(at), id_)
            if position.at.utcoffset() == timedelta(0) and write_cursor(listed, position) == cursor:
                return position
    raise ValueError("not one of ours")
