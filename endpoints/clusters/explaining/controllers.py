"""What a Deployment, its ReplicaSets and its autoscaler tell."""

from collections.abc import Mapping
from typing import Any

from endpoints.clusters.explaining.admission import creation
from endpoints.clusters.explaining.cases import say
from endpoints.clusters.explaining.reading import (
    at,
    condition,
    events_of,
    is_false,
    line,
    mapping,
    moment,
    name,
    number,
    objects,
)
from endpoints.clusters.explaining.seen import Explanation, Seen


def healthy(deployment: Any) -> bool:
    """Whether a Deployment is as it is wanted: looked at, rolled out and available."""
    status = mapping(at(deployment, "status"))
    wanted = number(at(deployment, "spec", "replicas"))
    wanted = 1 if wanted is None else wanted
    if (number(status.get("observedGeneration")) or 0) < (number(at(deployment, "metadata", "generation")) or 0):
        return False
    counts = [number(status.get(part)) or 0 for part in ("updatedReplicas", "replicas", "availableReplicas")]
    return wanted > 0 and counts == [wanted] * 3


def refused(seen: Seen) -> Explanation | None:
    """Return why pods of the Deployment cannot be created; None when they can."""
    for thing in (seen.deployment, *_newest(seen)):
        failure = condition(thing, "ReplicaFailure")
        if failure.get("status") == "True":
            return creation(failure.get("message"), seen)
    for one in _newest(seen)[:1]:
        wanted, there = number(at(one, "spec", "replicas")), number(at(one, "status", "replicas")) or 0
        event = next(events_of(seen.events, "ReplicaSet", name(one), "FailedCreate"), None)
        if event is not None and wanted is not None and there < wanted:
            return creation(event.get("message"), seen)
    return None


def _newest(seen: Seen) -> list[Mapping[str, Any]]:
    """Return the ReplicaSets that want pods, the newest first: those of older rollouts want none."""
    wanting = [one for one in objects(seen.replica_sets) if number(at(one, "spec", "replicas")) != 0]
    return sorted(wanting, key=_made, reverse=True)


def _made(thing: Any) -> float:
    made = moment(at(thing, "metadata", "creationTimestamp"))
    return made.timestamp() if made is not None and made.year > 1970 else 0.0


def overdue(seen: Seen) -> Explanation | None:
    """Return that a rollout made no progress in time; a symptom, told when no cause is known."""
    if condition(seen.deployment, "Progressing").get("reason") != "ProgressDeadlineExceeded":
        return None
    seconds = number(at(seen.deployment, "spec", "progressDeadlineSeconds")) or 600
    return say("progress_deadline", budget=f"{seconds} s" if seconds < 120 else f"{seconds // 60} min")


def held(seen: Seen) -> Explanation | None:
    """Return that somebody paused the rollout or scaled it to nothing."""
    if at(seen.deployment, "spec", "paused") is True and not healthy(seen.deployment):
        return say("paused_rollout")
    return say("scaled_to_nothing") if number(at(seen.deployment, "spec", "replicas")) == 0 else None


def autoscaler(seen: Seen) -> Explanation | None:
    """Return why the autoscaler does not work; None when it does or there is none."""
    for kind in ("ScalingActive", "AbleToScale"):
        found = condition(seen.hpa, kind)
        # Scaled to nothing it is switched off, and says so in the same place.
        if is_false(seen.hpa, kind) and found.get("reason") != "ScalingDisabled":
            return say(
                "autoscaler_blind", detail=line(found.get("message")) or line(found.get("reason")) or "no reason"
            )
    return None
