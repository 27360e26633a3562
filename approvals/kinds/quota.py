"""More GPUs or tokens until a day: what is used, what counts now, what would count. Approval raises the quota."""

import datetime as dt
from dataclasses import dataclass
from typing import Any

from django.db.models import Q, Sum
from django.utils import timezone

from approvals.bodies import QuotaBody
from approvals.kinds.base import Subject, named_project, shell
from approvals.models import Request, RequestKind, RequestState
from approvals.verdicts import FAIL, PASS, WARN, Check
from endpoints.models import Endpoint, Phase
from portal.errors import Conflict, Invalid
from projects.models import KeyState, Project
from projects.principal import Principal
from quotas.bounds import Bound, Effective, bounds, window_end, window_start
from quotas.gpus import gpu_limit
from quotas.limits import raise_quota
from quotas.models import Pool, QuotaKind, QuotaTarget
from quotas.spent import paces, spent
from quotas.words import amount, title

PACE_DAYS = 7


@dataclass(frozen=True)
class Resolved:
    """The quota, what counts of it today, and what is used. `name`: of the endpoint, or prefix of the key."""

    project: Project
    bound: Bound
    now: Effective
    used: int
    name: str
    projected: int | None
    resets_at: dt.datetime | None

    @property
    def subject(self) -> Subject:
        """What the request keeps."""
        return Subject(self.project, (self.name or self.project.slug)[:40])


def subject(by: Principal, body: QuotaBody) -> Subject:
    """Return what a draft is about: its project, and the name that was typed."""
    project = named_project(by, body)
    return Subject(project, (body.target_name or project.slug)[:40])


def resolve(by: Principal, body: QuotaBody) -> Resolved:
    """Look up the quota; raises Invalid for an unknown target, and where there is no quota that could be raised."""
    project = named_project(by, body)
    kind, target = body.quota or "", body.target or QuotaTarget.PROJECT.value
    target_id, name = _target(project, target, body.target_name or "")
    found = next(
        (
            bound
            for bound in bounds(projects=[project.pk], kind=kind)
            if (bound.target_kind, bound.target_id, bound.window) == (target, target_id, body.window or "")
        ),
        None,
    )
    if found is None:
        what = title(kind, target, name, body.window or "")
        raise Invalid.field(
            "quota", f"{project.slug} has no {what}, so nothing limits it and there is nothing to raise."
        )
    today = timezone.now().date()
    for field in ("soft", "hard"):
        if getattr(body, field) is not None and getattr(found, field) is None:
            raise Invalid.field(
                field, f"{field} is {getattr(body, field):,}; this quota has no {field} limit. Leave {field} empty."
            )
    lasting = body.hard if body.hard is not None else found.hard
    if body.soft is not None and lasting is not None and body.soft > lasting:
        raise Invalid.field("soft", f"soft is {body.soft:,}; the limit is hard, {lasting:,}. Choose a smaller value.")
    used, projected, resets_at = _measure(project, found)
    return Resolved(project, found, found.on(today), used, name, projected, resets_at)


def _target(project: Project, target: str, name: str) -> tuple[str, str]:
    """Return id and name of what is limited; raises Invalid for a name that nothing in the project has."""
    if target == QuotaTarget.PROJECT:
        return "", ""
    if target == QuotaTarget.ENDPOINT:
        endpoint = Endpoint.objects.filter(project=project, name=name).exclude(phase=Phase.DELETED).first()
        if endpoint is not None:
            return str(endpoint.pk), endpoint.name
        raise Invalid.field("target_name", f"target_name is {name!r}; {project.slug} has no such endpoint.")
    living = project.keys.filter(state__in=(KeyState.ACTIVE, KeyState.ROTATING), purpose="api")
    keys = list(living.filter(Q(prefix=name) | Q(name=name))[:2])
    if len(keys) == 1:
        return str(keys[0].pk), keys[0].prefix
    many = f"{project.slug} has several such keys. Give the prefix of one."
    none = f"{project.slug} has no such key. Give the name or prefix of one."
    raise Invalid.field("target_name", f"target_name is {name!r}; {many if keys else none}")


def _measure(project: Project, bound: Bound) -> tuple[int, int | None, dt.datetime | None]:
    """Return what is used now, what it would be at the end of the window at the pace of the last week, and its end."""
    if bound.kind == QuotaKind.GPUS:
        limit = gpu_limit(project)
        return limit.held + limit.waiting, None, None
    now = timezone.now()
    used = spent([bound], now=now).used(bound.target, bound.window)
    ends = window_end(bound.window, now)
    pace = paces([bound], days=PACE_DAYS, now=now).get(bound.target)
    if pace is None:
        return used, None, ends
    days = max(1, min(PACE_DAYS, (window_start("day", now) - pace.since).days))
    left = (ends - now) / dt.timedelta(days=1)
    return used, used + round(pace.tokens / days * left), ends


