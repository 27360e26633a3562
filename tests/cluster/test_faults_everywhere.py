"""Each call that the portal makes to a cluster fails, loses its answer, or is the last one of its worker, one after the
other, for every operation on an endpoint: it always comes about, once, with one reservation, and nothing is left.

The cluster is played, so that no call is left out; tests/cluster/test_faults.py does the same to a real one, each call
once.
"""

import copy
import datetime as dt
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from django.db import transaction

from endpoints import routes
from endpoints.clusters.kubernetes import approving, owned
from endpoints.engines import COMMANDS
from endpoints.models import Endpoint, Revision
from tests import factories
from tests.cluster.fault_kit import (
    LIFE,
    Life,
    Line,
    Wire,
    check_pool,
    check_reservations,
    reserved,
    rests,
    with_image,
)
from tests.conftest import Org
from tests.endpoints.endpoint_kit import Broker
from tests.endpoints.kserve_double import KServeDouble
from tests.endpoints.kubernetes_double import Double

pytestmark = [pytest.mark.django_db, pytest.mark.slow]
FEW = 12  # looks after which it has to stand
REPLICAS = 2
ORDER = [name for name, _ in LIFE]
THEIRS = ("services", "elsewhere", "theirs")
# What there is of a running endpoint, once each, and bears its label; KServe's controllers make the rest.
OBJECTS = {
    "kubernetes": {"deployments", "services", "secrets"},
    "kserve": {"inferenceservices", "deployments", "secrets"},
    "llm": {"llminferenceservices", "secrets"},
}
RUN = {"deployments", "inferenceservices", "llminferenceservices"}
# Columns of a row that no decision depends on, or that differ each time that they are written.
UNTOLD = frozenset({"progress", "upstreams", "claimed_by"})


@pytest.fixture
def double() -> Double:
    """A cluster on which a stranger's object bears a label of ours, in vain: nobody says that it is managed by us."""
    made = KServeDouble()
    meta = {"name": "theirs", "namespace": "elsewhere", "labels": {owned.MANAGED_BY: "somebody"}, "uid": "their-own"}
    made.objects[THEIRS] = {"apiVersion": "v1", "kind": "Service", "metadata": meta, "spec": {}}
    return made


@pytest.fixture
def wire(double: Double, monkeypatch: pytest.MonkeyPatch) -> Wire:
    """The connection to it."""
    monkeypatch.setattr("endpoints.nudge.current_app", Broker())
    # What one look remembers for the next would make the calls depend on how fast this runs.
    monkeypatch.setattr("endpoints.clusters.kubernetes.driver.DETAILS_SECONDS", 0.0)
    return Wire(monkeypatch, lambda client, *call: double.exchange(*call))


@dataclass
class Look:
    """One look of a worker without a fault: how to go back to before it, and its calls."""

    savepoint: Any
    cluster: Any
    line: Line = field(default_factory=Line)

    def strikes(self) -> Iterator[Line]:
        """Every fault that leaves behind something else than any other one does.

        A question that is refused and one whose answer is lost are the same to the portal, and a worker that dies
        after a question leaves what it would leave one call earlier, unless it wrote to its row in between.
        """
        for number, call in enumerate(self.line.made):
            asks = call.startswith("GET ")
            for how in ("refused",) if asks else ("refused", "lost", "killed after"):
                yield Line(at=number, how=how)
        for number in self.line.after_writes:
            yield Line(at=number, how="killed before")


