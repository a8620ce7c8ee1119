"""The providers that are set up, by name, and the model that answers in a conversation."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import NamedTuple

from agents import Model

from backend.agent.models.known import agreed, pricing_of, window_of
from backend.agent.models.offline import OfflineModel
from backend.agent.models.openai_client import open_models
from backend.agent.models.rehearsal import rehearse
from backend.agent.models.run_model import UnconfiguredModel
from backend.config import Settings
from backend.conversations.listing import StoredConversation
from backend.errors import ValidationFailed
from backend.journal.spending import Pricing
from backend.journal.turns import OpenedConversation
from backend.settings.providers import OFFLINE_MODEL, OPENAI, Asking, OfferedModel, Provider


class Choice(NamedTuple):
    """A provider by its name in the settings, and one of its models."""

    provider: str
    model: str


class Providers:
    """What may answer; `models` maps each choice that is set up to the process's model of it."""

    def __init__(
        self, models: Mapping[Choice, Model], default: Choice, offered: Mapping[str, Provider]
    ) -> None:
        self._models = models
        self._offered = offered
        self.default = default

    @property
    def choices(self) -> list[Choice]:
        """All that is set up, in the order of the settings."""
        return list(self._models)

    def choose(self, provider: str | None, model: str | None) -> Choice:
        """The choice that a person's words name; what they leave open follows the settings.

        Raises:
            ValidationFailed: it is not set up; `details` list what is.
        """
        if provider is None and model is None:
            return self.default
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
        """The model of a choice that came from here; without its key, one that says so."""
        return self._models.get(choice) or UnconfiguredModel()

    def window(self, choice: Choice) -> int:
        """Tokens that the model takes at once, input and answer together.

        As the settings say it, of the model before its provider; else as it is known.
        """
        provider, asking = self._said(choice)
        return asking.context_window or window_of(choice.model, provider.base_url)

    def pricing(self, choice: Choice) -> Pricing | None:
        """What its tokens cost, as the settings say it, else as it is known; else None.

        A model behind an address that is not known is taken for the one that has its name.
        """
        provider, asking = self._said(choice)
        if asking.price is not None:
            return agreed(asking.price)
        return pricing_of(choice.model, provider.base_url)

    def _said(self, choice: Choice) -> tuple[Provider, Asking]:
        """What the settings say of a model, which goes before what they say of its provider."""
        provider = self._offered.get(choice.provider, Provider())
        return provider, provider.models.get(choice.model, OfferedModel()).over(provider)


@asynccontextmanager
async def open_providers(settings: Settings, model: Model | None) -> AsyncIterator[Providers]:
    """The process's providers; `model` stands in for each of their models, in a test."""
    default = _default(settings)
    async with AsyncExitStack() as stack:
        models: dict[Choice, Model] = {}
        for name, provider in settings.offered.items():
            if model is not None:
                opened = dict.fromkeys(provider.models, model)
            elif name == OFFLINE_MODEL:
                opened = {OFFLINE_MODEL: OfflineModel()}
            else:
                await asyncio.to_thread(rehearse, provider.api)
                limit = settings.ai_timeout_seconds
                opened = await stack.enter_async_context(open_models(provider, limit))
            models |= {Choice(name, each): opened[each] for each in opened}
        models = models if model is None else {default: model} | models
        providers = Providers(models, default, settings.offered)
        for choice in models:  # looked up once, here and not in a turn
            providers.window(choice), providers.pricing(choice)
        yield providers


def _default(settings: Settings) -> Choice:
    """The first model of DEFAULT_PROVIDER; OPENAI_MODEL where that is not set."""
    if settings.lacks_key:
        return Choice(OPENAI, settings.openai_model)
    name = settings.default_provider or (OFFLINE_MODEL if settings.offline else OPENAI)
    return Choice(name, next(iter(settings.offered[name].models)))
