"""The tab "Who may use it", its forms, and the same through the API: who reads what, and what is refused."""

import datetime as dt
import re
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from django.utils.html import strip_tags

from audit.models import Row
from catalog import audience
from catalog.models import Access, Asset, AssetProjectGrant, AssetUserGrant
from projects.models import Project
from tests.conftest import ApiClient, Org
from tests.factories import lead, make_asset, make_version

pytestmark = pytest.mark.slow
Clients = Callable[..., Client]
Api = Callable[..., ApiClient]
URL, API = "/catalog/secret-model/", "/catalog/assets/secret-model"
WHY = "The fraud desk tests it."


@pytest.fixture
def asset(org: Org) -> Asset:
    """A listed model, granted to fraud-detection, to a group of vic's and, for a while, to cy."""
    made = make_version(asset=make_asset("secret-model", name="Secret model")).asset
    audience.list_only(lead(), made, "The licence names a few teams.")
    audience.grant_project(lead(), made, "fraud-detection", reason=WHY)
    org.vic.groups.add(Group.objects.create(name="risk analysts"))
    audience.grant_group(lead(), made, "risk analysts", reason="They measure it.")
    made.refresh_from_db()
    return made


def soon(days: int = 5) -> str:
    return (timezone.now() + dt.timedelta(days=days)).date().isoformat()


def text(response: Any, status: int = 200) -> str:
    assert response.status_code == status, response.content[:500]
    return re.sub(r"\s+", " ", strip_tags(response.content.decode()))


def main(response: Any, status: int = 200) -> str:
    """What stands in the page itself, without the frame that names the own projects."""
    html = response.content.decode()
    assert response.status_code == status, html[:500]
    return re.sub(r"\s+", " ", strip_tags(html[html.index("<main") : html.index("</main>")]))


# --- Reading ----------------------------------------------------------------------------------------------------------


def test_it_works(org: Org, asset: Asset, client_for: Clients) -> None:
    page = main(client_for(org.yasmine).get(f"{URL}?tab=access"))
    for words in ("Not for everyone", "fraud-detection", "risk analysts", WHY, "They measure it.", "Take away"):
        assert words in page
    assert "Open it to everyone" in page and "Who is listed" in page


def test_who_is_not_listed_finds_nothing_anywhere(org: Org, asset: Asset, client_for: Clients, api_for: Api) -> None:
    """The same answer as for what does not exist, on every way to it."""
    cy, api = client_for(org.cy), api_for(org.cy, "catalog:read", "catalog:write", "requests:read")
    for path in (URL, f"{URL}?tab=access", f"{URL}?tab=evidence", "/catalog/compare/?v=secret-model@1.0"):
        hidden, unknown = cy.get(path), cy.get(path.replace("secret-model", "no-such-model"))
        assert hidden.status_code == unknown.status_code == 404
        said = [re.sub("Request [0-9a-f]{32}|(secret|no-such)-model", "…", text(one, 404)) for one in (hidden, unknown)]
        assert said[0] == said[1]
    for path in ("/catalog/", "/catalog/?view=table", "/search/?q=secret", "/catalog/?format=csv", "/"):
        assert b"ecret model" not in cy.get(path).content and b"secret-model" not in cy.get(path).content, path
    for path in (API, f"{API}/versions/1.0", f"{API}/grants"):
        hidden, unknown = api.get(path), api.get(path.replace("secret-model", "no-such-model"))
        assert hidden.status_code == unknown.status_code == 404 and hidden.json()["code"] == "not_found"
    assert api.get("/catalog/assets").json()["items"] == []
    for path in (f"{URL}access/", f"{URL}grants/", f"{URL}grants/project/1/end/"):
        assert cy.post(path).status_code == 404
    assert api.post(f"{API}/grants", {"person": "cy", "reason": WHY}).status_code == 404


def test_who_is_listed_reads_only_through_what(org: Org, asset: Asset, client_for: Clients, api_for: Api) -> None:
    """Never to whom else it was granted."""
    audience.grant_project(lead(), asset, "search-ranking", reason="Rankers rank with it.")
    pages = {
        name: main(client_for(getattr(org, name)).get(f"{URL}?tab=access")) for name in ("dana", "vic", "cy", "aud")
    }
    assert "fraud-detection" in pages["dana"] and "Through what you see it" in pages["dana"]
    assert "search-ranking" not in pages["dana"] + pages["vic"] and "risk analysts" not in pages["dana"] + pages["cy"]
    assert "risk analysts" in pages["vic"] and "They measure it." in pages["vic"]
    assert "search-ranking" in pages["cy"] and "fraud-detection" not in pages["cy"]
    assert all("Take away" not in page and "Grant it" not in page for page in pages.values())
    assert all(words in pages["aud"] for words in ("search-ranking", "fraud-detection", "risk analysts"))
    found = {
        name: {item[item["kind"]] for item in api_for(getattr(org, name)).get(f"{API}/grants").json()["items"]}
        for name in ("dana", "vic", "cy", "aud")
    }
    assert found == {
        "dana": {"fraud-detection"},
        "vic": {"fraud-detection", "risk analysts"},
        "cy": {"search-ranking"},
        "aud": {"fraud-detection", "search-ranking", "risk analysts"},
    }


