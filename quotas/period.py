"""The time range of the usage page: what the address says, and the slots of its charts. Everything is UTC."""

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass

from portal.errors import Invalid
from quotas import usage
from quotas.rollups import floor

RANGES = {"24h": "24 h", "7d": "7 d", "30d": "30 d", "custom": "Custom"}
HOURS_UP_TO, DAYS_UP_TO = dt.timedelta(days=2), dt.timedelta(days=92)
STEP = {"hour": dt.timedelta(hours=1), "day": dt.timedelta(days=1), "month": dt.timedelta(days=32)}


@dataclass(frozen=True)
class Period:
    """A range with the interval in which it is drawn. `words` finishes the sentence "Tokens …"."""

    name: str
    start: dt.datetime
    end: dt.datetime
    interval: str
    words: str

    @property
    def slots(self) -> list[dt.datetime]:
        """The starts of all intervals of the range, with a call or without."""
        found = [floor(self.start, self.interval)]
        while (following := floor(found[-1] + STEP[self.interval], self.interval)) < self.end:
            found.append(following)
        return found

    def label(self, start: dt.datetime) -> str:
        """Return the words for one slot."""
        if self.interval == "hour":
            return f"{start:%H:%M}" if self.name == "24h" else f"{start.day} {start:%b %H:%M}"
        return f"{start.day} {start:%b}" if self.interval == "day" else f"{start:%b %Y}"


def of(query: Mapping[str, str], now: dt.datetime) -> Period:
    """Return the range that `query` (range, from, to) asks for, 7 days by default; raises Invalid naming the field."""
    name = query.get("range", "") or ("custom" if query.get("from") else "7d")
    if name not in RANGES:
        raise Invalid.field("range", f"range is {name[:20]!r}; choose one of {', '.join(RANGES)}.")
    if name == "24h":
        end = floor(now, "hour") + STEP["hour"]
        return Period(name, end - dt.timedelta(hours=24), end, "hour", "in the last 24 hours")
    if name in ("7d", "30d"):
        days = int(name[:-1])
        end = floor(now, "day") + STEP["day"]
        return Period(name, end - dt.timedelta(days=days), end, "day", f"in the last {days} days")
    return _custom(query, now)


def _custom(query: Mapping[str, str], now: dt.datetime) -> Period:
    if not query.get("from") and not query.get("to"):  # just chosen: the last 7 days to start from
        query = {"from": f"{now - dt.timedelta(days=6):%Y-%m-%d}", "to": f"{now:%Y-%m-%d}"}
    for field in ("from", "to"):
        if not query.get(field):
            raise Invalid.field(field, f"A custom range needs {field}: a day like {now:%Y-%m-%d}.")
    start = usage.moment(query["from"], field="from")
    end = usage.moment(query["to"], field="to", end=True)
    usage.check(start, end, "day", ())
    interval = "hour" if end - start <= HOURS_UP_TO else "day" if end - start <= DAYS_UP_TO else "month"
    last = end - dt.timedelta(microseconds=1)
    words = f"from {start.day} {start:%b %Y} to {last.day} {last:%b %Y}"
    return Period("custom", start, end, interval, words)
