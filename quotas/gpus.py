"""The GPU quota of a project: how many accelerators it may hold or wait for, over all pools together."""

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.db.models import FilteredRelation, OuterRef, Q, QuerySet, Subquery, Sum
from django.db.models.functions import Coalesce
from django.utils import timezone

from portal.errors import Conflict
from projects.models import Project
from quotas.bounds import Bound, Raise
from quotas.models import Quota, QuotaKind, QuotaTarget, Reservation, ReservationState

COLUMNS = (
    "gpus_held", "gpus_waiting", "gpu_quota__id", "gpu_quota__hard", "gpu_quota__raises__hard",
    "gpu_quota__raises__ends_on",
)  # fmt: skip


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
    """Return the GPU quota of `project` today, with what is held (one query, with its quotas `known` or without)."""
    if known is None:
        return found(project, list(with_gpus(Project.objects.filter(pk=project.pk)).values(*COLUMNS)))
    quota = next((bound for bound in known if bound.kind == QuotaKind.GPUS), None)
    return _limit(quota, *taken(project))


def with_gpus(rows: QuerySet[Project]) -> QuerySet[Project]:
    """Return `rows` with COLUMNS, for `found`: a project has a row for each raise of its quota."""
    return rows.annotate(
        gpu_quota=FilteredRelation("quotas", condition=Q(quotas__kind=QuotaKind.GPUS)),
        gpus_held=_sum(ReservationState.HELD),
        gpus_waiting=_sum(ReservationState.WAITING),
    )


def found(project: Project, rows: Sequence[Mapping[str, Any]]) -> GpuLimit:
    """Return the GPU quota of `project` today, as rows of `with_gpus` say it."""
    if not rows:
        return _limit(None, 0, 0)
    first, quota = rows[0], None
    if first["gpu_quota__id"] is not None:
        until, more = "gpu_quota__raises__ends_on", "gpu_quota__raises__hard"
        raises = tuple(Raise(None, row[more], row[until]) for row in rows if row[until] is not None)
        quota = Bound(
            first["gpu_quota__id"], project.pk, project.slug, QuotaKind.GPUS.value, QuotaTarget.PROJECT.value, "", "",
            None, first["gpu_quota__hard"], raises,
        )  # fmt: skip
    return _limit(quota, first["gpus_held"], first["gpus_waiting"])


def _limit(quota: Bound | None, held: int, waiting: int) -> GpuLimit:
    effective = quota.on(timezone.now().date()) if quota else None
    limit = effective.hard if effective else None
    return GpuLimit(
        limit=limit,
        held=held,
        left=None if limit is None else max(0, limit - held - waiting),
        waiting=waiting,
        raised_until=effective.raised_until if effective else None,
    )


def _sum(state: ReservationState) -> Coalesce:
    rows = Reservation.objects.filter(project=OuterRef("pk"), state=state).order_by().values("project")
    return Coalesce(Subquery(rows.annotate(sum=Sum("amount")).values("sum")), 0)


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
