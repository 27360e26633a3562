"""Up to three versions side by side."""

from collections.abc import Callable, Sequence
from typing import Any

from django.conf import settings
from django.db.models import Prefetch, Q
from django.http import HttpResponse
from django.urls import reverse
from django.views.decorators.http import require_GET

from catalog import cells, fit
from catalog.evidence.licence import short_name
from catalog.holders import askable
from catalog.models import Evidence, HardwareProfile, Kind, Tool, Version, is_asset_slug
from catalog.search import MOST_COMPARED
from catalog.views import contents
from portal.errors import Invalid, NotFound
from portal.http import page
from portal.templatetags.gatehouse import bytes_h, money
from projects.principal import PortalRequest

NONE = "–"
Cells = Sequence[dict[str, Any]]


@require_GET
def catalog_compare(request: PortalRequest) -> HttpResponse:
    """Compare the versions that the address names as v=slug@version."""
    names = list(dict.fromkeys(request.GET.getlist("v")))
    if len(names) > MOST_COMPARED:
        raise Invalid.field("v", f"{len(names)} versions are too many to compare; choose at most {MOST_COMPARED}.")
    versions = _versions(request, names)
    profiles = list(HardwareProfile.objects.filter(enabled=True)) if any(item.needs for item in versions) else []
    may = askable(request.principal, [item.asset for item in versions])
    groups = _groups(versions, profiles) if versions else []
    for row in (row for group in groups for row in group["rows"]):
        for item, cell in zip(versions, row["cells"], strict=True):
            cell["of"] = f"{item.asset.name} {item.version}"  # phones show it before the value
    differing = sum(row["differs"] for group in groups for row in group["rows"])
    context = {
        "crumbs": [("Home", reverse("home")), ("Catalog", reverse("catalog_list")), ("Compare", "")],
        "columns": [_column(item, names, item.asset_id in may) for item in versions],
        "groups": groups,
        "differing": differing,
        "alone": len(versions) == 1,
        "assumed": f"{fit.DEFAULT_CONTEXT:,} tokens × {fit.DEFAULT_CONCURRENCY} calls" if profiles else "",
        "catalog_url": reverse("catalog_list") + _address(names),
    }
    return page(request, "catalog/compare.html", context)


def _address(names: Sequence[str]) -> str:
    return f"?{'&'.join(f'v={name}' for name in names)}" if names else ""


def _versions(request: PortalRequest, names: list[str]) -> list[Version]:
    """Return the named versions in the order of the address; raises NotFound for one that the person may not see."""
    wanted = [(slug, version[:40]) for slug, _, version in (name.partition("@") for name in names)]
    known = Q(pk__in=[])
    for slug, version in wanted:
        if is_asset_slug(slug) and version:
            known |= Q(asset__slug=slug, version=version)
    found = Version.objects.visible_to(request.principal).filter(known) if names else Version.objects.none()
    found = found.select_related("asset", "pin").prefetch_related(
        Prefetch("evidence", queryset=Evidence.objects.defer("report")),
        Prefetch("tools", queryset=Tool.objects.defer("definition")),
    )
    by_name = {(item.asset.slug, item.version): item for item in found}
    for name, pair in zip(names, wanted, strict=True):
        if pair not in by_name:
            raise NotFound(
                f"There is no version {name[:80]} in the catalog, or you may not see it. Write slug@version."
            )
    return [by_name[pair] for pair in wanted]


def _column(version: Version, names: list[str], may_request: bool) -> dict[str, Any]:
    rest = [name for name in names if name != cells.ticket(version)]
    return {
        "name": version.asset.name,
        "version": version.version,
        "url": cells.detail_url(version.asset, version),
        "chip": cells.state_chip(version.state, version.state_reason),
        "request_url": cells.request_url(version) if cells.requestable(version, may_request) else "",
        "remove_url": reverse("catalog_compare") + _address(rest),
    }


def _groups(versions: list[Version], profiles: list[HardwareProfile]) -> list[dict[str, Any]]:
    """Return the table by groups; a row that is empty for every version is left out."""
    groups = [
        ("What it is", _facts(versions)),
        ("How it is started", contents.runtime(versions, _row)),
        ("What was checked", _evidence(versions)),
        ("What is pinned", contents.pins(versions, _row)),
        ("Files that differ", contents.files(versions, _row)),
    ]
    if profiles:
        groups += [
            ("Memory of one replica", _memory(versions, profiles)),
            ("Price of one replica a month", _prices(versions, profiles)),
        ]
    if any(item.asset.kind == Kind.MCP_SERVER for item in versions):
        groups.append(("As an MCP server", _server(versions)))
    rows = [
        (title, [row for row in found if any(cell["text"] != NONE for cell in row["cells"])]) for title, found in groups
    ]
    return [{"title": title, "rows": found} for title, found in rows if found]


def _row(label: str, found: Sequence[dict[str, Any] | str], versions: int) -> dict[str, Any]:
    shown = [cell if isinstance(cell, dict) else {"text": cell or NONE} for cell in found]
    return {"label": label, "cells": shown, "differs": versions > 1 and len({cell["text"] for cell in shown}) > 1}


