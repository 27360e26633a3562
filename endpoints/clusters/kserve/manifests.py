"""From a workload to the objects of KServe. Pure functions.

The pod is the one that the `kubernetes` driver writes: what runs is what was approved, with no serving runtime of the
cluster in between. An InferenceService carries it as a custom predictor, an LLMInferenceService as its template.
"""

from collections.abc import Mapping
from typing import Any

from endpoints.clusters import Place, Workload
from endpoints.clusters.explaining.cases import refused
from endpoints.clusters.explaining.kserve import STOP
from endpoints.clusters.kubernetes import manifests, owned, pods, space
from endpoints.clusters.kubernetes.space import PORT

DASHBOARD = "opendatahub.io/dashboard"  # label: OpenShift AI shows what carries it
NAME = "openshift.io/display-name"
DESCRIPTION = "openshift.io/description"
MODE = "serving.kserve.io/deploymentMode"
AUTOSCALER = "serving.kserve.io/autoscalerClass"
VISIBILITY = "networking.kserve.io/visibility"
WORKER = "kserve-container"  # the name that KServe gives to the only container of a predictor
PICKER = 9002  # where the gateway asks KServe's picker for an engine
MAIN = "main"  # and the one that it wants in the template of a large model
SCHEMES = ("hf://", "s3://", "oci://", "pvc://")
CERTIFICATES = "/var/run/kserve/tls"  # where KServe mounts what its router trusts
TLS = ("--ssl-certfile", f"{CERTIFICATES}/tls.crt", "--ssl-keyfile", f"{CERTIFICATES}/tls.key")
# The rest of the objects that the `kubernetes` driver writes for an endpoint is KServe's business.
_SHARED = frozenset({"Namespace", "ResourceQuota", "LimitRange", "NetworkPolicy", "ServiceAccount", "Secret"})


def objects(place: Place, workload: Workload, key: str) -> list[dict[str, Any]]:
    """Return all objects of `workload`, whose engines ask for `key`, in order; raises ClusterError for what cannot run.

    KServe's object comes before the Secret: by it what is left is found after a crash in between.
    """
    written = manifests.objects(place, workload, key)
    deployment = next(one for one in written if one["kind"] == "Deployment")
    shared = [one for one in written if one["kind"] in _SHARED]
    for one in shared:
        if one["kind"] == "Namespace":
            one["metadata"]["labels"][DASHBOARD] = "true"
    if large(place):
        shared.append(_router(place, workload))
    make = llm_inference_service if large(place) else inference_service
    service = make(place, workload, deployment["spec"]["template"])
    return sorted([*shared, service], key=lambda one: bool(one["kind"] == "Secret"))


def large(place: Place) -> bool:
    """Whether this cluster runs LLMInferenceServices."""
    return place.settings.get("serving_api") == "llm"


def inference_service(place: Place, workload: Workload, template: Mapping[str, Any]) -> dict[str, Any]:
    """Return the InferenceService (v1beta1, Standard mode) that runs the pod `template`."""
    container = {**template["spec"]["containers"][0], "name": WORKER}
    predictor = {
        **template["spec"],
        "containers": [container],
        "minReplicas": max(workload.replicas, 1),
        "maxReplicas": max(workload.replicas, 1),
        # Another revision is another object: two pods of the same one would need their accelerators twice.
        "deploymentStrategy": {"type": "Recreate"},
    }
    found = _object("serving.kserve.io/v1beta1", "InferenceService", place, workload, {"predictor": predictor})
    # KServe copies labels and annotations into the pods, where the portal finds them again.
    found["metadata"]["labels"] |= {**template["metadata"]["labels"], VISIBILITY: "cluster-local"}
    found["metadata"]["annotations"] |= {**template["metadata"]["annotations"], MODE: "Standard", AUTOSCALER: "none"}
    return found


