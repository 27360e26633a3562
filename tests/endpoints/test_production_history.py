"""Production history: which version answered calls on which day, as the worker saw it; on the page and by the API."""

import datetime as dt

import pytest
from django.utils import timezone

from endpoints import serving
from endpoints.models import Desired, Endpoint, Phase, Revision, Served
from portal.states import move
from tests.factories import make_asset, make_endpoint, make_version

pytestmark = pytest.mark.slow


@pytest.fixture
def endpoint(org, monkeypatch):
    monkeypatch.setattr("endpoints.nudge.current_app", type("Broker", (), {"send_task": lambda *a, **k: None})())
    return make_endpoint(org.dana, version=make_version(asset=make_asset("granite", name="Granite")))


def step(endpoint: Endpoint, phase: str, **also: object) -> None:
    """What a worker writes, and then keeps."""
    now = Endpoint.objects.get(pk=endpoint.pk)
    if now.phase != phase:
        assert move(Endpoint.objects.filter(pk=endpoint.pk), now.phase, phase, field="phase", **also)
    else:
        Endpoint.objects.filter(pk=endpoint.pk).update(**also)
    serving.keep(endpoint.pk)


def second(endpoint: Endpoint) -> Revision:
    first = endpoint.revisions.get()
    version = make_version(asset=first.version.asset, version="2.0")
    return Revision.objects.create(
        endpoint=endpoint, number=2, version=version, profile=first.profile, replicas=1, concurrency=8,
        context_tokens=4096, authorization_reference="R-2", authorization_digest="sha256:0",
    )  # fmt: skip


def spans(endpoint: Endpoint) -> list[tuple[int, bool]]:
    rows = Served.objects.filter(endpoint=endpoint).order_by("id")
    return [(row.revision.number, row.until is None) for row in rows]


def day(endpoint: Endpoint, number: int, since: str, until: str | None) -> None:
    """A span in the past."""
    revision = endpoint.revisions.get(number=number)
    begin = dt.datetime.fromisoformat(since).replace(tzinfo=dt.UTC)
    end = dt.datetime.fromisoformat(until).replace(tzinfo=dt.UTC) if until else None
    Served.objects.create(endpoint=endpoint, revision=revision, since=begin, until=end)


def test_a_span_begins_when_it_answers_and_ends_when_it_does_not(endpoint, org):
    assert spans(endpoint) == []
    step(endpoint, Phase.PROVISIONING)
    assert spans(endpoint) == []
    step(endpoint, Phase.READY)
    step(endpoint, Phase.DEGRADED)  # one replica is gone, and it answers
    assert spans(endpoint) == [(1, True)]
    step(endpoint, Phase.FAILED)
    assert spans(endpoint) == [(1, False)]
    step(endpoint, Phase.READY)
    assert spans(endpoint) == [(1, False), (1, True)]


def test_a_switch_ends_one_revision_and_begins_the_next(endpoint, org):
    step(endpoint, Phase.READY)
    step(endpoint, Phase.READY, revision=second(endpoint))
    assert spans(endpoint) == [(1, False), (2, True)]
    first, then = Served.objects.filter(endpoint=endpoint).order_by("id")
    assert first.until is not None and first.until <= then.since


def test_suspending_and_deleting_end_it_in_the_same_moment(endpoint, org):
    """By the services, not by `keep`: calls are refused from then on."""
    from endpoints import services

    step(endpoint, Phase.READY)
    services.suspend(org.principal(org.dana), Endpoint.objects.get(pk=endpoint.pk))
    assert spans(endpoint) == [(1, False)]
    assert Endpoint.objects.get(pk=endpoint.pk).desired == Desired.SUSPENDED


