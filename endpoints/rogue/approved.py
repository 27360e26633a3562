"""What the portal approved on a cluster, as its rows say: the measure of a scan."""

from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from endpoints.clusters import Place
from endpoints.clusters.kubernetes import owned
from endpoints.models import Cluster, Phase, Revision
from endpoints.rogue.judging import SERVED, Approval, Approvals

COLUMNS = (
    "endpoint_id", "number", "authorization_digest", "adopted", "endpoint__environment", "endpoint__project__slug",
    "endpoint__cluster__slug", "endpoint__cluster__driver", "endpoint__cluster__options",
)  # fmt: skip


def approvals(cluster: Cluster) -> Approvals:
    """Return everything that was approved on the API server of `cluster`, under any of its registrations (two
    queries).
    """
    same = Cluster.objects.filter(server=cluster.server)
    rows = Revision.objects.filter(endpoint__cluster__server=cluster.server).exclude(endpoint__phase=Phase.DELETED)
    written: dict[tuple[str, str, str], Approval] = {}
    adopted, endpoints = set[str](), set[str]()
    for row in rows.order_by().values(*COLUMNS).iterator(chunk_size=2000):
        endpoints.add(str(row["endpoint_id"]))
        if row["adopted"]:
            adopted.add(str(row["adopted"].get("uid")))
            continue
        for one in _written(row):
            written[one.kind, one.namespace, one.name] = one
    marks = {owned.installation(one.options) for one in same}
    return Approvals(written, frozenset(adopted), frozenset(endpoints), frozenset(marks))


def kinds(driver: str, options: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the kinds of objects by which a driver runs engines."""
    if driver == "kubernetes":
        return ("Deployment",)
    if driver == "kserve":
        return ("LLMInferenceService",) if options.get("serving_api") == "llm" else ("InferenceService",)
    return ("Deployment", *SERVED)


def _written(row: Mapping[str, Any]) -> Iterator[Approval]:
    options: Mapping[str, Any] = row["endpoint__cluster__options"] or {}
    endpoint, revision = str(row["endpoint_id"]), str(row["number"])
    project, environment = row["endpoint__project__slug"], row["endpoint__environment"]
    shared = _shared(owned.prefix(options), owned.installation(options), project, environment)
    for kind in kinds(row["endpoint__cluster__driver"], options):
        yield Approval(
            kind=kind, namespace=shared[0], name=f"{owned.stem(endpoint)}-r{revision}", endpoint=endpoint,
            revision=revision, digest=row["authorization_digest"],
            labels={**shared[1], owned.ENDPOINT: endpoint, owned.REVISION: revision},
        )  # fmt: skip


@lru_cache(maxsize=4096)
def _shared(prefix: str, installation: str, project: str, environment: str) -> tuple[str, Mapping[str, str]]:
    """Return namespace and labels of what a project has in an environment."""
    settings = {"namespace_prefix": prefix, "installation": installation}
    place = Place(slug="", state_dir=Path(), settings=settings)
    return owned.namespace(place, project, environment), owned.shared(place, project, environment)
