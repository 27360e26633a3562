"""Who answers for an endpoint, and who else may call it: transfer, shares, what a share opens and what it does not."""

import datetime as dt
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.utils import timezone

from audit.models import Row
from catalog import audience
from endpoints import services, sharing
from endpoints.models import Endpoint, Event, Phase, Revision, Share
from endpoints.reading import endpoint_or_404, names_of
from portal import crypto
from portal.errors import Conflict, Forbidden, Invalid, NotFound
from portal.states import move
from projects import epoch
from projects.models import Membership, Notification, Role
from projects.permissions import can, visible
from projects.principal import Principal
from tests import factories
from tests.conftest import Org
from tests.endpoints.endpoint_kit import open_demo
from tests.endpoints.gateway_kit import Engine, Running, ordinary, serving, until

pytestmark = [pytest.mark.slow, pytest.mark.django_db(transaction=True)]
FAR = dt.date(2099, 1, 1)


def ready(endpoint: Endpoint, url: str = "http://127.0.0.1:9") -> Endpoint:
    """As the worker leaves it."""
    routes = [{"url": url, "key": crypto.encrypt("engine-key"), "instance": "0"}]
    assert move(Endpoint.objects.filter(pk=endpoint.pk), Phase.PENDING, Phase.READY, field="phase", upstreams=routes)
    epoch.bump()
    endpoint.refresh_from_db()
    return endpoint


@pytest.fixture
def scoring(org: Org) -> Endpoint:
    """A ready, shareable endpoint of fraud-detection."""
    return services.set_shareable(Principal.of(org.omar), ready(open_demo(org.fraud)), True)


@pytest.fixture
def share(org: Org, scoring: Endpoint) -> Share:
    return services.share(Principal.of(org.omar), scoring, org.search, ends_on=FAR, reason="Ranking needs scores.")


def test_sharing_leaves_event_audit_row_and_word(org: Org, scoring: Endpoint, share: Share) -> None:
    row = Row.objects.get(action="endpoints.share")
    assert '"project":"search-ranking"' in row.after and row.project == "fraud-detection"
    assert Event.objects.get(code="shared").sentence == "omar shared it with search-ranking until 2099-01-01."
    [word] = Notification.objects.filter(kind="endpoint.shared").select_related("person")
    assert word.person == org.cy and word.title.startswith("search-ranking may call fraud-detection/")
    again = services.share(Principal.of(org.omar), scoring, org.search, ends_on=None)
    share.refresh_from_db()
    assert share.ended_at is not None and list(sharing.living_shares()) == [again]


def test_a_share_opens_state_and_address_and_nothing_else(org: Org, scoring: Endpoint, share: Share) -> None:
    cy = Principal.of(org.cy)
    assert list(visible(cy, Endpoint.objects.all())) == [scoring] and can(cy, "view", scoring)
    assert endpoint_or_404(cy, scoring.pk, "view") == scoring
    with pytest.raises(NotFound):
        endpoint_or_404(cy, scoring.pk)
    for action in ("inspect", "suspend", "scale", "share", "transfer", "delete"):
        assert not can(cy, action, scoring) and not visible(cy, Endpoint.objects.all(), action).exists()
    assert not visible(cy, Revision.objects.all()).exists() and not visible(cy, Event.objects.all()).exists()
    assert not visible(cy, Share.objects.all()).exists() and list(sharing.shared_with(cy)) == [share]
    with pytest.raises(Forbidden):
        services.suspend(cy, scoring)
    services.unshare(Principal.of(org.omar), share)
    assert not visible(cy, Endpoint.objects.all()).exists() and not can(cy, "view", scoring)
    assert not sharing.shared_with(cy).exists()
    with pytest.raises(NotFound):
        services.suspend(cy, scoring)


def test_a_share_that_has_passed_its_last_day_opens_nothing(org: Org, scoring: Endpoint, share: Share) -> None:
    Share.objects.update(ends_on=timezone.now().date() - dt.timedelta(days=1))
    cy = Principal.of(org.cy)
    assert not visible(cy, Endpoint.objects.all()).exists() and not can(cy, "view", scoring)
    Share.objects.update(ends_on=timezone.now().date())
    assert visible(cy, Endpoint.objects.all()).exists()  # its last day is a whole day


