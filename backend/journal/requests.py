"""A message as it is asked to be answered, and the answer as it is given."""

import json
from dataclasses import dataclass, field, replace
from datetime import datetime
from hashlib import sha256

from backend.conversations.approvals import Approval
from backend.conversations.tool_calls import ToolCall

_NAMES_KEY = "chat:"


def key_of_names(chat: str, message: str) -> str:
    """The key of a turn where the client gives none: what it calls conversation and message."""
    return _NAMES_KEY + sha256(json.dumps([chat, message]).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class TurnRequest:
    """A message to be answered: in a conversation or a new one, with the client's key or none."""

    conversation_id: int | None
    text: str
    key: str | None = None
    zone: str | None = None
    """The time zone the person names; the same message from another zone is the same turn."""
    chat: str | None = None
    """What the client calls the conversation, which is begun under that name if it is not there."""
    asked_as: str | None = None
    """The client's id of the message."""
    approvals: bool = False
    """Whether the client can ask the person to approve a call."""
    project_id: int | None = None
    """To which a new conversation belongs."""

    @property
    def hash(self) -> str | None:
        """Tells two requests under one key apart; None without a key."""
        if self.key is None:
            return None
        place = self.conversation_id if self.chat is None else self.chat
        return sha256(json.dumps([place, self.text]).encode()).hexdigest()

    @property
    def is_keyed_by_names(self) -> bool:
        return (self.key or "").startswith(_NAMES_KEY)

    @property
    def named(self) -> bool:
        """Whether the client has names of its own, for the conversation or for the message."""
        return self.chat is not None or self.asked_as is not None

    def is_under_key(self, hash_: str | None, conversation_id: int) -> bool:
        """Whether it is the request of `hash_`, which a turn in that conversation answers.

        The first message of a conversation came without its id, and may come again with it.
        """
        if self.conversation_id != conversation_id:
            return self.hash == hash_
        return hash_ in (self.hash, replace(self, conversation_id=None).hash)


@dataclass(frozen=True, slots=True)
class Answer:
    """A turn that is answered, and the answer."""

    conversation_id: int
    message_id: int
    attempt: int
    created_at: datetime
    response: str
    calls: list[ToolCall]
    replayed: bool = False
    """Whether it was there before it was asked for."""
    untaken: bool = False
    """Whether the row says that it has reached nobody."""
    approvals: list[Approval] = field(default_factory=list)
    """What the person has to decide before the turn goes on; else none is pending."""
    stopped: bool = False
    """Whether the person has stopped it."""
