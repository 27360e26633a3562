"""Why no node takes a pod: the scheduler's sum over all nodes, and which part of it is the cause."""

import re
from datetime import datetime, timedelta
from typing import Any

from endpoints.clusters.explaining.admission import requested, resource
from endpoints.clusters.explaining.cases import say
from endpoints.clusters.explaining.reading import (
    at,
    condition,
    duration,
    events_of,
    line,
    mapping,
    name,
    objects,
    since,
    text,
)
from endpoints.clusters.explaining.seen import Explanation, Seen

_HEAD = re.compile(r"(\d{1,6})/(\d{1,6}) nodes are available: ?")
_PREEMPTION = re.compile(r"\s*(?:(?:no new claims to deallocate|still not schedulable), )?preemption: ")
_PART = re.compile(r"(\d{1,6}) ((?:[^,{]|\{[^}]{0,200}\}){1,300})")
_CLAIM = re.compile(r'persistentvolumeclaim "([^"]{1,253})" (?:not found|is being deleted)')
_TAINT = re.compile(r"untolerated taint(?:\(s\))? ?\{([^}]{1,200})\}")
_BROKEN = re.compile(r"node\.kubernetes\.io/(?:not-ready|unreachable|unschedulable|\w+-pressure|network-unavailable)")


_QUEUE = "kueue.x-k8s.io/queue-name"
# What no wait of an engine ends: the queue is not there, does not work, or is too small for it altogether.
_NEVER = frozenset({"Inadmissible", "ExceedsMaxQuota", "Deactivated"})
_STUCK = re.compile(r"doesn't exist|is inactive|is stopped|exceeds? (?:the )?max|insufficient quota", re.IGNORECASE)

# A scheduler that works has looked at a pod by then, or says why not.
_UNSEEN = timedelta(seconds=20)


def unscheduled(pod: Any, seen: Seen, now: datetime) -> Explanation | None:
    """Return why a pod has no node yet; None when it has one."""
    placed = condition(pod, "PodScheduled")
    if placed.get("status") == "True" or at(pod, "spec", "nodeName"):
        return None
    event = next(events_of(seen.events, "Pod", name(pod), "FailedScheduling"), None)
    if placed.get("reason") == "SchedulingGated" or objects(at(pod, "spec", "schedulingGates")):
        return _gated(pod, seen)
    if placed.get("status") != "False" and event is None:
        return _unseen(pod, seen, now)
    message = text(placed.get("message")) or text(mapping(event).get("message"))
    return _explained(message, pod, seen)


def _gated(pod: Any, seen: Seen) -> Explanation:
    """Return who holds a pod back: Kueue, which says in its Workload why, or whoever else has a gate on it."""
    gates = [text(one.get("name")) for one in objects(at(pod, "spec", "schedulingGates"))]
    queue = line(at(pod, "metadata", "labels", _QUEUE), 63)
    if not any(gate.startswith("kueue.x-k8s.io/") for gate in gates):
        return say("gated")
    uid = at(pod, "metadata", "uid")
    own = next((one for one in seen.workloads if uid and uid in _owners(one)), None)
    reserved = condition(own, "QuotaReserved")
    detail = line(reserved.get("message")) if reserved.get("status") == "False" else ""
    if text(reserved.get("reason")) in _NEVER or _STUCK.search(detail):
        return say("kueue_refuses", queue=queue or "of its namespace", detail=detail or "it gives no reason")
    return say("kueue_waiting", queue=queue or "of its namespace", detail=detail or "it has not said yet what is short")


def _owners(workload: Any) -> list[Any]:
    return [one.get("uid") for one in objects(at(workload, "metadata", "ownerReferences"))]


def _unseen(pod: Any, seen: Seen, now: datetime) -> Explanation:
    """Return why the scheduler says nothing of a pod: as long as a ResourceClaim of it is not there it does not even
    look, and writes neither a condition nor an event.
    """
    failed = next(events_of(seen.events, "Pod", name(pod), "FailedResourceClaimCreation"), None)
    if failed is not None:
        return say("device_claim", detail=line(failed.get("message")) or "its ResourceClaim cannot be made")
    claims = objects(at(pod, "spec", "resourceClaims"))
    waited = since(at(pod, "metadata", "creationTimestamp"), now)
    if not claims or waited is None or waited < _UNSEEN:
        return say("scheduling")
    named = [line(one.get("resourceClaimName") or one.get("resourceClaimTemplateName"), 60) for one in claims]
    known = ", ".join(one for one in named if one) or "of its own"
    detail = f"no scheduler has looked at it for {duration(waited)}, so a ResourceClaim ({known}) is missing or going"
    return say("device_claim", detail=detail)


