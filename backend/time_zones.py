"""Time zones by their names, as browsers send them."""

from datetime import UTC, tzinfo
from functools import cache
from typing import Annotated
from zoneinfo import ZoneInfo, available_timezones

from pydantic import AfterValidator

_UNKNOWN = frozenset({"", "etc/unknown"})
"""What says that a browser does not know where it is; the second is what ICU calls it."""


@cache
def _zones() -> dict[str, str]:
    """The names of the IANA database by their lower case, the older ones with them.

    Without those that mean this machine or none.
    """
    return {name.lower(): name for name in available_timezones() - {"localtime", "Factory"}}


def _zone(name: str) -> str | None:
    wanted = name.strip().lower()
    if wanted in _UNKNOWN:
        return None
    if wanted not in _zones():
        raise ValueError("must be the name of a time zone such as Europe/Berlin")
    return _zones()[wanted]


TimeZoneName = Annotated[
    str | None, AfterValidator(lambda name: None if name is None else _zone(name))
]
"""A name of the IANA database, in any case of letters; "" and Etc/Unknown name none."""


def zone_of(*names: str | None) -> tzinfo:
    """The zone of the first of `names` that is known here; UTC without one."""
    return next((ZoneInfo(_zones()[n.lower()]) for n in names if n and n.lower() in _zones()), UTC)
