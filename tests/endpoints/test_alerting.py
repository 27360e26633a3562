"""Alertmanager posts alerts: shown on the endpoint, closed when resolved, each word taken once."""

import datetime as dt
import json
import threading
from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.utils import timezone

from audit.models import Row
from endpoints import alerting
from endpoints.models import Alert, Endpoint, Event
from projects.principal import Principal
from tests.conftest import ApiClient, Org
from tests.factories import make_endpoint

pytestmark = [pytest.mark.slow, pytest.mark.django_db]
URL, ZERO = "/alerts/alertmanager", "0001-01-01T00:00:00Z"
NONE = {"firing": 0, "resolved": 0, "unchanged": 0, "unknown": 0, "invalid": 0, "left_out": 0}
START = timezone.now() - dt.timedelta(hours=2)


@pytest.fixture
def endpoint(org: Org) -> Endpoint:
    return make_endpoint(org.dana, name="scoring")


@pytest.fixture
def api(org: Org, api_for: Callable[..., ApiClient]) -> ApiClient:
    return api_for(org.dana, "endpoints:write", "endpoints:read")


def alert(endpoint: Endpoint | None = None, **fields: Any) -> dict[str, Any]:
    labels = {"alertname": "HighLatency", "severity": "critical"}
    labels |= {"gatehouse_endpoint_id": str(endpoint.pk)} if endpoint else {}
    return {
        "status": "firing",
        "labels": labels | fields.pop("labels", {}),
        "annotations": {"summary": "p95 above 2 s", "runbook_url": "https://runbooks.example.com/latency"}
        | fields.pop("annotations", {}),
        "startsAt": fields.pop("starts", START).isoformat(),
        "endsAt": ZERO,
        "generatorURL": "http://prometheus.example.org/graph",
        "fingerprint": "1a30ba71cca2921f",
    } | fields


def resolved(endpoint: Endpoint, **fields: Any) -> dict[str, Any]:
    return alert(endpoint, status="resolved", endsAt=timezone.now().isoformat(), **fields)


def message(*alerts: Any, **fields: Any) -> dict[str, Any]:
    """What Alertmanager 0.34 sends."""
    return {
        "version": "4", "groupKey": '{}:{alertname="HighLatency"}', "truncatedAlerts": 0, "receiver": "gatehouse",
        "status": "firing", "groupLabels": {}, "commonLabels": {}, "commonAnnotations": {}, "routeLabels": {},
        "externalURL": "http://alertmanager.example.org", "alerts": list(alerts),
    } | fields  # fmt: skip


def test_it_fires_shows_and_is_resolved(org: Org, api: ApiClient, endpoint: Endpoint, client_for: Any) -> None:
    answer = api.post(URL, message(alert(endpoint)))
    assert answer.status_code == 200 and answer.json() == NONE | {"firing": 1}
    html = client_for(org.dana).get(f"/endpoints/{endpoint.pk}/").content.decode()
    for words in (
        "1 alert fires",
        "HighLatency",
        "p95 above 2 s",
        'href="https://runbooks.example.com/latency"',
        "critical",
    ):
        assert words in html
    assert "Alert HighLatency fires: p95 above 2 s." in html
    assert api.post(URL, message(resolved(endpoint))).json() == NONE | {"resolved": 1}
    html = client_for(org.dana).get(f"/endpoints/{endpoint.pk}/").content.decode()
    assert "alert fires" not in html and "Alert HighLatency is resolved." in html
    [item] = api.get(f"/endpoints/{endpoint.pk}/alerts").json()["items"]
    assert item["state"] == "resolved" and item["ends_at"] > item["starts_at"]
    audit = Row.objects.filter(action="endpoints.alert").order_by("id")
    assert [json.loads(row.after)["alerts"] for row in audit] == [["firing: HighLatency"], ["resolved: HighLatency"]]


def test_the_same_again_changes_nothing(api: ApiClient, endpoint: Endpoint) -> None:
    for count in ({"firing": 1}, {"unchanged": 1}, {"unchanged": 1}):
        assert api.post(URL, message(alert(endpoint))).json() == NONE | count
    for count in ({"resolved": 1}, {"unchanged": 1}):
        assert api.post(URL, message(resolved(endpoint))).json() == NONE | count
    assert api.post(URL, message(alert(endpoint))).json() == NONE | {"unchanged": 1}  # late: it was resolved since
    assert Alert.objects.get().ends_at is not None and Event.objects.filter(code__startswith="alert_").count() == 2
    later = alert(endpoint, starts=START + dt.timedelta(minutes=30))
    assert api.post(URL, message(later)).json() == NONE | {"firing": 1}
    assert api.post(URL, message(resolved(endpoint))).json() == NONE | {"unchanged": 1}  # that of the time before
    assert Alert.objects.get().ends_at is None


def test_labels_name_the_endpoint(api: ApiClient, endpoint: Endpoint) -> None:
    for number, labels in enumerate(
        (
            {"gatehouse_project": "fraud-detection", "gatehouse_endpoint": "scoring"},
            {"project": "fraud-detection", "endpoint": "scoring"},
            {"gatehouse_project": "fraud-detection", "gatehouse_endpoint": "scoring", "endpoint": "http-metrics"},
        )
    ):
        assert api.post(URL, message(alert(labels=labels, fingerprint=f"f{number}"))).json() == NONE | {"firing": 1}
    for labels in (
        {},
        {"gatehouse_endpoint_id": "nonsense"},
        {"gatehouse_endpoint_id": "00000000-0000-0000-0000-000000000000"},
        {"project": "search-ranking", "endpoint": "scoring"},
        {"endpoint": "scoring"},
    ):
        assert api.post(URL, message(alert(labels=labels))).json() == NONE | {"unknown": 1}
    assert Alert.objects.count() == 3


