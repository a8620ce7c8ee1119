"""How a model is asked where the settings do not say it: by its name, as its maker gives it.

A to-do list wants a quick answer more than a deep one, so models that can think are asked to
think little. A server that refuses what is meant well here is taken at its word, see
`backend.agent.wire.lessons`.
"""

import re

from backend.settings.providers import Asking

_LITTLE = Asking(reasoning_effort="low")
_ALMOST_NONE = Asking(reasoning_effort="minimal")

_FAMILIES = (
    (r"gpt-5(-mini|-nano)?(-20\d\d.*)?$", _ALMOST_NONE),
    (r"gpt-5-codex|gpt-oss|o1$|o1-20|o3(-mini)?(-20.*)?$|o4-mini", _LITTLE),
    (r"gemini-(2\.5|3|flash|pro)", _LITTLE),
    (r"grok-3-mini", _LITTLE),
    (r"deepseek-(v4|flash|pro)", Asking(reasoning_effort="low", reasoning_back="always")),
    (r"deepseek", Asking(reasoning_back="always")),
    (r"kimi|moonshot", Asking(reasoning_back="always", call_ids="own")),
    (r"mistral|mixtral|ministral|magistral|codestral|devstral", Asking(roles="alternate")),
    (r"gemma", Asking(roles="no_system")),
)
_COMPILED = [(re.compile(form), asking) for form, asking in _FAMILIES]


def asked_by_default(model: str) -> Asking:
    """The defaults of a model by its name, without its maker's (`openai/gpt-5-mini`)."""
    name = model.lower().rpartition("/")[2]
    return next((asking for form, asking in _COMPILED if form.match(name)), Asking())
