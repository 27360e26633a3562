"""The catalog page's filters: which assets match, and how many each facet would show."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any
from urllib.parse import urlencode

from django.db.models import Case, Count, F, IntegerField, Q, QuerySet, Value, When
from django.http import QueryDict

from catalog.evidence.licence import short_name
from catalog.models import STATE_ORDER, HardwareProfile, Kind, Listing, VersionState

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

    def query(self, **changes: Any) -> str:
        """Return the shortest query string ("?…") of these filters with `changes`; a change other than of the page
        starts at page 1.
        """
        other = replace(self, **{"page": 1, **changes})
        pairs = [(key, value) for key in KEYS for value in other.chosen.get(key, ())]
        for name, value, default in (
            ("q", other.q, ""), ("sort", other.sort, "name"), ("view", other.view, "cards"), ("page", other.page, 1),
        ):  # fmt: skip
            if value != default:
                pairs.append((name, str(value)))
        pairs += [("v", value) for value in other.ticked]
        return f"?{urlencode(pairs)}" if pairs else "?"

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
        "name": ("rank", "name", "asset"),
        "newest": ("-created_at", "asset"),
        "smallest": (F("parameters").asc(nulls_last=True), "name", "asset"),
        "context": (F("context_tokens").desc(nulls_last=True), "name", "asset"),
    }
    return found.order_by(*orders[sort])


# --- How many ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Counted:
    """How many listings the search leaves, how many the facets leave of those, and the facets themselves."""

    total: int
    found: int
    facets: list[dict[str, Any]]


def count(listings: QuerySet[Listing], filters: Filters, limits: Sequence[Fit]) -> Counted:
    """Count every facet beside the choices of the other facets: one grouped query, then arithmetic over its groups."""
    chosen = {key: frozenset(values) for key, values in filters.chosen.items()}
    counts: dict[str, Counter[str]] = {key: Counter() for key in KEYS}
    known: dict[str, set[str]] = {key: set(filters.chosen.get(key, ())) for key in KEYS}
    total = found = 0
    for values, number in _groups(searched(listings, filters), limits):
        total += number
        missed = [key for key, wanted in chosen.items() if wanted.isdisjoint(values[key])]
        if not missed:
            found += number
        for key in KEYS:
            known[key].update(values[key])
            if not missed or missed == [key]:
                for value in values[key]:
                    counts[key][value] += number
    return Counted(total, found, _facets(known, counts, filters, limits))


def _groups(
    listings: QuerySet[Listing], limits: Sequence[Fit]
) -> Iterable[tuple[dict[str, tuple[str, ...]], int]]:  # fmt: skip
    """Return, for each combination of values, the values by facet and how many listings have it."""
    columns = ("kind", "tasks", "licence", "evidence", "state")
    grouped = (
        listings.order_by()
        .annotate(
            size=_step("parameters", [limit for limit, _ in SIZES.values()]),
            context=_step("context_tokens", [limit for limit, _ in CONTEXTS.values()]),
            fit=_step(
                "needed_bytes", [item.limit_bytes for item in limits] or [0]
            ),  # PostgreSQL groups by no bare NULL,
        )
        .values_list(*columns, "size", "context", "fit")
        .annotate(number=Count("pk"))
    )
    sizes, contexts = [(name,) for name in SIZES], [(name,) for name in CONTEXTS]
    fitting = [tuple(item.slug for item in limits[place:]) for place in range(len(limits))]
    for kind, tasks, licence, evidence, state, size, context, fit, number in grouped:
        yield (
            {
                "kind": (kind,),
                "task": tuple(tasks.strip("|").split("|")) if tasks else (),
                "licence": (licence,) if licence else (),
                "evidence": (evidence,),
                "state": (state,),
                "size": sizes[size] if size is not None else (),
                "context": contexts[context] if context is not None else (),
                "fit": fitting[fit] if fit is not None else (),
            },
            number,
        )


def _step(column: str, limits: Sequence[int | None]) -> Case:
    """Return the place of the first limit that a column does not pass, as an expression; NULL where there is none."""
    whens = [
        When(**{f"{column}__isnull": False} if limit is None else {f"{column}__lte": limit}, then=Value(place))
        for place, limit in enumerate(limits)
    ]
    return Case(*whens, default=Value(None), output_field=IntegerField())


def _facets(
    known: Mapping[str, set[str]], counts: Mapping[str, Counter[str]], filters: Filters, limits: Sequence[Fit]
) -> list[dict[str, Any]]:
    names = {item.slug: item.name for item in limits}
    order = [item.slug for item in limits]
    result = []
    for key in KEYS:
        chosen = filters.chosen.get(key, ())
        values = sorted(known[key], key=lambda value: _place(key, value, order))
        if key in {"task", "licence"}:  # long: the most frequent ones, and whatever is chosen
            often = {value for value, _ in counts[key].most_common(10)}
            values = [value for value in values if value in often or value in chosen]
        options = [
            {"id": f"f-{key}-{index}", "value": value, "label": label(key, value, names), "count": counts[key][value],
             "checked": value in chosen}
            for index, value in enumerate(values)
        ]  # fmt: skip
        if options:
            result.append({"key": key, "title": TITLES[key], "options": options})
    return result


def _place(key: str, value: str, profiles: list[str]) -> tuple[int, str]:
    fixed: dict[str, list[str]] = {
        "state": [str(state) for state in STATE_ORDER],
        "size": list(SIZES),
        "context": list(CONTEXTS),
        "kind": list(Kind.values),
        "evidence": list(EVIDENCE),
        "fit": profiles,
    }
    places = fixed.get(key, [])
    return (places.index(value) if value in places else len(places), label(key, value).lower())
