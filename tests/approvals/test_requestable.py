"""Who may ask for an asset that is not for everyone: in a project that is listed, or by a group's or person's grant."""

import datetime as dt
import re
from typing import Any

import pytest
import time_machine
from django.contrib.auth.models import Group
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from approvals import services
from approvals.models import Request, RequestState
from catalog import audience
from catalog.models import AssetProjectGrant, HardwareProfile, Version
from endpoints import services as endpoint_services
from endpoints.models import Endpoint
from portal.errors import Conflict, Invalid
from projects.models import Membership
from projects.principal import Principal
from tests.approvals.form_kit import HTMX, Clients, text_of, value
from tests.conftest import Org
from tests.factories import (
    engineer,
    lead,
    living_body,
    make_asset,
    make_cluster,
    make_endpoint,
    make_profile,
    make_request,
    make_version,
    request_body,
)

pytestmark = [pytest.mark.django_db, pytest.mark.slow]
WHY = "The fraud desk tests it."
NOON = dt.datetime(2026, 11, 20, 12, tzinfo=dt.UTC)


@pytest.fixture
def version(org: Org) -> Version:
    """An approved version of a listed model, granted to fraud-detection."""
    make_cluster()
    made = make_version(asset=make_asset("secret-model", name="Secret model"))
    audience.list_only(lead(), made.asset, "The licence names a few teams.")
    audience.grant_project(lead(), made.asset, "fraud-detection", reason=WHY)
    made.asset.refresh_from_db()
    return made


@pytest.fixture
def profile(org: Org) -> HardwareProfile:
    return make_profile(slug="cpu-demo")


def body(project: str = "fraud-detection", **fields: Any) -> dict[str, Any]:
    return request_body(project=project, asset="secret-model", hardware_profile="cpu-demo", **fields)


def refused(by: Principal, data: dict[str, Any], field: str = "asset") -> str:
    """The sentence of the refusal; checking, sending and submitting a draft say the same."""
    said = set()
    for act in (services.check, services.send):
        with pytest.raises(Invalid) as caught:
            act(by, data)
        said.add(caught.value.fields[field])
    draft = services.draft(by, data)
    with pytest.raises(Invalid) as caught:
        services.submit(by, draft)
    said.add(caught.value.fields[field])
    assert Request.objects.get(pk=draft.pk).state == RequestState.DRAFT
    assert len(said) == 1, said
    return said.pop()


def take_away() -> None:
    audience.revoke(lead(), AssetProjectGrant.objects.get(project__slug="fraud-detection"))


# --- Asking -----------------------------------------------------------------------------------------------------------


def test_a_listed_project_may_ask_and_another_one_may_not(org: Org, version: Version, profile: HardwareProfile) -> None:
    """To see it through one project is not enough for another one."""
    Membership.objects.create(project=org.search, user=org.dana, role="developer")
    dana = org.principal(org.dana)
    assert services.send(dana, body()).state == RequestState.SUBMITTED
    said = refused(dana, body("search-ranking"))
    assert "secret-model, which is not open to search-ranking" in said
    assert "A platform engineer or governance lead can grant it" in said


def test_a_group_and_a_person_may_ask_in_their_projects(org: Org, version: Version, profile: HardwareProfile) -> None:
    take_away()
    dana = org.principal(org.dana)
    group = Group.objects.create(name="analysts")
    audience.grant_group(lead(), version.asset, "analysts", reason=WHY)
    org.dana.groups.add(group)
    assert services.check(org.principal(org.dana), body())["asset"] == "secret-model"
    org.dana.groups.clear()
    audience.grant_person(lead(), version.asset, "dana", reason=WHY, ends_on=timezone.now().date())
    assert services.send(dana, body()).state == RequestState.SUBMITTED
    bound = Principal.of(org.dana, via="token", project_id=org.fraud.pk)
    assert "is not in the catalog" in refused(bound, body()), "a token of the project has what the project has"


def test_who_reads_everything_may_not_ask_for_everything(org: Org, version: Version, profile: HardwareProfile) -> None:
    Membership.objects.create(project=org.search, user=org.pat, role="owner")
    assert "is not open to search-ranking" in refused(org.principal(org.pat), body("search-ranking"))


