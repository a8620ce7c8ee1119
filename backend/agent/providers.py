"""The providers that are set up, by name, and the model that answers in a conversation."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import NamedTuple

from agents import Model

from backend.agent.provider import open_model
from backend.agent.windows import context_window
from backend.config import OFFLINE_MODEL, Settings
from backend.errors import ValidationFailed
from backend.services.listing import StoredConversation
from backend.services.turns import OpenedConversation


class Choice(NamedTuple):
    """A provider by its name in the settings, and one of its models."""

    provider: str
    model: str


class Providers:
    """What may answer; `models` maps each choice that is set up to the process's model of it."""

    def __init__(self, models: dict[Choice, Model], default: Choice) -> None:
        self._models = models
        self.default = default

    def choose(self, provider: str | None, model: str | None) -> Choice:
        """The choice that a person's words name; what they leave open follows the settings.

        Raises:
            ValidationFailed: it is not set up; `details` list what is.
        """
        provider = provider or self.default.provider
        offered = [choice for choice in self._models if choice.provider == provider]
        for choice in offered:
            if model in (None, choice.model):
                return choice
        field = "model" if offered else "provider"
        known = offered or self._models
        names = sorted({str(getattr(choice, field)) for choice in known})
        raise ValidationFailed(
            f"This {field} is not set up.",
            details=[
                {
                    "field": field,
                    "message": f"must be one of: {', '.join(names)}",
                    "type": "not_configured",
                }
            ],
        )

    def of_conversation(self, conversation: OpenedConversation | StoredConversation) -> Choice:
        """What answers there: its own choice, or the default where that is not set up any more."""
        try:
            return self.choose(conversation.provider, conversation.model)
        except ValidationFailed:
            return self.default

    def model(self, choice: Choice) -> Model:
        return self._models[choice]

    def window(self, choice: Choice) -> int:
        """Tokens that the model takes at once, input and answer together."""
        return context_window(choice.model)


@asynccontextmanager
async def open_providers(settings: Settings, model: Model | None) -> AsyncIterator[Providers]:
    """The process's providers; `model` stands in for each of their models, in a test."""
    name = OFFLINE_MODEL if settings.offline else "openai"
    default = Choice(name, settings.openai_model)
    if model is not None:
        yield Providers({default: model}, default)
        return
    async with open_model(settings) as opened:
        yield Providers({default: opened}, default)
