"""What all pages of an endpoint share: crumbs, chips, tabs, the actions that the reader may do now."""

from typing import Any
from urllib.parse import urlencode

from django.urls import reverse

from endpoints import cells, promoting
from endpoints.models import Desired, Endpoint, Phase
from projects.models import ApiKey
from projects.permissions import can
from projects.principal import PortalRequest, Principal

TABS = (
    ("Overview", "endpoint_detail"),
    ("Usage", "endpoint_usage"),
    ("Revisions", "endpoint_revisions"),
    ("Rules", "endpoint_rules"),  # a page of the approvals: here only its name is known
    ("Drift", "endpoint_drift"),
    ("Manifests", "endpoint_manifests"),
    ("Events", "endpoint_events"),
    ("Logs", "endpoint_logs"),
    ("Settings", "endpoint_settings"),
)
SOON = 30  # days before the last day from which the page speaks of it


def ask_url(kind: str, row: Endpoint, **more: object) -> str:
    """Return the form of a request of `kind` about an endpoint; only the route's name is known here."""
    return f"{reverse('request_new')}?{urlencode({'kind': kind, 'endpoint': str(row.pk)} | more)}"


def alive(row: Endpoint) -> bool:
    """Whether it is not deleted and not to be."""
    return row.desired != Desired.DELETED and row.phase != Phase.DELETED


def allowed(principal: Principal, row: Endpoint) -> dict[str, bool]:
    """Return which actions the reader may do to the endpoint as it is now."""
    may = {verb: alive(row) and can(principal, verb, row) for verb in ("suspend", "resume", "retry", "delete")}
    may |= {verb: alive(row) and can(principal, verb, row) for verb in ("scale", "rollback", "transfer", "share")}
    return may | {
        "suspend": may["suspend"] and row.desired == Desired.RUNNING,
        "resume": may["resume"] and row.desired == Desired.SUSPENDED and not row.hold_reason,
        "retry": may["retry"] and row.desired == Desired.RUNNING and row.phase == Phase.FAILED,
        "key": alive(row) and can(principal, "create", row.project, model=ApiKey),
        "ask": alive(row) and can(principal, "request", row.project),
    }


def head(request: PortalRequest, row: Endpoint, current: str) -> dict[str, Any]:
    """Return the context of the head of a page; `current` is the label of its tab, "" for a page without one."""
    may = allowed(request.principal, row)
    menu: list[dict[str, Any]] = []
    if may["ask"]:
        menu.append({"label": "Ask for a new revision", "url": ask_url("revision", row)})
        if row.ends_on:
            menu.append({"label": "Renew", "url": ask_url("renewal", row)})
        if to := promoting.following(row.environment):
            menu.append({"label": f"Promote to {to}", "url": reverse("endpoint_promote", args=[row.pk])})
    menu.append({"label": f"Limits of {row.project.slug}", "url": limits_url(row)})
    if may["delete"]:
        menu.append({"label": "Delete", "url": reverse("endpoint_delete", args=[row.pk]), "danger": True})
    return {
        "endpoint": row,
        "crumbs": [
            ("Endpoints", reverse("endpoint_list")),
            (row.project.slug, reverse("project_detail", args=[row.project.slug])),
            (row.name, ""),
        ],
        "tabs_label": "Endpoint",
        "tabs": [
            {"label": label, "url": reverse(name, args=[row.pk]), "current": label == current} for label, name in TABS
        ],
        "chips": [cells.phase_chip(row), cells.environment_chip(row), *cells.truth_chips(row)],
        "lead": row.purpose or f"Owned by {row.project.slug}.",
        "may": may,
        "menu": menu,
    }


def limits_url(row: Endpoint) -> str:
    """Return the limits of a call to the endpoint."""
    return f"{reverse('limits', args=[row.project.slug])}?{urlencode({'endpoint': row.name})}"


def quota_url(row: Endpoint) -> str:
    """Return the form that asks for more tokens."""
    return f"{reverse('request_new')}?{urlencode({'kind': 'quota', 'project': row.project.slug})}"
