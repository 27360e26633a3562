"""Delegations: what is handed on, to whom, until when; and that no authority and no person counts twice."""

import datetime as dt
from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from approvals import services
from approvals.access import leaving
from approvals.models import Decision, Delegation, RequestState
from approvals.representation import decision_json
from approvals.stages import delegating
from approvals.stages.reading import find, waiting_for
from approvals.timeline import timeline
from audit.models import Row
from portal.errors import Forbidden, GatehouseError, Invalid, NotFound
from projects.models import Notification
from projects.principal import Principal
from tests.approvals.stage_kit import ENGINEERS, LEADS, by, lend, publish, states
from tests.conftest import ApiClient, Org
from tests.factories import make_request

pytestmark = [pytest.mark.django_db, pytest.mark.slow]
Clients = Callable[..., Client]
TODAY = timezone.now().date()


def code(call: Any, *args: Any, **fields: Any) -> str:
    with pytest.raises(GatehouseError) as caught:
        call(*args, **fields)
    return caught.value.code


def test_a_delegate_decides_for_somebody(org: Org) -> None:
    """By the delegator's roles, in the delegate's name, and the record, the row, the timeline say for whom."""
    publish(ENGINEERS)
    made = make_request(org.dana)
    assert not services.may_decide(by(org.cy), made) and find(by(org.cy), made.pk) is None
    lend(org.pat, org.cy)
    assert services.may_decide(by(org.cy), made) and list(waiting_for(by(org.cy))) == [made]
    assert find(by(org.cy), made.pk) == made
    done = services.approve(by(org.cy), made, reason="Fine.")
    said = Decision.objects.get()
    assert done.state == RequestState.APPROVED and (said.reviewer, said.on_behalf_of) == (org.cy, org.pat)
    assert decision_json(said)["on_behalf_of"] == "pat"
    assert '"on_behalf_of":"pat"' in Row.objects.filter(action="approvals.approve").get().after
    assert [line.by for line in timeline(done) if line.code == "approved"] == ["cy for pat"]
    assert "by cy for pat" in Notification.objects.filter(person=org.dana, kind="request.approved").get().title
    assert find(by(org.cy), made.pk) == made  # who decided it reads it still


def test_the_own_role_comes_first(org: Org) -> None:
    """Nobody is named where the own role was enough."""
    lend(org.pat, org.ravi)
    services.approve(by(org.ravi), make_request(org.dana))
    assert Decision.objects.get().on_behalf_of is None


def test_only_between_its_dates(org: Org) -> None:
    """Not before, not after, not once ended, not when the delegator or the delegate is inactive."""
    made, now = make_request(org.dana), timezone.now()
    for fields in (
        {"starts_at": now + dt.timedelta(hours=1)},
        {"ends_at": now - dt.timedelta(minutes=1)},
        {"revoked_at": now},
    ):
        lend(org.pat, org.cy, **fields)
    assert not services.may_decide(by(org.cy), made)
    assert code(services.approve, by(org.cy), made) == "not_found"
    lend(org.pat, org.cy)
    org.pat.is_active = False
    org.pat.save()
    assert not services.may_decide(by(org.cy), made) and not waiting_for(by(org.cy)).exists()


def test_what_was_lent_is_not_handed_on(org: Org) -> None:
    """The delegate of a delegate gets the own roles of the one in between: none."""
    lend(org.pat, org.omar)
    lend(org.omar, org.cy)
    made = make_request(org.dana)
    assert services.may_decide(by(org.omar), made) and not services.may_decide(by(org.cy), made)
    assert code(services.approve, by(org.cy), made) == "not_found"
    with pytest.raises(Forbidden, match="nothing that you could hand on"):  # vic decides nothing at all
        delegating.delegate(by(org.vic), to="cy", ends_on=TODAY, reason="Away.")


def test_the_requester_never_decides(org: Org) -> None:
    """Neither as a delegate, nor through one, nor by a group."""
    lend(org.pat, org.dana)
    made = make_request(org.dana)
    for verb in services.DECISIONS.values():
        assert code(verb, by(org.dana), made, reason="mine") == "own_request"
    assert not waiting_for(by(org.dana)).exists()
    org.fraud.memberships.create(user=org.ravi, role="developer")
    lend(org.ravi, org.cy)
    own = make_request(org.ravi)
    assert not services.may_decide(by(org.cy), own) and not waiting_for(by(org.cy)).filter(pk=own.pk).exists()
    for verb in services.DECISIONS.values():
        assert code(verb, by(org.cy), own, reason="his") in {"own_request", "not_found"}
    org.dana.groups.add(*org.pat.groups.all())
    assert code(services.approve, by(org.dana), made) == "own_request"
    assert not Decision.objects.exists()


