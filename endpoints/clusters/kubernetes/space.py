"""What all endpoints of a project and environment share: the namespace with its bounds. Pure functions.

Nothing here depends on a single endpoint, so that two of them never write different things into the same object.
"""

import re
from collections.abc import Mapping
from typing import Any

from endpoints.clusters import Place, Workload
from endpoints.clusters.kubernetes import owned

ACCOUNT = "gatehouse-engine"
PORT = 8000
LEVEL = "restricted"
ANYWHERE = {"cidr": "0.0.0.0/0", "except": ["169.254.0.0/16"]}  # never the metadata service of a cloud
ANYWHERE_6 = {"cidr": "::/0", "except": ["fd00:ec2::254/128", "fe80::/10"]}


def objects(place: Place, workload: Workload) -> list[dict[str, Any]]:
    """Return the objects that have to be there before the first engine, in order."""
    name = owned.namespace(place, workload.project, workload.environment_name)
    labels = owned.shared(place, workload.project, workload.environment_name)
    security = {f"pod-security.kubernetes.io/{mode}": LEVEL for mode in ("enforce", "audit", "warn")}
    found = [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": {**labels, **security}}},
        _quota(name, labels, workload),
        _object("v1", "LimitRange", "gatehouse-defaults", name, labels, spec={"limits": [_defaults()]}),
        _object("networking.k8s.io/v1", "NetworkPolicy", "gatehouse-default-deny", name, labels, spec=_deny()),
        _object("networking.k8s.io/v1", "NetworkPolicy", "gatehouse-engines", name, labels, spec=_allow(place)),
        _object("v1", "ServiceAccount", ACCOUNT, name, labels, automountServiceAccountToken=False),
    ]
    return [one for one in found if one]


def _object(api: str, kind: str, name: str, namespace: str, labels: Mapping[str, str], **rest: Any) -> dict[str, Any]:
    metadata = {"name": name, "namespace": namespace, "labels": dict(labels)}
    return {"apiVersion": api, "kind": kind, "metadata": metadata, **rest}


def _quota(namespace: str, labels: Mapping[str, str], workload: Workload) -> dict[str, Any]:
    """Return the bound of one resource: each has an object of its own, since endpoints differ in what they use. Quota
    for extended resources knows requests only; the scheduler keeps limits equal to them.
    """
    if not workload.resource or workload.accelerator_limit is None:
        return {}
    name = f"gatehouse-{re.sub('[^a-z0-9]+', '-', workload.resource.lower()).strip('-')}"
    hard = {f"requests.{workload.resource}": str(workload.accelerator_limit)}
    return _object("v1", "ResourceQuota", name, namespace, labels, spec={"hard": hard})


def _defaults() -> dict[str, Any]:
    """Return what a container gets that says nothing; engines say everything."""
    return {"type": "Container", "default": {"memory": "4Gi"}, "defaultRequest": {"cpu": "100m", "memory": "256Mi"}}


def _deny() -> dict[str, Any]:
    return {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}


def _allow(place: Place) -> dict[str, Any]:
    """Let the gateway's namespace call engines, and engines look up names and fetch weights over HTTPS."""
    gateway = str(place.settings.get("gateway_namespace") or "")
    source = [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": gateway}}}]
    ingress = [{"from": source, "ports": [{"protocol": "TCP", "port": PORT}]}]
    names = {"ports": [{"protocol": protocol, "port": 53} for protocol in ("UDP", "TCP")]}
    weights = {
        "to": [{"ipBlock": ANYWHERE}, {"ipBlock": ANYWHERE_6}],
        "ports": [{"protocol": "TCP", "port": 443}],
    }
    return {
        "podSelector": {"matchLabels": {owned.MANAGED_BY: owned.MANAGER}},
        "policyTypes": ["Ingress", "Egress"],
        "ingress": ingress if gateway else [],
        "egress": [names, weights],
    }
