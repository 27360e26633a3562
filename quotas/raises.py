"""Raising a quota until a day: what an approved request of the kind quota does."""

import datetime as dt

from django.db import transaction
from django.utils import timezone

from audit.services import Actor, record
from portal.errors import Invalid
from projects import epoch
from projects.models import Project
from projects.notify.audience import builders
from projects.notify.services import tell
from quotas.bodies import MOST_GPUS, MOST_TOKENS
from quotas.bounds import Bound, Raise
from quotas.models import Quota, QuotaAlert, QuotaKind, QuotaRaise
from quotas.words import amount, limits_path, title


def raise_quota(
    by: Actor,
    project: Project,
    *,
    kind: str,
    target_kind: str,
    target_id: str,
    window: str,
    soft: int | None,
    hard: int | None,
    ends_on: dt.date,
    reference: str,
) -> QuotaRaise:
    """Let larger numbers count for one quota up to and with the day `ends_on` (UTC), and tell the project's builders.

    The caller has the authority for it (an approved request, named by `reference`) and its transaction open; for the
    project itself `target_id` is "". Raises Invalid when there is no such quota, so nothing to raise, for a day that
    has passed, and for numbers that are not larger than the quota's.
    """
    today = timezone.now().date()
    if ends_on < today:
        raise Invalid.field("ends_on", f"ends_on is {ends_on}, which has passed. Choose {today} or later.")
    with transaction.atomic():
        quota = (
            Quota.objects.select_for_update()
            .filter(project=project, kind=kind, target_kind=target_kind, target_id=target_id, window=window)
            .first()
        )
        if quota is None:
            raise Invalid.field(
                "quota", f"{project.slug} has no such quota, so nothing limits it and there is nothing to raise."
            )
        _check_raise(quota, soft, hard)
        made = QuotaRaise.objects.create(quota=quota, soft=soft, hard=hard, ends_on=ends_on, reference=reference)
        after = {"soft": soft, "hard": hard, "ends_on": ends_on, "reference": reference}
        before = {"soft": quota.soft, "hard": quota.hard}
        record("quotas.raise_quota", by=by, obj=quota, project=project.slug, before=before, after=after)
        _forget_raised(quota, today)
        epoch.bump()
        _tell_raised(project, quota, made)
    return made


def _check_raise(quota: Quota, soft: int | None, hard: int | None) -> None:
    most = MOST_GPUS if quota.kind == QuotaKind.GPUS else MOST_TOKENS
    for name, number in (("soft", soft), ("hard", hard)):
        present = quota.soft if name == "soft" else quota.hard
        if number is None:
            continue
        if isinstance(number, bool) or not 0 <= number <= most:
            raise Invalid.field(name, f"{name} is {number}; it must lie between 0 and {most:,}.")
        if present is None:
            raise Invalid.field(name, f"The quota has no {name} limit, so there is nothing to raise. Leave {name} out.")
        if number <= present:
            raise Invalid.field(name, f"{name} is {number:,}; a raise must be more than the {present:,} of the quota.")
    if soft is None and hard is None:
        raise Invalid.field("hard", "A raise needs a larger number. Give soft, hard or both.")
    lasting = hard if hard is not None else quota.hard
    if soft is not None and lasting is not None and soft > lasting:
        raise Invalid.field("soft", f"soft is {soft:,}; it can be at most the hard limit, {lasting:,}.")


def _forget_raised(quota: Quota, today: dt.date) -> None:
    """As `_forget_alerts`, with the numbers that count from now on."""
    raises = tuple(Raise(one.soft, one.hard, one.ends_on) for one in quota.raises.all())
    bound = Bound(quota.pk, quota.project_id, "", quota.kind, quota.target_kind, quota.target_id, quota.window,
                  quota.soft, quota.hard, raises)  # fmt: skip
    now = bound.on(today)
    kept = [number for number in (now.soft, now.hard) if number is not None]
    QuotaAlert.objects.filter(quota=quota).exclude(limit__in=kept).delete()


def _tell_raised(project: Project, quota: Quota, made: QuotaRaise) -> None:
    what = title(quota.kind, quota.target_kind, "", quota.window)
    number = made.hard if made.hard is not None else made.soft
    tell(
        "quota.raised",
        builders(project),
        title=f"{project.slug}: the {what} is raised to {amount(quota.kind, number or 0)} until {made.ends_on}"[:200],
        url=limits_path(project.slug),
        project=project,
        about=("quota", str(quota.pk)),
        once=f"quota:{quota.pk}:raise:{made.pk}",
        data={
            "project": project.slug, "quota": quota.kind, "target": quota.target_kind, "target_id": quota.target_id,
            "window": quota.window, "soft": made.soft, "hard": made.hard, "ends_on": made.ends_on.isoformat(),
            "reference": made.reference,
        },
    )  # fmt: skip
