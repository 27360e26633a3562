"""Search finds what one may see, and says nothing of the rest."""

from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from approvals.policies.active import active
from portal import search
from projects.models import Membership, Project, User
from projects.principal import ANONYMOUS
from tests.approvals.policies import kit
from tests.conftest import Org
from tests.factories import make_asset, make_endpoint, make_request, make_version

pytestmark = pytest.mark.slow

ClientFor = Callable[[Any], Client]


def found(org: Org, person: User, text: str, most: int = search.SHOWN) -> dict[str, list[str]]:
    return {group.title: [hit.name for hit in group.hits] for group in search.find(org.principal(person), text, most)}


def test_it_works_for_every_kind(org: Org, client_for: ClientFor) -> None:
    version = make_version(asset=make_asset("fraud-model", name="Fraud Model"))
    endpoint = make_endpoint(org.dana, version=version, name="fraud-scoring")
    User.objects.filter(pk=org.omar.pk).update(first_name="Fraudo", last_name="Omar")
    page = client_for(org.dana).get("/search/?q=FRAUD").content.decode()
    for href in ("/catalog/fraud-model/", f"/endpoints/{endpoint.pk}/", "/requests/", "/projects/fraud-detection/"):
        assert f'href="{href}' in page, href
    assert "omar (Fraudo Omar)" in page and "owner of fraud-detection" in page


def test_a_stranger_finds_nothing_of_a_project(org: Org, client_for: ClientFor) -> None:
    request = make_request(org.dana, name="secret-plan")
    make_endpoint(org.dana, name="secret-engine")
    make_version("draft", asset=make_asset("secret-draft"))
    assert found(org, org.cy, "secret") == {}
    assert found(org, org.cy, request.number) == {}
    assert found(org, org.cy, "fraud") == {}
    page = client_for(org.cy).get("/search/?q=secret").content.decode()
    assert "Nothing holds “secret”" in page and "secret-" not in page
    assert found(org, org.pat, "secret")["Assets"] == ["Secret Draft"]
    assert {"Endpoints", "Requests"} <= set(found(org, org.aud, "secret"))


def test_a_number_finds_its_request_first(org: Org) -> None:
    first = make_request(org.dana, name="alpha")
    named = [make_request(org.dana, name=f"r-{first.pk}-again-{number}") for number in range(9)]
    for text in (f"R-{first.pk}", f"r-{first.pk}"):
        assert found(org, org.dana, text)["Requests"][0] == f"{first.number} alpha"
    assert named and found(org, org.dana, "R-999999999").get("Requests") is None


def test_people_are_those_of_own_projects_only(org: Org) -> None:
    User.objects.create_user(username="dora-service", is_service=True)
    User.objects.create_user(username="donald", is_active=False)
    assert found(org, org.vic, "an")["People"] == ["dana"]
    assert found(org, org.cy, "dana") == {}
    assert found(org, org.aud, "dana") == {"People": ["dana"]}
    assert found(org, org.pat, "dora-service") == found(org, org.pat, "donald") == {}
    own = search.find(org.principal(org.vic), "dana", 8)[0].hits[0]
    assert own.url == "/projects/fraud-detection/" and own.context == "developer of fraud-detection"
    Membership.objects.create(project=org.search, user=org.dana, role="viewer")
    shared = search.find(org.principal(org.vic), "dana", 8)[0].hits[0]
    assert "search-ranking" not in shared.context, "the other project is none of vic's business"
    assert found(org, org.cy, "dana") == {"People": ["dana"]}


def test_every_word_must_stand_somewhere(org: Org) -> None:
    make_endpoint(org.dana, name="scoring-a")
    assert found(org, org.dana, "scoring fraud")["Endpoints"] == ["scoring-a"]
    assert "Endpoints" not in found(org, org.dana, "scoring search-ranking")


