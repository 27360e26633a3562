"""Evidence of one version: the tab with every check, a page for each raw report, files, collecting again."""

import json
from collections.abc import Mapping
from typing import Any

from django.contrib import messages
from django.db.models import Prefetch, Q, prefetch_related_objects
from django.http import HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.views.decorators.http import require_GET, require_POST

from catalog import cells, collecting, evidence, standing
from catalog.api import version_or_404
from catalog.evidence.attachments import present
from catalog.evidence.content import has_content
from catalog.interchange import bom
from catalog.interchange.api import file_of
from catalog.models import Attachment, Evidence, Pin, PinState, Version, VersionState
from catalog.progress import FAILED, HELD, RUNNING, WAITING, Progress
from portal.errors import NotFound, RateLimited
from portal.http import page
from portal.listing import to_csv
from projects.principal import PortalRequest, Principal

SHOWN = 100_000  # characters of a raw report on a page; the file has all of them
EARLIER = 20  # findings of one kind on its page
FILES = 50  # files of a pin on the page
NAMES = 10  # files that an alert names
FIRST = ("pin", "signature", "files", "ml-bom", "licence", "upstream", "card", "fit")
PIN_LOOK = {
    PinState.PENDING: ("Being resolved", "blue", "progress"),
    PinState.RESOLVED: ("Pinned", "green", "ok"),
    PinState.FAILED: ("Not pinned", "red", "err"),
    PinState.DRIFTED: ("Drifted", "red", "warn"),
}
ENTERING = (VersionState.DRAFT, VersionState.IN_REVIEW, VersionState.BLOCKED)  # what somebody may still let in
JOB_LOOK = {
    RUNNING: ("progress", "blue"),
    WAITING: ("pending", "grey"),
    HELD: ("pending", "grey"),
    FAILED: ("warn", "orange"),
}


def tab(principal: Principal, version: Version) -> dict[str, Any]:
    """Return what the tab “Evidence” shows of `version`, with `evidence` prefetched and `pin` selected."""
    pin: Pin | None = getattr(version, "pin", None)
    if pin is not None:  # of this version only: the lists of files of all of them may be many megabytes
        pin.refresh_from_db(fields=["files", "progress", "drift"])
    documents = Prefetch("attachments", queryset=Attachment.objects.defer("content"))
    prefetch_related_objects([version], "jobs", documents)
    lines = collecting.progress(version)
    busy, may = collecting.moving(lines), collecting.may_collect(principal, version, shown=True)
    arguments = [version.asset.slug, version.version]
    return {
        "evidence": _rows(version, {line.kind: line for line in lines}, may),
        "may_collect": may,
        "busy": busy,
        "poll_url": cells.detail_url(version.asset, version, "evidence") if busy else "",
        "collect_url": reverse("catalog_collect", args=arguments),
        "reports_url": reverse("catalog_reports", args=arguments),
        "bom_url": reverse("catalog_ml_bom", args=arguments),
        "vendor_url": f"{reverse('catalog_ml_bom', args=arguments)}?source=vendor"
        if present(version, bom.KIND)
        else "",
        "problems": standing.problems(version) if version.state in ENTERING else [],
        "pin": _pin(version),
        "content": has_content(version),
    }


def _rows(version: Version, lines: Mapping[str, Progress], may: bool) -> list[cells.Cell]:
    """Return a line for each check that applies or has come to a finding, those that people look for first."""
    found = {item.kind: item for item in version.latest_evidence()}
    wanted = [*evidence.drivers(version, content=False), *evidence.drivers(version, content=True)]
    kinds = list(dict.fromkeys([*(driver.KIND for driver in wanted), *found]))
    pinned = standing.pinned(version)
    kinds.sort(key=lambda kind: FIRST.index(kind) if kind in FIRST else len(FIRST))
    applies = {driver.KIND for driver in wanted}
    return [
        cells.evidence_row(version, kind, found.get(kind), pinned)
        | {"job": _job(lines.get(kind), found.get(kind)), "again": may and kind in applies}
        for kind in kinds
    ]


