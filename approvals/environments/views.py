"""The matrix of environments: dev, staging and prod of each model, and the clusters that they run on."""

from collections.abc import Mapping, Sequence
from typing import Any

from django.db.models import QuerySet
from django.http.response import HttpResponseBase
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_GET

from approvals.environments import reading
from approvals.environments.strands import ENVIRONMENTS, FACETS, Spot, Strand, strands
from catalog.models import Asset
from endpoints import cells
from endpoints.fleet.access import has_api
from endpoints.models import Endpoint, Phase
from endpoints.views.clusters import tabs
from portal import listing
from portal.listing import Column, Filter, Listing
from portal.templatetags.gatehouse import duration_h
from projects import saved_views
from projects.models import Project
from projects.permissions import can_anywhere, require_anywhere
from projects.principal import PortalRequest

MOST_ROWS = 20  # of one model; the file has all
AGAINST = [("left", "the environment to the left")]
ADMISSION = {"off": "off", "audit": "records", "enforce": "refuses"}


def _named(rows: QuerySet[Any], value: str, request: PortalRequest) -> QuerySet[Any]:
    return rows.filter(name__icontains=value) | rows.filter(slug__icontains=value)


def _same(rows: QuerySet[Any], value: str, request: PortalRequest) -> QuerySet[Any]:
    return rows  # done before: it needs more than the row


def _csv(environment: str) -> dict[str, str]:
    names = ("endpoint", "revision", *FACETS, "cluster", "differs", "changed_in_cluster")
    return {f"{environment}_{name}": f"{environment}_{name}" for name in dict.fromkeys(names)}


MATRIX = Listing(
    route="environment_list",
    nouns=("model", "models"),
    columns=(
        Column("model", "Model", ("name", "id"), {"project": "project", "model": "model", "name": "name"}, fixed=True),
        *(Column(one, one, csv=_csv(one)) for one in ENVIRONMENTS),
    ),
    filters=(
        Filter("q", "Model", _named, kind="search"),
        Filter("drift", "Drift only", _same, kind="flag"),
        Filter("against", "Compare to", _same, choices=AGAINST, every="Compare to prod"),
    ),
    sort="model",
    file="environments",
)


@require_GET
def environment_list(request: PortalRequest) -> HttpResponseBase:
    """What runs of each model in dev, staging and prod. A framed cell differs from prod, or from its neighbour."""
    require_anywhere(request.principal, "inspect", Endpoint)
    asked = listing.read(request, MATRIX)
    against = asked.values.get("against") or "prod"
    found = reading.spots(request.principal, request.project)
    by_asset = _by_asset(found)
    keep = [pk for pk, group in by_asset.items() if any(one.out_of_step(against) for one in group)]
    rows = Asset.objects.filter(pk__in=keep if asked.values.get("drift") else list(by_asset))
    if asked.csv:
        return listing.csv_response(
            asked, rows, lambda part: [line for one in part for line in _file(one, by_asset, against)]
        )
    shown = listing.find(asked, rows)
    lines = [line for asset in shown.rows for line in _lines(asset, by_asset[asset.pk], against)]
    context = {
        "crumbs": [("Capacity", reverse("capacity")), ("Environments", "")],
        "tabs": tabs(request, "environment_list"),
        "tabs_label": "Capacity",
        "rows": lines,
        "environments": ENVIRONMENTS,
        "stats": _stats(by_asset, against),
        "out": sum(one.out_of_step(against) for group in by_asset.values() for one in group),
        "clusters": [_cluster(one) for one in reading.cluster_lines(request.principal, found)],
        "views": saved_views.menu(request.principal, asked),
        "may_request": can_anywhere(request.principal, "request", Project),
    }
    return shown.render("approvals/environments/list.html", context)


def _by_asset(found: Sequence[Spot]) -> dict[int, list[Strand]]:
    groups: dict[int, list[Spot]] = {}
    for spot in found:
        groups.setdefault(spot.asset, []).append(spot)
    return {pk: strands(group) for pk, group in groups.items()}


