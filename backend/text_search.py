"""Full-text search: the terms of a text and of a query, by Postgres's own functions.

A term is `owner/word`, so a search for the beginnings of words walks one person's part of the
index and no other's, however many people share it. A text and what is looked for are folded
first: case, width and the ways to write one character are no difference.

Both are functions of the database, made by `v0008_search`: the database's own letters may be those
of English alone, so it names a collation that knows all.
"""

import re
import unicodedata

FOLD = "chat_search_fold"
"""`(text) -> text`: what two texts have in common that are the same to a reader."""
TERMS = "chat_search_terms"
"""`(text, owner) -> tsvector`: the terms of a text's first 10,000 characters."""
BETWEEN_WORDS = (
    r"\u0001-\u002f\u003a-\u0040\u005b-\u0060\u007b-\u00bf\u2000-\u206f\u3000-\u3004\u3008-\u303f"
    r"\uff00-\uff0f"
)
"""Spaces and punctuation, as a range of a regular expression of Postgres and of Python alike."""
WORDS_ALONE = (
    r"\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u1950-\u19ff\u1a20-\u1aaf\ua9e0-\ua9ff\uaa60-\uaadf"
    r"\u3005-\u3007\u3040-\u30ff\u3400-\u9fff\U00020000-\U0003ffff"
)
"""Characters that are a word each, in scripts that put nothing between words."""
_IGNORED = "\u00ad\u034f\u200b\u200c\u200d\u2060\ufe0e\ufe0f\ufeff"
"""Not seen, and written by some where others do not: where a word may be broken, or joined."""

_WORD = re.compile(f"[{WORDS_ALONE}]|[^{BETWEEN_WORDS}{WORDS_ALONE}]+")
_RUN = re.compile(f"[{WORDS_ALONE}]{{2,}}")
_WANTED_MAX = 40
"""Characters of a word that are looked for; however they are folded fewer than a term holds."""
_UNLIKE = (("ß", "ss"), ("ς", "σ"), ("i\u0307", "i"))
"""What lower case leaves apart, and what it stands for."""


def fold(text: str) -> str:
    """`text` as `FOLD` makes it."""
    text = unicodedata.normalize("NFKC", text).translate(dict.fromkeys(map(ord, _IGNORED)))
    text = text.lower()
    for letter, others in _UNLIKE:
        text = text.replace(letter, others)
    return text


def words_in(text: str) -> frozenset[str]:
    """The words of a text, folded."""
    return frozenset(_WORD.findall(fold(text)))


def search_owner(user_id: str) -> str:
    """SQL of what stands before each term of a person's texts; `user_id` is SQL too.

    It need not tell all people apart: a query asks for the owner as well.
    """
    return rf"translate(right({user_id}, 24), ' \''', '___')"


def search_terms(column: str) -> str:
    """SQL of the terms of a column beside which the owner stands in `user_id`."""
    return f"({TERMS}({column}, user_id))"


def found_by_terms(column: str, owner: str, words: str, runs: str) -> str:
    """SQL of whether a text of `owner` holds what is looked for; all are SQL too.

    `words` gives one text, what `wanted_words` found, with spaces between: each begins a word.
    `runs` gives an array, of `wanted_runs`: they stand there as they are.
    """
    term = f"'''' || {search_owner(owner)} || '/'"
    following = f"''':* & ' || {term}"
    query = f"({term} || replace({FOLD}({words}), ' ', {following}) || ''':*')::tsquery"
    return f"{search_terms(column)} @@ {query} AND {holds_all(f'left({column}, 10000)', runs)}"


def holds_all(text: str, wanted: str) -> str:
    """SQL of whether `text` holds each of an array of texts somewhere; both are SQL too."""
    folded = f"(SELECT {FOLD}({text}) AS folded OFFSET 0) AS once"
    found = f"bool_and(position({FOLD}(wanted) IN folded) > 0)"
    return f"coalesce((SELECT {found} FROM {folded}, unnest({wanted}) AS wanted), true)"  # noqa: S608


def wanted_words(text: str) -> list[str]:
    """The words of what a person looks for; none hold what a query has a meaning for."""
    return [word[:_WANTED_MAX] for word in _WORD.findall(fold(text))]


def wanted_runs(text: str) -> list[str]:
    """What of it is written without spaces: its characters alone are in many texts."""
    return _RUN.findall(fold(text))
