"""The pages of the access explorer: who sees how much of it, and that its cost does not grow."""

import csv
import io
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import Group, Permission
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from catalog.models import USE, AssetUserGrant
from endpoints import services as endpoints
from projects.models import Membership, Project, Source, User
from projects.principal import Principal
from tests.approvals.stage_kit import lend
from tests.conftest import Org
from tests.factories import make_asset, make_endpoint, make_version

pytestmark = [pytest.mark.slow, pytest.mark.django_db]
ClientFor = Callable[[Any], Client]


@pytest.fixture(autouse=True)
def _no_broker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("endpoints.nudge.current_app", type("Broker", (), {"send_task": lambda *a, **k: None})())


def text(response: Any) -> str:
    return " ".join(response.content.decode().split())


def test_access_works(org: Org, client_for: ClientFor) -> None:
    page = text(client_for(org.pat).get("/access/?project=fraud-detection"))
    assert "developer of fraud-detection since" in page
    assert "platform engineer on the whole platform" in page
    assert "not on own requests" in page
    assert all(f'id="word-{word}"' in page for word in ("see", "request", "invoke", "manage", "decide"))


def test_a_role_by_single_sign_on_says_so(org: Org, client_for: ClientFor) -> None:
    Membership.objects.filter(user=org.dana).update(source=Source.SSO)
    assert "by single sign-on" in text(client_for(org.pat).get("/access/?user=dana"))


def test_an_owner_sees_the_own_project_and_nothing_of_others(org: Org, client_for: ClientFor) -> None:
    owner = client_for(org.omar)
    assert owner.get("/access/?project=fraud-detection").status_code == 200
    hidden = owner.get("/access/?project=search-ranking")
    unknown = owner.get("/access/?project=no-such-thing")
    assert hidden.status_code == unknown.status_code == 422
    assert text(hidden).count("search-ranking") == text(unknown).count("no-such-thing"), "hidden and unknown look alike"
    stranger = owner.get("/access/?user=cy")
    assert stranger.status_code == 422 and "search-ranking" not in text(stranger)
    make_version(asset=make_asset("model"))
    shown = text(owner.get("/access/?asset=model"))
    assert "dana" in shown and ">cy<" not in shown and "search-ranking" not in shown


@pytest.mark.parametrize("query", ["project=fraud-detection", "user=dana", "user=nobody-at-all", "asset=model"])
def test_a_member_asks_only_about_themselves(org: Org, client_for: ClientFor, query: str) -> None:
    make_version(asset=make_asset("model"))
    assert client_for(org.vic).get(f"/access/?{query}").status_code == 403


def test_everybody_sees_the_own_access_at_once(org: Org, client_for: ClientFor) -> None:
    page = text(client_for(org.vic).get("/access/"))
    assert "Your access" in page and "viewer of fraud-detection since" in page
    assert client_for(org.vic).get("/access/?user=vic&project=fraud-detection").status_code == 200


def test_a_share_shows_as_the_other_project_to_an_owner(org: Org, client_for: ClientFor) -> None:
    endpoint = make_endpoint(org.dana, name="scoring")
    omar = Principal.of(org.omar)
    endpoints.share(omar, endpoints.set_shareable(omar, endpoint, True), org.search, ends_on=None)
    page = text(client_for(org.omar).get("/access/?project=fraud-detection&word=invoke"))
    assert "search-ranking" in page and ">cy<" not in page, "the project is known by the share, its people are not"
    assert "cy" in text(client_for(org.aud).get("/access/?project=fraud-detection&word=invoke"))


def test_every_way_is_listed(org: Org, client_for: ClientFor) -> None:
    """Whoever is a platform engineer and owner keeps access when one of the two is taken away."""
    org.omar.groups.add(Group.objects.get(name="platform-engineers"))
    page = text(client_for(org.aud).get("/access/?user=omar&project=fraud-detection&word=manage"))
    assert "owner of fraud-detection since" in page and "platform engineer on the whole platform" in page


