"""Provider and model of a conversation: what a person may choose, what is stored, what is shown."""

from dataclasses import asdict
from typing import Annotated

from fastapi import Body, Depends

from backend.agent.models.catalog import Providers
from backend.conversations.lifecycle import Chosen
from backend.conversations.listing import StoredConversation
from backend.routes.runtime import RuntimeDep
from backend.schemas.conversations import ConversationResponse, ConversationSettings


async def _settings(
    runtime: RuntimeDep,
    body: Annotated[ConversationSettings, Body(default_factory=ConversationSettings)],
) -> ConversationSettings:
    """The body; a provider that it names is looked at here, since 422 comes before 429 and 404."""
    if body.provider is not None:
        runtime.providers.choose(body.provider, body.model)
    return body


SettingsBody = Annotated[ConversationSettings, Depends(_settings)]


def chosen(
    providers: Providers, body: ConversationSettings, current: StoredConversation | None = None
) -> Chosen:
    """What of the body is to be stored; a model is stored with the provider whose it is.

    Raises:
        ValidationFailed: provider or model is not set up; `details` list what is.
    """
    sent = body.model_fields_set
    changes: Chosen = {"title": body.title} if "title" in sent else {}
    if "project_id" in sent:
        changes["project_id"] = body.project_id
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


def shown(providers: Providers, stored: StoredConversation) -> ConversationResponse:
    """The conversation with what answers in it now, chosen or not."""
    choice = providers.of_conversation(stored)
    return ConversationResponse(**asdict(stored) | choice._asdict())