def test_an_asset_for_everyone_says_so(org: Org, client_for: Clients) -> None:
    make_version(asset=make_asset("open-model"))
    page = main(client_for(org.dana).get("/catalog/open-model/?tab=access"))
    assert "Everyone signed in sees it and may ask for it." in page and "Not for everyone" not in page


def test_an_asset_without_a_version_has_the_tab_too(org: Org, client_for: Clients) -> None:
    make_asset("bare-model")
    assert "Keep it for those who are listed" in main(client_for(org.pat).get("/catalog/bare-model/?tab=access"))


def test_the_button_to_request_needs_a_project_that_may(org: Org, asset: Asset, client_for: Clients) -> None:
    """dana builds in a project that is listed; vic sees it only; pat reads it and is in no project."""
    shown = {}
    for name in ("dana", "vic", "pat"):
        html = client_for(getattr(org, name)).get(URL).content.decode()
        shown[name] = "asset=secret-model&amp;version=1.0" in html
        cards = client_for(getattr(org, name)).get("/catalog/").content.decode()
        assert ("asset=secret-model&amp;version=1.0" in cards) == shown[name]
    assert shown == {"dana": True, "vic": False, "pat": False}
    org.search.memberships.create(user=org.pat, role="owner")
    assert "asset=secret-model&amp;version=1.0" not in client_for(org.pat).get(URL).content.decode()


def test_the_tab_costs_the_same_for_many(org: Org, asset: Asset, client_for: Clients) -> None:
    counts = []
    for number in range(2):
        for step in range(3 + number * 40):
            Project.objects.create(slug=f"p-{number}-{step}", name="P")
            audience.grant_project(lead(), asset, f"p-{number}-{step}", reason=WHY)
        client = client_for(org.pat)
        client.get(f"{URL}?tab=access")
        with CaptureQueriesContext(connection) as seen:
            client.get(f"{URL}?tab=access")
        counts.append(len(seen))
    assert counts[0] == counts[1] <= 15


# --- Changing ---------------------------------------------------------------------------------------------------------


def test_granting_on_the_page(org: Org, asset: Asset, client_for: Clients) -> None:
    client = client_for(org.pat)
    data = {"kind": "person", "holder": "cy", "reason": "For the audit.", "ends_on": soon()}
    done = client.post(f"{URL}grants/", data, follow=True)
    assert "cy may see Secret model and ask for it now." in text(done) and "For the audit." in main(done)
    assert client_for(org.cy).get(URL).status_code == 200
    again = client.post(f"{URL}grants/", data)
    assert "cy has been granted secret-model until" in main(again, 409) and "For the audit." in again.content.decode()
    grant = AssetUserGrant.objects.get()
    ask = client.get(f"{URL}grants/person/{grant.pk}/end/")
    assert "Take Secret model away from cy?" in main(ask) and AssetUserGrant.objects.exists()
    assert "cy may no longer ask" in text(client.post(f"{URL}grants/person/{grant.pk}/end/", follow=True))
    assert client_for(org.cy).get(URL).status_code == 404
    assert client.get(f"{URL}grants/person/{grant.pk}/end/").status_code == 404


def test_opening_and_listing_on_the_page(org: Org, asset: Asset, client_for: Clients) -> None:
    client = client_for(org.yasmine)
    assert "Everyone may see Secret model" in text(client.post(f"{URL}access/", {"access": "everyone"}, follow=True))
    refused = client.post(f"{URL}access/", {"access": "listed", "reason": "x"})
    assert "at least 3 characters" in main(refused, 422)
    assert Asset.objects.get(pk=asset.pk).access == Access.EVERYONE
    client.post(f"{URL}access/", {"access": "listed", "reason": "A few teams only."})
    assert Asset.objects.get(pk=asset.pk).access == Access.LISTED
    assert "already" in main(client.post(f"{URL}access/", {"access": "listed", "reason": "Once more."}), 409)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({}, "kind is"),
        ({"kind": "planet", "holder": "mars"}, "choose one of project, group, person"),
        ({"kind": "project", "holder": "", "reason": WHY}, "at least 1"),
        ({"kind": "project", "holder": "<b>x</b>", "reason": WHY}, "there is no such project"),
        ({"kind": "person", "holder": "dana\x00", "reason": WHY, "ends_on": "2099-01-01"}, "365 days"),
        ({"kind": "person", "holder": "dana\x00", "reason": WHY, "ends_on": "soon"}, "write a day like"),
        ({"kind": "project", "holder": "search-ranking", "reason": WHY, "ends_on": "9999-12-31"}, "3,650 days"),
        ({"kind": "group", "holder": "x" * 100_000, "reason": WHY}, "the limit is 150"),
        ({"kind": "group", "holder": "auditors", "reason": "y" * 100_000}, "the limit is 300"),
    ],
)
def test_hostile_forms(org: Org, asset: Asset, client_for: Clients, data: dict[str, str], words: str) -> None:
    response = client_for(org.pat).post(f"{URL}grants/", data)
    html = response.content.decode()
    assert words in main(response, 422) and "<b>x</b>" not in html and len(html) < 100_000
    assert not Row.objects.filter(action__startswith="catalog.grant", actor=org.principal(org.pat).key).exists()


