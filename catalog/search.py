"""The catalog page's filters: which assets match, and how many each facet would show."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

from django.http import QueryDict

from catalog.evidence.licence import short_name
from catalog.models import STATE_ORDER, Asset, Kind, Version, VersionState
from projects.principal import Principal

PAGE_SIZE = 24
SIZES = {"under-4b": "under 4 B", "4-10b": "4 to 10 B", "10-30b": "10 to 30 B", "over-30b": "over 30 B"}
SORTS = {"name": "Name", "newest": "Newest first", "smallest": "Smallest first"}
VIEWS = ("cards", "table")
KEYS = ("kind", "task", "licence", "size", "state")
TITLES = {"kind": "Kind", "task": "Task", "licence": "Licence", "size": "Parameters", "state": "State"}
MOST_VALUES = 20  # per facet, from one address


@dataclass(frozen=True)
class Row:
    """What filtering reads of an asset; `shown` is the id of its best version, the one that cards show."""

    pk: int
    kind: str
    name: str
    text: str
    created_at: datetime
    tasks: tuple[str, ...]
    shown: int | None = None
    state: VersionState = VersionState.DRAFT
    licence: str = ""
    parameters: int = 0

    def values(self, key: str) -> tuple[str, ...]:
        """Return the values under which a facet counts this row."""
        if key == "task":
            return self.tasks
        if key == "size":
            return (size_of(self.parameters),) if self.parameters else ()
        value = {"kind": self.kind, "licence": self.licence, "state": self.state.value}[key]
        return (value,) if value else ()


@dataclass(frozen=True)
class Filters:
    """The filters of one address."""

    chosen: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    q: str = ""
    sort: str = "name"
    view: str = "cards"
    page: int = 1

    @classmethod
    def read(cls, query: QueryDict) -> "Filters":
        """Return the filters of a query string; what makes no sense is left out, so that an old bookmark still
        works.
        """
        chosen = {
            key: tuple(dict.fromkeys(value[:80] for value in query.getlist(key)[:MOST_VALUES] if value)) for key in KEYS
        }
        number = query.get("page", "1")
        return cls(
            chosen={key: values for key, values in chosen.items() if values},
            q=" ".join(query.get("q", "")[:200].split()),
            sort=sort if (sort := query.get("sort", "")) in SORTS else "name",
            view=view if (view := query.get("view", "")) in VIEWS else "cards",
            page=int(number) if number.isascii() and number.isdigit() and len(number) < 7 else 1,
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
        return f"?{urlencode(pairs)}" if pairs else "?"

    def without(self, key: str, value: str) -> "Filters":
        """Return the filters with one value less."""
        rest = tuple(item for item in self.chosen.get(key, ()) if item != value)
        return replace(self, chosen={**self.chosen, key: rest}, page=1)

    def matches(self, row: Row, skip: str = "") -> bool:
        """Whether `row` passes every facet but `skip`, and the search words."""
        for key, wanted in self.chosen.items():
            if key != skip and not set(wanted) & set(row.values(key)):
                return False
        return all(word in row.text for word in self.q.lower().split())


def size_of(parameters: int) -> str:
    """Return the size class of a parameter count."""
    for limit, name in ((4, "under-4b"), (10, "4-10b"), (30, "10-30b")):
        if parameters < limit * 10**9:
            return name
    return "over-30b"


def label(key: str, value: str) -> str:
    """Return how a facet value reads."""
    if key == "kind":
        return Kind(value).label if value in Kind.values else value
    if key == "state":
        return VersionState(value).label if value in VersionState.values else value
    if key == "size":
        return SIZES.get(value, value)
    return short_name(value) if key == "licence" else value.replace("-", " ")


def rows(principal: Principal) -> list[Row]:
    """Return every asset that `principal` may see, light: two queries, whatever the number of versions."""
    best: dict[int, tuple[tuple[int, float, int], tuple[Any, ...]]] = {}
    fields = ("asset_id", "pk", "state", "licence", "needs__parameters", "created_at")
    for found in Version.objects.visible_to(principal).values_list(*fields):
        order = (STATE_ORDER.index(VersionState(found[2])), -found[5].timestamp(), -found[1])
        if found[0] not in best or order < best[found[0]][0]:
            best[found[0]] = (order, found)
    texts = Asset.objects.visible_to(principal).values_list(
        "pk", "kind", "name", "slug", "publisher", "summary", "tasks", "created_at"
    )
    result = []
    for pk, kind, name, slug, publisher, summary, tasks, created_at in texts:
        text = " ".join([name, slug, publisher, summary, *tasks]).lower()
        row = Row(pk, kind, name, text, created_at, tuple(tasks))
        if pk in best:
            _, _, state, licence, parameters, _ = best[pk][1]
            row = replace(
                row, shown=best[pk][1][1], state=VersionState(state), licence=licence, parameters=parameters or 0
            )
        result.append(row)
    return result


def ordered(found: Iterable[Row], sort: str) -> list[Row]:
    """Return the rows in the order that the person chose."""
    keys: dict[str, Callable[[Row], Any]] = {
        "name": lambda row: (STATE_ORDER.index(row.state), row.name.lower(), row.pk),
        "newest": lambda row: (-row.created_at.timestamp(), row.pk),
        "smallest": lambda row: (row.parameters or 10**18, row.name.lower(), row.pk),
    }
    return sorted(found, key=keys[sort])


def facets(every: list[Row], filters: Filters) -> list[dict[str, Any]]:
    """Return the facets with, for each value, how many assets it would show beside the other facets' choices."""
    result = []
    for key in KEYS:
        counts = Counter(value for row in every if filters.matches(row, skip=key) for value in row.values(key))
        chosen = filters.chosen.get(key, ())
        known = sorted(
            {value for row in every for value in row.values(key)} | set(chosen), key=lambda v: _place(key, v)
        )
        if key == "task":  # long: the most frequent ones, and whatever is chosen
            often = {value for value, _ in counts.most_common(10)}
            known = [value for value in known if value in often or value in chosen]
        options = [
            {"id": f"f-{key}-{index}", "value": value, "label": label(key, value), "count": counts[value],
             "checked": value in chosen}
            for index, value in enumerate(known)
        ]  # fmt: skip
        if options:
            result.append({"key": key, "title": TITLES[key], "options": options})
    return result


def _place(key: str, value: str) -> tuple[int, str]:
    fixed: list[str] = {"state": [str(s) for s in STATE_ORDER], "size": list(SIZES), "kind": Kind.values}.get(key, [])
    return (fixed.index(value) if value in fixed else len(fixed), label(key, value).lower())