def test_rules_are_found_by_id_and_by_title(org: Org, client_for: ClientFor) -> None:
    for text in ("ast-001", "AST-001", "content pinned"):
        assert "Content is pinned" in found(org, org.cy, text)["Policies"], "whoever is judged by a rule reads it"
    page = client_for(org.dana).get("/search/?q=ast-001").content.decode()
    assert 'href="/policies/rules/ast-001/"' in page and "Content is pinned" in page
    assert found(org, org.dana, "ast-", most=2)["Policies"] == ["Content is pinned", "Weights are signed"]
    group = search.find(org.principal(org.dana), "ast-", 2)[-1]
    assert group.more and group.all_url == "/policies/?q=ast-"
    bundle = search.find(org.principal(org.dana), "gatehouse baseline", 8)[-1].hits[0]
    assert (bundle.name, bundle.url) == ("Gatehouse baseline", "/policies/")
    assert search._policies(ANONYMOUS, ["ast-001"], 8).hits == []


def test_only_the_bundle_that_counts_is_searched(org: Org) -> None:
    kit.publish(org, kit.rule())
    assert "Policies" not in found(org, org.dana, "content pinned")
    now = active()
    rule = now.bundle.rules[0]
    assert found(org, org.dana, rule.id)["Policies"] == [rule.title]
    assert found(org, org.dana, now.version)["Policies"] == [now.bundle.name]


def test_wildcards_are_letters(org: Org) -> None:
    make_endpoint(org.dana, name="scoring-a")
    assert found(org, org.dana, "%%") == found(org, org.dana, "__") == {}


@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        ("", "Type at least two characters"),
        ("q=", "Type at least two characters"),
        ("q=%20%20", "Type at least two characters"),
        ("q=x", "One character is too few"),
        ("q=zzzz", "Nothing holds “zzzz”"),
        ("q=" + "y" * 300, "at most 200 characters"),
        ("q=%00%00", "Type at least two characters"),
        ("q=%3Cscript%3Ealert(1)%3C/script%3E", "&lt;script&gt;alert(1)"),
    ],
)
def test_what_the_page_says_when_there_is_nothing(org: Org, client_for: ClientFor, query: str, sentence: str) -> None:
    page = client_for(org.dana).get(f"/search/?{query}").content.decode()
    assert sentence in page and "<script>alert" not in page


def test_each_kind_is_cut_and_says_where_the_rest_is(org: Org, client_for: ClientFor) -> None:
    for number in range(10):
        make_version(asset=make_asset(f"tiny-{number}"))
    page = client_for(org.dana).get("/search/?q=tiny").content.decode()
    assert page.count('href="/catalog/tiny-') == 8
    assert 'href="/catalog/?q=tiny"' in page and "The first 8" in page


def test_htmx_gets_a_few_suggestions(org: Org, client_for: ClientFor) -> None:
    for number in range(10):
        make_version(asset=make_asset(f"tiny-{number}"))
    page = client_for(org.dana).get("/search/?q=tiny", headers={"HX-Request": "true"}).content.decode()
    assert "<html" not in page and page.count("data-suggestion") == 4 and 'href="/search/?q=tiny"' in page
    assert client_for(org.dana).get("/search/?q=t", headers={"HX-Request": "true"}).content.strip() == b""


def test_queries_do_not_grow(org: Org, client_for: ClientFor) -> None:
    def queries() -> int:
        with CaptureQueriesContext(connection) as seen:
            search.find(org.principal(org.dana), "fraud", 8)
        return len(seen)

    def grow(numbers: range) -> None:
        for number in numbers:
            person = User.objects.create_user(username=f"fraud-{number}")
            Membership.objects.create(project=org.fraud, user=person, role="viewer")
            project = Project.objects.create(slug=f"fraud-{number}", name="More")
            Membership.objects.create(project=project, user=org.dana, role="viewer")
            make_endpoint(org.dana, name=f"fraud-{number}", version=make_version(asset=make_asset(f"fraud-{number}")))

    grow(range(2))
    few = queries()
    grow(range(2, 14))
    assert queries() == few <= 9
