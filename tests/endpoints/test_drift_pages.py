"""The Drift tab and its API: what everybody reads there, who may do what, and what each button does."""

import datetime as dt
import re
from typing import Any

import pytest
from django.utils import timezone

from audit.models import Row
from endpoints import promoting
from endpoints.differences import keeping, sweeping
from endpoints.differences.models import DriftLook, LiveDifference, Resolution
from endpoints.models import Cluster, Endpoint
from tests import factories
from tests.conftest import Org
from tests.endpoints.endpoint_kit import Broker, open_demo

pytestmark = [pytest.mark.slow, pytest.mark.django_db]


@pytest.fixture
def row(org: Org, monkeypatch: pytest.MonkeyPatch) -> Endpoint:
    """An endpoint that runs on a cluster with an API."""
    monkeypatch.setattr("endpoints.nudge.current_app", Broker())
    made = open_demo(org.fraud, replicas=2)
    now = timezone.now()
    place = factories.make_place(org.pat)
    Endpoint.objects.filter(pk=made.pk).update(cluster=place, phase="ready", ready_at=now, contact=org.dana)
    DriftLook.objects.create(cluster=place, looked_at=now, finished_at=now, compared=1)
    made.refresh_from_db()
    return made


def differ(row: Endpoint, field: str = "spec.replicas", found: str | None = "1", **fields: Any) -> LiveDifference:
    """Something that a look found."""
    now = timezone.now()
    given: dict[str, Any] = {
        "revision": 1, "mark": f"{field}{found}", "kind": "Deployment", "namespace": "gatehouse-fraud-detection-dev",
        "name": "ep-1-r1", "wanted": "2", "manager": "kubectl-edit", "operation": "Update", "changed_at": now,
        "guarded": False, "first_seen": now, "last_seen": now,
    }  # fmt: skip
    return LiveDifference.objects.create(endpoint=row, field=field, found=found, **{**given, **fields})


def text(response: Any, status: int = 200) -> str:
    assert response.status_code == status, response.status_code
    return re.sub(r"\s+", " ", response.content.decode())


def path(row: Endpoint, part: str = "") -> str:
    return f"/endpoints/{row.pk}/drift/{part}"


def test_in_step_says_so(row: Endpoint, org: Org, client_for: Any) -> None:
    html = text(client_for(org.vic).get(path(row)))
    assert "In step" in html and "was compared with what was approved" in html
    assert "drift/reapply/" not in html and "drift/look/" not in html


def test_field_both_values_who_and_since(row: Endpoint, org: Org, client_for: Any) -> None:
    differ(row)
    differ(row, "spec.template.spec.containers[engine].image", "<b>evil</b>", wanted="good", guarded=True)
    differ(row, "", None, kind="Secret", name="ep-1-key", wanted="the whole object", manager="", sure=False)
    differ(row, "spec.x", "old", own=True)
    html = text(client_for(org.omar).get(path(row)))
    said = (
        "spec.replicas", "kubectl-edit", "&lt;b&gt;evil&lt;/b&gt;", "the whole object", "missing",
        "the cluster does not say", "stays until you decide", "is being taken back", "the portal’s own",
    )  # fmt: skip
    assert [words for words in said if words not in html] == []
    assert "replicas: <strong>1</strong>" in html and "No approved version of" in html


def test_the_overview_says_that_something_was_changed(row: Endpoint, org: Org, client_for: Any) -> None:
    assert "changed by hand" not in text(client_for(org.dana).get(f"/endpoints/{row.pk}/"))
    differ(row)
    differ(row, "spec.mine", own=True)
    assert "1 field was changed by hand in the cluster." in text(client_for(org.dana).get(f"/endpoints/{row.pk}/"))


def test_buttons_are_for_those_who_may(row: Endpoint, org: Org, client_for: Any) -> None:
    differ(row)
    seen = {person: text(client_for(getattr(org, person)).get(path(row))) for person in ("vic", "dana", "omar", "pat")}
    assert {one for one, html in seen.items() if "drift/reapply/" in html} == {"omar", "pat"}
    assert {one for one, html in seen.items() if "drift/accept/" in html} == {"dana", "omar"}
    assert {one for one, html in seen.items() if "drift/look/" in html} == {"dana", "omar", "pat"}
    assert client_for(org.cy).get(path(row)).status_code == 404


