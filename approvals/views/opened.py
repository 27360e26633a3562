"""One open row of the queue: purpose, plan, rules, evidence, who must say yes, how requests like it were decided, and
what a decision would do.
"""

from collections.abc import Sequence
from typing import Any

from django.db.models import F, OuterRef, QuerySet, Subquery, Value
from django.db.models.fields.json import KT
from django.urls import reverse

from approvals import builtin, services
from approvals.models import Comment, Decision, Mode, Request, RequestKind, Verdict
from approvals.planning.reading import as_read
from approvals.representation import who
from approvals.similar import Similar, answer, compare, like
from approvals.stages.standing import Standing
from approvals.stages.words import people_needed
from approvals.views import cells, review
from approvals.views.queue_list import keep
from approvals.waivers import panels
from catalog import cells as catalog_cells
from portal.errors import GatehouseError
from projects.principal import PortalRequest
from quotas.models import Pool

POOL = ("name", "limit", "observed", "held")
ALONE = "You are the only reviewer needed."


def opened_cells(
    request: PortalRequest,
    item: Request,
    standing: Standing,
    refused: GatehouseError | None,
    reason: str,
) -> dict[str, Any]:
    """Return what a reviewer needs to decide in place, of an item of `with_pool` that has its stages (three queries at
    most). `refused`: why the last try was.
    """
    body, version = item.body, item.version
    fresh = refused.extra.get("plan") if refused is not None else None
    stale = isinstance(fresh, dict) and bool(fresh.get("checks"))
    shown = fresh if isinstance(fresh, dict) and stale else as_read(request.principal, item)
    decisions, alike = compare(request.principal, item)
    keep(item, "decisions", decisions)
    comments, verdicts = _remarks(item)
    said = [row for row in review.decision_cells(item) if row["row"].submission <= item.submission]
    return {
        "item": item,
        "purpose": body.get("purpose", ""),
        "context": context_of(item),
        "plan": cells.plan_cells(shown, ends_on=_ends_on(item), profile=item.profile, digest=item.plan_digest),
        "is_fresh": stale,
        "pool": _pool_now(item),
        "trust": catalog_cells.trust(version) if version else [],
        "reports": _reports(item),
        "version_label": cells.what(item),
        "version_url": catalog_cells.detail_url(version.asset, version, "evidence") if version else "",
        "similar": [_similar(item, row) for row in alike.rows],
        "similar_words": _counted(alike, verdicts),
        "stages": review.stage_cells(item),
        "assignee": item.assignee.username if item.assignee else "",
        "changes": review.change_cells(item),
        "earlier": [{"who": row["who"], "words": row["words"], "reason": row["row"].reason} for row in said],
        "comments": comments,
        "own": builtin.is_own(request.principal.person, item.requester_id),
        "decides": standing.decides(item),
        "request_url": reverse("request_detail", args=[item.pk]),
        "reason": {
            "name": "reason",
            "label": "Reason, kept in the record",
            "kind": "text",
            "value": reason,
            "error": refused.fields.get("reason", "") if refused else "",
            "attrs": {
                "maxlength": services.MAX_REASON,
                "autocomplete": "off",
                "data-focus": refused is not None and "reason" in refused.fields,
                "placeholder": "Needed to reject or to ask for changes",
            },
        },
        "waive_url": panels.waive_url(item),
        "approve_url": reverse("approval_approve", args=[item.pk]),
        "reject_url": reverse("approval_reject", args=[item.pk]),
        "changes_url": reverse("approval_request_changes", args=[item.pk]),
        "consequence": consequence(item),
    }


def _remarks(item: Request) -> tuple[list[dict[str, Any]], list[tuple[str, bool]]]:
    """Return the comments on a request, and what each envelope in shadow said of it: rule, whether it would have
    approved (one query for both).
    """
    here = Verdict.objects.filter(request=item, submission=item.submission, mode=Mode.SHADOW)
    shadow = here.annotate(text=F("why"), yes=F("approves")).values_list(Value("shadow"), "rule", "text", "at", "yes")
    comments = Comment.objects.filter(request=item).annotate(yes=Value(False)).order_by()
    rows = comments.values_list(Value("comment"), "author__username", "text", "at", "yes")
    found = sorted(rows.union(shadow.order_by(), all=True), key=lambda row: row[3])
    spoken = [{"author": who, "text": text, "at": at} for kind, who, text, at, _ in found if kind == "comment"]
    return spoken, [(rule, bool(yes)) for kind, rule, _, _, yes in found if kind == "shadow"]


