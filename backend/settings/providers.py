"""How a provider is set up: the parts of the setting PROVIDERS, and what is built in.

Nothing here reads the environment: `backend.config` does, and puts each key in the place of
the variable's name.
"""

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    StringConstraints,
)

from backend.settings.addresses import Address
from backend.visible import visible

OPENAI = "openai"
ANTHROPIC = "anthropic"
OFFLINE_MODEL = "offline"
"""The built-in model, and the provider of it."""
ANTHROPIC_URL = "https://api.anthropic.com/v1/"
"""Where Anthropic speaks OpenAI's Chat Completions."""
_OUR_HEADERS = {"authorization", "host", "content-length", "content-type", "transfer-encoding"}
"""Headers that the client sets."""


def _fits_a_header(value: SecretStr | None) -> SecretStr | None:
    if value and not re.fullmatch(r"[!-~]+", value.get_secret_value()):
        raise ValueError("must be plain letters, digits and signs, without blanks")
    return value


def _plain_headers(headers: dict[str, str]) -> dict[str, str]:
    for name, value in headers.items():
        if not re.fullmatch(r"[A-Za-z0-9-]{1,100}", name) or not re.fullmatch(
            "[ -~]{0,1000}", value
        ):
            raise ValueError("must be names of letters, digits and -, with values of plain text")
        if name.lower() in _OUR_HEADERS:
            raise ValueError(f"must not set {name.lower()}")
    return headers


def _by_name(models: object) -> object:
    if not isinstance(models, list):
        return models
    if not all(isinstance(name, str) for name in models):
        raise ValueError("must be a list of names, or an object by name")
    return {name: {} for name in models}


Api = Literal["responses", "chat_completions"]
"""The wire format: OpenAI speaks both, most other servers only `chat_completions`."""
Secret = Annotated[SecretStr | None, AfterValidator(_fits_a_header)]
Tokens = Annotated[int, Field(ge=1_000, le=100_000_000)]
Dollars = Annotated[Decimal, Field(ge=0, le=100_000, allow_inf_nan=False)]
Effort = Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"]
"""How much a model thinks before it answers; which of them it takes is the model's own affair."""
Roles = Literal["free", "alternate", "no_system"]
"""`alternate`: two messages of one side in a row go out as one; `no_system`: and what the app
says goes into the person's first."""
CallIds = Literal["nine", "own"]
"""`nine`: letters or digits, as Mistral insists and all others take; `own`: as they came."""
ReasoningBack = Literal["as_sent", "always", "never"]
"""With its tool calls: what came with them; `always`: or a blank where nothing is kept."""
Headers = Annotated[dict[str, str], AfterValidator(_plain_headers)]
ProviderName = Annotated[str, StringConstraints(pattern="^[a-z0-9][a-z0-9_-]{0,49}$")]
ModelName = Annotated[
    str, StringConstraints(pattern=r"^[^\x00-\x1f\x7f]{1,200}$"), AfterValidator(visible)
]
"""As long as the columns that record it are."""


class Price(BaseModel):
    """US dollars for a million tokens; cached ones cost what others do, unless it is said."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    input: Dollars
    output: Dollars
    cached: Dollars | None = None


class Asking(BaseModel):
    """How a model is asked; None follows the provider, and then what its family is known for."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    context_window: Tokens | None = None
    """Input and answer together."""
    price: Price | None = None
    reasoning_effort: Effort | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    max_output_tokens: Annotated[int, Field(ge=16, le=1_000_000)] | None = None
    """Thinking included, where it thinks."""
    extra_headers: Headers | None = None
    extra_body: dict[str, Any] | None = None
    """Members added to each request, as they stand."""
    roles: Roles | None = None
    call_ids: CallIds | None = None
    reasoning_back: ReasoningBack | None = None

    def over(self, other: "Asking") -> "Asking":
        """This one, and `other` where it is silent; headers and bodies are put together."""
        said = {
            name: mine if (mine := getattr(self, name)) is not None else getattr(other, name)
            for name in Asking.model_fields
        }
        for name in ("extra_headers", "extra_body"):
            if both := {**(getattr(other, name) or {}), **(getattr(self, name) or {})}:
                said[name] = both
        return Asking.model_construct(**said)


class OfferedModel(Asking):
    """A model of a provider, and how it is asked."""


class Provider(Asking):
    """One entry of PROVIDERS; under a built-in name, what is different of that one."""

    base_url: Address = None
    key: Secret = None
    """None for a server that asks for none."""
    api: Api = "chat_completions"
    models: Annotated[dict[ModelName, OfferedModel], BeforeValidator(_by_name)] = {}
    """The first is what a conversation gets that names the provider alone."""
    proxy: Address = None
    """Through which it is reached, where the process's own variables do not say it."""
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
            if entry.model_fields_set:
                raise ValueError("offline: is built in and takes no settings")
            continue
        missing = [field for field in ("base_url", "models") if not getattr(entry, field)]
        if missing and name not in (OPENAI, ANTHROPIC):
            raise ValueError(f"{name}.{missing[0]}: is missing")


def usable(
    openai: Provider, anthropic: Provider, more: Mapping[str, Provider], *, offline: bool
) -> dict[str, Provider]:
    """The providers that may answer, by name: of the built-in ones those that have a key.

    The offline model is one of them where it is asked for: `offline`, or its name in `more`.
    """
    built_in, nothing = {OPENAI: openai, ANTHROPIC: anthropic}, Provider()
    known = {
        name: built_in.get(name, nothing).changed_by(more.get(name, nothing))
        for name in {**built_in, **more}
        if name != OFFLINE_MODEL
    }
    found = {
        name: provider
        for name, provider in known.items()
        if provider.models and (provider.key or name not in built_in)
    }
    if offline or OFFLINE_MODEL in more:
        found[OFFLINE_MODEL] = Provider(models={OFFLINE_MODEL: OfferedModel()})
    return found