@pytest.mark.parametrize("code", ["git_edited", "git_taken_away"])
def test_what_is_held_can_be_written_again_before_it_was_compared(
    row: Endpoint, org: Org, client_for: Any, code: str
) -> None:
    assert "drift/reapply" not in text(client_for(org.pat).get(path(row)))
    Endpoint.objects.filter(pk=row.pk).update(reason_code=code)
    assert "drift/reapply" in text(client_for(org.pat).get(path(row)))


def test_reapply_and_look_again(row: Endpoint, org: Org, client_for: Any) -> None:
    differ(row)
    omar = client_for(org.omar)
    assert "is being written again" in text(omar.post(path(row, "reapply/"), follow=True))
    row.refresh_from_db()
    assert row.rewrite_by == "omar" and Row.objects.filter(action="endpoints.reapply").count() == 1
    assert "is being compared" in text(omar.post(path(row, "look/"), follow=True))
    assert DriftLook.objects.get(pk=row.cluster_id).looked_at is None


def test_accept_opens_a_filled_in_request(row: Endpoint, org: Org, client_for: Any) -> None:
    differ(row)
    differ(row, "spec.template.spec.terminationGracePeriodSeconds", "7")
    response = client_for(org.dana).post(path(row, "accept/"), follow=True)
    html = text(response)
    assert response.redirect_chain[0][0].startswith(f"/requests/new/?kind=revision&endpoint={row.pk}&replicas=1")
    assert re.search(r'name="replicas"[^>]*value="1"|value="1"[^>]*name="replicas"', html)
    assert "Not part of the request" in html and "terminationGracePeriodSeconds" in html
    assert "asked for" in text(client_for(org.dana).get(path(row)))


def test_nothing_to_accept_is_a_conflict(row: Endpoint, org: Org, client_for: Any) -> None:
    assert "can be asked for" in text(client_for(org.dana).post(path(row, "accept/")), 409)


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"desired": "suspended"}, "It is not to run"),
        ({"ready_at": None}, "once it has answered calls"),
        ({"drain_until": timezone.now() + dt.timedelta(minutes=1)}, "A rollout is on its way"),
    ],
)
def test_why_it_is_not_compared(row: Endpoint, org: Org, client_for: Any, columns: Any, words: str) -> None:
    Endpoint.objects.filter(pk=row.pk).update(**columns)
    assert words in text(client_for(org.dana).get(path(row)))


def test_this_machine_has_nothing_to_compare(row: Endpoint, org: Org, client_for: Any) -> None:
    Endpoint.objects.filter(pk=row.pk).update(cluster=factories.make_cluster())
    assert "processes of this machine" in text(client_for(org.dana).get(path(row)))
    assert "on this machine" in text(client_for(org.dana).post(path(row, "look/")), 409)


def test_a_cluster_that_could_not_be_compared_is_said(row: Endpoint, org: Org, client_for: Any) -> None:
    DriftLook.objects.update(failures=2, problem="The cluster cannot be reached.")
    assert "The cluster cannot be reached." in text(client_for(org.dana).get(path(row)))


def test_what_is_over_stays_readable(row: Endpoint, org: Org, client_for: Any) -> None:
    one = differ(row, found="evil", times=3)
    keeping.close([one], Resolution.TAKEN_BACK, timezone.now())
    html = text(client_for(org.dana).get(path(row)))
    assert "What is over" in html and "taken back" in html and "3 times" in html


