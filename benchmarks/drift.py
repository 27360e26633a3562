"""The drift sweep of 1,000 endpoints on a real API server, and the matrix of 500 models in three environments.

Of the control plane API server and etcd run. Everything that the portal would have written is there; some of it is
edited as another field manager would, so that what costs more than a list is measured, too.
"""

import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from django.contrib.auth.models import Group
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from benchmarks import seed_fleet
from benchmarks.fleet import ACCOUNT, IMAGE, Worker
from benchmarks.fleet import registered as register
from benchmarks.pages import client_of
from benchmarks.results import Result
from benchmarks.stores import repeated, scaled
from catalog.models import Asset, HardwareProfile, Version, VersionState
from endpoints import nudge
from endpoints.differences import sweeping
from endpoints.differences.models import DriftLook, LiveDifference
from endpoints.drivers import place, workload
from endpoints.models import Cluster, Endpoint, Environment, Phase, Revision
from projects.models import Project, User
from tests.cluster.plane import NoPlane, Plane

ENDPOINTS, EDITED, MODELS, CALLS = 1_000, 50, 500, 20
NOTE = "drift: reference = the target; real API server and etcd, one worker"
MATRIX = "drift: reference = the target; view and template in process, for an engineer who sees everything"


def measure(store: str) -> list[Result]:
    """Measure the matrix, and the sweep where a control plane is built."""
    found: list[Result] = []
    with tempfile.TemporaryDirectory(prefix="drift-") as folder:
        try:
            with Plane(Path(folder)) as plane:
                found += _swept(plane)
        except NoPlane as error:
            print(f"  the drift sweep is not measured: {error}", file=sys.stderr, flush=True)
    return [
        Result(f"{one.name}, {store}", one.unit, one.reference, one.measured, one.note) for one in found + _matrix()
    ]


def _swept(plane: Plane) -> list[Result]:
    for name in ("kube-scheduler", "kube-controller-manager"):
        plane.components[name].stop(kill=True)
    nudge.current_app = Worker()  # type: ignore[attr-defined]
    _, cluster, version, profile = register(plane)
    fleet = seed_fleet.rows(cluster, version, profile, scaled(ENDPOINTS))
    seed_fleet.objects(plane.api, cluster, fleet, pods=False)
    seed_fleet.secrets(plane.api, cluster, fleet)
    results = _sweep(plane, cluster, len(fleet), "nothing differs", found=0)
    edited = fleet[:: max(1, len(fleet) // scaled(EDITED))]
    _edit(plane, cluster, edited)
    return [*results, *_sweep(plane, cluster, len(fleet), f"{len(edited)} edited by hand", found=len(edited))]


def _sweep(plane: Plane, cluster: Cluster, amount: int, what: str, *, found: int) -> list[Result]:
    """Compare all of the cluster, and count what the API server was asked."""
    DriftLook.objects.filter(pk=cluster.pk).update(looked_at=None)
    mark, cpu, begun = plane.mark(), time.process_time(), time.monotonic()
    sweeping.compare(cluster.pk)
    took, used = time.monotonic() - begun, time.process_time() - cpu
    calls = len(plane.audited(ACCOUNT, since=mark))
    there, look = LiveDifference.objects.filter(resolved_at=None).count(), DriftLook.objects.get(pk=cluster.pk)
    if there != found or look.problem or look.compared != amount:
        raise RuntimeError(f"{there} differences are found and not {found}; {look.compared} compared; {look.problem}")
    name = f"drift sweep of {amount:,} endpoints, {what}"
    return [
        Result(name, "s", 60, took, NOTE),
        Result(f"{name}, processor time of the worker", "s", 60, used, NOTE),
        Result(f"{name}, API calls per endpoint", "calls", 3, calls / amount, NOTE),
    ]


def _edit(plane: Plane, cluster: Cluster, rows: Sequence[Endpoint]) -> None:
    where = place(cluster)
    for row in rows:
        if row.revision is not None:
            path = seed_fleet.path_of(where, workload(row, row.revision, 1))
            body = {"spec": {"template": {"spec": {"terminationGracePeriodSeconds": 7}}}}
            plane.api.patch(f"{path}?fieldManager=night-shift", body)


def _matrix() -> list[Result]:
    """Time the matrix of many models, each in three environments, with one that differs in ten."""
    person = User.objects.create_user(username="matrix")
    person.groups.add(Group.objects.get_or_create(name="platform-engineers")[0])
    _models(scaled(MODELS))
    client, results = client_of(person), []
    for path in ("/environments/", "/environments/?drift=1", "/environments/?format=csv"):
        times, queries = _timed(client, path)
        name = f"matrix of {scaled(MODELS)} models × 3 environments: {path}"
        results.append(Result(f"{name}, queries", "queries", 15, queries, MATRIX))
        results.append(Result(f"{name}, processor time, median", "ms", 300, statistics.median(times), MATRIX))
    return results


def _timed(client: Client, path: str) -> tuple[list[float], int]:
    """Return the milliseconds of processor time of some calls of a page, and how many queries one makes."""
    client.get(path).getvalue()
    with CaptureQueriesContext(connection) as seen:
        client.get(path).getvalue()
    queries, times = len(seen.captured_queries), []
    for _ in range(repeated(CALLS)):
        begun = time.process_time()
        client.get(path).getvalue()
        times.append((time.process_time() - begun) * 1000)
    return times, queries


def _models(amount: int) -> None:
    cluster, _ = Cluster.objects.get_or_create(
        slug="matrix", defaults={"name": "Matrix", "driver": "local", "environments": list(Environment.values)}
    )
    profile, _ = HardwareProfile.objects.get_or_create(
        slug="matrix", defaults={"name": "Matrix", "memory_bytes": 2**30, "price_per_hour": "0.10", "currency": "EUR"}
    )
    project = Project.objects.create(slug="matrix", name="Matrix", cost_centre="CC-1")
    for number in range(amount):
        asset = Asset.objects.create(slug=f"matrix-{number}", kind="model", name=f"Model {number}", publisher="Lab")
        version = Version.objects.create(
            asset=asset, version="1.0", source="hf://lab/model@main", licence="MIT", state=VersionState.APPROVED,
            runtime={"engine": "vllm", "command": ["vllm", "serve", "{model}"], "image": IMAGE, "model": "lab/model"},
        )  # fmt: skip
        for environment in Environment.values:
            row = Endpoint.objects.create(
                project=project, name=f"m{number}-{environment}", environment=environment, cluster=cluster,
                phase=Phase.READY,
            )  # fmt: skip
            row.revision = Revision.objects.create(
                endpoint=row, number=1, version=version, profile=profile, replicas=1, concurrency=8,
                context_tokens=8192 if environment == "staging" and number % 10 == 0 else 4096,
                runtime=version.runtime, authorization_reference="R-1", authorization_digest="sha256:abc",
            )  # fmt: skip
            row.save(update_fields=["revision"])
