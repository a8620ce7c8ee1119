"""Time zones by their names, as browsers send them."""

import re
from datetime import UTC, tzinfo
from functools import cache
from typing import Annotated
from zoneinfo import ZoneInfo, available_timezones

from pydantic import AfterValidator

_UNKNOWN = frozenset({"", "etc/unknown", "undefined", "null"})
"""What says that a browser does not know where it is: what ICU calls it, and scripts."""
_OFFSET_NAMED = re.compile(r"(?:utc|gmt)?([+-])(\d\d?)(?::?([0-5]\d))?")
_PARTS_OF_HOURS = {
    "-930": "Pacific/Marquesas",
    "-330": "America/St_Johns",
    "-230": "America/St_Johns",
    "+330": "Asia/Tehran",
    "+430": "Asia/Kabul",
    "+530": "Asia/Kolkata",
    "+545": "Asia/Kathmandu",
    "+630": "Asia/Yangon",
    "+845": "Australia/Eucla",
    "+930": "Australia/Darwin",
    "+1030": "Australia/Adelaide",
    "+1245": "Pacific/Chatham",
    "+1345": "Pacific/Chatham",
}
"""Where it is so much later, or in summer is: only whole hours have zones called after them."""


@cache
def _zones() -> dict[str, str]:
    """The names of the IANA database by their lower case, the older ones with them.

    Without those that mean this machine or none.
    """
    return {name.lower(): name for name in available_timezones() - {"localtime", "Factory"}}


def _zone(name: str) -> str | None:
    wanted = name.strip(" \t\"'").lower()
    if wanted in _UNKNOWN:
        return None
    zone = _zones().get(wanted) or _at_offset(wanted)
    if zone is None:
        raise ValueError("must be the name of a time zone such as Europe/Berlin")
    return zone


def _at_offset(name: str) -> str | None:
    """The zone of `+05:30`, `UTC-3` or `GMT+0200`, which count east as positive; else None."""
    found = _OFFSET_NAMED.fullmatch(name)
    if found is None:
        return None
    sign, hours, minutes = found[1], int(found[2]), int(found[3] or 0)
    if minutes:
        return _PARTS_OF_HOURS.get(f"{sign}{hours}{minutes}")
    if hours == 0:
        return "UTC"
    turned = "-" if sign == "+" else "+"  # POSIX, after which these are called, counts west
    return _zones().get(f"etc/gmt{turned}{hours}")


TimeZoneName = Annotated[
    str | None, AfterValidator(lambda name: None if name is None else _zone(name))
]
"""A name of the IANA database, in any case of letters, or an offset from UTC, for which a zone
is taken that is there; "" and Etc/Unknown name none."""


def zone_of(*names: str | None) -> tzinfo:
    """The zone of the first of `names` that is known here; UTC without one."""
    return next((ZoneInfo(_zones()[n.lower()]) for n in names if n and n.lower() in _zones()), UTC)
