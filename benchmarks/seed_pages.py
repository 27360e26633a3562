"""A large bank in rows: 10,000 assets, 500 projects, 100,000 memberships, 10,000 requests, 5,000 endpoints, 20,000
keys.

Written in bulk, past the services: what the pages read is the same, and the services would take an hour.
"""

import datetime as dt
import itertools
import uuid
from collections.abc import Iterable, Iterator
from typing import Any

from django.contrib.auth.models import Group
from django.db import connection, transaction
from django.db.models import Model
from django.utils import timezone

from approvals.models import Request, RequestState
from benchmarks.stores import scaled
from catalog import listings
from catalog.models import Asset, Evidence, HardwareProfile, Listing, Version, VersionState
from endpoints.models import Cluster, Endpoint, Phase, Revision
from projects.models import ApiKey, KeyState, Membership, Notification, Project, Role, User
from quotas.models import Pool, Reservation, ReservationState, UsageDay, UsageHour

ASSETS, PROJECTS, PEOPLE, REQUESTS, ENDPOINTS, KEYS = 10_000, 500, 2_000, 10_000, 5_000, 20_000
PROJECTS_EACH = 50  # 2,000 people in 50 projects each: 100,000 grants
LICENCES = ("Apache-2.0", "MIT", "LicenseRef-Llama-3.3", "BSD-3-Clause")
NEEDS = {
    "parameters": 8_170_848_256, "bytes_per_parameter": 2, "layers": 40, "kv_heads": 8, "head_dim": 128, "kv_bytes": 2,
    "max_context_tokens": 131_072, "embedding": False,
}  # fmt: skip
PLAN: dict[str, Any] = {
    "schema": 1, "checks": [], "cost": {"per_month": "730.00", "per_hour": "1.00", "currency": "EUR"},
    "gpus": {"per_replica": 1, "replicas": 1, "total": 1}, "memory": {"fits": True, "sentence": ""},
    "room": {"pool": "shared", "needed": 1, "sentence": "Takes 1 of 8 free GPUs.", "position": 0},
    "lead_time": {"p50_seconds": None, "p90_seconds": None, "samples": 0, "sentence": "no data yet"},
}  # fmt: skip
PHASES = (Phase.READY, Phase.READY, Phase.READY, Phase.SUSPENDED, Phase.FAILED)
STATES = (RequestState.APPROVED, RequestState.APPROVED, RequestState.SUBMITTED, RequestState.REJECTED)


def bank() -> tuple[User, User]:
    """Fill the database and return a data scientist of 50 projects and a platform engineer."""
    with transaction.atomic():
        now = timezone.now()
        projects = many(
            Project(slug=f"team-{n}", name=f"Team {n}", cost_centre=f"CC-{n}") for n in range(scaled(PROJECTS))
        )
        people = many(User(username=f"person{n}", password="!") for n in range(scaled(PEOPLE)))
        _grants(projects, people)
        versions = _catalog(now)
        profile = HardwareProfile.objects.create(
            slug="l40s", name="L40S", accelerator="nvidia-l40s", accelerator_count=1, memory_bytes=48 * 2**30,
            price_per_hour="1.00", currency="EUR",
        )  # fmt: skip
        endpoints = _endpoints(projects, people, versions, profile, now)
        _requests(projects, people, versions, profile, endpoints, now)
        _keys(projects, people, now)
        _usage(endpoints, now)
        _pool(profile, endpoints, now)
        many(
            Notification(person=people[n % len(people)], kind="request.approved", title="R-1 was approved.", url="/",
                         once=str(n))
            for n in range(scaled(20_000))
        )  # fmt: skip
        engineer = User.objects.create_user(username="engineer")
        engineer.groups.add(Group.objects.get_or_create(name="platform-engineers")[0])
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")
    return people[0], engineer


def many(rows: Iterable[Model]) -> list[Any]:
    made: list[Any] = []
    iterator = iter(rows)
    while batch := list(itertools.islice(iterator, 2_000)):
        made += type(batch[0])._default_manager.bulk_create(batch)
    return made


def _grants(projects: list[Project], people: list[User]) -> None:
    roles = (Role.OWNER, Role.DEVELOPER, Role.DEVELOPER, Role.VIEWER)
    each = min(PROJECTS_EACH, len(projects))
    many(
        Membership(project=projects[(number * 7 + step) % len(projects)], user=person, role=roles[step % 4])
        for number, person in enumerate(people)
        for step in range(each)
    )


def _catalog(now: dt.datetime) -> list[Version]:
    assets = many(
        Asset(slug=f"model-{n}", kind="model" if n % 10 else "mcp-server", name=f"Model {n}", publisher=f"Lab {n % 40}",
              summary="For the benchmark.", tasks=["chat"] if n % 3 else ["embedding"])
        for n in range(scaled(ASSETS))
    )  # fmt: skip
    versions: list[Version] = many(
        Version(asset=asset, version="1.0", state=VersionState.APPROVED, approved_at=now, source=f"hf://lab/{asset.slug}@1",
                licence=LICENCES[n % 4], runtime={"engine": "vllm"}, needs=NEEDS if asset.kind == "model" else {})
        for n, asset in enumerate(assets)
    )  # fmt: skip
    many(
        Evidence(version=version, kind=kind, verdict=("pass", "pass", "warn")[n % 3], summary="Read.", tool="bench",
                 collected_at=now)
        for n, version in enumerate(versions)
        for kind in ("licence", "pin")
    )  # fmt: skip
    read = Version.objects.select_related("asset").prefetch_related("evidence").order_by("pk")
    many(
        Listing(**row)
        for version in read.iterator(chunk_size=2_000)
        for row in listings.rows_of(version.asset, [version])
    )
    return versions


