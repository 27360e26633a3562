"""Health checks of the cluster: which of them ended a container, and how long an engine may take to start."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from endpoints.clusters.explaining.cases import say
from endpoints.clusters.explaining.ends import times
from endpoints.clusters.explaining.reading import at, duration, events_of, line, mapping, name, number, objects, text
from endpoints.clusters.explaining.seen import Explanation, Seen


def start_budget(pod: Any, container: Mapping[str, Any], seen: Seen) -> timedelta | None:
    """Return how long the container may take until its first healthy answer; None when no start-up probe says it."""
    places = (at(pod, "spec", "containers"), at(seen.deployment, "spec", "template", "spec", "containers"))
    for place in places:
        for one in objects(place):
            probe = mapping(one.get("startupProbe"))
            if one.get("name") != container.get("name") or not probe:
                continue
            first = number(probe.get("initialDelaySeconds")) or 0
            seconds = first + (number(probe.get("periodSeconds")) or 10) * (number(probe.get("failureThreshold")) or 3)
            return timedelta(seconds=seconds) if 0 < seconds < 10**7 else None
    return None


def answering(pod: Any, container: Mapping[str, Any], seen: Seen) -> Explanation | None:
    """Return which health check ended a container; None when no event says that one did."""
    budget = start_budget(pod, container, seen)
    within = duration(budget) if budget is not None else "the time it was given"
    tried = times(container)
    for event in events_of(seen.events, "Pod", name(pod), "Killing", "Unhealthy"):
        message = text(event.get("message"))
        lower = message.lower()
        if "startup probe" in lower and (event.get("reason") == "Killing" or _ended_while_starting(container)):
            return say("start_timeout", tried=tried, budget=within)
        if "liveness probe" in lower:
            return say("not_answering", tried=tried, detail=line(message, 120))
    return None


def _ended_while_starting(container: Mapping[str, Any]) -> bool:
    return container.get("started") is not True and at(container, "state", "running") is None
