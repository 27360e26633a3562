"""Time zones of people: times are stored in UTC and shown where the person lives."""

import zoneinfo
from functools import lru_cache

from projects.models import User

UTC = "UTC"


@lru_cache(maxsize=1)
def names() -> tuple[str, ...]:
    """Return the names of the zones that people choose from: UTC first, then by region."""
    found = sorted(name for name in zoneinfo.available_timezones() if "/" in name and not name.startswith("Etc/"))
    return (UTC, *found)


def zone(name: str) -> zoneinfo.ZoneInfo:
    """Return the zone of this name, UTC when the system does not know it."""
    try:
        return zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        return zoneinfo.ZoneInfo(UTC)


def zone_of(person: User) -> zoneinfo.ZoneInfo:
    """Return the zone of `person`."""
    return zone(person.zone)
