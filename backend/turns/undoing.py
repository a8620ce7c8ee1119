"""Undoing a turn, and telling the model of it where it reads of the turn in a summary alone."""

from backend.agent.context.summaries import with_undone
from backend.conversations.messages import StoredMessage
from backend.database import Session
from backend.journal.afterwork import lock_summary, rewrite_summary
from backend.journal.undo import undo_message


async def undo_turn(session: Session, user_id: str, message_id: str) -> StoredMessage:
    """Take back all that the message's turn changed; the caller commits.

    Raises what `undo_message` does.
    """
    message = await undo_message(session, user_id, message_id)
    if told := await lock_summary(session, user_id, message.id):
        conversation_id, summary = told
        undone = with_undone(summary, message)
        await rewrite_summary(session, user_id, conversation_id, summary, undone)
    return message
