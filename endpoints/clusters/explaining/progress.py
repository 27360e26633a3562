"""The way of a replica from accepted to healthy, in named steps with begin and end."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from endpoints.clusters.explaining.ends import fetches
from endpoints.clusters.explaining.reading import (
    at,
    condition,
    event_time,
    events_of,
    is_true,
    mapping,
    moment,
    name,
    objects,
)
from endpoints.clusters.explaining.seen import Seen, Stage

CREATED, SCHEDULED, FETCHED = "Created", "Scheduled", "Weights fetched"
PULLED, LOADED, HEALTHY = "Image pulled", "Weights loaded", "Healthy"


def steps(seen: Seen) -> list[Stage]:
    """Return the steps of the replica that is furthest of the newest rollout, in order; without a pod only the first
    has begun."""
    pod = _furthest(seen)
    begun = _time(seen.deployment or seen.inference_service or seen.llm_inference_service, "creationTimestamp")
    born = _time(pod, "creationTimestamp")
    created = Stage(CREATED, min(begun, born) if begun and born else begun or born, born)
    scheduled = Stage(SCHEDULED, born, _reached(pod, "PodScheduled") if born else None)
    engine = _engine(pod)
    running = moment(at(engine, "state", "running", "startedAt"))
    fetched = _fetched(pod, scheduled.ended)
    before = fetched[-1].ended if fetched else scheduled.ended
    pulled = Stage(PULLED, before, _pulled(pod, seen, running) if before else None)
    ready = _reached(pod, "Ready") if running else None
    loaded = Stage(LOADED, running, ready)
    return [created, scheduled, *fetched, pulled, loaded, Stage(HEALTHY, ready, ready)]


def _time(thing: Any, part: str) -> datetime | None:
    return moment(at(thing, "metadata", part))


def _reached(pod: Any, kind: str) -> datetime | None:
    return moment(condition(pod, kind).get("lastTransitionTime")) if is_true(pod, kind) else None


def _furthest(seen: Seen) -> Mapping[str, Any]:
    """Return the pod of the newest template that has come furthest: the list shows what is possible already."""
    living = [one for one in objects(seen.pods) if at(one, "metadata", "deletionTimestamp") is None]
    if not living:
        return {}
    newest = max(living, key=_born)
    hashed = at(newest, "metadata", "labels", "pod-template-hash")
    same = [one for one in living if at(one, "metadata", "labels", "pod-template-hash") == hashed]
    return max(same, key=lambda one: (*(is_true(one, kind) for kind in ("Ready", "Initialized", "PodScheduled")),))


def _born(pod: Any) -> float:
    born = _time(pod, "creationTimestamp")
    return born.timestamp() if born is not None and born.year > 1970 else 0.0


def _engine(pod: Any) -> Mapping[str, Any]:
    states = objects(at(pod, "status", "containerStatuses"))
    return next((one for one in states if one.get("name") in ("vllm", "engine", "main", "kserve-container")), {}) or (
        states[0] if states else {}
    )


def _fetched(pod: Any, before: datetime | None) -> list[Stage]:
    """Return the fetching of the model's files by an init container, where there is one."""
    for one in objects(at(pod, "status", "initContainerStatuses")):
        if fetches(one):
            state = mapping(one.get("state"))
            begin = moment(at(state, "running", "startedAt")) or moment(at(state, "terminated", "startedAt"))
            done = at(state, "terminated", "exitCode") == 0
            return [Stage(FETCHED, begin or before, moment(at(state, "terminated", "finishedAt")) if done else None)]
    return []


def _pulled(pod: Any, seen: Seen, running: datetime | None) -> datetime | None:
    """Return when the image was there: the event says it, and what runs has its image."""
    event = next(events_of(seen.events, "Pod", name(pod), "Pulled"), None)
    told = event_time(event) if event is not None else None
    if running is None:
        return told
    return min(told, running) if told is not None and told.year > 1970 else running
