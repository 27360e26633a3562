"""Deciding from a mail: the link leads to a page, and only the right person with a recent proof decides there."""

import datetime as dt
import re
from collections.abc import Callable
from typing import Any

import pytest
import time_machine
from django.core import signing
from django.test import Client
from django.utils import timezone

from approvals import mail_link, services
from approvals.models import Decision, Request, RequestState
from projects.models import Delivery, Notification, User
from projects.notify import mail
from tests.conftest import Org
from tests.factories import make_request

pytestmark = [pytest.mark.slow, pytest.mark.django_db]
Clients = Callable[..., Client]


@pytest.fixture
def org(org: Org) -> Org:
    for person in User.objects.all():
        person.email = f"{person.username}@example.com"
        person.save(update_fields=["email"])
    return org


def mailed(person: User) -> str:
    """The text of the newest mail to `person`."""
    row = Delivery.objects.filter(notification__person=person, channel="mail").latest("created_at")
    return str(mail.message([row]).body)


def address(text: str) -> str:
    [found] = re.findall(r"http://[^/]+(/approvals/by-mail/\S+/)", text)
    return str(found)


def test_a_mail_leads_to_the_plan_and_the_form_decides(org: Org, client_for: Clients) -> None:
    made = make_request(org.dana)
    text = mailed(org.pat)
    assert "Read the plan and decide:" in text and f"/approvals/{made.pk}/" in text
    url, client = address(text), client_for(org.pat)
    for _ in range(2):  # a GET changes nothing, however often a mail scanner follows it
        html = client.get(url).content.decode()
    for words in (
        made.plan_digest,
        "Score card payments",
        "What you approve is exactly the plan on this page",
        "Platform",
    ):
        assert words in html
    assert not Decision.objects.exists()
    answer = client.post(url, {"decision": "approve", "reason": "Fine."}, follow=True)
    assert f"Your answer to {made} is kept." in answer.content.decode()
    row = Decision.objects.get()
    assert (row.reviewer, row.reason, row.plan_digest) == (org.pat, "Fine.", made.plan_digest)
    used = client.get(url)
    assert used.status_code == 410 and "You have used this link" in used.content.decode()
    assert client.post(url, {"decision": "reject", "reason": "No."}).status_code == 410
    assert Decision.objects.count() == 1


def test_each_gets_an_own_link_and_the_requester_none(org: Org) -> None:
    make_request(org.dana)
    links = {address(mailed(person)) for person in (org.pat, org.ravi, org.yasmine)}
    assert len(links) == 3
    assert not Notification.objects.filter(person=org.dana, kind="request.submitted").exists()


def test_it_asks_for_a_sign_in_and_for_a_recent_proof(org: Org, client_for: Clients) -> None:
    made = make_request(org.dana)
    url = f"/approvals/by-mail/{mail_link.sign(org.pat, made)}/"
    for answer in (Client().get(url), Client().post(url, {"decision": "approve"})):
        assert answer.status_code == 302 and answer["Location"].startswith("/accounts/login/?next=/approvals/by-mail/")
    old = client_for(org.pat, seconds_ago=3600)
    assert old.get(url).status_code == 200
    answer = old.post(url, {"decision": "approve"})
    assert answer.status_code == 302 and "reauthenticate" in answer["Location"] and not Decision.objects.exists()
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(org.pat)
    assert strict.post(url, {"decision": "approve"}).status_code == 403 and not Decision.objects.exists()


@pytest.mark.parametrize("person", ["ravi", "dana", "cy", "aud"])
def test_it_works_for_nobody_else(org: Org, client_for: Clients, person: str) -> None:
    """Neither another reviewer nor a stranger; and it names neither the request nor its person."""
    made = make_request(org.dana, name="secret-name")
    url = f"/approvals/by-mail/{mail_link.sign(org.pat, made)}/"
    client = client_for(getattr(org, person))
    for answer in (client.get(url), client.post(url, {"decision": "approve"})):
        html = answer.content.decode()
        assert answer.status_code == 404 and "sent to somebody else" in html
        assert "secret-name" not in html and made.plan_digest not in html
    assert not Decision.objects.exists()


