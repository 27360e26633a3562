"""Forms that save themselves: one draft, nobody overwritten in silence, nothing typed lost. And the same by hand."""

import re
from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client
from django.utils.html import strip_tags

from approvals import services
from approvals.models import Request, RequestState
from tests.conftest import Org
from tests.factories import make_cluster, make_endpoint, make_profile, make_request, make_version

pytestmark = pytest.mark.slow

Clients = Callable[..., Client]
HTMX = {"HX-Request": "true"}
SHEET = ("form", "draft", "seen", "newest")


def typed(**fields: str) -> dict[str, str]:
    """What stands in the form for a new endpoint."""
    start = {"project": "fraud-detection", "replicas": "1", "concurrency": "8", "context_tokens": "4096"}
    return start | {"environment": "dev", "purpose": "Mine."} | fields


def whole(**fields: str) -> dict[str, str]:
    """A form that can be sent."""
    make_cluster()
    version, profile = make_version(), make_profile()
    names = {"asset": version.asset.slug, "version": version.version, "hardware_profile": profile.slug}
    rest = {"name": "scoring", "data_classification": "internal", "ends_on": "2027-02-01"}
    return typed(**(names | rest | fields))


def sheet(response: Any) -> dict[str, str]:
    """What the form carries along after an answer."""
    html = response.content.decode()
    found = dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)">', html))
    return {name: found.get(name, "") for name in SHEET}


def text_of(response: Any) -> str:
    """What a person reads, in one line."""
    return re.sub(r"\s+", " ", strip_tags(response.content.decode()))


def autosave(client: Client, data: dict[str, str], path: str = "/requests/new/") -> Any:
    """What htmx sends some seconds after a change."""
    return client.post(path, data | {"action": "save"}, headers=HTMX)


@pytest.mark.parametrize("button", [{"action": "send"}, {"action": "draft"}, {"use": "cpu-demo 1 1 4096"}])
def test_a_button_that_only_has_the_focus_is_not_pressed(org: Org, client_for: Clients, button: dict[str, str]) -> None:
    """htmx adds the focused button to what a changed field sends: whoever types and tabs on has not sent anything."""
    client, data = client_for(org.dana), whole()
    page = client.get("/requests/new/")
    told = client.post(
        "/requests/new/", data | sheet(page) | button, headers={"HX-Request": "true", "HX-Trigger": "request-form"}
    )
    assert told.status_code == 200 and not Request.objects.exists()
    assert 'id="plan-bar"' in told.content.decode() and 'id="request-page"' not in told.content.decode()


def test_the_first_change_makes_one_draft(org: Org, client_for: Clients) -> None:
    """Later ones change it; the line says when, leaving does not ask, and a reload finds the draft."""
    client = client_for(org.dana)
    page = client.get("/requests/new/")
    assert "data-autosave" in page.content.decode() and "Saves itself" in text_of(page)
    first = autosave(client, typed(name="one") | sheet(page))
    made = Request.objects.get()
    assert first.status_code == 200 and re.search(r"Saved \d\d:\d\d", text_of(first))
    assert first["HX-Trigger"] == "gatehouse:saved" and first["HX-Replace-Url"] == f"/requests/{made.pk}/edit/"
    assert (made.state, made.requester, made.body["purpose"]) == (RequestState.DRAFT, org.dana, "Mine.")
    second = autosave(client, typed(name="two") | sheet(first))
    made.refresh_from_db()
    assert Request.objects.count() == 1 and made.body["name"] == "two"
    assert sheet(second)["seen"] == made.updated_at.isoformat() != sheet(first)["seen"]
    again = client.get(f"/requests/{made.pk}/edit/")
    assert 'value="two"' in again.content.decode() and re.search(r"Saved \d\d:\d\d", text_of(again))
    assert made.number in client.get("/requests/?state=draft").content.decode()


def test_an_answer_that_was_lost_makes_no_second_draft(org: Org, client_for: Clients) -> None:
    """The form has a name of its own; another form of the same person, and the same name of another one, do not."""
    client = client_for(org.dana)
    page = sheet(client.get("/requests/new/"))
    assert page["form"]
    autosave(client, typed(name="one") | page)
    autosave(client, typed(name="two") | page | {"seen": ""})
    assert Request.objects.get().body["name"] == "two"
    autosave(client_for(org.omar), typed(name="omars") | page)
    autosave(client, typed(name="other") | sheet(client.get("/requests/new/")))
    assert sorted(Request.objects.values_list("body__name", flat=True)) == ["omars", "other", "two"]