@dataclass
class Trial:
    """An endpoint on a cluster that is played, whose life can be lived again from any look at it. What comes of a state
    is known once it was lived to its good end: `proven` are such states.
    """

    life: Life
    wire: Wire
    double: Double
    kind: str
    revision: int = 0
    proven: set[str] = field(default_factory=set)

    def live(self, operation: str) -> list[Look]:
        """Do it and be its workers until it rests."""
        self.revision, self.proven = dict(LIFE)[operation], set()
        getattr(self.life, operation)()
        looks: list[Look] = []

        def line() -> Line:
            looks.append(Look(transaction.savepoint(), self.double.snapshot()))
            return looks[-1].line

        self._until_it_rests(operation, line)
        return looks

    def again(self, operation: str, look: Look, line: Line) -> None:
        """Live on from before a look, with what `line` does to one of its calls."""
        lines = iter([line])
        self.back(look)
        self._until_it_rests(operation, lambda: next(lines, Line(how="none")))
        assert line.struck

    def back(self, look: Look) -> None:
        """Go back to before a look; the process is another one and remembers nothing."""
        transaction.savepoint_rollback(look.savepoint)
        self.double.restore(look.cluster)
        approving._seen.clear()

    def _until_it_rests(self, operation: str, line: Any) -> None:
        seen, row = list[str](), self.life.endpoint
        for _ in range(FEW):
            idle = self.wire.work(row, line())
            row = self.life.endpoint
            seen.append(self._state(row))
            if seen[-1] in self.proven or (idle and rests(row, operation)):
                break
        else:
            raise AssertionError(f"after {FEW} looks: {row.phase} {row.reason_code}: {row.reason_sentence}")
        if seen[-1] not in self.proven:
            self.check()
        self.proven.update(seen)

    def _state(self, row: Endpoint) -> str:
        """Everything that decides what comes next."""
        names = {one.attname for one in row._meta.concrete_fields} - UNTOLD
        columns = {name: getattr(row, name) for name in sorted(names)}
        told = {name: value is not None if isinstance(value, dt.datetime) else value for name, value in columns.items()}
        outcomes = sorted(Revision.objects.filter(endpoint=row).values_list("number", "outcome"))
        return repr((told, sorted(routes.stored(row)), outcomes, reserved(row), self.double.objects))

    def check(self) -> None:
        """What is there is what is wanted, once, and is approved."""
        row, objects = self.life.endpoint, self.double.objects
        ours = {key: found for key, found in objects.items() if owned.label(found, owned.ENDPOINT) == str(row.pk)}
        by_kind = Counter(key[0] for key in ours)
        if row.desired == "deleted":
            assert ours == {}
            words = (str(row.pk), owned.stem(str(row.pk)))
            assert [key for key, found in objects.items() if any(word in str(found) for word in words)] == []
        elif row.desired == "suspended":
            assert by_kind["pods"] == 0 and max(by_kind.values(), default=0) <= 1
            assert {entry["replicas"] for entry in self._approved().values()} == {0}
        else:
            self._check_running(ours, by_kind)
        check_reservations(row, REPLICAS)
        check_pool(self.life.pool)

    def _check_running(self, ours: dict[Any, Any], by_kind: Counter[str]) -> None:
        revisions = {owned.label(found, owned.REVISION) for found in ours.values()} - {""}
        row = self.life.endpoint
        assert revisions == {str(self.revision)} and row.revision is not None and row.revision.number == self.revision
        assert by_kind.pop("pods") == REPLICAS and set(by_kind.values()) == {1}, by_kind
        assert set(by_kind) >= OBJECTS[self.kind] and len(self.double.of("deployments")) == 1
        runs = {key[2] for key, one in ours.items() if key[0] in RUN and not one["metadata"].get("ownerReferences")}
        approved = {name: entry["replicas"] for name, entry in self._approved().items()}
        assert approved == dict.fromkeys(runs, REPLICAS)

    def _approved(self) -> dict[str, Any]:
        """The entries of the endpoint among what the cluster knows as approved."""
        stem = owned.stem(str(self.life.endpoint.pk))
        entries = [one["spec"]["approved"] for one in self.double.of("approvedworkloads")]
        return {name: entry for each in entries for name, entry in each.items() if name.startswith(stem)}


def life(org: Org, kind: str, *, room: int) -> Life:
    """One that is to begin, on a pool of so many accelerators, where nothing may run that was not approved."""
    profile = factories.make_profile(gpus=1)
    place = factories.make_place(org.pat, driver="kubernetes" if kind == "kubernetes" else "kserve")
    options = {**place.options, "serving_api": "llm" if kind == "llm" else ""}
    type(place).objects.filter(pk=place.pk).update(environments=["dev"], admission="enforce", options=options)
    pool = factories.make_pool(limit=room, profiles=[profile])
    type(pool).objects.filter(pk=pool.pk).update(cluster=place.slug)
    command = list(COMMANDS["vllm"])
    versions = tuple(with_image(factories.make_version(command=command)) for _ in range(2))
    return Life(org.fraud, place, pool, profile, (versions[0], versions[1]), replicas=REPLICAS)


@pytest.mark.parametrize("kind", OBJECTS)
@pytest.mark.parametrize(
    ("operation", "room"),
    [*((name, 8) for name in ORDER), ("update", REPLICAS)],
    ids=[*ORDER, "update-in-place"],
)
def test_whatever_becomes_of_a_call_it_comes_about(
    org: Org, double: Double, wire: Wire, operation: str, room: int, kind: str
) -> None:
    trial = Trial(life(org, kind, room=room), wire, double, kind)
    theirs = copy.deepcopy(double.objects[THEIRS])
    for before in ORDER[: ORDER.index(operation)]:
        trial.live(before)
    # From the last look to the first: most of what a fault leads to is known by then.
    for look in reversed(trial.live(operation)):
        for line in look.strikes():
            try:
                trial.again(operation, look, line)
            except AssertionError as error:
                raise AssertionError(f"{operation}: {look.line.made[line.at]}, {line.how}: {error}") from error
    assert double.objects[THEIRS] == theirs