def build(by: Principal, body: QuotaBody, found: Resolved) -> dict[str, Any]:
    """Return the plan: used now, the limit before and after, and where the pace of the last week leads."""
    kind = found.bound.kind
    checks = [check for field in ("soft", "hard") if (check := _larger(field, body, found)) is not None]
    checks.append(_above_use(body, found))
    if kind == QuotaKind.GPUS:
        checks.append(_pools_have_it(body))
    elif found.projected is not None:
        checks.append(_lasts(body, found))
    return {
        **shell("quota", checks),
        "project": found.project.slug,
        "quota": kind,
        "title": title(kind, found.bound.target_kind, found.name, found.bound.window),
        "target": {"kind": found.bound.target_kind, "id": found.bound.target_id, "name": found.name},
        "window": found.bound.window,
        "used": found.used,
        "resets_at": found.resets_at.isoformat() if found.resets_at else None,
        "before": {
            "soft": found.now.soft,
            "hard": found.now.hard,
            "raised_until": found.now.raised_until.isoformat() if found.now.raised_until else None,
        },
        "after": {"soft": body.soft or found.now.soft, "hard": body.hard or found.now.hard},
        "projected": found.projected,
        "ends_on": {"before": None, "after": body.ends_on.isoformat() if body.ends_on else None},
        "sentence": _sentence(body, found),
    }


def _sentence(body: QuotaBody, found: Resolved) -> str:
    kind, number = found.bound.kind, body.hard or body.soft or 0
    before = found.now.limit
    held = "held or waited for" if kind == QuotaKind.GPUS else "used in this window"
    return (
        f"{amount(kind, before)} count now and {found.used:,} are {held}; {amount(kind, number)} until {body.ends_on}."
    )


def _larger(field: str, body: QuotaBody, found: Resolved) -> Check | None:
    """A raise is more than what counts already, or lasts longer."""
    asked, now = getattr(body, field), getattr(found.now, field)
    if asked is None or now is None:
        return None
    until = found.now.raised_until
    longer = asked == now and until is not None and body.ends_on is not None and body.ends_on > until
    ok = asked > now or longer
    already = f" until {until}" if until else ""
    return Check(
        f"quo-00{1 if field == 'hard' else 2}",
        f"More than the {field} limit",
        PASS if ok else FAIL,
        f"{field} is {asked:,}; {now:,} count{already} already.",
        "" if ok else f"Choose a value above {now:,}.",
        field,
    )


def _above_use(body: QuotaBody, found: Resolved) -> Check:
    """What is granted must be more than what is used, or it helps nobody."""
    field = "hard" if body.hard is not None else "soft"
    asked = getattr(body, field) or 0
    ok = asked > found.used or (asked == found.used and found.bound.kind == QuotaKind.GPUS)
    return Check(
        "quo-003",
        "More than is used",
        PASS if ok else FAIL,
        f"{field} is {asked:,}; {found.used:,} are used already.",
        "" if ok else f"Choose a value above {found.used:,}.",
        field,
    )


def _pools_have_it(body: QuotaBody) -> Check:
    total = Pool.objects.aggregate(total=Sum("limit", default=0))["total"]
    ok = (body.hard or 0) <= total
    reason = f"{body.hard:,} of the {total:,} GPUs in all pools."
    return Check(
        "quo-004", "The pools have as many", PASS if ok else WARN, reason, "" if ok else "Ask for fewer.", "hard"
    )


def _lasts(body: QuotaBody, found: Resolved) -> Check:
    asked, projected = body.hard or body.soft or 0, found.projected or 0
    ok = projected <= asked
    when = "today" if found.bound.window == "day" else "this month"
    reason = f"At the pace of the last {PACE_DAYS} days it would be {projected:,} tokens {when}."
    return Check(
        "quo-005", "Lasts at today's pace", PASS if ok else WARN, reason, "" if ok else "Ask for more.", "hard"
    )


def guard(request: Request, found: Resolved) -> None:
    """One at a time for the same quota."""
    Project.objects.select_for_update().get(pk=found.project.pk)  # two that are sent at the same instant queue here
    waiting = Request.objects.filter(kind=RequestKind.QUOTA, project=found.project, state=RequestState.SUBMITTED)
    place = {"kind": found.bound.target_kind, "id": found.bound.target_id, "name": found.name}
    for other in waiting.exclude(pk=request.pk):
        same = (found.bound.kind, place, found.bound.window)
        if (other.plan.get("quota"), other.plan.get("target"), other.plan.get("window")) == same:
            raise Conflict(
                f"{other} asks for more of this quota already and waits for a decision. Withdraw it first, or comment "
                "on it.",
                code="already_asked",
                extra={"request": other.pk},
            )


def apply(by: Principal, request: Request, body: QuotaBody, found: Resolved) -> None:
    """Let the larger numbers count until the end date."""
    if body.ends_on is None:
        raise Invalid.field("ends_on", "ends_on is missing. Fill it in.")
    raise_quota(
        by,
        found.project,
        kind=found.bound.kind,
        target_kind=found.bound.target_kind,
        target_id=found.bound.target_id,
        window=found.bound.window,
        soft=body.soft,
        hard=body.hard,
        ends_on=body.ends_on,
        reference=request.number,
    )