def test_a_stranger_hears_what_an_unknown_asset_says(org: Org, version: Version, profile: HardwareProfile) -> None:
    cy = org.principal(org.cy)
    hidden = refused(cy, body("search-ranking"))
    unknown = refused(cy, body("search-ranking") | {"asset": "no-such-model"})
    assert hidden.replace("secret-model", "…") == unknown.replace("no-such-model", "…") and "open" not in hidden


def test_the_api_says_it_at_the_field(org: Org, version: Version, profile: HardwareProfile, api_for: Any) -> None:
    Membership.objects.create(project=org.search, user=org.dana, role="developer")
    api = api_for(org.dana, "requests:read", "requests:write")
    for path in ("/requests/check", "/requests"):
        answer = api.post(path, body("search-ranking"))
        assert (answer.status_code, answer.json()["code"]) == (422, "asset_not_open")
        assert [item["field"] for item in answer.json()["errors"]] == ["asset"]
    assert api.post("/requests", body()).status_code == 201


# --- Deciding ---------------------------------------------------------------------------------------------------------


def test_a_grant_that_ended_meanwhile_is_a_conflict(org: Org, version: Version, profile: HardwareProfile) -> None:
    """Whether it was swept or not; granted anew, the same request is approved."""
    take_away()
    with time_machine.travel(NOON, tick=False) as clock:
        ends_on = dt.date(2026, 11, 21)
        audience.grant_project(lead(), version.asset, "fraud-detection", reason=WHY, ends_on=ends_on)
        made = services.send(org.principal(org.dana), body(ends_on="2027-01-31"))
        clock.move_to(dt.datetime(2026, 11, 22, 12, tzinfo=dt.UTC))
        for _ in range(2):
            with pytest.raises(
                Conflict, match=r"secret-model was open when R-\d+ was sent. Now it is not open"
            ) as caught:
                services.approve(engineer(), made)
            assert caught.value.code == "asset_not_open" and not Endpoint.objects.exists()
            audience.expire()
        made.refresh_from_db()
        assert made.state == RequestState.SUBMITTED
        audience.grant_project(lead(), version.asset, "fraud-detection", reason=WHY)
        assert services.approve(engineer(), made).state == RequestState.APPROVED
    assert Endpoint.objects.get().revision is not None


def test_listing_an_asset_stops_what_waits(org: Org, profile: HardwareProfile) -> None:
    made = make_request(org.dana, profile=profile)
    assert made.version is not None
    audience.list_only(lead(), made.version.asset, "A few teams only.")
    with pytest.raises(Conflict) as caught:
        services.approve(engineer(), made)
    assert caught.value.code == "asset_not_open"
    audience.open_to_everyone(lead(), made.version.asset)
    assert services.approve(engineer(), made).state == RequestState.APPROVED


# --- What is there already --------------------------------------------------------------------------------------------


@pytest.fixture
def running(org: Org, version: Version, profile: HardwareProfile) -> Endpoint:
    """An endpoint of the listed model, whose project has lost it."""
    made = make_endpoint(org.dana, version=version, profile=profile, name="scoring")
    take_away()
    return made


def test_what_runs_goes_on(org: Org, running: Endpoint) -> None:
    dana = org.principal(org.dana)
    assert endpoint_services.suspend(dana, running).desired == "suspended"
    assert endpoint_services.resume(dana, running).desired == "running"


@pytest.mark.parametrize(("kind", "field"), [("revision", "asset"), ("renewal", "endpoint")])
def test_what_is_asked_for_anew_needs_a_grant(org: Org, running: Endpoint, kind: str, field: str) -> None:
    dana = org.principal(org.dana)
    fields = {"replicas": 2} if kind == "revision" else {}
    data = living_body(kind, endpoint=running, **fields)
    assert "secret-model, which is not open to fraud-detection" in refused(dana, data, field)
    audience.grant_project(lead(), running.revision.version.asset, "fraud-detection", reason=WHY)  # type: ignore[union-attr]
    made = services.send(dana, data)
    take_away()
    with pytest.raises(Conflict) as caught:
        services.approve(engineer(), made)
    assert caught.value.code == "asset_not_open"


def test_a_revision_to_a_listed_model(org: Org, version: Version, profile: HardwareProfile) -> None:
    Membership.objects.create(project=org.search, user=org.dana, role="developer")
    endpoint = make_endpoint(org.dana, project="search-ranking", profile=profile)
    data = living_body("revision", endpoint=endpoint, asset="secret-model", version="1.0")
    assert "is not open to search-ranking" in refused(org.principal(org.dana), data)


