"""Better Auth's session cookie, and which requests may rely on it alone."""

from collections.abc import Collection

from starlette.datastructures import Headers

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
"""Those that change nothing; what they answer another site's page cannot read."""


def session_cookie(headers: Headers, name: str) -> str | None:
    """The value of `__Secure-` and `name`, else of `name`; None where there is no one value.

    Only a page served over TLS can set the first, so it wins. Two values under one name, of
    which another site under the same domain may have set either, are none.
    """
    given = _session_cookies(headers, name)
    for wanted in _names(name):
        if values := {value for key, value in given if key == wanted}:
            return values.pop() if len(values) == 1 else None
    return None


def brings_session_cookie(headers: Headers, name: str) -> bool:
    """Whether there is any such cookie, of use or not."""
    return bool(_session_cookies(headers, name))


def _session_cookies(headers: Headers, name: str) -> list[tuple[str, str]]:
    pairs = (
        part.strip().partition("=")
        for line in headers.getlist("cookie")
        for part in line.split(";")
    )
    return [(key, value) for key, _, value in pairs if key in _names(name)]


def _names(name: str) -> tuple[str, str]:
    return f"__Secure-{name}", name


def cookie_counts(method: str, headers: Headers, allowed_origins: Collection[str]) -> bool:
    """Whether a cookie may speak for this request: a browser adds it whoever's page asks.

    What changes something has to come from a page that is allowed, as the browser itself
    says in `Origin`.
    """
    if method in SAFE_METHODS:
        return True
    origins = headers.getlist("origin")
    return len(origins) == 1 and origins[0] in allowed_origins
