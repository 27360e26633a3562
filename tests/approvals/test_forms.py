"""The form of every kind: what it begins with, what it sends, and how it says what is wrong. No JavaScript here."""

import datetime as dt
from typing import Any

import pytest

from approvals import services
from approvals.models import Request, RequestState
from approvals.views.asking import FORMS
from catalog import services as catalog
from endpoints import services as endpoint_services
from endpoints.models import Endpoint, Phase
from projects.models import Project
from quotas.limits import set_quotas
from quotas.models import Quota
from tests.approvals.form_kit import HTMX, OTHERS, SOON, WHY, Clients, filled, names, scene, text_of, value
from tests.conftest import Org
from tests.factories import (
    engineer,
    lead,
    make_asset,
    make_endpoint,
    make_pool,
    make_profile,
    make_version,
)

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("kind", OTHERS)
def test_from_the_link_to_the_approval(org: Org, client_for: Clients, kind: str) -> None:
    """The address fills the form, the plan stands beside it, sending makes exactly that request."""
    address, typed = scene(org, kind)
    client = client_for(org.dana)
    data = filled(client, kind, address) | typed
    html = client.post(f"/requests/new/?kind={kind}", data | {"action": "plan"}).content.decode()
    assert "Who decides" in html and "Honest estimate" in html and FORMS[kind].TITLE in html
    sent = client.post(f"/requests/new/?kind={kind}", data | {"action": "send"})
    assert sent.status_code == 302, text_of(sent)[-3000:]
    made = Request.objects.get(kind=kind)
    assert sent["Location"] == f"/requests/{made.pk}/" and made.state == RequestState.SUBMITTED
    assert made.body["purpose"] == WHY and made.requester == org.dana
    if "endpoint" in address:
        assert made.body["endpoint"] == address["endpoint"]
    assert "is sent." in text_of(client.get(sent["Location"]))
    assert services.approve(org.principal(org.ravi), made).state == RequestState.APPROVED


def test_revision_begins_with_what_runs(org: Org, client_for: Clients) -> None:
    """The address may ask for more; another endpoint fills the form anew, and what runs stays even when deprecated."""
    version = make_version(version="old")
    first = make_endpoint(org.dana, name="first", version=version, replicas=2, concurrency=4, context_tokens=2048)
    second = make_endpoint(org.dana, name="second", replicas=3)
    make_version(asset=version.asset, version="new")
    catalog.deprecate(lead(), version)
    client = client_for(org.dana)
    html = client.get(
        "/requests/new/", {"kind": "revision", "endpoint": str(first.pk), "replicas": "5"}
    ).content.decode()
    assert (value(html, "replicas"), value(html, "concurrency"), value(html, "context_tokens")) == ("5", "4", "2048")
    assert value(html, "version") == "old" and value(html, "begun") == str(first.pk)
    assert "now 2" in html and "Something changes" in html
    typed = {
        "kind": "revision",
        "endpoint": str(second.pk),
        "begun": str(first.pk),
        "replicas": "5",
        "purpose": "Mine.",
    }
    live = client.post("/requests/new/", typed, headers=HTMX).content.decode()
    assert value(live, "replicas") == "3" and 'id="slot-replicas" hx-swap-oob="true"' in live
    assert 'id="slot-purpose"' not in live
    again = client.post(
        "/requests/new/", typed | {"begun": str(second.pk), "replicas": "7"}, headers=HTMX
    ).content.decode()
    assert 'id="slot-replicas"' not in again  # nobody's caret is taken away while they type


def test_revision_of_another_model_chooses_its_newest_version(org: Org, client_for: Clients) -> None:
    """And warns that callers talk to another model then."""
    endpoint = make_endpoint(org.dana)
    other = make_version(asset=make_asset("other"), version="7.7")
    data = filled(client_for(org.dana), "revision", {"endpoint": str(endpoint.pk)}) | {"asset": "other"}
    page = client_for(org.dana).post("/requests/new/?kind=revision", data | {"action": "plan"})
    assert value(page.content.decode(), "version") == other.version
    assert "another model" in text_of(page)


def test_renewal_proposes_three_months_more(org: Org, client_for: Clients) -> None:
    """Later than the present end; an endpoint without an end is not offered."""
    endpoint = make_endpoint(org.dana, name="ends")
    forever = make_endpoint(org.dana, name="forever")
    Endpoint.objects.filter(pk=forever.pk).update(ends_on=None)
    html = client_for(org.dana).get(f"/requests/new/?kind=renewal&endpoint={endpoint.pk}").content.decode()
    assert endpoint.ends_on is not None
    assert value(html, "ends_on") == (endpoint.ends_on + dt.timedelta(days=90)).isoformat()
    assert "fraud-detection/ends" in html and "fraud-detection/forever" not in html