# --- The API ----------------------------------------------------------------------------------------------------------


def test_the_api_grants_lists_and_takes_away(org: Org, asset: Asset, api_for: Api) -> None:
    api = api_for(org.pat, "catalog:read", "catalog:write")
    body = {"person": "cy", "reason": "For the audit.", "ends_on": soon()}
    made = api.post(f"{API}/grants", body, Idempotency_Key="one")
    assert made.status_code == 201
    grant = made.json()
    assert (grant["kind"], grant["person"], grant["ends_on"], grant["granted_by"]) == ("person", "cy", soon(), "pat")
    assert api.post(f"{API}/grants", body, Idempotency_Key="one").json() == grant
    twice = api.post(f"{API}/grants", body)
    assert (twice.status_code, twice.json()["code"]) == (409, "already_granted")
    pages, cursor = [], ""
    for _ in range(4):
        page = api.get(f"{API}/grants?limit=1&cursor={cursor}").json()
        pages += [item["kind"] for item in page["items"]]
        if page["next"] is None:
            break
        cursor = page["next"]
    assert pages == ["project", "group", "person"] and len(api.get(f"{API}/grants").json()["items"]) == 3
    assert api.delete(f"{API}/grants/person/{grant['id']}").status_code == 204
    assert api.delete(f"{API}/grants/person/{grant['id']}").status_code == 404


def test_the_api_opens_and_lists_with_a_precondition(org: Org, asset: Asset, api_for: Api) -> None:
    api = api_for(org.pat, "catalog:read", "catalog:write")
    assert api.patch(API, {"access": "everyone"}).status_code == 428
    tag = api.get(API)["ETag"]
    opened = api.patch(API, {"access": "everyone"}, If_Match=tag)
    assert opened.status_code == 200 and opened.json()["access"] == "everyone" == api.get(API).json()["access"]
    assert api.patch(API, {"access": "listed", "reason": WHY}, If_Match=tag).status_code == 412
    assert api.patch(API, {"access": "everyone"}, If_Match=opened["ETag"]).status_code == 200, (
        "the same changes nothing"
    )
    assert api.patch(API, {"access": "listed"}, If_Match="*").json()["errors"][0]["field"] == "reason"
    assert Row.objects.filter(action="catalog.open_to_everyone").count() == 1


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"reason": WHY}, "project"),
        ({"project": "search-ranking", "person": "cy", "reason": WHY}, "project"),
        ({"project": "search-ranking"}, "reason"),
        ({"project": "search-ranking", "reason": WHY, "ends_on": "0001-01-01"}, "ends_on"),
        ({"project": "search-ranking", "reason": WHY, "ends_on": "9999-12-31"}, "ends_on"),
        ({"project": "search-ranking", "reason": WHY, "ends_on": 5}, "ends_on"),
        ({"project": {"slug": 1}, "reason": WHY}, "project"),
        ({"person": "cy", "reason": WHY}, "ends_on"),
        ({"group": "", "reason": WHY}, "group"),
        ({"group": "\u202e", "reason": WHY}, "group"),
        ({"project": "search-ranking", "reason": WHY, "surprise": 1}, "surprise"),
    ],
)
def test_hostile_bodies(org: Org, asset: Asset, api_for: Api, body: dict[str, Any], field: str) -> None:
    answer = api_for(org.pat, "catalog:read", "catalog:write").post(f"{API}/grants", body)
    assert answer.status_code == 422, answer.content
    assert field in {item["field"].split(".")[0] for item in answer.json()["errors"]}
    assert AssetProjectGrant.objects.count() == 1


@pytest.mark.parametrize("cursor", ["x", "project", "planet.", "project.xyz", "group.%00", "person.W10", "." * 500])
def test_hostile_cursors(org: Org, asset: Asset, api_for: Api, cursor: str) -> None:
    answer = api_for(org.pat).get(f"{API}/grants?cursor={cursor}")
    assert answer.status_code in {200, 422}
    if answer.status_code == 422:
        assert answer.json()["errors"][0]["field"] == "cursor"


def test_hostile_paths(org: Org, asset: Asset, api_for: Api, client_for: Clients) -> None:
    api, client = api_for(org.pat, "catalog:read", "catalog:write"), client_for(org.pat)
    for kind, number in (("planet", 1), ("project", 0), ("project", -1), ("project", 10**30), ("user", 1)):
        assert api.delete(f"{API}/grants/{kind}/{number}").status_code in {404, 422}
        assert client.post(f"{URL}grants/{kind}/{number}/end/").status_code == 404
    other = audience.grant_project(lead(), make_asset("other-model"), "search-ranking", reason=WHY)
    assert api.delete(f"{API}/grants/project/{other.pk}").status_code == 404, "a grant of another asset"
    assert AssetProjectGrant.objects.count() == 2
