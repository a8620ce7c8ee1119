"""What an answer says of its tokens, in whatever form; what cannot be counted is unknown."""

from typing import Any

from backend.journal.spending import COUNT_MAX


def count(value: object) -> int | None:
    """A number of tokens: whole, or a float or digits that are; None for all else."""
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 12:
        value = int(value)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        return None
    return value if 0 <= value <= COUNT_MAX else None


def mend_chat_usage(usage: object) -> dict[str, Any] | None:
    """The usage of a chat completion; None where it does not say what went in and came out."""
    counted = _counted_tokens(
        usage, "prompt", "completion", ("prompt_cache_hit_tokens", "cached_tokens")
    )
    if counted is None:
        return None
    given, cached, made, thought = counted
    return {
        "prompt_tokens": given,
        "completion_tokens": made,
        "total_tokens": given + made,
        "prompt_tokens_details": {"cached_tokens": cached},
        "completion_tokens_details": {"reasoning_tokens": thought},
    }


def mend_responses_usage(usage: object) -> dict[str, Any] | None:
    """The usage of a response of the Responses API, as above."""
    counted = _counted_tokens(usage, "input", "output", ("cached_tokens",))
    if counted is None:
        return None
    given, cached, made, thought = counted
    return {
        "input_tokens": given,
        "input_tokens_details": {"cached_tokens": cached},
        "output_tokens": made,
        "output_tokens_details": {"reasoning_tokens": thought},
        "total_tokens": given + made,
    }


def _counted_tokens(
    usage: object, asked: str, answered: str, flat: tuple[str, ...]
) -> tuple[int, int, int, int] | None:
    """Tokens in, those of them from a cache, tokens out, and those of them for reasoning."""
    told: dict[str, Any] = usage if isinstance(usage, dict) else {}
    given, made = count(told.get(f"{asked}_tokens")), count(told.get(f"{answered}_tokens"))
    if given is None or made is None:
        return None
    inside, outside = told.get(f"{asked}_tokens_details"), told.get(f"{answered}_tokens_details")
    cached = _part(inside, "cached_tokens")
    for name in flat:
        cached = cached or count(told.get(name)) or 0
    return given, min(cached, given), made, _part(outside, "reasoning_tokens")


def _part(details: object, name: str) -> int:
    return (count(details.get(name)) if isinstance(details, dict) else None) or 0
