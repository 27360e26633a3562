"""What an action on an endpoint will do, counted, before it happens: for the pages that ask first."""

import datetime as dt
from collections import Counter
from collections.abc import Mapping
from typing import Any

from django.db.models import Count, Q, Sum
from django.utils.timesince import timesince

from endpoints import numbers, seats
from endpoints.facts import counted
from endpoints.keys import TARGET_KIND
from endpoints.models import Desired, Endpoint, Phase, Revision
from endpoints.sharing import living_shares
from portal.errors import Conflict
from projects.models import ApiKey
from quotas.gpus import gpu_limit
from quotas.models import Reservation, ReservationState, UsageHour
from quotas.services import room

Effect = dict[str, str]
MOST_NAMES = 5


def stopping(endpoint: Endpoint, keys: numbers.Keys | None = None) -> list[Effect]:
    """Return what ending the engines affects: keys, calls, accelerators and who waits for them (five queries)."""
    keys = keys or numbers.affected_keys(endpoint)
    calls = numbers.last_day([str(endpoint.pk)]).get(str(endpoint.pk), numbers.Calls())
    used = f", last used {timesince(keys.used)} ago" if keys.used else ", never used"
    found = [
        {"count": counted(keys.own, "key"), "text": f" can call it{used if keys.own else ''}"},
        {"count": f"{calls.requests:,} calls", "text": " went through it in the last 24 hours"},
    ]
    load = numbers.load(endpoint)
    if load.running or load.waiting:
        found.append({"count": counted(load.running + load.waiting, "call"), "text": " in its engines now are cut off"})
    return found + freed(endpoint)


def deleting(endpoint: Endpoint) -> list[Effect]:
    """Return what the deletion affects: what ending the engines does, keys without another target, shares (six
    queries).
    """
    keys = numbers.affected_keys(endpoint)
    found = stopping(endpoint, keys)
    if keys.only:
        text = " can call nothing else; revoke what is not needed any more"
        found.append({"count": counted(keys.only, "key"), "text": text})
    names = list(
        living_shares().filter(endpoint=endpoint).order_by("project__slug").values_list("project__slug", flat=True)
    )
    if names:
        more = f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else ""
        theirs = f", with {counted(keys.others, 'key')} made for it" if keys.others else ""
        found.append(
            {
                "count": counted(len(names), "share"),
                "text": f" with other projects ends: {', '.join(names[:MOST_NAMES])}{more}{theirs}",
            }
        )
    return found


def freed(endpoint: Endpoint) -> list[Effect]:
    """Return the accelerators that go back, by pool, and who waits for them (two queries)."""
    own = Q(holder_kind__in=seats.HOLDER_KINDS, holder_id=str(endpoint.pk))
    held: Counter[str] = Counter()
    rows = Reservation.objects.filter(own, state=ReservationState.HELD).values_list("pool__slug", "amount")
    for slug, amount in rows:
        held[slug] += amount
    if not held:
        return []
    waiting = Reservation.objects.filter(pool__slug__in=held, state=ReservationState.WAITING).exclude(own).order_by()
    queues = {
        row["pool__slug"]: row for row in waiting.values("pool__slug").annotate(who=Count("pk"), what=Sum("amount"))
    }
    return [{"count": counted(amount, "accelerator"), "text": _back(slug, queues.get(slug))} for slug, amount in
            sorted(held.items())]  # fmt: skip


def _back(slug: str, queue: Mapping[str, Any] | None) -> str:
    when = f" of {slug} go back as soon as the engines have ended"
    if queue is None:
        return f"{when}; nobody waits for them"
    who = f"{counted(queue['who'], 'endpoint')} {'waits' if queue['who'] == 1 else 'wait'} for {queue['what']}"
    return f"{when}; {who}, and the first that fits starts by itself"


def resuming(endpoint: Endpoint) -> str:
    """Return what Resume does (two queries where it needs accelerators)."""
    revision = endpoint.revision
    if revision is None:
        return ""
    count = endpoint.wanted_replicas
    start = f"starts {counted(count, 'replica')} of revision {revision.number}; address and keys stay."
    amount = seats.accelerators(revision, count)
    if not amount:
        return f"Resume {start}"
    try:
        pool = seats.pool_of(endpoint, revision)
    except Conflict as error:
        return error.sentence
    free = room(pool).available
    what = f"Resume reserves {counted(amount, 'accelerator')} of {pool.slug} ({free} free now)"
    return f"{what} and {start}" if free >= amount else f"{what}, waits for them, then {start}"


def rolling(endpoint: Endpoint, target: Revision) -> str:
    """Return how `target` would follow what runs now: beside it, in its place, or waiting (up to six queries)."""
    answering = endpoint.desired == Desired.RUNNING and endpoint.phase in {Phase.READY, Phase.DEGRADED}
    if endpoint.desired == Desired.SUSPENDED:
        return f"The endpoint is suspended: revision {target.number} runs when it is resumed. Nothing starts now."
    if not answering:
        return f"It answers no calls now: its engines end, then revision {target.number} starts in their place."
    beside = (
        f"Revision {target.number} starts beside the one that runs and takes the calls over when all its replicas are "
        "ready. No call fails; the old engines finish theirs for up to 20 s."
    )
    amount = seats.accelerators(target)
    if not amount:
        return beside
    try:
        pool = seats.pool_of(endpoint, target)
    except Conflict as error:
        return error.sentence
    own, quota, free = seats.seats_of(endpoint).own, gpu_limit(endpoint.project).left, room(pool).available
    if free >= amount and (quota is None or quota >= amount):
        return f"{beside} For that time it holds {counted(amount, 'accelerator')} of {pool.slug} more."
    why = f"{pool.slug} has {free} free" if free < amount else "the project's GPU quota is used up"
    if own and own.state == ReservationState.HELD and own.pool == pool.slug and amount <= own.amount:
        return (
            f"There is no room for both ({why}): the engines that run end first, then revision {target.number} starts. "
            "Calls get endpoint_not_ready in between."
        )
    return (
        f"It needs {counted(amount, 'accelerator')} and {why}: it waits in the queue, and the revision that runs goes "
        "on until then."
    )


def ending_share(endpoint: Endpoint, project_id: int, since: dt.datetime) -> list[Effect]:
    """Return what a project loses with its share: keys made for the endpoint, and calls since then (two queries)."""
    mine = ApiKey.objects.filter(project_id=project_id, state__in=numbers.LIVE_KEYS)
    keys = mine.filter(targets__kind=TARGET_KIND, targets__target_id=str(endpoint.pk)).count()
    calls = UsageHour.objects.filter(project_id=project_id, endpoint_id=str(endpoint.pk), start__gte=since)
    total = calls.aggregate(total=Sum("requests", default=0))["total"]
    return [
        {"count": f"{total:,} calls", "text": " of that project went through it in the last 24 hours"},
        {"count": counted(keys, "key"), "text": f" of that project {'is' if keys == 1 else 'are'} made for it"},
    ]
