"""REST API of requests and decisions.

Bodies of requests are checked by approvals/bodies.py, so that the sentences are the same everywhere.
"""

import datetime as dt
from collections.abc import Mapping
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import QuerySet
from django.http import HttpResponse
from ninja import Body as JsonBody
from ninja import Router
from pydantic import Field, StrictInt

from approvals import interchange, reports, services
from approvals.bodies import BODIES
from approvals.models import Choice, Request, RequestKind, RequestState
from approvals.representation import requests_json, whole_json, with_all
from approvals.stages.reading import find, waiting_for
from approvals.timeline import timeline
from endpoints.reading import endpoint_or_404
from portal.errors import GatehouseError, Invalid, NotFound
from portal.http import cursor_page, require_match
from projects.api import Body, answer, idempotent, project_or_404, scope
from projects.models import is_slug
from projects.permissions import require, visible
from projects.principal import PortalRequest, Principal

router = Router(tags=["requests"])

MAX_BULK = 100


def _document(*, draft: bool) -> dict[str, Any]:
    """Return the OpenAPI part of a request body: one of the models that check it, by `kind`."""
    schemas = []
    for kind, model in BODIES.items():
        schema = model.model_json_schema()
        if kind != "endpoint":  # the one that a body without a kind means
            schema["required"] = ["kind"]
        if draft:
            schema["properties"]["draft"] = {
                "type": "boolean",
                "default": False,
                "description": "Keep it, do not send it.",
            }
        schemas.append(schema)
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": {"oneOf": schemas}}}}}


class DecisionIn(Body):
    """What a reviewer says; a reason is needed to reject and to ask for changes."""

    decision: str = Field(max_length=20, description="approve, reject or request_changes")
    reason: str = Field("", max_length=8192)


class OneDecisionIn(DecisionIn):
    """A decision on one request. `plan_digest`: the plan that was read; another one by now is 409 `plan_stale`."""

    plan_digest: str = Field("", max_length=80, description="To approve exactly this plan.")


class BulkIn(DecisionIn):
    """One decision on several requests, whatever their kinds."""

    ids: list[StrictInt] = Field(min_length=1, max_length=MAX_BULK)


class RenewIn(Body):
    """A later end date, and why."""

    ends_on: dt.date
    purpose: str = Field(max_length=8192)


class CommentIn(Body):
    """A remark."""

    text: str = Field(max_length=8192)


def request_or_404(principal: Principal, request_id: int) -> Request:
    """Return the request with all that is shown; raises NotFound when the caller may not see it."""
    found = find(principal, request_id, with_all)
    if found is None:
        raise NotFound(f"There is no request {request_id}, or you may not see it.")
    return found


def shown(request: PortalRequest, request_id: int, status: int = 200) -> HttpResponse:
    """Return the answer with the whole request, and with what its last submission changed."""
    return answer(request, whole_json(request.principal, request_or_404(request.principal, request_id)), status)


def _split(payload: Mapping[str, Any]) -> tuple[dict[str, Any], bool]:
    data = dict(payload)
    draft = data.pop("draft", False)
    if not isinstance(draft, bool):
        raise Invalid.field("draft", "draft must be true or false.")
    return data, draft


def _choice(value: str) -> Choice:
    if value not in Choice.values:
        raise Invalid.field("decision", f"decision is {value[:20]!r}; choose one of {', '.join(Choice.values)}.")
    return Choice(value)


@router.post("/requests/check", auth=scope("requests:read"), openapi_extra=_document(draft=False))
def check(request: PortalRequest, payload: JsonBody[dict[str, Any]]) -> HttpResponse:
    """The plan for a request body, without creating anything. Accept `application/sarif+json` or
    `application/junit+xml` for a report of its checks; `?path=` names the file that it is about.
    """
    kind = reports.wanted(request, *reports.WRITERS)
    if kind == reports.JSON:
        return answer(request, services.check(request.principal, interchange.body_of(payload)))
    try:
        plan = services.check(request.principal, interchange.body_of(payload))
    except Invalid as error:
        return reports.answered(reports.of_refusal(request, error), kind, error.status)
    return reports.answered(reports.of_plan(request, plan), kind)


@router.post("/requests", auth=scope("requests:write"), openapi_extra=_document(draft=True))
@idempotent
def create(request: PortalRequest, payload: JsonBody[dict[str, Any]]) -> HttpResponse:
    """Send a request, or keep it as a draft with `"draft": true`. Takes the YAML of a file, too."""
    data, draft = _split(interchange.body_of(payload))
    made = (services.draft if draft else services.send)(request.principal, data)
    return shown(request, made.pk, 201)


@router.post("/endpoints/{endpoint_id}/renew", auth=scope("requests:write"), tags=["endpoints"])
@idempotent
def renew(request: PortalRequest, endpoint_id: UUID, body: RenewIn) -> HttpResponse:
    """Ask for a later end date: sends a request of the kind renewal and answers with it. Somebody else decides."""
    endpoint = endpoint_or_404(request.principal, endpoint_id)
    require(request.principal, "request", endpoint.project)
    asked = {"kind": "renewal", "endpoint": str(endpoint.pk), "ends_on": body.ends_on, "purpose": body.purpose}
    made = services.send(request.principal, asked)
    return shown(request, made.pk, 201)


