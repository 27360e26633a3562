"""Around the stages: asking somebody in person, escalation, mentions, and what a re-submission changed."""

import datetime as dt
from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from approvals import services
from approvals.models import RequestState, Stage
from approvals.stages import assigning, mentions
from approvals.stages.changes import changes
from approvals.stages.escalating import escalate
from approvals.stages.reading import waiting_for
from approvals.timeline import timeline
from audit.models import Row
from portal.errors import GatehouseError, Invalid
from projects.models import Notification
from tests.approvals.stage_kit import ENGINEERS, LEADS, by, lend, publish, states
from tests.conftest import ApiClient, Org
from tests.factories import make_request

pytestmark = [pytest.mark.django_db, pytest.mark.slow]
Clients = Callable[..., Client]


def code(call: Any, *args: Any, **fields: Any) -> str:
    with pytest.raises(GatehouseError) as caught:
        call(*args, **fields)
    return caught.value.code


# --- In person --------------------------------------------------------------------------------------------------------


def test_assign(org: Org) -> None:
    """Who may decide asks somebody who may; they are told, the row says so, and everybody else still may decide."""
    publish(ENGINEERS, LEADS)
    made = make_request(org.dana)
    asked = assigning.assign(by(org.pat), made, to="ravi", reason="You know the model.")
    assert asked.assignee == org.ravi and asked.triaged_at is not None
    assert Notification.objects.get(person=org.ravi, kind="request.assigned").text == "You know the model."
    assert [line.sentence for line in timeline(asked) if line.code == "assigned"] == ["Asked ravi to decide."]
    services.approve(by(org.pat), made)
    made.refresh_from_db()
    assert made.assignee is None and states(made) == ["passed", "open"]  # the next stage is other people's


@pytest.mark.parametrize("to", ["yasmine", "dana", "cy", "nobody", "policy-rules"])
def test_assign_to_who_may_not_decide(org: Org, to: str) -> None:
    """Unknown people and people without the role in the same words."""
    publish(ENGINEERS, LEADS)
    made = make_request(org.dana)
    with pytest.raises(Invalid) as caught:
        assigning.assign(by(org.pat), made, to=to)
    assert "who may not decide" in caught.value.fields["to"]


def test_who_may_assign(org: Org) -> None:
    """Not the requester, not a reader, not a stranger; a delegate may; nothing of what is decided."""
    made = make_request(org.dana)
    assert code(assigning.assign, by(org.dana), made, to="pat") == "forbidden"
    assert code(assigning.assign, by(org.aud), made, to="pat") == "forbidden"
    assert code(assigning.assign, by(org.cy), made, to="pat") == "not_found"
    lend(org.pat, org.cy)
    assert assigning.assign(by(org.cy), made, to="ravi").assignee == org.ravi
    assert {one.username for one in assigning.candidates(made)} == {"pat", "ravi", "yasmine", "cy"}
    services.reject(by(org.pat), made, reason="No.")
    assert code(assigning.assign, by(org.pat), made, to="ravi") == "already_decided"


def test_assign_page_and_api(org: Org, client_for: Clients, api_for: Callable[..., ApiClient]) -> None:
    """A page with the reviewers to choose from; one call of the API."""
    made = make_request(org.dana)
    path, client = f"/requests/{made.pk}/assign/", client_for(org.pat)
    assert "ravi" in client.get(path).content.decode()
    assert client.post(path, {"to": "dana"}).status_code == 422
    assert client.post(path, {"to": "ravi", "reason": "Please."})["Location"] == f"/requests/{made.pk}/"
    assert "Asked in person" in client.get(f"/requests/{made.pk}/").content.decode()
    assert client_for(org.dana).get(path).status_code == 403 and client_for(org.cy).get(path).status_code == 404
    pat = api_for(org.pat, "requests:read", "requests:write")
    assert pat.post(f"/requests/{made.pk}/assign", {"to": ""}).json()["assignee"] is None
    assert pat.post(f"/requests/{made.pk}/assign", {"to": "yasmine"}).json()["assignee"] == "yasmine"
    assert pat.post(f"/requests/{made.pk}/assign", {"to": "vic"}).status_code == 422


# --- In time ----------------------------------------------------------------------------------------------------------


