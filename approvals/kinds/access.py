"""To call another project's endpoint: which one, how busy, with which data, until when. Approval shares it.

Only endpoints that their owners marked as shareable can be asked for; any other one answers like an unknown one. An
owner of the endpoint's project decides; platform engineers and governance leads may, too.
"""

from dataclasses import dataclass, replace
from typing import Any

from approvals import builtin, sizing, usage
from approvals.bodies import AccessBody
from approvals.kinds.base import (
    Subject,
    ask_once,
    endpoint_facts,
    living,
    named_project,
    require_open,
    running,
    shell,
    shortened,
)
from approvals.models import Request
from approvals.planning import security
from approvals.planning.around import around
from approvals.policies import facts
from approvals.verdicts import FAIL, PASS, WARN, Check
from catalog.evidence.licence import terms
from catalog.models import Access, Asset
from endpoints import services as endpoints
from endpoints.models import Endpoint, Phase, Revision, Share
from portal.errors import Invalid
from projects.models import Project
from projects.principal import Principal

MAX_REASON = 500


@dataclass(frozen=True)
class Resolved:
    """Who wants to call what. `granted`: what the project has already."""

    project: Project
    endpoint: Endpoint
    revision: Revision
    granted: Share | None

    @property
    def subject(self) -> Subject:
        """What the request keeps."""
        endpoint, revision = self.endpoint, self.revision
        return Subject(self.project, endpoint.name, endpoint.environment, revision.version, revision.profile, endpoint)


def subject(by: Principal, body: AccessBody) -> Subject:
    """Return what a draft is about: the project that asks. The endpoint's owners learn of it when it is sent."""
    return Subject(named_project(by, body))


def resolve(by: Principal, body: AccessBody) -> Resolved:
    """Look up project and endpoint; raises Invalid with one sentence for unknown, deleted and not shareable alike."""
    project = named_project(by, body)
    endpoint = living().filter(pk=body.endpoint, shareable=True).first() if body.endpoint else None
    if endpoint is None or not _seen(by, endpoint):
        raise Invalid.field(
            "endpoint",
            f"endpoint {body.endpoint} is not one that is offered to other projects. Choose one that its owner shares.",
        )
    if endpoint.project_id == project.pk:
        raise Invalid.field(
            "endpoint",
            f"endpoint {endpoint.name} belongs to {project.slug} itself. Make a key for it; nobody is asked.",
        )
    granted = Share.objects.filter(endpoint=endpoint, project=project, ended_at__isnull=True).first()
    until = granted.ends_on if granted else None
    if granted is not None and (until is None or (body.ends_on is not None and body.ends_on <= until)):
        words = f"until {until} " if until else ""
        raise Invalid.field(
            "ends_on",
            f"ends_on is {body.ends_on}; {project.slug} may call {endpoint.name} {words}already. Choose a later date.",
        )
    revision = running(endpoint)
    require_open(by, revision.version.asset, project, field="endpoint")
    return Resolved(project, endpoint, revision, granted)


def _seen(by: Principal, endpoint: Endpoint) -> bool:
    """Whether `by` may know what the endpoint runs (a query only where its asset is not for everyone)."""
    asset = endpoint.revision.version.asset if endpoint.revision else None
    if asset is None or asset.access == Access.EVERYONE:
        return True
    return Asset.objects.visible_to(by).filter(pk=asset.pk).exists()


def build(by: Principal, body: AccessBody, found: Resolved) -> dict[str, Any]:
    """Return the plan: the endpoint, how busy it is, whether the data fit, until when."""
    endpoint, version = found.endpoint, found.revision.version
    load = usage.load(endpoint)
    checks = [
        builtin.may_go_on(version),
        _answers(endpoint),
        _data(body, endpoint),
        _not_full(load),
        _lasts(body, endpoint),
        builtin.no_demo_for(version, body.data_classification or endpoint.data_classification),
    ]
    owner = endpoint.project.slug
    shared = f"Members of {found.project.slug} would call it with keys of their own; each such call is counted to them."
    near = around(found.project, terms(version.licence))
    half = security.security(
        version,
        replace(near, callers=replace(near.callers, keys=0)),  # a key for it is made when it is shared
        cluster=endpoint.cluster,
        environment=endpoint.environment,
        classification=body.data_classification or endpoint.data_classification,
        exposure={"value": "shared", "sentence": shared},
    )
    return {
        **shell("access", checks),
        **sizing.asset_facts(version, endpoint.cluster),
        "endpoint": endpoint_facts(endpoint) | {"model": f"{owner}/{endpoint.name}"},
        "project": found.project.slug,
        "load": load,
        "security": half,
        "data": {"endpoint": endpoint.data_classification, "asked": body.data_classification},
        "ends_on": {
            "before": found.granted.ends_on.isoformat() if found.granted and found.granted.ends_on else None,
            "after": body.ends_on.isoformat() if body.ends_on else None,
        },
    }


def _answers(endpoint: Endpoint) -> Check:
    ok = endpoint.phase in {Phase.READY, Phase.DEGRADED}
    fix = "" if ok else "Wait until it answers, or ask its owner."
    return Check("acc-001", "Endpoint answers", PASS if ok else WARN, f"It is {endpoint.phase}.", fix, "endpoint")


def _data(body: AccessBody, endpoint: Endpoint) -> Check:
    """The endpoint was approved for a class of data; whoever shares it sends nothing more sensitive."""
    approved, asked = endpoint.data_classification, body.data_classification or endpoint.data_classification
    title = "Data class fits"
    if facts.LEVELS.get(asked, 0) > facts.LEVELS.get(approved, 0):
        reason = f"It was approved for {approved} data; {asked} data are more sensitive."
        return Check("acc-002", title, FAIL, reason, "Ask for an endpoint of your own.", "data_classification")
    reason = f"It was approved for {approved} data; send nothing more sensitive." if approved else "It names no class."
    return Check("acc-002", title, PASS, reason, "", "data_classification")


def _not_full(load: dict[str, Any]) -> Check:
    full = load["waiting"] > 0 or (load["seats"] > 0 and load["running"] >= load["seats"])
    fix = "An endpoint of your own would not wait; or its owner asks for more replicas." if full else ""
    return Check("acc-003", "Has room for more calls", WARN if full else PASS, load["sentence"], fix, "endpoint")


def _lasts(body: AccessBody, endpoint: Endpoint) -> Check:
    short = endpoint.ends_on is not None and body.ends_on is not None and endpoint.ends_on < body.ends_on
    reason = f"It runs until {endpoint.ends_on}." if endpoint.ends_on else "It has no end date."
    fix = "It can be renewed by its owner before then." if short else ""
    return Check("acc-004", "Runs as long as asked", WARN if short else PASS, reason, fix, "ends_on")


def guard(request: Request, found: Resolved) -> None:
    """One at a time for the same endpoint and project."""
    ask_once(request, found.subject, words=f"access to {found.endpoint.project.slug}/{found.endpoint.name}")


def apply(by: Principal, request: Request, body: AccessBody, found: Resolved) -> Endpoint:
    """Share the endpoint with the project."""
    endpoints.share(
        by,
        found.endpoint,
        found.project,
        ends_on=body.ends_on,
        reason=shortened(body.purpose or "", MAX_REASON),
        reference=request.number,
    )
    return found.endpoint
