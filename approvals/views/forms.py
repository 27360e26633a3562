"""The request form with its live plan: one page for new requests, drafts and what was sent back.

It works without JavaScript: a button recalculates the plan.
"""

import datetime as dt
from collections.abc import Mapping
from typing import Any, cast

from django.contrib import messages
from django.db import transaction
from django.http import HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_http_methods

from approvals import plan as plans
from approvals import services
from approvals.bodies import (
    REQUIRED,
    EndpointBody,
    parse,
)
from approvals.models import DataClassification, Request, RequestState
from approvals.views import cells, choices
from approvals.views.choices import Offer
from approvals.views.fields import LABELS, fields
from approvals.views.requests import HELP, find
from catalog import fit
from endpoints.models import Endpoint, Phase
from portal.errors import Conflict, Forbidden, Invalid
from portal.http import page
from projects.models import Project
from projects.permissions import require_anywhere
from projects.principal import PortalRequest

PLAN_NEEDS = (
    "project",
    "asset",
    "version",
    "hardware_profile",
    "environment",
    "replicas",
    "concurrency",
    "context_tokens",
)
DEFAULT_DAYS = 90


@require_http_methods(["GET", "POST"])
def request_new(request: PortalRequest) -> HttpResponse:
    """Ask for an endpoint."""
    require_anywhere(request.principal, "request", Project)
    if request.method == "POST":
        return _posted(request, None)
    return _form(request, None, _prefilled(request))


@require_http_methods(["GET", "POST"])
def request_edit(request: PortalRequest, pk: int) -> HttpResponse:
    """Finish a draft, or change a request that was sent back."""
    current = find(request, pk, decisions=False)
    if current.requester_id != request.principal.person.pk:
        raise Forbidden(f"Only {current.requester.username}, who made {current}, may change it.")
    if current.state not in {RequestState.DRAFT, RequestState.CHANGES_REQUESTED}:
        raise Conflict(
            f"{current} is {current.get_state_display().lower()}; only a draft or a request sent back can be changed."
        )
    if request.method == "POST":
        return _posted(request, current)
    return _form(request, current, _text_of(current.body))


def _text_of(body: Mapping[str, Any]) -> dict[str, str]:
    return {name: "" if body.get(name) is None else str(body[name]) for name in LABELS}


def _prefilled(request: PortalRequest) -> dict[str, str]:
    """Return what a new form starts with: defaults, the address, or another request of the person (`?from=`)."""
    typed = dict.fromkeys(LABELS, "") | {
        "environment": "dev",
        "replicas": "1",
        "concurrency": str(fit.DEFAULT_CONCURRENCY),
        "context_tokens": str(fit.DEFAULT_CONTEXT),
        "data_classification": DataClassification.INTERNAL.value,
        "ends_on": (timezone.localdate() + dt.timedelta(days=DEFAULT_DAYS)).isoformat(),
        "project": request.project.slug if request.project else "",
    }
    source = request.GET.get("from", "")
    if source.isascii() and source.isdigit() and len(source) <= 18:
        typed |= {
            name: text
            for name, text in _text_of(find(request, int(source)).body).items()
            if name not in {"name", "ends_on"}
        }
    return typed | {name: request.GET[name][:40] for name in ("asset", "version") if name in request.GET}


def _posted(request: PortalRequest, current: Request | None) -> HttpResponse:
    """Save, send, or only calculate: the last one is what every change of a field asks for."""
    typed = {name: request.POST.get(name, "") for name in LABELS}
    action = request.POST.get("action", "plan")
    if action not in {"draft", "send"}:
        return _form(request, current, typed)
    data = {"kind": "endpoint"} | {name: text or None for name, text in typed.items()}
    try:
        made = _write(request, current, data, send=action == "send")
    except (Invalid, Conflict) as error:
        return _form(request, current, typed, error=error)
    if action == "send":
        messages.success(request, f"{made} is sent. {made.plan['reviews']['sentence']}")
    else:
        messages.success(request, f"{made} is saved as it stands; it is not sent.")
    return redirect("request_detail", pk=made.pk)


def _write(request: PortalRequest, current: Request | None, data: dict[str, Any], *, send: bool) -> Request:
    if current is None:
        return (services.send if send else services.draft)(request.principal, data)
    with transaction.atomic():
        changed = services.change(request.principal, current, data)
        return services.submit(request.principal, changed) if send else changed