def _counted(alike: Similar, shadow: Sequence[tuple[str, bool]]) -> str:
    """Return how many like it were approved, and what rules in shadow would have said of this one."""
    yes = ", ".join(rule for rule, approves in shadow if approves)
    no = ", ".join(rule for rule, approves in shadow if not approves)
    words = f"In shadow, {yes} would have approved this one." if yes else ""
    if no and not yes:
        words = f"In shadow, {no} would have left it to people."
    return " ".join(part for part in (alike.sentence, words) if part)


def with_pool(rows: QuerySet[Request]) -> QuerySet[Request]:
    """Return `rows` with the pool that their plan names, as it is now."""
    named = Pool.objects.filter(slug=OuterRef("pool_slug"))
    columns = {f"pool_{name}": Subquery(named.values(name)[:1]) for name in POOL}
    return rows.annotate(pool_slug=KT("plan__room__pool")).annotate(**columns)


def _reports(item: Request) -> list[dict[str, str]]:
    """Return the raw reports of what is to be let in."""
    version = item.version
    if item.kind != RequestKind.ADMISSION or version is None:
        return []
    address = [version.asset.slug, version.version]
    return [
        {"title": one["title"], "url": reverse("catalog_report", args=[*address, one["kind"]])}
        for one in item.plan.get("evidence", [])
        if one["digest"]
    ]


def _pool_now(item: Request) -> dict[str, Any] | None:
    """Return the pool as it is now: the frozen plan tells how it was. Of an item of `with_pool`."""
    room = item.plan.get("room") or {}
    found = {name: getattr(item, f"pool_{name}") for name in POOL}
    if found["name"] is None:
        return None
    pool = Pool(**found)
    free = max(0, min(pool.limit, pool.observed) - pool.held)
    own, needed = room.get("own", 0), room["needed"]
    enough = free + own >= needed
    if free >= needed:
        words = f"{needed} of {free} free"
    elif enough:
        words = f"{free} free and {own} of its own: old engines end first"
    else:
        words = f"waits: {free} free, {needed} needed"
    return {"name": pool.name, "held": f"{pool.held} of {pool.limit} held now", "words": words, "enough": enough}


def _similar(item: Request, row: Decision) -> dict[str, Any]:
    parts = (row.request.name, like(item, row), row.request.environment)
    said = who(row)
    return {
        "number": row.request.number,
        "url": reverse("request_detail", args=[row.request_id]),
        "name": " · ".join(part for part in parts if part),
        "words": f"“{row.reason}” – {said}" if row.reason else f"by {said}",
        "chip": cells.state_chip(answer(row)),
    }


def _ends_on(item: Request) -> str | None:
    """Return the end date that the cost of a plan is calculated to: the asked one, or the endpoint's own."""
    asked: str | None = item.body.get("ends_on") or item.plan.get("endpoint", {}).get("ends_on")
    return asked


def context_of(item: Request) -> str:
    """Return who asks, with which data, until when."""
    body = item.body
    asker = item.requester.username
    if item.kind == RequestKind.ACCESS and item.project is not None:
        asker = f"{asker} for {item.project.slug}"
    data = f"{body['data_classification']} data" if body.get("data_classification") else ""
    until = f"until {cells.iso_day(body['ends_on'])}" if body.get("ends_on") else ""
    return ", ".join(part for part in (asker, data, until) if part)


def consequence(item: Request) -> str:
    """Return what approving does, before it happens."""
    more = people_needed(item.plan) - sum(one.submission == item.submission for one in item.decisions.all()) - 1
    if more > 0:
        people = "one more person says" if more == 1 else f"{more} more people say"
        return f"Your yes counts; what was asked for is done when {people} so, too."
    return f"{_does(item)} {ALONE if people_needed(item.plan) == 1 else 'Yours is the last yes needed.'}"


def _does(item: Request) -> str:
    until = f" until {cells.iso_day(item.body['ends_on'])}" if item.body.get("ends_on") else ""
    words = {
        RequestKind.REVISION: "Approving rolls the revision out at once.",
        RequestKind.RENEWAL: f"Approving lets {item.name} run{until}.",
        RequestKind.ACCESS: f"Approving lets {item.project} call {item.name}{until} with keys of its own.",
        RequestKind.MCP_ACCESS: f"Approving lets {item.project} use {cells.what(item)}{until}.",
        RequestKind.QUOTA: f"Approving raises the quota at once{until}.",
        RequestKind.ADMISSION: f"Approving lets {cells.what(item)} into the catalog, for everyone it is for.",
        RequestKind.WAIVER: f"Approving lets it go on although the rule fails{until}.",
    }.get(RequestKind(item.kind))
    if words:
        return words
    gpus = item.plan.get("gpus", {}).get("total", 0)
    what = f"Approving reserves {gpus} GPU{'s' if gpus != 1 else ''}, or queues for them, and" if gpus else "Approving"
    return f"{what} starts provisioning at once."
