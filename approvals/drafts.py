"""Drafts: beginning one from another request, and ending those that nobody touches any more."""

import datetime as dt
from typing import Any

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from approvals.bodies import BODIES, MAX_DAYS
from approvals.models import Request, RequestKind, RequestState
from audit.services import record, system
from endpoints.models import Endpoint
from portal.errors import Conflict
from portal.states import move
from projects.models import Project
from projects.permissions import require, visible
from projects.principal import Principal

DEFAULT_DAYS, BATCH = 90, 500
MAX_NAME = 40


def clone(by: Principal, request: Request) -> dict[str, Any]:
    """Return the body of a new request like `request`, which the caller may see; nothing is written.

    A name is made free: scoring becomes scoring-2. An end date that has passed, or would be too soon, becomes as many
    days from today as were asked for then. A project in which the caller may not ask is left out. Raises NotFound,
    and Conflict for a request that was not made from a body (an admission).
    """
    require(by, "view", request)
    model = BODIES.get(request.kind)
    if model is None or request.kind == RequestKind.ADMISSION:
        raise Conflict(f"{request} is of the kind {request.kind}; it cannot be copied.", code="not_cloneable")
    body = {name: request.body.get(name) for name in model.model_fields} | {"kind": request.kind}
    body.pop("adopts", None)  # one object becomes one endpoint
    project = None
    if body.get("project"):
        project = visible(by, Project.objects.all(), "request").filter(slug=body["project"]).first()
        body["project"] = project.slug if project else None
    if body.get("name"):
        body["name"] = free_name(project, body["name"]) if project else body["name"]
    if body.get("ends_on"):
        body["ends_on"] = _later(request, dt.date.fromisoformat(body["ends_on"]))
    return body


def free_name(project: Project, name: str) -> str:
    """Return `name`, or the first of name-2, name-3 … that no endpoint of the project has or had (one query)."""
    stem, _, number = name.rpartition("-")
    base = stem if stem and number.isdigit() and len(number) < 4 else name
    taken = set(Endpoint.objects.filter(project=project, name__startswith=base[:32]).values_list("name", flat=True))
    candidate, count = name, 1
    while candidate in taken:
        count += 1
        candidate = f"{base[: MAX_NAME - len(str(count)) - 1].rstrip('-')}-{count}"
    return candidate


def _later(request: Request, ends_on: dt.date) -> str:
    today = timezone.now().date()
    if ends_on > today:
        return ends_on.isoformat()
    began = (request.submitted_at or request.created_at).date()
    days = (ends_on - began).days if ends_on > began else DEFAULT_DAYS
    return (today + dt.timedelta(days=min(days, MAX_DAYS))).isoformat()


def purge() -> int:
    """Let drafts expire that nobody touched for settings.DRAFT_DAYS, and return how many.

    In batches, so that no transaction is long; a draft that is sent or saved meanwhile is left alone.
    """
    before, count = timezone.now() - dt.timedelta(days=settings.DRAFT_DAYS), 0
    old = Request.objects.filter(state=RequestState.DRAFT, updated_at__lt=before).order_by("id")
    while batch := list(old.select_related("project")[:BATCH]):
        with transaction.atomic():
            count += sum(_expire(draft, before) for draft in batch)
    return count


def _expire(draft: Request, before: dt.datetime) -> bool:
    untouched = Request.objects.filter(pk=draft.pk, updated_at__lt=before)
    if not move(untouched, RequestState.DRAFT, RequestState.EXPIRED, updated_at=timezone.now()):
        return False
    record(
        "approvals.expire",
        by=system("approvals"),
        obj=draft,
        project=draft.project.slug if draft.project else "",
        before={"state": RequestState.DRAFT.value},
        after={"state": RequestState.EXPIRED.value},
        reason=f"Nobody touched the draft for {settings.DRAFT_DAYS} days.",
    )
    return True
