"""What the words of a refusal at creation mean: quota, limits, Pod Security, policies, webhooks, accounts.

The same words come from a Deployment's condition, a ReplicaSet's event, an InferenceService's condition and, for what
the portal creates itself, as the answer of the API server.
"""

import re
from typing import Any

from endpoints.clusters.explaining.cases import say
from endpoints.clusters.explaining.reading import at, line, mapping, name, objects, text
from endpoints.clusters.explaining.seen import Explanation, Seen

_QUOTA = re.compile(r"exceeded quota: (\S{1,253}), requested: (.{1,800}?), used: (.{1,800}?), limited: ([^\n]{1,800})")
_MUST = re.compile(r"failed quota: (\S{1,253}): must specify ([^\n]{1,600})")
_PODSECURITY = re.compile(r'violates PodSecurity "([^"]{1,80})": ([^\n]{1,3000})')
_LIMITS = re.compile(
    r"((?:maximum|minimum) [a-z0-9./-]{1,80} usage per \w+ is [^\n]{1,400}"
    r"|[a-z0-9./-]{1,80} max limit to request ratio per \w+ is [^\n]{1,400})"
)
_POLICY = re.compile(
    r"ValidatingAdmissionPolicy '([^']{1,253})' with binding '[^']{1,253}' denied request: ([^\n]{1,1000})"
)
_WEBHOOK = re.compile(r'admission webhook "([^"]{1,253})" denied the request: ?([^\n]{0,1000})')
_DEAD_WEBHOOK = re.compile(r'failed calling webhook "([^"]{1,253})": ?([^\n]{0,1000})')
_ACCOUNT = re.compile(r"(?:error looking up service account \S{1,300}: )?serviceaccounts? \"([^\"]{1,253})\" not found")
_ENDING = re.compile(r"in namespace (\S{1,253}) because it is being terminated")
_SCC = re.compile(r"unable to validate against any security context constraint: ?([^\n]{0,1500})")
_GPU = re.compile(r"gpu|/mig-|gaudi|nvidia\.com/|amd\.com/", re.IGNORECASE)
# The parts of a Pod Security message in brackets repeat what stands before them, for each container.
_BRACKETS = re.compile(r" \([^()]{0,400}\)")


def denial(message: Any, seen: Seen | None = None) -> Explanation | None:
    """Return what a refusal at creation means, or None when these are no words of one."""
    words = text(message)
    for read in (_quota, _limits, _security, _policies, _surroundings):
        found = read(words, seen or Seen())
        if found is not None:
            return found
    return None


def creation(message: Any, seen: Seen) -> Explanation:
    """Return why a controller could not create a pod."""
    found = denial(message, seen)
    return found if found is not None else say("creation_refused", detail=line(message) or "it gives no reason")


def resource(key: str) -> str:
    """Return a resource as a person names it, with its technical name."""
    plain = key.removeprefix("requests.").removeprefix("limits.")
    if key.startswith("count/"):
        return f"objects of the kind {key.removeprefix('count/')}"
    if "/mig-" in plain:
        return f"GPU slices ({plain})"
    if _GPU.search(plain):
        return f"GPUs ({plain})"
    return {"cpu": "CPU cores", "ephemeral-storage": "disk", "storage": "storage"}.get(plain, plain)


def quantity(value: Any) -> float | None:
    """Return a quantity of Kubernetes as a number: `500m`, `24Gi`, `4`; None when it is none."""
    found = re.fullmatch(r"([0-9]{1,15}(?:\.[0-9]{1,9})?)(m|k|Ki|M|Mi|G|Gi|T|Ti|P|Pi)?", value) if _is(value) else None
    if not found:
        return None
    powers = {"m": 1e-3, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "P": 1e15}
    binary = {"Ki": 2.0**10, "Mi": 2.0**20, "Gi": 2.0**30, "Ti": 2.0**40, "Pi": 2.0**50}
    return float(found[1]) * (powers | binary).get(found[2] or "", 1.0)


def _is(value: Any) -> bool:
    return isinstance(value, str) and len(value) < 40


def _amounts(words: str) -> dict[str, str]:
    pairs = (part.partition("=") for part in words.strip().rstrip(".").split(","))
    return {key.strip(): amount.strip() for key, _, amount in pairs if amount.strip()}


