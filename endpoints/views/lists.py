"""The list of endpoints, and what can be done to many of them at once."""

import datetime as dt
from collections.abc import Sequence
from typing import Any

from django.db.models import Q, QuerySet
from django.http import HttpResponse
from django.http.response import HttpResponseBase
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_GET, require_POST

from endpoints import cells, numbers, services
from endpoints.away import last_seen
from endpoints.models import Desired, Endpoint, Environment, Phase
from portal import listing
from portal.http import page, uuid_or_none
from portal.listing import BulkAction, Column, Filter, Listing
from projects import saved_views
from projects.models import Project
from projects.permissions import can, can_anywhere, require_anywhere, visible
from projects.principal import PortalRequest


def _named(rows: QuerySet[Any], value: str, request: PortalRequest) -> QuerySet[Any]:
    model = Q(revision__version__asset__name__icontains=value)
    return rows.filter(Q(name__icontains=value) | Q(project__slug__icontains=value) | model)


def _ending(rows: QuerySet[Any], value: str, request: PortalRequest) -> QuerySet[Any]:
    last = timezone.now().date() + dt.timedelta(days=int(value))
    return rows.exclude(desired=Desired.DELETED).filter(ends_on__lte=last)


ENDPOINTS = Listing(
    route="endpoint_list",
    nouns=("endpoint", "endpoints"),
    columns=(
        Column("endpoint", "Endpoint", ("name", "project__slug"), {"endpoint": "name", "id": "id"}, fixed=True),
        Column("project", "Project", ("project__slug", "name"), {"project": "project"}, default=False),
        Column(
            "state",
            "State",
            ("phase", "name"),
            {"phase": "phase", "wanted": "desired", "reason": "sentence", "environment": "where"},
        ),
        Column(
            "model",
            "Model",
            ("revision__version__asset__name", "revision__version__version"),
            {"model": "model", "demo_engine": "demo"},
        ),
        Column(
            "hardware", "Runs on", ("revision__profile__name", "name"), {"hardware": "hardware", "replicas": "replicas"}
        ),
        Column("calls", "Calls", csv={"calls_24h": "requests"}, numeric=True),
        Column("tokens", "Tokens", csv={"tokens_24h": "tokens"}, numeric=True),
        Column("until", "Until", ("ends_on", "name"), {"ends_on": "ends_on"}),
        Column("contact", "Contact", ("contact__username", "name"), {"contact": "contact"}, default=False),
        Column("cluster", "Cluster", ("cluster__slug", "name"), {"cluster": "cluster"}, default=False),
        Column("created", "Created", ("created_at",), {"created_at": "created_at"}, default=False, first="descending"),
    ),
    filters=(
        Filter("q", "Name, project or model", _named, kind="search"),
        Filter(
            "phase",
            "State",
            lambda rows, value, request: rows.filter(phase=value),
            choices=[(value, str(label)) for value, label in Phase.choices],
            every="Every state",
        ),
        Filter(
            "environment",
            "Environment",
            lambda rows, value, request: rows.filter(environment=value),
            choices=[(value, str(label)) for value, label in Environment.choices],
            every="Every environment",
        ),
        Filter(
            "ends", "Ends", _ending, choices=[("14", "within 14 days"), ("30", "within 30 days")], every="Any last day"
        ),
    ),
    sort="endpoint",
    file="endpoints",
)
ACTIONS = (BulkAction("suspend", "Suspend", danger=True), BulkAction("resume", "Resume"))


@require_GET
def endpoint_list(request: PortalRequest) -> HttpResponseBase:
    """The endpoints that the person may see; deleted ones only when the state is asked for. The project comes from the
    switcher.
    """
    asked = listing.read(request, ENDPOINTS)
    rows = visible(request.principal, Endpoint.objects.all())
    if request.project is not None:
        rows = rows.filter(project=request.project)
    if "phase" not in asked.values:
        rows = rows.exclude(phase=Phase.DELETED)
    rows = rows.select_related("project", "cluster", "contact", "revision__version__asset", "revision__profile")

    def lines(found: Sequence[Endpoint]) -> list[dict[str, Any]]:
        calls = numbers.last_day([str(row.pk) for row in found])
        return [_line(request, row, calls.get(str(row.pk), numbers.Calls())) for row in found]

    if asked.csv:
        return listing.csv_response(asked, rows, lines)
    found = listing.find(asked, rows)
    operates = can_anywhere(request.principal, "suspend", Endpoint)
    context = {
        "rows": lines(found.rows),
        "views": saved_views.menu(request.principal, asked),
        "bulk": listing.bulk_bar(reverse("endpoint_bulk"), ACTIONS) if operates else None,
        "may_request": can_anywhere(request.principal, "request", Project),
        "crumbs": [("Home", reverse("home")), ("Endpoints", "")],
    }
    return found.render("endpoints/list.html", context)


