"""Recent proof: what decides or gives rights asks again who is there; what was typed goes on after the proof."""

import time
from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from approvals.models import Decision, Request, RequestState
from projects.models import ApiKey, Membership
from projects.signin import proof, recent
from tests.conftest import Org, prove
from tests.factories import make_request

pytestmark = pytest.mark.slow

OLD = 16 * 60  # seconds; the proof holds for fifteen minutes
PASSWORD = "correct horse battery"
Clients = Callable[..., Client]


@pytest.fixture
def request_of_dana(org: Org, monkeypatch: pytest.MonkeyPatch) -> Request:
    monkeypatch.setattr("endpoints.nudge.current_app", type("Broker", (), {"send_task": lambda *a, **k: None})())
    made: Request = make_request(org.dana)
    return made


def test_an_approval_waits_for_the_proof_and_goes_on(org: Org, request_of_dana: Request, client_for: Clients) -> None:
    """Nothing is decided before; after it, by the same person, with the reason that was typed and the second factor of
    the session.
    """
    client = client_for(org.pat, seconds_ago=OLD)
    path = f"/approvals/{request_of_dana.pk}/approve/"
    asked = client.post(path, {"reason": "It fits."}, headers={"referer": "http://testserver/approvals/?q=x"})
    assert asked.status_code == 302
    assert asked["Location"] == "/accounts/reauthenticate/?next=%2Fapprovals%2F%3Fq%3Dx"
    assert not Decision.objects.exists()
    page = client.get(asked["Location"])
    assert "You decide over what others may spend." in page.content.decode()

    wrong = client.post("/accounts/reauthenticate/", {"password": "no", "next": "/approvals/?q=x"})
    assert wrong.status_code == 200 and not Decision.objects.exists()

    done = client.post("/accounts/reauthenticate/", {"password": PASSWORD, "next": "/approvals/?q=x"}, follow=True)
    decision = Decision.objects.get()
    assert (decision.reviewer, decision.reason, decision.second_factor) == (org.pat, "It fits.", "totp")
    assert "is approved" in done.content.decode() and done.redirect_chain[0][0].startswith("/approvals/")

    again = client.post("/accounts/reauthenticate/", {"password": PASSWORD, "next": "/approvals/?q=x"})
    assert again["Location"] == "/approvals/?q=x" and Decision.objects.count() == 1


def test_within_the_time_nobody_is_asked(org: Org, request_of_dana: Request, client_for: Clients) -> None:
    """A sign-in counts as a proof, for settings.ACCOUNT_REAUTHENTICATION_TIMEOUT."""
    client_for(org.pat, seconds_ago=OLD - 120).post(f"/approvals/{request_of_dana.pk}/approve/")
    assert Decision.objects.get().reviewer == org.pat


def test_a_form_of_a_forbidden_person_is_refused_after_the_proof(
    org: Org, request_of_dana: Request, client_for: Clients
) -> None:
    """The proof gives no right: permission is judged when the form goes on."""
    client = client_for(org.vic, seconds_ago=OLD)
    asked = client.post(f"/approvals/{request_of_dana.pk}/approve/")
    after = client.post(asked["Location"], {"password": PASSWORD})
    assert after.status_code == 403 and not Decision.objects.exists()


def test_the_answer_of_a_form_with_a_mistake_is_its_page(org: Org, db: None, client_for: Clients) -> None:
    """A page that comes back with a mistake posts to its own address, not to that of the proof."""
    client = client_for(org.dana, seconds_ago=OLD)
    path = "/projects/fraud-detection/keys/new/"
    asked = client.post(path, {"name": "", "endpoint": "*", "days": "30"})
    after = client.post(asked["Location"], {"password": PASSWORD})
    assert after.status_code == 422 and f'action="{path}"' in after.content.decode()
    made = client.post(path, {"name": "nightly", "endpoint": "*", "days": "30"})
    assert made.status_code == 200 and "gth_" in made.content.decode()  # the proof of before still counts
    assert ApiKey.objects.get().name == "nightly"


def test_htmx_leads_the_whole_page(org: Org, request_of_dana: Request, client_for: Clients) -> None:
    """Not the fragment: the proof stands on a page of its own, and its answer is a page, not a fragment."""
    client = client_for(org.pat, seconds_ago=OLD)
    headers = {"HX-Request": "true", "HX-Current-URL": "http://testserver/approvals/"}
    asked = client.post(f"/approvals/{request_of_dana.pk}/reject/", {"reason": "No."}, headers=headers)
    assert asked.status_code == 200 and asked["HX-Redirect"] == "/accounts/reauthenticate/?next=%2Fapprovals%2F"
    done = client.post(asked["HX-Redirect"], {"password": PASSWORD}, follow=True)
    assert "<!DOCTYPE html>" in done.content.decode()
    request_of_dana.refresh_from_db()
    assert request_of_dana.state == RequestState.REJECTED


def test_a_proof_for_something_else_does_not_set_it_off(
    org: Org, request_of_dana: Request, client_for: Clients
) -> None:
    """Who left the proof and proves later for another page has not decided anything."""
    client = client_for(org.pat, seconds_ago=OLD)
    client.post(f"/approvals/{request_of_dana.pk}/approve/", headers={"referer": "http://testserver/approvals/"})
    other = client.post("/accounts/reauthenticate/?next=/accounts/2fa/", {"password": PASSWORD})
    assert other["Location"] == "/accounts/2fa/" and not Decision.objects.exists()


