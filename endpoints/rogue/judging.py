"""From what was listed to findings: which workload pods belong to, and whether the portal approved it. Pure functions.

Labels prove nothing: whoever may write an object may write them. What the portal approved is told by the portal's own
rows (`Approvals`), and only for an object of the right kind, namespace and name, or with the uid that was adopted.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from endpoints.clusters.kubernetes import owned
from endpoints.rogue.devices import Claims
from endpoints.rogue.reading import MOST_IMAGES, Pod, Thing

SERVED = ("InferenceService", "LLMInferenceService")
_LISTED = frozenset({"ReplicaSet", "Deployment", "StatefulSet", *SERVED})
MOST_OWNERS = 8  # of one above the other
MOST_HELD = 10**6  # accelerators of one workload; more is a mistake of who wrote it
OURS, OTHERS = "imitated", "other-portal"  # whose labels something bears without being approved here


@dataclass(frozen=True)
class Approval:
    """An approved revision of a living endpoint, as the cluster must show it."""

    kind: str
    namespace: str
    name: str
    endpoint: str
    revision: str
    digest: str
    labels: Mapping[str, str]


@dataclass(frozen=True)
class Approvals:
    """Everything that the portal approved: by kind, namespace and name what it wrote itself, and the uids of what it
    adopted. `installations`: how this portal marks its objects.
    """

    written: Mapping[tuple[str, str, str], Approval] = field(default_factory=dict)
    adopted: frozenset[str] = frozenset()
    endpoints: frozenset[str] = frozenset()
    installations: frozenset[str] = frozenset()

    def hold(self, thing: Thing) -> bool:
        """Whether the portal approved `thing`."""
        if thing.ref.uid in self.adopted and thing.ref.kind in _LISTED:  # no other kind is adopted, or read at all
            return True
        found = self.written.get((thing.ref.kind, thing.namespace, thing.ref.name))
        if found is None:
            return False
        alike = all(thing.labels.get(key) == value for key, value in found.labels.items())
        return alike and thing.annotations.get(owned.APPROVAL_DIGEST) == found.digest


@dataclass(frozen=True)
class Found:
    """A workload without approval, with its pods. `accelerators` is what they hold now, by resource; `claim` whose
    labels it bears, and `claim_says` why that is no approval.
    """

    thing: Thing
    pods: Sequence[Pod]
    images: Sequence[str]
    engine: str
    accelerators: Mapping[str, int]
    facts: Mapping[str, Any]
    claim: str = ""
    claim_says: str = ""

    @property
    def held(self) -> int:
        """How many accelerators it holds now."""
        return min(sum(self.accelerators.values()), MOST_HELD)

    @property
    def wants(self) -> bool:
        """Whether its pods hold accelerators, or wait for some."""
        return any(one.resources or one.claims for one in self.pods)

    @property
    def started(self) -> datetime | None:
        """Since when the oldest of its pods has a place."""
        return min((one.since for one in self.pods if one.since), default=None)


@dataclass(frozen=True)
class Verdict:
    """What a scan found: workloads without approval, and the uids of those that have one."""

    found: Sequence[Found]
    approved: frozenset[str]


def judge(
    pods: Sequence[Pod], owners: Mapping[str, Thing], services: Iterable[Thing], claims: Claims, approvals: Approvals,
    ignored: Iterable[str] = (),
) -> Verdict:  # fmt: skip
    """Return what has no approval. `owners` are the objects that were listed, by uid; `ignored` namespaces are the
    cluster's own.
    """
    skipped = frozenset(ignored)
    tops: dict[str, Thing] = {one.ref.uid: one for one in services if one.namespace not in skipped}
    members: dict[str, list[Pod]] = {}
    for one in pods:
        top = _top(one.thing, owners, tops)
        elsewhere = tops.get(top.ref.uid, top).namespace != top.namespace
        if elsewhere or (top.ref.uid in approvals.adopted and not approvals.hold(top)):
            top = one.thing  # the uid of something else, made up
        tops.setdefault(top.ref.uid, top)
        members.setdefault(top.ref.uid, []).append(one)
    approved = frozenset(uid for uid, top in tops.items() if approvals.hold(top))
    judged = (_found(top, members.get(uid, []), claims, approvals) for uid, top in tops.items() if uid not in approved)
    found = [one for one in judged if one is not None]
    found.sort(key=lambda one: (one.thing.namespace, one.thing.ref.name))
    return Verdict(found, approved | approvals.adopted)  # what was adopted is there without pods, too: it sleeps


def _top(thing: Thing, owners: Mapping[str, Thing], services: Mapping[str, Thing]) -> Thing:
    """Return the workload that an object belongs to: what stands above all, as far as it was listed. An owner that was
    not listed is taken by its word where nobody lists its kind, and not at all where the list does not have it.
    """
    for _ in range(MOST_OWNERS):
        above = thing.owner
        if above is None:
            return thing
        known = owners.get(above.uid) or services.get(above.uid)
        if known is None:
            return thing if above.kind in _LISTED else Thing(above, thing.namespace, labels=thing.labels,
                                                             annotations=thing.annotations)  # fmt: skip
        if known.namespace != thing.namespace:  # an owner stands in the same namespace: this one was made up
            return thing
        thing = known
    return thing


def _found(top: Thing, pods: Sequence[Pod], claims: Claims, approvals: Approvals) -> Found | None:
    living = [one for one in pods if one.until is None]
    if not living and top.ref.kind not in SERVED:
        return None  # only pods that are over
    held: dict[str, int] = {}
    for one in living:
        if one.since is not None:
            _add(held, devices_of(one, claims))
    if not any(one.resources or one.engine or devices_of(one, claims) for one in pods) and top.ref.kind not in SERVED:
        return None  # a claim of something else than accelerators
    images = list(dict.fromkeys(image for one in living for image in one.images))[:MOST_IMAGES]
    facts = dict(living[0].thing.facts) if living else {}
    claim, says = _claim(top, pods, approvals)
    return Found(
        thing=top, pods=pods, images=images, engine=next((one.engine for one in living if one.engine), ""),
        accelerators=held, facts={**facts, **top.facts, **_each(living, claims)}, claim=claim, claim_says=says,
    )  # fmt: skip


def devices_of(one: Pod, claims: Claims) -> dict[str, int]:
    """Return the accelerators of one pod by resource; those that it claimed are counted together."""
    claimed = sum(claims.get((one.thing.namespace, name), 0) for name in one.claims)
    return {**one.resources, **({"claimed": claimed} if claimed else {})}


def _each(pods: Sequence[Pod], claims: Claims) -> dict[str, Any]:
    """Return how many pods there are, and what each of them holds."""
    per = max((sum(devices_of(one, claims).values()) for one in pods), default=0)
    resource = next((name for one in pods for name in one.resources), "")
    return {"pods": len(pods), "per_pod": per, "resource": resource}


def _claim(top: Thing, pods: Sequence[Pod], approvals: Approvals) -> tuple[str, str]:
    """Return whose labels a workload without approval bears, and why they say nothing."""
    for labels in (top.labels, *(one.thing.labels for one in pods[:1])):
        mark, endpoint = labels.get(owned.INSTALLATION, ""), labels.get(owned.ENDPOINT, "")
        bears = any(key in labels for key in (owned.ENDPOINT, owned.REVISION, owned.PROJECT, owned.INSTALLATION))
        if not bears and labels.get(owned.MANAGED_BY) != owned.MANAGER:
            continue
        if mark and mark not in approvals.installations:
            return OTHERS, (
                f"It bears the mark of another portal, {mark}. This one cannot tell whether that portal approved it."
            )
        if endpoint not in approvals.endpoints:
            return OURS, "It bears the portal's labels, and the endpoint that they name does not exist here."
        return OURS, (
            "It bears the labels of an endpoint of the portal, and is not the object that the portal wrote for it: "
            "name, namespace, kind or approval differ."
        )
    return "", ""


def _add(total: dict[str, int], more: Mapping[str, int]) -> None:
    for name, count in more.items():
        total[name] = total.get(name, 0) + count