def _line(request: PortalRequest, row: Endpoint, calls: numbers.Calls) -> dict[str, Any]:
    revision = row.revision
    return {
        "id": str(row.pk), "name": row.name, "project": row.project.slug,
        "url": reverse("endpoint_detail", args=[row.pk]),
        "tick": str(row.pk) if can(request.principal, "suspend", row) and row.phase != Phase.DELETED else "",
        "chip": cells.phase_chip(row), "sentence": last_seen(row) or row.reason_sentence,
        "environment": cells.environment_chip(row),
        "phase": row.phase, "desired": row.desired, "where": row.environment,
        "truth": cells.truth_chips(row), "demo": bool(revision and revision.runtime.get("demo")),
        "model": f"{revision.version.asset.name} {revision.version.version}" if revision else "–",
        "hardware": revision.profile.name if revision else "–", "replicas": revision.replicas if revision else 0,
        "requests": calls.requests, "tokens": calls.input_tokens + calls.output_tokens, "ends_on": row.ends_on,
        # Of an endpoint that is only shared with the reader, people stay its owners'.
        "contact": row.contact.username if row.contact and can(request.principal, "inspect", row) else "",
        "cluster": row.cluster.slug,
        "created_at": row.created_at,
    }  # fmt: skip


@require_POST
def endpoint_bulk(request: PortalRequest) -> HttpResponse:
    """Suspend or resume the ticked endpoints, each with an outcome of its own; suspending asks first."""
    require_anywhere(request.principal, "suspend", Endpoint)
    action, ids = listing.chosen_action(request, ACTIONS), listing.ticked(request)
    keys = [key for key in (uuid_or_none(text) for text in ids) if key is not None]
    found = visible(request.principal, Endpoint.objects.all()).filter(pk__in=keys).select_related("project", "revision")
    rows = {str(row.pk): row for row in found}
    if action.verb == "suspend":
        word = f"suspend {len(ids)}"
        if request.POST.get("confirm", "").strip() != word:
            return _confirm(request, ids, rows, word)

    def act(row: Endpoint) -> str:
        if action.verb == "suspend":
            services.suspend(request.principal, row)
            return "It is being suspended; calls are refused from now on."
        return f"It is being started. {services.resume(request.principal, row).reason_sentence}"

    outcomes = listing.perform(
        ids,
        rows,
        act,
        label=lambda row: f"{row.project.slug}/{row.name}",
        url=lambda row: reverse("endpoint_detail", args=[row.pk]),
        missing="There is no such endpoint, or you may not see it.",
    )
    context = {
        "crumbs": [("Endpoints", reverse("endpoint_list")), (action.label, "")],
        "results": listing.outcome_context(
            outcomes,
            title=f"{action.label} endpoints",
            back_url=listing.back_to(request, reverse("endpoint_list")),
            back_label="Back to the list",
        ),
    }
    return listing.outcome_page(request, context)


def _confirm(request: PortalRequest, ids: list[str], rows: dict[str, Endpoint], word: str) -> HttpResponse:
    """Say what suspending these endpoints affects, counted, before it happens."""
    calls = numbers.last_day(list(rows)).values()
    recent = sum(one.requests for one in calls)
    names = sorted(f"{row.project.slug}/{row.name}" for row in rows.values())
    back = listing.back_to(request, reverse("endpoint_list"))
    wrong = "confirm" in request.POST
    error = f"Type {word} exactly as it is written." if wrong else ""
    context = {
        "crumbs": [("Endpoints", reverse("endpoint_list")), ("Suspend", "")],
        "confirm": {
            "title": f"Suspend {len(ids)} endpoint{'s' if len(ids) != 1 else ''}?",
            "intro": "Calls are refused at once, the engines end, and accelerators go back to the pool. Resuming"
            " reserves them again, and waits where there is no room.",
            "effects": [
                {"count": f"{recent:,} calls", "text": " went through them in the last 24 hours"},
                *({"count": name, "text": ""} for name in names),
            ],
            "word": word,
            "action_url": reverse("endpoint_bulk"),
            "submit_label": "Suspend them",
            "cancel_url": back,
            "hidden": {"action": "suspend", "next": back},
            "ids": ids,
            "error": error,
        },
        "errors": [{"field": "confirm", "message": error}] if wrong else [],
    }
    return page(request, "_list_confirm_page.html", context, status=422 if wrong else 200)
