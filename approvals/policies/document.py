"""The input document that rules read. docs/policies.md lists every field; `SAMPLE` is a whole one, and the base of
every test of a bundle.

Every field is always there, so that a rule reads it without `has()`: what does not apply is "", 0, false or [], and a
number that nobody has measured is -1. Only facts stand in it, never a secret: it is kept with the plan, digested.
"""

import datetime as dt
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.db.models import Count, OuterRef, QuerySet, Subquery, Sum
from django.db.models.functions import Coalesce
from django.utils import timezone

from approvals.bodies import RequestBody
from approvals.models import Waiver, WaiverState
from approvals.policies import facts
from approvals.policies.facts import LEVELS, of_version, with_evidence
from approvals.policies.sample import SAMPLE
from catalog import fit
from catalog.models import Kind, with_pins
from endpoints.models import Endpoint, Revision
from endpoints.sharing import living_shares
from projects.principal import Principal
from quotas.models import UsageDay
from quotas.rollups import floor

if TYPE_CHECKING:  # the kinds read the findings through here
    from approvals.kinds.base import Subject

__all__ = ["SAMPLE", "counted", "of_endpoint", "of_endpoints", "of_request", "of_rows", "of_version",
           "with_evidence"]  # fmt: skip

DAYS = 30  # of use that a document tells
CHUNK = 500


def of_request(by: Principal, body: RequestBody, subject: "Subject", plan: Mapping[str, Any]) -> dict[str, Any]:
    """Return the document of a request that `by` makes with `body`, whose plan so far is `plan`."""
    project, endpoint = subject.project, subject.endpoint
    return {
        "request": _request(body, subject, plan),
        "requester": {
            "username": by.person.username,
            "role": (by.role_in(project.pk) or "") if project else "",
            "groups": sorted(by.groups),
            "service_account": by.person.is_service,
        },
        "project": facts.of_project(project, plan.get("project_gpus")),
        **of_version(subject.version),
        "profile": facts.of_profile(subject.profile),
        "plan": facts.of_plan(plan),
        "endpoint": facts.of_endpoint(endpoint, _monthly(endpoint), plan.get("usage")),
        "quota": facts.of_quota(plan),
        "tools": facts.of_tools(plan),
        "object": {},
        "now": facts.today(),
    }


