"""Whether a text shows anything.

A title that nobody sees cannot be asked for or clicked, and a message of it says nothing.
"""

import unicodedata

_BLANK = frozenset("\u115f\u1160\u2800\u3164\uffa0\U0001d159")
"""Letters and symbols by their category, drawn as nothing: the fillers of Hangul, the empty
pattern of Braille, a note without a head."""
_UNSEEN = frozenset({"Cc", "Cf", "Cs", "Mc", "Me", "Mn", "Zl", "Zp", "Zs"})


def shows(character: str) -> bool:
    """Whether a character is seen when it stands alone, which a mark on another one is not.

    One that this Unicode does not know yet may be an emoji of the next, save where none will be.
    """
    if character in _BLANK:
        return False
    category = unicodedata.category(character)
    return not _never_drawn(ord(character)) if category == "Cn" else category not in _UNSEEN


def _never_drawn(code: int) -> bool:
    """The codes without a character that Unicode keeps for none, or for one that is ignored."""
    ignored = code == 0x2065 or 0xFFF0 <= code <= 0xFFF8 or 0xE0000 <= code <= 0xE0FFF
    return ignored or 0xFDD0 <= code <= 0xFDEF or code & 0xFFFE == 0xFFFE


def shows_something(text: str) -> bool:
    """Whether any of it is seen: not where it is blank, or of marks with nothing to stand on."""
    return any(map(shows, text))


def visible(value: str) -> str:
    """`value`, if it shows something.

    Raises:
        ValueError: it does not.
    """
    if shows_something(value):
        return value
    raise ValueError("must hold something that can be seen")
