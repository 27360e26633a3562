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

CREATED, SCHEDULED, FETCHED = "Created", "Scheduled", "Fetching"
PULLED, LOADED, HEALTHY = "Pulling", "Loading", "Ready"


def steps(seen: Seen) -> list[Stage]:
    """Return the steps of the replica that is furthest of the newest rollout, in order; without a pod only the first
    has begun."""
    pod = _furthest(seen)
    begun = _time(seen.deployment or seen.inference_service or seen.llm_inference_service, "creationTimestamp")
    born = _time(pod, "creationTimestamp")
    created = Stage(CREATED, min(begun, born) if begun and born else begun or born, born)
    scheduled = Stage(SCHEDULED, born, _reached(pod, "PodScheduled") if born else None)
    engine = _engine(pod)
    runs = moment(at(engine, "state", "running", "startedAt"))
    # One that ended had its image, and got as far as loading.
    began = runs or _ended_since(engine)
    fetched = _fetched(pod, scheduled.ended)
    before = fetched[-1].ended if fetched else scheduled.ended
    pulled = Stage(PULLED, before, _pulled(pod, seen, began) if before else None)
    ready = _reached(pod, "Ready") if runs else None
    loaded = Stage(LOADED, began, ready)
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


def _ended_since(engine: Any) -> datetime | None:
    """Return when the life of an engine began that is over: this one, or the one before."""
    ends = (at(engine, "state", "terminated", "startedAt"), at(engine, "lastState", "terminated", "startedAt"))
    return next((found for found in map(moment, ends) if found is not None), None)


def _fetched(pod: Any, before: datetime | None) -> list[Stage]:
    """Return the fetching of the model's files by an init container, where there is one."""
    for one in objects(at(pod, "status", "initContainerStatuses")):
        if fetches(one):
            state = mapping(one.get("state"))
            begin = moment(at(state, "running", "startedAt")) or moment(at(state, "terminated", "startedAt"))
            done = at(state, "terminated", "exitCode") == 0
            return [Stage(FETCHED, begin or before, moment(at(state, "terminated", "finishedAt")) if done else None)]
    return []


def _pulled(pod: Any, seen: Seen, began: datetime | None) -> datetime | None:
    """Return when the image was there: the event says it, and what runs or ran has its image."""
    event = next(events_of(seen.events, "Pod", name(pod), "Pulled"), None)
    told = event_time(event) if event is not None else None
    if began is None:
        return told
    return min(told, began) if told is not None and told.year > 1970 else began