def test_an_authority_counts_once(org: Org) -> None:
    """Two delegates of one person, or the person and the delegate, are not two reviewers."""
    publish(ENGINEERS | {"count": 2})
    lend(org.pat, org.cy)
    lend(org.pat, org.omar)
    made = make_request(org.dana)
    services.approve(by(org.cy), made)
    assert states(made) == ["open"]
    assert code(services.approve, by(org.omar), made) in {"already_decided", "one_person_one_stage"}
    assert code(services.approve, by(org.pat), made) in {"already_decided", "one_person_one_stage"}
    assert not waiting_for(by(org.pat)).exists() and not waiting_for(by(org.omar)).exists()
    lend(org.ravi, org.omar)
    assert services.approve(by(org.omar), made).state == RequestState.APPROVED
    assert set(Decision.objects.values_list("on_behalf_of__username", flat=True)) == {"pat", "ravi"}


def test_one_person_does_not_pass_two_stages_through_two_people(org: Org) -> None:
    """For pat in the first stage, for yasmine in the second: still one person; nor the person after the delegate."""
    publish(ENGINEERS, LEADS)
    lend(org.pat, org.cy)
    lend(org.yasmine, org.cy)
    made = make_request(org.dana)
    services.approve(by(org.cy), made)
    assert code(services.approve, by(org.cy), made) == "one_person_one_stage"
    org.pat.groups.add(*org.yasmine.groups.all())
    assert code(services.approve, by(org.pat), made) == "one_person_one_stage"
    assert states(made) == ["passed", "open"]
    assert services.approve(by(org.yasmine), made).state == RequestState.APPROVED


def test_the_limits_of_a_credential_stay(org: Org) -> None:
    """A token of one project decides for nobody in another one."""
    lend(org.pat, org.omar)
    made = make_request(org.dana)
    bound = Principal.of(org.omar, via="token", scopes=frozenset({"approvals:decide"}), project_id=org.search.pk)
    assert not services.may_decide(bound, made) and not waiting_for(bound).exists()
    inside = Principal.of(org.omar, via="token", scopes=frozenset({"approvals:decide"}), project_id=org.fraud.pk)
    assert services.may_decide(inside, made) and waiting_for(inside).exists()


# --- Making and ending one ------------------------------------------------------------------------------------------


def test_delegate(org: Org) -> None:
    """From now to the end of the last day; the delegate is told; both verbs leave their rows."""
    made = delegating.delegate(by(org.pat), to="omar", ends_on=TODAY + dt.timedelta(days=7), reason="Holiday.")
    assert made.starts_at <= timezone.now() < made.ends_at
    assert Notification.objects.get(person=org.omar).title.startswith("You decide for pat until ")
    assert delegating.revoke(by(org.omar), made).revoked_at is not None
    assert Notification.objects.filter(person=org.pat, kind="delegation.changed").count() == 1
    assert code(delegating.revoke, by(org.pat), made) == "ended_already"
    actions = list(Row.objects.filter(object_kind="delegation").order_by("id").values_list("action", flat=True))
    assert actions == ["approvals.delegate", "approvals.revoke_delegation"]


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"to": "pat"}, "delegate"),
        ({"to": "nobody"}, "delegate"),
        ({"to": "robot"}, "delegate"),
        ({"to": "gone"}, "delegate"),
        ({"ends_on": TODAY - dt.timedelta(days=1)}, "ends_on"),
        ({"ends_on": TODAY + dt.timedelta(days=90)}, "ends_on"),
        ({"starts_on": TODAY + dt.timedelta(days=9), "ends_on": TODAY + dt.timedelta(days=8)}, "ends_on"),
        ({"starts_on": TODAY - dt.timedelta(days=1)}, "starts_on"),
        ({"starts_on": TODAY + dt.timedelta(days=400), "ends_on": TODAY + dt.timedelta(days=401)}, "starts_on"),
        ({"reason": " "}, "reason"),
        ({"reason": "x" * 301}, "reason"),
        ({"reason": "bell \x07"}, "reason"),
    ],
)
def test_what_is_refused(org: Org, fields: dict[str, Any], field: str) -> None:
    """One sentence at the field."""
    org.vic.username, org.vic.is_service = "robot", True
    org.vic.save()
    org.aud.username, org.aud.is_active = "gone", False
    org.aud.save()
    good: dict[str, Any] = {"to": "omar", "ends_on": TODAY + dt.timedelta(days=89), "reason": "Holiday."}
    with pytest.raises(Invalid) as caught:
        delegating.delegate(by(org.pat), **(good | fields))
    assert list(caught.value.fields) == [field] and not Delegation.objects.exists()
    assert delegating.delegate(by(org.pat), **good).pk


def test_overlapping_and_circles(org: Org) -> None:
    """The same two in the same time; two for each other; three in a ring. Later ones are no harm."""
    soon: dict[str, Any] = {"ends_on": TODAY + dt.timedelta(days=5), "reason": "Away."}
    delegating.delegate(by(org.pat), to="ravi", **soon)
    assert code(delegating.delegate, by(org.pat), to="ravi", **soon) == "overlapping"
    assert code(delegating.delegate, by(org.ravi), to="pat", **soon) == "circular"
    delegating.delegate(by(org.ravi), to="yasmine", **soon)
    assert code(delegating.delegate, by(org.yasmine), to="pat", **soon) == "circular"
    first, last = TODAY + dt.timedelta(days=6), TODAY + dt.timedelta(days=9)
    assert delegating.delegate(by(org.yasmine), to="pat", starts_on=first, ends_on=last, reason="Away.").pk


