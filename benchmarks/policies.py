"""Policies: how many rules a core evaluates, what they cost a plan, alone and in the form, and how long an impact
preview takes.
"""

import datetime as dt
import statistics
from collections.abc import Callable
from typing import Any

from django.contrib.auth.models import Group
from django.test import Client
from django.utils import timezone

from approvals import services
from approvals.bodies import parse
from approvals.kinds import KINDS
from approvals.models import Request, RequestState
from approvals.policies import engine, preview
from approvals.policies.active import baseline
from approvals.policies.judging import judge
from approvals.policies.rules import Bundle
from approvals.policies.sample import SAMPLE
from benchmarks.pages import client_of
from benchmarks.paired import milliseconds, paired, percentile
from benchmarks.results import Result
from benchmarks.stores import repeated, scaled
from catalog.models import Asset, Evidence, HardwareProfile, Version, VersionState
from endpoints.models import Cluster, Endpoint, Phase, Revision
from portal import warm
from projects.models import Membership, Project, Role, User
from projects.principal import Principal
from quotas.models import Pool

ROUNDS, PLANS, ENDPOINTS, REQUESTS = 200, 200, 1_000, 500
RATE, PLAN_MS, PREVIEW_SECONDS = 30_000, 30.0, 2.0
SPEED = "reference: the target, more is better; measured: conditions and expressions of the baseline over the sample"
PLAN = "reference: the target; measured: 95th percentile of services.check with the baseline, in process"
LIVE = "reference: the target; measured: p95 of what a change of a field asks for, view and template, in process"
ADDED = "reference: the plan without policies; measured: the whole plan, judged by the baseline"
IMPACT = "reference: the target; measured: a changed baseline over all endpoints and the last requests, claim to result"


