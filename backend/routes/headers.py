"""Headers that several routes take."""

from typing import Annotated

from fastapi import Header

from backend.time_zones import TimeZoneName

TimeZone = Annotated[
    TimeZoneName,
    Header(
        alias="X-Timezone",
        description="The person's time zone by its IANA name, in which today is today; "
        "without it the last counts that they have named, else UTC.",
    ),
]