@router.get("/requests", auth=scope("requests:read"))
def list_requests(
    request: PortalRequest,
    state: str | None = None,
    project: str | None = None,
    kind: str | None = None,
    assigned: str | None = None,
    limit: int | None = None,
    cursor: str | None = None,
) -> HttpResponse:
    """The requests that the caller may see, newest first; `assigned=me`: those that wait for the caller."""
    principal: Principal = request.principal
    found: QuerySet[Request] = visible(principal, Request.objects.all())
    if assigned is not None:
        if assigned != "me":
            raise Invalid.field("assigned", "assigned takes the value me.")
        found = waiting_for(principal)
    for name, value, known in (("state", state, RequestState.values), ("kind", kind, RequestKind.values)):
        if value is not None and value not in known:
            raise Invalid.field(name, f"{name} is {value[:40]!r}; choose one of {', '.join(known)}.")
    if project is not None and not is_slug(project):
        raise NotFound(f"There is no project {project[:40]!r}, or you may not see it.")
    filters = {
        "state": state,
        "kind": kind,
        "project": project_or_404(principal, project) if project is not None else None,
    }
    found = found.filter(**{name: value for name, value in filters.items() if value is not None})
    rows, following = cursor_page(with_all(found), limit=limit, cursor=cursor, order=("-id",))
    return answer(request, {"items": requests_json(request.principal, rows), "next": following})


@router.post("/requests/decisions", auth=scope("approvals:decide"))
@idempotent
def decide_many(request: PortalRequest, body: BulkIn) -> HttpResponse:
    """One decision on up to 100 requests, each in its own transaction; one result per id."""
    choice = _choice(body.decision)
    # With an Idempotency-Key all of them are one transaction: two callers take the same locks in the same order.
    said = {item: _decide_one(request.principal, item, choice, body.reason) for item in sorted(set(body.ids))}
    return answer(request, {"items": [said[item] for item in dict.fromkeys(body.ids)]})


def _decide_one(principal: Principal, request_id: int, choice: Choice, reason: str) -> dict[str, Any]:
    try:
        decided = services.DECISIONS[choice](principal, request_or_404(principal, request_id), reason=reason)
    except GatehouseError as error:
        return {"id": request_id, "status": error.status, "code": error.code, "detail": error.sentence}
    return {"id": request_id, "status": 200, "state": decided.state}


@router.get("/requests/{request_id}", auth=scope("requests:read"))
def get_request(request: PortalRequest, request_id: int) -> HttpResponse:
    """One request with its plan, checks, stages and decisions. Accept `application/yaml` for a file that asks for the
    same.
    """
    if reports.wanted(request, reports.YAML) == reports.YAML:
        return interchange.answered(request_or_404(request.principal, request_id))
    return shown(request, request_id)


@router.patch("/requests/{request_id}", auth=scope("requests:write"), openapi_extra=_document(draft=False))
def change(request: PortalRequest, request_id: int, payload: JsonBody[dict[str, Any]]) -> HttpResponse:
    """Change fields of a draft, or of a request that was sent back; null empties a field. Needs If-Match."""
    with transaction.atomic():
        current = request_or_404(request.principal, request_id)
        Request.objects.select_for_update().get(pk=current.pk)
        current = request_or_404(request.principal, request_id)  # again, under the lock: the ETag must not age
        require_match(request, whole_json(request.principal, current))
        services.change(request.principal, current, {**current.body, **payload})
    return shown(request, request_id)


@router.post("/requests/{request_id}/submit", auth=scope("requests:write"))
@idempotent
def submit(request: PortalRequest, request_id: int) -> HttpResponse:
    """Send a draft, or send a changed request again; the plan is frozen."""
    services.submit(request.principal, request_or_404(request.principal, request_id))
    return shown(request, request_id)


@router.post("/requests/{request_id}/withdraw", auth=scope("requests:write"))
@idempotent
def withdraw(request: PortalRequest, request_id: int) -> HttpResponse:
    """Take a request back before it is decided."""
    services.withdraw(request.principal, request_or_404(request.principal, request_id))
    return shown(request, request_id)


@router.get("/requests/{request_id}/timeline", auth=scope("requests:read"))
def get_timeline(request: PortalRequest, request_id: int) -> HttpResponse:
    """What happened to a request and to its endpoint, oldest first."""
    entries = timeline(request_or_404(request.principal, request_id))
    return answer(request, {"items": [entry.json() for entry in entries], "next": None})


@router.post("/requests/{request_id}/comments", auth=scope("requests:write"))
@idempotent
def comment(request: PortalRequest, request_id: int, body: CommentIn) -> HttpResponse:
    """Add a remark."""
    made = services.comment(request.principal, request_or_404(request.principal, request_id), body.text)
    return answer(request, {"id": made.pk, "author": made.author.username, "text": made.text, "at": made.at}, 201)


@router.post("/requests/{request_id}/decisions", auth=scope("approvals:decide"))
@idempotent
def decide(request: PortalRequest, request_id: int, body: OneDecisionIn) -> HttpResponse:
    """Approve, reject or ask for changes."""
    current = request_or_404(request.principal, request_id)
    choice = _choice(body.decision)
    read = {"plan_digest": body.plan_digest} if choice == Choice.APPROVE else {}
    services.DECISIONS[choice](request.principal, current, reason=body.reason, **read)
    return shown(request, request_id)
