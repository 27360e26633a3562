"""Proposing: a new asset, a new version of one, a document about one."""

from collections.abc import Mapping
from typing import Any

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.views.decorators.http import require_http_methods

from catalog import attaching, cells, collecting, proposing, services
from catalog.api import version_or_404
from catalog.evidence.attachments import CHECKS
from catalog.models import Asset, Kind, Version
from catalog.views import proposal
from catalog.views.detail import find
from catalog.views.life import labelled
from portal.errors import Conflict, Forbidden, Invalid, RateLimited
from portal.http import page
from projects.principal import PortalRequest

Refusal = Invalid | Conflict | Forbidden
KINDS = {Kind.MODEL: "A model", Kind.MCP_SERVER: "An MCP server"}
ATTACHMENTS = {
    "signature": "Signature (OpenSSF model signing)",
    "ml-bom": "ML-BOM of the vendor (CycloneDX)",
    "scorecard": "OpenSSF Scorecard result",
    "provenance": "Provenance (SLSA, in-toto)",
    "performance": "Measured performance",
}


@require_http_methods(["GET", "POST"])
def catalog_propose(request: PortalRequest) -> HttpResponse:
    """Propose an asset with its first version; what is wrong stands at its field, and nothing typed is lost."""
    proposing.require_propose(request.principal)
    kind = request.POST.get("kind") or request.GET.get("kind") or Kind.MODEL.value
    if kind not in KINDS:
        raise Invalid.field("kind", f"kind is {kind[:20]!r}; choose one of {', '.join(KINDS)}.")
    form, error = proposal.blank(kind), None
    if request.method == "POST":
        form = proposal.typed(request.POST, kind, asset=True)
        try:
            asset = services.create_asset(request.principal, proposal.asset_spec(kind, form))
            return _proposed(request, asset, asset.versions.get())
        except (Invalid, Conflict) as refused:
            error = _at(refused, "slug" if refused.code == "name_taken" else "")
    tabs = [
        {"label": label, "url": f"{reverse('catalog_propose')}?kind={name}", "current": name == kind}
        for name, label in KINDS.items()
    ]
    frame = {
        "heading": "Propose an asset",
        "crumbs": [("Catalog", reverse("catalog_list")), ("Propose", "")],
        "tabs": tabs,
        "tabs_label": "What to propose",
        "cancel_url": reverse("catalog_list"),
    }  # fmt: skip
    return _form(request, kind, form, error, frame, asset=True)


@require_http_methods(["GET", "POST"])
def catalog_propose_version(request: PortalRequest, slug: str) -> HttpResponse:
    """Propose another version; the form begins with the last one."""
    asset = find(request, slug)
    proposing.require_propose(request.principal)
    kind, error = asset.kind, None
    if request.method == "POST":
        form = proposal.typed(request.POST, kind, asset=False)
        try:
            added = services.add_version(request.principal, asset, proposal.version_spec(asset, form))
            return _proposed(request, asset, added)
        except (Invalid, Conflict) as refused:
            field = "version" if kind == Kind.MODEL else "server_json"
            error = _at(refused, field if refused.code == "name_taken" else "")
    else:
        last = Version.objects.visible_to(request.principal).filter(asset_id=asset.pk).first()  # the newest
        if last is not None:
            last.asset = asset
        form = proposal.text_of(last) if last else proposal.blank(kind)
    back = cells.detail_url(asset)
    frame = {
        "heading": f"Propose a version of {asset.name}",
        "crumbs": [("Catalog", reverse("catalog_list")), (asset.name, back), ("Propose a version", "")],
        "cancel_url": back,
    }
    return _form(request, kind, form, error, frame, asset=False)


def _at(error: Invalid | Conflict, field: str) -> Refusal:
    """Return a refusal with its sentence at the field that would help."""
    return Invalid(error.sentence, fields={field: error.sentence}) if field else error


