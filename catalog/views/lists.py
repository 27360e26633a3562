"""The catalog: filtered by facets, as cards, as a table, or as a file."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from django.conf import settings
from django.db.models import QuerySet
from django.http import HttpResponse
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_GET

from catalog import cells, facets, fit, proposing, search
from catalog.holders import askable
from catalog.models import HardwareProfile, Listing
from portal import listing
from portal.http import page
from portal.listing import Column
from projects import saved_views
from projects.principal import PortalRequest

ASSET = {"slug": "asset__slug", "name": "asset__name", "version": "version__version", "publisher": "asset__publisher"}
SIZES = {"parameters": "parameters", "context_tokens": "context_tokens", "needed_bytes": "needed_bytes"}
# The page reads its own address (facets with several values, versions to compare); its columns and its saved views are
# those of every other list. `csv` names a column of the database: the file needs no line of the page.
ASSETS = listing.Listing(
    route="catalog_list",
    nouns=("asset", "assets"),
    columns=(
        Column("asset", "Asset", csv=ASSET, fixed=True),
        Column("state", "State", csv={"state": "state"}),
        Column("kind", "Kind", csv={"kind": "kind"}),
        Column("facts", "Facts", csv=SIZES),
        Column("trust", "Trust", csv={"licence": "licence", "evidence": "evidence"}),
        Column("licence", "Licence", csv={"licence": "licence"}, default=False),
        Column("tasks", "Tasks", csv={"tasks": "tasks"}, default=False),
        Column("parameters", "Parameters", csv={"parameters": "parameters"}, default=False, numeric=True),
        Column("context", "Longest context", csv={"context_tokens": "context_tokens"}, default=False, numeric=True),
        Column("memory", "GPU memory", csv={"needed_bytes": "needed_bytes"}, default=False, numeric=True),
        Column("added", "Added", csv={"added": "created_at"}, default=False),
    ),
    sort="asset",
    size=search.PAGE_SIZE,
    file="catalog",
)


@require_GET
def catalog_list(request: PortalRequest) -> HttpResponse:
    """The catalog, filtered by the address."""
    notices: list[str] = []
    columns = listing.chosen_columns(ASSETS, request.GET.getlist("columns"), notices)
    chosen = columns if columns != ASSETS.defaults else ()
    filters = replace(search.Filters.read(request.GET), columns=chosen)
    profiles = list(HardwareProfile.objects.filter(enabled=True))
    limits = search.fits(profiles, settings.GPU_MEMORY_UTILISATION)
    stamp = facets.stamp(request.principal)
    every = Listing.objects.visible_to(request.principal, proposed=stamp.proposed, granted=stamp.granted)
    rows = search.narrowed(every, filters, limits)
    if request.GET.get("format") == "csv":
        return _file(search.ordered(rows, filters.sort), chosen)
    counted = facets.count(request.principal, filters, limits, stamp)
    last = max(1, -(-counted.found // search.PAGE_SIZE))
    number = min(max(filters.page, 1), last)
    start = (number - 1) * search.PAGE_SIZE
    shown = search.shown(rows, filters.sort, start)
    path = reverse("catalog_list")
    context = {
        "crumbs": [("Home", reverse("home")), ("Catalog", "")],
        "filters": filters,
        "propose_url": reverse("catalog_propose") if proposing.may_propose(request.principal) else "",
        "facets": counted.facets,
        "sorts": list(search.SORTS.items()),
        "cards": _cards(request, shown, profiles, filters),
        "compare": _compare(filters, path, shown),
        "chips": _filter_chips(filters, path, {item.slug: item.name for item in limits}),
        "clear_url": path + replace(filters, chosen={}, q="").query(),
        "cards_url": path + filters.query(view="cards"),
        "table_url": path + filters.query(view="table"),
        "csv_url": path + filters.query() + "&format=csv",
        "csv_label": _csv_label(counted.found),
        "notices": notices,
        "total": _total(every, stamp) if filters.q else counted.total,
        "found": counted.found,
        "page": {
            "start": start + 1 if shown else 0,
            "end": start + len(shown),
            "total": counted.found,
            "noun": ASSETS.nouns[counted.found != 1],
            "previous_url": path + filters.query(page=number - 1) if number > 1 else "",
            "next_url": path + filters.query(page=number + 1) if number < last else "",
        },
        **_chosen(request, filters, path, number, columns),
    }
    response = page(request, "catalog/list.html", context, part="results")
    # The form sends every field; the address bar gets the short form.
    response["HX-Push-Url"] = path + filters.query(page=number)
    return response


def _total(every: QuerySet[Listing], stamp: facets.Stamp) -> int:
    """Return how many listings there are without the search; a query only for who sees more than the audience."""
    return every.count() if stamp.proposed or stamp.granted else stamp.many


def _cards(
    request: PortalRequest, shown: list[Listing], profiles: list[HardwareProfile], filters: search.Filters
) -> list[cells.Cell]:
    may = askable(request.principal, [row.asset for row in shown])
    full = len(filters.ticked) >= search.MOST_COMPARED
    made = []
    for place, row in enumerate(shown):
        card = cells.card(row.asset, row.version, profiles, row.asset_id in may) | _facts(row)
        ticked = card["ticket"] in filters.ticked
        made.append(card | {"ticked": ticked, "tickable": ticked or not full, "tick_id": f"compare-{place}"})
    return made


def _facts(row: Listing) -> cells.Cell:
    """Return the cells of the columns that show only when they are chosen."""
    return {
        "tasks": ", ".join(search.label("task", task) for task in _tasks(row.tasks)),
        "parameters": "–" if row.parameters is None else fit.parameters_text(row.parameters),
        "context": row.context_tokens,
        "memory": row.needed_bytes,
        "added": row.created_at,
    }


def _tasks(text: str) -> list[str]:
    return [task for task in text.split("|") if task]


def _chosen(
    request: PortalRequest, filters: search.Filters, path: str, number: int, columns: Sequence[str]
) -> dict[str, Any]:
    """Return what the head of the table and the menus of columns and of saved views read."""
    menu = listing.column_menu(
        ASSETS, columns, hidden=filters.pairs(columns=()), default_url=path + filters.query(columns=())
    )
    shown = [one for one in ASSETS.columns if one.name in columns]
    here = path + filters.query(page=number)
    return {
        "list": {"path": path, "columns": shown, **menu},
        "views": saved_views.menu_at(request.principal, ASSETS.route, here),
    }


def _compare(filters: search.Filters, path: str, shown: list[Listing]) -> dict[str, Any]:
    """Return what is ticked for comparison; what does not stand on this page rides along as hidden fields."""
    here = {cells.ticket(row.version) for row in shown if row.version is not None}
    return {
        "ticked": [
            {
                "label": item.replace("@", " "),
                "value": item,
                "hidden": item not in here,
                "url": path + filters.query(ticked=tuple(other for other in filters.ticked if other != item)),
            }
            for item in filters.ticked
        ],
        "url": reverse("catalog_compare") + search.Filters(ticked=filters.ticked).query(),
        "crowded": filters.crowded,
        "most": search.MOST_COMPARED,
    }


def _filter_chips(filters: search.Filters, path: str, names: dict[str, str]) -> list[dict[str, str]]:
    chips = [
        {
            "label": f"{search.TITLES[key]}: {search.label(key, value, names)}",
            "url": path + filters.without(key, value).query(),
        }
        for key, values in filters.chosen.items()
        for value in values
    ]
    if filters.q:
        chips.append({"label": f"Search: {filters.q}", "url": path + filters.query(q="")})
    return chips


def _csv_label(found: int) -> str:
    rows = f"all {found:,}" if found <= listing.CSV_ROWS else f"the first {listing.CSV_ROWS:,}"
    return f"CSV of {rows} {ASSETS.nouns[found != 1]}"


def _file(rows: QuerySet[Listing], chosen: Sequence[str]) -> HttpResponse:
    """Return the assets that the filters keep as CSV, at most 10,000: every fact, or those of the chosen columns."""
    columns = [one for one in ASSETS.columns if not chosen or one.name in chosen]
    paths = {header: str(path) for one in columns for header, path in one.csv.items()}
    found = [dict(zip(paths, row, strict=True)) for row in rows.values_list(*paths.values())[: listing.CSV_ROWS]]
    for row in found:
        if "tasks" in row:
            row["tasks"] = ", ".join(_tasks(row["tasks"]))
    response = HttpResponse(listing.to_csv(found, tuple(paths)), content_type="text/csv; charset=utf-8")
    response["Content-Disposition"] = f'attachment; filename="{ASSETS.file}-{timezone.localdate().isoformat()}.csv"'
    response["Cache-Control"] = "no-store"
    return response
