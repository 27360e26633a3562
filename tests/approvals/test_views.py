"""Pages of requests: the form with its live plan, narrowing, the list, one request."""

import re
from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from approvals import services
from approvals.models import Request, RequestState
from catalog import services as catalog
from endpoints.models import Cluster, Endpoint, Phase
from tests.conftest import Org
from tests.factories import (
    NEEDS,
    lead,
    make_asset,
    make_cluster,
    make_pool,
    make_profile,
    make_request,
    make_version,
    request_body,
)

pytestmark = pytest.mark.slow

Clients = Callable[..., Client]
HTMX = {"HX-Request": "true"}


def form(**fields: Any) -> dict[str, Any]:
    """What a browser sends; pass asset and hardware_profile."""
    body = request_body(**fields)
    return {name: value for name, value in body.items() if name != "kind"}


def offer() -> dict[str, str]:
    make_cluster()
    return {"asset": make_version().asset.slug, "hardware_profile": make_profile().slug}


def option(html: str, value: str) -> str:
    """The <option> of a value, with its attributes and label."""
    found = re.search(rf'<option value="{re.escape(value)}"[^>]*>[^<]*', html)
    return found.group() if found else ""


def test_it_works(org: Org, client_for: Clients) -> None:
    """Form, plan, send, and the request's page with its frozen plan."""
    chosen = offer()
    client = client_for(org.dana)
    page = client.get(f"/requests/new/?asset={chosen['asset']}")
    html = page.content.decode()
    assert page.status_code == 200 and "Fits the memory" in html and "Honest estimate" in html
    assert "No data yet" in html and "Demo engine" in html
    sent = client.post("/requests/new/", form(**chosen, name="scoring") | {"action": "send"})
    made = Request.objects.get()
    assert sent.status_code == 302 and sent["Location"] == f"/requests/{made.pk}/"
    assert made.state == RequestState.SUBMITTED and made.requester == org.dana
    detail = client.get(sent["Location"]).content.decode()
    for words in (
        made.number,
        made.plan_digest,
        "is sent.",
        "Score card payments",
        "Waits for one decision.",
        "Withdraw",
    ):
        assert words in detail
    assert made.number in client.get("/requests/").content.decode()


def test_choosing_an_asset_narrows_the_rest(org: Org, client_for: Clients) -> None:
    """Approved versions only, newest chosen; profiles and environments that do not fit say why."""
    cluster = make_cluster()
    Cluster.objects.filter(pk=cluster.pk).update(environments=["dev"])
    asset = make_asset("big", name="Big")
    needs = NEEDS | {"parameters": 20_000_000_000}
    make_version(asset=asset, version="1.0", needs=needs)
    make_version(asset=asset, version="2.0", needs=needs)
    make_version("blocked", asset=asset, version="3.0", needs=needs)
    make_version("draft", asset=asset, version="4.0", needs=needs)
    other = make_version(asset=make_asset("other"), version="7.7")
    make_version(asset=make_asset("server", kind="mcp-server"))
    small, large = make_profile(slug="small", memory_gib=8), make_profile(gpus=1, slug="large", memory_gib=80)
    make_profile(slug="off", enabled=False)
    alone = make_profile(gpus=1, slug="no-pool", memory_gib=80)
    make_pool(profiles=[large])
    html = client_for(org.dana).get("/requests/new/?asset=big").content.decode()
    assert option(html, "2.0") and option(html, "1.0") and not option(html, "3.0") and not option(html, "4.0")
    assert not option(html, "7.7") and option(html, other.asset.slug) and not option(html, "server")
    assert " selected" in option(html, "2.0")
    assert "disabled" in option(html, small.slug) and "weights alone need" in option(html, small.slug)
    assert "disabled" in option(html, alone.slug) and "no pool offers it" in option(html, alone.slug)
    assert " selected" in option(html, large.slug) and "disabled" not in option(html, large.slug)
    assert not option(html, "off")
    assert "disabled" in option(html, "prod") and "no cluster" in option(html, "prod")
    assert option(html, "fraud-detection") and not option(html, "search-ranking")