def _request(body: RequestBody, subject: "Subject", plan: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is asked for; what a body leaves open is as the endpoint has it."""
    endpoint, given = subject.endpoint, body.stored()
    now = _of_revision(endpoint.revision if endpoint else None)
    end = getattr(body, "ends_on", None) or (endpoint.ends_on if endpoint and "ends_on" not in given else None)
    classified = given.get("data_classification") or (endpoint.data_classification if endpoint else "")
    shared = body.kind == "access" or (endpoint is not None and endpoint.shareable)
    return {
        "kind": body.kind,
        "name": subject.name,
        "environment": subject.environment,
        **{name: given.get(name) or value for name, value in now.items()},
        "purpose": body.purpose or "",
        "data_classification": classified,
        "data_level": LEVELS.get(classified, 0),
        "exposure": "shared" if shared else "project",
        **_until(end),
        "running": False,
        "changes": [change["field"] for change in plan.get("changes") or () if plan.get("kind") == "revision"],
    }


def _of_revision(revision: Revision | None) -> dict[str, int]:
    names = ("replicas", "concurrency", "context_tokens")
    return {name: int(getattr(revision, name)) if revision is not None else 0 for name in names}


def _until(end: dt.date | None) -> dict[str, Any]:
    return {"ends_on": end.isoformat() if end else "", "days": (end - timezone.now().date()).days if end else 0}


def _monthly(endpoint: Endpoint | None) -> float:
    revision = endpoint.revision if endpoint else None
    if revision is None:
        return 0.0
    return round(float(revision.profile.price_per_hour * revision.replicas * settings.HOURS_PER_MONTH), 2)


# --- What runs --------------------------------------------------------------------------------------------------------


def counted(rows: QuerySet[Endpoint]) -> QuerySet[Endpoint]:
    """Return `rows` with what a document counts of each: projects that it is shared with, waivers that hold."""
    holding = Waiver.objects.filter(state=WaiverState.ACTIVE, ends_on__gte=timezone.now().date())
    return rows.annotate(shares_now=_number(living_shares()), waivers_now=_number(holding))


def _number(rows: QuerySet[Any]) -> Coalesce:
    mine = rows.filter(endpoint=OuterRef("pk")).order_by().values("endpoint")
    return Coalesce(Subquery(mine.annotate(number=Count("pk")).values("number")), 0)


def of_endpoint(endpoint: Endpoint) -> dict[str, Any]:
    """Return the document of one endpoint that runs, as `of_endpoints` does (three queries)."""
    return next(of_endpoints(Endpoint.objects.filter(pk=endpoint.pk)))[1]


def of_endpoints(rows: QuerySet[Endpoint] | Sequence[Endpoint]) -> Iterator[tuple[Endpoint, dict[str, Any]]]:
    """Yield each endpoint of `rows` with its document: as if it were asked for today as it runs, with
    `request.running`. A constant number of queries for 500 of them. Rows that were read already are those of
    `approvals.kinds.base.living`.
    """
    if not isinstance(rows, QuerySet):
        yield from zip(rows, of_rows(rows), strict=True)
        return
    related = ("project", "cluster", "created_by", "revision__version__asset", "revision__profile")
    found = counted(with_pins(rows.select_related(*related), "revision__version")).iterator(chunk_size=CHUNK)
    versions: dict[int | None, dict[str, Any]] = {None: of_version(None)}
    while chunk := list(islice(found, CHUNK)):
        yield from zip(chunk, of_rows(chunk, versions), strict=True)


def of_rows(
    endpoints: Sequence[Endpoint], versions: dict[int | None, dict[str, Any]] | None = None
) -> Iterator[dict[str, Any]]:
    """Yield the document of each of `endpoints`, which were read as `of_endpoints` reads them (two queries for all).
    `versions`: the parts about versions that are known by now, by id.
    """
    known = versions if versions is not None else {None: of_version(None)}
    runs = {one.revision.version_id: one.revision.version for one in endpoints if one.revision}
    fresh = [version for key, version in runs.items() if key not in known]
    with_evidence(fresh)
    known |= {version.pk: of_version(version) for version in fresh}
    calls = _calls(endpoints)
    for endpoint in endpoints:
        version = known[endpoint.revision.version_id if endpoint.revision else None]
        yield _running(endpoint, version, calls.get(str(endpoint.pk), {"requests": 0, "tokens": 0}))


def _calls(endpoints: Sequence[Endpoint]) -> dict[str, dict[str, int]]:
    """Return calls and tokens of the last 30 days by endpoint id (one query)."""
    since = floor(timezone.now(), "day") - dt.timedelta(days=DAYS - 1)
    rows = UsageDay.objects.filter(endpoint_id__in=[str(one.pk) for one in endpoints], start__gte=since).order_by()
    sums = rows.values_list("endpoint_id").annotate(Sum("requests"), Sum("input_tokens"), Sum("output_tokens"))
    return {key: {"requests": calls, "tokens": sent + got} for key, calls, sent, got in sums}


def _running(endpoint: Endpoint, version: Mapping[str, Any], used: Mapping[str, int]) -> dict[str, Any]:
    revision, by, classified = endpoint.revision, endpoint.created_by, endpoint.data_classification
    return {
        "request": {
            "kind": "endpoint",
            "name": endpoint.name,
            "environment": endpoint.environment,
            **_of_revision(revision),
            "purpose": endpoint.purpose,
            "data_classification": classified,
            "data_level": LEVELS.get(classified, 0),
            "exposure": "shared" if endpoint.shareable or getattr(endpoint, "shares_now", 0) > 0 else "project",
            **_until(endpoint.ends_on),
            "running": True,
            "changes": [],
        },
        "requester": {
            "username": by.username if by else "",
            "role": "",
            "groups": [],
            "service_account": bool(by and by.is_service),
        },
        "project": facts.of_project(endpoint.project, None),
        **version,
        "profile": facts.of_profile(revision.profile if revision else None),
        "plan": facts.of_plan(_plan(endpoint)),
        "endpoint": facts.of_endpoint(endpoint, _monthly(endpoint), used),
        "quota": facts.empty("quota"),
        "tools": [],
        "object": {},
        "now": facts.today(),
    }


def _plan(endpoint: Endpoint) -> dict[str, Any]:
    """Return the numbers of what runs as a plan says them, as far as they need no query."""
    revision = endpoint.revision
    if revision is None:
        return {}
    profile, version = revision.profile, revision.version
    plan: dict[str, Any] = {"gpus": {"total": profile.accelerator_count * revision.replicas}}
    if version.asset.kind == Kind.MODEL and version.needs:
        memory = fit.memory(
            version.needs, profile, revision.context_tokens, revision.concurrency, settings.GPU_MEMORY_UTILISATION
        )
        plan["memory"] = {"fits": memory.fits, "limit_bytes": memory.limit, "spare_bytes": memory.spare}
    hourly = profile.price_per_hour * revision.replicas
    days = max((endpoint.ends_on - timezone.now().date()).days, 0) if endpoint.ends_on else 0
    plan["cost"] = {
        "currency": profile.currency,
        "per_hour": str(round(hourly, 2)),
        "per_month": str(round(hourly * settings.HOURS_PER_MONTH, 2)),
        "until_end": str(round(hourly * 24 * days, 2)),
    }
    return plan | {"cluster": endpoint.cluster.slug, "simulated": endpoint.cluster.simulated}
