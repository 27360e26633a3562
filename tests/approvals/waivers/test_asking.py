"""Asking for a waiver: for what, by whom, until when; and that no one person can be all of it."""

import datetime as dt
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.db import IntegrityError, transaction

from approvals import services
from approvals.models import Delegation, Request, RequestState, Waiver, WaiverState
from approvals.waivers import services as waivers
from audit.models import Row
from endpoints import services as endpoints
from portal.errors import Conflict, Forbidden, Invalid
from projects.models import GOVERNANCE_LEADS, User
from projects.principal import Principal
from tests.approvals.waivers.kit import RULE, ask, body, failing_draft, grant, rule, soon, waived_draft
from tests.conftest import Org
from tests.factories import engineer, lead, make_request

pytestmark = pytest.mark.slow


def make_lead(user: User) -> Principal:
    user.groups.add(Group.objects.get_or_create(name=GOVERNANCE_LEADS)[0])
    return Principal.of(user)


def refused(who: User, about: Any, **fields: Any) -> Invalid:
    with pytest.raises(Invalid) as caught:
        ask(who, about, **fields)
    assert not Waiver.objects.exists()
    return caught.value


def test_a_waiver_lets_the_draft_be_sent(org: Org) -> None:
    rule()
    draft = failing_draft(org)
    by = org.principal(org.dana)
    with pytest.raises(Invalid) as caught:
        services.submit(by, draft)
    assert caught.value.code == "checks_failed"
    asked = ask(org.dana, draft)
    assert asked.plan["about"]["label"].startswith(str(draft)) and asked.plan["rule"]["id"] == RULE
    assert [stage["roles"] for stage in asked.plan["stages"]] == [["governance-leads"]]
    services.approve(lead(), asked)
    waiver = Waiver.objects.get(asked=asked)
    assert (waiver.state, waiver.request, waiver.owner, waiver.approved_by) == (
        WaiverState.ACTIVE, draft, org.omar, org.yasmine,
    )  # fmt: skip
    sent = services.submit(by, draft)
    check = next(one for one in sent.plan["checks"] if one["id"] == RULE)
    assert (check["verdict"], check["waiver"], check["waived_until"]) == ("waived", waiver.pk, soon())
    assert Row.objects.filter(action="waivers.grant", object_id=str(waiver.pk)).exists()
    assert Row.objects.filter(action="approvals.waive", object_kind="request", object_id=str(draft.pk)).exists()


def test_approval_carries_the_waiver_to_the_endpoint(org: Org) -> None:
    rule()
    sent = services.submit(org.principal(org.dana), waived_draft(org))
    done = services.approve(engineer(), sent)
    waiver = Waiver.objects.get(request=sent)
    assert done.endpoint is not None and waiver.endpoint == done.endpoint
    assert Row.objects.filter(action="waivers.carry", object_id=str(waiver.pk)).exists()


@pytest.mark.parametrize("thing", ["e:abc", f"e:{'x' * 60}", "e:", "r:0", "r:-1", "r:²", f"r:{'9' * 18}", "x", "e:{0}"])
def test_a_form_about_nothing_that_there_is(org: Org, client_for: Any, thing: str) -> None:
    """What the address or the field names is no request and no endpoint: the form opens, and sending it says so."""
    client, (kind, _, key) = client_for(org.dana), thing.partition(":")
    asked = {"kind": "waiver", "request" if kind == "r" else "endpoint": key}
    assert client.get("/requests/new/", asked).status_code == 200
    typed = {"kind": "waiver", "thing": thing, "check": RULE, "owner": "omar", "ends_on": soon(), "purpose": "Why."}
    assert client.post("/requests/new/", typed).status_code == 200
    assert client.post("/requests/new/", typed | {"action": "send"}).status_code == 422
    assert not Request.objects.exists()


