"""Keeping pools: creating and changing them, and checking that their counters are true."""

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import Q, Sum

from audit.models import Row
from audit.services import record, system
from catalog.models import HardwareProfile
from portal.errors import Conflict, Invalid, PreconditionFailed
from portal.http import clean_text, etag
from projects.models import slug_validator
from projects.permissions import require, require_anywhere
from projects.principal import Principal
from quotas import services, shares
from quotas.models import GiveBackRule, Pool, ReservationState

log = logging.getLogger(__name__)

MAX_ACCELERATORS = 100_000
FIELDS = frozenset(
    {
        "name", "cluster", "limit", "observed", "simulated", "profiles", "from_nodes", "give_back", "grace_hours",
        "shares",
    }
)  # fmt: skip
MOST_HOURS = 720
BOUNDS = {"limit": (1, MAX_ACCELERATORS), "observed": (0, MAX_ACCELERATORS), "grace_hours": (0, MOST_HOURS)}


@dataclass(frozen=True)
class Finding:
    """What is wrong with a pool: `code` is counter_differs, below_held or "" (in order again)."""

    pool: str
    code: str
    sentence: str


def create_pool(by: Principal, *, slug: str, **fields: object) -> Pool:
    """Create a pool. `fields`: name, cluster (slug), limit, and optionally observed (default: limit), simulated,
    profiles (slugs of hardware profiles), from_nodes, give_back, grace_hours and shares (quotas/shares.py).

    Raises Forbidden, Invalid naming each wrong field with its limit, and Conflict for a slug that is taken.
    """
    require_anywhere(by, "create", Pool)
    absent = sorted({"name", "cluster", "limit"} - fields.keys())
    if absent:
        raise Invalid(f"A pool needs {', '.join(absent)}.", fields={name: f"{name} is missing." for name in absent})
    cleaned = _clean({"slug": slug, **fields})
    cleaned.setdefault("observed", cleaned["limit"])
    profiles, agreed = cleaned.pop("profiles", []), cleaned.pop("shares", [])
    with transaction.atomic():
        if Pool.objects.filter(slug=cleaned["slug"]).exists():
            raise Conflict(f"A pool named {slug} exists already. Choose another slug.", code="name_taken")
        pool = Pool.objects.create(**cleaned)
        pool.profiles.set(_profiles(profiles))
        shares.agree(by, pool, agreed)
        record("quotas.create_pool", by=by, obj=pool, after=_audited(pool))
    return pool


def change_pool(by: Principal, pool: Pool, **fields: object) -> Pool:
    """Change fields of a pool, as `create_pool` takes them; what fits now is promoted.

    Raises Forbidden, Invalid, and Conflict when the limit would fall below what is held or agreed in nominal numbers.
    """
    require(by, "change", pool)
    cleaned = _clean(fields)
    profiles, agreed = cleaned.pop("profiles", None), cleaned.pop("shares", None)
    with transaction.atomic():
        pool = Pool.objects.select_for_update().get(pk=pool.pk)
        before = _audited(pool)
        limit = cleaned.get("limit", pool.limit)
        if isinstance(limit, int) and limit < pool.held:
            raise Conflict(
                f"limit cannot be {limit} while {pool.held} accelerators are held. Suspend endpoints first.",
                code="limit_below_held",
            )
        for field, value in cleaned.items():
            setattr(pool, field, value)
        pool.save(update_fields=list(cleaned))
        if profiles is not None:
            pool.profiles.set(_profiles(profiles))
        if agreed is not None:
            shares.agree(by, pool, agreed)
        elif "limit" in cleaned:
            shares.check_total(pool)
        after = _audited(pool)
        changed = {name for name in after if after[name] != before[name]}
        if changed:
            record(
                "quotas.change_pool",
                by=by,
                obj=pool,
                before={name: before[name] for name in sorted(changed)},
                after={name: after[name] for name in sorted(changed)},
            )
            services.promote(pool, by=by)
    pool.refresh_from_db()
    return pool


def terms(by: Principal, pool: Pool) -> dict[str, Any]:
    """Return what was agreed about a pool with the projects that `by` may see, and how it is asked back (one query)."""
    return {"give_back": pool.give_back, "grace_hours": pool.grace_hours, "shares": shares.agreed(pool, by)}


def change_terms(by: Principal, pool: Pool, version: str, **fields: object) -> Pool:
    """Change give_back, grace_hours and shares of a pool when `terms` still has the ETag `version`; see `change_pool`.

    Raises PreconditionFailed when somebody else has changed them since they were read.
    """
    require(by, "change", pool)
    with transaction.atomic():
        pool = Pool.objects.select_for_update().get(pk=pool.pk)
        if etag(terms(by, pool)) != version:
            raise PreconditionFailed(
                f"Somebody has changed the shares of {pool.slug} since you opened them. What is different now stands "
                "at each field; look at it, and save again what should hold."
            )
        return change_pool(by, pool, **fields)


