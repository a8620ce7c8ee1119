"""A conversation as a download; a fault in the middle breaks it off.

What then arrived is not taken for the whole: the JSON is not closed, and a transcript has no
last line.
"""

from collections.abc import AsyncIterator
from enum import StrEnum

from fastapi.responses import StreamingResponse

from backend.conversations.export import as_markdown, read_pages
from backend.conversations.listing import StoredConversation
from backend.conversations.messages import StoredMessage
from backend.database import Sessions
from backend.fair_turns import in_turns
from backend.schemas.conversations import ConversationResponse
from backend.schemas.messages import MessageResponse


class ExportFormat(StrEnum):
    JSON = "json"
    MARKDOWN = "markdown"


def download(
    sessions: Sessions,
    stored: StoredConversation,
    shown: ConversationResponse,
    wanted: ExportFormat,
) -> StreamingResponse:
    """The file is named by the id, which is safe in a header and on a disk."""
    match wanted:
        case ExportFormat.JSON:
            ending, media_type = "json", "application/json"
            pieces = as_json(sessions, shown)
        case ExportFormat.MARKDOWN:
            ending, media_type = "md", "text/markdown; charset=utf-8"
            pieces = as_markdown(sessions, stored, shown.provider, shown.model)
    named = f'attachment; filename="conversation-{stored.id}.{ending}"'
    return StreamingResponse(pieces, media_type=media_type, headers={"Content-Disposition": named})


async def as_json(sessions: Sessions, shown: ConversationResponse) -> AsyncIterator[str]:
    """One object: the conversation's fields, and `messages` as the history shows them."""
    yield shown.model_dump_json().removesuffix("}") + ',"messages":['
    between = ""
    async for page in read_pages(sessions, shown.id):
        async for messages in in_turns(map(message_json, page)):
            yield between + ",".join(messages)
            between = ","
    yield "]}"


def message_json(message: StoredMessage) -> str:
    """A message as the history shows it."""
    return MessageResponse.model_validate(message).model_dump_json()
