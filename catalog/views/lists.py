"""The catalog: filtered by facets, as cards, as a table, or as a file."""

from typing import Any

from django.conf import settings
from django.db.models import QuerySet
from django.http import HttpResponse
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_GET

from catalog import cells, search
from catalog.models import HardwareProfile, Listing
from portal.http import page
from portal.listing import to_csv
from projects.models import Project
from projects.permissions import can_anywhere
from projects.principal import PortalRequest

CSV_ROWS = 10_000
COLUMNS = ("slug", "name", "kind", "state", "version", "publisher", "licence", "evidence", "parameters",
           "context_tokens", "needed_bytes", "tasks")  # fmt: skip


@require_GET
def catalog_list(request: PortalRequest) -> HttpResponse:
    """The catalog, filtered by the address."""
    filters = search.Filters.read(request.GET)
    profiles = list(HardwareProfile.objects.filter(enabled=True))
    limits = search.fits(profiles, settings.GPU_MEMORY_UTILISATION)
    every = Listing.objects.visible_to(request.principal)
    rows = search.ordered(search.narrowed(every, filters, limits), filters.sort)
    if request.GET.get("format") == "csv":
        return _file(rows)
    counted = search.count(every, filters, limits)
    last = max(1, -(-counted.found // search.PAGE_SIZE))
    number = min(max(filters.page, 1), last)
    start = (number - 1) * search.PAGE_SIZE
    shown = list(
        rows.select_related("asset", "version").prefetch_related("version__evidence")[start:][: search.PAGE_SIZE]
    )
    path = reverse("catalog_list")
    context = {
        "crumbs": [("Home", reverse("home")), ("Catalog", "")],
        "filters": filters,
        "facets": counted.facets,
        "sorts": list(search.SORTS.items()),
        "cards": _cards(request, shown, profiles, filters),
        "compare": _compare(filters, path, shown),
        "chips": _filter_chips(filters, path, {item.slug: item.name for item in limits}),
        "clear_url": path,
        "cards_url": path + filters.query(view="cards"),
        "table_url": path + filters.query(view="table"),
        "csv_url": path + filters.query() + "&format=csv",
        "total": every.count() if filters.q else counted.total,
        "found": counted.found,
        "page": {
            "start": start + 1 if shown else 0,
            "end": start + len(shown),
            "total": counted.found,
            "previous_url": path + filters.query(page=number - 1) if number > 1 else "",
            "next_url": path + filters.query(page=number + 1) if number < last else "",
        },
    }
    response = page(request, "catalog/list.html", context, part="results")
    # The form sends every field; the address bar gets the short form.
    response["HX-Push-Url"] = path + filters.query(page=number)
    return response


def _cards(
    request: PortalRequest, shown: list[Listing], profiles: list[HardwareProfile], filters: search.Filters
) -> list[cells.Cell]:
    may_request = can_anywhere(request.principal, "request", Project)
    full = len(filters.ticked) >= search.MOST_COMPARED
    made = []
    for place, row in enumerate(shown):
        card = cells.card(row.asset, row.version, profiles, may_request)
        ticked = card["ticket"] in filters.ticked
        made.append(card | {"ticked": ticked, "tickable": ticked or not full, "tick_id": f"compare-{place}"})
    return made


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


def _file(rows: QuerySet[Listing]) -> HttpResponse:
    """Return the assets that the filters keep as CSV, at most 10,000."""
    fields = ("asset__slug", "asset__name", "kind", "state", "version__version", "asset__publisher", "licence",
              "evidence", "parameters", "context_tokens", "needed_bytes", "tasks")  # fmt: skip
    found = [dict(zip(COLUMNS, row, strict=True)) for row in rows.values_list(*fields)[:CSV_ROWS]]
    for row in found:
        row["tasks"] = ", ".join(row["tasks"].strip("|").split("|"))
    response = HttpResponse(to_csv(found, COLUMNS), content_type="text/csv; charset=utf-8")
    response["Content-Disposition"] = f'attachment; filename="catalog-{timezone.localdate().isoformat()}.csv"'
    response["Cache-Control"] = "no-store"
    return response