def test_who_sees_and_ends_it(org: Org) -> None:
    """The two of it, governance; auditors read."""
    made = lend(org.pat, org.omar)
    for person in (org.pat, org.omar, org.yasmine, org.aud):
        assert delegating.get(by(person), made.pk) == made
    for person in (org.dana, org.ravi, org.cy):
        with pytest.raises(NotFound):
            delegating.get(by(person), made.pk)
    with pytest.raises(Forbidden):
        delegating.revoke(by(org.aud), made)
    delegating.revoke(by(org.yasmine), made)
    assert Notification.objects.filter(kind="delegation.changed").count() == 2


def test_a_leaver_lends_nothing(org: Org) -> None:
    """Whoever leaves neither decides for others nor lets others decide; it is counted before and recorded after."""
    lend(org.pat, org.omar)
    lend(org.ravi, org.pat)
    waits = make_request(org.dana)
    assert leaving.preview(by(org.ravi), org.pat).delegations == 2
    leaving.leave(by(org.ravi), org.pat, reason="Moved on.")
    assert not delegating.living(org.pat).exists() and not services.may_decide(by(org.omar), waits)
    assert Row.objects.filter(action="approvals.revoke_delegation").count() == 2


def test_a_leavers_waiting_request_closes_its_stages(org: Org) -> None:
    """Nobody is asked for it any more."""
    made = make_request(org.dana)
    leaving.leave(by(org.pat), org.dana, reason="Moved on.")
    made.refresh_from_db()
    assert (made.state, made.waiting_on, states(made)) == ("withdrawn", "", ["closed"])


def test_page(org: Org, client_for: Clients) -> None:
    """Made and ended by hand; mistakes keep what was typed; whoever decides nothing sees why there is no form."""
    client = client_for(org.pat)
    wrong = client.post("/approvals/delegations/", {"delegate": "pat", "ends_on": "soon", "reason": "Away."})
    assert wrong.status_code == 422 and "which is no day" in wrong.content.decode()
    data = {"delegate": "cy", "ends_on": (TODAY + dt.timedelta(days=3)).isoformat(), "reason": "Away."}
    assert client.post("/approvals/delegations/", data)["Location"] == "/approvals/delegations/"
    made = Delegation.objects.get()
    html = client_for(org.cy).get("/approvals/delegations/").content.decode()
    assert "You decide for" in html and f"/approvals/delegations/{made.pk}/end/" in html
    assert "nothing to hand on" in client_for(org.vic).get("/approvals/delegations/").content.decode()
    assert client_for(org.dana).post(f"/approvals/delegations/{made.pk}/end/").status_code == 404
    assert client_for(org.cy).post(f"/approvals/delegations/{made.pk}/end/").status_code == 302
    made.refresh_from_db()
    assert made.revoked_at is not None


def test_a_delegate_uses_the_queue(org: Org, client_for: Clients) -> None:
    """The menu counts, the queue lists, the request opens and is decided, although the project is a stranger's."""
    made = make_request(org.dana)
    client = client_for(org.cy)
    assert made.number not in client.get("/approvals/").content.decode()
    lend(org.pat, org.cy)
    assert made.number in client.get("/approvals/").content.decode()
    assert client.get(f"/requests/{made.pk}/").status_code == 200
    assert client.post(f"/approvals/{made.pk}/approve/").status_code == 302
    assert "cy for pat" in client.get(f"/requests/{made.pk}/").content.decode()


def test_api(org: Org, api_for: Callable[..., ApiClient]) -> None:
    """Made, listed, filtered and ended; a decision through it says for whom."""
    scopes = ("requests:read", "requests:write", "approvals:decide")
    pat, cy = api_for(org.pat, *scopes), api_for(org.cy, *scopes)
    body = {"delegate": "cy", "ends_on": (TODAY + dt.timedelta(days=3)).isoformat(), "reason": "Away."}
    made = pat.post("/delegations", body)
    assert made.status_code == 201 and made.json()["state"] == "active"
    assert pat.post("/delegations", body).json()["code"] == "overlapping"
    assert pat.post("/delegations", body | {"delegate": "pat"}).status_code == 422
    assert [one["delegator"] for one in cy.get("/delegations").json()["items"]] == ["pat"]
    assert cy.get("/delegations", {"state": "ended"}).json()["items"] == []
    assert cy.get("/delegations", {"state": "x"}).status_code == 422
    request = make_request(org.dana)
    assert [one["id"] for one in cy.get("/requests", {"assigned": "me"}).json()["items"]] == [request.pk]
    said = cy.post(f"/requests/{request.pk}/decisions", {"decision": "approve"})
    assert said.status_code == 200 and said.json()["stages"][0]["by"] == ["cy for pat"]
    path = f"/delegations/{made.json()['id']}"
    assert api_for(org.dana, *scopes).delete(path).status_code == 404
    assert pat.delete(path).json()["state"] == "revoked" and pat.delete(path).json()["code"] == "ended_already"
