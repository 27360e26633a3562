"""Shares of pools: agreeing on them, and what a reader may see of them.

What was agreed with a project is its weight, or a nominal number of accelerators; without anything it has the weight 1
(quotas/fairness.py says what follows from that).
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from django.db.models import Sum

from portal.errors import Conflict, Invalid
from projects.models import Project
from projects.permissions import require, visible
from projects.principal import Principal
from quotas import devices, fairness, lines
from quotas.models import Node, Pool, Share

KEYS = ("weight", "nominal", "borrowing_limit")
HIGHEST = {"weight": 100, "nominal": 100_000, "borrowing_limit": 100_000}
MOST = 500  # projects of one pool


def read(wanted: object, errors: dict[str, str]) -> list[dict[str, Any]]:
    """Return `wanted`, a list of {project, weight, nominal, borrowing_limit}, with all of them in each row, and put a
    sentence into `errors` for each `shares.<place>.<field>` that is out of its bounds.
    """
    if not isinstance(wanted, list) or len(wanted) > MOST:
        errors["shares"] = f"shares must be a list of at most {MOST} objects."
        return []
    return [_clean(one, f"shares.{place}", errors) for place, one in enumerate(wanted)]


def agree(by: Principal, pool: Pool, rows: Sequence[Mapping[str, Any]]) -> None:
    """Make the shares of `pool` those that `read` has returned. Part of the transaction of the caller, who records it.
    What was agreed with projects that `by` may not see stays: a preset may let somebody change pools who is a member of
    few projects.

    Raises Forbidden, Invalid for each `shares.<place>.project` that is none, and Conflict `shares_above_limit`.
    """
    require(by, "change", pool)
    theirs = visible(by, Project.objects.all())
    known = {one.slug: one for one in theirs.filter(slug__in=[row["project"] for row in rows])}
    errors, seen_before = dict[str, str](), set[str]()
    for place, slug in enumerate(str(row["project"]) for row in rows):
        if slug not in known:
            errors[f"shares.{place}.project"] = f"There is no project {slug}. Choose one that exists."
        elif slug in seen_before:
            errors[f"shares.{place}.project"] = f"shares names {slug} twice. Name each project once."
        seen_before.add(slug)
    if errors:
        raise Invalid.several(errors)
    Share.objects.filter(pool=pool, project__in=theirs).delete()
    Share.objects.bulk_create(Share(pool=pool, **{**row, "project": known[row["project"]]}) for row in rows)
    check_total(pool)


def check_total(pool: Pool) -> None:
    """Raise Conflict `shares_above_limit` when the nominal numbers of `pool` are together more than it has."""
    total = Share.objects.filter(pool=pool).aggregate(total=Sum("nominal"))["total"] or 0
    if total > pool.limit:
        raise Conflict(
            f"The nominal numbers add up to {total:,}, and {pool.slug} has {pool.limit:,}. Lower them, or use weights.",
            code="shares_above_limit",
        )


def agreed(pool: Pool, reader: Principal | None = None) -> list[dict[str, Any]]:
    """Return what was agreed about a pool, by project (one query); with `reader`, of projects that they may see."""
    rows = Share.objects.filter(pool=pool).order_by("project__slug")
    if reader is not None:
        rows = rows.filter(project__in=visible(reader, Project.objects.all()))
    found = rows.values("project__slug", *KEYS)
    return [{"project": row["project__slug"], **{key: row[key] for key in KEYS}} for row in found]


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


def _clean(one: object, field: str, errors: dict[str, str]) -> dict[str, Any]:
    """Return one row, and put into `errors` what is wrong with it."""
    row: dict[str, Any] = {"project": "", "weight": 1, "nominal": None, "borrowing_limit": None}
    if not isinstance(one, dict) or not isinstance(one.get("project"), str) or not one["project"]:
        errors[f"{field}.project"] = "Each of shares must be an object that names its project."
        return row
    row["project"] = one["project"][:60]
    unknown = sorted(str(key)[:40] for key in one if key not in row)
    if unknown:
        errors[f"{field}.{unknown[0]}"] = f"A share has no {unknown[0]}; it takes project, {', '.join(KEYS)}."
    for key in KEYS:
        value = one.get(key)
        if value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= HIGHEST[key]:
            errors[f"{field}.{key}"] = (
                f"{key} of {row['project']} is {str(value)[:40]}; it must be a whole number between 0 and "
                f"{HIGHEST[key]:,}."
            )
        row[key] = value
    return row
