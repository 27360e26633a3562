"""Which fields of what the portal wrote may stay as somebody changed them, until a person decides. Pure functions.

Only what is named here stays: how patient probes and rollouts are, main memory and processor, fewer replicas. All else
bears on what was approved: image, command, environment, mounts, accelerators, security, accounts, labels, networks,
quotas, more replicas.
"""

import re
from typing import Any

from endpoints.clusters.explaining.reading import number

_POD = r"spec\.(?:template\.spec|template|predictor)\."
_PATIENCE = r"(?:initialDelay|period|timeout)Seconds|(?:failure|success)Threshold"
_STAYS = re.compile(
    rf"{_POD}containers\[[^\]]*\]\.resources\.(?:requests|limits)\.(?:cpu|memory|ephemeral-storage)"
    rf"|{_POD}containers\[[^\]]*\]\.(?:startup|readiness|liveness)Probe\.(?:{_PATIENCE})"
    rf"|{_POD}terminationGracePeriodSeconds"
    r"|spec\.(?:progressDeadlineSeconds|revisionHistoryLimit|minReadySeconds|strategy(?:\..*)?)"
    r"|spec\.predictor\.deploymentStrategy(?:\..*)?"
)
_COUNTS = frozenset(
    {"spec.replicas", "spec.predictor.minReplicas", "spec.predictor.maxReplicas", "spec.maxReplicas",
     "spec.maxReplicaCount"}
)  # fmt: skip
_RUNS = frozenset({"Deployment", "InferenceService", "LLMInferenceService"})
ADVICE = frozenset({"HorizontalPodAutoscaler", "ScaledObject", "PodDisruptionBudget"})  # about how many, not what


def stays(kind: str, field: str, wanted: Any, found: Any) -> bool:
    """Whether a field of an object of `kind` may stay as it was found; `wanted` and `found` are its values."""
    if kind not in _RUNS | ADVICE:
        return False
    if field in _COUNTS:
        most, there = number(wanted), number(found)
        return most is not None and there is not None and 1 <= there <= most
    return field.startswith("spec.") if kind in ADVICE else _STAYS.fullmatch(field) is not None
