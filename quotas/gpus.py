"""The GPU quota of a project: how many accelerators it may hold or wait for, over all pools together."""

import datetime as dt
from collections.abc import Iterable
from dataclasses import dataclass

from django.db.models import Q, Sum
from django.utils import timezone

from portal.errors import Conflict
from projects.models import Project
from quotas.bounds import Bound, bounds
from quotas.models import Quota, QuotaKind, Reservation, ReservationState


@dataclass(frozen=True)
class GpuLimit:
    """What a project may hold, holds and waits for, in accelerators; `limit` and `left` are None without a quota.

    What waits is counted too: it is held as soon as the pool has room, and nobody asks again then.
    """

    limit: int | None
    held: int
    left: int | None
    waiting: int = 0
    raised_until: dt.date | None = None


def gpu_limit(project: Project, *, known: Iterable[Bound] | None = None) -> GpuLimit:
    """Return the GPU quota of `project` today, with what is held (two queries; one with its quotas `known`)."""
    found = bounds(projects=[project.pk], kind=QuotaKind.GPUS) if known is None else known
    quota = next((bound for bound in found if bound.kind == QuotaKind.GPUS), None)
    effective = quota.on(timezone.now().date()) if quota else None
    held, waiting = taken(project)
    limit = effective.hard if effective else None
    return GpuLimit(
        limit=limit,
        held=held,
        left=None if limit is None else max(0, limit - held - waiting),
        waiting=waiting,
        raised_until=effective.raised_until if effective else None,
    )


def taken(project: Project) -> tuple[int, int]:
    """Return how many accelerators `project` holds and how many it waits for (one query)."""
    sums = Reservation.objects.filter(project=project).aggregate(
        held=Sum("amount", filter=Q(state=ReservationState.HELD), default=0),
        waiting=Sum("amount", filter=Q(state=ReservationState.WAITING), default=0),
    )
    return sums["held"], sums["waiting"]


def require_gpus(project: Project, more: int) -> None:
    """Raise Conflict `gpu_quota` unless `project` may have `more` accelerators on top of what it has.

    Call it in the transaction that reserves them: the quota's row stays locked until its end, so that two of them
    cannot both take the last one.
    """
    if not Quota.objects.select_for_update().filter(project=project, kind=QuotaKind.GPUS).values_list("pk").first():
        return
    now = gpu_limit(project)
    if now.limit is None or more <= now.limit - now.held - now.waiting:
        return
    waits = f" and waits for {now.waiting}" if now.waiting else ""
    raise Conflict(
        f"{project.slug} may hold {now.limit} accelerator{'' if now.limit == 1 else 's'}; it holds {now.held}{waits}, "
        f"and this needs {more} more. Give some back, or ask for a larger GPU quota with a request of the kind quota.",
        code="gpu_quota",
        extra={"limit": now.limit, "held": now.held, "waiting": now.waiting, "asked": more},
    )