def test_only_who_operates_it(org: Org, endpoint: Endpoint, api_for: Callable[..., ApiClient]) -> None:
    """A stranger learns nothing: what is hidden counts like what is not there. Readers may not post either."""
    for person in (org.cy, org.vic, org.aud):
        answer = api_for(person, "endpoints:write").post(URL, message(alert(endpoint)))
        assert answer.status_code == 200 and answer.json() == NONE | {"unknown": 1}
    assert api_for(org.dana, "endpoints:read").post(URL, message(alert(endpoint))).status_code == 403
    assert Client().post(f"/api/v1{URL}", message(), content_type="application/json").status_code == 401
    assert not Alert.objects.exists()
    assert api_for(org.pat, "endpoints:write").post(URL, message(alert(endpoint))).json() == NONE | {"firing": 1}
    assert api_for(org.cy, "endpoints:read").get(f"/endpoints/{endpoint.pk}/alerts").status_code == 404


@pytest.mark.parametrize(
    "one",
    [
        None, 7, "x", [], {}, {"labels": {}}, {"labels": {"alertname": "x"}},
        {"labels": {"alertname": "x"}, "startsAt": "yesterday"}, {"labels": {"alertname": "x"}, "startsAt": 7},
        {"labels": {"alertname": "x"}, "startsAt": ZERO},
        {"labels": {"alertname": "x"}, "startsAt": "2026-11-29T10:00:00"},
        {"labels": {"alertname": "x"}, "startsAt": "9999-12-31T23:59:59-12:00"},
        {"labels": ["a"], "startsAt": "2026-11-29T10:00:00Z"},
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_counted(api: ApiClient, endpoint: Endpoint, one: Any) -> None:
    answer = api.post(URL, message(one, alert(endpoint)))
    assert answer.status_code == 200 and answer.json() == NONE | {"invalid": 1, "firing": 1}


@pytest.mark.parametrize("body", [{}, {"version": "4"}, {"version": 4, "alerts": []}, {"version": "4", "alerts": {}}])
def test_what_is_no_such_call_is_refused(api: ApiClient, body: dict[str, Any]) -> None:
    assert api.post(URL, body).status_code == 422


@pytest.mark.parametrize(
    "address",
    ["javascript:alert(1)", "data:text/html,x", "//evil.example", "https://", "https://a@evil.example/", "ftp://x/",
     "https://x/ y", "https://x/\n", "https://[", "https://x/" + "y" * 600],
)  # fmt: skip
def test_only_addresses_that_a_browser_may_follow(
    org: Org, api: ApiClient, endpoint: Endpoint, client_for: Any, address: str
) -> None:
    one = alert(endpoint, annotations={"runbook_url": address, "summary": "<script>alert(1)</script>"})
    assert api.post(URL, message(one)).json() == NONE | {"firing": 1}
    html = client_for(org.dana).get(f"/endpoints/{endpoint.pk}/").content.decode()
    assert Alert.objects.get().runbook_url == "" and "Runbook" not in html and "<script>alert" not in html


def test_sizes(api: ApiClient, endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    long = alert(
        endpoint, labels={"alertname": "n" * 5000, "severity": "s" * 900}, annotations={"summary": "a\n" * 9000},
        fingerprint="f" * 500,
    )  # fmt: skip
    assert api.post(URL, message(long)).json() == NONE | {"firing": 1}
    row = Alert.objects.get()
    assert (len(row.name), len(row.severity), len(row.summary), len(row.fingerprint)) == (120, 20, 500, 16)
    monkeypatch.setattr(alerting, "MOST", 3)
    monkeypatch.setattr(alerting, "MOST_FIRING", 2)
    many = [alert(endpoint, fingerprint=f"f{number}") for number in range(5)]
    assert api.post(URL, message(*many)).json() == NONE | {"firing": 1, "left_out": 4}
    assert Alert.objects.count() == 2


def test_time_with_nanoseconds_and_a_zone(api: ApiClient, endpoint: Endpoint) -> None:
    one = alert(endpoint) | {"startsAt": "2026-08-03T09:52:26.739266876+02:00"}
    api.post(URL, message(one))
    assert Alert.objects.get().starts_at == dt.datetime(2026, 8, 3, 7, 52, 26, 739266, tzinfo=dt.UTC)


def test_old_ones_go(org: Org, endpoint: Endpoint) -> None:
    alerting.receive(Principal.of(org.dana), message(alert(endpoint), alert(endpoint, fingerprint="two")))
    alerting.receive(Principal.of(org.dana), message(resolved(endpoint)))
    assert alerting.prune() == 0
    Alert.objects.filter(ends_at__isnull=False).update(ends_at=timezone.now() - dt.timedelta(days=31))
    assert alerting.prune() == 1 and Alert.objects.get().fingerprint == "two"


@pytest.mark.django_db(transaction=True)
def test_two_at_once_are_one_alert(org: Org, endpoint: Endpoint) -> None:
    """Alertmanagers of a cluster post the same at the same moment."""
    by, found, start = Principal.of(org.dana), list[int](), threading.Barrier(4)

    def post() -> None:
        try:
            start.wait()
            found.append(alerting.receive(by, message(alert(endpoint))).firing)
        finally:
            connection.close()

    threads = [threading.Thread(target=post) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == [0, 0, 0, 1] and Event.objects.filter(code="alert_firing").count() == 1
