"""The form of a pool's shares: who may use it, what it keeps of what was typed, and that nobody's change is lost."""

import re
from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from audit.models import Row
from audit.services import system
from portal.errors import PreconditionFailed
from portal.http import etag
from projects.models import Project
from quotas import pools, services, shares
from quotas.models import Pool, Share
from quotas.share_form import MOST_ROWS
from tests.conftest import Org

pytestmark = pytest.mark.django_db
ClientFor = Callable[..., Client]
PAGE = "/capacity/shared-gpu/shares/"


@pytest.fixture
def pool(org: Org) -> Pool:
    return Pool.objects.create(slug="shared-gpu", name="Shared", cluster="local", limit=8, observed=8)


@pytest.fixture
def pat(org: Org, client_for: ClientFor) -> Client:
    return client_for(org.pat)


def values(client: Client) -> dict[str, str]:
    """What a browser would send of the form as it stands."""
    text = client.get(PAGE).content.decode()
    found = dict(re.findall(r'<input type="(?:text|hidden)"(?: id="[^"]*")? name="([^"]*)" value="([^"]*)"', text))
    found["give_back"] = re.findall(r'<option value="([^"]*)" selected', text)[0]
    return {name: value.replace("&quot;", '"') for name, value in found.items() if name != "csrfmiddlewaretoken"}


def send(client: Client, form: dict[str, str], **changes: str) -> Any:
    return client.post(PAGE, form | {name.replace("__", "-"): value for name, value in changes.items()})


def test_an_engineer_agrees_on_shares(org: Org, pool: Pool, pat: Client) -> None:
    assert "/capacity/shared-gpu/shares/" in pat.get("/capacity/").content.decode()
    form = values(pat)
    assert form["nominal-fraud-detection"] == "" and form["grace_hours"] == "24" and form["give_back"] == "not-prod"
    typed = {"nominal-fraud-detection": " 4 ", "weight-search-ranking": "2", "borrowing_limit-search-ranking": "0"}
    answer = send(pat, form | typed, give_back="any", grace_hours="48")
    assert (answer.status_code, answer["Location"]) == (302, "/capacity/#shares-shared-gpu")
    pool.refresh_from_db()
    assert (pool.give_back, pool.grace_hours) == ("any", 48)
    assert shares.agreed(pool) == [
        {"project": "fraud-detection", "weight": 1, "nominal": 4, "borrowing_limit": None},
        {"project": "search-ranking", "weight": 2, "nominal": None, "borrowing_limit": 0},
    ]
    row = Row.objects.get(action="quotas.change_pool")
    assert row.actor == org.principal(org.pat).key and '"nominal":4' in row.after.replace(" ", "")
    again = values(pat)
    assert send(pat, again).status_code == 302 and Row.objects.filter(action="quotas.change_pool").count() == 1
    emptied = {name: "" for name in again if name.endswith(("-detection", "-ranking"))}
    assert send(pat, again | emptied).status_code == 302 and not Share.objects.exists()


def test_who_waits_is_served_when_the_shares_change(org: Org, pool: Pool, pat: Client) -> None:
    by = org.principal(org.pat)
    pools.change_pool(by, pool, shares=[{"project": org.search.slug, "nominal": 2, "borrowing_limit": 0}])
    waiting = services.reserve(system("test"), pool, 3, holder=("endpoint", "a"), project=org.search)
    assert waiting.state == "waiting" and "share 2, holds 0, waits for 3" in pat.get(PAGE).content.decode()
    assert send(pat, values(pat), **{"nominal__search-ranking": "3"}).status_code == 302
    waiting.refresh_from_db()
    assert waiting.state == "held"


def test_only_engineers_have_the_form(org: Org, pool: Pool, client_for: ClientFor) -> None:
    for person in (org.dana, org.omar, org.yasmine, org.cy):
        client = client_for(person)
        assert PAGE not in client.get("/capacity/").content.decode()
        assert client.get(PAGE).status_code == client.post(PAGE, {"give_back": "any"}).status_code == 403
    assert client_for(org.pat).get("/capacity/no-such/shares/").status_code == 404
    pool.refresh_from_db()
    assert pool.give_back == "not-prod"


def test_an_old_proof_is_asked_for_again(org: Org, pool: Pool, client_for: ClientFor) -> None:
    client = client_for(org.pat, seconds_ago=3600)
    answer = send(client, values(client), give_back="any")
    pool.refresh_from_db()
    assert answer.status_code == 302 and "/capacity/" not in answer["Location"].partition("?")[0]
    assert pool.give_back == "not-prod"


