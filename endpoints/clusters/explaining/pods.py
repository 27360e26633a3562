"""What the pods of one endpoint tell: the one that is furthest from being healthy, judged from cause to symptom."""

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from endpoints.clusters.explaining import ends, images
from endpoints.clusters.explaining.cases import say
from endpoints.clusters.explaining.probing import answering, start_budget
from endpoints.clusters.explaining.reading import (
    at,
    condition,
    duration,
    events_of,
    is_true,
    last_line,
    line,
    moment,
    name,
    objects,
    since,
    text,
)
from endpoints.clusters.explaining.scheduling import unscheduled
from endpoints.clusters.explaining.seen import Explanation, Seen

_SECRET = re.compile(r"couldn't find key|(?:secret|configmap) \"[^\"]{1,253}\" not found", re.IGNORECASE)
_ENDING_TOO_LONG = timedelta(minutes=2)  # past its grace period
_FIRST_CHECK = timedelta(seconds=30)  # after its start, before which no answer says nothing


def of_pods(seen: Seen, now: datetime) -> Explanation | None:
    """Return what the living pods tell; None when all are healthy or there is none."""
    found = [one for pod in _living(seen) if (one := _of_pod(pod, seen, now)) is not None]
    # What needs somebody is told before what is on its way: three replicas may be at three places.
    return min(found, key=lambda one: (not one.failed, one.turn == "nobody"), default=None)


def of_past(seen: Seen, now: datetime) -> Explanation | None:
    """Return what happened to pods that are over (evicted, preempted, lost), the newest first."""
    over = [pod for pod in objects(seen.pods) if at(pod, "status", "phase") == "Failed"]
    for pod in sorted(over, key=_born, reverse=True):
        found = _moved(pod, seen) or _containers(pod, seen)
        if found is not None:
            return found
    return None


def of_ending(seen: Seen, now: datetime) -> Explanation | None:
    """Return what is to be said of pods that are ending, and of one whose node does not confirm it."""
    for pod in objects(seen.pods):
        deadline = moment(at(pod, "metadata", "deletionTimestamp"))
        if deadline is None:
            continue
        if _lost(pod, seen):
            return _gone(pod)
        if now - deadline > _ENDING_TOO_LONG:
            node = line(at(pod, "spec", "nodeName"), 80) or "unknown"
            return say("stuck_ending", since=duration(now - deadline), node=node)
        return say("ending")
    return None


def _living(seen: Seen) -> list[Mapping[str, Any]]:
    pods = [
        pod
        for pod in objects(seen.pods)
        if at(pod, "metadata", "deletionTimestamp") is None
        and at(pod, "status", "phase") not in ("Failed", "Succeeded")
    ]
    return sorted(pods, key=_born, reverse=True)


def _born(pod: Any) -> float:
    born = moment(at(pod, "metadata", "creationTimestamp"))
    return born.timestamp() if born is not None and born.year > 1970 else 0.0


def _of_pod(pod: Mapping[str, Any], seen: Seen, now: datetime) -> Explanation | None:
    if _lost(pod, seen):
        return _gone(pod)
    if is_true(pod, "Ready"):
        return None
    found = unscheduled(pod, seen, now)
    if found is not None:
        return found
    return _moved(pod, seen) or _init(pod, seen, now) or _containers(pod, seen) or _young(pod, seen, now)


def _lost(pod: Mapping[str, Any], seen: Seen) -> bool:
    reason = at(pod, "status", "reason")
    by = condition(pod, "DisruptionTarget").get("reason")
    if reason == "NodeLost" or at(pod, "status", "phase") == "Unknown":
        return True
    if by in ("DeletionByTaintManager", "DeletionByPodGC"):
        return True
    # The node's absence turns Ready off and touches nothing else; the event says since when.
    quiet = next(events_of(seen.events, "Pod", name(pod), "NodeNotReady"), None)
    return quiet is not None and condition(pod, "Ready").get("status") == "False" and _all_ready(pod)


def _all_ready(pod: Mapping[str, Any]) -> bool:
    states = objects(at(pod, "status", "containerStatuses"))
    return bool(states) and all(one.get("ready") is True for one in states)


def _gone(pod: Mapping[str, Any]) -> Explanation:
    return say("node_lost", node=line(at(pod, "spec", "nodeName"), 80) or "it ran on")


def _moved(pod: Mapping[str, Any], seen: Seen) -> Explanation | None:
    reason, by = text(at(pod, "status", "reason")), text(condition(pod, "DisruptionTarget").get("reason"))
    message = line(at(pod, "status", "message")) or line(condition(pod, "DisruptionTarget").get("message"))
    node = line(at(pod, "spec", "nodeName"), 80) or "it ran on"
    if reason == "NodeLost" or by in ("DeletionByTaintManager", "DeletionByPodGC"):
        return _gone(pod)
    if reason in ("Preempted", "Preempting") or by == "PreemptionByScheduler":
        return say("preempted")
    if reason in ("NodeShutdown", "Terminated", "Shutdown") or by == "EvictionByEvictionAPI":
        return say("node_stopped", node=node)
    if reason == "Evicted" or by == "TerminationByKubelet":
        return say("evicted", detail=message or "it gives no reason")
    if reason == "UnexpectedAdmissionError" or reason.startswith("OutOf"):
        return say("device_unavailable", node=node, detail=message or reason)
    return None