def test_a_credential_of_a_project_sees_that_projects_shares_only(org: Org, scoring: Endpoint, share: Share) -> None:
    third = org.search.__class__.objects.create(slug="third", name="Third")
    Membership.objects.create(project=third, user=org.cy, role=Role.OWNER)
    inside, outside = (Principal.of(org.cy, project_id=project.pk) for project in (org.search, third))
    assert can(inside, "view", scoring) and list(visible(inside, Endpoint.objects.all())) == [scoring]
    assert not can(outside, "view", scoring) and not visible(outside, Endpoint.objects.all()).exists()
    assert not sharing.shared_with(outside).exists()
    bound = Principal.of(org.pat, project_id=third.pk)
    assert not visible(bound, Endpoint.objects.all()).exists()


def test_bounds_of_sharing(org: Org, scoring: Endpoint) -> None:
    omar = Principal.of(org.omar)
    with pytest.raises(Forbidden, match="share this endpoint"):
        services.share(Principal.of(org.dana), scoring, org.search, ends_on=FAR)
    with pytest.raises(Invalid, match="whose endpoint it is"):
        services.share(omar, scoring, org.fraud, ends_on=FAR)
    with pytest.raises(Invalid, match="has passed"):
        services.share(omar, scoring, org.search, ends_on=dt.date(2020, 1, 1))
    with pytest.raises(Invalid, match="500"):
        services.share(omar, scoring, org.search, ends_on=FAR, reason="x" * 501)
    services.set_shareable(omar, scoring, False)
    with pytest.raises(Conflict) as refused:
        services.share(omar, scoring, org.search, ends_on=FAR)
    assert refused.value.code == "not_shareable" and not Share.objects.exists()
    services.set_shareable(omar, scoring, True)
    share = services.share(omar, scoring, org.search, ends_on=FAR)
    services.unshare(omar, share)
    with pytest.raises(Conflict, match="has ended already"):
        services.unshare(omar, share)
    services.delete(omar, scoring)
    with pytest.raises(Conflict, match="is deleted"):
        services.share(omar, scoring, org.search, ends_on=FAR)


def test_shareable_lists_what_answers_and_may_be_asked_for(org: Org, scoring: Endpoint) -> None:
    assert scoring.revision is not None
    version = scoring.revision.version
    assert list(sharing.shareable(version)) == [scoring]
    assert not sharing.shareable(factories.make_version()).exists()
    services.set_shareable(Principal.of(org.omar), scoring, False)
    assert not sharing.shareable(version).exists()
    services.set_shareable(Principal.of(org.omar), scoring, True)
    services.suspend(Principal.of(org.omar), scoring)
    assert not sharing.shareable(version).exists()


def test_a_key_is_bound_to_a_shared_endpoint_by_its_full_name(org: Org, scoring: Endpoint, share: Share) -> None:
    cy, name = Principal.of(org.cy), f"fraud-detection/{scoring.name}"
    key, _ = services.issue_key(cy, org.search, "scores", [name])
    assert names_of([key]) == {str(scoring.pk): name}
    own, _ = services.issue_key(Principal.of(org.dana), org.fraud, "own", [scoring.name])
    assert names_of([own]) == {str(scoring.pk): scoring.name}
    assert names_of([own, key]) == {str(scoring.pk): name}
    for unknown in (scoring.name, "fraud-detection/nothing", "nothing/nothing", f"search-ranking/{scoring.name}"):
        with pytest.raises(Invalid, match="does not have"):
            services.issue_key(cy, org.search, "scores", [unknown])
    services.unshare(Principal.of(org.omar), share)
    with pytest.raises(Invalid, match="does not have"):
        services.issue_key(cy, org.search, "scores", [name])