def test_it_expires(org: Org, client_for: Clients) -> None:
    made = make_request(org.dana)
    url = f"/approvals/by-mail/{mail_link.sign(org.pat, made)}/"
    with time_machine.travel(timezone.now() + dt.timedelta(days=3, minutes=1), tick=False):
        answer = client_for(org.pat).get(url)
    assert answer.status_code == 410 and "good for 3 days" in answer.content.decode()


def test_a_forged_one_is_none(org: Org, client_for: Clients) -> None:
    made, client = make_request(org.dana), client_for(org.pat)
    good = mail_link.sign(org.pat, made)
    facts = [org.pat.pk, made.pk, made.submission, made.plan_digest]
    other_salt, wrong_shape = signing.dumps(facts, salt="other"), signing.dumps([1, 2], salt=mail_link.SALT)
    for token in (good[:-1], f"{good}x", "x", "a:b:c", other_salt, wrong_shape, "%00", "é" * 50, "x" * 5000):
        answer = client.get(f"/approvals/by-mail/{token}/")
        assert answer.status_code == 404, token
    unknown = signing.dumps([org.pat.pk, 10**9, 1, "sha256:0"], salt=mail_link.SALT)
    assert client.get(f"/approvals/by-mail/{unknown}/").status_code == 404


def test_another_submission_or_plan_is_said(org: Org, client_for: Clients) -> None:
    made, client = make_request(org.dana), client_for(org.pat)
    url = f"/approvals/by-mail/{mail_link.sign(org.pat, made)}/"
    services.request_changes(org.principal(org.ravi), made, reason="Smaller.")
    answer = client.get(url)
    assert answer.status_code == 410 and "is changes requested; there is nothing left" in answer.content.decode()
    services.submit(org.principal(org.dana), Request.objects.get(pk=made.pk))
    for answer in (client.get(url), client.post(url, {"decision": "approve"})):
        assert answer.status_code == 410 and "was sent again since the mail" in answer.content.decode()
    made.refresh_from_db()
    url = f"/approvals/by-mail/{mail_link.sign(org.pat, made)}/"
    Request.objects.filter(pk=made.pk).update(plan_digest="sha256:other")
    answer = client.post(url, {"decision": "approve"})
    assert answer.status_code == 409 and "not the one that the mail was about" in answer.content.decode()
    made.refresh_from_db()
    assert made.state == RequestState.SUBMITTED and Decision.objects.filter(reviewer=org.pat).count() == 0


def test_bad_answers_are_said_and_what_was_typed_stays(org: Org, client_for: Clients) -> None:
    made, client = make_request(org.dana), client_for(org.pat)
    url = f"/approvals/by-mail/{mail_link.sign(org.pat, made)}/"
    for form in ({"decision": "reject"}, {"decision": "cheese", "reason": "kept words"}, {"reason": "kept words"}):
        answer = client.post(url, form)
        assert answer.status_code == 422 and form.get("reason", "") in answer.content.decode()
    client.post(url, {"decision": "reject", "reason": "Too large."})
    assert Request.objects.get(pk=made.pk).state == RequestState.REJECTED


def test_who_lost_the_role_decides_nothing(org: Org, client_for: Clients) -> None:
    made = make_request(org.dana)
    url = f"/approvals/by-mail/{mail_link.sign(org.pat, made)}/"
    org.pat.groups.clear()
    assert client_for(org.pat).get(url).status_code == 404
    assert client_for(org.pat).post(url, {"decision": "approve"}).status_code == 404 and not Decision.objects.exists()


def test_what_is_over_is_offered_by_no_mail(org: Org) -> None:
    """The link is made when the mail leaves: a digest of the evening offers nothing that was decided at noon."""
    made = make_request(org.dana)
    services.reject(org.principal(org.ravi), made, reason="No.")
    assert "by-mail" not in mailed(org.pat)
    row = Notification(person=org.pat, about_kind="request", about_id="x" * 5)
    assert mail_link.offer(row) is None


def test_its_queries(org: Org, client_for: Clients, django_assert_max_num_queries: Any) -> None:
    made = make_request(org.dana)
    client, url = client_for(org.pat), f"/approvals/by-mail/{mail_link.sign(org.pat, made)}/"
    client.get(url)
    with django_assert_max_num_queries(15):
        assert client.get(url).status_code == 200
