"""What a scan keeps of the objects that it lists: little, since a cluster has tens of thousands. Pure functions."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from endpoints.adopting import guessing
from endpoints.clusters.explaining.reading import at, condition, line, mapping, moment, objects, text
from endpoints.clusters.kubernetes import pods
from endpoints.rogue import devices, images

Object = Mapping[str, Any]
MOST_WORDS = 60  # labels, annotations and managers that are kept of one object
LONG = 200  # characters of one of them
MOST_IMAGES = 8
_LARGE = ("kubectl.kubernetes.io/last-applied-configuration", "gatehouse.example/applied")


@dataclass(frozen=True, slots=True)
class Ref:
    """An object as its children name it."""

    api: str
    kind: str
    name: str
    uid: str


@dataclass(frozen=True, slots=True)
class Thing:
    """An object that pods may belong to."""

    ref: Ref
    namespace: str
    owner: Ref | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    managers: tuple[str, ...] = ()
    born: datetime | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)  # endpoints/adopting/guessing.py


@dataclass(frozen=True, slots=True)
class Pod:
    """A pod that holds accelerators or runs a known image. It holds them from `since` until `until` (None: still);
    one without `since` waits for a place.
    """

    thing: Thing
    images: tuple[str, ...]
    engine: str
    resources: Mapping[str, int]
    claims: tuple[str, ...] = ()
    since: datetime | None = None
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Space:
    """A namespace, as far as it says whose it is."""

    name: str
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    uid: str = ""


def pod(found: Object, resources: Collection[str], ignored: Collection[str]) -> Pod | None:
    """Return what is kept of a pod; None for most pods."""
    if text(at(found, "metadata", "namespace")) in ignored:
        return None
    spec = mapping(found.get("spec"))
    containers = objects(spec.get("containers"))
    asked = devices.asked(spec, resources)
    claims = devices.claims_of(found) if spec.get("resourceClaims") else []
    known = [(one, family) for one in containers if (family := images.known(str(one.get("image") or "")))]
    if not (asked or claims or known):
        return None
    main = known[0][0] if known else _largest(containers, resources)
    thing = _thing(found, guessing.of_container(main, known[0][1].engine if known else ""))
    shown = [line(one.get("image"), LONG) for one in containers[:MOST_IMAGES]]
    until = _ended(found)
    return Pod(
        thing=thing, images=tuple(shown), engine=known[0][1].name if known else "", resources=asked,
        claims=tuple(claims), since=_since(found), until=until,
    )  # fmt: skip


def owner(found: Object, wanted: Collection[str]) -> Thing | None:
    """Return what is kept of an object that may own pods; None for one that owns none of the `wanted` ones."""
    if text(at(found, "metadata", "uid")) not in wanted:
        return None
    return _thing(found, guessing.of_owner(found))


def served(found: Object) -> Thing:
    """Return what is kept of an object of KServe, whether it has pods or not."""
    return _thing(found, guessing.of_owner(found))


def space(found: Object) -> Space:
    """Return what is kept of a namespace."""
    meta = mapping(found.get("metadata"))
    return Space(line(meta.get("name"), 63), _words(meta.get("labels")), _words(meta.get("annotations")),
                 line(meta.get("uid"), 36))  # fmt: skip


def _thing(found: Object, facts: Mapping[str, Any]) -> Thing:
    meta = mapping(found.get("metadata"))
    ref = _ref(found, meta)
    named = [line(one.get("manager"), 60) for one in objects(meta.get("managedFields"))[:MOST_WORDS]]
    return Thing(
        ref=ref, namespace=line(meta.get("namespace"), 63), owner=_controller(meta), labels=_words(meta.get("labels")),
        annotations=_words(meta.get("annotations")), managers=tuple(dict.fromkeys(named)),
        born=moment(meta.get("creationTimestamp")), facts=facts,
    )  # fmt: skip


def _controller(meta: Object) -> Ref | None:
    """Return what steers an object, else what owns it."""
    owners = objects(meta.get("ownerReferences"))
    chosen = next((one for one in owners if one.get("controller") is True), owners[0] if owners else None)
    if chosen is None:
        return None
    return _ref(chosen, chosen)


def _ref(typed: Object, named: Object) -> Ref:
    """Return a reference within the columns that keep it: an owner's kind is whatever somebody wrote into a pod."""
    return Ref(line(typed.get("apiVersion"), 80), line(typed.get("kind"), 60), line(named.get("name"), 253),
               line(named.get("uid"), 36))  # fmt: skip


def _words(value: Any) -> dict[str, str]:
    kept = [(key, one) for key, one in mapping(value).items() if key not in _LARGE][:MOST_WORDS]
    return {line(key, LONG): line(one, LONG) for key, one in kept}


def _largest(containers: Collection[Object], resources: Collection[str]) -> Object:
    """Return the container with most accelerators, else the one that an engine usually is."""

    def rank(one: Object) -> tuple[int, bool]:
        return sum(devices.asked({"containers": [one]}, resources).values()), str(one.get("name")) in pods.CONTAINERS

    return max(containers, key=rank, default={})


def _since(found: Object) -> datetime | None:
    """Return when a pod got its place: its accelerators are nobody else's from then on."""
    if not at(found, "spec", "nodeName"):
        return None
    placed = condition(found, "PodScheduled")
    when = moment(placed.get("lastTransitionTime")) if placed.get("status") == "True" else None
    return when or moment(at(found, "status", "startTime")) or moment(at(found, "metadata", "creationTimestamp"))


def _ended(found: Object) -> datetime | None:
    """Return when a pod that is over gave its accelerators back."""
    if at(found, "status", "phase") not in ("Succeeded", "Failed"):
        return None
    statuses = objects(at(found, "status", "containerStatuses"))
    ends = [when for one in statuses if (when := moment(at(one, "state", "terminated", "finishedAt")))]
    return max(ends, default=None) or _since(found) or moment(at(found, "metadata", "creationTimestamp"))