def _quota(words: str, seen: Seen) -> Explanation | None:
    if must := _MUST.search(words):
        return say("quota_wants_limits", quota=must[1], missing=line(must[2]))
    found = _QUOTA.search(words)
    if not found:
        return None
    asked, used, limited = (_amounts(found[place]) for place in (2, 3, 4))
    keys = sorted(asked, key=lambda key: not _GPU.search(key))
    # One request can pass one of several limits: the one that is really exceeded is told.
    over = [key for key in keys if _exceeds(asked[key], used.get(key), limited.get(key))]
    key = (over or keys or [""])[0]
    hard, now_used = limited.get(key, "?"), used.get(key, "?")
    facts = {"quota": found[1], "resource": resource(key), "asked": asked.get(key, "?")}
    if _exceeds(facts["asked"], "0", hard):
        return say("quota_too_small", limit=hard, **facts)
    fresh = _fresh(seen, found[1], key)
    if fresh is not None and not _exceeds(facts["asked"], *fresh):
        return say("quota_free_again", used=fresh[0], limit=fresh[1], **facts)
    if fresh is not None:
        now_used, hard = fresh
    code = "gpu_quota_exceeded" if _GPU.search(key) else "quota_exceeded"
    return say(code, used=now_used, limit=hard, **facts)


def _exceeds(asked: Any, used: Any, hard: Any) -> bool:
    numbers = [quantity(value) for value in (asked, used, hard)]
    known = [number for number in numbers if number is not None]
    return len(known) == 3 and known[0] + known[1] > known[2]


def _fresh(seen: Seen, quota: str, key: str) -> tuple[str, str] | None:
    """Return what is used and allowed now: the message is as old as the last try."""
    if name(seen.quota) != quota:
        return None
    used, hard = at(seen.quota, "status", "used", key), at(seen.quota, "status", "hard", key)
    return (line(used, 40), line(hard, 40)) if quantity(used) is not None and quantity(hard) is not None else None


def _limits(words: str, seen: Seen) -> Explanation | None:
    found = _LIMITS.search(words)
    return say("limit_range", detail=line(found[1].rstrip("].,"))) if found else None


def _security(words: str, seen: Seen) -> Explanation | None:
    if scc := _SCC.search(words):
        return say("security_constraint", detail=line(scc[1]))
    found = _PODSECURITY.search(words)
    return say("pod_security", level=found[1], detail=line(_BRACKETS.sub("", found[2]))) if found else None


def _policies(words: str, seen: Seen) -> Explanation | None:
    if policy := _POLICY.search(words):
        return say("policy_denied", policy=policy[1], detail=line(policy[2]))
    if dead := _DEAD_WEBHOOK.search(words):
        return say("webhook_unreachable", webhook=dead[1], detail=line(dead[2]) or "it gives no reason")
    if webhook := _WEBHOOK.search(words):
        detail = line(webhook[2]) or "it gives no reason"
        return say("webhook_denied", webhook=webhook[1], detail=detail)
    return None


def _surroundings(words: str, seen: Seen) -> Explanation | None:
    if account := _ACCOUNT.search(words):
        return say("service_account_missing", account=account[1])
    if ending := _ENDING.search(words):
        return say("namespace_terminating", namespace=ending[1])
    return None


def namespace(seen: Seen) -> Explanation | None:
    """Return the explanation when the namespace itself is going away."""
    ending = at(seen.namespace, "status", "phase") == "Terminating" or at(
        seen.namespace, "metadata", "deletionTimestamp"
    )
    return say("namespace_terminating", namespace=name(seen.namespace)) if ending else None


def requested(pod: Any, seen: Seen | None = None) -> dict[str, str]:
    """Return what the first container of a pod asks for that wants a GPU, else of the first: resource → amount."""
    containers = objects(at(pod, "spec", "containers")) or objects(
        at((seen or Seen()).deployment, "spec", "template", "spec", "containers")
    )
    asked: dict[str, str] = {}
    for one in containers:
        for part in ("requests", "limits"):
            for key, value in mapping(at(one, "resources", part)).items():
                if isinstance(key, str):
                    asked.setdefault(line(key, 80), line(str(value), 40))
    return asked
