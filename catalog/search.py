"""The catalog page's filters, and which assets match; catalog/facets.py counts them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any
from urllib.parse import urlencode

from django.db.models import F, Prefetch, Q, QuerySet
from django.http import QueryDict

from catalog.evidence.licence import short_name
from catalog.models import Evidence, HardwareProfile, Kind, Listing, VersionState

PAGE_SIZE = 24
MOST_COMPARED = 3
MOST_VALUES = 20  # per facet, from one address
# name → (inclusive upper limit, words); None is without limit
SIZES: dict[str, tuple[int | None, str]] = {
    "under-4b": (4 * 10**9 - 1, "under 4 B"),
    "4-10b": (10 * 10**9 - 1, "4 to 10 B"),
    "10-30b": (30 * 10**9 - 1, "10 to 30 B"),
    "over-30b": (None, "over 30 B"),
}
CONTEXTS: dict[str, tuple[int | None, str]] = {
    "to-8k": (8_192, "up to 8 K tokens"),
    "to-32k": (32_768, "up to 32 K tokens"),
    "to-128k": (131_072, "up to 128 K tokens"),
    "over-128k": (None, "over 128 K tokens"),
}
EVIDENCE = {"pass": "all checks pass", "warn": "with warnings", "fail": "a check fails", "none": "nothing checked"}
SORTS = {
    "name": "Name",
    "newest": "Newest first",
    "smallest": "Smallest first",
    "context": "Longest context first",
}
VIEWS = ("cards", "table")
TITLES = {
    "kind": "Kind",
    "task": "Task",
    "licence": "Licence",
    "size": "Parameters",
    "context": "Context",
    "fit": "Fits on",
    "evidence": "Evidence",
    "state": "State",
}
KEYS = tuple(TITLES)


@dataclass(frozen=True)
class Fit:
    """A hardware profile as a facet: what fits into `limit_bytes` fits on it."""

    slug: str
    name: str
    limit_bytes: int


def fits(profiles: Iterable[HardwareProfile], utilisation: float) -> list[Fit]:
    """Return the profiles by the memory that an engine may take on them, smallest first; as catalog/fit.py: limit."""
    share = Decimal(str(utilisation))
    found = [
        Fit(item.slug, item.name, int(item.memory_bytes * max(item.accelerator_count, 1) * share)) for item in profiles
    ]
    return sorted(found, key=lambda item: (item.limit_bytes, item.slug))


@dataclass(frozen=True)
class Filters:
    """The filters of one address, and the versions that are ticked for comparison."""

    chosen: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    q: str = ""
    sort: str = "name"
    view: str = "cards"
    page: int = 1
    ticked: tuple[str, ...] = ()
    crowded: bool = False  # more were ticked than can be compared
    columns: tuple[str, ...] = ()  # of the table, when they are not the usual ones; the page checks them

    @classmethod
    def read(cls, query: QueryDict) -> "Filters":
        """Return the filters of a query string; what makes no sense is left out, so that an old bookmark still
        works.
        """
        chosen = {
            key: tuple(dict.fromkeys(value[:80] for value in query.getlist(key)[:MOST_VALUES] if value)) for key in KEYS
        }
        ticked = tuple(dict.fromkeys(value[:90] for value in query.getlist("v")[:MOST_VALUES] if "@" in value[:90]))
        number = query.get("page", "1")
        return cls(
            chosen={key: values for key, values in chosen.items() if values},
            q=" ".join(query.get("q", "")[:200].split()),
            sort=sort if (sort := query.get("sort", "")) in SORTS else "name",
            view=view if (view := query.get("view", "")) in VIEWS else "cards",
            page=int(number) if number.isascii() and number.isdigit() and len(number) < 7 else 1,
            ticked=ticked[:MOST_COMPARED],
            crowded=len(ticked) > MOST_COMPARED,
        )

    def pairs(self, **changes: Any) -> list[tuple[str, str]]:
        """Return the shortest parameters of these filters with `changes`; a change other than of the page starts at
        page 1.
        """
        other = replace(self, **{"page": 1, **changes})
        pairs = [(key, value) for key in KEYS for value in other.chosen.get(key, ())]
        for name, value, default in (
            ("q", other.q, ""), ("sort", other.sort, "name"), ("view", other.view, "cards"),
            ("columns", ",".join(other.columns), ""), ("page", other.page, 1),
        ):  # fmt: skip
            if value != default:
                pairs.append((name, str(value)))
        return pairs + [("v", value) for value in other.ticked]

    def query(self, **changes: Any) -> str:
        """Return `pairs` as a query string ("?…")."""
        return f"?{urlencode(self.pairs(**changes))}"

    def without(self, key: str, value: str) -> "Filters":
        """Return the filters with one value less."""
        rest = tuple(item for item in self.chosen.get(key, ()) if item != value)
        return replace(self, chosen={**self.chosen, key: rest}, page=1)

    def words(self) -> list[str]:
        """Return the search words as the listings hold them."""
        return self.q.lower().split()


def label(key: str, value: str, names: Mapping[str, str] | None = None) -> str:
    """Return how a facet value reads; `names` are those of the hardware profiles, by slug."""
    if key == "kind":
        return Kind(value).label if value in Kind.values else value
    if key == "state":
        return VersionState(value).label if value in VersionState.values else value
    if key in {"size", "context"}:
        bounds = SIZES if key == "size" else CONTEXTS
        return bounds[value][1] if value in bounds else value
    if key == "evidence":
        return EVIDENCE.get(value, value)
    if key == "fit":
        return (names or {}).get(value, value)
    return short_name(value) if key == "licence" else value.replace("-", " ")


# --- Which rows -------------------------------------------------------------------------------------------------------


def searched(listings: QuerySet[Listing], filters: Filters) -> QuerySet[Listing]:
    """Return the listings that hold every search word."""
    for word in filters.words():
        listings = listings.filter(text__contains=word)
    return listings


def narrowed(listings: QuerySet[Listing], filters: Filters, limits: Sequence[Fit]) -> QuerySet[Listing]:
    """Return the listings that pass the search and every facet."""
    found = searched(listings, filters)
    for key, values in filters.chosen.items():
        found = found.filter(_condition(key, values, limits))
    return found


def _condition(key: str, values: tuple[str, ...], limits: Sequence[Fit]) -> Q:
    nothing = Q(pk__in=[])
    if key in {"kind", "licence", "evidence", "state"}:
        return Q(**{f"{key}__in": values})
    condition = nothing
    for value in values:
        if key == "task":
            condition |= Q(tasks__contains=f"|{value}|")
        elif key == "fit":
            condition |= next((Q(needed_bytes__lte=item.limit_bytes) for item in limits if item.slug == value), nothing)
        else:
            column, bounds = ("parameters", SIZES) if key == "size" else ("context_tokens", CONTEXTS)
            condition |= _between(column, bounds, value) if value in bounds else nothing
    return condition


def _between(column: str, bounds: Mapping[str, tuple[int | None, str]], name: str) -> Q:
    names = list(bounds)
    lower = bounds[names[names.index(name) - 1]][0] if name != names[0] else None
    upper = bounds[name][0]
    condition = Q(**{f"{column}__isnull": False})
    if lower is not None:
        condition &= Q(**{f"{column}__gt": lower})
    return condition & Q(**{f"{column}__lte": upper}) if upper is not None else condition


def ordered(found: QuerySet[Listing], sort: str) -> QuerySet[Listing]:
    """Return the listings in the order that the person chose; the asset's id makes it total."""
    orders: dict[str, tuple[Any, ...]] = {
        "name": ("rank", "name", "asset_id"),  # not "asset": that is the order of the assets, which no index here has
        "newest": ("-created_at", "asset_id"),
        "smallest": (F("parameters").asc(nulls_last=True), "name", "asset_id"),
        "context": (F("context_tokens").desc(nulls_last=True), "name", "asset_id"),
    }
    return found.order_by(*orders[sort])


def shown(found: QuerySet[Listing], sort: str, start: int) -> list[Listing]:
    """Return one page of `found` (one query, and one for the evidence); the database sorts ids, not whole rows."""
    ids = ordered(found, sort).values("pk")[start:][:PAGE_SIZE]
    rows = ordered(Listing.objects.filter(pk__in=ids), sort)
    findings = Prefetch(
        "version__evidence", queryset=Evidence.objects.defer("report")
    )  # megabytes, and nobody reads them
    return list(rows.select_related("asset", "version").only(*_SHOWN).prefetch_related(findings))


# What a card or a line of the table reads; the texts and documents of an asset are for its own page.
_SHOWN = (
    "kind", "state", "parameters", "context_tokens", "needed_bytes", "tasks", "created_at",
    "asset__slug", "asset__kind", "asset__name", "asset__publisher", "asset__summary", "asset__access",
    "version__asset", "version__version", "version__state", "version__state_reason", "version__licence",
    "version__runtime", "version__needs", "version__facts",
)  # fmt: skip