def test_what_is_wrong_stands_at_its_field_and_nothing_typed_is_lost(org: Org, pool: Pool, pat: Client) -> None:
    typed = {
        "weight-fraud-detection": "101", "nominal-search-ranking": "two", "borrowing_limit-search-ranking": "3",
        "grace_hours": "721",
    }  # fmt: skip
    answer = send(pat, values(pat) | typed)
    text = answer.content.decode()
    assert answer.status_code == 422 and not Share.objects.exists()
    for name, sentence in (
        ("weight-fraud-detection", "weight of fraud-detection is 101; it must be a whole number between 0 and 100."),
        ("nominal-search-ranking", "nominal of search-ranking is two; it must be a whole number between 0"),
    ):
        assert text.count(sentence) == 2 and f'href="#id_{name}"' in text
        assert re.search(f'id="id_{name}"[^>]* value="{typed[name]}"[^>]* aria-invalid="true"', text)
    assert 'name="borrowing_limit-search-ranking" value="3"' in text and "grace_hours is 721" in text
    for changes, says in (
        ({"grace_hours": ""}, "grace_hours is empty; it must be a whole number between 0 and 720."),
        ({"grace_hours": "-1"}, "grace_hours is -1;"), ({"give_back": "prod"}, "give_back must be one of"),
        ({"nominal-no-such": "1"}, "There is no project no-such."),
    ):  # fmt: skip
        answer = send(pat, values(pat) | changes)
        assert answer.status_code == 422 and says in answer.content.decode()
    answer = send(pat, values(pat), **{"nominal__fraud-detection": "5", "nominal__search-ranking": "4"})
    assert answer.status_code == 409 and "add up to 9, and shared-gpu has 8. Lower them" in answer.content.decode()
    assert 'name="nominal-search-ranking" value="4"' in answer.content.decode() and not Share.objects.exists()


def test_nobody_overwrites_what_somebody_else_has_changed(org: Org, pool: Pool, pat: Client) -> None:
    mine = values(pat)
    pools.change_pool(org.principal(org.ravi), pool, shares=[{"project": org.fraud.slug, "nominal": 6}], grace_hours=2)
    answer = send(pat, mine, **{"weight__search-ranking": "3"})
    text = answer.content.decode()
    assert answer.status_code == 412 and "Somebody has changed the shares of shared-gpu" in text
    assert 'name="weight-search-ranking" value="3"' in text, "what was typed stays"
    assert "Now: 6." in text and "Now: 2." in text, "and what the other one saved stands beside it"
    assert [one["nominal"] for one in shares.agreed(pool)] == [6]
    assert send(pat, {name: value for name, value in mine.items() if name != "version"}).status_code == 412


def test_many_projects_have_no_row_until_they_are_named(
    org: Org, pool: Pool, pat: Client, django_assert_max_num_queries: Any
) -> None:
    Project.objects.bulk_create(Project(slug=f"p{number:03}", name="P") for number in range(MOST_ROWS))
    services.reserve(system("test"), pool, 1, holder=("endpoint", "a"), project=org.fraud)
    with django_assert_max_num_queries(15):
        form = values(pat)
    assert "nominal-fraud-detection" in form and "nominal-p007" not in form and form["another"] == ""
    answer = send(pat, form, another="nobody", weight__="2")
    text = answer.content.decode()
    assert answer.status_code == 422 and 'href="#id_another"' in text and 'name="weight-" value="2"' in text
    answer = send(pat, form, weight__="2")
    assert answer.status_code == 422 and "names its project" in answer.content.decode()
    assert send(pat, form, another="p007", weight__="2").status_code == 302
    assert [(one["project"], one["weight"]) for one in shares.agreed(pool)] == [("p007", 2)]
    assert values(pat)["weight-p007"] == "2"
    answer = send(pat, values(pat), another="p007", weight__="3")
    assert answer.status_code == 422 and "shares names p007 twice" in answer.content.decode()
    Share.objects.bulk_create(Share(pool=pool, project=one) for one in Project.objects.exclude(slug="p007"))
    text = pat.get(PAGE).content.decode()
    assert "PATCH /api/v1/pools/shared-gpu" in text and "Save shares" not in text


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
def test_of_several_at_once_one_saves(
    org: Org, pool: Pool, file_database: None, in_threads: Callable[..., list[Any]]
) -> None:
    by = org.principal(org.pat)
    version = etag(pools.terms(by, pool))

    def save(number: int) -> bool:
        try:
            pools.change_terms(by, pool, version, shares=[{"project": org.fraud.slug, "nominal": number + 1}])
        except PreconditionFailed:
            return False
        return True

    saved = in_threads(6, save)
    assert saved.count(True) == 1 and Row.objects.filter(action="quotas.change_pool").count() == 1
    assert [one["nominal"] for one in shares.agreed(pool)] == [saved.index(True) + 1]
