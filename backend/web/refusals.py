"""Requests that are refused before anything in them is judged: too slow, too large, not HTTP.

And a preflight, which asks whether such a request may be made.
"""

from backend.errors import AppError


class RequestRefused(AppError):
    """A request that is not read to its end, so its connection cannot serve another one."""

    def __init__(self) -> None:
        super().__init__(headers={"Connection": "close"})


class MalformedRequest(RequestRefused):
    """Not HTTP; the framework sees nothing of it."""

    status, code = 400, "BAD_REQUEST"
    message = "Bad Request"


class PreflightRefused(AppError):
    """A page asks to send what it may not: its `origin`, the `method` or some `headers`."""

    status, code = 400, "PREFLIGHT_REFUSED"
    message = "This page may not make this request."


class HostRefused(AppError):
    """The `Host` that the client asked for is none of ours."""

    status, code = 421, "MISDIRECTED_REQUEST"
    message = "Misdirected Request"


class OriginRefused(AppError):
    """A page of an origin that is not allowed has sent the request."""

    status, code = 403, "ORIGIN_NOT_ALLOWED"
    message = "This page may not call the service."


class RequestTooSlow(RequestRefused):
    status, code = 408, "REQUEST_TIMEOUT"
    message = "Request Timeout"


class BodyTooLarge(RequestRefused):
    status, code = 413, "CONTENT_TOO_LARGE"
    message = "Content Too Large"


class HeadTooLarge(RequestRefused):
    status, code = 431, "REQUEST_HEADER_FIELDS_TOO_LARGE"
    message = "Request Header Fields Too Large"
