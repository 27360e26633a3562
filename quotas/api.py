"""REST API of pools and usage."""

import base64
import datetime as dt
import json
from collections.abc import Mapping, Sequence

from django.db import transaction
from django.http import HttpResponse
from django.utils import timezone
from ninja import Query, Router, Schema
from pydantic import Field

from portal.errors import Invalid, NotFound
from portal.http import canonical, clean_limit, cursor_page, require_match
from portal.listing import to_csv
from projects.api import Bearer, Body, answer, idempotent, scope
from projects.permissions import require, require_scope, visible
from projects.principal import PortalRequest, Principal
from quotas import pools, services, shares
from quotas import usage as ledger
from quotas.models import Pool

router = Router(tags=["usage"])

DEFAULT_RANGE = {"hour": 1, "day": 7, "month": 365}  # days back from `to` when `from` is left out


class ShareIn(Body):
    """What is agreed with a project about a pool: a nominal number of accelerators, or a weight (default 1)."""

    project: str = Field(max_length=60)
    weight: int | None = None
    nominal: int | None = None
    borrowing_limit: int | None = None


class PoolIn(Body):
    """A new pool."""

    slug: str = Field(max_length=40)
    name: str = Field(max_length=400)
    cluster: str = Field(max_length=40)
    limit: int
    observed: int | None = None
    simulated: bool = False
    profiles: list[str] = Field(default_factory=list, max_length=200)
    from_nodes: bool = True
    give_back: str = Field("not-prod", max_length=20)
    grace_hours: int = 24
    shares: list[ShareIn] = Field(default_factory=list, max_length=500)


class PoolPatch(Body):
    """Fields of a pool that may change."""

    name: str | None = Field(None, max_length=400)
    cluster: str | None = Field(None, max_length=40)
    limit: int | None = None
    observed: int | None = None
    simulated: bool | None = None
    profiles: list[str] | None = Field(None, max_length=200)
    from_nodes: bool | None = None
    give_back: str | None = Field(None, max_length=20)
    grace_hours: int | None = None
    shares: list[ShareIn] | None = Field(None, max_length=500)


class UsageQuery(Schema):
    """What to sum up, and how."""

    project: str | None = Field(None, max_length=40)
    endpoint: str | None = Field(None, max_length=63)
    key: str | None = Field(None, max_length=36)
    person: str | None = Field(None, max_length=150)
    since: str | None = Field(None, alias="from", max_length=64)
    until: str | None = Field(None, alias="to", max_length=64)
    interval: str = Field("day", max_length=64)
    group_by: list[str] = Field(default_factory=list, max_length=20)
    format: str | None = Field(None, max_length=16)
    limit: int | None = None
    cursor: str | None = Field(None, max_length=1000)


def pool_json(pool: Pool, room: services.Room, more: Mapping[str, object]) -> dict[str, object]:
    """Return a pool as the API shows it; `more` is what `shares.seen` says of it."""
    return pools.facts(pool) | {
        "limit": room.limit,
        "observed": room.observed,
        "held": room.held,
        "waiting": room.waiting,
        "available": room.available,
        **more,
    }


def _json(principal: Principal, pool: Pool) -> dict[str, object]:
    return pool_json(pool, services.room(pool), shares.seen(principal, [pool])[pool.pk])


def _pool(principal: Principal, slug: str) -> Pool:
    pool: Pool | None = visible(principal, Pool.objects.prefetch_related("profiles")).filter(slug=slug[:40]).first()
    if pool is None:
        raise NotFound(f"There is no pool {slug[:40]}.")
    return pool


def _require_reading(principal: Principal) -> None:
    """Pools say what can be asked for (catalog:read) and what is used (usage:read): either scope will do."""
    if principal.scopes is None or not principal.scopes & {"usage:read", "catalog:read", "admin"}:
        require_scope(principal, "usage:read")


@router.get("/pools", auth=Bearer())
def list_pools(request: PortalRequest, limit: int | None = None, cursor: str | None = None) -> HttpResponse:
    """The pools with what is left of them. Needs usage:read or catalog:read."""
    _require_reading(request.principal)
    found = visible(request.principal, Pool.objects.prefetch_related("profiles"))
    rows, following = cursor_page(found, limit=limit, cursor=cursor, order=("slug",))
    left, more = services.rooms(rows), shares.seen(request.principal, rows)
    items = [pool_json(row, left[row.pk], more[row.pk]) for row in rows]
    return answer(request, {"items": items, "next": following})


