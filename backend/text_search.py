"""A text as the terms by which a search finds it, in Postgres's own full text.

A term is `owner/word`, so a search for the beginnings of words walks one person's part of the
index and no other's, however many people share it. The SQL of it is an index's expression and
must be written alike wherever that index is meant; `backend.postgres.migrations` has its own copy.
"""

import re

BETWEEN_WORDS = (
    r"\u0001-\u002f\u003a-\u0040\u005b-\u0060\u007b-\u00bf\u2000-\u206f\u3000-\u303f\uff00-\uff0f"
)
"""Spaces and punctuation, as a range of a regular expression of Postgres and of Python alike."""
WORDS_ALONE = r"\u3040-\u30ff\u3400-\u9fff"
"""Characters that are a word each, in scripts that put nothing between words."""

_WORD = re.compile(f"[{WORDS_ALONE}]|[^{BETWEEN_WORDS}{WORDS_ALONE}]+")
_WANTED_MAX = 40
"""Characters of a word that are looked for; in any case of letters fewer than a term holds."""


def search_owner(user_id: str) -> str:
    """SQL of what stands before each term of a person's texts; `user_id` is SQL too.

    It need not tell all people apart: a query asks for the owner as well.
    """
    return rf"translate(right({user_id}, 24), ' \''', '___')"


def search_terms(column: str) -> str:
    """SQL of the terms in the first 10,000 characters of `column`.

    Of immutable functions, as an index needs. No text makes it fail: a word of more than 80
    characters counts as several, and all terms together stay under a tsvector's megabyte.
    """
    apart = rf"'[{WORDS_ALONE}]|[^{BETWEEN_WORDS}{WORDS_ALONE}]{{80}}', ' \& ', 'g'"
    spaced = f"regexp_replace(lower(left({column}, 10000)), {apart})"
    word = f"'[{BETWEEN_WORDS}]*([^{BETWEEN_WORDS}]+)[{BETWEEN_WORDS}]*'"
    term = rf"replace(' #/\1', '#', {search_owner('user_id')})"
    terms = f"string_to_array(regexp_replace({spaced}, {word}, {term}, 'g'), ' ')"
    return f"(array_to_tsvector(array_remove({terms}, '')))"


def search_query(owner: str, words: str) -> str:
    """SQL of a query for texts of `owner` in which each of `words` begins a word.

    Both are SQL too; `words` gives one text, what `wanted_words` found, with spaces between.
    """
    term = f"'''' || {search_owner(owner)} || '/'"
    following = f"''':* & ' || {term}"
    return f"({term} || replace(lower({words}), ' ', {following}) || ''':*')::tsquery"


def wanted_words(text: str) -> list[str]:
    """The words of what a person looks for; none hold what a query has a meaning for."""
    return [word[:_WANTED_MAX] for word in _WORD.findall(text)]