def llm_inference_service(place: Place, workload: Workload, template: Mapping[str, Any]) -> dict[str, Any]:
    """Return the LLMInferenceService (v1alpha2) that runs the pod `template` behind a router of its own; raises
    ClusterError for an engine or a source that KServe does not take.
    """
    if workload.command[0] != "vllm":
        raise refused("engine_unsupported")
    address = workload.source.partition("@")[0]
    if not address.startswith(SCHEMES):
        raise refused("model_uri_invalid", detail=f"'{address[:80]}'" if address else "it names none")
    spec = {
        "model": {"uri": address, "name": workload.name},
        "replicas": workload.replicas,
        "labels": dict(template["metadata"]["labels"]),
        "annotations": dict(template["metadata"]["annotations"]),
        # The engine fetches the pinned revision itself, as the approved command says; KServe would fetch the newest.
        "storageInitializer": {"enabled": False},
        "router": {"gateway": {}, "route": _route(workload), "scheduler": {}},
        "template": {**template["spec"], "containers": [_main(template["spec"]["containers"][0])]},
    }
    return _object("serving.kserve.io/v1alpha2", "LLMInferenceService", place, workload, spec)


def stopped(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """Return the manifest of an object of KServe's with the word that nothing of it is to run."""
    meta = manifest["metadata"]
    return {**manifest, "metadata": {**meta, "annotations": {**meta.get("annotations", {}), STOP: "true"}}}


def _router(place: Place, workload: Workload) -> dict[str, Any]:
    """Return what lets KServe's picker of engines work in a namespace that denies everything: the gateway asks it, it
    reads the engines' counters and the API server. KServe gives its pods no label of the portal's.
    """
    project, environment = workload.project, workload.environment_name
    part, own = {"app.kubernetes.io/part-of": "llminferenceservice"}, owned.shared(place, project, environment)
    gateway = str(place.settings.get("gateway_namespace") or "")
    sources: list[dict[str, Any]] = [{"podSelector": {"matchLabels": part}}]
    if gateway:
        sources.append({"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": gateway}}})
    ports = [{"protocol": "TCP", "port": port} for port in (PORT, PICKER)]
    api = [{"protocol": "TCP", "port": port} for port in (443, 6443)]
    names = [{"protocol": protocol, "port": 53} for protocol in ("UDP", "TCP")]
    spec = {
        "podSelector": {"matchLabels": part},
        "policyTypes": ["Ingress", "Egress"],
        "ingress": [{"from": sources, "ports": ports}],
        "egress": [
            {"to": [{"podSelector": {"matchLabels": part}}], "ports": ports},
            {"to": [{"ipBlock": space.ANYWHERE}, {"ipBlock": space.ANYWHERE_6}], "ports": api},
            {"ports": names},
        ],
    }
    metadata = {"name": "gatehouse-router", "namespace": owned.namespace(place, project, environment), "labels": own}
    return {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": metadata, "spec": spec}


def _route(workload: Workload) -> dict[str, Any]:
    """Return the route: revisions of one endpoint that get a weight each share its calls, as a group of KServe's. An
    InferenceService has no such thing for a predictor of its own; there the portal's gateway chooses.
    """
    if workload.weight is None:
        return {}
    return {"group": owned.stem(workload.endpoint_id), "weight": workload.weight}


def _main(container: Mapping[str, Any]) -> dict[str, Any]:
    """Return the engine's container as KServe's router wants it: by TLS, with the certificate that KServe makes."""
    probes = {
        kind: {**container[kind], "httpGet": {**container[kind]["httpGet"], "port": PORT, "scheme": "HTTPS"}}
        for kind in ("startupProbe", "readinessProbe", "livenessProbe")
    }
    # KServe merges this into a container of its own, which waits before it ends, too: two ways to wait are refused.
    own = {name: value for name, value in container.items() if name != "lifecycle"}
    return {**own, "name": MAIN, "command": [*container["command"], *TLS], **probes}


def _object(api: str, kind: str, place: Place, workload: Workload, spec: Mapping[str, Any]) -> dict[str, Any]:
    annotations = {
        **owned.annotations(workload),
        NAME: workload.name,
        DESCRIPTION: f"{workload.model} for {workload.project}, approved as {workload.approval or 'unknown'}",
    }
    if workload.replicas == 0:
        annotations[STOP] = "true"  # nothing runs, and the address stays
    labels = {**owned.labels(place, workload), **pods.queue(place), DASHBOARD: "true"}
    metadata = {
        "name": owned.name(workload),
        "namespace": owned.namespace(place, workload.project, workload.environment_name),
        "labels": labels,
        "annotations": annotations,
    }
    return {"apiVersion": api, "kind": kind, "metadata": metadata, "spec": dict(spec)}
