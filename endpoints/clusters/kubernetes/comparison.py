"""What the portal would write against what a cluster has, field by field, without writing anything.

What obviously holds costs no call of its own. For all else the API server says by a dry run of the same server-side
apply what would become of the object: so its defaults count as equal, and what others added is left out. A Secret is
never read: a dry run that takes nothing from anybody tells whether it is there and ours.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

from endpoints.clusters import ClusterError, Difference, Place, Workload
from endpoints.clusters.explaining.reading import at
from endpoints.clusters.kubernetes import comparing, differing, errors, guarding, kinds, manifests, owned, pods, state
from endpoints.clusters.kubernetes.approving import RUN
from endpoints.clusters.kubernetes.client import Client
from endpoints.clusters.kubernetes.differing import HIDDEN, Author, Change
from endpoints.clusters.kubernetes.kinds import Kind, kind_of
from endpoints.clusters.kubernetes.whole import PAGE

Object = Mapping[str, Any]
Name = tuple[str, str, str]  # kind, namespace, name
WHOLE = "the whole object"
THREADS = 4  # calls of one sweep at a time
BATCH = 64  # endpoints whose objects stand in memory
SPACES = (kinds.NAMESPACE, kinds.RESOURCE_QUOTA, kinds.LIMIT_RANGE, kinds.NETWORK_POLICY, kinds.SERVICE_ACCOUNT)
_HOLDER = re.compile(r"is held by (.{1,120}?): it was")
_HEAD = frozenset({"apiVersion", "kind", "metadata", "status"})


def name_of(found: Object) -> Name:
    """Return what tells an object from all others of its cluster."""
    meta = found.get("metadata") or {}
    return str(found.get("kind")), str(meta.get("namespace") or ""), str(meta.get("name"))


def shared(manifest: Object) -> bool:
    """Whether an object belongs to all endpoints of a namespace."""
    return owned.ENDPOINT not in (at(manifest, "metadata", "labels") or {})


def obvious(live: Object, manifest: Object) -> bool:
    """Whether an object holds all that would be written, so that nobody has to be asked."""
    return comparing.applied(live) is not None and comparing.holds(live, manifest)


def of_object(client: Client, manifest: Object, live: Object | None) -> list[Difference]:
    """Return in what one object differs; `live` is what was read of it, None: it is not there. Raises ClusterError."""
    if manifest["kind"] == kinds.SECRET.name:
        return _of_secret(client, manifest)
    if live is None:
        return [_missing(manifest)]
    if at(live, "metadata", "deletionTimestamp") or obvious(live, manifest):
        return []
    try:
        dry = client.apply(comparing.stamped(manifest), force=True, dry=True)
    except ClusterError as error:
        if error.code in errors.RESTS:
            raise
        changes = differing.between(_body(manifest), _body(live))  # it cannot even be written as it is now
    else:
        if at(dry, "metadata", "resourceVersion") != at(live, "metadata", "resourceVersion"):
            _, namespace, name = name_of(manifest)
            live = client.get(kind_of(manifest), name, namespace)  # it was read a while ago
            if live is None:
                return [_missing(manifest)]
        changes = differing.between(_body(dry), _body(live), extra=True)
    return [one for change in changes if (one := _difference(manifest, live, change)) is not None]


def _body(found: Object) -> dict[str, Any]:
    """Return the part of an object that is somebody's choice."""
    meta = {name: at(found, "metadata", name) or {} for name in ("labels", "annotations")}
    return {"metadata": meta, **{name: value for name, value in found.items() if name not in _HEAD}}


def _difference(manifest: Object, live: Object, change: Change) -> Difference | None:
    kind, namespace, name = name_of(manifest)
    note, written = comparing.key(manifest), comparing.applied(live)
    if [step.key for step in change.path] == ["metadata", "annotations", note] and written is not None:
        return None  # the portal's own note of what it wrote
    who = differing.author(live, change.path)
    own = written is not None and not who.sure and _same(differing.value_at(written, change.path), change.found)
    stays = guarding.stays(kind, change.field, change.wanted, change.found)
    if own:
        who = Author(owned.MANAGER, "Apply", None, sure=True)
    return Difference(
        kind=kind, name=name, namespace=namespace, field=change.field,
        wanted=differing.shown(change, change.wanted), found=differing.shown(change, change.found),
        manager=who.manager, operation=who.operation, at=who.at, sure=who.sure,
        guarded=not own and not stays, own=own,
    )  # fmt: skip


def _same(written: Any, found: Any) -> bool:
    return (written is None and found is None) or (written is not None and comparing.holds(found, written))


def _missing(manifest: Object) -> Difference:
    kind, namespace, name = name_of(manifest)
    return Difference(kind, name, namespace, wanted=WHOLE, sure=False, guarded=kind not in guarding.ADVICE)


def _of_secret(client: Client, manifest: Object) -> list[Difference]:
    kind, namespace, name = name_of(manifest)
    try:
        answer = client.apply(manifest, force=False, dry=True)
    except ClusterError as error:
        if error.code in errors.MISSING:
            return [_missing(manifest)]
        if error.code in errors.RESTS:
            raise
        if error.code != "field_conflict":
            return []  # whoever refuses to write it says nothing about what is there
        holder = _HOLDER.search(error.sentence)
        manager = holder[1] if holder else ""
        return [Difference(kind, name, namespace, "data", HIDDEN, HIDDEN, manager, "", None, bool(manager))]
    # Of what is not there yet a dry run has no version.
    return [] if at(answer, "metadata", "resourceVersion") else [_missing(manifest)]


