"""REST API of the life of a version: looked at again, deprecated, retired. To submit and to block one stands higher up:
approvals/admission_api.py, endpoints/blocking_api.py.
"""

import datetime as dt
import json
from typing import Any

from django.http import HttpResponse
from ninja import Router
from pydantic import Field, JsonValue

from catalog import attaching, collecting, services
from catalog.api import READ, WRITE, version_json, version_or_404
from catalog.models import Attachment, Version
from catalog.models.assets import reviews
from portal.errors import Invalid, NotFound
from portal.http import cursor_page
from projects.api import Body, answer, idempotent, scope
from projects.permissions import require_anywhere
from projects.principal import PortalRequest, Principal

router = Router(tags=["catalog"])
VERSION = "/catalog/assets/{slug}/versions/{version}"


class AttachmentIn(Body):
    """A document about a version: JSON, as an object or as text."""

    kind: str = Field(max_length=20)
    name: str = Field(max_length=400)
    content: dict[str, JsonValue] | str


class ReasonIn(Body):
    """Why a version is retired."""

    reason: str = Field(default="", max_length=2000)


class DeprecateIn(ReasonIn):
    """What to move to: "asset@version", or the name of another version of the same asset; and when it is retired."""

    successor: str = Field(default="", max_length=81)
    retires_on: dt.date | None = None


class ReverifyIn(Body):
    """Which checks to make again; all of them when it is left out."""

    kinds: list[str] | None = Field(default=None, max_length=40)


@router.get(f"{VERSION}/jobs", auth=scope(READ))
def list_jobs(request: PortalRequest, slug: str, version: str) -> HttpResponse:
    """The checks of a version that workers run, and how far each is."""
    found = version_or_404(request.principal, slug, version)
    return answer(request, {"items": [line.json() for line in collecting.progress(found)], "next": None})


def attachment_json(item: Attachment, reader: Principal) -> dict[str, Any]:
    """Return a document as the API lists it, without its content. Who added it is for those who read the whole catalog,
    and for themselves.
    """
    person = item.added_by
    named = person is not None and (reviews(reader) or person == reader.user)
    return {
        "id": item.pk,
        "kind": item.kind,
        "name": item.name,
        "digest": item.digest,
        "added_by": person.username if person is not None and named else None,
        "added_at": item.added_at,
    }


@router.get(f"{VERSION}/attachments", auth=scope(READ))
def list_attachments(
    request: PortalRequest, slug: str, version: str, limit: int | None = None, cursor: str | None = None
) -> HttpResponse:
    """The documents that people added about a version, newest first."""
    found = version_or_404(request.principal, slug, version)
    rows = Attachment.objects.filter(version=found).defer("content").select_related("added_by")
    page, following = cursor_page(rows, limit=limit, cursor=cursor, order=("-id",))
    return answer(request, {"items": [attachment_json(row, request.principal) for row in page], "next": following})


@router.post(f"{VERSION}/attachments", auth=scope(WRITE))
@idempotent
def attach(request: PortalRequest, slug: str, version: str, body: AttachmentIn) -> HttpResponse:
    """Add a document: signature, ml-bom, scorecard, provenance or performance. The checks judge it."""
    found = version_or_404(request.principal, slug, version)
    content = body.content if isinstance(body.content, str) else json.dumps(body.content)
    made = attaching.attach(request.principal, found, body.kind, body.name, content)
    return answer(request, attachment_json(made, request.principal), status=201)


@router.post(f"{VERSION}/reverify", auth=scope(WRITE))
@idempotent
def reverify(request: PortalRequest, slug: str, version: str, body: ReverifyIn | None = None) -> HttpResponse:
    """Have the source compared with the pin, and the evidence collected again; 202 with the checks that wait."""
    found = version_or_404(request.principal, slug, version)
    collecting.want(request.principal, found, body.kinds if body else None)
    again = version_or_404(request.principal, slug, version)
    return answer(request, {"items": [line.json() for line in collecting.progress(again)], "next": None}, 202)


@router.post(f"{VERSION}/deprecate", auth=scope(WRITE))
@idempotent
def deprecate(request: PortalRequest, slug: str, version: str, body: DeprecateIn | None = None) -> HttpResponse:
    """Take an approved version out of the choice."""
    found = version_or_404(request.principal, slug, version)
    require_anywhere(request.principal, "deprecate", Version)  # before a successor is looked up
    given = body or DeprecateIn()
    successor = _successor(request, slug, given.successor)
    changed = services.deprecate(request.principal, found, successor, given.reason, given.retires_on)
    return answer(request, version_json(changed, full=True, reader=request.principal))


def _successor(request: PortalRequest, slug: str, name: str) -> Version | None:
    if not name:
        return None
    asset, _, version = name.rpartition("@")
    try:
        return version_or_404(request.principal, asset or slug, version)
    except NotFound as error:
        raise Invalid.field("successor", f"successor: {error.sentence}") from error


@router.post(f"{VERSION}/retire", auth=scope(WRITE))
@idempotent
def retire(request: PortalRequest, slug: str, version: str, body: ReasonIn | None = None) -> HttpResponse:
    """End a deprecated version."""
    found = version_or_404(request.principal, slug, version)
    changed = services.retire(request.principal, found, body.reason if body else "")
    return answer(request, version_json(changed, full=True, reader=request.principal))
