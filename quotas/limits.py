"""Which limits apply, what is left of them, when they start anew, and which one binds."""

import datetime as dt
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from django.utils import timezone

from projects.models import ApiKey, Project
from quotas.bounds import Bound, Target, bounds, window_end
from quotas.gpus import GpuLimit, gpu_limit
from quotas.grants import document, set_quotas
from quotas.models import QuotaKind, QuotaTarget
from quotas.raises import raise_quota
from quotas.spent import Spent, spent
from quotas.words import WINDOWS, amount, moment, subject

__all__ = [
    "GpuLimit",
    "Limit",
    "applying",
    "binding",
    "document",
    "gpu_limit",
    "limits",
    "names",
    "overview",
    "raise_quota",
    "set_quotas",
]

MORE = "Ask for more with a request of the kind quota."


@dataclass(frozen=True)
class Limit:
    """One limit as it stands now. Numbers are tokens or GPUs; `soft` and `hard` include a raise that lasts.

    `left` is up to `hard`, up to `soft` where nothing refuses; `percent` is the share used of the same number. `binds`
    marks the one that is reached first.
    """

    kind: str  # tokens | gpus
    target_kind: str  # project | endpoint | key
    target_id: str
    target: str  # slug of the project, name of the endpoint, prefix of the key
    window: str  # day | month | "" for GPUs
    soft: int | None
    hard: int | None
    used: int
    left: int
    resets_at: dt.datetime | None
    raised_until: dt.date | None
    percent: float
    binds: bool
    sentence: str

    @property
    def refuses(self) -> bool:
        """Whether there is a number at which calls or new accelerators are refused."""
        return self.hard is not None


def names(
    project: Project, *, endpoints: Iterable[tuple[str, str]] = (), keys: Iterable[ApiKey] = ()
) -> dict[Target, str]:
    """Return what people call the targets of quotas: `project`, `endpoints` as (id, name), and `keys`."""
    found: dict[Target, str] = {(QuotaTarget.PROJECT.value, str(project.pk)): project.slug}
    found |= {(QuotaTarget.ENDPOINT.value, identifier): name for identifier, name in endpoints}
    return found | {(QuotaTarget.KEY.value, str(key.pk)): key.prefix for key in keys}


def limits(project: Project, *, endpoint: tuple[str, str] | None = None, key: ApiKey | None = None) -> list[Limit]:
    """Return every quota that applies to a call with `key` to `endpoint`, (id, name), and the GPU quota (3 queries).

    Without `key` or `endpoint` their own quotas are left out. The endpoint may be of another project: its quota counts
    the calls of everybody. Exactly one limit binds: of those that refuse calls the one with the smallest share left,
    else of those that warn, else the GPU quota; none where there is no quota at all.
    """
    known = names(project, endpoints=[endpoint] if endpoint else [], keys=[key] if key else [])
    found = bounds(projects=[project.pk], targets=list(known)[1:], kind=None)
    return overview(project, found, known)


def overview(project: Project, found: Iterable[Bound], known: Mapping[Target, str]) -> list[Limit]:
    """Return how the quotas `found` stand (2 queries): of `known` targets, and the GPU quota of `project`."""
    now, found = timezone.now(), list(found)
    chosen = [bound for bound in found if bound.kind == QuotaKind.TOKENS and bound.target in known]
    tokens = []
    if chosen:
        used = spent(chosen, now=now)
        tokens = [_tokens(bound, used, known[bound.target], now) for bound in chosen]
    order = list(QuotaTarget.values)
    tokens.sort(key=lambda limit: (order.index(limit.target_kind), limit.target, limit.window))
    return mark([*tokens, *_gpus(project, gpu_limit(project, known=found))])


