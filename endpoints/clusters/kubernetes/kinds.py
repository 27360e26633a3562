"""The kinds of objects that the portal reads and writes, and where the API server keeps them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from endpoints.clusters.admission import terms


@dataclass(frozen=True)
class Kind:
    """One kind of object: `api` is group and version, such as apps/v1."""

    api: str
    name: str
    plural: str
    namespaced: bool = True

    def path(self, namespace: str = "", name: str = "") -> str:
        """Return the path of one object, of a namespace's objects, or of the whole cluster's."""
        parts = ["/api" if "/" not in self.api else "/apis", self.api]
        if namespace and self.namespaced:
            parts += ["namespaces", quote(namespace, safe="")]
        parts.append(self.plural)
        return "/".join([*parts, quote(name, safe="")] if name else parts)


NAMESPACE = Kind("v1", "Namespace", "namespaces", namespaced=False)
POD = Kind("v1", "Pod", "pods")
NODE = Kind("v1", "Node", "nodes", namespaced=False)
SERVICE = Kind("v1", "Service", "services")
SECRET = Kind("v1", "Secret", "secrets")
SERVICE_ACCOUNT = Kind("v1", "ServiceAccount", "serviceaccounts")
EVENT = Kind("v1", "Event", "events")
RESOURCE_QUOTA = Kind("v1", "ResourceQuota", "resourcequotas")
LIMIT_RANGE = Kind("v1", "LimitRange", "limitranges")
DEPLOYMENT = Kind("apps/v1", "Deployment", "deployments")
REPLICA_SET = Kind("apps/v1", "ReplicaSet", "replicasets")
NETWORK_POLICY = Kind("networking.k8s.io/v1", "NetworkPolicy", "networkpolicies")
DISRUPTION_BUDGET = Kind("policy/v1", "PodDisruptionBudget", "poddisruptionbudgets")
AUTOSCALER = Kind("autoscaling/v2", "HorizontalPodAutoscaler", "horizontalpodautoscalers")
SCALED_OBJECT = Kind("keda.sh/v1alpha1", "ScaledObject", "scaledobjects")
INFERENCE_SERVICE = Kind("serving.kserve.io/v1beta1", "InferenceService", "inferenceservices")
LLM_INFERENCE_SERVICE = Kind("serving.kserve.io/v1alpha2", "LLMInferenceService", "llminferenceservices")
STATEFUL_SET = Kind("apps/v1", "StatefulSet", "statefulsets")
RESOURCE_CLAIM = Kind("resource.k8s.io/v1", "ResourceClaim", "resourceclaims")
HARDWARE_PROFILE = Kind("infrastructure.opendatahub.io/v1", "HardwareProfile", "hardwareprofiles")
HARDWARE_PROFILE_OLD = Kind("infrastructure.opendatahub.io/v1alpha1", "HardwareProfile", "hardwareprofiles")
WORKLOAD = Kind("kueue.x-k8s.io/v1beta2", "Workload", "workloads")
WORKLOAD_OLD = Kind("kueue.x-k8s.io/v1beta1", "Workload", "workloads")
APPROVED = Kind(f"{terms.GROUP}/{terms.VERSION}", terms.KIND, terms.PLURAL)

KINDS = {
    (kind.api, kind.name): kind
    for kind in (
        NAMESPACE, POD, SERVICE, SECRET, SERVICE_ACCOUNT, EVENT, RESOURCE_QUOTA, LIMIT_RANGE, DEPLOYMENT, REPLICA_SET,
        NETWORK_POLICY, DISRUPTION_BUDGET, AUTOSCALER, SCALED_OBJECT, INFERENCE_SERVICE, LLM_INFERENCE_SERVICE,
        APPROVED,
    )
}  # fmt: skip


def kind_of(manifest: Mapping[str, Any]) -> Kind:
    """Return the kind that a manifest names; raises LookupError for one that the portal does not write."""
    return KINDS[(manifest["apiVersion"], manifest["kind"])]
