"""The approval queue: order, opening in place, deciding, and what it refuses."""

import datetime as dt
import re
from collections.abc import Callable
from typing import Any

import pytest
from django.conf import settings
from django.test import Client
from django.utils import timezone

from approvals import services
from approvals.models import Decision, Request, RequestState
from approvals.objective import calendar
from catalog import services as catalog
from tests.conftest import Org
from tests.factories import lead, make_pool, make_profile, make_request, make_version

pytestmark = pytest.mark.slow

Clients = Callable[..., Client]
HTMX = {"HX-Request": "true"}


def aged(request: Request, **age: float) -> Request:
    """Let so much business time have passed since it was sent."""
    used = dt.timedelta(**age)
    due = calendar.current().shift(timezone.now(), int(settings.LEAD_TIME_OBJECTIVE_SECONDS - used.total_seconds()))
    clock = {"clock_seconds": int(used.total_seconds()), "clock_since": timezone.now(), "due_at": due}
    Request.objects.filter(pk=request.pk).update(submitted_at=timezone.now() - used, **clock)
    request.refresh_from_db()
    return request


def places(html: str, requests: list[Request]) -> list[int]:
    return [html.index(f">{item.number}</a>") for item in requests]


def test_it_works(org: Org, client_for: Clients) -> None:
    """Oldest first; opened in place; approved; the next one opens."""
    second, first = make_request(org.dana), aged(make_request(org.dana), days=2)
    client = client_for(org.pat)
    html = client.get("/approvals/").content.decode()
    found = places(html, [first, second])
    assert found == sorted(found) and "gh-openrow" not in html
    opened = client.get(f"/approvals/{first.pk}/").content.decode()
    assert opened.count("gh-openrow") == 1
    for words in ("Score card payments", first.plan_digest, 'data-key="a"', "You are the only reviewer needed"):
        assert words in opened
    answer = client.post(f"/approvals/{first.pk}/approve/", {"reason": "Fine."})
    assert answer.status_code == 302 and answer["Location"] == f"/approvals/{second.pk}/"
    first.refresh_from_db()
    assert first.state == RequestState.APPROVED and first.decisions.get().reason == "Fine."
    following = client.get(answer["Location"]).content.decode()
    assert following.count(f"{first.number} is approved.") == 1
    assert f"{first.number} is approved. {second.number} is next." in following
    last = client.post(f"/approvals/{second.pk}/reject/", {"reason": "No."}, follow=True)
    assert "Nothing else waits for you." in last.content.decode()
    assert "Nothing waits for a decision" in last.content.decode()


def test_a_row_opens_as_a_part(org: Org, client_for: Clients) -> None:
    """htmx gets the queue alone; closing it goes back to the list."""
    made = make_request(org.dana)
    part = client_for(org.pat).get(f"/approvals/{made.pk}/", headers=HTMX)
    html = part.content.decode()
    assert "<html" not in html and 'aria-expanded="true"' in html and "HX-Request" in part["Vary"]
    assert 'aria-current="true"' in html and "csrfmiddlewaretoken" in html


@pytest.mark.parametrize("verb", ["reject", "request-changes"])
def test_a_reason_is_needed(org: Org, client_for: Clients, verb: str) -> None:
    """422 with the sentence at the field; the request stays open, and what was typed stays."""
    made = make_request(org.dana)
    client = client_for(org.pat)
    for reason in ("", "   ", "x" * 2001):
        answer = client.post(f"/approvals/{made.pk}/{verb}/", {"reason": reason})
        html = answer.content.decode()
        assert answer.status_code == 422 and 'aria-invalid="true"' in html and "gh-openrow" in html
        assert reason.strip() in html and answer["HX-Push-Url"] == "false"
    made.refresh_from_db()
    assert made.state == RequestState.SUBMITTED
    client.post(f"/approvals/{made.pk}/{verb}/", {"reason": "Use staging."})
    made.refresh_from_db()
    assert made.state in {RequestState.REJECTED, RequestState.CHANGES_REQUESTED}


def test_own_requests_show_why_and_have_no_buttons(org: Org, client_for: Clients) -> None:
    """The page hides what the service refuses."""
    org.fraud.memberships.create(user=org.pat, role="developer")
    made = make_request(org.pat)
    client = client_for(org.pat)
    html = client.get(f"/approvals/{made.pk}/").content.decode()
    assert "This is your own request" in html and "Another reviewer" in html and 'data-key="a"' not in html
    answer = client.post(f"/approvals/{made.pk}/approve/")
    assert answer.status_code == 403 and "Nobody decides on an own request" in answer.content.decode()
    assert not Decision.objects.exists()
    assert 'data-key="a"' in client_for(org.ravi).get(f"/approvals/{made.pk}/").content.decode()


def test_already_decided_is_said(org: Org, client_for: Clients) -> None:
    """Another reviewer was faster."""
    made = make_request(org.dana)
    services.reject(org.principal(org.ravi), made, reason="No.")
    client = client_for(org.pat)
    answer = client.post(f"/approvals/{made.pk}/approve/")
    assert answer.status_code == 422 and "is rejected already" in answer.content.decode()
    assert 'role="alert"' in answer.content.decode()
    assert "nothing left to decide" in client.get(f"/approvals/{made.pk}/").content.decode()


def test_stale_plan_is_said_and_shown(org: Org, client_for: Clients) -> None:
    """The alert names what fails, and the open row shows the plan of today."""
    version = make_version()
    made = make_request(org.dana, version=version)
    catalog.block(lead(), version, reason="CVE")
    answer = client_for(org.pat).post(f"/approvals/{made.pk}/approve/", {"reason": "kept"})
    html = answer.content.decode()
    assert answer.status_code == 422 and "The plan is stale" in html and "as it would be today" in html
    assert "gh-tone-red" in html and 'value="kept"' in html
    made.refresh_from_db()
    assert made.state == RequestState.SUBMITTED


