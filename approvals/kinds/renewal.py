"""A later end date: is it used, what will it cost, may its version go on. Approval extends it."""

from dataclasses import dataclass
from typing import Any

from approvals import builtin, sizing, usage
from approvals.bodies import RenewalBody
from approvals.kinds.base import Subject, ask_once, endpoint_facts, own_endpoint, require_open, running, shell
from approvals.models import Request
from approvals.planning import security
from approvals.verdicts import FAIL, PASS, WARN, Check
from endpoints import services as endpoints
from endpoints.models import Endpoint, Revision
from endpoints.seats import accelerators, seat_of
from endpoints.services import Authorization
from portal.errors import Invalid
from projects.principal import Principal
from quotas.gpus import gpu_limit


@dataclass(frozen=True)
class Resolved:
    """The endpoint and what it runs."""

    endpoint: Endpoint
    revision: Revision

    @property
    def subject(self) -> Subject:
        """What the request keeps."""
        return subject_of(self.endpoint)


def subject_of(endpoint: Endpoint) -> Subject:
    """Return what a request about an own endpoint keeps."""
    revision = endpoint.revision
    return Subject(
        endpoint.project,
        endpoint.name,
        endpoint.environment,
        revision.version if revision else None,
        revision.profile if revision else None,
        endpoint,
    )


def subject(by: Principal, body: RenewalBody) -> Subject:
    """Return what a draft is about: the endpoint says in which project it is."""
    return subject_of(own_endpoint(by, body.endpoint))


def resolve(by: Principal, body: RenewalBody) -> Resolved:
    """Look up the endpoint; raises Invalid when it is not the caller's, or the new end date is not later."""
    endpoint = own_endpoint(by, body.endpoint)
    if endpoint.ends_on is None:
        raise Invalid.field("endpoint", f"endpoint {endpoint.name} has no end date; there is nothing to renew.")
    if body.ends_on is not None and body.ends_on <= endpoint.ends_on:
        raise Invalid.field(
            "ends_on",
            f"ends_on is {body.ends_on}; {endpoint.name} runs until {endpoint.ends_on} already. Choose a later date.",
        )
    revision = running(endpoint)
    require_open(by, revision.version.asset, endpoint.project, field="endpoint")
    return Resolved(endpoint, revision)


def build(by: Principal, body: RenewalBody, found: Resolved) -> dict[str, Any]:
    """Return the plan: use of the last 30 days, cost until the new end, checks."""
    endpoint, revision = found.endpoint, found.revision
    used, replicas = usage.used(endpoint), revision.replicas
    gpus, seat = accelerators(revision), seat_of(endpoint)
    checks = [builtin.may_go_on(revision.version), _is_used(used)]
    if gpus:
        checks.append(_quota(found, gpus, 0 if not seat.state else seat.amount))
    per_replica = revision.profile.accelerator_count
    half = security.of_endpoint(revision.version, endpoint)
    return {
        **shell("renewal", checks),
        **sizing.asset_facts(revision.version, endpoint.cluster),
        "endpoint": endpoint_facts(endpoint),
        "ends_on": {"before": endpoint.ends_on.isoformat() if endpoint.ends_on else None, "after": _iso(body)},
        "usage": used,
        "security": half,
        "gpus": {"per_replica": per_replica, "replicas": replicas, "total": gpus},
        "cost": sizing.cost(revision.profile, replicas, body.ends_on),
    }


def _iso(body: RenewalBody) -> str | None:
    return body.ends_on.isoformat() if body.ends_on else None


def _is_used(used: dict[str, Any]) -> Check:
    idle = not used["requests"]
    fix = "Suspend or delete it instead, or say in the purpose why it stays." if idle else ""
    return Check("use-001", "It is used", WARN if idle else PASS, used["sentence"], fix, "endpoint")


def _quota(found: Resolved, gpus: int, held: int) -> Check:
    """A suspended endpoint takes its accelerators again when it goes on."""
    limit = gpu_limit(found.endpoint.project)
    title, slug = "Within the project's GPU quota", found.endpoint.project.slug
    if limit.left is None or gpus - held <= limit.left:
        reason = f"It holds {held} of {gpus} GPUs." if held else f"It takes {gpus} GPUs when it runs again."
        return Check("project-gpu-quota", title, PASS, reason, "", "endpoint")
    return Check(
        "project-gpu-quota",
        title,
        FAIL,
        f"It takes {gpus - held} more GPUs when it runs again, and {slug} may hold {limit.limit} and has "
        f"{limit.held + limit.waiting}.",
        "Suspend another endpoint, or ask for a larger GPU quota first.",
        "endpoint",
    )


def guard(request: Request, found: Resolved) -> None:
    """One at a time."""
    ask_once(request, found.subject, words=f"the renewal of {found.endpoint.name}")


def apply(by: Principal, request: Request, body: RenewalBody, found: Resolved) -> Endpoint:
    """Extend the endpoint, and its authorization with it."""
    if body.ends_on is None:
        raise Invalid.field("ends_on", "ends_on is missing. Fill it in.")
    authorization = Authorization(reference=request.number, digest=request.plan_digest, valid_until=body.ends_on)
    return endpoints.renew(by, found.endpoint, ends_on=body.ends_on, authorization=authorization)