def test_nothing_is_saved_before_a_project_is_chosen(org: Org, client_for: Clients) -> None:
    """The line says what to choose; that is no error."""
    client = client_for(org.dana)
    org.fraud.memberships.create(user=org.cy, role="viewer")
    answer = autosave(client_for(org.cy), typed(project="fraud-detection"))
    assert answer.status_code == 200 and "Not saved yet: choose project first." in text_of(answer)
    assert "HX-Trigger" not in answer
    answer = autosave(client, {"kind": "renewal", "purpose": "Mine."})
    assert "choose endpoint first" in text_of(answer)
    assert not Request.objects.exists()


def test_what_is_not_right_is_said_and_the_rest_is_kept(org: Org, client_for: Clients) -> None:
    """The field keeps its last value in the draft; leaving goes on asking."""
    client = client_for(org.dana)
    first = autosave(client, typed(replicas="3"))
    answer = autosave(client, typed(replicas="0", name="Größe", purpose="More.") | sheet(first))
    made = Request.objects.get()
    assert (made.body["replicas"], made.body["name"], made.body["purpose"]) == (3, None, "More.")
    assert "without Endpoint name, Replicas" in text_of(answer) or "without Replicas, Endpoint name" in text_of(answer)
    assert "HX-Trigger" not in answer


def test_two_windows(org: Org, client_for: Clients) -> None:
    """The later one is told, nothing is overwritten until it says so; then its words count."""
    client = client_for(org.dana)
    made = services.draft(org.principal(org.dana), {"project": "fraud-detection", "purpose": "First."})
    path = f"/requests/{made.pk}/edit/"
    left, right = client.get(path), client.get(path)
    assert autosave(client, typed(purpose="Left.") | sheet(left), path).status_code == 200
    told = autosave(client, typed(purpose="Right.") | sheet(right), path)
    made.refresh_from_db()
    assert told.status_code == 422 and "changed in another window" in text_of(told) and "HX-Trigger" not in told
    assert made.body["purpose"] == "Left." and "Keep what is typed here" in text_of(told)
    again = autosave(client, typed(purpose="Right!") | sheet(told), path)
    assert again.status_code == 422
    for action in ("draft", "send"):
        page = client.post(path, whole(purpose="Right.") | sheet(right) | {"action": action})
        assert page.status_code == 422 and "changed in another window" in text_of(page)
        assert "Right." in page.content.decode() and "Keep what is typed here" in text_of(page)
    made.refresh_from_db()
    assert made.body["purpose"] == "Left."
    kept = client.post(path, typed(purpose="Right.") | sheet(page) | {"action": "keep"})
    made.refresh_from_db()
    assert kept.status_code == 302 and made.body["purpose"] == "Right."


def test_keeping_counts_only_for_what_one_was_told_of(org: Org, client_for: Clients) -> None:
    """A third change in between is not overwritten either."""
    client = client_for(org.dana)
    dana = org.principal(org.dana)
    made = services.draft(dana, {"project": "fraud-detection", "purpose": "First."})
    path = f"/requests/{made.pk}/edit/"
    page = client.get(path)
    services.change(dana, made, {"project": "fraud-detection", "purpose": "Second."})
    told = autosave(client, typed(purpose="Mine.") | sheet(page), path)
    services.change(dana, made, {"project": "fraud-detection", "purpose": "Third."})
    answer = client.post(path, typed(purpose="Mine.") | sheet(told) | {"action": "keep"})
    made.refresh_from_db()
    assert answer.status_code == 422 and made.body["purpose"] == "Third."


def test_sending_continues_the_draft(org: Org, client_for: Clients) -> None:
    """One request, not a draft beside it; pressing the button twice sends once."""
    client = client_for(org.dana)
    page = sheet(client.get("/requests/new/"))
    data = whole()
    autosave(client, data | page)
    sent = client.post("/requests/new/", data | page | {"action": "send"})
    made = Request.objects.get()
    assert sent["Location"] == f"/requests/{made.pk}/" and made.state == RequestState.SUBMITTED
    twice = client.post("/requests/new/", data | page | {"action": "send"})
    assert twice.status_code == 422 and "submitted already" in text_of(twice) and "Mine." in twice.content.decode()
    late = autosave(client, data | page)
    assert late.status_code == 422 and "submitted already" in text_of(late)
    assert Request.objects.count() == 1
    client.post("/requests/new/", data | sheet(twice) | {"action": "draft"})  # what was typed becomes a new draft
    assert Request.objects.count() == 2
    assert client.post("/requests/new/", whole(name="x") | {"action": "send"}).status_code == 302


