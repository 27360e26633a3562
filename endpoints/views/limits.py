"""Which limit binds me? The quotas of a project, how they stand, and the form to set them."""

from collections.abc import Mapping, Sequence
from typing import Any

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.utils.http import urlencode
from django.views.decorators.http import require_http_methods

from endpoints import limits as reading
from endpoints.views.limit_form import form, posted, problem_of
from portal.errors import GatehouseError
from portal.http import FormProblem, etag, page
from projects.api import project_or_404
from projects.models import ApiKey, Project
from projects.permissions import can, require
from projects.principal import PortalRequest
from projects.signin.recent import recently_proved
from quotas.bounds import Bound, bounds
from quotas.grants import document
from quotas.limits import Limit, applying, binding, overview
from quotas.models import Quota, QuotaKind

WARN_PERCENT = 80


@require_http_methods(["GET", "POST"])
@recently_proved(why="You change what a project may spend.")
def limits(request: PortalRequest, slug: str) -> HttpResponse:
    """The limits of a project, and which one a call to `?endpoint=` with `?key=` reaches first; POST sets quotas."""
    project = project_or_404(request.principal, slug)
    problem: FormProblem | None = None
    if request.method == "POST":
        require(request.principal, "change", project, model=Quota)
        body, places = posted(request.POST)
        try:
            said = reading.save_quotas(request.principal, project, body, request.POST.get("version", ""))
        except GatehouseError as error:
            problem = problem_of(error, places, request.POST)
        else:
            messages.success(request, "The quotas are saved. Gateways follow within a second.")
            for warning in said:
                messages.warning(request, warning)
            return redirect("limits", slug=slug)
    return page(request, "endpoints/limits.html", _context(request, project, problem),
                status=problem.status if problem else 200)  # fmt: skip


def _context(request: PortalRequest, project: Project, problem: FormProblem | None) -> dict[str, Any]:
    found = bounds(projects=[project.pk], kind=None)
    endpoints, keys = reading.living(project), reading.keys_of(project, found)
    known = reading.known(project, endpoints, keys)
    every = overview(project, found, known)
    chosen = {"endpoint": request.GET.get("endpoint", "")[:40], "key": request.GET.get("key", "")[:16]}
    key_id = next((str(key.pk) for key in keys if key.prefix == chosen["key"]), "")
    here = applying(every, endpoint_id=endpoints.get(chosen["endpoint"], ""), key_id=key_id)
    first = binding(limit for limit in here if limit.kind == QuotaKind.TOKENS)
    return {
        "crumbs": [
            ("Home", reverse("home")),
            ("Projects", reverse("project_list")),
            (project.slug, reverse("project_detail", args=[project.slug])),
            ("Limits", ""),
        ],
        "project": project,
        "asked": _asked(chosen, endpoints, keys),
        "binds": cell(first, keys) if first else None,
        "tokens": [cell(limit, keys) for limit in every if limit.kind == QuotaKind.TOKENS],
        "gpus": next((cell(limit, keys) for limit in every if limit.kind == QuotaKind.GPUS), None),
        "rooms": [_room(item) for item in (reading.pool_json(*one) for one in reading.pools(request.principal))],
        "more_url": f"{reverse('request_new')}?{urlencode({'kind': 'quota', 'project': project.slug})}"
        if can(request.principal, "request", project)
        else "",
        "form": _form(request, project, found, (endpoints, keys), problem),
    }  # fmt: skip


def _form(
    request: PortalRequest,
    project: Project,
    found: Sequence[Bound],
    choices: tuple[Mapping[str, str], Sequence[ApiKey]],
    problem: FormProblem | None,
) -> dict[str, Any] | None:
    """Return the form for who may use it."""
    if not can(request.principal, "change", project, model=Quota):
        return None
    endpoints, keys = choices
    now = document(found, reading.known(project, endpoints, keys))
    grants = can(request.principal, "grant", project, model=Quota)
    return form(now, list(endpoints), keys, grants=grants, problem=problem) | {"version": etag(now)}


def _asked(chosen: Mapping[str, str], endpoints: Mapping[str, str], keys: Sequence[ApiKey]) -> list[dict[str, Any]]:
    """Return the fields that choose a call."""
    return [
        {"name": "endpoint", "label": "Endpoint", "kind": "select", "value": chosen["endpoint"],
         "choices": [("", "any endpoint", False), *((name, name, False) for name in endpoints)],
         "attrs": {"data-autosubmit": True}},
        {"name": "key", "label": "Key", "kind": "select", "value": chosen["key"],
         "choices": [("", "any key", False), *((key.prefix, f"{key.name} ({key.prefix})", False) for key in keys)],
         "attrs": {"data-autosubmit": True}},
    ]  # fmt: skip


def cell(limit: Limit, keys: Sequence[ApiKey]) -> dict[str, Any]:
    """Return a limit as the page shows it."""
    names = {key.prefix: key.name for key in keys}
    warns = limit.percent >= WARN_PERCENT or (limit.soft is not None and limit.used >= limit.soft)
    tone = "bad" if limit.percent >= 100 and limit.refuses else "warn" if warns else ""
    number = limit.hard if limit.hard is not None else limit.soft
    return {
        "who": names.get(limit.target, limit.target) if limit.target_kind == "key" else limit.target,
        "context": f"key {limit.target}" if limit.target_kind == "key" else limit.target_kind,
        "window": {"day": "per day", "month": "per month"}.get(limit.window, ""),
        "used": limit.used,
        "limit": number,
        "soft": limit.soft,
        "hard": limit.hard,
        "left": limit.left,
        "percent": limit.percent,
        "bar_label": f"{limit.used:,} of {number:,} used",
        "mark": 100 * limit.soft / limit.hard if limit.soft is not None and limit.hard else None,
        "tone": tone,
        "resets_at": limit.resets_at,
        "raised_until": limit.raised_until,
        "binds": limit.binds,
        "sentence": limit.sentence,
        "kind": "danger" if tone == "bad" else "warning" if tone else "info",
    }


def _room(item: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "name": item["target"],
        "sentence": item["sentence"],
        "percent": item["percent"],
        "label": f"{item['used']} of {item['hard']} held",
        "tone": "warn" if not item["left"] else "",
    }
