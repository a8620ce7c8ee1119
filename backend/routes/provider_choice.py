"""What answers in a conversation, and with which toolsets: chosen, stored and shown."""

from dataclasses import asdict
from typing import Annotated

from fastapi import Body, Depends

from backend.conversations.lifecycle import Chosen
from backend.conversations.listing import StoredConversation
from backend.routes.runtime import RuntimeDep
from backend.schemas.conversations import ConversationResponse, ConversationSettings
from backend.turns.runtime import Runtime


async def _settings(
    runtime: RuntimeDep,
    body: Annotated[ConversationSettings, Body(default_factory=ConversationSettings)],
) -> ConversationSettings:
    """The body; what it names is looked at here, since 422 comes before 429 and 404."""
    if body.provider is not None:
        runtime.providers.choose(body.provider, body.model)
    if body.toolsets is not None:
        runtime.toolsets.choose(body.toolsets)
    return body


SettingsBody = Annotated[ConversationSettings, Depends(_settings)]


def chosen(
    runtime: Runtime, body: ConversationSettings, current: StoredConversation | None = None
) -> Chosen:
    """What of the body is to be stored; a model is stored with the provider whose it is.

    Raises:
        ValidationFailed: provider or model is not set up; `details` list what is.
    """
    providers, sent = runtime.providers, body.model_fields_set
    changes: Chosen = {"title": body.title} if "title" in sent else {}
    if "project_id" in sent:
        changes["project_id"] = body.project_id
    if "toolsets" in sent:
        names = body.toolsets
        changes["toolsets"] = None if names is None else runtime.toolsets.choose(names)
    if body.model is not None:
        provider = body.provider
        if current is not None and "provider" not in sent:
            provider = providers.of_conversation(current).provider
        choice = providers.choose(provider, body.model)
        return changes | {"provider": choice.provider, "model": choice.model}
    if "provider" in sent:
        changes |= {"provider": body.provider}
    if sent & {"provider", "model"}:
        changes |= {"model": None}
    return changes


def shown(runtime: Runtime, stored: StoredConversation) -> ConversationResponse:
    """The conversation with what answers in it now, chosen or not."""
    choice = runtime.providers.of_conversation(stored)._asdict()
    toolsets = runtime.toolsets.used(stored.toolsets)
    return ConversationResponse(**asdict(stored) | choice | {"toolsets": toolsets})
