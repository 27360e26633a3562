"""What was seen of one endpoint on a cluster, and what it means."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from endpoints.clusters import Stage, Turn

__all__ = ["LIMIT", "Explanation", "Seen", "Stage", "Turn"]

LIMIT = 480  # characters of a sentence; the row takes 500


@dataclass(frozen=True)
class Seen:
    """Objects as the API gave them (JSON, camel case), each None or empty where it was not there or not read.

    `deployment` is the endpoint's own, or the one that KServe made for it; `replica_sets` and `pods` belong to it;
    `events` are those of the namespace or of these objects, in any order; `quota` is a ResourceQuota, `namespace` the
    Namespace, `hpa` the HorizontalPodAutoscaler, `workloads` are Kueue's in the namespace. `logs` holds the end of the
    output of an engine that ended.
    """

    deployment: Mapping[str, Any] | None = None
    replica_sets: Sequence[Mapping[str, Any]] = ()
    pods: Sequence[Mapping[str, Any]] = ()
    events: Sequence[Mapping[str, Any]] = ()
    quota: Mapping[str, Any] | None = None
    inference_service: Mapping[str, Any] | None = None
    llm_inference_service: Mapping[str, Any] | None = None
    hpa: Mapping[str, Any] | None = None
    namespace: Mapping[str, Any] | None = None
    workloads: Sequence[Mapping[str, Any]] = ()
    logs: str = ""


@dataclass(frozen=True)
class Explanation:
    """A stable code, the whole story in at most 480 characters, and whose turn it is.

    `failed`: it cannot go on by itself, somebody has to change something. `tried` is what the cluster has done about
    it so far, `next` what is to be done; both also stand in the sentence.
    """

    code: str
    sentence: str
    turn: Turn = "platform"
    failed: bool = False
    tried: str = ""
    next: str = ""
