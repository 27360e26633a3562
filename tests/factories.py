"""Factories that walk the life cycle through the services: no test can build a state that the code cannot reach."""

import datetime as dt
import itertools
import uuid
from decimal import Decimal
from typing import Any

from django.conf import settings
from django.utils import timezone

from catalog.listings import refresh
from catalog.models import Asset, HardwareProfile, Kind, Version, VersionState
from endpoints.fleet.registering import create_cluster
from endpoints.models import Cluster, Endpoint
from endpoints.rogue.models import Proposal, RogueWorkload
from projects.models import Project, User
from projects.principal import Principal
from quotas.models import Pool

GIB = 1024**3
_numbers = itertools.count(1)
NEEDS = {
    "parameters": 2_533_539_840, "bytes_per_parameter": 2, "layers": 40, "kv_heads": 8, "head_dim": 64, "kv_bytes": 2,
    "max_context_tokens": 131_072, "embedding": False,
}  # fmt: skip
CARD = """## Intended use

For tests.

## Limitations

Only for tests.
"""
FACTS = {"sources": {"card": ["https://example.com/card"]}}
DEMO_COMMAND = [
    "{python}", "-m", "endpoints.engines.demo", "--host", "{host}", "--port", "{port}", "--model", "{model}",
    "--served-model-name", "{name}", "--max-model-len", "{context}",
]  # fmt: skip


def lead() -> Principal:
    """A governance lead who is nobody's requester in the tests."""
    user = User.objects.filter(username="yasmine").first() or User.objects.create_user(username="yasmine")
    from django.contrib.auth.models import Group

    user.groups.add(Group.objects.get_or_create(name="governance-leads")[0])
    return Principal.of(user)


def engineer() -> Principal:
    """A platform engineer."""
    user = User.objects.filter(username="pat").first() or User.objects.create_user(username="pat")
    from django.contrib.auth.models import Group

    user.groups.add(Group.objects.get_or_create(name="platform-engineers")[0])
    return Principal.of(user)


def make_asset(slug: str = "", *, kind: str = Kind.MODEL, **fields: Any) -> Asset:
    """An asset without versions."""
    slug = slug or f"asset-{next(_numbers)}"
    defaults = {
        "name": slug.replace("-", " ").title(),
        "publisher": "Example",
        "summary": "For tests.",
        "tasks": ["chat"],
        "languages": ["en"],
        "homepage": "https://example.com/",
        "description": CARD,
    }
    made = Asset.objects.create(slug=slug, kind=kind, **(defaults | fields))
    refresh(made)
    return made


def make_version(
    state: str = VersionState.APPROVED, *, asset: Asset | None = None, version: str = "1.0", needs: dict[str, Any] |
    None = None,
    command: list[str] | None = None, **fields: Any,
) -> Version:  # fmt: skip
    """A version walked to `state` by the services of the catalog."""
    from catalog import services
    from catalog.mcp.described import describe

    asset = asset or make_asset()
    made = Version.objects.create(
        asset=asset, version=version, source="hf://example/model@main", licence="Apache-2.0",
        runtime={"engine": "demo", "demo": True, "command": command or DEMO_COMMAND, "health_path": "/health"},
        needs=needs or NEEDS, **({"facts": FACTS} | fields),
    )  # fmt: skip
    by = lead()
    services.collect_evidence(by, made)
    describe(by, made)  # of an MCP server: no worker asks it
    path = {
        VersionState.DRAFT: [],
        VersionState.IN_REVIEW: ["submit"],
        VersionState.APPROVED: ["submit", "approve"],
        VersionState.DEPRECATED: ["submit", "approve", "deprecate"],
        VersionState.RETIRED: ["submit", "approve", "deprecate", "retire"],
        VersionState.BLOCKED: ["submit", "approve", "block"],
    }[VersionState(state)]
    for verb in path:
        getattr(services, verb)(by, made, **({"reason": "for a test"} if verb == "block" else {}))
    made.refresh_from_db()
    refresh(asset)
    return made


def make_profile(
    *, gpus: int = 0, memory_gib: int = 16, slug: str = "", price: str = "0.10", **fields: Any
) -> HardwareProfile:
    """A hardware profile with `gpus` accelerators of `memory_gib` each, or a plain one."""
    slug = slug or (f"gpu-{gpus}-{next(_numbers)}" if gpus else f"cpu-{next(_numbers)}")
    return HardwareProfile.objects.create(
        slug=slug, name=slug, accelerator="nvidia-l40s" if gpus else "", accelerator_count=gpus,
        memory_bytes=memory_gib * GIB,
        price_per_hour=Decimal(price), currency=settings.CURRENCY, **fields,
    )  # fmt: skip


def make_pool(*, limit: int = 8, profiles: list[HardwareProfile] | None = None, slug: str = "") -> Pool:
    """A pool of `limit` accelerators for `profiles`."""
    pool = Pool.objects.create(
        slug=slug or f"pool-{next(_numbers)}",
        name="Pool",
        cluster=make_cluster().slug,
        limit=limit,
        observed=limit,
        simulated=True,
    )
    pool.profiles.set(profiles or [])
    return pool


def make_place(by: User, slug: str = "outpost", driver: str = "kubernetes", **access: str) -> Cluster:
    """A cluster with an API at an address where nothing listens, which serves prod only."""
    way = {"authentication": "token", "server": "https://10.0.0.7:6443", "token": "outpost-token"} | access
    return create_cluster(
        Principal.of(by), slug=slug, name=slug.title(), driver=driver, environments=["prod"], access=way
    )