def test_going_back_in_place_ends_it(endpoint, org):
    from endpoints import services

    first = endpoint.revisions.get()
    step(endpoint, Phase.READY, revision=second(endpoint))
    Endpoint.objects.filter(pk=endpoint.pk).update(upstreams=[{"url": "http://127.0.0.1:1", "key": ""}])
    services.rollback(org.principal(org.dana), Endpoint.objects.get(pk=endpoint.pk), 1)
    now = Endpoint.objects.get(pk=endpoint.pk)
    assert now.revision_id == first.pk or now.next_revision_id == first.pk
    assert spans(endpoint) == ([(2, False)] if now.revision_id == first.pk else [(2, True)])


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ("2027-03-11", "On 11 Mar 2027 calls were answered by revision 1 (Granite 1.0)."),
        ("2027-03-12", "On 12 Mar 2027 calls were answered by revision 1 (Granite 1.0), then revision 2 (Granite 2.0)."),  # noqa: E501
        ("2027-03-15", "On 15 Mar 2027 calls were answered by revision 2 (Granite 2.0)."),
        ("2027-03-09", "On 9 Mar 2027 nothing answered calls."),
    ],
)  # fmt: skip
def test_which_version_served_on_12_march(endpoint, org, client_for, asked, said):
    second(endpoint)
    day(endpoint, 1, "2027-03-10T08:00", "2027-03-12T14:00")
    day(endpoint, 2, "2027-03-12T14:00", None)
    response = client_for(org.vic).get(f"/endpoints/{endpoint.pk}/revisions/?on={asked}")
    assert response.status_code == 200 and response.context["history"]["sentence"] == said
    assert said in response.content.decode()


@pytest.mark.parametrize("asked", ["12 March", "2027-13-40", "9999-12-31", "0001-01-01", "%00", "x" * 5000, "2027-W10"])
def test_what_is_no_day_is_said_at_the_field(endpoint, org, client_for, api_for, asked):
    response = client_for(org.dana).get(f"/endpoints/{endpoint.pk}/revisions/", {"on": asked})
    assert response.status_code in {200, 422}
    if response.status_code == 422:
        assert b"is no day" in response.content
    answer = api_for(org.dana, "endpoints:read").get(f"/endpoints/{endpoint.pk}/revisions", {"on": asked})
    assert answer.status_code in {200, 422} and (answer.status_code == 200) == (response.status_code == 200)


def test_the_api_says_from_and_to(endpoint, org, api_for):
    second(endpoint)
    day(endpoint, 1, "2027-03-10T08:00", "2027-03-10T09:00")
    day(endpoint, 1, "2027-03-11T08:00", "2027-03-12T14:00")
    day(endpoint, 2, "2027-03-12T14:00", None)
    client = api_for(org.dana, "endpoints:read")
    newest, oldest = client.get(f"/endpoints/{endpoint.pk}/revisions").json()["items"]
    assert (newest["number"], newest["served_to"]) == (2, None) and newest["served_from"].startswith("2027-03-12T14:00")
    assert oldest["served_from"].startswith("2027-03-10T08:00") and oldest["served_to"].startswith("2027-03-12T14:00")
    assert [one["from"][:10] for one in oldest["served"]] == ["2027-03-11", "2027-03-10"]
    on = client.get(f"/endpoints/{endpoint.pk}/revisions", {"on": "2027-03-11"}).json()["items"]
    assert [one["number"] for one in on] == [1]
    assert client.get(f"/endpoints/{endpoint.pk}/revisions", {"on": "soon"}).status_code == 422


def test_a_stranger_learns_nothing(endpoint, org, client_for, api_for):
    assert client_for(org.cy).get(f"/endpoints/{endpoint.pk}/revisions/?on=2027-03-12").status_code == 404
    path = f"/endpoints/{endpoint.pk}/revisions"
    assert api_for(org.cy, "endpoints:read").get(path, {"on": "2027-03-12"}).status_code == 404


def test_only_one_span_is_open(endpoint, org):
    step(endpoint, Phase.READY)
    for _ in range(3):
        serving.keep(endpoint.pk)
    assert spans(endpoint) == [(1, True)]
    assert Served.objects.get(endpoint=endpoint).since <= timezone.now()
