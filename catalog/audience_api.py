"""REST API of the grants on assets. Whether an asset is for everyone is a field of the asset: catalog/api.py."""

import datetime as dt
from typing import Any

from django.http import HttpResponse
from ninja import Field, Router

from catalog import audience
from catalog.api import READ, WRITE, asset_or_404
from catalog.holders import HOLDERS, Grant, grants_seen, kind_of, last_day, name_of
from catalog.models import Asset
from portal.errors import Invalid, NotFound
from portal.http import clean_limit, cursor_page
from projects.api import Body, answer, idempotent, scope
from projects.permissions import require
from projects.principal import PortalRequest, Principal

router = Router(tags=["catalog"])
BIGGEST = 2**63 - 1


class GrantIn(Body):
    """Who gets it: one of project (short name), group and person (user name). `ends_on` is the last day, UTC; a person
    needs one.
    """

    project: str | None = Field(None, max_length=200)
    group: str | None = Field(None, max_length=200)
    person: str | None = Field(None, max_length=200)
    reason: str = Field("", max_length=2000)
    ends_on: dt.date | None = None


def grant_json(grant: Grant) -> dict[str, Any]:
    """Return a grant as the API shows it; wants holder and giver selected."""
    kind = kind_of(grant)
    return {
        "kind": kind,
        "id": grant.pk,
        kind: name_of(grant),
        "reason": grant.reason,
        "ends_on": last_day(grant),
        "granted_by": grant.granted_by.username if grant.granted_by else None,
        "created_at": grant.created_at,
    }


@router.get("/catalog/assets/{slug}/grants", auth=scope(READ))
def list_grants(request: PortalRequest, slug: str, limit: int | None = None, cursor: str | None = None) -> HttpResponse:
    """The grants on an asset that hold now: projects, groups, people, each newest first. Who neither reads the whole
    catalog nor gives grants finds those through which they see it themselves.
    """
    rows, following = _page(request.principal, asset_or_404(request.principal, slug), limit, cursor)
    return answer(request, {"items": [grant_json(row) for row in rows], "next": following})


def _page(principal: Principal, asset: Asset, limit: int | None, cursor: str | None) -> tuple[list[Any], str | None]:
    """Return one page over the three tables; a cursor names the table and the place in it."""
    size, kinds = clean_limit(limit), list(HOLDERS)
    kind, _, place = (cursor or f"{kinds[0]}.").partition(".")
    if kind not in kinds:
        raise Invalid.field("cursor", "cursor is not one that this list has given out. Start again without it.")
    found: list[Any] = []
    for name in kinds[kinds.index(kind) :]:
        rows = grants_seen(principal, asset, name)
        if len(found) == size:  # full; is there anything behind it?
            if rows.exists():
                return found, f"{name}."
            continue
        more, following = cursor_page(rows, limit=size - len(found), cursor=place, order=("-id",))
        found, place = found + more, ""
        if following:
            return found, f"{name}.{following}"
    return found, None


@router.post("/catalog/assets/{slug}/grants", auth=scope(WRITE))
@idempotent
def create_grant(request: PortalRequest, slug: str, body: GrantIn) -> HttpResponse:
    """Let a project, a group or a person see an asset that is not for everyone, and ask for it."""
    asset = asset_or_404(request.principal, slug)
    require(request.principal, "grant", asset)
    named = {kind: name for kind in HOLDERS if (name := getattr(body, kind)) is not None}
    if len(named) != 1:
        raise Invalid.field("project", "Name exactly one of project, group and person.")
    kind, name = next(iter(named.items()))
    made = audience.GRANTS[kind](request.principal, asset, name, reason=body.reason, ends_on=body.ends_on)
    return answer(request, grant_json(made), status=201)


@router.delete("/catalog/assets/{slug}/grants/{kind}/{grant_id}", auth=scope(WRITE))
def delete_grant(request: PortalRequest, slug: str, kind: str, grant_id: int) -> HttpResponse:
    """Take a grant away at once; what runs goes on."""
    asset = asset_or_404(request.principal, slug)
    require(request.principal, "grant", asset)
    audience.revoke(request.principal, find_grant(request.principal, asset, kind, grant_id))
    return HttpResponse(status=204)


def find_grant(principal: Principal, asset: Asset, kind: str, grant_id: int) -> Any:
    """Return a grant on `asset` that holds now; raises NotFound when there is none or the caller may not see it."""
    known = kind in HOLDERS and 0 < grant_id <= BIGGEST
    found = grants_seen(principal, asset, kind).filter(pk=grant_id).first() if known else None
    if found is None:
        raise NotFound(f"{asset.slug} has no such grant, or it has ended.")
    return found