def _job(line: Progress | None, found: Evidence | None) -> cells.Cell | None:
    """Return how far a worker is with a check, None where nothing is to be done and nothing was tried in vain."""
    look = JOB_LOOK.get(line.state) if line is not None else None
    if line is None or look is None or (line.state == HELD and found is not None):
        return None
    if found is not None and line.state == FAILED and line.sentence == found.summary:
        return None  # the finding says it already
    return {"label": line.sentence, "icon": look[0], "tone": look[1]}


def _pin(version: Version) -> cells.Cell | None:
    """Return the card of the pin; None where nothing is to be pinned and nothing is."""
    pin: Pin | None = getattr(version, "pin", None)
    if pin is None:
        return None
    label, colour, icon = PIN_LOOK[PinState(pin.state)]
    done = int(pin.progress.get("bytes", 0) or 0) if isinstance(pin.progress, dict) else 0
    total = int(pin.progress.get("of", 0) or 0) if isinstance(pin.progress, dict) else 0
    return {
        "chip": {"label": label, "colour": colour, "icon": icon, "kind": "filled"},
        "sentence": pin.sentence,
        "source": version.source,
        "revision": pin.revision,
        "digest": pin.digest,
        "bytes": pin.total_bytes,
        "count": len(pin.files),
        "files": pin.files[:FILES],
        "more": max(0, len(pin.files) - FILES),
        "files_url": reverse("catalog_files", args=[version.asset.slug, version.version]),
        "resolved_at": pin.resolved_at,
        "verified_at": pin.verified_at,
        "drifted_at": pin.drifted_at,
        "drifted": pin.state == PinState.DRIFTED,
        "drift": _drift(pin.drift) if pin.state == PinState.DRIFTED else [],
        "percent": round(100 * done / total) if pin.state == PinState.PENDING and total else None,
    }