def _stats(by_asset: Mapping[int, Sequence[Strand]], against: str) -> list[dict[str, Any]]:
    """Return the numbers above the matrix."""
    every = [strand for group in by_asset.values() for strand in group]
    marks = [(strand.spots[name], what) for strand in every for name, what in strand.differs(against).items()]
    differ = sum(bool(what) for _, what in marks)
    changed = [spot for spot, _ in marks if spot.drift]
    planned = sum(bool(what) and bool(spot.planned) for spot, what in marks)
    since = min((spot.drift_since for spot in changed if spot.drift_since), default=None)
    oldest = duration_h((timezone.now() - since).total_seconds()) if since else "–"
    step = sum(not what and not spot.drift for spot, what in marks)
    return [
        {"label": "In step", "value": f"{step:,} of {len(marks):,}", "scope": "endpoints", "bad": False},
        {"label": "Not the same", "value": f"{differ:,}", "scope": f"{planned:,} asked for already", "bad": False},
        {"label": "Changed by hand", "value": f"{len(changed):,}", "scope": "in their clusters", "bad": bool(changed)},
        {"label": "Oldest change", "value": oldest, "scope": "by hand, still there", "bad": bool(changed)},
    ]  # fmt: skip


def _lines(asset: Asset, group: Sequence[Strand], against: str) -> list[dict[str, Any]]:
    """Return the rows of a model, those first that differ where there are more than a page can show."""
    if len(group) <= MOST_ROWS:
        return [_line(asset, strand, against) for strand in group]
    first = sorted(group, key=lambda strand: not strand.out_of_step(against))[:MOST_ROWS]
    rest = {"model": asset.name, "more": len(group) - MOST_ROWS}
    return [*(_line(asset, strand, against) for strand in first), rest]


def _line(asset: Asset, strand: Strand, against: str) -> dict[str, Any]:
    """Return a row of the matrix."""
    differs = strand.differs(against)
    return {
        "model": asset.name, "url": reverse("catalog_detail", args=[asset.slug]), "project": strand.project,
        "name": strand.name,
        "cells": [
            {"environment": one, **(_cell(strand, strand.spots[one], differs[one]) if one in strand.spots else {})}
            for one in ENVIRONMENTS
        ],
    }  # fmt: skip


def _cell(strand: Strand, spot: Spot, differs: Sequence[str]) -> dict[str, Any]:
    place = ENVIRONMENTS.index(spot.environment)
    to = next((one for one in ENVIRONMENTS[place + 1 :]), "")
    ahead = to and (to not in strand.spots or any(
        spot.facets.get(name) != strand.spots[to].facets.get(name) for name in ("revision", "image", "arguments")
    ))  # fmt: skip
    return {
        "spot": spot, "url": reverse("endpoint_detail", args=[spot.pk]),
        "phase": cells.PHASES[Phase(spot.phase)][0], "phase_label": Phase(spot.phase).label,
        "facts": [(name, label, spot.words.get(name, ""), name in differs) for name, label in FACETS.items()],
        "differs": [FACETS[name] for name in differs], "framed": bool(differs) or bool(spot.drift),
        "planned_url": reverse("request_detail", args=[spot.planned]) if spot.planned else "",
        "drift_url": reverse("endpoint_drift", args=[spot.pk]) if spot.drift else "",
        "promote_url": f"{reverse('endpoint_promote', args=[spot.pk])}?to={to}" if ahead else "", "promote_to": to,
    }  # fmt: skip


def _file(asset: Asset, by_asset: Mapping[int, Sequence[Strand]], against: str) -> list[dict[str, Any]]:
    """Return the lines of the file for one model."""
    lines = []
    for strand in by_asset[asset.pk]:
        line: dict[str, Any] = {"project": strand.project, "model": asset.slug, "name": strand.name}
        differs = strand.differs(against)
        for one in ENVIRONMENTS:
            spot = strand.spots.get(one)
            line |= {f"{one}_{name}": (spot.words.get(name, "") if spot else "") for name in FACETS}
            line |= {
                f"{one}_endpoint": spot.name if spot else "", f"{one}_cluster": spot.cluster if spot else "",
                f"{one}_revision": f"{spot.number} ({spot.words.get('revision', '')})" if spot else "",
                f"{one}_differs": ", ".join(FACETS[name] for name in differs.get(one, ())),
                f"{one}_changed_in_cluster": spot.drift if spot else "",
            }  # fmt: skip
        lines.append(line)
    return lines


def _cluster(one: reading.ClusterLine) -> dict[str, Any]:
    """Return a cluster as a row."""
    row = one.row
    compared = has_api(row)
    return {
        "name": row.name, "slug": row.slug, "url": reverse("cluster_detail", args=[row.slug]),
        "environments": [cells.environment_named(name) for name in row.environments],
        "paused": row.paused, "admission": ADMISSION.get(row.admission, row.admission) if compared else "–",
        "endpoints": one.endpoints, "drift": one.drift, "looked_at": one.looked_at, "problem": one.problem,
        "compared": compared, "drift_mode": "written again" if row.options.get("drift") == "revert" else "shown",
        "seen": row.last_seen_at,
    }  # fmt: skip