def test_access_offers_only_what_owners_share(org: Org, client_for: Clients) -> None:
    """Neither own endpoints nor those that nobody offers; an id that is guessed says nothing about itself."""
    hidden = make_endpoint(org.cy, project="search-ranking", name="hidden")
    shown = make_endpoint(org.cy, project="search-ranking", name="shown")
    own = make_endpoint(org.dana, name="own")
    endpoint_services.set_shareable(org.principal(org.cy), shown, True)
    endpoint_services.set_shareable(org.principal(org.omar), own, True)
    client = client_for(org.dana)
    html = client.get("/requests/new/?kind=access").content.decode()
    assert "search-ranking/shown" in html and "search-ranking/hidden" not in html
    assert "fraud-detection/own" not in html
    guessed = client.get(f"/requests/new/?kind=access&endpoint={hidden.pk}").content.decode()
    assert "search-ranking/hidden" not in guessed and "not offered" in guessed


def test_quota_offers_the_quotas_that_there_are(org: Org, client_for: Clients) -> None:
    """Numbers that a quota leaves open are not asked for; the address may name it with the fields of the body."""
    client = client_for(org.dana)
    assert "fraud-detection has no quota" in client.get("/requests/new/?kind=quota").content.decode()
    endpoint = make_endpoint(org.dana, name="scoring")
    tokens = [
        {"target": "project", "window": "day", "soft": 80, "hard": 100},
        {"target": "endpoint", "name": endpoint.name, "window": "month", "hard": 1000},
    ]
    body = {"gpus": {"limit": 2}, "tokens": tokens}
    set_quotas(engineer(), org.fraud, body, endpoints={"scoring": str(endpoint.pk)})
    html = client.get("/requests/new/?kind=quota&quota=tokens&target=endpoint").content.decode()
    assert value(html, "limit") == "tokens|endpoint|scoring|month" and "soft" not in names(html)
    html = client.get("/requests/new/?kind=quota&quota=tokens&window=day").content.decode()
    assert value(html, "limit") == "tokens|project||day" and {"soft", "hard"} <= names(html)
    assert "Now 80 tokens." in html and "Now 100 tokens." in html
    page = client.get("/requests/new/?kind=quota")
    html = page.content.decode()
    assert "GPU quota · now 2 GPUs" in html and value(html, "limit") == ""
    assert "as soon as these are filled in: Quota" in text_of(page)
    unchosen = client.post("/requests/new/", {"kind": "quota", "project": "fraud-detection", "action": "send"})
    assert "Quota is missing" in text_of(unchosen)
    data = {"kind": "quota", "project": "fraud-detection", "limit": "tokens|project||day", "soft": "150", "hard": "200"}
    client.post("/requests/new/", data | {"ends_on": SOON, "purpose": WHY, "action": "send"})
    made = Request.objects.get(kind="quota")
    assert (made.body["target"], made.body["window"], made.body["soft"], made.body["hard"]) == (
        "project",
        "day",
        150,
        200,
    )
    edit = client.get(f"/requests/{made.pk}/edit/")
    assert edit.status_code == 409
    clone = client.get(f"/requests/new/?from={made.pk}").content.decode()
    assert (value(clone, "limit"), value(clone, "hard")) == ("tokens|project||day", "200")


def test_an_unknown_kind_is_not_found(org: Org, client_for: Clients) -> None:
    """One sentence that names those that there are; a request that was not made from a body cannot be copied."""
    client = client_for(org.dana)
    for kind in ("moon", "../x"):
        answer = client.get("/requests/new/", {"kind": kind})
        assert answer.status_code == 404 and "renewal" in text_of(answer)
    assert client.post("/requests/new/?kind=moon").status_code == 404


@pytest.mark.parametrize("kind", OTHERS)
def test_a_person_who_may_not_ask_sees_no_form(org: Org, client_for: Clients, kind: str) -> None:
    """Nor does an endpoint of a project show in which one is viewer."""
    address, _ = scene(org, kind)
    assert client_for(org.vic).get("/requests/new/", {"kind": kind} | address).status_code == 403
    theirs = client_for(org.cy).get("/requests/new/", {"kind": kind} | address)
    assert theirs.status_code == 200
    if kind in {"revision", "renewal"}:
        assert "fraud-detection" not in theirs.content.decode() and "none of yours" in theirs.content.decode()


