"""How many assets each facet of the catalog page would show."""

import datetime as dt
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from typing import Any

from django.db.models import Case, Count, Exists, IntegerField, Max, QuerySet, Subquery, Sum, Value, When

from catalog.models import STATE_ORDER, Audience, Kind, Listing, reviews
from catalog.search import CONTEXTS, EVIDENCE, KEYS, SIZES, TITLES, Filters, Fit, label, searched
from projects.compiled import Compiled
from projects.principal import Principal

Group = tuple[Mapping[str, tuple[str, ...]], int]  # values by facet, and how many listings have them
Groups = tuple[Group, ...]


@dataclass(frozen=True)
class Counted:
    """How many listings the search leaves, how many the facets leave of those, and the facets themselves."""

    total: int
    found: int
    facets: list[dict[str, Any]]


@dataclass(frozen=True)
class Stamp:
    """What every change of an audience's listings changes, too: they are never updated, always written anew."""

    audience: str
    proposed: bool = False  # whether the person has listings of their own beside those of the audience
    granted: bool = False  # whether grants open further ones to the person
    many: int = 0  # those that are for the whole audience
    ids: int = 0  # all of their ids added up: also what is committed after others that began later changes it
    newest: int = 0
    at: dt.datetime | None = None


def stamp(principal: Principal) -> Stamp:
    """Return the stamp of the listings that `principal` sees, from indexes (one query; one more for who does not review
    where assets are not for everyone).
    """
    whole, person = reviews(principal), principal.person.pk
    audience = str(Audience.REVIEWERS if whole else Audience.PUBLIC)
    rows = _MARKS[audience].rows(person)
    if not rows:  # none is for everybody: no numbers, and nothing is known of the others
        proposed = not whole and Listing.objects.own(principal).exists()
        return Stamp(audience, proposed, not whole and Listing.objects.granted(principal).exists())
    many, ids, newest, at, limited, own = rows[0]
    granted = bool(limited) and not whole and Listing.objects.granted(principal).exists()
    return Stamp(audience, bool(own) and not whole, granted, many, int(ids), newest, at)


def _marks(person: int, audience: str, listings: QuerySet[Listing]) -> QuerySet[Listing, Any]:
    whole = Listing.objects.filter(audience=audience)
    youngest = whole.order_by("-created_at").values("created_at")[:1]
    own = Listing.objects.filter(audience=Audience.OWN, person=person)
    marked = listings.filter(audience=audience).order_by().values("audience")
    marked = marked.annotate(many=Count("pk"), ids=Sum("pk"), newest=Max("pk"))
    limited = Exists(whole.filter(listed=True))
    return marked.values_list("many", "ids", "newest", Subquery(youngest), limited, Exists(own))


def _of(audience: str) -> QuerySet[Listing]:
    """Return the listings that everybody of an audience sees."""
    return _EVERYBODYS[audience].filter(audience=audience)


_EVERYBODYS: Mapping[str, QuerySet[Listing]] = {
    Audience.REVIEWERS: Listing.objects.all(),
    Audience.PUBLIC: Listing.objects.filter(listed=False),
}
_MARKS = {name: Compiled(partial(_marks, audience=str(name), listings=rows), -1) for name, rows in _EVERYBODYS.items()}


@lru_cache(maxsize=8)
def _all_groups(stamp: Stamp, limits: tuple[Fit, ...]) -> Groups:
    """Return the groups of a whole audience; grouping 10,000 listings takes longer than the rest of the page."""
    return tuple(_groups(_of(stamp.audience), limits))


def _remembered(principal: Principal, stamp: Stamp, limits: Sequence[Fit]) -> Iterator[Group]:
    """Return the groups of what the whole audience sees, which are remembered, and of what grants add."""
    yield from _all_groups(replace(stamp, granted=False), tuple(limits))
    if stamp.granted:
        yield from _groups(Listing.objects.granted(principal), limits)


def count(principal: Principal, filters: Filters, limits: Sequence[Fit], stamp: Stamp) -> Counted:
    """Count every facet beside the choices of the other facets: one grouped query, then arithmetic over its groups.

    `stamp` is that of `principal`: without search words the groups are remembered until it changes.
    """
    chosen = {key: frozenset(values) for key, values in filters.chosen.items()}
    counts: dict[str, Counter[str]] = {key: Counter() for key in KEYS}
    known: dict[str, set[str]] = {key: set(filters.chosen.get(key, ())) for key in KEYS}
    total = found = 0
    if filters.words() or stamp.proposed:
        listings = Listing.objects.visible_to(principal, proposed=stamp.proposed, granted=stamp.granted)
        groups = _groups(searched(listings, filters), limits)
    else:
        groups = _remembered(principal, stamp, limits)
    for values, number in groups:
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


def _groups(listings: QuerySet[Listing], limits: Sequence[Fit]) -> Iterator[Group]:
    """Return, for each combination of values, the values by facet and how many listings have it."""
    columns = ("kind", "tasks", "licence", "evidence", "state")
    grouped = (
        listings.order_by()
        .annotate(
            size=_step("parameters", [limit for limit, _ in SIZES.values()]),
            context=_step("context_tokens", [limit for limit, _ in CONTEXTS.values()]),
            # PostgreSQL groups by no bare NULL
            fit=_step("needed_bytes", [item.limit_bytes for item in limits] or [0]),
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
