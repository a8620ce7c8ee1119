"""How many tokens a model takes at once, its input and its answer together."""

from backend.settings.providers import OFFLINE_MODEL

UNKNOWN = 8_192
"""The window of a model that no family below is the name of."""

_FAMILIES = {
    OFFLINE_MODEL: 128_000,
    "gpt-3.5": 16_385,
    "gpt-35": 16_385,
    "gpt-4": 8_192,
    "gpt-4-32k": 32_768,
    "gpt-4-turbo": 128_000,
    "gpt-4-1106": 128_000,
    "gpt-4-0125": 128_000,
    "gpt-4o": 128_000,
    "chatgpt-4o": 128_000,
    "gpt-4.1": 1_047_576,
    "gpt-4.5": 128_000,
    "gpt-5": 400_000,
    "gpt-5-chat": 128_000,
    "gpt-oss": 131_072,
    "o1": 200_000,
    "o1-mini": 128_000,
    "o1-preview": 128_000,
    "o3": 200_000,
    "o4-mini": 200_000,
    "claude-": 200_000,
    "claude-2.0": 100_000,
    "claude-instant": 100_000,
    "gemini-": 1_048_576,
    "gemini-1.0": 32_760,
    "gemini-pro": 32_760,
    "command-r": 128_000,
    "deepseek-": 64_000,
    "llama-3.1": 131_072,
    "llama-3.2": 131_072,
    "llama-3.3": 131_072,
    "llama3.1": 131_072,
    "llama3.2": 131_072,
    "llama3.3": 131_072,
    "mistral-large": 128_000,
    "mistral-small": 32_768,
    "mixtral": 32_768,
    "qwen2.5": 32_768,
    "qwen-2.5": 32_768,
    "qwen3": 32_768,
    "qwen-3": 32_768,
}
"""As their makers give them; a server may be set up to take less."""


def context_window(model: str) -> int:
    """The window of a model by its name, without its maker's (`openai/gpt-4o`).

    The longest family that the name begins with decides; `UNKNOWN` where none does.
    """
    name = model.lower().rpartition("/")[2]
    known = [family for family in _FAMILIES if name.startswith(family)]
    return _FAMILIES[max(known, key=len)] if known else UNKNOWN