@pytest.mark.parametrize("kind", OTHERS)
def test_sent_back_and_sent_again(org: Org, client_for: Clients, kind: str) -> None:
    """Every kind is changed on the same page; it does not save itself then, since every change is recorded."""
    address, typed = scene(org, kind)
    client = client_for(org.dana)
    client.post(f"/requests/new/?kind={kind}", filled(client, kind, address) | typed | {"action": "send"})
    made = Request.objects.get(kind=kind)
    services.request_changes(org.principal(org.ravi), made, reason="Say for whom.")
    page = client.get(f"/requests/{made.pk}/edit/")
    html = page.content.decode()
    assert "ravi asks for changes: Say for whom." in text_of(page) and "data-autosave" not in html
    data = {name: value(html, name) for name in names(html) if name in FORMS[kind].LABELS} | {
        "purpose": "For payments."
    }
    assert client.post(f"/requests/{made.pk}/edit/", data | {"action": "send"}).status_code == 302
    made.refresh_from_db()
    assert (made.state, made.submission, made.body["purpose"]) == (RequestState.SUBMITTED, 2, "For payments.")


@pytest.mark.parametrize("kind", OTHERS)
def test_clone(org: Org, client_for: Clients, kind: str) -> None:
    """The form of the same kind with everything of the other request; not for somebody who may not see it."""
    address, typed = scene(org, kind)
    client = client_for(org.dana)
    client.post(f"/requests/new/?kind={kind}", filled(client, kind, address) | typed | {"action": "send"})
    made = Request.objects.get(kind=kind)
    html = client.get(f"/requests/new/?from={made.pk}").content.decode()
    assert FORMS[kind].TITLE in html and value(html, "purpose") == WHY
    for name in ("endpoint", "replicas", "hard", "ends_on"):
        if made.body.get(name) is not None:
            assert value(html, name) == str(made.body[name])
    stranger = org.cy if kind != "access" else org.search.memberships.create(user=org.ravi, role="developer").user
    assert client_for(stranger).get(f"/requests/new/?from={made.pk}").status_code == (
        404 if stranger == org.cy else 200
    )


def test_clone_of_an_admission_is_refused(org: Org, client_for: Clients) -> None:
    """It was not made from a form."""
    from approvals.admission import admit

    admit(lead(), make_version("draft"), reason="Loaded.")
    made = Request.objects.get(kind="admission")
    org.search.memberships.create(user=org.pat, role="developer")
    assert client_for(org.pat).get(f"/requests/new/?from={made.pk}").status_code == 409


def test_who_decides_stands_above_the_button(org: Org, client_for: Clients) -> None:
    """With the estimate, and for access it is the owner."""
    for kind, words in (("renewal", "One platform engineer"), ("access", "An owner of search-ranking decides")):
        Endpoint.objects.all().update(phase=Phase.READY)
        address, _ = scene(org, kind)
        html = client_for(org.dana).get("/requests/new/", {"kind": kind} | address).content.decode()
        note = html[html.index('id="send-note"') :][:600]
        assert words in note and "No data yet" in note


@pytest.mark.parametrize("kind", FORMS)
def test_queries_do_not_grow(org: Org, client_for: Clients, kind: str, django_assert_max_num_queries: Any) -> None:
    """At most 15, with many endpoints, quotas, profiles and projects, and the switcher set."""
    address, typed = scene(org, kind) if kind != "endpoint" else ({}, {})
    version = make_version()
    profiles = [make_profile(gpus=1) for _ in range(5)]
    make_pool(limit=2, profiles=profiles)
    many = {}
    Quota.objects.all().delete()
    for number in range(12):
        item = make_endpoint(org.dana, version=version, profile=profiles[0], name=f"many-{number}")
        many[item.name] = str(item.pk)
        Endpoint.objects.filter(pk=item.pk).update(phase=Phase.READY, shareable=True)
        slug = f"more-{number}"
        Project.objects.create(slug=slug, name=slug).memberships.create(user=org.dana, role="developer")
    tokens = [{"target": "endpoint", "name": name, "window": "day", "hard": 10} for name in many]
    set_quotas(engineer(), org.fraud, {"gpus": {"limit": 30}, "tokens": tokens}, endpoints=many)
    if kind == "endpoint":
        address = {"asset": version.asset.slug, "hardware_profile": profiles[0].slug}
    if kind == "quota":
        address = {"quota": "tokens", "target": "endpoint"}
    client = client_for(org.dana)
    session = client.session
    session["project"] = org.fraud.pk
    session.save()
    data = filled(client, kind, address) | typed
    with django_assert_max_num_queries(15):
        assert client.get("/requests/new/", {"kind": kind} | address).status_code == 200
    with django_assert_max_num_queries(15):
        assert client.post(f"/requests/new/?kind={kind}", data | {"action": "plan"}).status_code == 200
    client.post(f"/requests/new/?kind={kind}", data | {"action": "draft"})
    draft = Request.objects.get(state=RequestState.DRAFT)
    client.get(f"/requests/{draft.pk}/")  # the message is read
    with django_assert_max_num_queries(15):
        assert client.get(f"/requests/{draft.pk}/edit/").status_code == 200
