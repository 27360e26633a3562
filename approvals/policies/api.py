"""REST API of policies: what counts, what a bundle would change, and publishing it."""

from dataclasses import asdict
from typing import Any

from django.http import HttpResponse
from django.urls import reverse
from ninja import Field, Router

from approvals.envelopes.reading import modes
from approvals.models import EnvelopeMode, Preview, PreviewState, Publication
from approvals.policies import preview, publishing
from approvals.policies.active import active
from approvals.policies.bundle import MAX_FILES
from approvals.policies.hits import Counted, counted
from approvals.policies.rules import Envelope, Rule, StageRule
from portal.errors import NotFound
from projects.api import Body, answer, idempotent, scope
from projects.permissions import can_anywhere, visible
from projects.principal import PortalRequest

router = Router(tags=["policies"])

HISTORY = 50


class FilesIn(Body):
    """The files of a bundle: {path: text}."""

    files: dict[str, str] = Field(max_length=MAX_FILES)


class PublishIn(FilesIn):
    """A bundle, why it is published, and the digest of the bundle that it was written against."""

    reason: str = Field(max_length=8192)
    base: str = Field("", max_length=100)


class RollBackIn(Body):
    """Which publication's bundle is published again (0: the baseline that ships), why, and the digest of the one that
    is expected to count now.
    """

    number: int = Field(ge=0, lt=2**31)
    reason: str = Field(max_length=8192)
    base: str = Field("", max_length=100)


def publication_json(row: Publication) -> dict[str, Any]:
    """Return a publication as the API shows it; wants bundle and publisher selected."""
    return {
        "number": row.number,
        "version": row.version,
        "digest": row.bundle.digest,
        "rules": row.bundle.rules,
        "reason": row.reason,
        "rolled_back": row.rolled_back,
        "by": row.by.username if row.by else None,
        "at": row.at,
    }


def rule_json(rule: Rule, hits: Counted | None) -> dict[str, Any]:
    """Return a rule with its hits of the last 30 days; None: the reader may not know what happens in all projects."""
    return {
        "id": rule.id,
        "title": rule.title,
        "severity": rule.severity,
        "applies_to": rule.applies_to,
        "kinds": list(rule.kinds),
        "when": rule.when,
        "expression": rule.expression,
        "message": rule.message,
        "fix": rule.fix,
        "field": rule.field,
        "waivable": rule.waivable,
        "controls": rule.controls,
        "tests": len(rule.tests),
        "path": rule.path,
        "hits": asdict(hits.of(rule.id)) if hits is not None else None,
    }


def stage_json(stage: StageRule) -> dict[str, Any]:
    """Return a stage: who must decide when."""
    return {
        "id": stage.id,
        "name": stage.name,
        "when": stage.when,
        "reason": stage.reason,
        "roles": list(stage.roles),
        "count": stage.count,
        "order": stage.order,
        "human": stage.human,
        "escalate_after_hours": stage.escalate_after_hours,
        "escalate_to": list(stage.escalate_to),
        "path": stage.path,
    }


def envelope_json(envelope: Envelope) -> dict[str, Any]:
    """Return an envelope as its file says it; approvals/envelopes/reading.py says what it does."""
    return {
        "id": envelope.id,
        "title": envelope.title,
        "when": envelope.when,
        "kinds": list(envelope.kinds),
        "digest": envelope.digest,
        "path": envelope.path,
    }


def preview_json(request: PortalRequest, row: Preview) -> dict[str, Any]:
    """Return a preview; what would change stands in it as soon as it is done, for the objects that the caller sees."""
    done = row.state == PreviewState.DONE
    return {
        "id": row.pk,
        "state": row.state,
        "digest": row.digest,
        "against": row.against,
        "done": row.done,
        "total": row.total,
        "detail": row.sentence,
        "endpoints": row.result.get("endpoints"),
        "requests": row.result.get("requests"),
        "changed": row.result.get("changed"),
        "changes": preview.lines(request.principal, row) if done else [],
        "by": row.by.username if row.by else None,
        "created_at": row.created_at,
        "url": reverse("policy_preview", args=[row.pk]),
    }


@router.get("/policies", auth=scope("policies:read"))
def get_policies(request: PortalRequest, files: bool = False) -> HttpResponse:
    """The bundle that counts: rules, stages, envelopes, and the last publications. `files=true` adds the files
    themselves. Hits and agreement are counted over all projects: null for whoever does not run, govern or audit them.
    """
    reads = can_anywhere(request.principal, "view", EnvelopeMode)
    now, hits = active(), counted() if reads else None
    switched = {one["id"]: one for one in modes(now, numbers=reads)}
    rows = Publication.objects.select_related("bundle", "by").defer("bundle__files")[:HISTORY]
    body = {
        **now.json(),
        "number": now.number,
        "rules": [rule_json(rule, hits) for rule in now.bundle.rules],
        "stages": [stage_json(stage) for stage in now.bundle.stages or (now.bundle.default_stage,)],
        "envelopes": [envelope_json(one) | switched[one.id] for one in now.bundle.envelopes],
        "publications": [publication_json(row) for row in rows],
        **({"files": dict(now.bundle.files)} if files else {}),
    }
    return answer(request, body)


@router.post("/policies/preview", auth=scope("policies:write"))
@idempotent
def ask_preview(request: PortalRequest, body: FilesIn) -> HttpResponse:
    """Have it looked at what a bundle would change for live endpoints and the last requests. Answers at once; ask for
    the preview by its id until its state is done or failed.
    """
    made = preview.ask(request.principal, body.files)
    response = answer(request, preview_json(request, made), status=202)
    response["Location"] = f"/api/v1/policies/previews/{made.pk}"
    return response


@router.get("/policies/previews/{preview_id}", auth=scope("policies:read"))
def get_preview(request: PortalRequest, preview_id: int) -> HttpResponse:
    """How far a preview is, and what would change."""
    rows = visible(request.principal, Preview.objects.select_related("by").defer("files"))
    row = rows.filter(pk=preview_id).first() if abs(preview_id) < 2**63 else None
    if row is None:
        raise NotFound("There is no such preview, or you may not see it.")
    return answer(request, preview_json(request, row))


@router.post("/policies/publish", auth=scope("policies:write"))
@idempotent
def publish(request: PortalRequest, body: PublishIn) -> HttpResponse:
    """Publish a bundle whose own tests pass. With `base`, only over the bundle with that digest."""
    made = publishing.publish(request.principal, body.files, reason=body.reason, expected=body.base)
    return answer(request, publication_json(made), status=201)


@router.post("/policies/roll-back", auth=scope("policies:write"))
@idempotent
def roll_back(request: PortalRequest, body: RollBackIn) -> HttpResponse:
    """Publish the bundle of an earlier publication again."""
    made = publishing.roll_back(request.principal, body.number, reason=body.reason, expected=body.base)
    return answer(request, publication_json(made), status=201)
