"""Each call that the portal makes to a cluster fails, loses its answer, or is the last one of its worker, one after the
other, for every operation on an endpoint: it always comes about, once, with one reservation, and nothing is left.

The cluster is played, so that no call is left out; tests/cluster/test_faults.py does the same to a real one, each call
once.
"""

import copy
from collections import Counter
from typing import Any

import pytest
from django.db import transaction

from endpoints.clusters.kubernetes import owned
from tests import factories
from tests.cluster.fault_kit import HOWS, LIFE, Life, Line, Wire, check_pool, check_reservations, rests, with_image
from tests.conftest import Org
from tests.endpoints.endpoint_kit import Broker
from tests.endpoints.kubernetes_double import Double

pytestmark = [pytest.mark.django_db, pytest.mark.slow]
FEW = 12  # looks after which it has to stand
REPLICAS = 2
ORDER = [name for name, _ in LIFE]
THEIRS = ("services", "elsewhere", "theirs")


@pytest.fixture
def double() -> Double:
    """A cluster on which a stranger's object bears a label of ours, in vain: nobody says that it is managed by us."""
    made = Double()
    meta = {"name": "theirs", "namespace": "elsewhere", "labels": {owned.MANAGED_BY: "somebody"}, "uid": "their-own"}
    made.objects[THEIRS] = {"apiVersion": "v1", "kind": "Service", "metadata": meta, "spec": {}}
    return made


@pytest.fixture
def wire(double: Double, monkeypatch: pytest.MonkeyPatch) -> Wire:
    """The connection to it."""
    monkeypatch.setattr("endpoints.nudge.current_app", Broker())
    return Wire(monkeypatch, lambda client, *call: double.exchange(*call))


def life(org: Org, *, room: int) -> Life:
    """One that is to begin, on a pool of so many accelerators."""
    profile = factories.make_profile(gpus=1)
    place = factories.make_place(org.pat)
    type(place).objects.filter(pk=place.pk).update(environments=["dev"], admission="enforce")
    pool = factories.make_pool(limit=room, profiles=[profile])
    type(pool).objects.filter(pk=pool.pk).update(cluster=place.slug)
    versions = (with_image(factories.make_version()), with_image(factories.make_version()))
    return Life(org.fraud, place, pool, profile, versions, replicas=REPLICAS)


def live(one: Life, wire: Wire, operation: str, line: Line) -> Line:
    """Do it and be its workers until it rests."""
    getattr(one, operation)()
    for _ in range(FEW):
        idle = wire.work(one.endpoint, line)
        if idle and rests(one.endpoint, operation):
            return line
    row = one.endpoint
    raise AssertionError(f"after {FEW} looks: {row.phase} {row.reason_code}: {row.reason_sentence} {line.made}")


def check(one: Life, double: Double, revision: int, theirs: Any) -> None:
    """What is there is what is wanted, once."""
    row = one.endpoint
    ours = {key: found for key, found in double.objects.items() if owned.label(found, owned.ENDPOINT) == str(row.pk)}
    by_kind = Counter(key[0] for key in ours)
    revisions = {owned.label(found, owned.REVISION) for found in ours.values()} - {""}
    if row.desired == "deleted":
        assert ours == {}
        words = (str(row.pk), owned.stem(str(row.pk)))
        assert [key for key, found in double.objects.items() if any(word in str(found) for word in words)] == []
    elif row.desired == "suspended":
        assert by_kind["pods"] == 0 and max(by_kind.values(), default=0) <= 1
    else:
        assert revisions == {str(revision)} and row.revision is not None and row.revision.number == revision
        assert by_kind.pop("pods") == REPLICAS and set(by_kind.values()) == {1}, by_kind
        assert by_kind["deployments"] == by_kind["services"] == by_kind["secrets"] == 1
    check_reservations(row, REPLICAS)
    check_pool(one.pool)
    assert double.objects[THEIRS] == theirs


def reach(one: Life, wire: Wire, double: Double, operation: str) -> None:
    """Live until just before `operation`, without a fault."""
    for name, revision in LIFE[: ORDER.index(operation)]:
        live(one, wire, name, Line())
        check(one, double, revision, double.objects[THEIRS])


@pytest.mark.parametrize(
    ("operation", "room"),
    [*((name, 8) for name in ORDER), ("update", REPLICAS)],
    ids=[*ORDER, "update-in-place"],
)
def test_whatever_becomes_of_a_call_it_comes_about(
    org: Org, double: Double, wire: Wire, operation: str, room: int
) -> None:
    one, revision = life(org, room=room), dict(LIFE)[operation]
    reach(one, wire, double, operation)
    before, made = copy.deepcopy(double.objects), one.made
    theirs = copy.deepcopy(double.objects[THEIRS])

    def once(line: Line) -> Line:
        mark = transaction.savepoint()
        live(one, wire, operation, line)
        check(one, double, revision, theirs)
        transaction.savepoint_rollback(mark)
        double.objects, one.made = copy.deepcopy(before), made
        return line

    whole = once(Line())
    for how in HOWS:
        for number in whole.after_writes if how == "killed before" else range(len(whole.made)):
            try:
                assert once(Line(at=number, how=how)).struck
            except AssertionError as error:
                raise AssertionError(f"{operation}: call {number}, {whole.made[number]}, {how}: {error}") from error