def applying(found: Iterable[Limit], *, endpoint_id: str = "", key_id: str = "") -> list[Limit]:
    """Return those of `found` that apply to a call with this key to this endpoint; which one binds is marked anew."""
    chosen = {QuotaTarget.PROJECT.value: "", QuotaTarget.ENDPOINT.value: endpoint_id, QuotaTarget.KEY.value: key_id}
    return mark(
        [
            limit
            for limit in found
            if limit.target_kind == QuotaTarget.PROJECT
            or (chosen[limit.target_kind] and limit.target_id == chosen[limit.target_kind])
        ]
    )


def binding(found: Iterable[Limit]) -> Limit | None:
    """Return the limit that binds, or None."""
    return next((limit for limit in found if limit.binds), None)


def mark(found: Iterable[Limit]) -> list[Limit]:
    """Return `found` with the one marked that binds."""
    found = list(found)
    tokens = [limit for limit in found if limit.kind == QuotaKind.TOKENS]
    candidates = [limit for limit in tokens if limit.refuses] or tokens or found
    if not candidates:
        return found
    first = max(candidates, key=lambda limit: limit.percent)
    return [replace(limit, binds=limit is first) for limit in found]


def share(used: int, limit: int) -> float:
    """Return the percentage of `limit` that is used; a limit of nothing is used up."""
    return 100.0 * used / limit if limit else 100.0


def _tokens(bound: Bound, used: Spent, name: str, now: dt.datetime) -> Limit:
    numbers = bound.on(now.date())
    tokens = used.used(bound.target, bound.window)
    resets_at = window_end(bound.window, now)
    return Limit(
        kind=QuotaKind.TOKENS.value,
        target_kind=bound.target_kind,
        target_id=bound.target[1] if bound.target_kind != QuotaTarget.PROJECT else "",
        target=name,
        window=bound.window,
        soft=numbers.soft,
        hard=numbers.hard,
        used=tokens,
        left=max(0, numbers.limit - tokens),
        resets_at=resets_at,
        raised_until=numbers.raised_until,
        percent=share(tokens, numbers.limit),
        binds=False,
        sentence=sentence(bound.target_kind, name, bound.window, numbers.soft, numbers.hard, tokens, resets_at),
    )


def sentence(
    target_kind: str, name: str, window: str, soft: int | None, hard: int | None, used: int, resets_at: dt.datetime
) -> str:
    """Return a token quota in words: whose it is, what is used and left, when it starts anew, how to get more."""
    who = subject(target_kind, name)
    who = who[:1].upper() + who[1:]
    when, anew = WINDOWS[window], f"the count starts anew on {moment(resets_at)}"
    if hard is not None and used >= hard:
        return (
            f"{who} has used {used:,} of its {amount('tokens', hard)} for {when}: calls are refused, and {anew}. {MORE}"
        )
    if hard is not None:
        past = f", past the {soft:,} that warn" if soft is not None and used >= soft else ""
        return (
            f"{who} has used {used:,} of its {amount('tokens', hard)} for {when}{past}; {hard - used:,} are left, and "
            f"{anew}."
        )
    limit = soft or 0
    if used >= limit:
        return f"{who} has used {used:,} tokens {when}, past the {limit:,} that warn. Nothing is refused; {anew}."
    return f"{who} has used {used:,} tokens {when}; {limit - used:,} are left before it warns, and {anew}."


def _gpus(project: Project, now: GpuLimit) -> list[Limit]:
    if now.limit is None:
        return []
    taken, left = now.held + now.waiting, now.left or 0
    waits = f" and waits for {now.waiting}" if now.waiting else ""
    rest = f"{left} {'is' if left == 1 else 'are'} left." if left else f"none is left. {MORE}"
    return [
        Limit(
            kind=QuotaKind.GPUS.value,
            target_kind=QuotaTarget.PROJECT.value,
            target_id="",
            target=project.slug,
            window="",
            soft=None,
            hard=now.limit,
            used=taken,
            left=left,
            resets_at=None,
            raised_until=now.raised_until,
            percent=share(taken, now.limit),
            binds=False,
            sentence=f"The project {project.slug} holds {now.held} of its {amount('gpus', now.limit)}{waits}; {rest}",
        )
    ]