def make_rogue(cluster: Cluster, project: Project | None = None, name: str = "scorer", **fields: Any) -> RogueWorkload:
    """A Deployment with an accelerator that the last scan of `cluster` found, in a namespace of `project`."""
    now = timezone.now()
    found = {
        "api": "apps/v1", "kind": "Deployment", "namespace": "team-a", "uid": str(uuid.uuid4()), "engine": "vLLM",
        "by_accelerators": True, "by_image": True, "images": ["docker.io/vllm/vllm-openai:v0.9"], "accelerators": 1,
        "resources": {"nvidia.com/gpu": 1}, "started_at": now - dt.timedelta(hours=30), "first_seen_at": now,
        "last_seen_at": now, "device_seconds": 30 * 3600, "counted_at": now, "tool": "kubectl",
        "facts": {"pods": 1, "per_pod": 1, "resource": "nvidia.com/gpu", "port": 8000, "model": "acme/granite"},
        "timeline": [{"at": now.isoformat(), "sentence": "Found: 1 accelerator, vLLM."}],
    }  # fmt: skip
    return RogueWorkload.objects.create(cluster=cluster, project=project, name=name, **(found | fields))


def make_proposal(cluster: Cluster) -> Proposal:
    """A hardware profile that the last scan of `cluster` saw."""
    content = {
        "slug": "nvidia-l40s", "name": "NVIDIA L40S", "accelerator": "L40S", "accelerator_count": 1,
        "resource": "nvidia.com/gpu", "cpu_millis": 4000, "host_memory_bytes": 24 * GIB, "node_selector": {},
        "tolerations": [], "queue": "", "enabled": True,
    }  # fmt: skip
    return Proposal.objects.create(
        cluster=cluster, kind="hardware-profile", namespace="redhat-ods-applications", name="nvidia-l40s",
        uid=str(uuid.uuid4()), content=content, seen_at=timezone.now(),
    )  # fmt: skip


def make_cluster(slug: str = "local") -> Cluster:
    """The cluster of the local driver, for all environments."""
    cluster, _ = Cluster.objects.get_or_create(
        slug=slug,
        defaults={
            "name": "This machine",
            "driver": "local",
            "environments": ["dev", "staging", "prod"],
            "simulated": True,
        },
    )
    return cluster


def request_body(**fields: Any) -> dict[str, Any]:
    """A valid body of an endpoint request; pass asset, version and hardware_profile slugs."""
    return {
        "kind": "endpoint",
        "project": "fraud-detection",
        "name": f"scoring-{next(_numbers)}",
        "version": "1.0",
        "environment": "dev",
        "replicas": 1,
        "concurrency": 8,
        "context_tokens": 4096,
        "purpose": "Score card payments for the fraud desk.",
        "data_classification": "internal",
        "ends_on": (timezone.now().date() + dt.timedelta(days=60)).isoformat(),
    } | fields


def living_body(kind: str, *, endpoint: Endpoint | None = None, **fields: Any) -> dict[str, Any]:
    """A valid body of a request about something that is there: revision, renewal, access (of `endpoint`), quota."""
    from approvals.kinds import revision

    soon = timezone.now().date() + dt.timedelta(days=30)
    why: dict[str, Any] = {"kind": kind, "purpose": "The fraud desk goes on with it."}
    if endpoint is not None:
        why["endpoint"] = str(endpoint.pk)
    if kind == "revision" and endpoint is not None:
        return revision.start(endpoint) | why | fields
    if kind == "renewal" and endpoint is not None and endpoint.ends_on is not None:
        return why | {"ends_on": (endpoint.ends_on + dt.timedelta(days=30)).isoformat()} | fields
    why |= {"project": "fraud-detection", "ends_on": soon.isoformat()}
    return why | ({"quota": "gpus", "hard": 6} if kind == "quota" else {}) | fields


def make_request(
    requester: User,
    *,
    kind: str = "endpoint",
    state: str = "submitted",
    version: Version | None = None,
    profile: HardwareProfile | None = None,
    **fields: Any,
) -> Any:
    """A request of `requester` walked to `state`: draft, submitted, changes_requested, approved, rejected or
    withdrawn. Other kinds than endpoint take the fields of `living_body`.
    """
    from approvals import services

    if kind == "endpoint":
        make_cluster()
        version = version or make_version()
        profile = profile or make_profile()
        names = {"asset": version.asset.slug, "version": version.version, "hardware_profile": profile.slug}
        body = request_body(**names, **fields)
    else:
        body = living_body(kind, **fields)
    by = Principal.of(requester)
    made = services.draft(by, body)
    if state == "draft":
        return made
    made = services.submit(by, made)
    if state == "withdrawn":
        return services.withdraw(by, made)
    verb = {"approved": "approve", "rejected": "reject", "changes_requested": "request_changes"}.get(state)
    if verb:
        getattr(services, verb)(engineer(), made, reason="for a test")
        made.refresh_from_db()
    return made


def make_endpoint(requester: User, **fields: Any) -> Endpoint:
    """An endpoint as an approved request leaves it: pending."""
    made = make_request(requester, state="approved", **fields)
    endpoint: Endpoint = made.endpoint
    return endpoint
