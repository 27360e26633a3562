"""The boxes of a pool by its nodes: what pods hold beside what is reserved, box by box, and where both differ."""

import datetime as dt
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from endpoints import boxes
from endpoints.boxes import Seat, Split
from quotas.capacity import Place
from quotas.devices import Part
from quotas.models import Node, Reservation

GPU, SLICE = "nvidia.com/gpu", "nvidia.com/mig-1g.10gb"
NOW = dt.datetime(2026, 11, 29, 12, tzinfo=dt.UTC)


def place(pk: int, holder: str, amount: int, kind: str = "endpoint") -> Place:
    return Place(Reservation(pk=pk, holder_kind=kind, holder_id=holder, amount=amount, state="held"), True)


def pod(name: str, amount: int, endpoint: str = "") -> dict[str, Any]:
    return {"namespace": "n", "name": name, "amount": amount, "endpoint": endpoint, "since": None}


def node(name: str, capacity: int, *pods: dict[str, Any], **values: Any) -> Part:
    values = {"resource": GPU, "allocatable": capacity, "condition": "ready", "since": NOW} | values
    return Part(Node(pk=hash(name) % 1000 + 1, name=name, capacity=capacity, pods=list(pods), **values), 0, capacity)


def told(found: list[Seat]) -> list[str]:
    return [
        f"{seat.node.name if seat.node else '-'}/{seat.index} {seat.kind} "
        f"{seat.place.reservation.holder_id if seat.place else seat.pod.get('name', '')}".strip()
        for seat in found
    ]


def test_pods_and_reservations_agree() -> None:
    parts = [node("a", 2, pod("p1", 1, "x"), pod("p2", 1, "y")), node("b", 2, pod("p3", 1, "x"))]
    found = boxes.seats(parts, [place(1, "x", 2), place(2, "y", 1)])
    assert told(found) == ["a/0 held x", "a/1 held y", "b/0 held x", "b/1 free"]
    assert boxes.differences(found) == {"over": 0, "other": 0, "reserved": 0}


def test_where_they_differ_it_is_said() -> None:
    parts = [
        node("a", 4, pod("rogue", 1), pod("p1", 2, "x"), pod("orphan", 1, "gone")),
        node("b", 2, pod("p2", 1, "x")),
    ]
    found = boxes.seats(parts, [place(1, "x", 2), place(2, "late", 2)])
    assert told(found) == [
        "a/0 other rogue", "a/1 held x", "a/2 held x", "a/3 over orphan", "b/0 over x", "b/1 reserved late",
        "-/0 reserved late",
    ]  # fmt: skip
    assert boxes.differences(found) == {"over": 2, "other": 1, "reserved": 2}


def test_nodes_that_take_nothing() -> None:
    parts = [
        node("a", 2, pod("p", 1, "x"), condition="lost"),
        node("b", 2, allocatable=1),
        node("c", 1, condition="cordoned"),
    ]
    found = boxes.seats(parts, [place(1, "x", 1)])
    assert told(found) == ["a/0 held x", "a/1 absent", "b/0 free", "b/1 absent", "c/0 absent"]
    assert [seat.lost for seat in found] == [True, True, False, False, False]


def test_what_an_endpoint_holds_beside_its_own_is_its() -> None:
    found = boxes.seats(
        [node("a", 2, pod("p1", 1, "x"), pod("p2", 1, "x"))], [place(1, "x", 1), place(2, "x", 1, "surge")]
    )
    assert [seat.place.reservation.holder_kind for seat in found if seat.place] == ["endpoint", "surge"]


def test_a_node_of_two_pools_shows_each_its_own() -> None:
    whole = node("a", 4, pod("p1", 1, "x"), pod("p2", 1, "y"), pod("rogue", 1)).node
    first, second = Part(whole, 0, 2), Part(whole, 2, 2)
    assert told(boxes.seats([first], [place(1, "x", 1)], {"x", "y"})) == ["a/0 held x", "a/1 other rogue"]
    assert told(boxes.seats([second], [place(2, "y", 1)], {"x", "y"})) == ["a/2 held y", "a/3 free"]


def test_slices_are_one_box() -> None:
    part = node("a", 14, pod("p1", 3, "x"), resource=SLICE)
    made = boxes.boxes(boxes.seats([part], [place(1, "x", 3)]))
    assert [len(one.slices) for one in made if isinstance(one, Split)] == [7, 7]
    assert [one.kind for one in made[0].slices] == ["held"] * 3 + ["free"] * 4  # type: ignore[union-attr]


names = st.sampled_from(["", "x", "y", "z", "nobody"])
pods_of = st.lists(st.tuples(names, st.integers(1, 3)), max_size=4)


@given(
    st.lists(st.tuples(st.integers(1, 6), st.sampled_from(["ready", "lost", "cordoned"]), pods_of), max_size=4),
    st.dictionaries(st.sampled_from(["x", "y", "z"]), st.integers(1, 6), max_size=3),
)
@settings(max_examples=200, deadline=None)
def test_every_pod_and_every_reservation_is_there_once(fleet: list[Any], reserved: dict[str, int]) -> None:
    parts = [
        node(f"n{at}", size, *(pod(f"p{at}-{no}", amount, who) for no, (who, amount) in enumerate(pods)), condition=how)
        for at, (size, how, pods) in enumerate(fleet)
    ]
    found = boxes.seats(parts, [place(number, who, amount) for number, (who, amount) in enumerate(reserved.items(), 1)])
    for at, (size, _, pods) in enumerate(fleet):
        here = [seat for seat in found if seat.node is not None and seat.node.name == f"n{at}"]
        assert len(here) == max(size, sum(amount for _, amount in pods))
        for number, (_, amount) in enumerate(pods):
            assert sum(seat.pod.get("name") == f"p{at}-{number}" for seat in here) == amount
    for who, amount in reserved.items():
        own = [seat for seat in found if seat.place and seat.place.reservation.holder_id == who and seat.kind != "over"]
        assert len(own) == amount
    assert all(seat.kind == "other" for seat in found if seat.pod and not seat.pod["endpoint"])


def test_pods_that_name_a_node_show_no_more_than_a_node_can_have() -> None:
    """Anybody who may make pods can name a node and ask for anything; it never runs there."""
    crowd = node("a", 4, *(pod(f"p{number}", 4096) for number in range(500)))
    found = boxes.seats([crowd], [])
    assert len(found) == boxes.MOST_TAKEN and {seat.kind for seat in found} == {boxes.OTHER}
    assert len(boxes.seats([node("b", 1000, pod("p", 4096))], [])) == 1000