def test_what_lets_a_project_call_lets_nothing_pass_for_whose_endpoint_it_is(org: Org) -> None:
    """A waiver of a request for access is the asking project's: the endpoint of the other one keeps its rules."""
    endpoint = make_request(org.dana, state="approved").endpoint
    endpoints.set_shareable(org.principal(org.omar), endpoint, True)
    rule(kinds=["access"], expression="false", message="Never.")
    draft = make_request(org.cy, kind="access", state="draft", endpoint=endpoint, project="search-ranking")
    waiver = grant(org.cy, draft, owner="cy")
    services.approve(engineer(), services.submit(org.principal(org.cy), draft))
    waiver.refresh_from_db()
    assert (waiver.request, waiver.endpoint, waiver.state) == (draft, None, WaiverState.ACTIVE)


def test_expired_between_sending_and_approval(org: Org) -> None:
    """Its last day passes while the request waits: the check fails again, and the plan is stale."""
    rule()
    sent = services.submit(org.principal(org.dana), waived_draft(org))
    assert waivers.expire(today=dt.date.fromisoformat(soon(31))) == 1
    with pytest.raises(Conflict) as caught:
        services.approve(engineer(), sent)
    assert caught.value.code == "plan_stale"


@pytest.mark.parametrize(
    ("fields", "field", "words"),
    [
        ({"ends_on": soon(-1)}, "ends_on", "after today"),
        ({"ends_on": soon(0)}, "ends_on", "after today"),
        ({"ends_on": soon(181)}, "ends_on", "180 days"),
        ({"ends_on": "soon"}, "ends_on", "date"),
        ({"check": "no-such"}, "check", "nothing to waive"),
        ({"check": "name-001"}, "check", "nothing to waive"),
        ({"check": "x" * 61}, "check", "60"),
        ({"owner": "cy"}, "owner", "nobody of fraud-detection"),
        ({"owner": "nobody"}, "owner", "nobody of fraud-detection"),
        ({"owner": ""}, "owner", "missing"),
        ({"purpose": " "}, "purpose", "missing"),
        ({"compensating_control": None}, "compensating_control", "missing"),
        ({"compensating_control": "x" * 2001}, "compensating_control", "2,000"),
        ({"endpoint": "5b0c39ee-6a2f-4b8e-9ab6-0e8f4e2b9a11"}, "endpoint", "one of them"),
        ({"request": None}, "request", "missing"),
        ({"request": 10**30}, "request", "limit"),
        ({"request": -1}, "request", "least"),
        ({"request": True}, "request", "true or false"),
        ({"request": 999_999}, "request", "not one for which"),
        ({"request": None, "endpoint": "5b0c39ee-6a2f-4b8e-9ab6-0e8f4e2b9a11"}, "endpoint", "not one for which"),
        ({"request": None, "endpoint": "../../etc"}, "endpoint", "36 characters"),
        ({"until": "2030-01-01"}, "until", "not a field"),
    ],
)
def test_bodies_that_are_refused(org: Org, fields: dict[str, Any], field: str, words: str) -> None:
    rule()
    error = refused(org.dana, failing_draft(org), **fields)
    assert field in error.fields and words in error.fields[field], error.fields


def test_a_check_that_may_not_be_waived(org: Org) -> None:
    rule(waivable=False)
    assert "cannot be waived" in refused(org.dana, failing_draft(org)).sentence
    unknown = make_request(org.dana, state="draft", context_tokens=9_000_000)
    assert "cannot be waived" in refused(org.dana, unknown, check="cap-002").sentence


def test_an_owner_must_be_an_active_person(org: Org) -> None:
    rule()
    draft = failing_draft(org)
    User.objects.filter(pk=org.omar.pk).update(is_active=False)
    assert "owner" in refused(org.dana, draft).fields
    User.objects.filter(pk=org.omar.pk).update(is_active=True, is_service=True)
    assert "owner" in refused(org.dana, draft).fields


def test_strangers_and_readers_may_not_ask(org: Org) -> None:
    rule()
    draft = failing_draft(org)
    for who in (org.cy, org.vic, org.omar, org.pat, org.aud):  # a draft is its maker's alone
        assert "request" in refused(who, draft).fields
    sent = make_request(org.dana, concurrency=2)
    assert "does not fail" in refused(org.pat, sent).sentence  # a reviewer may ask for what waits, if something fails