def _endpoints(
    projects: list[Project], people: list[User], versions: list[Version], profile: HardwareProfile, now: dt.datetime
) -> list[Endpoint]:
    cluster = Cluster.objects.create(slug="local", name="Here", driver="local", environments=["dev", "staging", "prod"])
    endpoints: list[Endpoint] = many(
        Endpoint(project=projects[n % len(projects)], name=f"endpoint-{n}", environment=("dev", "prod")[n % 2],
                 cluster=cluster, phase=PHASES[n % 5], desired="suspended" if n % 5 == 3 else "running",
                 created_by=people[n % len(people)], contact=people[n % len(people)], ready_at=now,
                 ends_on=(now + dt.timedelta(days=n % 90)).date())
        for n in range(scaled(ENDPOINTS))
    )  # fmt: skip
    revisions = many(
        Revision(endpoint=endpoint, number=1, version=versions[n % len(versions)], profile=profile, replicas=1,
                 concurrency=8, context_tokens=4096, runtime={"engine": "vllm"}, authorization_reference=f"R-{n}",
                 authorization_digest="sha256:0")
        for n, endpoint in enumerate(endpoints)
    )  # fmt: skip
    for endpoint, revision in zip(endpoints, revisions, strict=True):
        endpoint.revision = revision
    Endpoint.objects.bulk_update(endpoints, ["revision"], batch_size=500)
    return endpoints


def _requests(
    projects: list[Project], people: list[User], versions: list[Version], profile: HardwareProfile,
    endpoints: list[Endpoint], now: dt.datetime,
) -> None:  # fmt: skip
    def rows() -> Iterator[Request]:
        for n in range(scaled(REQUESTS)):
            state, sent = STATES[n % 4], now - dt.timedelta(hours=n % 2_000)
            version = versions[n % len(versions)]
            yield Request(
                kind="endpoint", project=projects[n % len(projects)], requester=people[n % len(people)], state=state,
                name=f"endpoint-{n}", submission=1, version=version, profile=profile, environment="dev", plan=PLAN,
                body={"kind": "endpoint", "project": projects[n % len(projects)].slug, "name": f"endpoint-{n}"},
                plan_digest="sha256:0", submitted_at=sent,
                decided_at=None if state == RequestState.SUBMITTED else sent + dt.timedelta(hours=5),
                waiting_on="|*|governance-leads|platform-engineers|" if state == RequestState.SUBMITTED else "",
                endpoint=endpoints[n % len(endpoints)] if state == RequestState.APPROVED else None,
            )  # fmt: skip

    many(rows())


def _keys(projects: list[Project], people: list[User], now: dt.datetime) -> None:
    many(
        ApiKey(prefix=f"gth_{n:08d}", hash=f"{n:064d}", name=f"key {n}", project=projects[n % len(projects)],
               person=people[n % len(people)], scopes=["inference:invoke"], state=KeyState.ACTIVE,
               expires_at=now + dt.timedelta(days=90))
        for n in range(scaled(KEYS))
    )  # fmt: skip


def _usage(endpoints: list[Endpoint], now: dt.datetime) -> None:
    today = now.replace(hour=0, minute=0, second=0, microsecond=0)
    for model, step, count in ((UsageDay, dt.timedelta(days=1), 30), (UsageHour, dt.timedelta(hours=1), 24)):
        start = today if model is UsageDay else now.replace(minute=0, second=0, microsecond=0)
        many(
            model(start=start - step * back, project_id=endpoint.project_id, endpoint_id=str(endpoint.pk),
                  endpoint=endpoint.name, key_id=str(uuid.UUID(int=n)), key=f"gth_{n}", person="person0", requests=50,
                  input_tokens=20_000, output_tokens=9_000, ttft={"122": 50}, latency={"160": 50})
            for n, endpoint in enumerate(endpoints[: scaled(1_000)])
            for back in range(count)
        )  # fmt: skip


def _pool(profile: HardwareProfile, endpoints: list[Endpoint], now: dt.datetime) -> None:
    pool = Pool.objects.create(slug="shared", name="Shared", cluster="local", limit=8, observed=8, held=8)
    pool.profiles.add(profile)
    many(
        Reservation(pool=pool, project_id=endpoint.project_id, amount=1, holder_kind="endpoint",
                    holder_id=str(endpoint.pk), held_at=now if n < 8 else None,
                    state=ReservationState.HELD if n < 8 else ReservationState.WAITING)
        for n, endpoint in enumerate(endpoints[: scaled(60) + 8])
    )  # fmt: skip