def test_transfer(org: Org, scoring: Endpoint) -> None:
    dana = Principal.of(org.dana)
    moved = services.transfer(dana, scoring, "omar")
    assert moved.contact == org.omar
    assert Row.objects.get(action="endpoints.transfer").after == '{"contact":"omar"}'
    people = Notification.objects.filter(kind="endpoint.transferred").values_list("person__username", flat=True)
    assert list(people) == ["omar"]
    with pytest.raises(Conflict, match="is the contact"):
        services.transfer(dana, scoring, "omar")
    org.vic.is_active = False
    org.vic.save()
    for name in ("cy", "vic", "nobody", ""):
        with pytest.raises(Invalid, match="no active member of fraud-detection"):
            services.transfer(dana, scoring, name)
    for name in ("x" * 500, "da\0na"):  # PostgreSQL cannot even look for the second
        with pytest.raises(Invalid, match=r"contact (has 500 characters|holds a control character)"):
            services.transfer(dana, scoring, name)
    with pytest.raises(NotFound):
        services.transfer(Principal.of(org.cy), scoring, "dana")


# --- The REST API


@pytest.fixture
def tag(api_for: Callable[..., Any], org: Org, scoring: Endpoint) -> Callable[[], str]:
    """The ETag of the endpoint now."""
    reader = api_for(org.omar, "endpoints:read")
    return lambda: str(reader.get(f"/endpoints/{scoring.pk}")["ETag"])


def test_api_changes_contact_and_shareable(
    org: Org, scoring: Endpoint, api_for: Callable[..., Any], tag: Callable[[], str]
) -> None:
    omar, dana = (api_for(person, "endpoints:read", "endpoints:write") for person in (org.omar, org.dana))
    path = f"/endpoints/{scoring.pk}"
    assert omar.patch(path, {"shareable": False}).status_code == 428
    assert omar.patch(path, {}, If_Match="*").status_code == 422
    old = tag()
    answer = omar.patch(path, {"shareable": False, "contact": "dana"}, If_Match=old)
    assert answer.status_code == 200 and answer.json()["contact"] == "dana" and answer.json()["shareable"] is False
    assert omar.patch(path, {"shareable": True}, If_Match=old).status_code == 412
    assert dana.patch(path, {"shareable": True}, If_Match=tag()).status_code == 403
    refused = dana.patch(path, {"contact": "cy"}, If_Match=tag())
    assert refused.status_code == 422 and refused.json()["errors"][0]["field"] == "contact"
    assert dana.patch(path, {"contact": "omar"}, If_Match=tag()).json()["contact"] == "omar"


def test_api_of_shares(org: Org, scoring: Endpoint, api_for: Callable[..., Any]) -> None:
    omar, cy = (api_for(person, "endpoints:read", "endpoints:write") for person in (org.omar, org.cy))
    path = f"/endpoints/{scoring.pk}"
    assert cy.get(path).status_code == 404
    for body, status in (
        ({"project": "nothing"}, 422), ({"project": "fraud-detection"}, 422), ({}, 422),
        ({"project": "search-ranking", "ends_on": "2020-01-01"}, 422), ({"project": "search-ranking", "x": 1}, 422),
        ({"project": "search-ranking", "ends_on": "2099-01-01"}, 201),
    ):  # fmt: skip
        answer = omar.post(f"{path}/shares", body)
        assert answer.status_code == status, body
    share = answer.json()
    assert share["project"] == "search-ranking" and share["granted_by"] == "omar" and share["authorization"] == "kept"
    seen = cy.get(path).json()
    assert seen["shared"] is True and seen["model"] == f"fraud-detection/{scoring.name}" and seen["phase"] == "ready"
    assert (seen["purpose"], seen["contact"], seen["data_classification"]) == ("", None, "")
    assert [row["id"] for row in cy.get("/endpoints").json()["items"]] == [str(scoring.pk)]
    for part in ("events", "logs", "revisions", "shares"):
        assert cy.get(f"{path}/{part}").status_code == 404
    assert cy.post(f"{path}/suspend").status_code == 404
    assert omar.get(path).json()["shared"] is False
    assert [row["id"] for row in omar.get(f"{path}/shares").json()["items"]] == [share["id"]]
    assert omar.delete(f"{path}/shares/{share['id']}").json()["ended_at"] is not None
    assert omar.delete(f"{path}/shares/{share['id']}").status_code == 409
    assert omar.delete(f"{path}/shares/999999").status_code == 404
    assert cy.get(path).status_code == 404