def test_the_api_says_the_same(row: Endpoint, org: Org, api_for: Any) -> None:
    differ(row)
    differ(row, "spec.template.spec.x", "y", guarded=True)
    found = api_for(org.vic).get(f"/endpoints/{row.pk}/drift").json()
    one = next(item for item in found["items"] if item["field"] == "spec.replicas")
    assert one["object"] == {"kind": "Deployment", "namespace": "gatehouse-fraud-detection-dev", "name": "ep-1-r1"}
    assert (one["wanted"], one["found"], one["manager"], one["state"]) == ("2", "1", "kubectl-edit", "open")
    assert found["accept"]["request"]["replicas"] == 1 and found["accept"]["request"]["endpoint"] == str(row.pk)
    assert [item["field"] for item in found["accept"]["cannot"]] == ["spec.template.spec.x"]
    assert found["looked_at"] and found["problem"] is None and found["not_compared"] is None
    me = api_for(org.pat, "endpoints:write", "endpoints:read")
    assert me.post(f"/endpoints/{row.pk}/drift/reapply", {}).status_code == 202
    assert me.get(f"/endpoints/{row.pk}/drift").json()["rewriting"] is True
    assert me.post(f"/endpoints/{row.pk}/drift/look", {}).json() == {"cluster": "outpost"}


def test_all_of_it_by_project_environment_cluster_and_page(row: Endpoint, org: Org, api_for: Any) -> None:
    for number in range(5):
        differ(row, f"spec.f{number}")
    differ(row, "spec.mine", own=True)
    keeping.close([differ(row, "spec.old")], Resolution.GONE, timezone.now())
    me = api_for(org.vic)
    first = me.get("/insights/drift?limit=3").json()
    second = me.get(f"/insights/drift?limit=3&cursor={first['next']}").json()
    assert [one["field"] for one in first["items"] + second["items"]] == [f"spec.f{n}" for n in (4, 3, 2, 1, 0)]
    assert first["items"][0]["endpoint"]["name"] == row.name and second["next"] is None
    assert first["clusters"][0]["slug"] == "outpost"
    assert [one["field"] for one in me.get("/insights/drift?state=resolved").json()["items"]] == ["spec.old"]
    assert len(me.get("/insights/drift?state=all&project=fraud-detection&environment=dev").json()["items"]) == 6
    assert me.get("/insights/drift?environment=prod&cluster=outpost").json()["items"] == []
    assert api_for(org.cy).get("/insights/drift").json()["items"] == []
    for wrong, status in (("state=x", 422), ("environment=x", 422), ("project=NO", 404), ("cluster=x", 404)):
        assert me.get(f"/insights/drift?{wrong}").status_code == status, wrong


def test_why_a_cluster_could_not_be_compared_is_for_its_engineers(row: Endpoint, org: Org, api_for: Any) -> None:
    """A member reads it on the page of an endpoint there, not of every cluster."""
    DriftLook.objects.update(failures=1, problem="https://10.1.2.3:6443 cannot be reached.")
    for reader, problem in ((org.vic, None), (org.pat, "https://10.1.2.3:6443 cannot be reached.")):
        (one,) = api_for(reader).get("/insights/drift").json()["clusters"]
        assert one["slug"] == "outpost" and one["problem"] == problem


def test_what_differed_ends_with_its_endpoint(row: Endpoint, org: Org, api_for: Any) -> None:
    differ(row)
    Endpoint.objects.filter(pk=row.pk).update(phase="deleted", desired="deleted")
    sweeping.sweep()
    found = LiveDifference.objects.get()
    assert found.resolution == Resolution.GONE and found.resolved_at is not None


def test_nothing_is_promoted_into_what_is_being_deleted(row: Endpoint) -> None:
    made = open_demo(row.project)
    Endpoint.objects.filter(pk=made.pk).update(name=f"{row.name}-prod", environment="prod")
    assert promoting.target(row, "prod") == made
    Endpoint.objects.filter(pk=made.pk).update(desired="deleted", phase="deleting")
    assert promoting.target(row, "prod") is None


def test_the_endpoint_says_what_it_was_promoted_from(row: Endpoint, org: Org, api_for: Any) -> None:
    other = open_demo(org.fraud)
    Endpoint.objects.filter(pk=row.pk).update(promoted_from=other)
    assert api_for(org.dana).get(f"/endpoints/{row.pk}").json()["promoted_from"] == str(other.pk)


def test_a_removed_cluster_is_compared_no_more(row: Endpoint) -> None:
    Cluster.objects.filter(pk=row.cluster_id).update(removed_at=timezone.now())
    DriftLook.objects.update(looked_at=None)
    sweeping.compare(row.cluster_id)
    assert DriftLook.objects.get().looked_at is None and sweeping.sweep() == 0
