"""Lists as JSON; a long one is written as it is sent, in turns with what others have asked for."""

from collections.abc import AsyncIterator, Iterable

from fastapi import Response
from fastapi.responses import StreamingResponse

from backend.fair_turns import in_turns

JSON = "application/json"
LONG_BYTES = 100_000
"""Of what is stored as JSON, from which on a list is a long one."""


def listed(pieces: Iterable[str], *, long: bool, head: str = "", tail: str = "") -> Response:
    """A list of what `pieces` write, each one entry or several, between `head` and `tail`."""
    if long:
        return StreamingResponse(_written(head, pieces, tail), media_type=JSON)
    return Response(f"{head}[{','.join(pieces)}]{tail}", media_type=JSON)


async def _written(head: str, pieces: Iterable[str], tail: str) -> AsyncIterator[str]:
    between = f"{head}["
    async for some in in_turns(pieces):
        yield between + ",".join(some)
        between = ","
    yield ("" if between == "," else between) + f"]{tail}"
