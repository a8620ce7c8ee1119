"""A whole conversation as a download, of any length, from a memory that stays small.

Messages are read a page at a time, each page in a session of its own, which is closed before
the page goes out: whoever reads slowly holds neither a connection nor a transaction. A fault
in the middle breaks the answer off, and what then arrived is not taken for the whole: the
JSON is not closed, and a transcript has no last line.
"""

from collections.abc import AsyncIterator
from enum import StrEnum

from starlette.responses import StreamingResponse

from backend.conversations import transcript
from backend.conversations.cursors import OLDEST, Position
from backend.conversations.messages import StoredMessage, read_after
from backend.database import Sessions, open_session
from backend.schemas.conversations import ConversationResponse
from backend.schemas.messages import MessageResponse

PAGE = 200
"""Messages that are read, and held, at a time."""


class ExportFormat(StrEnum):
    JSON = "json"
    MARKDOWN = "markdown"


async def _pages(sessions: Sessions, conversation_id: int) -> AsyncIterator[list[StoredMessage]]:
    """All messages that are shown, oldest first."""
    after = OLDEST
    while True:
        async with open_session(sessions) as session:
            page = await read_after(session, conversation_id, PAGE, after)
        if page:
            yield page
        if len(page) < PAGE:
            return
        after = Position(page[-1].created_at, page[-1].id)


async def as_json(sessions: Sessions, conversation: ConversationResponse) -> AsyncIterator[str]:
    """One object: the conversation's fields, and `messages` as the history shows them."""
    yield conversation.model_dump_json().removesuffix("}") + ',"messages":['
    between = ""
    async for page in _pages(sessions, conversation.id):
        shown = (MessageResponse.model_validate(message) for message in page)
        yield between + ",".join(message.model_dump_json() for message in shown)
        between = ","
    yield "]}"


async def as_markdown(sessions: Sessions, conversation: ConversationResponse) -> AsyncIterator[str]:
    """A page for people, see `transcript`."""
    yield transcript.heading(conversation)
    count = 0
    async for page in _pages(sessions, conversation.id):
        count += len(page)
        yield "".join(transcript.entry(message) for message in page)
    yield transcript.ending(count)


_KINDS = {
    ExportFormat.JSON: ("json", "application/json", as_json),
    ExportFormat.MARKDOWN: ("md", "text/markdown; charset=utf-8", as_markdown),
}


def export(
    sessions: Sessions, conversation: ConversationResponse, wanted: ExportFormat
) -> StreamingResponse:
    """The download; its file's name is made of the id, which is safe in a header and on a disk."""
    ending, media_type, write = _KINDS[wanted]
    named = f'attachment; filename="conversation-{conversation.id}.{ending}"'
    return StreamingResponse(
        write(sessions, conversation),
        media_type=media_type,
        headers={"Content-Disposition": named},
    )