def _table(versions: list[Version], lines: Sequence[tuple[str, Callable[[Version], str]]]) -> list[dict[str, Any]]:
    return [_row(label, [read(version) for version in versions], len(versions)) for label, read in lines]


def _facts(versions: list[Version]) -> list[dict[str, Any]]:
    def needs(read: Callable[[dict[str, Any]], str]) -> Callable[[Version], str]:
        return lambda version: read(version.needs) if version.needs else ""

    return _table(
        versions,
        [
            ("Kind", lambda version: Kind(version.asset.kind).label),
            ("Publisher", lambda version: version.asset.publisher),
            ("Tasks", lambda version: ", ".join(task.replace("-", " ") for task in version.asset.tasks)),
            ("Languages", lambda version: ", ".join(version.asset.languages)),
            ("Licence", lambda version: short_name(version.licence)),
            ("Parameters", needs(lambda need: fit.parameters_text(int(need["parameters"])))),
            ("Precision", needs(lambda need: str(need.get("dtype") or f"{need['bytes_per_parameter']} bytes"))),
            ("Longest context", needs(lambda need: f"{int(need['max_context_tokens']):,} tokens")),
            ("KV cache per token", needs(_kv)),
            ("Engine", lambda version: str(version.runtime.get("engine", ""))),
        ],
    )


def _kv(needs: dict[str, Any]) -> str:
    size = fit.kv_per_token(needs)
    return bytes_h(size) if size else "none (encoder)"


def _evidence(versions: list[Version]) -> list[dict[str, Any]]:
    latest = [{item.kind: item for item in version.latest_evidence()} for version in versions]
    kinds = sorted({kind for found in latest for kind in found})
    return [
        _row(
            cells.title(kind),
            [
                {"text": found[kind].get_verdict_display(), "chip": cells.verdict_chip(found[kind].verdict),
                 "note": found[kind].summary}
                if kind in found else {"text": "not checked"}
                for found in latest
            ],
            len(versions),
        )
        for kind in kinds
    ]  # fmt: skip


def _plan(version: Version, profile: HardwareProfile) -> fit.MemoryPlan | None:
    if not version.needs:
        return None
    context = min(fit.DEFAULT_CONTEXT, int(version.needs["max_context_tokens"]))
    return fit.memory(version.needs, profile, context, fit.DEFAULT_CONCURRENCY, settings.GPU_MEMORY_UTILISATION)


def _memory(versions: list[Version], profiles: list[HardwareProfile]) -> list[dict[str, Any]]:
    needed = [
        bytes_h(plan.needed) if (plan := _plan(version, profiles[0])) is not None else NONE for version in versions
    ]
    rows = [_row("Needed", needed, len(versions))]
    for profile in profiles:
        plans = [_plan(version, profile) for version in versions]
        rows.append(_row(profile.name, [_verdict(plan) for plan in plans], len(versions)))
    return rows


def _verdict(plan: fit.MemoryPlan | None) -> dict[str, Any]:
    if plan is None:
        return {"text": NONE}
    look = ("Fits", "green", "ok") if plan.fits else ("Does not fit", "red", "err")
    chip = {"label": look[0], "colour": look[1], "icon": look[2], "kind": "filled"}
    return {"text": look[0], "chip": chip, "note": f"{plan.share_percent} % of {bytes_h(plan.limit)}"}


def _prices(versions: list[Version], profiles: list[HardwareProfile]) -> list[dict[str, Any]]:
    """Return the price on the cheapest profile that fits: what one would pay at least."""

    def cheapest(version: Version) -> dict[str, Any]:
        if not version.needs:
            return {"text": NONE}
        fitting = [profile for profile in profiles if (plan := _plan(version, profile)) is not None and plan.ok]
        if not fitting:
            return {"text": "no profile fits"}
        profile = min(fitting, key=lambda item: (item.price_per_hour, item.order))
        price = money(profile.price_per_hour * settings.HOURS_PER_MONTH, profile.currency)
        return {"text": price, "note": f"on {profile.name}"}

    return [_row("Cheapest that fits", [cheapest(version) for version in versions], len(versions))]


def _server(versions: list[Version]) -> list[dict[str, Any]]:
    def tools(version: Version) -> dict[str, Any]:
        found = [tool["name"] for tool in version.facts.get("tools", [])]
        if version.asset.kind != Kind.MCP_SERVER:
            return {"text": NONE}
        return {"text": ", ".join(sorted(found)) or "none listed", "note": f"{len(found)} listed"}

    def serves(read: Callable[[Version], str]) -> Callable[[Version], str]:
        return lambda version: read(version) if version.asset.kind == Kind.MCP_SERVER else ""

    digests = contents.tools(versions, _row)
    lines = [("Transport", serves(cells.transport)), ("Sign-in", serves(cells.sign_in))]
    return [_row("Tools", [tools(version) for version in versions], len(versions)), *digests, *_table(versions, lines)]
