"""A whole conversation, of any length, from a memory that stays small.

Messages are read a page at a time, each page in a session of its own, which is closed before
the page is handed on: whoever reads slowly holds neither a connection nor a transaction.
"""

from collections.abc import AsyncIterator

from backend.conversations import transcript
from backend.conversations.listing import StoredConversation
from backend.conversations.messages import StoredMessage
from backend.conversations.pages import read_after
from backend.cursors import OLDEST
from backend.database import Sessions, open_session
from backend.fair_turns import in_turns

PAGE = 200
"""Messages that are read, and held, at a time."""


async def read_pages(
    sessions: Sessions, conversation_id: int
) -> AsyncIterator[list[StoredMessage]]:
    """All messages that are shown, oldest first; nothing where there are none."""
    after = OLDEST
    while True:
        async with open_session(sessions) as session:
            page = await read_after(session, conversation_id, PAGE, after)
        if page.messages:
            yield page.messages
        if page.next is None:
            return
        after = page.next


async def as_markdown(
    sessions: Sessions, conversation: StoredConversation, provider: str, model: str
) -> AsyncIterator[str]:
    """A page for people, see `transcript`; one that breaks off has no last line."""
    yield transcript.heading(conversation, provider, model)
    count = 0
    async for page in read_pages(sessions, conversation.id):
        count += len(page)
        async for entries in in_turns(map(transcript.entry, page)):
            yield "".join(entries)
    yield transcript.ending(count)
