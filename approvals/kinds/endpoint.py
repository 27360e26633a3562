"""A new endpoint: does it fit, is there room, what does it cost. Approval reserves accelerators and opens it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from approvals import builtin, sizing
from approvals.bodies import EndpointBody
from approvals.kinds import adoption, promotion
from approvals.kinds.base import Subject, named_project, project_for, refuse, require_open, shell
from approvals.models import Request
from approvals.planning import security, sharing
from approvals.planning.around import Around, around
from approvals.planning.loads import loads, measured
from approvals.planning.reading import Reader
from approvals.planning.sharing import Running
from approvals.sizing import Line, line_of, place, queued
from catalog.evidence.licence import terms
from catalog.models import Access, Asset, HardwareProfile, Version, with_pins
from endpoints.fleet.access import has_api
from endpoints.models import Cluster, Endpoint
from endpoints.rogue import adopt
from endpoints.rogue.models import RogueWorkload
from endpoints.rogue.services import adopted
from endpoints.services import Authorization, open_endpoint
from portal.errors import Conflict, Invalid
from projects.models import Project
from projects.permissions import can
from projects.principal import Principal
from quotas.costs import unit_price
from quotas.gpus import GpuLimit
from quotas.models import Pool
from quotas.services import reserve


@dataclass(frozen=True)
class Resolved:
    """The objects that a body names. `line`, `near` (the project around it), `quota` and `running` (what runs the
    version) are what is known already, where several plans are built; None = read it when needed. `whole`: False where
    only numbers are compared, which leaves out the security half, the loads and sharing.
    """

    project: Project
    version: Version
    profile: HardwareProfile
    pool: Pool | None
    cluster: Cluster | None
    line: Line | None = None
    name: str = ""
    environment: str = ""
    near: Around | None = None
    quota: GpuLimit | None = None
    running: Sequence[Running] | None = None
    whole: bool = True
    adopts: RogueWorkload | None = None  # what runs already and becomes the endpoint

    @property
    def subject(self) -> Subject:
        """What the request keeps."""
        return Subject(self.project, self.name, self.environment, self.version, self.profile)


def subject(by: Principal, body: EndpointBody) -> Subject:
    """Return what a draft is about: its project, and the names that were typed."""
    return Subject(named_project(by, body), body.name or "", body.environment or "")


def resolve(by: Principal, body: EndpointBody, known: Project | None = None) -> Resolved:
    """Look up what a whole `body` names; raises Invalid naming each field whose value the caller may not use.
    `known`: a project that was read already, used where `body` names it.
    """
    problems: dict[str, str] = {}
    project: Project | None = None
    try:
        own = known is not None and known.slug == body.project and can(by, "request", known)
        project = known if own else project_for(by, body.project or "")
    except Invalid as error:
        problems.update(error.fields)
    version = find_version(by, body.asset or "", body.version or "", problems)
    profile = find_profile(body.hardware_profile or "", problems)
    adopts = adoption.find(by, body.adopts, problems)
    if project is None or version is None or profile is None or problems:
        refuse(problems)
    require_open(by, version.asset, project)
    promotion.check(promotion.source_of(by, body, project), body.environment or "")
    pools = list(queued(profile.pools.all())) if profile.accelerator_count else []
    if adopts is None:
        pool, cluster = place(profile, pools, Cluster.objects.all(), body.environment or "")
    else:
        pool, cluster = adoption.place(adopts, profile, pools, body.environment or "")
    now = line_of(pool) if pool else None
    return Resolved(
        project, version, profile, pool, cluster, now, body.name or "", body.environment or "", adopts=adopts
    )


def find_version(by: Principal, asset: str, name: str, problems: dict[str, str]) -> Version | None:
    """Return a version of the catalog that the caller may read, or add to `problems` why there is none."""
    found = with_pins(Version.objects.select_related("asset")).filter(asset__slug=asset, version=name)
    version: Version | None = found.first()
    if version is not None and _reads(by, version):
        return version
    known = Asset.objects.filter(slug=asset, versions__in=Version.objects.visible_to(by)).exists()
    field, value = ("version", name) if known else ("asset", asset)
    problems[field] = f"{field} {value!r} is not in the catalog. Choose an approved version from the catalog."
    return None


def _reads(by: Principal, version: Version) -> bool:
    """Whether `by` may read `version`: no query for what is for everyone and was approved once, which everybody may."""
    everybody = version.asset.access == Access.EVERYONE and version.approved_at is not None
    return everybody or Version.objects.visible_to(by).filter(pk=version.pk).exists()


def find_profile(slug: str, problems: dict[str, str]) -> HardwareProfile | None:
    """Return a hardware profile, or add to `problems` that there is none."""
    profile = HardwareProfile.objects.filter(slug=slug).first()
    if profile is None:
        problems["hardware_profile"] = (
            f"hardware_profile {slug!r} does not exist. Choose one from the list of profiles."
        )
    return profile


def build(by: Principal, body: EndpointBody, found: Resolved) -> dict[str, Any]:
    """Return the plan: memory, room, cost, checks, who decides, how long it usually takes."""
    replicas, concurrency, context = body.replicas or 1, body.concurrency or 1, body.context_tokens or 1
    memory = sizing.memory(found.version, found.profile, context, concurrency)
    gpus = found.profile.accelerator_count * replicas
    near = found.near or around(found.project, terms(found.version.licence), name=body.name or "")
    quota = (found.quota or near.gpus) if gpus else None
    checks = builtin.run(
        builtin.Case(
            version=found.version,
            profile=found.profile,
            pool=found.pool,
            replicas=replicas,
            concurrency=concurrency,
            context_tokens=context,
            environment=body.environment or "",
            data_classification=body.data_classification or "",
            memory=memory,
            name_taken=near.taken,
            cluster=found.cluster.slug if found.cluster else None,
            project=found.project.slug,
            quota=quota,
            containers=found.adopts is None and found.cluster is not None and has_api(found.cluster),
        )
    )
    if found.adopts is not None:
        checks = [*checks, *adoption.checks(by, found.adopts, found.version, found.profile, replicas)]
    return {
        **shell("endpoint", checks, body.environment or ""),
        **sizing.asset_facts(found.version, found.cluster),
        "memory": memory,
        "gpus": {"per_replica": found.profile.accelerator_count, "replicas": replicas, "total": gpus},
        "room": sizing.room(found.pool, gpus, found.project, found.line),
        "project_gpus": sizing.held_gpus(quota),
        "cost": sizing.cost(found.profile, replicas, body.ends_on),
        **({"adopts": adoption.facts(found.adopts)} if found.adopts is not None else {}),
        **_promotion(by, body, found),
        **(_beyond(body, found, near) if found.whole else {}),
    }


def _promotion(by: Principal, body: EndpointBody, found: Resolved) -> dict[str, Any]:
    """Return from where it is promoted, and in what it differs from there."""
    source = promotion.source_of(by, body, found.project)
    promotion.check(source, body.environment or "")
    asked = {name: getattr(body, name) for name in (*promotion.TAKEN, *promotion.SIZES)}
    return promotion.part(source, asked, body.environment or "")


def _beyond(body: EndpointBody, found: Resolved, near: Around) -> dict[str, Any]:
    """Return the parts beyond its own size: who could call it with what, what use would cost, what could be shared."""
    version, project, profile = found.version, found.project, found.profile
    replicas, calls, classification = body.replicas or 1, body.concurrency or 1, body.data_classification or ""
    running = found.running
    if running is None:
        running = sharing.running(version, [project.pk], project, besides=body.promoted_from or "")
    return {
        "security": security.security(
            version, near, cluster=found.cluster, environment=body.environment or "",
            classification=classification, exposure=security.exposed(None),
        ),
        "loads": loads(measured(version, profile, calls), profile, replicas=replicas, calls=calls),
        "sharing": sharing.shared(
            running, project, profile, replicas=replicas, calls=calls, classification=classification,
            ends_on=body.ends_on,
        ),
    }  # fmt: skip


def guard(request: Request, found: Resolved) -> None:
    """Two requests for one name may wait: the first approval takes it."""


def sent(by: Principal, request: Request, found: Resolved) -> None:
    """Claim what the request adopts; raises Conflict when another one was faster."""
    if found.adopts is not None:
        adoption.sent(by, request, found.adopts)


def ended(by: Principal, request: Request, reason: str | None) -> None:
    """Let others adopt what this request does not."""
    if request.body.get("adopts"):
        adoption.ended(by, request)


def apply(by: Principal, request: Request, body: EndpointBody, found: Resolved) -> Endpoint:
    """Open the endpoint and reserve its accelerators, or a place in the queue: approval never fails for room."""
    if found.cluster is None:
        raise Conflict(
            "No cluster serves this environment any more.",
            code="plan_stale",
            extra={"plan": Reader(by).plan(request.plan, request.project_id)},
        )
    replicas = body.replicas or 1
    endpoint = open_endpoint(
        by,
        project=found.project,
        name=body.name or "",
        environment=body.environment or "",
        cluster=found.cluster,
        version=found.version,
        profile=found.profile,
        replicas=replicas,
        concurrency=body.concurrency or 1,
        context_tokens=body.context_tokens or 1,
        purpose=body.purpose or "",
        data_classification=body.data_classification or "",
        ends_on=body.ends_on,
        created_by=request.requester,
        promoted_from=body.promoted_from,
        authorization=Authorization(reference=request.number, digest=request.plan_digest, valid_until=body.ends_on),
        adopted=adopt.reference(found.adopts) if found.adopts is not None else None,
    )
    if found.adopts is not None:
        adopted(by, found.adopts, request.pk, endpoint)
    gpus = found.profile.accelerator_count * replicas
    if found.pool is not None and gpus:
        reserve(
            by, found.pool, gpus, holder=("endpoint", str(endpoint.pk)), project=found.project,
            price=unit_price(found.profile), currency=found.profile.currency, running=found.adopts is not None,
        )  # fmt: skip
    return endpoint