def test_live_plan_is_a_part_with_the_narrowed_fields(org: Org, client_for: Clients) -> None:
    """htmx gets the plan and the dependent fields out of band, and nothing is saved."""
    chosen = offer()
    client = client_for(org.dana)
    data = form(**chosen, replicas=3, name="")
    part = client.post("/requests/new/", data, headers=HTMX)
    html = part.content.decode()
    assert part.status_code == 200 and "<html" not in html and "HX-Request" in part["Vary"]
    slots = ("slot-asset", "slot-version", "slot-hardware_profile", "slot-environment")
    places = ("offers", "what-if", *slots, "plan-bar", "send-note")
    assert re.findall(r'id="([^"]+)" hx-swap-oob="true"', html) == list(places)
    assert "3 × 0.10" in html and "name-001" not in html  # nothing is said about a name that nobody typed
    whole = client.post("/requests/new/", data | {"action": "plan"})  # the button, without JavaScript
    assert whole.status_code == 200 and "<html" in whole.content.decode() and "3 × 0.10" in whole.content.decode()
    assert not Request.objects.exists()


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"replicas": "0"}, "Replicas is"),
        ({"replicas": "9" * 50}, "Replicas is"),
        ({"context_tokens": "abc"}, "Context tokens is"),
        ({"ends_on": "2020-01-01"}, "after today"),
        ({"name": "Größe <b>"}, "lower-case"),
        ({"purpose": "x" * 5000}, "limit is 2,000"),
        ({"purpose": "\x00"}, "control character"),
        ({"hardware_profile": "nothing"}, "does not exist"),
        ({"asset": "nothing"}, "is not in the catalog"),
        ({"environment": "moon"}, "choose one of"),
        ({"project": "search-ranking"}, "is not one in which you may send requests"),
        ({"purpose": ""}, "Purpose is missing"),
        ({"name": ""}, "Endpoint name is missing"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_errors_stand_at_the_field_and_in_a_summary(
    org: Org, client_for: Clients, fields: dict[str, str], words: str
) -> None:
    """422, what was typed is kept, the summary takes the focus; the live part says it, too, without failing."""
    chosen = offer()
    client = client_for(org.dana)
    data = form(**chosen) | {"purpose": "My own words."} | fields
    answer = client.post("/requests/new/", data | {"action": "send"})
    html = answer.content.decode()
    name = next(iter(fields))
    assert answer.status_code == 422 and words in html
    assert "data-focus" in html and f'href="#id_{name}"' in html and 'aria-invalid="true"' in html
    assert "My own words." in html or name == "purpose"
    assert "<b>" not in html
    assert not Request.objects.exists()
    assert client.post("/requests/new/", data, headers=HTMX).status_code == 200


def test_failing_check_stands_at_its_field(org: Org, client_for: Clients) -> None:
    """The plan says it before; sending says it at the field, with the fix."""
    make_cluster()
    version, small = make_version(), make_profile(memory_gib=4)
    data = form(asset=version.asset.slug, hardware_profile=small.slug)
    client = client_for(org.dana)
    live = client.post("/requests/new/", data, headers=HTMX).content.decode()
    assert "Does not fit the memory" in live and "too much" in live
    answer = client.post("/requests/new/", data | {"action": "send"})
    assert answer.status_code == 422 and 'href="#id_hardware_profile"' in answer.content.decode()


def test_draft_edit_and_send(org: Org, client_for: Clients) -> None:
    """A draft may lack fields; its page offers to finish it."""
    chosen = offer()
    client = client_for(org.dana)
    client.post("/requests/new/", form(**chosen, name="", purpose="") | {"action": "draft"})
    made = Request.objects.get()
    assert made.state == RequestState.DRAFT
    assert "Finish and send" in client.get(f"/requests/{made.pk}/").content.decode()
    page = client.get(f"/requests/{made.pk}/edit/").content.decode()
    assert " selected" in option(page, chosen["hardware_profile"])
    client.post(f"/requests/{made.pk}/edit/", form(**chosen, name="late") | {"action": "send"})
    made.refresh_from_db()
    assert (made.state, made.name) == (RequestState.SUBMITTED, "late")
    assert client.get(f"/requests/{made.pk}/edit/").status_code == 409


def test_sent_back_shows_why_and_can_be_sent_again(org: Org, client_for: Clients) -> None:
    """A refused second try changes nothing."""
    made = make_request(org.dana, state="changes_requested")
    client = client_for(org.dana)
    page = client.get(f"/requests/{made.pk}/edit/").content.decode()
    assert "asks for changes: for a test" in page
    data = {name: value for name, value in made.body.items() if name != "kind"}
    assert client.post(f"/requests/{made.pk}/edit/", data | {"action": "send", "replicas": "0"}).status_code == 422
    made.refresh_from_db()
    assert made.state == RequestState.CHANGES_REQUESTED and made.body["replicas"] == 1
    client.post(f"/requests/{made.pk}/edit/", data | {"action": "send", "replicas": "2"})
    made.refresh_from_db()
    assert (made.state, made.submission, made.body["replicas"]) == (RequestState.SUBMITTED, 2, 2)


def test_another_like_this(org: Org, client_for: Clients) -> None:
    """Everything is taken over, with a name that is free; a foreign request is not."""
    make_request(org.dana, name="first", state="approved")
    made = make_request(org.dana, replicas=3, state="draft", name="first")
    html = client_for(org.dana).get(f"/requests/new/?from={made.pk}").content.decode()
    assert 'name="replicas" value="3"' in html and 'name="name" value="first-2"' in html
    org.search.memberships.create(user=org.vic, role="developer")
    foreign = make_request(org.cy, project="search-ranking")
    assert client_for(org.dana).get(f"/requests/new/?from={foreign.pk}").status_code == 404
    assert client_for(org.dana).get("/requests/new/?from=x&asset=%00&version=").status_code == 200


def test_a_running_endpoint_is_offered_first(org: Org, client_for: Clients) -> None:
    """Only one of the own projects, and only the same version."""
    version = make_version()
    endpoint = make_request(org.dana, state="approved", version=version, name="casework").endpoint
    answering = [{"url": "http://127.0.0.1:9", "key": ""}]  # one replica that has room
    Endpoint.objects.filter(pk=endpoint.pk).update(phase=Phase.READY, upstreams=answering)
    url = f"/requests/new/?asset={version.asset.slug}"
    assert "fraud-detection/casework runs this exact version" in client_for(org.dana).get(url).content.decode()
    assert "casework" not in client_for(org.cy).get(url).content.decode()
    assert "casework" not in client_for(org.dana).get("/requests/new/").content.decode()


def test_who_may_open_what(org: Org, client_for: Clients) -> None:
    """403 for people who may not ask, 404 for strangers, 403 for others' drafts."""
    made = make_request(org.dana, state="draft")
    path = f"/requests/{made.pk}/"
    for person in (org.vic, org.aud, org.pat):
        assert client_for(person).get("/requests/new/").status_code == 403
        assert client_for(person).get(path).status_code == 200
        assert client_for(person).get(f"{path}edit/").status_code == 403
        assert client_for(person).post(f"{path}withdraw/").status_code == 403
        assert "Withdraw" not in client_for(person).get(path).content.decode()
    for url in (path, f"{path}edit/"):
        assert client_for(org.cy).get(url).status_code == 404
    for url in (f"{path}withdraw/", f"{path}comment/"):
        assert client_for(org.cy).post(url, {"text": "x"}).status_code == 404
        assert client_for(org.dana).get(url).status_code == 405
    assert made.number not in client_for(org.cy).get("/requests/").content.decode()
    assert client_for(None).get(path).status_code == 302


def test_withdraw_and_comment(org: Org, client_for: Clients) -> None:
    """A comment that is refused is not lost."""
    made = make_request(org.dana)
    client, path = client_for(org.dana), f"/requests/{made.pk}/"
    assert client.post(f"{path}comment/", {"text": "Please <script>"}).status_code == 302
    assert "Please &lt;script&gt;" in client.get(path).content.decode()
    refused = client.post(f"{path}comment/", {"text": "y" * 2001})
    assert refused.status_code == 422 and "y" * 2001 in refused.content.decode()
    assert client_for(org.aud).post(f"{path}comment/", {"text": "x"}).status_code == 403
    assert client.post(f"{path}withdraw/").status_code == 302
    made.refresh_from_db()
    assert made.state == RequestState.WITHDRAWN
    assert client.post(f"{path}withdraw/").status_code == 409


def test_detail_tells_the_whole_story(org: Org, client_for: Clients) -> None:
    """Sent back, sent again, approved, ready: with reasons, digests, the endpoint and the lead time."""
    made = make_request(org.dana, state="changes_requested")
    dana = org.principal(org.dana)
    again = services.submit(dana, services.change(dana, made, made.body | {"replicas": 2}))
    done = services.approve(org.principal(org.ravi), again, reason="Now it is right.")
    assert done.endpoint is not None
    Endpoint.objects.filter(pk=done.endpoint.pk).update(phase=Phase.READY, ready_at=timezone.now())
    html = client_for(org.omar).get(f"/requests/{made.pk}/").content.decode()
    for words in (
        "Approved by ravi. The endpoint is ready.", "Now it is right.", "asked for changes", "submission 2",
        "Open the endpoint",
        f"/endpoints/{done.endpoint_id}/", "Sent again; a new plan is frozen.", done.plan_digest, "Lead time",
    ):  # fmt: skip
        assert words in html, words


@pytest.mark.parametrize("state", ["draft", "submitted", "changes_requested", "approved", "rejected", "withdrawn"])
def test_every_state_has_a_page_and_a_line(org: Org, client_for: Clients, state: str) -> None:
    """Chip, sentence and page for each; blocked versions do not break old ones."""
    version = make_version()
    made = make_request(org.dana, state=state, version=version)
    catalog.block(lead(), version, reason="CVE")
    for person in (org.dana, org.pat):
        assert client_for(person).get(f"/requests/{made.pk}/").status_code == 200
        html = client_for(person).get(f"/requests/?state={state}").content.decode()
        assert made.number in html and "gh-two" in html
    if state in {"draft", "changes_requested"}:
        page = client_for(org.dana).get(f"/requests/{made.pk}/edit/")
        assert page.status_code == 200 and "not approved" in page.content.decode()


def test_admission_requests_have_a_page_too(org: Org, client_for: Clients) -> None:
    """Loaded catalog entries are requests with a decision: reviewers can open them, members do not see them."""
    from approvals.admission import admit

    version = make_version("draft")
    assert admit(org.principal(org.yasmine), version, reason="Loaded.")
    made = Request.objects.get(kind="admission")
    assert client_for(org.pat).get(f"/requests/{made.pk}/").status_code == 200
    assert made.number in client_for(org.pat).get("/requests/").content.decode()
    assert client_for(org.dana).get(f"/requests/{made.pk}/").status_code == 404


def test_list_filters(org: Org, client_for: Clients) -> None:
    """State, project, only mine; nonsense in the address is no error; an empty list says what to do."""
    client = client_for(org.omar)
    assert "Request an endpoint" in client.get("/requests/").content.decode()
    theirs, mine = make_request(org.dana), make_request(org.omar, state="draft")
    html = client.get("/requests/?mine=1").content.decode()
    assert mine.number in html and theirs.number not in html
    html = client.get("/requests/?state=submitted", headers=HTMX).content.decode()
    assert theirs.number in html and mine.number not in html and "<html" not in html
    assert "No request matches" in client.get("/requests/?state=rejected").content.decode()
    assert "No request matches" in client.get("/requests/?project=search-ranking").content.decode()
    assert client.get("/requests/?state=x&page=99999999999999999999&project=%00").status_code == 200


def test_queries_do_not_grow(org: Org, client_for: Clients, django_assert_max_num_queries: Any) -> None:
    """At most 15 for every page, with one row or with sixty, with one profile or with twenty, with the switcher set."""
    version = make_version()
    profiles = [make_profile(gpus=1) for _ in range(20)]
    make_pool(limit=2, profiles=profiles)
    sent_back = make_request(org.dana, version=version, profile=profiles[0], state="changes_requested")
    draft = make_request(org.dana, version=version, profile=profiles[0], state="draft")
    done = make_request(org.dana, version=version, profile=profiles[0], state="approved", replicas=2)
    make_request(org.dana, version=version, profile=profiles[0], state="approved", replicas=2)
    for _ in range(30):
        make_version(asset=make_asset())
        item = make_request(org.dana, version=version, profile=profiles[0])
        services.comment(org.principal(org.omar), item, "x")
        services.comment(org.principal(org.omar), done, "x")
    client = client_for(org.dana)
    session = client.session
    session["project"] = org.fraud.pk
    session.save()
    for path in (
        "/requests/", "/requests/new/", f"/requests/new/?asset={version.asset.slug}", f"/requests/{done.pk}/",
        f"/requests/{sent_back.pk}/edit/", f"/requests/{draft.pk}/edit/",
    ):  # fmt: skip
        with django_assert_max_num_queries(15):
            assert client.get(path).status_code == 200
    with django_assert_max_num_queries(15):
        data = form(asset=version.asset.slug, hardware_profile=profiles[0].slug)
        assert client.post("/requests/new/", data, headers=HTMX).status_code == 200