def facts(pool: Pool) -> dict[str, object]:
    """Return the configuration of a pool as the API shows it; of its shares everybody sees their own part."""
    return {
        "slug": pool.slug,
        "name": pool.name,
        "cluster": pool.cluster,
        "limit": pool.limit,
        "observed": pool.observed,
        "simulated": pool.simulated,
        "profiles": sorted(profile.slug for profile in pool.profiles.all()),
        "from_nodes": pool.from_nodes,
        "give_back": pool.give_back,
        "grace_hours": pool.grace_hours,
    }


def _audited(pool: Pool) -> dict[str, object]:
    return facts(pool) | {"shares": shares.agreed(pool)}


def check_pools() -> list[Finding]:
    """Compare every pool's counter with the sum of what is held, and with what its nodes report.

    Repairs nothing: each finding is logged each time and audited when it is new or over. One query, plus one a pool.
    """
    total = Sum("reservations__amount", filter=Q(reservations__state=ReservationState.HELD), default=0)
    findings: list[Finding] = []
    for pool in Pool.objects.annotate(total=total):
        found = Finding(pool.slug, "", "The counter is true.")
        if pool.held != pool.total:
            sentence = f"{pool.slug} counts {pool.held} held, its reservations add up to {pool.total}."
            found = Finding(pool.slug, "counter_differs", sentence)
        elif pool.observed < pool.held:
            sentence = f"{pool.slug} has {pool.held} held, its nodes report {pool.observed}."
            found = Finding(pool.slug, "below_held", sentence)
        if found.code:
            findings.append(found)
            log.error("quotas.check_pools code=%s %s", found.code, found.sentence)
        _remember(pool, found)
    return findings


def _remember(pool: Pool, found: Finding) -> None:
    rows = Row.objects.filter(action="quotas.check_pools", object_kind="pool", object_id=str(pool.pk))
    last = rows.order_by("-id").values_list("after", flat=True).first()
    known = json.loads(last) if last else {"code": ""}
    if known.get("code") == found.code:
        return
    with transaction.atomic():
        after = {"code": found.code, "held": pool.held, "observed": pool.observed}
        record("quotas.check_pools", by=system("capacity"), obj=pool, after=after, reason=found.sentence)


def _clean(fields: Mapping[str, object]) -> dict[str, Any]:
    """Return `fields` within their bounds; raises Invalid with a sentence for each one that is not."""
    unknown = sorted(fields.keys() - FIELDS - {"slug"})
    if unknown:
        raise Invalid.field(unknown[0], f"A pool has no field {unknown[0]}; it takes {', '.join(sorted(FIELDS))}.")
    cleaned, errors = dict(fields), dict[str, str]()
    for name in (name for name in ("slug", "cluster") if name in fields):
        try:
            slug_validator(fields[name] if isinstance(fields[name], str) else "")
        except ValidationError:
            errors[name] = f"{name} is {str(fields[name])[:60]!r}. {slug_validator.message}"
    if "name" in fields:
        try:
            cleaned["name"] = clean_text(fields["name"], field="name", low=1, high=80)
        except Invalid as error:
            errors |= error.fields
    for name, (low, high) in BOUNDS.items():
        number = fields.get(name, low)
        if isinstance(number, bool) or not isinstance(number, int) or not low <= number <= high:
            bounds = f"between {low} and {high:,}"
            errors[name] = f"{name} is {str(number)[:40]}; it must be a whole number {bounds}."
    for name in (name for name in ("simulated", "from_nodes") if name in fields):
        if not isinstance(fields[name], bool):
            errors[name] = f"{name} must be true or false."
    if "give_back" in fields and fields["give_back"] not in GiveBackRule.values:
        errors["give_back"] = f"give_back must be one of {', '.join(GiveBackRule.values)}."
    if "shares" in fields:
        cleaned["shares"] = shares.read(fields["shares"], errors)
    if errors:
        raise Invalid.several(errors)
    return cleaned


def _profiles(slugs: object) -> Sequence[HardwareProfile]:
    if not isinstance(slugs, list) or len(slugs) > 200 or not all(isinstance(slug, str) for slug in slugs):
        raise Invalid.field("profiles", "profiles must be a list of at most 200 slugs of hardware profiles.")
    found = list(HardwareProfile.objects.filter(slug__in=slugs))
    absent = sorted(set(slugs) - {profile.slug for profile in found})
    if absent:
        raise Invalid.field("profiles", f"There is no hardware profile {absent[0][:60]}. Choose one that exists.")
    return found
