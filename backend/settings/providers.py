"""How a provider is set up: the parts of the setting PROVIDERS, and what is built in.

Nothing here reads the environment: `backend.config` does, and puts each key in the place of
the variable's name.
"""

import re
from collections.abc import Mapping
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    StringConstraints,
)

OPENAI = "openai"
ANTHROPIC = "anthropic"
OFFLINE_MODEL = "offline"
"""The built-in model, and the provider of it."""
ANTHROPIC_URL = "https://api.anthropic.com/v1/"
"""Where Anthropic speaks OpenAI's Chat Completions."""


def _http_url(value: str | None) -> str | None:
    if value and not (urlsplit(value).scheme in ("http", "https") and urlsplit(value).netloc):
        raise ValueError("must be an http:// or https:// address")
    return value


def _fits_a_header(value: SecretStr | None) -> SecretStr | None:
    if value and not re.fullmatch(r"[!-~]+", value.get_secret_value()):
        raise ValueError("must be plain letters, digits and signs, without blanks")
    return value


def _by_name(models: object) -> object:
    if not isinstance(models, list):
        return models
    if not all(isinstance(name, str) for name in models):
        raise ValueError("must be a list of names, or an object by name")
    return {name: {} for name in models}


Api = Literal["responses", "chat_completions"]
"""The wire format: OpenAI speaks both, most other servers only `chat_completions`."""
Secret = Annotated[SecretStr | None, AfterValidator(_fits_a_header)]
Address = Annotated[str | None, AfterValidator(_http_url)]
Tokens = Annotated[int, Field(ge=1_000, le=100_000_000)]
ProviderName = Annotated[str, StringConstraints(pattern="^[a-z0-9][a-z0-9_-]{0,49}$")]
ModelName = Annotated[str, StringConstraints(pattern=r"^[^\x00-\x1f\x7f]{1,200}$")]
"""As long as the columns that record it are."""


class OfferedModel(BaseModel):
    """A model of a provider; its window is in tokens, None where only its name may tell."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    context_window: Tokens | None = None


class Provider(BaseModel):
    """One entry of PROVIDERS; under a built-in name, what is different of that one."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    base_url: Address = None
    key: Secret = None
    """None for a server that asks for none."""
    api: Api = "chat_completions"
    models: Annotated[dict[ModelName, OfferedModel], BeforeValidator(_by_name)] = {}
    """The first is what a conversation gets that names the provider alone."""
    context_window: Tokens | None = None
    """Of the models that name none."""
    parallel_tool_calls: bool | None = None
    """Sent with each request; None: not sent, as some servers refuse the field."""
    strict: bool = True
    """Whether it takes strict tool schemas; else they go out as plain ones."""

    def changed_by(self, entry: "Provider") -> "Provider":
        """This one with what `entry` says, and with its models besides."""
        said = {name: getattr(entry, name) for name in entry.model_fields_set}
        return self.model_copy(update=said | {"models": self.models | entry.models})


def refuse_incomplete(providers: Mapping[str, Provider]) -> None:
    """See that each entry says what it has to.

    Raises:
        ValueError: one does not; the text names it.
    """
    for name, entry in providers.items():
        if name == OFFLINE_MODEL:
            raise ValueError("offline: is built in and takes no settings")
        missing = [field for field in ("base_url", "models") if not getattr(entry, field)]
        if missing and name not in (OPENAI, ANTHROPIC):
            raise ValueError(f"{name}.{missing[0]}: is missing")


def usable(
    openai: Provider, anthropic: Provider, more: Mapping[str, Provider]
) -> dict[str, Provider]:
    """The providers that may answer, by name: of the built-in ones those that have a key."""
    built_in, nothing = {OPENAI: openai, ANTHROPIC: anthropic}, Provider()
    known = {
        name: built_in.get(name, nothing).changed_by(more.get(name, nothing))
        for name in {**built_in, **more}
    }
    offline = Provider(models={OFFLINE_MODEL: OfferedModel()})
    return {
        name: provider
        for name, provider in known.items()
        if provider.models and (provider.key or name not in built_in)
    } | {OFFLINE_MODEL: offline}
