"""What of an answer's text is meant for the person: its thinking and its markup are not."""

import re

_PAIRS = (
    (r"<(think|thinking|thought|reasoning|seed:think|antthinking)>", r"</\1>"),
    (r"\[THINK\]", r"\[/THINK\]"),  # Magistral
    ("◁think▷", "◁/think▷"),  # Kimi
    (r"<\|channel\|?>(?:analysis|thought)\b[^<]*(?:<\|message\|>)?", r"<\|end\|>|<channel\|>"),
)
_BLOCKS = tuple(
    re.compile(f"{opening}.*?(?:{closing}|\\Z)", re.IGNORECASE | re.DOTALL)
    for opening, closing in _PAIRS
)
_ORPHAN = re.compile(
    r"\A.*(?:</(?:think|thinking|thought|reasoning|seed:think)>|\[/THINK\]|◁/think▷)",
    re.IGNORECASE | re.DOTALL,
)
"""The end of a thought whose beginning the template had put into the request."""
_FINAL = re.compile(r"(?:<\|start\|>assistant)?<\|channel\|>final\b[^<]*<\|message\|>")
_LEFT = re.compile(r"(?:<\|[a-z_]{2,20}\|>|</s>|<eos>|<end_of_turn>|<｜end▁of▁sentence｜>)\s*\Z")
"""A special token that the server's template has not taken out."""
OPENINGS = (
    "<think", "<thought", "<reasoning", "<seed:think", "<antthinking", "[THINK]", "◁think▷",
    "<|", "<｜", "</s>", "<eos>", "<end_of_turn>",
    "<tool_call", "<function", "<invoke", "<minimax:tool_call", "[TOOL_CALLS]", "```tool",
)  # fmt: skip
"""How what is not meant for the person begins, in the texts of the templates that are known."""
_SIGNS = re.compile(r"[<\[◁`]")
"""With which they begin; looked for at each piece that comes, and so not letter by letter."""


def without_thinking(text: str) -> str:
    """The text without its thoughts, closed or not, and without a template's tokens."""
    if not any(sign in text for sign in "<[◁"):
        return text
    meant = text
    for block in _BLOCKS:
        meant = block.sub("", meant)
    meant = _FINAL.sub("", _ORPHAN.sub("", meant))
    while (shorter := _LEFT.sub("", meant)) != meant:
        meant = shorter
    return text if meant == text else meant.lstrip()


def text_of(content: object) -> str:
    """The text of a content of any form: a text, a part, a list of parts; thoughts left out."""
    match content:
        case str():
            return content
        case list():
            return "".join(text_of(part) for part in content)
        case {"type": "thinking" | "reasoning" | "redacted_thinking"}:
            return ""
        case {"text": text} | {"content": text}:
            return text_of(text)
    return ""


def sayable(text: str) -> str:
    """What of a text that is still being written can be shown already.

    Held back is what may be, or may become, a thought or a call: from the first sign of one,
    and the whole of a text that begins as JSON or in a fence.
    """
    text = without_thinking(text)
    if text.lstrip()[:1] in ("{", "[", "`"):
        return ""
    for sign in _SIGNS.finditer(text):
        if _may_open(text[sign.start() : sign.start() + 24]):
            return text[: sign.start()]
    return text


def _may_open(rest: str) -> bool:
    return any(rest.startswith(sign) or sign.startswith(rest) for sign in OPENINGS)