def test_a_form_does_not_wait_for_ever(org: Org, request_of_dana: Request, client_for: Clients) -> None:
    """A proof that comes later than a proof holds only leads back to the page."""
    client = client_for(org.pat, seconds_ago=OLD)
    asked = client.post(
        f"/approvals/{request_of_dana.pk}/approve/", headers={"referer": "http://testserver/approvals/"}
    )
    session = client.session
    session[recent.SUSPENDED] |= {"at": time.time() - OLD}
    session.save()
    late = client.post(asked["Location"], {"password": PASSWORD})
    assert late["Location"] == "/approvals/" and not Decision.objects.exists()


def test_somebody_else_does_not_inherit_it(org: Org, request_of_dana: Request, client_for: Clients) -> None:
    """Signing out forgets what waited; records of another person prove nothing."""
    client = client_for(org.pat, seconds_ago=OLD)
    client.post(f"/approvals/{request_of_dana.pk}/approve/")
    client.post("/accounts/logout/")
    client.force_login(org.ravi)
    assert recent.SUSPENDED not in client.session
    prove(client, org.pat)  # records that name pat, in the session of ravi
    assert proof.records(client.session) == [] and not proof.is_recent(client.session)
    assert client.post(f"/approvals/{request_of_dana.pk}/approve/").status_code == 302
    assert not Decision.objects.exists()


def test_a_form_too_large_to_wait_is_refused(org: Org, db: None, client_for: Clients) -> None:
    """The sentence names the limit and the way out."""
    client = client_for(org.omar, seconds_ago=OLD)
    answer = client.post("/projects/fraud-detection/", {"user": "x" * recent.MOST_BYTES, "role": "viewer"})
    assert answer.status_code == 422 and "sign out and in again" in answer.content.decode()
    assert not Membership.objects.filter(user=org.ravi).exists()


def test_people_who_can_prove_nothing_are_told(org: Org, db: None, client_for: Clients, settings: Any) -> None:
    """Neither password nor factor here, and no identity provider: a sentence, not a page without a field."""
    settings.SSO = None
    org.omar.set_unusable_password()
    org.omar.save()
    answer = client_for(org.omar, seconds_ago=OLD).post(
        "/projects/fraud-detection/", {"user": "ravi", "role": "viewer"}
    )
    assert answer.status_code == 403 and "Sign out and in again" in answer.content.decode()


@pytest.mark.parametrize(
    "target", ["https://evil.example/", "//evil.example/", "/\\evil.example", "javascript:alert(1)"]
)
def test_the_way_back_stays_here(org: Org, db: None, client_for: Clients, target: str) -> None:
    """Neither the proof nor the sign-in leads to another host, whatever `next` says."""
    client = client_for(org.pat)
    for path in ("/accounts/reauthenticate/", "/accounts/login/"):
        body = {"password": PASSWORD, "login": "pat", "next": target}
        answer = client.post(path, body) if "reauth" in path else Client().post(path, body)
        assert answer.status_code == 302 and answer["Location"] == "/", path
    theirs = client.post("/theme/", {"theme": "dark", "next": target})
    assert theirs["Location"] == "/"


def test_another_allowed_host_is_another_host(org: Org, settings: Any) -> None:
    """A wildcard for hosts is no wildcard for redirects."""
    settings.ALLOWED_HOSTS = ["testserver", ".example.com"]
    body = {"password": PASSWORD, "login": "pat", "next": "https://evil.example.com/"}
    assert Client().post("/accounts/login/", body)["Location"] == "/"


@pytest.mark.parametrize(
    ("persona", "path", "form"),
    [
        ("pat", "/approvals/bulk/", {"action": "approve"}),
        ("omar", "/projects/fraud-detection/", {"user": "ravi", "role": "viewer"}),
        ("omar", "/projects/fraud-detection/remove/", {"user": "vic"}),
        ("dana", "/projects/fraud-detection/keys/new/", {"name": "k", "endpoint": "*", "days": "30"}),
        ("dana", "/projects/fraud-detection/keys/bulk/", {"action": "revoke"}),
        ("pat", "/projects/fraud-detection/limits/", {"tokens_per_day": "1"}),
        ("pat", "/people/dana/", {"groups": "auditors", "reason": "x"}),
        ("pat", "/people/dana/end-sessions/", {}),
        ("pat", "/people/dana/leave/", {"confirm": "dana", "reason": "x"}),
        ("pat", "/groups/", {"name": "analysts"}),
        ("pat", "/presets/new/", {"slug": "s", "name": "S", "where": "project"}),
        ("pat", "/keys/revoke/", {"person": "dana", "reason": "x"}),
        ("pat", "/access/mappings/", {"group": "g"}),
        ("pat", "/applications/new/", {"name": "A"}),
        ("pat", "/catalog/some-model/access/", {"access": "listed"}),
    ],
)
def test_every_guarded_form_asks(
    org: Org, db: None, client_for: Clients, persona: str, path: str, form: dict[str, str]
) -> None:
    """And changes nothing before."""
    before = (Membership.objects.count(), ApiKey.objects.count())
    answer = client_for(getattr(org, persona), seconds_ago=OLD).post(path, form)
    assert answer.status_code == 302 and answer["Location"].startswith("/accounts/reauthenticate/?next=")
    assert (Membership.objects.count(), ApiKey.objects.count()) == before