@router.get("/pools/{slug}", auth=Bearer())
def get_pool(request: PortalRequest, slug: str) -> HttpResponse:
    """One pool."""
    _require_reading(request.principal)
    return answer(request, _json(request.principal, _pool(request.principal, slug)))


@router.post("/pools", auth=scope("admin"))
@idempotent
def create_pool(request: PortalRequest, body: PoolIn) -> HttpResponse:
    """Create a pool (platform engineers)."""
    fields = {name: value for name, value in body.model_dump().items() if value is not None}
    pool = pools.create_pool(request.principal, **fields)
    return answer(request, _json(request.principal, pool), status=201)


@router.patch("/pools/{slug}", auth=scope("admin"))
def change_pool(request: PortalRequest, slug: str, body: PoolPatch) -> HttpResponse:
    """Change a pool (platform engineers); needs If-Match. What fits now is promoted."""
    with transaction.atomic():
        pool = _pool(request.principal, slug)
        require(request.principal, "change", pool)
        Pool.objects.select_for_update().get(pk=pool.pk)
        require_match(request, _json(request.principal, pool))
        fields = {name: value for name, value in body.model_dump().items() if value is not None}
        pool = pools.change_pool(request.principal, pool, **fields)
    return answer(request, _json(request.principal, pool))


@router.get("/usage", auth=scope("usage:read"))
def usage(request: PortalRequest, query: Query[UsageQuery]) -> HttpResponse:
    """Requests, tokens, latencies and cost at list price per interval and group.

    CSV by `Accept: text/csv` or `?format=csv`. `group_by` takes project, endpoint, key and person, repeated or
    separated by commas. A call shows about a second after its end.
    """
    if query.format not in (None, "json", "csv"):
        raise Invalid.field("format", f"format is {query.format!r}; choose json or csv.")
    names = [part.strip() for text in query.group_by for part in text[:200].split(",")]
    groups = list(dict.fromkeys(name for name in names if name))
    start, end = _range(query.since, query.until, query.interval)
    rows = ledger.usage(
        request.principal,
        start=start,
        end=end,
        now=timezone.now(),
        project=query.project or None,
        endpoint=query.endpoint or None,
        key=query.key or None,
        person=query.person or None,
        interval=query.interval,
        group_by=groups,
    )
    columns = ["start", *groups, *ledger.NUMBERS, *ledger.DURATIONS, *ledger.MONEY, *ledger.OWNERS]
    if (query.format or _preferred(request)) == "csv":
        return csv_answer(rows, columns)
    items, following = _cut(rows, ["start", *groups], clean_limit(query.limit), query.cursor)
    return answer(request, {"items": items, "next": following})


def csv_answer(rows: Sequence[ledger.Row], columns: Sequence[str], *, name: str = "usage.csv") -> HttpResponse:
    """Return usage rows as a CSV download called `name`."""
    response = HttpResponse(to_csv(rows, columns), content_type="text/csv; charset=utf-8")
    response["Content-Disposition"] = f'attachment; filename="{name}"'
    response["Cache-Control"] = "no-store"
    return response


def _preferred(request: PortalRequest) -> str:
    return "csv" if request.get_preferred_type(["application/json", "text/csv"]) == "text/csv" else "json"


def _range(since: str | None, until: str | None, interval: str) -> tuple[dt.datetime, dt.datetime]:
    end = ledger.moment(until, field="to", end=True) if until else timezone.now()
    back = dt.timedelta(days=DEFAULT_RANGE.get(interval, 7))
    return (ledger.moment(since, field="from") if since else end - back), end


def _cut(
    rows: Sequence[ledger.Row], names: Sequence[str], limit: int, cursor: str | None
) -> tuple[list[ledger.Row], str | None]:
    """Return one page of computed rows; the cursor is the key of the last row, so that new rows shift nothing."""
    keys = [[str(row[name]) for name in names] for row in rows]
    first = 0
    if cursor:
        try:
            last = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
        except (ValueError, RecursionError) as error:
            raise _bad_cursor() from error
        if not isinstance(last, list) or len(last) != len(names) or not all(isinstance(part, str) for part in last):
            raise _bad_cursor()
        first = next((index for index, key in enumerate(keys) if key > last), len(rows))
    page = list(rows[first : first + limit])
    if first + limit >= len(rows):
        return page, None
    return page, base64.urlsafe_b64encode(canonical(keys[first + limit - 1]).encode()).decode().rstrip("=")


def _bad_cursor() -> Invalid:
    return Invalid.field("cursor", "cursor is not one that this list has given out. Start again without it.")
