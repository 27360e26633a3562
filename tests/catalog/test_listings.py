"""Listings are what the rows say: after every step of the catalog, for every kind of reader."""

from importlib import import_module

import pytest
from django.apps import apps
from django.db import connection
from django.test.utils import CaptureQueriesContext

from audit.models import Row
from catalog import listings, services
from catalog.models import STATE_ORDER, Asset, Listing, Version, VersionState
from catalog.specs import AssetSpec
from projects.models import User
from tests.catalog.test_services import ASSET
from tests.factories import lead, make_asset, make_version

pytestmark = pytest.mark.slow


def truth(principal):
    """What a reader's list shows, asked of the rows themselves."""
    versions = Version.objects.visible_to(principal)
    shown = {}
    for asset in Asset.objects.visible_to(principal):
        mine = [item for item in versions if item.asset_id == asset.pk]
        best = min(mine, key=lambda item: (STATE_ORDER.index(VersionState(item.state)), -item.pk), default=None)
        shown[asset.slug] = best and (best.version, best.state)
    return shown


def listed(principal):
    rows = Listing.objects.visible_to(principal).select_related("asset", "version")
    assert len({row.asset_id for row in rows}) == len(rows), "an asset stands once in a list"
    return {row.asset.slug: row.version and (row.version.version, row.state) for row in rows}


def agree(org):
    for person in (org.dana, org.pat, org.aud, org.cy):
        assert listed(org.principal(person)) == truth(org.principal(person)), person


def test_every_step_of_a_version_is_followed(org):
    asset = make_asset("tiny")
    agree(org)
    version = make_version("draft", asset=asset)
    agree(org)
    by = lead()
    for verb, more in (
        ("submit", {}), ("approve", {}), ("deprecate", {}), ("block", {"reason": "for a test"}), ("submit", {}),
    ):  # fmt: skip
        getattr(services, verb)(by, version, **more)
        agree(org)
    make_version(asset=asset, version="2.0")
    make_version("in_review", asset=asset, version="3.0")
    agree(org)
    assert listed(org.principal(org.dana))["tiny"] == ("2.0", "approved")


def test_loading_and_changing_the_text_is_followed(org):
    by = org.principal(org.pat)
    asset, added = services.load_asset(by, AssetSpec.model_validate(ASSET))
    agree(org)
    row = Listing.objects.get(asset=asset, audience="reviewers")
    assert row.parameters == added[0].needs["parameters"] and row.evidence in {"pass", "warn", "fail"}
    services.load_asset(by, AssetSpec.model_validate({**ASSET, "summary": "Speaks Frisian", "tasks": ["chat", "code"]}))
    row = Listing.objects.get(asset=asset, audience="reviewers")
    assert "frisian" in row.text and row.tasks == "|chat|code|"


def test_a_proposer_who_is_no_reviewer_sees_the_own_proposal(org):
    asset = make_asset("mine", proposed_by=org.dana)
    agree(org)
    assert listed(org.principal(org.dana)) == {"mine": None} and listed(org.principal(org.vic)) == {}
    make_version("draft", asset=asset, proposed_by=org.dana)
    agree(org)
    make_version(asset=asset, version="2.0")
    agree(org)
    assert listed(org.principal(org.dana))["mine"] == ("2.0", "approved")
    User.objects.filter(pk=org.dana.pk).delete()
    assert not Listing.objects.filter(audience="own").exists()


def test_the_worst_of_the_latest_findings_counts(org):
    version = make_version()
    when = {"tool": "t", "summary": "s", "collected_at": version.created_at}
    version.evidence.create(kind="licence", verdict="fail", **when)
    version.evidence.create(kind="licence", verdict="pass", **when)
    version.evidence.create(kind="card", verdict="warn", **when)
    listings.refresh(version.asset)
    assert Listing.objects.get(asset=version.asset, audience="public").evidence == "warn"


def test_a_refused_step_leaves_the_listing_as_it_was(org):
    version = make_version()
    before = list(Listing.objects.values())
    with pytest.raises(Exception, match="only from"):
        services.approve(lead(), version)
    assert list(Listing.objects.values()) == before


def test_refreshing_costs_the_same_whatever_the_number_of_versions(org):
    asset = make_asset("tiny")

    def queries():
        with CaptureQueriesContext(connection) as seen:
            listings.refresh(asset)
        return len(seen)

    make_version(asset=asset, version="0.1")
    few = queries()
    for number in range(9):
        make_version(asset=asset, version=f"1.{number}")
    assert queries() == few
    assert not Row.objects.filter(action__contains="listing").exists()


def test_the_name_of_the_compare_page_is_taken(org):
    with pytest.raises(ValueError, match="Choose another one"):
        AssetSpec.model_validate({**ASSET, "slug": "compare"})


def test_an_upgrade_fills_the_listings(org):
    """The migration works out from the rows what the services would have written."""
    make_version(asset=make_asset("tiny", proposed_by=org.dana))
    make_version("draft", asset=make_asset("other"), proposed_by=org.dana)
    columns = [field.attname for field in Listing._meta.concrete_fields if field.attname != "id"]
    kept = sorted(Listing.objects.values_list(*columns), key=str)
    assert len(kept) == 4
    Listing.objects.all().delete()
    import_module("catalog.migrations.0004_fill_listings").fill(apps, None)
    assert sorted(Listing.objects.values_list(*columns), key=str) == kept