def _explained(message: str, pod: Any, seen: Seen) -> Explanation:
    volume = _volume(message)
    if volume is not None:
        return volume
    if "no nodes available" in message:
        return say("no_nodes")
    head = _HEAD.search(message)
    if not head:
        return say("unschedulable", detail=line(message) or "it gives no reason")
    main, *rest = _PREEMPTION.split(message[head.end() :], maxsplit=1)
    preemption = rest[0] if rest else ""
    parts = [(int(count), words.strip(" .")) for count, words in _PART.findall(main)]
    return _sum(parts, int(head[2]), preemption, pod, seen) or say("unschedulable", detail=line(main))


def _volume(message: str) -> Explanation | None:
    if claim := _CLAIM.search(message):
        return say("volume_claim_missing", claim=claim[1])
    detail = line(_HEAD.sub("", _PREEMPTION.split(message)[0]))
    if "volume node affinity conflict" in message:
        return say("volume_elsewhere", detail=detail)
    if re.search(r"unbound immediate PersistentVolumeClaims|find available persistent volumes|non-existent", message):
        return say("volume_not_bound", detail=detail)
    if re.search(r"resource ?claim|allocate all claims|device class", message, re.IGNORECASE):
        return say("device_claim", detail=detail)
    return None


def _sum(
    parts: list[tuple[int, str]], nodes: int, preemption: str, pod: Any, seen: Seen
) -> Explanation | None:  # fmt: skip
    """Choose the cause: what is short wins over what excludes other nodes, for only that can end by itself."""
    short = [(count, words.removeprefix("Insufficient ")) for count, words in parts if words.startswith("Insufficient")]
    if short:
        return _short(short, parts, nodes, preemption, pod, seen)
    broken = [
        (count, words) for count, words in parts if _BROKEN.search(words) or words == "node(s) were unschedulable"
    ]
    taints = [(count, words) for count, words in parts if "untolerated taint" in words and not _BROKEN.search(words)]
    labels = [(count, words) for count, words in parts if "node affinity/selector" in words]
    if broken:
        others = _others(parts, [words for _, words in broken])
        return say("nodes_not_ready", count=sum(count for count, _ in broken), nodes=nodes, others=others)
    if taints and sum(count for count, _ in labels) < nodes:
        named = sorted({match[1] for _, words in taints if (match := _TAINT.search(words))})
        detail = f" ({', '.join(named)})" if named else ""
        return say("taints_not_tolerated", nodes=sum(count for count, _ in taints), detail=detail)
    if labels:
        wanted = mapping(at(pod, "spec", "nodeSelector"))
        pairs = ", ".join(f"{line(key, 80)}={line(value, 80)}" for key, value in sorted(wanted.items(), key=str))
        return say("no_matching_node", nodes=nodes, detail=f": {pairs}" if pairs else "")
    return None


def _short(
    short: list[tuple[int, str]], parts: list[tuple[int, str]], nodes: int, preemption: str, pod: Any, seen: Seen
) -> Explanation:
    gpus = [(count, key) for count, key in short if "/" in key]
    count, key = (gpus or short)[0]
    asked = requested(pod, seen).get(key, "accelerators" if gpus else "amount")
    others = _others(parts, [f"Insufficient {key}"])
    # "Not helpful" for every node means that not even an empty one would do; the others are short only now.
    never = len(short) == 1 and re.search(rf"\b{nodes} Preemption is not helpful", preemption)
    if never:
        code = "no_node_with_gpus" if gpus else "no_node_large_enough"
    else:
        code = "no_free_gpu" if gpus else "no_room_on_nodes"
    return say(code, short=count, nodes=nodes, resource=resource(key), asked=asked, others=others)


def _others(parts: list[tuple[int, str]], told: list[str]) -> str:
    """Return what keeps the other nodes away, as the end of a clause."""
    words = []
    for count, part in parts:
        if part in told:
            continue
        plain = part.removeprefix("node(s) ").replace("Insufficient", "short of")
        plain = plain.replace("had untolerated taint(s)", "reserved by a taint").replace("had ", "with ")
        plain = plain.replace("didn't match Pod's node affinity/selector", "without the labels of the profile")
        words.append(f"{count} {line(plain, 60)}")
    return f" (the others: {', '.join(words[:3])})" if words else ""