def _drift(drift: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return what the source holds by now instead, as (what, names)."""
    said = [("The source stands for", str(drift["revision"]))] if drift.get("revision") else []
    for key, label in (("changed", "Changed"), ("missing", "Gone"), ("extra", "New")):
        names = [str(name) for name in drift.get(key) or []]
        if names:
            more = f" and {len(names) - NAMES:,} more" if len(names) > NAMES else ""
            said.append((label, ", ".join(names[:NAMES]) + more))
    return said


@require_GET
def catalog_report(request: PortalRequest, slug: str, version: str, report: str) -> HttpResponse:
    """The raw report of one check: the latest finding or, by `?id=`, an earlier one; `?format=json` answers a file."""
    found = version_or_404(request.principal, slug, version)
    findings = found.evidence.filter(kind=report[:20]) if report.isprintable() else found.evidence.none()
    wanted = request.GET.get("id", "")
    known = Q(pk=int(wanted)) if wanted.isascii() and wanted.isdigit() and len(wanted) <= 18 else Q()
    item = findings.filter(known).order_by("-collected_at", "-pk").first()
    if item is None or (wanted and not known):
        raise NotFound(f"There is no finding of that kind about {found.asset.name} {found.version}.")
    if request.GET.get("format") == "json":
        return _json_file(finding_json(item), f"{slug}-{version}-{item.kind}.json")
    text = json.dumps(item.report, indent=2, ensure_ascii=False, sort_keys=True)
    back = cells.detail_url(found.asset, found, "evidence")
    context = {
        "crumbs": [("Catalog", reverse("catalog_list")), (found.asset.name, back), (cells.title(item.kind), "")],
        "asset": found.asset,
        "version": found,
        "row": cells.evidence_row(found, item.kind, item, standing.pinned(found)),
        "content": item.content,
        "digest": item.digest,
        "report": text[:SHOWN],
        "cut": max(0, len(text) - SHOWN),
        "json_url": f"{request.path}?format=json&id={item.pk}",
        "back_url": back,
        "earlier": [_earlier(request.path, one, item) for one in _newest(findings)],
    }
    return page(request, "catalog/report.html", context)


def _newest(findings: Any) -> Any:
    return findings.defer("report").order_by("-collected_at", "-pk")[:EARLIER]


def _earlier(path: str, one: Evidence, shown: Evidence) -> cells.Cell:
    return {
        "url": f"{path}?id={one.pk}",
        "current": one.pk == shown.pk,
        "chip": cells.verdict_chip(one.verdict),
        "summary": one.summary,
        "at": one.collected_at,
    }


@require_GET
def catalog_reports(request: PortalRequest, slug: str, version: str) -> HttpResponse:
    """Every latest finding with its raw report, and the pin, as one file."""
    found = version_or_404(request.principal, slug, version)
    pin: Pin | None = getattr(found, "pin", None)
    body = {
        "asset": slug,
        "version": version,
        "state": found.state,
        "source": found.source,
        "specification": found.digest,
        "pin": {"state": pin.state, "revision": pin.revision, "content": pin.digest, "files": pin.files}
        if pin
        else None,
        "evidence": [finding_json(item) for item in found.latest_evidence()],
    }
    return _json_file(body, f"{slug}-{version}-evidence.json")


@require_GET
def catalog_files(request: PortalRequest, slug: str, version: str) -> HttpResponse:
    """The pinned files as CSV: path, bytes, SHA-256."""
    found = version_or_404(request.principal, slug, version)
    pin: Pin | None = getattr(found, "pin", None)
    if pin is None or not pin.digest:
        raise NotFound(f"No files of {found.asset.name} {found.version} are pinned.")
    response = HttpResponse(to_csv(pin.files, ("path", "bytes", "sha256")), content_type="text/csv; charset=utf-8")
    return _as_file(response, f"{slug}-{version}-files.csv")


@require_GET
def catalog_ml_bom(request: PortalRequest, slug: str, version: str) -> HttpResponse:
    """The ML-BOM of a version as a file; `?source=vendor` answers the publisher's own."""
    return file_of(version_or_404(request.principal, slug, version), request.GET.get("source", "generated"))


@require_POST
def catalog_collect(request: PortalRequest, slug: str, version: str) -> HttpResponse:
    """Have evidence collected again: the kinds that the form names, or everything."""
    found = version_or_404(request.principal, slug, version)
    kinds = request.POST.getlist("kind")[:20]
    try:
        collecting.want(request.principal, found, kinds or None)
    except RateLimited as error:
        messages.error(request, error.sentence)
        return redirect(cells.detail_url(found.asset, found, "evidence"))
    what = ", ".join(cells.title(kind).lower() for kind in kinds) if kinds else "All evidence"
    messages.success(request, f"{what[:1].upper()}{what[1:200]} is collected again; the page shows how far it is.")
    return redirect(cells.detail_url(found.asset, found, "evidence"))


def finding_json(item: Evidence) -> dict[str, Any]:
    """Return a finding with everything that is known of it."""
    names = ("kind", "verdict", "summary", "tool", "content", "digest", "collected_at", "expires_at", "report")
    return {name: getattr(item, name) for name in names}


def _json_file(body: Mapping[str, Any], name: str) -> HttpResponse:
    text = json.dumps(body, indent=2, sort_keys=True, ensure_ascii=False, default=_plain) + "\n"
    return _as_file(HttpResponse(text, content_type="application/json"), name)


def _plain(value: Any) -> str:
    return str(value.isoformat() if hasattr(value, "isoformat") else value)


def _as_file(response: HttpResponse, name: str) -> HttpResponse:
    response["Content-Disposition"] = f'attachment; filename="{name}"'
    response["Cache-Control"] = "no-store"
    return response
