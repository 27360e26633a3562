"""From an example of the explainer to what its driver would report, and to the row that the reconciler writes of it."""

import copy
import json
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

from django.utils import timezone

from endpoints.clusters import ClusterError, Observation
from endpoints.clusters.kserve import state as kserve
from endpoints.clusters.kubernetes import errors, manifests, owned, pods, state
from endpoints.clusters.kubernetes.state import Found
from endpoints.decision import MAX_STARTS
from endpoints.models import Authentication, Cluster, Endpoint, Phase
from tests.endpoints.endpoint_kit import Script, work
from tests.endpoints.explaining_kit import NOW, Example, Json, deployment

KEY = "the-key-of-the-engines"


@dataclass
class Teller(Script):
    """A driver that reports what an example holds."""

    answer: Observation | ClusterError = field(default_factory=Observation)
    gone: bool = False  # what is there stays, as with pods that take a while to end

    def observe(self, endpoint_id: str) -> Observation:
        """What the example holds."""
        if isinstance(self.answer, ClusterError):
            raise self.answer
        return self.answer


def reported(example: Example) -> Observation | ClusterError:
    """Return what the driver makes of the recorded objects or of the recorded answer."""
    if example.error is None:
        return _observed(example)
    status, body, after = example.error
    if not status:
        return errors.told(OSError(body))
    data = body.encode() if isinstance(body, str) else json.dumps(body).encode()
    return errors.answered(status, data, {"Retry-After": after} if after else {})


def write_down(endpoint: Endpoint, teller: Teller, answer: Observation | ClusterError, **row: Any) -> Endpoint:
    """Let the reconciler look once at an endpoint that has been started often enough, and return its row."""
    teller.answer = answer
    attempts = MAX_STARTS if isinstance(answer, Observation) and answer.any_failed else 1
    before = {
        "phase": Phase.PROVISIONING, "reason_code": "starting", "reason_sentence": "x", "reason_turn": "portal",
        "attempts": attempts, "due_at": None, "claimed_by": "", "claimed_until": None, "progress": {},
        "reason_tried": "", "reason_next": "", "upstreams": [], "phase_since": timezone.now() - timedelta(minutes=9),
    }  # fmt: skip
    Endpoint.objects.filter(pk=endpoint.pk).update(**before | row)
    Cluster.objects.filter(pk=endpoint.cluster_id).update(authentication=Authentication.TOKEN)
    return work(endpoint)


def _observed(example: Example) -> Observation:
    seen = example.seen
    assert seen is not None
    services = [_ours(one) for one in (seen.inference_service, seen.llm_inference_service) if one]
    deployments = [_ours(seen.deployment)] if seen.deployment else [] if services else [_ours(deployment())]
    found = Found(
        deployments=deployments, pods=[_ours(one) for one in seen.pods], events=seen.events, quota=seen.quota,
        replica_sets=[_ours(one) for one in seen.replica_sets], namespace=seen.namespace, workloads=seen.workloads,
        logs={_title(one): seen.logs for one in seen.pods},
    )  # fmt: skip
    if not services:
        told = state.observation(found, [KEY], NOW)
        ready = replace(told, replicas=tuple(replace(one, state="ready") for one in told.replicas))
        return state.scaling(ready, [seen.hpa]) if seen.hpa else told
    kinds = {True: "LLMInferenceService", False: "InferenceService"}
    services = [{**one, "kind": kinds[bool(seen.llm_inference_service)]} for one in services]
    return kserve.observation(found, services, [KEY], NOW)


def _ours(thing: Any) -> Json:
    """Return an object with the labels that the portal writes, and the containers under the portal's name."""
    made: Json = copy.deepcopy(dict(thing))
    meta = made.setdefault("metadata", {})
    meta["labels"] = {**(meta.get("labels") or {}), owned.REVISION: "1"}
    meta["annotations"] = {**(meta.get("annotations") or {}), pods.KEY: manifests.fingerprint(KEY)}
    for one in (made.get("status") or {}).get("containerStatuses") or []:
        one["name"] = "engine" if one.get("name") == "vllm" else one.get("name")
    for one in (made.get("spec") or {}).get("containers") or []:
        one["name"] = "engine" if one.get("name") == "vllm" else one.get("name")
    return made


def _title(pod: Any) -> str:
    return str(pod["metadata"]["name"])
