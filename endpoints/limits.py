"""The limits of a project with the names that people use: endpoints and keys by name, pools, calls to the API."""

import datetime as dt
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from endpoints.models import Desired, Endpoint, Phase
from portal.errors import Invalid, PreconditionFailed
from portal.http import etag
from portal.rates import spent
from projects.models import ApiKey, KeyState, Project
from projects.permissions import visible
from projects.principal import Principal
from quotas.bounds import Bound, Target, bounds
from quotas.grants import document, set_quotas
from quotas.limits import Limit, names
from quotas.models import Pool, QuotaTarget
from quotas.services import Room, rooms

MOST_KEYS = 500


def living(project: Project) -> dict[str, str]:
    """Return the ids of the living endpoints of `project` by name (one query)."""
    rows = Endpoint.objects.filter(project=project).exclude(Q(phase=Phase.DELETED) | Q(desired=Desired.DELETED))
    return {name: str(pk) for name, pk in rows.order_by("name").values_list("name", "pk")}


def keys_of(project: Project, found: Iterable[Bound]) -> list[ApiKey]:
    """Return the keys of `project` that may have a quota, and those that `found` are about (one query)."""
    limited = [bound.target_id for bound in found if bound.target_kind == QuotaTarget.KEY]
    usable = Q(state__in=[KeyState.ACTIVE, KeyState.ROTATING]) & ~Q(purpose="playground")
    return list(project.keys.filter(usable | Q(pk__in=limited)).order_by("name", "prefix")[:MOST_KEYS])


def known(project: Project, endpoints: Mapping[str, str], keys: Iterable[ApiKey]) -> dict[Target, str]:
    """Return what the targets of quotas of `project` are called; `endpoints` are ids by name."""
    return names(project, endpoints=[(identifier, name) for name, identifier in endpoints.items()], keys=keys)


def quota_document(project: Project, endpoints: Mapping[str, str]) -> dict[str, Any]:
    """Return the quotas of `project` as they are read and written (two queries)."""
    found = bounds(projects=[project.pk], kind=None)
    return document(found, known(project, endpoints, keys_of(project, found)))


def save_quotas(by: Principal, project: Project, body: Mapping[str, Any], version: str) -> list[str]:
    """Set the quotas of `project` when they are still those with the ETag `version`; see quotas.grants.set_quotas.

    Raises PreconditionFailed when somebody else has changed them since they were read.
    """
    with transaction.atomic():
        Project.objects.select_for_update().get(pk=project.pk)
        endpoints = living(project)
        if etag(quota_document(project, endpoints)) != version:
            raise PreconditionFailed(
                "Somebody has changed these quotas since you opened them. Look at them again and repeat the change."
            )
        return set_quotas(by, project, body, endpoints=endpoints)


def find_endpoint(principal: Principal, project: Project, name: str) -> tuple[str, str]:
    """Return (id, name) of an endpoint: by its name in `project`, or as <project>/<name> what the caller may see.

    Raises Invalid when there is none.
    """
    slug, slash, own = name.partition("/")
    rows = visible(principal, Endpoint.objects.all()).exclude(phase=Phase.DELETED)
    rows = rows.filter(project__slug=slug, name=own) if slash else rows.filter(project=project, name=name)
    found = rows.values_list("pk", "name").first() if name.isprintable() else None
    if found is None:
        raise Invalid.field(
            "endpoint", f"endpoint is {name[:80]!r}; {project.slug} has no such living endpoint. Write its name."
        )
    return str(found[0]), name if slash else found[1]


def find_key(principal: Principal, project: Project, name: str) -> ApiKey:
    """Return a key of `project` by its prefix or id; raises Invalid when there is none."""
    rows = visible(principal, ApiKey.objects.filter(project=project))
    try:
        wanted = Q(pk=uuid.UUID(name))
    except ValueError:
        wanted = Q(prefix=name)
    key: ApiKey | None = rows.filter(wanted).first() if name.isprintable() else None
    if key is None:
        raise Invalid.field(
            "key", f"key is {name[:40]!r}; {project.slug} has no such key. Write its prefix, for example gth_ab12cd34."
        )
    return key


def limit_json(limit: Limit) -> dict[str, Any]:
    """Return a limit as the API shows it."""
    return asdict(limit)


def pools(principal: Principal) -> list[tuple[Pool, Room]]:
    """Return the pools with their room (two queries)."""
    found = list(visible(principal, Pool.objects.all()))
    left = rooms(found)
    return [(pool, left[pool.pk]) for pool in found]


def pool_json(pool: Pool, room: Room) -> dict[str, Any]:
    """Return a pool in the shape of a limit: it never binds a call, it makes accelerators wait."""
    waits = f" {room.waiting} are waited for." if room.waiting else ""
    return {
        "kind": "pool", "target_kind": "pool", "target_id": "", "target": pool.slug, "window": "", "soft": None,
        "hard": room.limit, "used": room.held, "left": room.available, "resets_at": None, "raised_until": None,
        "percent": 100.0 * room.held / room.limit if room.limit else 100.0, "binds": False,
        "sentence": f"{room.available} of the {room.limit} accelerators of {pool.slug} can be had at once.{waits}",
    }  # fmt: skip


def rate_json(principal: Principal) -> dict[str, Any]:
    """Return the limit of calls to this API in the shape of a limit: of the credential that asks, per minute."""
    now, most = timezone.now(), settings.API_RATE_PER_MINUTE
    # The name under which projects.api.limit_rate counts; tests/endpoints/test_limits_api.py holds them together.
    used = spent(principal.credential, 60)
    ends = now.replace(second=0, microsecond=0) + dt.timedelta(minutes=1)
    return {
        "kind": "api-calls", "target_kind": "credential", "target_id": "", "target": principal.name, "window": "minute",
        "soft": None, "hard": most, "used": used, "left": max(0, most - used), "resets_at": ends, "raised_until": None,
        "percent": 100.0 * used / most, "binds": False,
        "sentence": f"{max(0, most - used):,} of {most:,} calls to /api/v1 are left in this minute.",
    }  # fmt: skip