def test_only_deciders(org: Org, client_for: Clients) -> None:
    """Everybody else gets 403, also for what they may read; owners have a queue, for access to their endpoints."""
    made = make_request(org.dana)
    for person, queue, item in (
        (org.dana, 403, 403),
        (org.vic, 403, 403),
        (org.aud, 403, 403),
        (org.omar, 200, 403),
        (org.cy, 200, 404),
    ):
        client = client_for(person)
        assert client.get("/approvals/").status_code == queue
        assert client.get(f"/approvals/{made.pk}/").status_code == item
        for verb in ("approve", "reject", "request-changes"):
            assert client.post(f"/approvals/{made.pk}/{verb}/", {"reason": "x"}).status_code == item
    for person in (org.pat, org.yasmine):
        assert client_for(person).get("/approvals/").status_code == 200
    assert client_for(org.pat).get("/approvals/999999/").status_code == 404
    assert client_for(org.pat).get(f"/approvals/{made.pk}/approve/").status_code == 405
    made.refresh_from_db()
    assert made.state == RequestState.SUBMITTED


def test_post_needs_the_csrf_token(org: Org) -> None:
    """No decision from another site."""
    made = make_request(org.dana)
    client = Client(enforce_csrf_checks=True)
    client.force_login(org.pat)
    assert client.post(f"/approvals/{made.pk}/approve/").status_code == 403
    made.refresh_from_db()
    assert made.state == RequestState.SUBMITTED


def test_age_against_the_objective(org: Org, client_for: Clients) -> None:
    """Overdue is said and counted; the bar has its tone."""
    aged(make_request(org.dana), days=5, hours=2)
    aged(make_request(org.dana), days=4, hours=6)
    html = client_for(org.pat).get("/approvals/").content.decode()
    assert "2 h overdue" in html and "pf-m-bad" in html and "pf-m-warn" in html and "4 d 6 h" in html


def test_similar_decisions_and_room_of_today(org: Org, client_for: Clients) -> None:
    """What was decided about the same model, and whether the GPUs are free now."""
    profile, version = make_profile(gpus=8), make_version()
    make_pool(limit=8, profiles=[profile])
    made = make_request(org.dana, version=version, profile=profile)
    make_request(org.dana, version=version, profile=profile, state="approved", name="casework")
    make_request(org.dana, state="rejected", name="elsewhere")
    html = client_for(org.ravi).get(f"/approvals/{made.pk}/").content.decode()
    assert "casework" in html and "elsewhere" not in html
    assert "8 of 8 held now" in html and "waits: 0 free, 8 needed" in html and "Simulated accelerators" in html


def test_earlier_answers_and_comments_are_shown(org: Org, client_for: Clients) -> None:
    """A reviewer reads what was said before."""
    made = make_request(org.dana, state="changes_requested")
    services.comment(org.principal(org.omar), made, "Smaller now.")
    services.submit(org.principal(org.dana), made)
    html = client_for(org.ravi).get(f"/approvals/{made.pk}/").content.decode()
    assert "asked for changes" in html and "Smaller now." in html and "sent again" in html


def test_pages_of_a_long_queue(org: Org, client_for: Clients) -> None:
    """Every request once; an open one is on the page that shows it."""
    version, profile = make_version(), make_profile()
    made = [make_request(org.dana, version=version, profile=profile) for _ in range(30)]
    client = client_for(org.pat)
    first = client.get("/approvals/").content.decode()
    behind = re.search(r'href="([^"]*after=[^"]*)"', first)
    assert behind is not None
    pages = [first, client.get(behind[1]).content.decode()]
    assert [sum(f">{item.number}</a>" in page for item in made) for page in pages] == [25, 5]
    assert "<b>26–30</b> of <b>30</b>" in pages[1]
    # From its page a row opens on its page; opened from elsewhere, its page begins with it.
    opened = re.search(rf'href="(/approvals/{made[-1].pk}/[^"]*)"', pages[1])
    assert opened is not None and "after=" in opened[1]
    for path, rows in ((opened[1], 5), (f"/approvals/{made[-1].pk}/", 1), (f"/approvals/{made[3].pk}/", 25)):
        html = client.get(path).content.decode()
        assert "gh-openrow" in html and sum(f">{item.number}</a>" in html for item in made) == rows, path
    for cursor in ("0", "-1", "x", "9" * 30):
        html = client.get(f"/approvals/?after={cursor}").content.decode()
        assert "has not given out" in html and f">{made[0].number}</a>" in html


def test_queries_do_not_grow(org: Org, client_for: Clients, django_assert_max_num_queries: Any) -> None:
    """At most 15, with one row or thirty, closed or open, with the switcher set and after a re-submission."""
    version, profile = make_version(), make_profile(gpus=1)
    make_pool(limit=2, profiles=[profile])
    again = make_request(org.dana, version=version, profile=profile, state="changes_requested")
    services.submit(org.principal(org.dana), again)
    for state in ["submitted"] * 30 + ["approved"] * 5:
        made = make_request(org.dana, version=version, profile=profile, state=state)
        services.comment(org.principal(org.omar), again, "x")
    client = client_for(org.ravi)
    session = client.session
    session["project"] = org.fraud.pk
    session.save()
    for path in ("/approvals/", f"/approvals/{again.pk}/", f"/approvals/{made.pk}/", "/approvals/?q=f&sort=what"):
        with django_assert_max_num_queries(15):
            assert client.get(path).status_code == 200
