"""When somebody leaves, one action ends everything of theirs; counted first, all of it or nothing."""

import datetime as dt
from typing import Any

import pytest
from allauth.idp.oidc.models import Token
from django.utils import timezone

from approvals import admission
from approvals.access import leaving
from approvals.models import Request
from audit.models import Row
from catalog import audience
from endpoints.keys import issue_key
from portal.errors import Conflict, Forbidden, Invalid
from projects import keys, tokens
from projects.models import ApiKey, Membership, Notification, User
from projects.principal import Principal
from tests.approvals.test_admission import propose
from tests.conftest import Org
from tests.factories import make_asset, make_endpoint, make_request

pytestmark = [pytest.mark.slow, pytest.mark.django_db]


@pytest.fixture
def held(org: Org, client_for: Any) -> dict[str, Any]:
    """dana with one of everything that somebody can hold."""
    dana = Principal.of(org.dana)
    asset = make_asset()
    audience.list_only(Principal.of(org.pat), asset, "A pilot.")
    soon = timezone.now().date() + dt.timedelta(days=30)
    audience.grant_person(Principal.of(org.pat), asset, "dana", reason="A pilot.", ends_on=soon)
    return {
        "endpoint": make_endpoint(org.dana),
        "request": make_request(org.dana),
        "draft": make_request(org.dana, state="draft"),
        "key": issue_key(dana, org.fraud, "service", []),
        "token": tokens.create(org.dana, scopes=["catalog:read"], project=None, ttl=dt.timedelta(hours=1)),
        "client": client_for(org.dana),
    }


def test_the_preview_counts_and_changes_nothing(org: Org, held: dict[str, Any]) -> None:
    rows = Row.objects.count()
    found = leaving.preview(Principal.of(org.pat), org.dana)
    assert (found.keys, found.tokens, found.memberships, found.grants, found.requests) == (1, 1, 1, 1, 2)
    assert found.endpoints == (f"fraud-detection/{held['endpoint'].name}",) and found.ownerless == ()
    assert Row.objects.count() == rows and keys.find(held["key"][1]) is not None


def test_what_a_leaver_sent_to_review_goes_back(org: Org) -> None:
    """Nothing waits for a decision that nobody will be asked for; a steward can send it again."""
    version = propose(org.dana)
    made = admission.submit(Principal.of(org.dana), version)
    leaving.leave(Principal.of(org.pat), org.dana, reason="Joins another company.")
    version.refresh_from_db()
    made.refresh_from_db()
    assert (made.state, version.state) == ("withdrawn", "draft")
    assert Row.objects.filter(action="catalog.take_back", object_id=str(version.pk)).count() == 1
    assert admission.submit(Principal.of(org.ravi), version).state == "submitted"


def test_it_ends_everything_at_once(org: Org, held: dict[str, Any], client_for: Any) -> None:
    assert held["client"].get("/").status_code == 200
    leaving.leave(Principal.of(org.pat), org.dana, reason="Joins another company.")
    assert held["client"].get("/").status_code == 302  # the session is over
    assert keys.find(held["key"][1]) is None and not Token.objects.filter(user=org.dana).exists()
    assert not Membership.objects.filter(user=org.dana).exists() and not org.dana.groups.exists()
    states = dict(Request.objects.filter(requester=org.dana).values_list("pk", "state"))
    assert states[held["request"].pk] == states[held["draft"].pk] == "withdrawn"
    gone = User.objects.get(pk=org.dana.pk)
    assert not gone.is_active and gone.left_at is not None and not gone.has_usable_password()
    assert Notification.objects.filter(person=org.omar, kind="endpoint.transferred").exists()
    row = Row.objects.filter(action="people.leave").get()
    assert row.reason == "Joins another company." and '"keys":1' in row.after
    assert held["key"][1] not in str(list(Row.objects.values_list("before", "after", "reason")))


def test_an_owner_who_leaves_leaves_a_project_that_somebody_is_told_of(org: Org) -> None:
    found = leaving.leave(Principal.of(org.pat), org.omar, reason="Retires.")
    assert found.ownerless == ("fraud-detection",)
    assert Notification.objects.filter(person=org.ravi, kind="project.ownerless").exists()


def test_who_may_not(org: Org) -> None:
    for who in (org.dana, org.omar, org.yasmine, org.aud):
        with pytest.raises(Forbidden):
            leaving.leave(Principal.of(who), org.cy, reason="Because.")
    pat = Principal.of(org.pat)
    with pytest.raises(Conflict, match="own leave"):
        leaving.leave(pat, org.pat, reason="Because.")
    with pytest.raises(Invalid) as refused:
        leaving.leave(pat, org.cy, reason="")
    assert "reason" in refused.value.fields
    leaving.leave(pat, org.cy, reason="Because.")
    with pytest.raises(Conflict) as again:
        leaving.leave(pat, org.cy, reason="Because.")
    assert again.value.code == "left_already"


def test_the_last_engineer_stays(org: Org) -> None:
    leaving.leave(Principal.of(org.pat), org.ravi, reason="Because.")
    robot = Principal.of(org.cy, via="command")
    with pytest.raises(Forbidden):
        leaving.leave(robot, org.pat, reason="Because.")
    org.cy.groups.add(*org.pat.groups.all())
    User.objects.filter(pk=org.pat.pk).update(is_active=True)
    leaving.leave(Principal.of(org.cy), org.pat, reason="Because.")
    with pytest.raises(Conflict):
        leaving.leave(Principal.of(org.cy), org.cy, reason="Because.")


def test_when_one_step_fails_nothing_has_happened(
    org: Org, held: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*args: Any) -> None:
        raise RuntimeError("the database went away")

    monkeypatch.setattr(leaving, "_hand_back", broken)
    with pytest.raises(RuntimeError):
        leaving.leave(Principal.of(org.pat), org.dana, reason="Because.")
    assert keys.find(held["key"][1]) is not None and Membership.objects.filter(user=org.dana).exists()
    assert ApiKey.objects.filter(state="active").count() == 1 and not Row.objects.filter(action="people.leave").exists()


def test_the_page_asks_for_the_name(org: Org, held: dict[str, Any], client_for: Any) -> None:
    pat = client_for(org.pat)
    shown = pat.get("/people/dana/leave/")
    assert b"API key is revoked" in shown.content and b"needs a new contact" in shown.content
    wrong = pat.post("/people/dana/leave/", {"confirm": "dan", "reason": "Because."})
    assert wrong.status_code == 422 and User.objects.get(username="dana").is_active
    assert pat.post("/people/dana/leave/", {"confirm": "dana", "reason": "Because."}).status_code == 302
    assert not User.objects.get(username="dana").is_active


def test_the_api_counts_then_does_it(org: Org, held: dict[str, Any], api_for: Any) -> None:
    api = api_for(org.pat, "admin")
    counted = api.post("/people/dana/leave", {"dry_run": True}).json()
    assert counted["keys"] == 1 and counted["dry_run"] and User.objects.get(username="dana").is_active
    assert api.post("/people/dana/leave", {}).status_code == 422
    assert api.post("/people/dana/leave", {"reason": "Because."}).json()["keys"] == 1
    assert not User.objects.get(username="dana").is_active
    assert api.post("/people/nobody-here/leave", {"reason": "Because."}).status_code == 404