def _proposed(request: PortalRequest, asset: Asset, version: Version) -> HttpResponse:
    messages.success(
        request,
        f"{asset.name} {version.version} is proposed. Its evidence is collected now; send it to review when every "
        "check has come to a verdict.",
    )
    return redirect(cells.detail_url(asset, version, "evidence"))


def _form(
    request: PortalRequest, kind: str, form: Mapping[str, str], error: Refusal | None, frame: Mapping[str, Any],
    *, asset: bool,
) -> HttpResponse:  # fmt: skip
    wrong = proposal.placed(error).fields if isinstance(error, Invalid) and error.fields else {}
    context = {
        **frame,
        "kind": kind,
        "sections": proposal.sections(kind, form, wrong, asset=asset),
        "errors": [
            {"field": name, "message": text, "label": proposal.LABELS.get(name, "")} for name, text in wrong.items()
        ],
        "refused": error.sentence if error and not wrong else "",
        "action_url": request.get_full_path(),
    }
    return page(request, "catalog/propose.html", context, status=error.status if error else 200)


@require_http_methods(["GET", "POST"])
def catalog_attach(request: PortalRequest, slug: str, version: str) -> HttpResponse:
    """Add a document about a version: pasted, or as a file."""
    found = version_or_404(request.principal, slug, version)
    collecting.require_collect(request.principal, found)
    form = {name: request.POST.get(name, "")[: attaching.NAME * 4] for name in ("kind", "name")}
    content, wrong = request.POST.get("content", ""), {}
    if request.method == "POST":
        try:
            content, form["name"] = _uploaded(request, content, form["name"])
            made = attaching.attach(request.principal, found, form["kind"], form["name"], content)
            messages.success(request, f"{made.name} is added; the checks judge it.")
            return redirect(cells.detail_url(found.asset, found, "evidence"))
        except Invalid as error:
            wrong = error.fields
        except (Conflict, RateLimited) as error:
            wrong = {"content": error.sentence}
    back, fields = cells.detail_url(found.asset, found, "evidence"), _attach_fields(form, content, wrong)
    context = {
        "heading": f"Add a document about {found.asset.name} {found.version}",
        "crumbs": [("Catalog", reverse("catalog_list")), (found.asset.name, back), ("Add a document", "")],
        "fields": fields,
        "errors": labelled(wrong, fields),
        "action_url": request.path,
        "cancel_url": back,
    }
    return page(request, "catalog/attach.html", context, status=422 if wrong else 200)


def _uploaded(request: PortalRequest, content: str, name: str) -> tuple[str, str]:
    """Return what was pasted or uploaded, and its name; what is no UTF-8 is refused."""
    file = request.FILES.get("file")
    if file is None or isinstance(file, list):
        return content, name
    try:
        return file.read(1_000_001).decode(), name or (file.name or "")[: attaching.NAME]
    except UnicodeDecodeError as error:
        raise Invalid.field("content", "The file is not UTF-8 text. Add a JSON document.") from error


def _attach_fields(form: Mapping[str, str], content: str, wrong: Mapping[str, str]) -> list[dict[str, Any]]:
    kinds = [(name, ATTACHMENTS.get(name, name), False) for name in CHECKS]
    shown = content if len(content) <= proposal.LONGEST else ""
    return [
        {"name": "kind", "label": "What it is", "kind": "select", "choices": [("", "", False), *kinds],
         "value": form["kind"], "required": True, "error": wrong.get("kind", "")},
        {"name": "name", "label": "Name", "kind": "text", "value": form["name"], "required": False,
         "help": "How it is listed; empty: the name of the file.", "error": wrong.get("name", ""),
         "attrs": {"maxlength": attaching.NAME}},
        {"name": "content", "label": "JSON", "kind": "textarea", "value": shown, "required": False,
         "help": "Paste it, or choose a file below. At most 1 MB.", "error": wrong.get("content", ""),
         "attrs": {"rows": 12, "spellcheck": "false"}},
        {"name": "file", "label": "File", "kind": "file", "value": "", "required": False,
         "attrs": {"accept": ".json,.sig,application/json"}},
    ]  # fmt: skip