def test_why_names_what_is_missing_and_who_gives_it(org: Org, client_for: ClientFor) -> None:
    client = client_for(org.pat)
    page = text(client.get("/access/why/?user=vic&project=fraud-detection&why=request"))
    assert "vic is viewer of fraud-detection" in page and "can make vic developer" in page and "omar" in page
    page = text(client.get("/access/why/?user=vic&project=fraud-detection&why=endpoints.endpoint.suspend"))
    assert "suspend endpoints of fraud-detection" in page
    assert client.get("/access/why/?user=vic&why=no.such.thing").status_code == 422
    assert client.get("/access/why/?user=vic&why=request").status_code == 422, "one object must be named"


def test_why_names_a_grant_that_has_ended(org: Org, client_for: ClientFor) -> None:
    asset = make_version(asset=make_asset("model", access="listed")).asset
    use = Permission.objects.get(codename=USE)
    AssetUserGrant.objects.create(content_object=asset, user=org.vic, permission=use, ends_at=timezone.now())
    page = text(client_for(org.pat).get("/access/why/?user=vic&asset=model&why=see"))
    assert "only for those who are listed" in page and "The own grant ended on" in page and "yasmine" in page


def test_why_says_that_somebody_left(org: Org, client_for: ClientFor) -> None:
    User.objects.filter(pk=org.dana.pk).update(is_active=False, left_at=timezone.now())
    page = text(client_for(org.pat).get("/access/why/?user=dana&project=fraud-detection&why=see"))
    assert "dana is inactive since" in page


def test_csv_holds_the_same_rows(org: Org, client_for: ClientFor) -> None:
    response = client_for(org.pat).get("/access/?project=fraud-detection&format=csv")
    rows = list(csv.DictReader(io.StringIO(response.content.decode())))
    assert response["Content-Type"].startswith("text/csv")
    assert {"who": "dana", "word": "request", "allowed": "yes"}.items() <= next(
        row for row in rows if row["who"] == "dana" and row["word"] == "request"
    ).items()
    assert not any(row["who"] == "vic" and row["word"] == "request" for row in rows)


def test_a_long_list_goes_on(org: Org, client_for: ClientFor) -> None:
    for number in range(130):
        person = User.objects.create(username=f"member-{number:03}")
        Membership.objects.create(project=org.fraud, user=person, role="viewer")
    client = client_for(org.pat)
    first = text(client.get("/access/?project=fraud-detection&word=see"))
    address = first.split("Next ones")[0].rsplit('href="', 1)[1].split('"')[0].replace("&amp;", "&")
    second = text(client.get(address))
    assert "member-000" in first and "member-129" not in first and "member-129" in second and "dana" not in second


@pytest.mark.parametrize(
    "query", ["project=fraud-detection", "asset=model", "user=dana", "asset=model&project=fraud-detection"]
)
@pytest.mark.parametrize("why", [False, True])
def test_the_cost_does_not_grow(org: Org, client_for: ClientFor, query: str, why: bool) -> None:
    make_endpoint(org.dana, version=make_version(asset=make_asset("model")), name="scoring")
    lend(org.ravi, org.dana)
    path = f"/access/?{query}"
    if why:
        path = f"/access/why/?{query}&why=manage" + ("" if "user" in query else "&user=vic")
        path += "&project=fraud-detection" if query == "user=dana" else ""
    client, counts = client_for(org.pat), []
    for many in (10, 200):
        for number in range(many):
            person = User.objects.create(username=f"person-{many}-{number}")
            Membership.objects.create(project=org.fraud, user=person, role="developer")
            if number % 10 == 0:
                Project.objects.create(slug=f"project-{many}-{number}", name="More")
        endpoints.issue_key(Principal.of(org.dana), org.fraud, f"key-{many}", [])
        client.get(path)
        with CaptureQueriesContext(connection) as seen:
            assert client.get(path).status_code == 200
        counts.append(len(seen))
    assert counts[0] == counts[1] <= 15, counts
