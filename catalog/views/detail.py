"""One asset: overview, evidence, versions; for MCP servers the tools."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from django.conf import settings
from django.db.models import Prefetch
from django.http import HttpResponse
from django.urls import reverse
from django.views.decorators.http import require_GET

from catalog import cells, fit, proposing
from catalog.evidence.content import has_content
from catalog.holders import askable
from catalog.markdown import render
from catalog.models import (
    STATE_ORDER,
    Asset,
    Evidence,
    HardwareProfile,
    Kind,
    Version,
    VersionState,
    drift_of,
    is_asset_slug,
)
from catalog.views import evidence, history, life, tools
from catalog.views.access_cells import access_context
from portal.errors import GatehouseError, NotFound
from portal.http import page
from portal.templatetags.gatehouse import bytes_h
from projects.principal import PortalRequest

STOP_POLLING = 286  # of htmx: nothing moves any more
STATE_ALERTS = {
    VersionState.DEPRECATED: (
        "warning",
        "This version is deprecated: what runs goes on, new requests need another.",
    ),
    VersionState.RETIRED: ("warning", "This version is retired and cannot be requested."),
    VersionState.BLOCKED: ("danger", "This version is blocked: nothing starts with it, and what runs on it must move."),
    VersionState.IN_REVIEW: ("info", "This version waits for its review and cannot be requested yet."),
    VersionState.DRAFT: ("info", "This version is a draft and cannot be requested yet."),
}


@require_GET
def catalog_detail(request: PortalRequest, slug: str) -> HttpResponse:
    """One asset by tabs."""
    return show(request, find(request, slug), request.GET.get("tab", "overview"))


def find(request: PortalRequest, slug: str) -> Asset:
    """Return an asset; raises NotFound, in the same words, where there is none and where it is not for the person."""
    visible = Asset.objects.visible_to(request.principal)
    asset = visible.filter(slug=slug).first() if is_asset_slug(slug) else None
    if asset is None:
        raise NotFound(f"There is no asset {slug[:40]} in the catalog, or you may not see it.")
    return asset


def show(
    request: PortalRequest,
    asset: Asset,
    tab: str,
    *,
    typed: Mapping[str, str] | None = None,
    error: GatehouseError | None = None,
    template: str = "catalog/detail.html",
    more: Mapping[str, Any] | None = None,
) -> HttpResponse:
    """Return the page of an asset with one tab open; `typed` is what a refused form held, and `error` why. A tab of a
    higher app gives its own `template` and what that needs `more`.
    """
    versions = list(
        Version.objects.visible_to(request.principal)
        .filter(asset_id=asset.pk)
        .select_related("successor__asset", "pin")
        .prefetch_related(Prefetch("evidence", queryset=Evidence.objects.defer("report")))
        .defer("pin__files", "pin__progress", "pin__drift")
    )
    for item in versions:
        item.asset = asset
    version = _chosen(request, versions)
    tabs = _tabs(asset, version, versions, tab)
    if not any(item["current"] for item in tabs):
        tab = "overview"
        tabs[0]["current"] = True
    context: dict[str, Any] = {
        "crumbs": [("Catalog", reverse("catalog_list")), (asset.name, "")],
        "tabs": tabs,
        "tabs_label": asset.name,
        "tab": tab,
        "asset": asset,
        "kind_chip": cells.kind_chip(asset.kind),
        "listed_chip": cells.listed_chip(asset),
        "description": render(asset.description),
        "versions": [_version_row(item, version) for item in versions],
    }
    if version is not None:
        context |= _version_context(request, asset, version)
    approved = any(item.approved_at is not None for item in versions)
    if proposing.may_change(request.principal, asset, approved=approved, shown=True):
        change = {"label": "Change the card", "url": reverse("catalog_change", args=[asset.slug])}
        context["menu"] = [change, *context.get("menu", [])]
    context |= tools.connect(request, asset)
    if tab == "access":
        context |= access_context(request.principal, asset, typed or {}, error)
    elif tab == "tools" and version is not None:
        context |= tools.tab(request, version)
    elif tab == "history":
        context |= history.tab(request.principal, asset, versions, request.GET.get("before", ""))
    elif tab == "evidence" and version is not None:
        context |= evidence.tab(request.principal, version)
    status = error.status if error else 200
    if getattr(request, "htmx", None) and tab == "evidence" and not context.get("busy"):
        status = STOP_POLLING
    return page(request, template, context | dict(more or {}), status=status)


def _chosen(request: PortalRequest, versions: list[Version]) -> Version | None:
    """Return the version that the address names, or the best one; raises NotFound for one that is not there."""
    name = request.GET.get("version", "")
    if not name:
        return min(versions, key=lambda item: STATE_ORDER.index(VersionState(item.state)), default=None)  # newest first
    for item in versions:
        if item.version == name:
            return item
    raise NotFound(f"There is no version {name[:40]} here, or you may not see it.")


def _tabs(asset: Asset, version: Version | None, versions: list[Version], tab: str) -> list[dict[str, Any]]:
    names = [("overview", "Overview", 0)]
    if version is not None:
        if asset.kind == Kind.MCP_SERVER:
            names.append(("tools", "Tools", tools.count(version)))
        names += [("evidence", "Evidence", 0), ("facts", "Facts", 0)]
    names += [("versions", "Versions", len(versions)), ("access", "Who may use it", 0), ("used", "Used by", 0)]
    names.append(("history", "History", 0))
    used = reverse("catalog_used", args=[asset.slug]) + (f"?version={version.version}" if version else "")
    return [
        {
            "label": label,
            "url": used if key == "used" else cells.detail_url(asset, version, key),
            "current": key == tab,
            "badge": badge,
        }
        for key, label, badge in names
    ]


def _version_row(version: Version, shown: Version | None) -> dict[str, Any]:
    """Return one line of the versions; each can be compared with the one that is shown."""
    other = shown if shown is not None and shown.pk != version.pk else None
    pair = urlencode([("v", cells.ticket(other)), ("v", cells.ticket(version))]) if other else ""
    return {
        "compare_url": f"{reverse('catalog_compare')}?{pair}" if pair else "",
        "compared": other.version if other else "",
        "name": version.version,
        "url": cells.detail_url(version.asset, version),
        "chip": cells.state_chip(version.state),
        "reason": version.state_reason,
        "digest": version.digest,
        "short_digest": f"{version.digest[7:13]}…{version.digest[-4:]}" if version.digest else "",
        "approved_at": version.approved_at,
        "created_at": version.created_at,
        "demo": cells.demo_chip(version),
    }


def _version_context(request: PortalRequest, asset: Asset, version: Version) -> dict[str, Any]:
    found = version.latest_evidence()
    verdicts = [item.verdict for item in found]
    may_request = asset.pk in askable(request.principal, [asset])
    successor = version.successor_for(request.principal)
    drifted = drift_of(version)
    context: dict[str, Any] = {
        "version": version,
        "state_chip": cells.state_chip(version.state),
        "demo_chip": cells.demo_chip(version),
        "state_alert": _state_alert(version),
        "menu": life.menu(request.principal, version),
        "submit_url": life.submit_url(request.principal, version),
        "compare_url": f"{reverse('catalog_list')}?{urlencode({'kind': asset.kind, 'v': cells.ticket(version)})}",
        "request_url": cells.request_url(version) if cells.requestable(version, may_request) and not drifted else "",
        "successor_url": cells.detail_url(successor.asset, successor) if successor else "",
        "judged": len(found),
        "passed": verdicts.count("pass"),
        "warned": verdicts.count("warn"),
        "failed": verdicts.count("fail"),
        "trust": cells.trust(version),
        "content": has_content(version),
        "facts": _facts(asset, version),
        "config_rows": _config_rows(version),
        "derived": list(version.facts.get("derived", {}).items()),
        "sources": list(version.facts.get("sources", {}).items()),
        "unverified": version.facts.get("unverified", []),
        "command": " ".join(version.runtime.get("command", [])),
        "alternatives": [
            (name, " ".join(item.get("command", [])), item.get("note", "")) for name, item in version.runtimes.items()
        ],
    }
    if version.needs:
        context |= _needs(request, version)
    return context


def _state_alert(version: Version) -> dict[str, Any] | None:
    """Return what somebody must know before using a version that is not simply approved. About a drift the tab
    “Evidence” says more.
    """
    said, drifted = STATE_ALERTS.get(VersionState(version.state)), drift_of(version)
    if drifted and said is None:
        return {"kind": "danger", "title": "The content of this version has drifted: nothing new of it is started.",
                "text": drifted, "drift": True}  # fmt: skip
    return {"kind": said[0], "title": said[1], "text": version.state_reason} if said else None


def _config_rows(version: Version) -> list[dict[str, Any]]:
    """Return the configuration excerpt; each value says how it was seen."""
    looks = {
        "": {"label": "seen", "colour": "grey", "icon": "", "kind": "outline"},
        "indirect": {"label": "indirect", "colour": "grey", "icon": "info", "kind": "outline"},
        "unverified": {"label": "not verified", "colour": "orange", "icon": "warn", "kind": "outline"},
    }
    marks = {name: mark for mark in ("indirect", "unverified") for name in version.facts.get(mark, [])}
    config = version.facts.get("config", {})
    return [
        {"name": name, "value": _shown(value), "chip": looks[marks.get(name, "")]} for name, value in config.items()
    ]


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {_shown(item)}" for name, item in value.items())
    if isinstance(value, list):
        return ", ".join(_shown(item) for item in value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:,}" if isinstance(value, int) else str(value)


def _facts(asset: Asset, version: Version) -> list[tuple[str, str, bool]]:
    """Return the side card: (name, value, whether it is something to copy)."""
    rows: list[tuple[str, str, bool]] = [
        ("Publisher", asset.publisher, False),
        ("Tasks", ", ".join(task.replace("-", " ") for task in asset.tasks), False),
        ("Languages", ", ".join(asset.languages), False),
    ]
    if version.needs:
        per_token = fit.kv_per_token(version.needs)
        parameters = [fit.parameters_text(int(version.needs["parameters"])), version.needs.get("dtype", "")]
        rows += [
            ("Parameters", ", ".join(part for part in parameters if part), False),
            ("Context", f"{int(version.needs['max_context_tokens']):,} tokens", False),
            ("KV cache", f"{bytes_h(per_token)} per token" if per_token else "none (encoder)", False),
        ]
    if asset.kind == Kind.MCP_SERVER:
        rows += [
            ("Transport", cells.transport(version), False),
            ("Sign-in", cells.sign_in(version), False),
            ("Registry name", version.facts.get("registry_name", ""), True),
        ]
    rows += [
        ("Engine", version.runtime.get("engine", ""), False),
        ("Licence", version.licence, False),
        ("Source", version.source, True),
        ("Digest", version.digest, True),
    ]
    return [row for row in rows if row[1]]


def _number(request: PortalRequest, name: str, default: int, most: int) -> tuple[int, str]:
    """Return a number of the address and "" or, for one out of bounds, the default and a sentence."""
    raw = request.GET.get(name, "")
    if not raw:
        return default, ""
    if raw.isascii() and raw.isdigit() and len(raw) <= 9 and 1 <= int(raw) <= most:
        return int(raw), ""
    return default, f"Give a whole number from 1 to {most:,}."


def _needs(request: PortalRequest, version: Version) -> dict[str, Any]:
    share = settings.GPU_MEMORY_UTILISATION
    most = int(version.needs["max_context_tokens"])
    context, wrong_context = _number(request, "context", min(fit.DEFAULT_CONTEXT, most), most)
    calls, wrong_calls = _number(request, "calls", fit.DEFAULT_CONCURRENCY, 10_000)
    profiles = list(HardwareProfile.objects.filter(enabled=True))
    fields = [
        _field("context", "Context, tokens per call", context, most, wrong_context),
        _field("calls", "Calls at the same time", calls, 10_000, wrong_calls),
    ]
    return {
        "fit_fields": fields,
        "fit_rows": cells.fit_rows(version, profiles, context, calls),
        "fit_plan": fit.memory(version.needs, profiles[0], context, calls, share) if profiles else None,
        "utilisation": round(share * 100),
    }


def _field(name: str, label: str, value: int, most: int, error: str) -> dict[str, Any]:
    bounds = {"min": 1, "max": most}
    return {"name": name, "label": label, "kind": "number", "value": value, "error": error, "attrs": bounds}
