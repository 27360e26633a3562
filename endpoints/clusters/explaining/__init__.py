"""The truth about an endpoint on a cluster: from recorded objects to one sentence, whose turn it is, and what to do.

Pure functions: nothing here reads a clock, a row or a cluster, and nothing raises, whatever the objects hold. Causes
win over symptoms: a project whose quota is used up reads that, not that a deadline has passed.
"""

from collections.abc import Iterator
from datetime import datetime

from endpoints.clusters.explaining import admission, controllers, kserve, pods
from endpoints.clusters.explaining.cases import say
from endpoints.clusters.explaining.errors import explain_error
from endpoints.clusters.explaining.progress import steps
from endpoints.clusters.explaining.seen import Explanation, Seen, Stage

__all__ = ["Explanation", "Seen", "Stage", "explain", "explain_error", "steps"]

# What goes on by itself and may hide that the cluster has given up waiting.
_UNDER_WAY = frozenset({"starting", "scheduling", "pulling_image", "not_ready", "predictor_not_ready"})


def explain(seen: Seen, now: datetime) -> Explanation | None:
    """Return what is to be said of an endpoint now; None when it is healthy or nothing of it is there."""
    if found := kserve.stopped(seen):
        return found
    if _healthy(seen):
        return kserve.collision(seen) or controllers.autoscaler(seen)
    told = [one for one in _causes(seen, now) if one is not None]
    first = next((one for one in told if one.failed or one.turn != "nobody"), told[0] if told else None)
    if first is None:
        first = pods.of_past(seen, now) or pods.of_ending(seen, now) or kserve.symptom(seen, now)
    late = controllers.overdue(seen)
    if late is not None and (first is None or first.code in _UNDER_WAY):
        return late
    if first is not None:
        return first
    return say("starting") if seen.deployment or seen.inference_service or seen.llm_inference_service else None


def _healthy(seen: Seen) -> bool:
    services = [one for one in (seen.inference_service, seen.llm_inference_service) if one]
    if services:
        return all(kserve.healthy(one) for one in services)
    return controllers.healthy(seen.deployment) if seen.deployment else False


def _causes(seen: Seen, now: datetime) -> Iterator[Explanation | None]:
    """Yield what may be the cause, in the order in which one keeps the next from happening."""
    yield admission.namespace(seen)
    yield kserve.cause(seen)
    yield pods.of_pods(seen, now)
    yield controllers.refused(seen)
    yield controllers.held(seen)