class Seen:
    """What a few lists of the whole cluster told: which objects are there, and those that may differ."""

    def __init__(self) -> None:
        self.there: set[Name] = set()
        self.suspects: dict[Name, Object] = {}

    def keep(self, live: Object, wanted: Object | None) -> None:
        """Note an object that a list shows; what is kept of it is only what may differ from what is `wanted`."""
        name = name_of(live)
        self.there.add(name)
        if wanted is None or not obvious(live, wanted):
            self.suspects[name] = live

    def of(self, client: Client, manifest: Object) -> list[Difference]:
        """Return in what one object differs. Raises ClusterError."""
        name = name_of(manifest)
        if name in self.there and name not in self.suspects:
            return []
        live = self.suspects.get(name)
        if live is None:  # not listed, created since, or without its labels
            live = client.get(kind_of(manifest), name[2], name[1])
        return of_object(client, manifest, live)


@dataclass(frozen=True)
class Comparison:
    """The comparison of one cluster. `keys` returns the keys that engines of an endpoint may ask for, newest first,
    `written` the objects of a workload whose engines ask for one, `kinds` those that an endpoint has, what runs first.
    """

    client: Client
    place: Place
    keys: Callable[[str], list[str]]
    written: Callable[[Workload, str], list[dict[str, Any]]]
    kinds: Sequence[Kind]

    def of_one(self, workload: Workload) -> list[Difference]:
        """Return in what the objects of one workload differ, each read by itself. Raises ClusterError."""
        newest = self.keys(workload.endpoint_id)[0]
        runs = next(one for one in self.written(workload, newest) if one["kind"] in RUN)
        live = self._read(runs)
        found: list[Difference] = []
        for manifest in self.written(workload, self._key(workload.endpoint_id, live)):
            there = live if name_of(manifest) == name_of(runs) else self._read(manifest)
            found += of_object(self.client, manifest, there)
        return found

    def of_all(self, workloads: Mapping[str, Workload]) -> Iterator[tuple[str, list[Difference]]]:
        """Yield the differences of each endpoint; what several share is compared once and told of each. Raises
        ClusterError.
        """
        seen, keys, labels = Seen(), dict[str, str](), owned.selector(self.place)
        for kind in self.kinds:
            self.client.list(kind, labels=labels, size=PAGE, each=partial(self._look, workloads, seen, keys))
        for kind in SPACES:
            self._look_around(kind, seen)
        known: dict[tuple[Name, str], list[Difference]] = {}
        ids = list(workloads)
        with ThreadPoolExecutor(THREADS, thread_name_prefix="compare") as pool:
            for start in range(0, len(ids), BATCH):
                batch = {one: self._manifests(workloads[one], keys) for one in ids[start : start + BATCH]}
                # One call for each endpoint: the server answers several at once in little more time.
                told = pool.map(self._secret, batch.values())
                for (endpoint_id, written), found in zip(batch.items(), told, strict=True):
                    yield endpoint_id, [*found, *self._differences(written, seen, known)]

    def _manifests(self, workload: Workload, keys: Mapping[str, str]) -> list[dict[str, Any]]:
        """Return what is written of a workload; nothing where it cannot be written at all, which its page says."""
        one = workload.endpoint_id
        try:
            return self.written(workload, keys.get(one) or self.keys(one)[0])
        except ClusterError:
            return []

    def _secret(self, written: Sequence[Object]) -> list[Difference]:
        secret = next((one for one in written if one["kind"] == kinds.SECRET.name), None)
        return _of_secret(self.client, secret) if secret is not None else []

    def _differences(
        self, written: Sequence[Object], seen: Seen, known: dict[tuple[Name, str], list[Difference]]
    ) -> list[Difference]:
        """Return in what the objects of an endpoint differ but its Secret; `known` remembers what others share."""
        found: list[Difference] = []
        for manifest in written:
            if manifest["kind"] == kinds.SECRET.name:
                continue
            if not shared(manifest):
                found += seen.of(self.client, manifest)
                continue
            mark = (name_of(manifest), repr(manifest))
            if mark not in known:
                known[mark] = seen.of(self.client, manifest)
            found += known[mark]
        return found

    def _look(self, workloads: Mapping[str, Workload], seen: Seen, keys: dict[str, str], live: Object) -> None:
        """Note one object of an endpoint, as a list shows it."""
        endpoint_id, kind = owned.label(live, owned.ENDPOINT), str(live.get("kind"))
        workload = workloads.get(endpoint_id)
        if workload is None:
            return
        if kind in RUN and state.revision(live) == workload.revision:
            keys[endpoint_id] = self._key(endpoint_id, live)
        written = self._manifests(workload, keys)
        name = name_of(live)
        seen.keep(live, next((one for one in written if name_of(one) == name), None))

    def _look_around(self, kind: Kind, seen: Seen) -> None:
        """Note the objects that the endpoints of a namespace share; where they may not be listed, as before that was
        asked for, each is read by itself.
        """
        labels = owned.selector_of_all(self.place)
        try:
            self.client.list(kind, labels=labels, size=PAGE, each=lambda live: seen.keep(live, None))
        except ClusterError as error:
            if error.code not in {"permission_missing", "forbidden"}:
                raise

    def _read(self, manifest: Object) -> Object | None:
        kind, namespace, name = name_of(manifest)
        return None if kind == kinds.SECRET.name else self.client.get(kind_of(manifest), name, namespace)

    def _key(self, endpoint_id: str, live: Object | None) -> str:
        """Return the key that engines ask for already, as the object that runs them says, or the newest one."""
        known, mark = self.keys(endpoint_id), _mark(live)
        return next((key for key in known if manifests.fingerprint(key) == mark), known[0])


def _mark(live: Object | None) -> str:
    """Return which key the engines of an object ask for, as it says itself; "" for none."""
    for path in (("spec", "template", "metadata"), ("spec",), ("metadata",)):
        if found := at(live, *path, "annotations", pods.KEY):
            return str(found)
    return ""