def test_a_refused_send_keeps_the_draft_as_it_was(org: Org, client_for: Clients) -> None:
    """And everything that was typed stands in the form."""
    client = client_for(org.dana)
    page = sheet(client.get("/requests/new/"))
    first = autosave(client, typed(purpose="Draft.") | page)
    answer = client.post("/requests/new/", typed(purpose="Longer.", replicas="0") | sheet(first) | {"action": "send"})
    made = Request.objects.get()
    assert answer.status_code == 422 and made.state == RequestState.DRAFT and made.body["purpose"] == "Draft."
    assert "Longer." in answer.content.decode() and 'data-guard="changed"' in answer.content.decode()
    assert sheet(answer)["seen"] == sheet(first)["seen"] and sheet(answer)["draft"] == str(made.pk)


@pytest.mark.parametrize("value", ["x", "-1", "99999999999999999999", "\x00", "２", "1' or '1'='1"])
def test_a_number_that_is_none_begins_anew(org: Org, client_for: Clients, value: str) -> None:
    """What comes back from a browser is checked like everything else."""
    client = client_for(org.dana)
    for count in (1, 2):
        answer = autosave(client, typed() | {"draft": value, "seen": value, "newest": value, "form": f"={value}"})
        assert answer.status_code == 200 and Request.objects.count() == count


def test_a_draft_of_somebody_else_is_not_continued(org: Org, client_for: Clients) -> None:
    """Their number in the form makes an own draft; the page of theirs is 403 and 404."""
    theirs = make_request(org.omar, state="draft")
    client = client_for(org.dana)
    autosave(client, typed(purpose="Mine.") | {"draft": str(theirs.pk)})
    theirs.refresh_from_db()
    assert theirs.body["purpose"] != "Mine." and Request.objects.exclude(pk=theirs.pk).get().requester == org.dana
    assert autosave(client, typed(), f"/requests/{theirs.pk}/edit/").status_code == 403
    assert autosave(client_for(org.cy), typed(), f"/requests/{theirs.pk}/edit/").status_code == 404


def test_a_draft_of_another_kind_is_not_continued(org: Org, client_for: Clients) -> None:
    """The kind of a request never changes."""
    endpoint = make_endpoint(org.dana)
    renewal = services.draft(org.principal(org.dana), {"kind": "renewal", "endpoint": str(endpoint.pk)})
    autosave(client_for(org.dana), typed() | {"draft": str(renewal.pk)})
    assert Request.objects.filter(state=RequestState.DRAFT, kind="endpoint").count() == 1


def test_a_draft_can_be_discarded_from_its_form(org: Org, client_for: Clients) -> None:
    """The button posts the form to where it is taken back; one that was sent back has none."""
    client = client_for(org.dana)
    made = make_request(org.dana, state="draft")
    html = client.get(f"/requests/{made.pk}/edit/").content.decode()
    assert f'formaction="/requests/{made.pk}/withdraw/"' in html
    assert client.post(f"/requests/{made.pk}/withdraw/", typed()).status_code == 302
    made.refresh_from_db()
    assert made.state == RequestState.WITHDRAWN
    assert autosave(client, typed(), f"/requests/{made.pk}/edit/").status_code == 409
    back = make_request(org.dana, state="changes_requested")
    assert "Discard" not in client.get(f"/requests/{back.pk}/edit/").content.decode()


def test_enter_in_a_field_only_calculates(org: Org, client_for: Clients) -> None:
    """A browser presses the first button of a form then: it must be the one that changes nothing."""
    data = whole()
    page = client_for(org.dana).get("/requests/new/", {"asset": data["asset"]}).content.decode()
    form = page[page.index('id="request-form"') :]
    first = re.search(r"<button[^>]*>", form)
    assert first and 'value="plan"' in first.group()
    answer = client_for(org.dana).post("/requests/new/", data | {"action": "plan"})
    assert answer.status_code == 200 and 'data-guard="changed"' in answer.content.decode()
    assert "load delay:2s" in answer.content.decode() and not Request.objects.exists()


def test_autosave_costs_little(org: Org, client_for: Clients, django_assert_max_num_queries: Any) -> None:
    """It happens every few seconds, for everybody who types."""
    make_cluster()
    client = client_for(org.dana)
    data = whole()
    data |= sheet(autosave(client, data))
    with django_assert_max_num_queries(20):
        assert autosave(client, data | {"purpose": "More."}).status_code == 200