def test_api_of_scale_and_rollback(org: Org, api_for: Callable[..., Any]) -> None:
    endpoint, dana = ready(open_demo(org.fraud, replicas=2)), api_for(org.dana, "endpoints:read", "endpoints:write")
    path = f"/endpoints/{endpoint.pk}"
    answer = dana.post(f"{path}/scale", {"replicas": 1})
    assert answer.status_code == 202 and (answer.json()["scale"], answer.json()["replicas"]) == (1, 2)
    refused = dana.post(f"{path}/scale", {"replicas": 3})
    assert (refused.status_code, refused.json()["code"]) == (409, "needs_request")
    for body in ({"replicas": 0}, {"replicas": "many"}, {}):
        assert dana.post(f"{path}/scale", body).status_code == 422
    assert dana.post(f"{path}/rollback", {"revision": 1}).json()["code"] == "already_so"
    assert dana.post(f"{path}/rollback", {"revision": 9}).status_code == 422
    assert dana.get(f"{path}/revisions").json()["items"][0]["outcome"] == {"code": "untried", "sentence": ""}


# --- Through the gateway


@pytest.fixture
def engine() -> Iterator[Engine]:
    with Engine(ordinary) as running:
        yield running


@pytest.fixture
def gateway(transactional_db: None, state_dir: Path) -> Iterator[Running]:
    with serving(state_dir / "journal") as running:
        yield running


def test_calls_from_another_project(org: Org, gateway: Running, engine: Engine) -> None:
    omar, cy = Principal.of(org.omar), Principal.of(org.cy)
    endpoint = services.set_shareable(omar, ready(open_demo(org.fraud), engine.url), True)
    other = ready(open_demo(org.fraud), engine.url)
    full = f"fraud-detection/{endpoint.name}"
    _, whole = services.issue_key(cy, org.search, "whole", [])
    chat = {"model": full, "messages": [{"role": "user", "content": "Say hello."}]}
    assert gateway.request(whole, chat).code == "model_not_found"
    share = services.share(omar, endpoint, org.search, ends_on=FAR)
    until(lambda: gateway.request(whole, chat).status == 200, 2)
    record = gateway.records()[-1]
    start = gateway.records("start")[-1]
    facts = start | record
    assert (facts["project_id"], facts["endpoint_id"]) == (org.search.pk, str(endpoint.pk))  # the caller's usage
    _, bound = services.issue_key(cy, org.search, "bound", [full])
    assert gateway.request(bound, chat).status == 200
    models = gateway.request(bound, method="GET", path="/v1/models").json["data"]
    assert [model["id"] for model in models] == [full]
    for name, status in ((full, 200), (endpoint.name, 404)):
        assert gateway.request(bound, method="GET", path=f"/v1/models/{name}").status == status
    for name in (endpoint.name, f"search-ranking/{endpoint.name}", f"fraud-detection/{other.name}"):
        assert gateway.request(bound, chat | {"model": name}).code == "model_not_found"
    _, own = services.issue_key(Principal.of(org.dana), org.fraud, "own", [])
    assert gateway.request(own, chat).status == gateway.request(own, chat | {"model": endpoint.name}).status == 200
    services.unshare(omar, share)
    ended = time.monotonic()
    until(lambda: gateway.request(bound, chat).status == 404, 2)
    assert time.monotonic() - ended < 1
    assert gateway.request(own, chat).status == 200


def test_what_is_only_for_some_is_not_shared_past_them(org: Org, scoring: Endpoint) -> None:
    """An owner cannot open a listed asset to a project that has no grant; a grant of that project opens the way."""
    assert scoring.revision is not None
    pat, asset = Principal.of(org.pat), scoring.revision.version.asset
    audience.list_only(pat, asset, "A pilot.")
    with pytest.raises(Conflict) as refused:
        services.share(Principal.of(org.omar), scoring, org.search, ends_on=None)
    assert refused.value.code == "asset_not_open" and not Share.objects.exists()
    audience.grant_project(pat, asset, "search-ranking", reason="Joins the pilot.")
    assert services.share(Principal.of(org.omar), scoring, org.search, ends_on=None).pk
