"""What the address of the usage page asks for, and the addresses of all its links."""

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlencode
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from django.http import QueryDict

from portal.errors import Invalid
from projects.principal import Principal
from quotas import period, usage
from quotas.period import Period
from quotas.usage import GROUPS, Wanted

FILTERS = GROUPS
TYPED = ("range", "from", "to")
NUMERIC = ("requests", "input_tokens", "output_tokens", "cached_tokens", "errors", "ttft", "latency", "cost", "tokens")
SORTS = ("name", *NUMERIC)
DEFAULT_SORT, DEFAULT_GROUP = "-tokens", "endpoint"
LABELS = {"24h": "24 h", "7d": "7 d", "30d": "30 d", "custom": "Custom"}
BACK = {"24h": "the last 24 hours", "7d": "the last 7 days", "30d": "the last 30 days", "month": "this month"}
LONGEST = 150  # the longest user name; everything else is shorter


@dataclass(frozen=True)
class Asked:
    """The address, read. `error` is what is wrong with it; the range is then the last 7 days."""

    values: Mapping[str, str]  # filters and what was typed as range, as it came
    group: str
    sort: str
    page: int
    back: str  # the range to which the page leads back after a zoom
    span: Period
    error: Invalid | None

    @property
    def wanted(self) -> Wanted:
        """What to count."""
        filters = {name: self.values[name] for name in FILTERS}
        return Wanted(self.span.start, self.span.end, self.span.hours, **filters)

    @property
    def filtered(self) -> bool:
        """Whether something else than the project narrows the page."""
        return any(self.values[name] for name in FILTERS if name != "project")

    def url(self, **changes: str) -> str:
        """Return the address of the page with `changes`; an empty one leaves a parameter out.

        The project stays even when it is "all", so that the switcher does not win.
        """
        found = {name: value for name, value in self.values.items() if value}
        if not found.get("range"):
            found["range"] = self.span.name
        extra = {"group_by": self.group if self.group != DEFAULT_GROUP else "", "back": self.back}
        extra["sort"] = self.sort if self.sort != DEFAULT_SORT else ""
        found |= extra | changes
        dropped = {"project"} if found["range"] == "custom" else {"project", "from", "to", "back"}
        kept = {name: value for name, value in found.items() if value and name not in dropped}
        return "?" + urlencode({"project": found.get("project", ""), **kept})

    def zoomed(self, start: dt.datetime, end: dt.datetime) -> str:
        """Return the address of the part between `start` and `end`, which leads back to this range."""
        dates = self.span.dates(start, end)
        here = self.span.name
        if here == "custom":
            here = self.back or ",".join(self.span.dates(self.span.start, self.span.end).values())
        return self.url(range="custom", back=here, **dates)

    def ranged(self, name: str) -> str:
        """Return the address of a named range; the custom one begins with the dates that are shown now."""
        typed = {field: self.values[field] for field in ("from", "to") if self.values[field]}
        return self.url(range=name, back="", **(self.span.dates(self.span.start, self.span.end) | typed))

    @property
    def back_link(self) -> dict[str, str] | None:
        """Address and words of the way back from a zoom."""
        if self.back in BACK:
            return {"url": self.url(range=self.back), "label": BACK[self.back]}
        first, _, last = self.back.partition(",")
        if not last:
            return None
        return {"url": self.url(range="custom", back="", **{"from": first, "to": last}), "label": "the range before"}


def read(query: QueryDict, principal: Principal, *, project: str, now: dt.datetime) -> Asked:
    """Read the address for a person; `project` is the one of the switcher, which an address without one means.

    Never raises: what cannot be is in `error`, with the sentence for its field.
    """
    values = {name: query.get(name, "").strip()[:LONGEST] for name in (*FILTERS, *TYPED)}
    if "project" not in query:
        values["project"] = project
    zone = zone_of(principal)
    error: Invalid | None = None
    try:
        span = period.of(values, now, zone)
        group, sort, page = _group(query), _sort(query), _page(query)
    except Invalid as found:
        error, span = found, period.of({}, now, zone)
        group, sort, page = DEFAULT_GROUP, DEFAULT_SORT, 1
    return Asked(values, group, sort, page, _back(query.get("back", "")), span, error)


def zone_of(principal: Principal) -> ZoneInfo:
    """Return the zone of a person; UTC where it is not known to this machine."""
    try:
        return ZoneInfo(principal.person.zone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return period.UTC


def _group(query: Mapping[str, str]) -> str:
    group = query.get("group_by", "") or DEFAULT_GROUP
    if group not in GROUPS:
        raise Invalid.field("group_by", f"group_by is {group[:40]!r}; choose one of {', '.join(GROUPS)}.")
    return group


def _sort(query: Mapping[str, str]) -> str:
    sort = query.get("sort", "") or DEFAULT_SORT
    if sort.removeprefix("-") not in SORTS:
        raise Invalid.field("sort", f"sort is {sort[:40]!r}; choose one of {', '.join(SORTS)}, or -{SORTS[1]}.")
    return sort


def _page(query: Mapping[str, str]) -> int:
    text = query.get("page", "") or "1"
    if not (text.isascii() and text.isdigit() and len(text) <= 6 and int(text)):
        raise Invalid.field("page", f"page is {text[:20]!r}; write a number from 1 on.")
    return int(text)


def _back(text: str) -> str:
    """Return where to go back to, if it is a range; whatever else somebody wrote there is no link."""
    if text in BACK:
        return text
    first, _, last = text[:64].partition(",")
    try:
        usage.moment(first, field="back")
        usage.moment(last, field="back")
    except Invalid:
        return ""
    return f"{first},{last}"
