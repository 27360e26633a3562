"""Facets are counted once for each state of the catalog, and again after every change."""

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from catalog import facets, search, services
from catalog.listings import refresh
from catalog.models import Asset, Listing
from projects.principal import Principal
from tests.conftest import Org
from tests.factories import lead, make_asset, make_version

pytestmark = pytest.mark.django_db
FILTERS = search.Filters()


def counted(principal: Principal, filters: search.Filters = FILTERS) -> facets.Counted:
    stamp = facets.stamp(principal)
    return facets.count(principal, filters, [], stamp)


def states(principal: Principal) -> dict[str, int]:
    options = [option for facet in counted(principal).facets if facet["key"] == "state" for option in facet["options"]]
    return {option["value"]: option["count"] for option in options}


def test_groups_are_remembered_until_something_changes(org: Org) -> None:
    dana, version = org.principal(org.dana), make_version(asset=make_asset("first"))
    make_version(asset=make_asset("second"))
    assert states(dana) == {"approved": 2}
    with CaptureQueriesContext(connection) as queries:
        assert counted(dana).total == 2
    assert not [row for row in queries if "CASE" in row["sql"]], "nothing is grouped a second time"
    services.deprecate(lead(), version)
    assert states(dana) == {"approved": 1, "deprecated": 1}
    make_version(asset=make_asset("third"))
    assert states(dana) == {"approved": 2, "deprecated": 1}
    Asset.objects.filter(slug="third").delete()
    assert states(dana) == {"approved": 1, "deprecated": 1}


def test_audiences_and_proposers_are_counted_apart(org: Org) -> None:
    make_version(asset=make_asset("public"))
    make_version("draft", asset=make_asset("hidden"))
    assert states(org.principal(org.dana)) == {"approved": 1}
    assert states(org.principal(org.pat)) == {"approved": 1, "draft": 1}
    hidden = Asset.objects.get(slug="hidden")
    hidden.versions.update(proposed_by=org.dana)
    refresh(hidden)
    assert facets.stamp(org.principal(org.dana)).proposed
    assert states(org.principal(org.dana)) == {"approved": 1, "draft": 1}
    assert states(org.principal(org.cy)) == {"approved": 1}


def test_search_words_count_only_what_holds_them(org: Org) -> None:
    dana = org.principal(org.dana)
    for name in ("alpha", "beta"):
        make_version(asset=make_asset(name))
    assert counted(dana).found == 2
    assert counted(dana, search.Filters(q="alpha")).found == 1


def test_a_page_is_one_query_and_the_evidence_another(org: Org) -> None:
    dana = org.principal(org.dana)
    for name in ("alpha", "beta", "gamma"):
        make_version(asset=make_asset(name))
    rows = Listing.objects.visible_to(dana)
    with CaptureQueriesContext(connection) as queries:
        shown = search.shown(rows, "name", 1)
    assert [row.asset.slug for row in shown] == ["beta", "gamma"]
    assert len(queries) == 2