def measure(store: str) -> list[Result]:
    """Time rules alone, plans, and a preview, on `store`."""
    person, body = seed()
    warm.up()  # as the server does when it starts
    by = Principal.of(person)
    services.check(by, body)
    times = [milliseconds(lambda: services.check(by, body)) for _ in range(repeated(PLANS))]
    bare, whole = paired(_many(lambda: _bare(by, body)), _many(lambda: services.check(by, body)))
    client, form = client_of(person), body | {"action": "plan"}
    live = [milliseconds(lambda: _live(client, form)) for _ in range(repeated(PLANS // 4))]
    rules = sum(rule.applies_to == "request" for rule in baseline().rules)
    return [
        Result(f"evaluations of rules, {store}", "per s", RATE, _rate(), note=SPEED),
        Result(f"plan with {rules} rules, {store}", "ms p95", PLAN_MS, percentile(times, 0.95), note=PLAN),
        Result(f"live plan of the form, {store}", "ms p95", PLAN_MS, percentile(live, 0.95), note=LIVE),
        Result(f"20 plans, {store}", "ms", bare, whole, note=ADDED),
        Result(
            f"preview of {scaled(ENDPOINTS):,} endpoints and {scaled(REQUESTS):,} requests, {store}",
            "s",
            PREVIEW_SECONDS,
            _preview(person, services.check(by, body)),
            note=IMPACT,
        ),
    ]


def _rate() -> float:
    """Return the evaluations of expressions per second of one core."""
    bundle = baseline()
    evaluated = _evaluations(bundle)
    judge(bundle, SAMPLE)
    seconds = statistics.median(milliseconds(lambda: judge(bundle, SAMPLE)) for _ in range(repeated(ROUNDS))) / 1000
    return evaluated / seconds


def _evaluations(bundle: Bundle) -> int:
    """Return how many expressions one judgement of the sample evaluates."""
    data, count = engine.activation(SAMPLE), 0
    for rule in bundle.rules:
        if rule.applies_to == "request" and (not rule.kinds or SAMPLE["request"]["kind"] in rule.kinds):
            asked = not rule.when or engine.holds(bundle.program(rule.when), data)
            count += bool(rule.when) + asked
    return count


def _live(client: Client, form: dict[str, Any]) -> None:
    answer = client.post("/requests/new/?kind=endpoint", form, headers={"HX-Request": "true", "HX-Target": "live"})
    if answer.status_code != 200:
        raise SystemExit(f"the form answered {answer.status_code}")


def _preview(person: User, plan: dict[str, Any]) -> float:
    project, state = Project.objects.get(slug="bench"), RequestState.REJECTED
    Request.objects.bulk_create(
        Request(kind="endpoint", project=project, requester=person, state=state, submission=1, plan=plan)
        for _ in range(scaled(REQUESTS))
    )
    lead = User.objects.create_user(username="lead")
    lead.groups.add(Group.objects.get_or_create(name="governance-leads")[0])
    files = dict(baseline().files)
    files["rules/life-001.yaml"] = files["rules/life-001.yaml"].replace("request.days <= 180", "request.days <= 65")
    preview.ask(Principal.of(lead), files)
    return milliseconds(preview.run_due) / 1000


def _bare(by: Principal, data: dict[str, Any]) -> object:
    body = parse(data)
    kind = KINDS[body.kind]
    return kind.build(by, body, kind.resolve(by, body))


def _many(call: Callable[[], object]) -> Callable[[], object]:
    return lambda: [call() for _ in range(20)]


def seed() -> tuple[User, dict[str, Any]]:
    """Fill the tables; return a person and the body of a request."""
    now, person = timezone.now(), User.objects.create_user(username="bench")
    project = Project.objects.create(slug="bench", name="Bench", cost_centre="CC-1", owner_team="Bench")
    Membership.objects.create(project=project, user=person, role=Role.DEVELOPER)
    cluster = Cluster.objects.create(slug="local", name="Local", driver="local", environments=["dev", "prod"])
    profile = HardwareProfile.objects.create(
        slug="l40s", name="L40S", accelerator="nvidia-l40s", accelerator_count=1, memory_bytes=48 * 2**30,
        price_per_hour="1.42", currency="EUR",
    )  # fmt: skip
    Pool.objects.create(slug="l40s", name="L40S", cluster="local", limit=64, observed=64).profiles.add(profile)
    needs = {
        "parameters": 2_533_539_840, "bytes_per_parameter": 2, "layers": 40, "kv_heads": 8, "head_dim": 64,
        "kv_bytes": 2, "max_context_tokens": 131_072, "embedding": False,
    }  # fmt: skip
    versions = []
    for number in range(20):
        asset = Asset.objects.create(slug=f"model-{number}", kind="model", name=f"Model {number}", publisher="Bench")
        version = Version.objects.create(
            asset=asset, version="1.0", state=VersionState.APPROVED, source="hf://org/model", licence="Apache-2.0",
            runtime={"engine": "vllm", "command": ["vllm"]}, needs=needs, approved_at=now,
        )  # fmt: skip
        Evidence.objects.bulk_create(
            Evidence(version=version, kind=kind, verdict="pass", summary="Good.", tool="bench", collected_at=now)
            for kind in ("licence", "card", "signature", "files", "ml-bom")
        )
        versions.append(version)
    _endpoints(project, person, cluster, versions, profile)
    body = {
        "kind": "endpoint", "project": "bench", "name": "scoring", "asset": "model-0", "version": "1.0",
        "hardware_profile": "l40s", "environment": "dev", "replicas": 1, "concurrency": 8, "context_tokens": 4096,
        "purpose": "Score card payments.", "data_classification": "internal",
        "ends_on": (now.date() + dt.timedelta(days=60)).isoformat(),
    }  # fmt: skip
    return person, body


def _endpoints(
    project: Project, person: User, cluster: Cluster, versions: list[Version], profile: HardwareProfile
) -> None:
    ends_on = timezone.now().date() + dt.timedelta(days=70)
    rows = Endpoint.objects.bulk_create(
        Endpoint(
            project=project, name=f"e-{number}", environment="prod", cluster=cluster, created_by=person,
            ends_on=ends_on, phase=Phase.READY, data_classification="internal", purpose="Score card payments.",
        )
        for number in range(scaled(ENDPOINTS))
    )  # fmt: skip
    runs = Revision.objects.bulk_create(
        Revision(
            endpoint=one, number=1, version=versions[place % len(versions)], profile=profile, replicas=1, concurrency=8,
            context_tokens=4096, authorization_reference="R-1", authorization_digest="sha256:0",
        )
        for place, one in enumerate(rows)
    )  # fmt: skip
    for one, run in zip(rows, runs, strict=True):
        one.revision = run
    Endpoint.objects.bulk_update(rows, ["revision"], batch_size=500)