def _form(
    request: PortalRequest, current: Request | None, typed: dict[str, str], *, error: Invalid | Conflict | None = None
) -> HttpResponse:
    offer = Offer.load(request.principal)
    values = choices.narrow(offer, typed)
    wrong = {name: _plain(name, text) for name, text in (error.fields if error else {}).items()}
    shown = fields(offer, values, wrong)
    back = current is not None and current.state == RequestState.CHANGES_REQUESTED
    context = {
        "crumbs": [("Requests", reverse("request_list")), (current.number if current else "New", "")],
        "help_text": HELP,
        "current": current,
        "chip": cells.state_chip(current.state if current else RequestState.DRAFT),
        "sent_back": _sent_back(current) if back and current else "",
        "action_url": reverse("request_edit", args=[current.pk]) if current else reverse("request_new"),
        "cancel_url": reverse("request_detail", args=[current.pk]) if current else reverse("request_list"),
        "errors": [
            {"field": name, "label": LABELS.get(name, name), "message": _short(name, text)}
            for name, text in wrong.items()
        ],
        "refused": error.sentence if error and not wrong else "",
        "fields": shown,
        "share": None if back else _share(offer, values),
        **_live(request, offer, values),
    }
    return page(request, "approvals/form.html", context, part="live", status=422 if error else 200)


def _sent_back(current: Request) -> str:
    last = current.decisions.select_related("reviewer").last()
    return f"{last.reviewer.username} asks for changes: {last.reason}" if last else ""


def _plain(name: str, sentence: str) -> str:
    """Return a sentence with the label that people read in the place of the field's name."""
    return f"{LABELS[name]}{sentence[len(name) :]}" if name in LABELS and sentence.startswith(f"{name} ") else sentence


def _short(name: str, sentence: str) -> str:
    """Return a sentence of `_plain` without its label, for the summary that names the field before it."""
    return sentence.removeprefix(f"{LABELS[name]} ") if name in LABELS else sentence


def _live(request: PortalRequest, offer: Offer, values: dict[str, str]) -> dict[str, Any]:
    """Return the plan for what is typed so far, or what is missing for one. Never an error: half a form is normal."""
    data: dict[str, Any] = {"kind": "endpoint"} | {name: text for name, text in values.items() if text}
    body, problems = _lenient(data)
    missing = [LABELS[name] for name in PLAN_NEEDS if getattr(body, name) is None and name not in problems]
    live: dict[str, Any] = {"plan": None, "missing": missing, "problems": [_plain(*item) for item in problems.items()]}
    if any(getattr(body, name) is None for name in PLAN_NEEDS):
        return live
    try:
        plan = plans.build(request.principal, body, resolved=offer.resolve(body))
    except Invalid as error:
        live["problems"] += [_plain(*item) for item in error.fields.items()]
        return live
    unknown = {name for name in ("name", "data_classification") if getattr(body, name) is None}
    plan["checks"] = [check for check in plan["checks"] if check["field"] not in unknown]
    profile = offer.profile(body.hardware_profile or "")
    live["plan"] = cells.plan_cells(plan, ends_on=values["ends_on"] if body.ends_on else None, profile=profile)
    live["ready"] = not problems and all(getattr(body, name) is not None for name in REQUIRED)
    return live


def _lenient(data: dict[str, Any]) -> tuple[EndpointBody, dict[str, str]]:
    """Return the body of the fields that are right, and what is wrong with the others."""
    problems: dict[str, str] = {}
    rest = data
    for _ in range(2):  # types are said first, bounds afterwards
        try:
            return cast(EndpointBody, parse(rest)), problems
        except Invalid as error:
            problems |= error.fields
        rest = {name: value for name, value in rest.items() if name not in problems}
    return cast(EndpointBody, parse(rest)), problems


def _share(offer: Offer, values: dict[str, str]) -> dict[str, str] | None:
    """Return a running endpoint of the same version in an own project: using it is the cheapest way (one query)."""
    version = offer.version(values.get("asset", ""), values.get("version", ""))
    if version is None or not offer.projects:
        return None
    found = Endpoint.objects.filter(project__in=offer.projects, phase=Phase.READY, revision__version=version)
    endpoint = found.select_related("project").order_by("project__slug", "name").first()
    if endpoint is None:
        return None
    name = f"{endpoint.project.slug}/{endpoint.name}"
    return {
        "title": "You may not need a new endpoint",
        "text": f"{name} runs this exact version in {endpoint.environment}. A key for it costs nothing extra.",
        "url": reverse("endpoint_detail", args=[endpoint.pk]),
        "label": f"Open {name}",
    }