def _init(pod: Mapping[str, Any], seen: Seen, now: datetime) -> Explanation | None:
    if is_true(pod, "Initialized"):
        return None
    for one in objects(at(pod, "status", "initContainerStatuses")):
        if at(one, "state", "terminated", "exitCode") == 0:
            continue
        found = images.unpulled(pod, one, seen) or _waiting(pod, one, seen)
        if found is not None:
            return found
        running = at(one, "state", "running")
        if running is None:
            return ends.prepared(pod, one, seen)
        if ends.fetches(one):
            return say("fetching_weights", since=_span(at(running, "startedAt"), now))
        return say("starting")
    return None


def _containers(pod: Mapping[str, Any], seen: Seen) -> Explanation | None:
    states = [one for one in objects(at(pod, "status", "containerStatuses")) if one.get("ready") is not True]
    judges: tuple[Callable[[Mapping[str, Any], Mapping[str, Any], Seen], Explanation | None], ...] = (
        images.unpulled, _waiting, _killed, _over,
    )  # fmt: skip
    for judge in judges:
        for one in states:
            found = judge(pod, one, seen)
            if found is not None:
                return found
    return None


def _waiting(pod: Mapping[str, Any], container: Mapping[str, Any], seen: Seen) -> Explanation | None:
    reason, message = (text(at(container, "state", "waiting", part)) for part in ("reason", "message"))
    image, node = line(container.get("image"), 120), line(at(pod, "spec", "nodeName"), 80) or "that it runs on"
    if reason == "CreateContainerConfigError":
        if "run as root" in message or "non-root" in message or "runAsNonRoot" in message:
            return say("runs_as_root", image=image)
        return say("config_missing", detail=line(message) or "the node names nothing")
    if reason in ("RunContainerError", "CreateContainerError", "PostStartHookError", "PreCreateHookError"):
        if "no space left" in message:
            return say("node_disk_full", node=node)
        if re.search(r"executable file not found|no such file or directory|permission denied", message):
            return say("program_missing", tried=ends.times(container), detail=last_line(message, 140))
        if _SECRET.search(message):
            return say("config_missing", detail=line(message))
        return say("container_not_started", detail=line(message) or "it gives no reason")
    return None


def _killed(pod: Mapping[str, Any], container: Mapping[str, Any], seen: Seen) -> Explanation | None:
    """Return the probe that ended a container, when the node says so; exit codes 137 and 143 look like a crash."""
    end = ends.last_end(container)
    if end.get("reason") == "OOMKilled" or end.get("exitCode") not in (0, 137, 143) or _told(end, seen):
        return None
    return answering(pod, container, seen)


def _told(end: Mapping[str, Any], seen: Seen) -> bool:
    return ends.cause(f"{text(end.get('message'))}\n{text(seen.logs)}") is not None


def _over(pod: Mapping[str, Any], container: Mapping[str, Any], seen: Seen) -> Explanation | None:
    """Return why a container ended before, unless it has started again and only its health check is missing."""
    if at(container, "state", "running") is not None:
        again = ends.ended(pod, container, seen) if container.get("started") is not True else None
        return replace(again, failed=False) if again is not None else None
    found = ends.ended(pod, container, seen)
    if found is None and at(container, "state", "waiting", "reason") == "CrashLoopBackOff":
        return say("crashed", tried=ends.times(container), exit="unknown", hint="")
    return found


def _young(pod: Mapping[str, Any], seen: Seen, now: datetime) -> Explanation:
    """Return how far a pod is that nothing is wrong with yet."""
    title, node = name(pod), line(at(pod, "spec", "nodeName"), 80) or "it is placed on"
    mount = next(events_of(seen.events, "Pod", title, "FailedMount", "FailedAttachVolume", "FailedMapVolume"), None)
    states = objects(at(pod, "status", "containerStatuses"))
    running = [one for one in states if at(one, "state", "running") is not None and one.get("ready") is not True]
    if running:
        return _loading(pod, running[0], seen, now)
    if mount is not None:
        return say("volume_not_mounted", detail=line(mount.get("message")) or "the node gives no reason")
    box = next(events_of(seen.events, "Pod", title, "FailedCreatePodSandBox", "FailedCreatePodContainer"), None)
    if box is not None:
        return say("sandbox_failed", node=node, detail=line(box.get("message")) or "it gives no reason")
    latest = next(events_of(seen.events, "Pod", title, "Pulling", "Pulled"), None)
    if latest is not None and latest.get("reason") == "Pulling":
        spent = since(latest.get("lastTimestamp") or latest.get("eventTime"), now)
        return say("pulling_image", node=node, since=f", for {duration(spent)} now" if spent else "")
    return say("starting")


def _loading(pod: Mapping[str, Any], container: Mapping[str, Any], seen: Seen, now: datetime) -> Explanation:
    spent = since(at(container, "state", "running", "startedAt"), now)
    event = next(events_of(seen.events, "Pod", name(pod), "Unhealthy"), None)
    if container.get("started") is True and (event is not None or spent is None or spent > _FIRST_CHECK):
        failing = since(condition(pod, "Ready").get("lastTransitionTime"), now) or spent
        return say(
            "not_ready",
            since=f" for {duration(failing)}" if failing else "",
            hint=f": {line(event.get('message'), 120)}" if event is not None else "",
        )
    budget = start_budget(pod, container, seen)
    if spent is not None and spent > timedelta(minutes=5) and budget is not None:
        return say("slow_start", since=duration(spent), budget=duration(budget))
    return say("loading", since=_span(at(container, "state", "running", "startedAt"), now))


def _span(begin: Any, now: datetime) -> str:
    spent = since(begin, now)
    return duration(spent) if spent is not None else "a while"
