"""History of an asset: what happened, before and after, by whom, and what is not everybody's to read."""

import re

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext

from audit.models import Row
from audit.reading import about
from audit.services import record
from catalog import audience, services
from catalog.specs import AssetSpec, VersionSpec
from tests.catalog.test_services import ASSET, VERSION
from tests.factories import make_asset, make_version

pytestmark = pytest.mark.slow
URL = "/catalog/tiny/?tab=history"


@pytest.fixture
def asset(org):
    """Loaded by pat, changed, granted to a project, reviewed by yasmine."""
    pat = org.principal(org.pat)
    asset, (version,) = services.load_asset(pat, AssetSpec.model_validate(ASSET))
    services.load_asset(pat, AssetSpec.model_validate({**ASSET, "summary": "Another summary."}))
    audience.grant_project(pat, asset, "search-ranking", reason="Secret plans of the search team.")
    services.submit(pat, version)
    services.approve(org.principal(org.yasmine), version)
    return asset


def lines(client, url=URL):
    response = client.get(url)
    assert response.status_code == 200
    return response.context["history"], response.content.decode()


def test_before_after_message_when_and_who(org, asset, client_for):
    version = asset.versions.get()
    services.block(org.principal(org.yasmine), version, "A finding in the weights.")
    found, page = lines(client_for(org.pat))
    block = found[0]
    assert (block["words"], block["version"], block["who"]) == ("Blocked", version.version, "yasmine")
    assert block["reason"] == "A finding in the weights." and "A finding in the weights." in page
    assert {"name": "state", "old": "approved", "new": "blocked"} in block["fields"]
    changed = next(row for row in found if row["words"] == "Card changed")
    assert {"name": "summary", "old": ASSET["summary"], "new": "Another summary."} in changed["fields"]
    assert found[-1]["words"] == "Asset added" or found[-1]["at"] <= found[0]["at"]
    assert [row["id"] for row in found] == sorted((row["id"] for row in found), reverse=True)


def test_names_are_for_those_who_read_the_audit(org, asset, client_for):
    for person in ("pat", "yasmine", "aud"):
        found, page = lines(client_for(getattr(org, person)))
        assert {"pat", "yasmine"} <= {row["who"] for row in found}
        assert "Secret plans of the search team." in page
    for person in ("dana", "cy", "vic"):
        found, page = lines(client_for(getattr(org, person)))
        assert {row["who"] for row in found} == {"a platform engineer", "a governance lead"}
        assert "Secret plans" not in page and "yasmine" not in page and "search-ranking" not in str(found)


def test_everybody_reads_the_own_name(org, client_for):
    """A proposer sees what they did."""
    version = make_version("draft", asset=make_asset("tiny", proposed_by=org.dana), proposed_by=org.dana)
    with transaction.atomic():
        record("catalog.create_version", by=org.principal(org.dana), obj=version, after={"version": "1.0"})
    found, _ = lines(client_for(org.dana))
    assert {row["who"] for row in found if row["words"] == "Version added"} == {"dana"}
    assert client_for(org.cy).get(URL).status_code == 404


def test_drafts_of_others_leave_no_trace(org, asset, client_for):
    services.add_version(
        org.principal(org.pat), asset, VersionSpec.model_validate({**VERSION, "version": "9.9-secret"})
    )
    _, page = lines(client_for(org.dana))
    assert "9.9-secret" not in page
    assert "9.9-secret" in lines(client_for(org.pat))[1]


def test_older_ones_are_a_page_away_and_none_is_lost(org, asset, client_for):
    version = asset.versions.get()
    with transaction.atomic():
        for number in range(60):
            record("catalog.change_asset", by=org.principal(org.pat), obj=asset, after={"summary": str(number)})
        record("catalog.collect_evidence", by=org.principal(org.pat), obj=version, after={"verdicts": {}})
    client, seen, url = client_for(org.pat), [], URL
    for _ in range(10):
        found, page = lines(client, url)
        seen += [row["id"] for row in found]
        older = re.search(r'href="([^"]*before=\d+)" rel="next"', page)
        if older is None:
            break
        url = older.group(1).replace("&amp;", "&")
    wanted = Row.objects.filter(object_kind__in=["asset", "version"]).order_by("-id")
    assert seen == list(wanted.values_list("id", flat=True)) and len(seen) > 60


@pytest.mark.parametrize("before", ["x", "-1", "1e9", "9" * 40, "%00", "١٢", "0"])
def test_a_strange_cursor_is_no_error(org, asset, client_for, before):
    assert client_for(org.dana).get(f"{URL}&before={before}").status_code == 200


def test_rows_about_objects_come_in_order_with_a_bounded_number_of_queries(org, asset, django_assert_num_queries):
    version = asset.versions.get()
    with CaptureQueriesContext(connection) as queries:
        found = about({"asset": [str(asset.pk)], "version": [str(version.pk)]}, most=3)
    assert len(queries) == 2 and len(found) == 3
    older = about({"asset": [str(asset.pk)], "version": [str(version.pk)]}, before=found[-1].id, most=3)
    assert older[0].id < found[-1].id
    assert about({"asset": []}, most=3) == []
    assert (
        about({"asset": [str(asset.pk)]}, most=9, actions=["catalog.create_asset"])[0].action == "catalog.create_asset"
    )
