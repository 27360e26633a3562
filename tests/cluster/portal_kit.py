"""The real control plane as the portal knows it: a registered cluster with the generated account, nodes with an
accelerator that only these tests use, and what the API server has of the portal's objects.
"""

import secrets
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from catalog.models import HardwareProfile
from endpoints.clusters import rbac
from endpoints.clusters.kubernetes import owned
from endpoints.fleet.registering import create_cluster
from endpoints.models import Cluster
from projects.models import User
from projects.principal import Principal
from quotas.models import Pool
from tests import factories
from tests.cluster.api import Object
from tests.cluster.kubelet import Kubelet
from tests.cluster.machines import Machine
from tests.cluster.plane import Plane

RESOURCE = "example.com/npu"  # no other test counts it
KINDS = {
    "deployments": "/apis/apps/v1/deployments", "pods": "/api/v1/pods", "services": "/api/v1/services",
    "secrets": "/api/v1/secrets", "poddisruptionbudgets": "/apis/policy/v1/poddisruptionbudgets",
    "horizontalpodautoscalers": "/apis/autoscaling/v2/horizontalpodautoscalers",
}  # fmt: skip


@contextmanager
def machine(kubelet: Kubelet, amount: int, name: str = "npu-1") -> Iterator[str]:
    """A node with so many accelerators, which goes again; yields its name."""
    kubelet.register(Machine(name, gpus=0, resources={RESOURCE: str(amount)}))
    kubelet.wait_ready(name)
    try:
        yield name
    finally:
        kubelet.machines.pop(name)
        kubelet.api.delete(f"/api/v1/nodes/{name}")


def register(
    plane: Plane, by: User, driver: str = "kubernetes", *, without: rbac.Ask | None = None, server: str = "",
    ca: str = "", **options: str,
) -> Cluster:  # fmt: skip
    """Register the plane as an engineer does, under an account of its own, who may not do one thing perhaps, and with
    namespaces of its own; `server` and `ca` are of what stands before the plane.
    """
    mark = secrets.token_hex(3)
    token = let_in(plane, driver, f"gatehouse-{mark}", without, options)
    access = {"authentication": "token", "server": server or plane.server, "ca": ca or plane.ca, "token": token}
    return create_cluster(
        Principal.of(by), slug=f"plane-{mark}", name="Plane", driver=driver, environments=["dev"], access=access,
        options={"namespace_prefix": f"t{mark}", "installation": f"t{mark}", **options},
    )  # fmt: skip


def account_of(cluster: Cluster) -> str:
    """The name of its account, and of the role and the namespace of that."""
    return f"gatehouse-{cluster.slug.removeprefix('plane-')}"


def let_in(
    plane: Plane, driver: str, account: str, without: rbac.Ask | None = None, options: Mapping[str, str] | None = None
) -> str:
    """Make the account, or make it anew, and return a token of it."""
    made = rbac.objects(driver, options or {}, namespace=account, account=account)
    rules = next(one["rules"] for one in made if "rules" in one)
    for rule in rules:
        if without and (rule["apiGroups"], rule["resources"]) == ([without.group], [without.resource]):
            rule["verbs"] = [verb for verb in rule["verbs"] if verb != without.verb]
    rules[:] = [rule for rule in rules if rule["verbs"]]
    return plane.token_for(account, account, made)


def forget(plane: Plane, cluster: Cluster) -> None:
    """Take away the namespaces of a cluster's engines and its account."""
    label = f"{owned.INSTALLATION}={prefix(cluster)}"
    names = [one["metadata"]["name"] for one in plane.api.items("/api/v1/namespaces", labelSelector=label)]
    account = account_of(cluster)
    for name in (*names, account):
        plane.api.delete(f"/api/v1/namespaces/{name}")
    for kind in ("clusterrolebindings", "clusterroles"):
        plane.api.delete(f"/apis/rbac.authorization.k8s.io/v1/{kind}/{account}")


def prefix(cluster: Cluster) -> str:
    """What the names of its namespaces begin with."""
    return str(cluster.options["namespace_prefix"])


def pool_of(cluster: Cluster, limit: int) -> tuple[Pool, HardwareProfile]:
    """A pool of so many accelerators of a cluster, and the profile that takes one."""
    profile = factories.make_profile(gpus=1, resource=RESOURCE, cpu_millis=50, host_memory_bytes=2**26)
    pool = factories.make_pool(limit=limit, profiles=[profile])
    Pool.objects.filter(pk=pool.pk).update(cluster=cluster.slug)
    pool.refresh_from_db()
    return pool, profile


def present(plane: Plane, cluster: Cluster) -> dict[str, dict[str, list[Object]]]:
    """What the server has of the portal's objects on this cluster: by endpoint, by kind."""
    found: dict[str, dict[str, list[Object]]] = defaultdict(lambda: defaultdict(list))
    label = f"{owned.MANAGED_BY}={owned.MANAGER},{owned.INSTALLATION}={prefix(cluster)},{owned.ENDPOINT}"
    for kind, path in KINDS.items():
        for one in plane.api.items(path, labelSelector=label):
            found[owned.label(one, owned.ENDPOINT)][kind].append(one)
    return found


def left_over(plane: Plane, cluster: Cluster) -> list[str]:
    """Kind and name of everything of any kind that bears the label of an endpoint of this cluster."""
    label = f"{owned.INSTALLATION}={prefix(cluster)},{owned.ENDPOINT}"
    return [
        f"{plural} {one['metadata']['name']}"
        for plural, path in listable(plane)
        for one in plane.api.items(path, labelSelector=label)
    ]


def listable(plane: Plane) -> Iterator[tuple[str, str]]:
    """Every kind that the server keeps and lists: its plural and where."""
    groups: list[Any] = plane.api.get("/apis")["groups"]
    for base in ("/api/v1", *(f"/apis/{group['preferredVersion']['groupVersion']}" for group in groups)):
        for kind in plane.api.get(base)["resources"]:
            if "/" not in kind["name"] and "list" in kind["verbs"] and "metrics" not in base:
                yield kind["name"], f"{base}/{kind['name']}"