def test_escalate(org: Org) -> None:
    """After its business hours more people may decide; once; they are told, and the timeline says so."""
    publish(ENGINEERS | {"escalate_after_hours": 8, "escalate_to": ["governance-leads"]})
    made = make_request(org.dana)
    monday = dt.datetime(2026, 11, 30, 9, tzinfo=dt.UTC)
    Stage.objects.filter(request=made).update(opened_at=monday)
    assert escalate(monday + dt.timedelta(hours=7, minutes=59)) == 0 and not waiting_for(by(org.yasmine)).exists()
    assert code(services.approve, by(org.yasmine), made) == "forbidden"
    assert escalate(monday + dt.timedelta(days=9)) == 1 and escalate(monday + dt.timedelta(days=9)) == 0
    made.refresh_from_db()
    assert made.waiting_roles == ["governance-leads", "platform-engineers"]
    assert Notification.objects.filter(person=org.yasmine, kind="request.submitted").count() == 1
    assert Row.objects.filter(action="approvals.escalate", actor="system:approvals").count() == 1
    assert any("governance-leads may, too" in line.sentence for line in timeline(made))
    assert services.approve(by(org.yasmine), made).state == RequestState.APPROVED


def test_a_weekend_is_no_time(org: Org) -> None:
    """From Friday evening to Monday morning nobody is late."""
    publish(ENGINEERS | {"escalate_after_hours": 30, "escalate_to": ["governance-leads"]})
    friday = dt.datetime(2026, 11, 27, 20, tzinfo=dt.UTC)
    Stage.objects.filter(request=make_request(org.dana)).update(opened_at=friday)
    assert escalate(friday + dt.timedelta(days=2, hours=20)) == 0


def test_who_said_yes_already_is_not_asked_by_an_escalation(org: Org) -> None:
    """The memory of the submission survives the widening."""
    publish(ENGINEERS | {"count": 2, "escalate_after_hours": 1, "escalate_to": ["governance-leads"]})
    made = make_request(org.dana)
    services.approve(by(org.pat), made)
    assert escalate(timezone.now() + dt.timedelta(days=9)) == 1
    assert not waiting_for(by(org.pat)).exists() and waiting_for(by(org.yasmine)).exists()


# --- In words ---------------------------------------------------------------------------------------------------------


def test_mentions(org: Org, client_for: Clients) -> None:
    """Who may see the request is told, once, and linked; strangers and unknown names are neither."""
    made = make_request(org.dana)
    services.comment(by(org.dana), made, "@pat, please; @cy @nobody @dana know. Mail a@omar.example, cc @vic.")
    told = Notification.objects.filter(kind="request.mention").values_list("person__username", flat=True)
    assert sorted(told) == ["pat", "vic"]
    assert not Notification.objects.filter(kind="request.comment", person=org.pat).exists()  # not the same twice
    html = client_for(org.omar).get(f"/requests/{made.pk}/").content.decode()
    assert '<a href="/people/pat/">@pat</a>' in html and "/people/cy/" not in html and "@nobody" in html


def test_names_in_a_text() -> None:
    """A full stop is none of it, an address is no mention, ten are enough."""
    assert mentions.names("(@omar.b) and @pat. x@vic") == ["omar.b", "pat"]
    assert len(mentions.names(" ".join(f"@u{number}" for number in range(99)))) == mentions.MOST
    assert mentions.parts("Ask @pat.", ["pat"]) == [("Ask ", ""), ("@pat", "pat"), (".", "")]


def test_hostile_comments_stay_text(org: Org, client_for: Clients) -> None:
    """Nothing of a comment becomes markup."""
    made = make_request(org.dana)
    services.comment(by(org.dana), made, "<script>alert(1)</script> @<b>pat</b> @../pat @pat'\"")
    html = client_for(org.pat).get(f"/requests/{made.pk}/").content.decode()
    assert "<script>alert(1)" not in html and "<b>pat" not in html


# --- Again ------------------------------------------------------------------------------------------------------------


def test_a_resubmission_shows_what_changed(org: Org, client_for: Clients, api_for: Callable[..., ApiClient]) -> None:
    """Body, plan and stages, before and after; nothing on a first submission."""
    publish(ENGINEERS)
    made = make_request(org.dana, state="changes_requested")
    assert changes(made) == []
    publish(ENGINEERS, LEADS)
    again = services.submit(by(org.dana), services.change(by(org.dana), made, made.body | {"replicas": 3}))
    found = {(one.part, one.field): (one.before, one.after) for one in changes(again)}
    assert found["asked", "replicas"] == ("1", "3") and ("plan", "cost_per_month") in found
    assert found["stage", "Governance review"] == ("", "1 of governance-leads")
    html = client_for(org.pat).get(f"/requests/{made.pk}/").content.decode()
    assert "What changed since it was last sent" in html and "<ins>3</ins>" in html
    shown = api_for(org.dana, "requests:read").get(f"/requests/{made.pk}").json()
    assert {"part": "asked", "field": "replicas", "label": "Replicas", "before": "1", "after": "3"} in shown["changes"]
