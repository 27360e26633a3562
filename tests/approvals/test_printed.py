"""The plan on paper, and signing it: who approves says which plan was read."""

from collections.abc import Callable
from typing import Any, cast

import pytest

from approvals import services
from approvals.models import Decision, Request, RequestState
from portal.errors import Conflict
from projects.principal import Principal
from tests.approvals.form_kit import Clients, text_of
from tests.conftest import ApiClient, Org
from tests.factories import engineer, make_request

pytestmark = pytest.mark.slow


def again(org: Org, request: Request) -> str:
    """Send it back, change it, send it again; returns the digest that was shown before."""
    before = request.plan_digest
    services.request_changes(engineer(), request, reason="Two replicas, please.")
    request.refresh_from_db()
    dana = Principal.of(org.dana)
    services.submit(dana, services.change(dana, request, request.body | {"replicas": 2}))
    request.refresh_from_db()
    assert request.plan_digest != before
    return before


def test_the_page_holds_what_is_signed(org: Org, client_for: Clients) -> None:
    """Digest, policies, checks unfolded, security, cost, stages; after the decision who signed which digest."""
    made = make_request(org.dana, name="on-paper")
    html = client_for(org.vic).get(f"/requests/{made.pk}/plan/").content.decode()
    assert made.plan_digest in html and made.plan["bundle"]["digest"] in html
    assert 'media="print"' in html and "<style" not in html and "Nobody has decided yet." in html
    for words in ("Security", "Egress", "Under load", "Cost", "Who decides", "Review"):
        assert words in html, words
    assert "<details" in html and '<details class="gh-details">' not in html  # paper cannot be unfolded
    for check in made.plan["checks"]:
        assert check["id"] in html
    services.approve(engineer(), made, reason="Fine.")
    html = client_for(org.vic).get(f"/requests/{made.pk}/plan/").content.decode()
    assert "“Fine.”" in html and Decision.objects.get().plan_digest in html


def test_a_draft_has_none_and_a_stranger_finds_nothing(org: Org, client_for: Clients) -> None:
    """404 for both, in words."""
    draft, sent = make_request(org.dana, state="draft"), make_request(org.dana, name="other")
    page = client_for(org.dana).get(f"/requests/{draft.pk}/plan/")
    assert page.status_code == 404 and "frozen when the request is sent" in text_of(page)
    assert client_for(org.cy).get(f"/requests/{sent.pk}/plan/").status_code == 404


def test_approving_signs_exactly_the_plan_that_was_read(org: Org) -> None:
    """Another plan by now is stale, with the new plan; the right digest passes, and so does none."""
    made = make_request(org.dana)
    old = again(org, made)
    with pytest.raises(Conflict) as refused:
        services.approve(engineer(), made, plan_digest=old)
    assert refused.value.code == "plan_stale" and "changed since you opened it" in refused.value.sentence
    assert cast(dict[str, Any], refused.value.extra["plan"])["gpus"]["replicas"] == 2
    made.refresh_from_db()
    assert made.state == RequestState.SUBMITTED
    assert services.approve(engineer(), made, plan_digest=made.plan_digest).state == RequestState.APPROVED


def test_the_api_takes_the_digest(org: Org, api_for: Callable[..., ApiClient]) -> None:
    """409 `plan_stale`; a rejection needs no signature."""
    made = make_request(org.dana)
    old = again(org, made)
    pat = api_for(org.pat, "requests:read", "approvals:decide")
    path = f"/requests/{made.pk}/decisions"
    stale = pat.post(path, {"decision": "approve", "reason": "", "plan_digest": old})
    assert stale.status_code == 409 and stale.json()["code"] == "plan_stale" and stale.json()["plan"]["checks"]
    fresh = pat.post(path, {"decision": "approve", "reason": "", "plan_digest": made.plan_digest})
    assert fresh.status_code == 200 and fresh.json()["state"] == "approved"


def test_the_queue_sends_the_digest_that_it_shows(org: Org, client_for: Clients) -> None:
    """A page that was opened before the change is refused, and shows the plan as it is now."""
    made, client = make_request(org.dana), client_for(org.pat)
    html = client.get(f"/approvals/{made.pk}/").content.decode()
    assert f'name="plan_digest" value="{made.plan_digest}"' in html
    old = again(org, made)
    refused = client.post(f"/approvals/{made.pk}/approve/", {"reason": "", "plan_digest": old})
    assert refused.status_code == 422 and "changed since you opened it" in text_of(refused)
    assert f'name="plan_digest" value="{made.plan_digest}"' in refused.content.decode()
    done = client.post(f"/approvals/{made.pk}/approve/", {"reason": "", "plan_digest": made.plan_digest})
    assert done.status_code == 302
    made.refresh_from_db()
    assert made.state == RequestState.APPROVED