def test_a_reviewer_asks_for_what_waits(org: Org) -> None:
    """A rule came after the request was sent: the reviewer asks, a governance lead approves, the request goes on."""
    sent = make_request(org.dana, concurrency=8)
    rule()
    with pytest.raises(Conflict):
        services.approve(engineer(), sent)
    waiver = grant(org.pat, sent)
    assert (waiver.requested_by, waiver.beneficiary) == (org.pat, org.dana)
    assert services.approve(engineer(), sent).state == RequestState.APPROVED


def test_one_request_and_one_waiver_per_check_and_object(org: Org) -> None:
    rule()
    draft = failing_draft(org)
    asked = ask(org.dana, draft)
    with pytest.raises(Conflict) as caught:
        ask(org.dana, draft)
    assert caught.value.code == "already_asked" and caught.value.extra == {"request": asked.pk}
    services.approve(lead(), asked)
    with pytest.raises(Invalid) as again:
        ask(org.dana, draft)
    assert again.value.code == "already_waived"


# --- One person in all roles --------------------------------------------------------------------------------------


def test_nobody_approves_the_own_waiver(org: Org) -> None:
    rule()
    asked = ask(org.dana, failing_draft(org))
    with pytest.raises(Forbidden) as caught:
        services.approve(make_lead(org.dana), asked)
    assert caught.value.code == "own_request"


def test_nobody_approves_a_waiver_that_they_own(org: Org) -> None:
    rule()
    asked = ask(org.dana, failing_draft(org), owner="omar")
    with pytest.raises(Forbidden) as caught:
        services.approve(make_lead(org.omar), asked)
    assert caught.value.code == "own_waiver" and "answer for" in caught.value.sentence
    assert not Waiver.objects.exists()
    asked.refresh_from_db()
    assert asked.state == RequestState.SUBMITTED


def test_nobody_approves_a_waiver_for_the_own_request(org: Org) -> None:
    """The reviewer asked in its place; that makes it no other person's request."""
    sent = make_request(org.dana, concurrency=8)
    rule()
    asked = ask(org.pat, sent)
    with pytest.raises(Forbidden) as caught:
        services.approve(make_lead(org.dana), asked)
    assert caught.value.code == "own_waiver"


def test_nobody_approves_a_waiver_for_an_endpoint_that_they_asked_for(org: Org) -> None:
    endpoint = make_request(org.dana, state="approved", concurrency=8).endpoint
    rule()
    asked = ask(org.omar, endpoint, owner="vic")
    with pytest.raises(Forbidden) as caught:
        services.approve(make_lead(org.dana), asked)
    assert caught.value.code == "own_waiver"
    services.approve(lead(), asked)
    assert Waiver.objects.get().endpoint == endpoint


def test_a_delegate_is_no_way_around(org: Org) -> None:
    """yasmine lends to omar, who will answer for the waiver; and omar, a lead, lends to ravi."""
    rule()
    asked = ask(org.dana, failing_draft(org), owner="omar")
    now = asked.created_at
    lends = {"starts_at": now - dt.timedelta(days=1), "ends_at": now + dt.timedelta(days=1), "reason": "Away."}
    Delegation.objects.create(delegator=org.yasmine, delegate=org.omar, **lends)
    with pytest.raises(Forbidden):
        services.approve(Principal.of(org.omar), asked)
    make_lead(org.omar)
    Delegation.objects.create(delegator=org.omar, delegate=org.ravi, **lends)
    with pytest.raises(Forbidden):
        services.approve(Principal.of(org.ravi), asked)
    assert not Waiver.objects.exists()


def test_the_database_holds_it_too(org: Org) -> None:
    rule()
    waiver = grant(org.dana, failing_draft(org))
    for field in ("owner", "requested_by", "beneficiary"):
        with pytest.raises(IntegrityError), transaction.atomic():
            Waiver.objects.filter(pk=waiver.pk).update(**{field: waiver.approved_by})
    draft = waiver.request or waiver.asked
    other = Request.objects.create(kind="waiver", requester=org.dana, project=org.fraud, body=body(draft))
    with pytest.raises(IntegrityError), transaction.atomic():
        Waiver.objects.create(
            asked=other, check_id=RULE, project=org.fraud, request=waiver.request, reason="x", compensating_control="x",
            owner=org.omar, requested_by=org.dana, approved_by=org.yasmine, ends_on=waiver.ends_on,
        )  # fmt: skip
