"""The detail page and the open row of the queue say the truth about every kind."""

import re
from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client
from django.utils.html import strip_tags

from approvals import services
from approvals.models import Request
from catalog import services as catalog
from endpoints import services as endpoint_services
from quotas.limits import set_quotas
from tests.conftest import Org
from tests.factories import engineer, lead, make_endpoint, make_pool, make_profile, make_request

pytestmark = pytest.mark.slow

Clients = Callable[..., Client]
KINDS = ("revision", "renewal", "access", "quota")
SAYS = {
    "revision": ("What changes", "Replicas", "Before and after", "scoring", "Something changes"),
    "renewal": ("End date", "Use of the last 30 days", "never", "Version may go on"),
    "access": ("Model name in calls", "search-ranking/scoring", "Load now", "internal data", "Data class fits"),
    "quota": ("GPU quota", "Refuses above", "now 2", "Held or waited for", "More than the hard limit"),
}
DOES = {
    "revision": "rolls the revision out",
    "renewal": "lets scoring run until",
    "access": "lets fraud-detection call scoring until",
    "quota": "raises the quota at once until",
}
DONE = {
    "revision": "Approved by pat.",
    "renewal": "scoring may run until",
    "access": "Call it as search-ranking/scoring until",
    "quota": "The larger quota counts until",
}


def asked(org: Org, kind: str, state: str = "submitted") -> Request:
    """A request of dana's of `kind`."""
    owner, project = (org.cy, org.search) if kind == "access" else (org.dana, org.fraud)
    fields: dict[str, Any] = {}
    if kind == "quota":
        make_pool(limit=8)
        set_quotas(engineer(), org.fraud, {"gpus": {"limit": 2}})
    else:
        profile = make_profile(gpus=1)
        make_pool(limit=8, profiles=[profile])
        fields["endpoint"] = make_endpoint(owner, project=project.slug, name="scoring", profile=profile)
    if kind == "access":
        endpoint_services.set_shareable(org.principal(org.cy), fields["endpoint"], True)
    if kind == "revision":
        fields["replicas"] = 2
    made: Request = make_request(org.dana, kind=kind, state=state, **fields)
    return made


def text_of(response: Any) -> str:
    """What a person reads, in one line."""
    assert response.status_code == 200, response.content
    return re.sub(r"\s+", " ", strip_tags(response.content.decode()))


@pytest.mark.parametrize("kind", KINDS)
def test_detail(org: Org, client_for: Clients, kind: str, django_assert_max_num_queries: Any) -> None:
    """The frozen plan with what matters for the kind; afterwards what the approval did."""
    made = asked(org, kind)
    client = client_for(org.dana)
    with django_assert_max_num_queries(15):
        page = client.get(f"/requests/{made.pk}/")
    text = text_of(page)
    for words in (*SAYS[kind], made.number, "The fraud desk goes on", "Who decides", "Honest estimate", "Plan digest"):
        assert words in text, words
    assert "nobody has got such a request approved" in text
    assert ("Cost" in text) is (kind in {"revision", "renewal"})
    services.approve(engineer(), made)
    text = text_of(client.get(f"/requests/{made.pk}/"))
    assert DONE[kind] in text and "live after" not in text
    assert text_of(client.get("/requests/"))


@pytest.mark.parametrize("kind", KINDS)
def test_open_row(org: Org, client_for: Clients, kind: str, django_assert_max_num_queries: Any) -> None:
    """What a reviewer needs, and what approving would do; the decision works from there."""
    made = asked(org, kind)
    reviewer = client_for(org.cy if kind == "access" else org.pat)
    with django_assert_max_num_queries(15):
        page = reviewer.get(f"/approvals/{made.pk}/")
    text = text_of(page)
    for words in (*SAYS[kind], DOES[kind], "The fraud desk goes on", "dana"):
        assert words in text, words
    assert ("Evidence" in text) is (kind != "quota")
    answer = reviewer.post(f"/approvals/{made.pk}/approve/", {"reason": "Fine."}, follow=True)
    assert f"{made.number} is approved" in text_of(answer)
    made.refresh_from_db()
    assert made.state == "approved"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("state", ["draft", "changes_requested", "rejected", "withdrawn"])
def test_every_state_has_a_page(org: Org, client_for: Clients, kind: str, state: str) -> None:
    """And the list shows it."""
    made = asked(org, kind, state)
    client = client_for(org.dana)
    text = text_of(client.get(f"/requests/{made.pk}/"))
    assert made.get_state_display().capitalize() in text
    assert made.number in text_of(client.get("/requests/"))


@pytest.mark.parametrize("kind", ["revision", "renewal", "access"])
def test_a_stale_plan_is_shown(org: Org, client_for: Clients, kind: str) -> None:
    """The version was blocked meanwhile: the alert says it, and the row shows today's plan."""
    made = asked(org, kind)
    assert made.version is not None
    catalog.block(lead(), made.version, reason="CVE")
    answer = client_for(org.pat).post(f"/approvals/{made.pk}/approve/")
    html = answer.content.decode()
    assert answer.status_code == 422 and "The plan is stale" in html and "as it would be today" in html


def test_who_sees_a_request_for_access(org: Org, client_for: Clients) -> None:
    """The asking project, the endpoint's owners, the platform; nobody else, and the owner's queue holds only theirs."""
    made, other = asked(org, "access"), make_request(org.dana)
    for person, status in ((org.dana, 200), (org.vic, 200), (org.cy, 200), (org.pat, 200)):
        assert client_for(person).get(f"/requests/{made.pk}/").status_code == status
    cy = client_for(org.cy)
    queue = text_of(cy.get("/approvals/"))
    assert made.number in queue and other.number not in queue
    assert cy.get(f"/requests/{other.pk}/").status_code == 404
    session = cy.session
    session["project"] = org.search.pk
    session.save()
    assert made.number in text_of(cy.get("/approvals/"))  # with the switcher on the endpoint's project
    assert "Owners of search-ranking" in text_of(client_for(org.dana).get(f"/requests/{made.pk}/"))
