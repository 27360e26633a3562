"""Pages and API of auto-approve rules: who sees what, and what a button does."""

import re
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from approvals.models import EnvelopeMode, Mode, Reading, RequestState, Verdict
from tests.approvals.envelopes.kit import DEV, digest_of, publish, switch
from tests.conftest import Org
from tests.factories import make_request

pytestmark = pytest.mark.slow
Clients = Any


def text_of(response: Any) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", response.content.decode()))


def test_list_and_page_tell_the_agreement(org: Org, client_for: Clients) -> None:
    publish(DEV)
    bold = make_request(org.dana, state="rejected")
    make_request(org.dana, state="approved")
    for who in (org.pat, org.yasmine, org.aud):
        client = client_for(who)
        assert "50 %" in text_of(client.get("/approvals/rules/"))
        page = client.get("/approvals/rules/auto-dev/")
        assert "It would have approved 1 request that people did not approve" in text_of(page)
        assert f"/requests/{bold.pk}/" in page.content.decode()
    assert "/approvals/rules/auto-dev/on/" not in client_for(org.pat).get("/approvals/rules/auto-dev/").content.decode()
    assert "/approvals/rules/auto-dev/on/" in client_for(org.yasmine).get("/approvals/rules/auto-dev/").content.decode()


def test_without_a_rule_the_page_says_so(org: Org, client_for: Clients) -> None:
    publish()
    assert "No rule approves by itself" in text_of(client_for(org.pat).get("/approvals/rules/"))
    assert client_for(org.pat).get("/approvals/rules/auto-dev/").status_code == 404


def test_switching_on_shows_the_agreement_first(org: Org, client_for: Clients) -> None:
    publish(DEV)
    make_request(org.dana, state="rejected")
    client = client_for(org.yasmine)
    shown = client.get("/approvals/rules/auto-dev/on/")
    assert "in 0 % of 1 decision" in text_of(shown) and digest_of() in shown.content.decode()
    form = {"reason": "It is small.", "sample_percent": "100", "digest": digest_of()}
    for wrong, words in (
        ({"reason": ""}, "reason"),
        ({"sample_percent": "150"}, "0 to 100"),
        ({"sample_percent": "many"}, "whole number"),
        ({"digest": "sha256:other"}, "was changed since you read it"),
        ({"digest": ""}, "was changed since you read it"),
    ):
        answer = client.post("/approvals/rules/auto-dev/on/", form | wrong)
        assert answer.status_code in {409, 422} and words in text_of(answer)
    assert not EnvelopeMode.objects.exists()
    assert client.post("/approvals/rules/auto-dev/on/", form).status_code == 302
    assert make_request(org.dana).state == RequestState.APPROVED


def test_off_is_one_button(org: Org, client_for: Clients) -> None:
    publish(DEV)
    switch("live")
    client = client_for(org.pat)
    assert "Switch all off" in text_of(client.get("/approvals/rules/"))
    assert client.post("/approvals/rules/auto-dev/stop/").status_code == 302
    assert EnvelopeMode.objects.get().mode == Mode.OFF
    switch("live")
    client.post("/approvals/rules/auto-dev/stop/", {"to": "shadow"})
    assert EnvelopeMode.objects.get().mode == Mode.SHADOW
    switch("live")
    client.post("/approvals/rules/off/")
    assert make_request(org.dana).state == RequestState.SUBMITTED


def test_a_later_review_in_the_page(org: Org, client_for: Clients) -> None:
    publish(DEV)
    switch("live", percent=100)
    first, second = make_request(org.dana), make_request(org.dana)
    rows = {row.request_id: row.pk for row in Verdict.objects.all()}
    client = client_for(org.ravi)
    page = client.get("/approvals/rules/sample/")
    assert first.number in text_of(page) and second.number in text_of(page)
    url = f"/approvals/rules/sample/{rows[first.pk]}/"
    assert client.post(url, {"answer": "object", f"remark_{rows[first.pk]}": ""}).status_code == 422
    done = client.post(url, {"answer": "object", f"remark_{rows[first.pk]}": "Too large."})
    assert done["Location"] == "/approvals/rules/auto-dev/"
    assert "Somebody objects" in text_of(client.get("/approvals/rules/auto-dev/"))
    client.post(f"/approvals/rules/sample/{rows[second.pk]}/", {"answer": "confirm"})
    assert set(Verdict.objects.values_list("reading", flat=True)) == {Reading.OBJECTED, Reading.CONFIRMED}
    assert "Nothing waits to be read" in text_of(client.get("/approvals/rules/sample/"))


def test_the_request_says_what_the_rules_said(org: Org, client_for: Clients) -> None:
    """To who runs and governs the platform; its requester reads the decision."""
    publish(DEV)
    made = make_request(org.dana)
    assert "would have approved" in text_of(client_for(org.pat).get(f"/requests/{made.pk}/"))
    assert "would have approved" not in text_of(client_for(org.dana).get(f"/requests/{made.pk}/"))


def test_pages_cost_the_same_for_many(org: Org, client_for: Clients) -> None:
    publish(DEV)
    switch("live", percent=100)
    client, counts = client_for(org.yasmine), []
    for many in (2, 6):
        for _ in range(many):
            make_request(org.dana)
            make_request(org.dana, state="rejected", environment="prod", replicas=2)
        found = []
        for path in ("", "auto-dev/", "auto-dev/on/", "sample/"):
            with CaptureQueriesContext(connection) as asked:
                assert client.get(f"/approvals/rules/{path}").status_code == 200
            found.append(len(asked))
        counts.append(found)
    assert counts[0] == counts[1] and max(counts[0]) <= 15


def test_by_api(org: Org, api_for: Any) -> None:
    publish(DEV)
    lead, body = api_for(org.yasmine, "policies:write", "policies:read"), {"mode": "live", "reason": "Both agree."}
    path = "/policies/envelopes/auto-dev/mode"
    made = lead.post(path, body | {"sample_percent": 40, "digest": digest_of()})
    assert made.status_code == 200 and (made.json()["mode"], made.json()["sample_percent"]) == ("live", 40)
    assert lead.get("/policies").json()["envelopes"][0]["mode"] == "live"
    assert make_request(org.dana).state == RequestState.APPROVED
    assert lead.post("/policies/envelopes/off", {}).json() == {"switched_off": ["auto-dev"]}
    assert make_request(org.dana).state == RequestState.SUBMITTED
    for wrong in (
        {"mode": "on"}, {"mode": None}, {"reason": ""}, {"reason": "x" * 9000}, {"sample_percent": 101}, {"else": 1},
        {"sample_percent": "many"}, {"digest": "x" * 81},
    ):  # fmt: skip
        assert lead.post(path, body | wrong).status_code == 422, wrong
    assert lead.post(path, body | {"digest": "sha256:other"}).status_code == 409
    for percent in (True, 10.5, "10"):  # true would be one percent
        assert lead.post(path, body | {"sample_percent": percent}).status_code == 422, percent
    assert lead.post("/policies/envelopes/no-such/mode", body).status_code == 404
    assert api_for(org.pat, "policies:write").post(path, body).status_code == 403
    assert api_for(org.yasmine, "policies:read").post(path, body).status_code == 403
