"""Shares of pools: agreeing on them, and what a reader may see of them.

What was agreed with a project is its weight, or a nominal number of accelerators; without anything it has the weight 1
(quotas/fairness.py says what follows from that).
"""

from collections.abc import Iterable, Mapping
from typing import Any

from portal.errors import Conflict, Invalid
from projects.models import Project
from projects.permissions import require, visible
from projects.principal import Principal
from quotas import devices, fairness, lines
from quotas.models import Node, Pool, Share

KEYS = ("weight", "nominal", "borrowing_limit")
HIGHEST = {"weight": 100, "nominal": 100_000, "borrowing_limit": 100_000}
MOST = 500  # projects of one pool


def agree(by: Principal, pool: Pool, wanted: object) -> None:
    """Make the shares of `pool` those that are `wanted`: a list of {project, weight, nominal, borrowing_limit}. Part of
    the transaction of the caller, who records it. Raises Forbidden, Invalid, and Conflict `shares_above_limit` when the
    nominal numbers are more than the pool has.
    """
    require(by, "change", pool)
    if not isinstance(wanted, list) or len(wanted) > MOST:
        raise Invalid.field("shares", f"shares must be a list of at most {MOST} objects.")
    rows = [_clean(one) for one in wanted]
    slugs = [str(row.pop("project")) for row in rows]
    known = {one.slug: one for one in visible(by, Project.objects.filter(slug__in=slugs))}
    absent = next((slug for slug in slugs if slug not in known), None)
    if absent is not None:
        raise Invalid.field("shares", f"There is no project {absent[:60]}. Choose one that exists.")
    if len(set(slugs)) < len(slugs):
        raise Invalid.field("shares", "shares names a project twice. Name each once.")
    total = sum(row["nominal"] or 0 for row in rows)
    if total > pool.limit:
        raise Conflict(
            f"The nominal numbers add up to {total}, and {pool.slug} has {pool.limit}. Lower them, or use weights.",
            code="shares_above_limit",
        )
    Share.objects.filter(pool=pool).delete()
    Share.objects.bulk_create(
        Share(pool=pool, project=known[slug], **row) for slug, row in zip(slugs, rows, strict=True)
    )


def agreed(pool: Pool) -> list[dict[str, Any]]:
    """Return what was agreed about a pool, by project (one query)."""
    rows = Share.objects.filter(pool=pool).order_by("project__slug").values("project__slug", *KEYS)
    return [{"project": row["project__slug"], **{key: row[key] for key in KEYS}} for row in rows]


def seen(principal: Principal, pools: Iterable[Pool]) -> dict[int, dict[str, Any]]:
    """Return `shares` and `nodes` of each pool by its id, as the API shows them: of projects that the reader may see
    (four queries).
    """
    found = {pool.pk: pool for pool in pools}
    names = dict(visible(principal, Project.objects.all()).values_list("pk", "slug"))
    terms: dict[int, dict[int, Share]] = {pk: {} for pk in found}
    for share in Share.objects.filter(pool__in=found):
        terms[share.pool_id][share.project_id] = share
    read = lines.read(found)
    parts = devices.parts(found.values(), Node.objects.filter(cluster__in={pool.cluster for pool in found.values()}))
    return {
        pk: {
            "shares": _shares(read.get(pk, fairness.Line(pool.limit, pool.observed)), terms[pk], names),
            "nodes": [_node(part) for part in parts[pk]],
        }
        for pk, pool in found.items()
    }


def _shares(line: fairness.Line, terms: Mapping[int, Share], names: Mapping[int, str]) -> list[dict[str, Any]]:
    own, beyond = fairness.shares(line), fairness.borrowed(line)
    rows = []
    for project in sorted({*own, *terms} & names.keys(), key=lambda pk: names[pk]):
        known = terms.get(project, Share())
        rows.append(
            {
                "project": names[project],
                **{key: getattr(known, key) for key in KEYS},
                "share": round(float(own[project]), 2) if project in own else None,
                "held": line.held.get(project, 0),
                "waiting": sum(claim.amount for claim in line.waiting if claim.project == project),
                "borrowed": beyond.get(project, 0),
            }
        )
    return rows


def _node(part: devices.Part) -> dict[str, Any]:
    node = part.node
    return {
        "name": node.name, "resource": node.resource, "product": node.product, "memory_mib": node.memory_mib,
        "capacity": part.count, "allocatable": part.usable, "condition": node.condition, "since": node.since,
    }  # fmt: skip


def _clean(one: object) -> dict[str, Any]:
    if not isinstance(one, dict) or not isinstance(one.get("project"), str):
        raise Invalid.field("shares", "Each of shares must be an object that names its project.")
    unknown = sorted(str(key)[:40] for key in one if key not in {"project", *KEYS})
    if unknown:
        raise Invalid.field("shares", f"A share has no {unknown[0]}; it takes project, {', '.join(KEYS)}.")
    row = {"project": one["project"][:60], "weight": 1, "nominal": None, "borrowing_limit": None}
    for key in KEYS:
        value = one.get(key)
        if value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= HIGHEST[key]:
            raise Invalid.field(
                "shares", f"{key} is {str(value)[:40]}; it must be a whole number between 0 and {HIGHEST[key]:,}."
            )
        row[key] = value
    return row