def test_access_to_an_endpoint_of_a_listed_model(org: Org, version: Version, profile: HardwareProfile) -> None:
    """Owners offer what their project was granted; that gives it to nobody else."""
    endpoint = make_endpoint(org.dana, version=version, profile=profile, name="scoring")
    endpoint = endpoint_services.set_shareable(org.principal(org.omar), endpoint, True)
    cy = org.principal(org.cy)
    data = living_body("access", endpoint=endpoint, project="search-ranking")
    assert "is not one that is offered to other projects" in refused(cy, data, "endpoint")
    Membership.objects.create(project=org.search, user=org.dana, role="developer")
    assert "one of secret-model, which is not open to search-ranking" in refused(
        org.principal(org.dana), data, "endpoint"
    )
    audience.grant_project(lead(), version.asset, "search-ranking", reason=WHY)
    assert services.send(cy, data).state == RequestState.SUBMITTED


# --- The form ---------------------------------------------------------------------------------------------------------


def options(html: str, name: str) -> list[str]:
    """What a select offers."""
    inside = re.search(rf'<select[^>]* name="{name}".*?</select>', html, re.DOTALL)
    assert inside, name
    return re.findall(r'<option value="([^"]+)"', inside.group())


def test_the_form_offers_what_fits_the_project(
    org: Org, version: Version, profile: HardwareProfile, client_for: Clients
) -> None:
    Membership.objects.create(project=org.search, user=org.dana, role="developer")
    make_version(asset=make_asset("open-model"))
    client = client_for(org.dana)
    offered = {
        project: set(options(client.get(f"/requests/new/?project={project}").content.decode(), "asset"))
        for project in ("fraud-detection", "search-ranking")
    }
    assert offered == {"fraud-detection": {"open-model", "secret-model"}, "search-ranking": {"open-model"}}
    typed = body("search-ranking") | {"kind": "endpoint"}
    live = client.post("/requests/new/", {key: str(text) for key, text in typed.items()}, headers=HTMX)
    html = live.content.decode()
    assert 'id="slot-asset" hx-swap-oob="true"' in html and "not open to this project" in text_of(live)
    assert "which is not open to search-ranking" in text_of(live)


def test_the_form_chooses_a_project_in_which_the_model_is_open(
    org: Org, version: Version, profile: HardwareProfile, client_for: Clients
) -> None:
    """The button of the catalog names no project; the first one in order would be the wrong one."""
    take_away()
    audience.grant_project(lead(), version.asset, "search-ranking", reason=WHY)
    Membership.objects.create(project=org.search, user=org.dana, role="developer")
    html = client_for(org.dana).get("/requests/new/?asset=secret-model&version=1.0").content.decode()
    assert value(html, "project") == "search-ranking" and value(html, "version") == "1.0"


def test_the_form_names_nothing_that_is_hidden(
    org: Org, version: Version, profile: HardwareProfile, client_for: Clients
) -> None:
    endpoint = make_endpoint(org.dana, version=version, profile=profile, name="scoring")
    endpoint_services.set_shareable(org.principal(org.omar), endpoint, True)
    client = client_for(org.cy)
    for path in ("/requests/new/", "/requests/new/?kind=access", "/requests/new/?kind=revision"):
        assert b"ecret" not in client.get(path).content.replace(b"secrets", b""), path
    assert str(endpoint.pk) not in client.get("/requests/new/?kind=access").content.decode()


def test_the_form_asks_as_often_for_many(
    org: Org, version: Version, profile: HardwareProfile, client_for: Clients
) -> None:
    client, counts = client_for(org.dana), []
    for number in (1, 12):
        for step in range(number):
            other = make_version(asset=make_asset(f"listed-{number}-{step}")).asset
            audience.list_only(lead(), other, "A few teams only.")
            audience.grant_project(lead(), other, "fraud-detection", reason=WHY)
        paths = ("/requests/new/?asset=secret-model&version=1.0", "/requests/new/?kind=access", "/catalog/")
        for path in paths:
            client.get(path)
        found = []
        for path in paths:
            with CaptureQueriesContext(connection) as seen:
                client.get(path)
            found.append(len(seen))
        counts.append(found)
    assert counts[0] == counts[1] and max(counts[0]) <= 15, counts
