"""REST API of the audit log. It stands here because `audit` imports no app and cannot ask for permission."""

import json
from collections.abc import Iterator

from django.http import HttpResponse, StreamingHttpResponse
from ninja import Router

from audit import services
from audit.models import Row, Subject
from portal.errors import Invalid
from portal.http import cursor_page
from projects.api import answer, scope
from projects.permissions import require_anywhere
from projects.principal import PortalRequest

router = Router(tags=["audit"])


@router.get("/audit", auth=scope("audit:read"))
def list_audit(
    request: PortalRequest,
    action: str = "",
    project: str = "",
    object_id: str = "",
    limit: int | None = None,
    cursor: str | None = None,
) -> HttpResponse:
    """Audit rows, newest first."""
    require_anywhere(request.principal, "view", Row)
    wanted = {"action": action, "project": project, "object_id": object_id}
    rows, following = cursor_page(
        Row.objects.filter(**{name: value[:80] for name, value in wanted.items() if value}),
        limit=limit,
        cursor=cursor,
        order=("-id",),
    )
    names = dict(Subject.objects.filter(key__in={row.actor for row in rows}).values_list("key", "name"))
    items = [
        {
            "id": row.pk,
            "at": row.at,
            "actor": row.actor,
            "actor_name": names.get(row.actor, ""),
            "via": row.via,
            "action": row.action,
            "object_kind": row.object_kind,
            "object_id": row.object_id,
            "project": row.project,
            "before": json.loads(row.before or "null"),
            "after": json.loads(row.after or "null"),
            "reason": row.reason,
            "request_id": row.request_id,
            "address": row.address,
        }
        for row in rows
    ]
    return answer(request, {"items": items, "next": following})


@router.get("/audit/export", auth=scope("audit:read"))
def export(request: PortalRequest, format: str = "jsonl") -> HttpResponse | StreamingHttpResponse:
    """The sealed chain as JSON lines: what `manage.py audit verify FILE` checks."""
    require_anywhere(request.principal, "view", Row)
    if format != "jsonl":
        raise Invalid.field("format", f"format is {format[:20]!r}; this release exports jsonl.")
    services.seal()
    return StreamingHttpResponse(_lines(), content_type="application/jsonl")


def _lines() -> Iterator[str]:
    for entry in services.export():
        yield json.dumps(entry, sort_keys=True, ensure_ascii=False) + "\n"
