"""Whom an asset is for: the services, what each person sees, the end of grants, and two at the same instant."""

import datetime as dt
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import time_machine
from django.contrib.auth.models import Group
from django.db import connection
from django.utils import timezone

from audit.models import Row
from catalog import audience, facets, loader, search, tasks
from catalog.holders import grants_seen, last_day
from catalog.models import (
    Access,
    Asset,
    AssetGroupGrant,
    AssetProjectGrant,
    AssetUserGrant,
    Evidence,
    Listing,
    Version,
)
from catalog.services import collect_evidence
from portal.errors import Conflict, Forbidden, GatehouseError, Invalid, NotFound
from projects.models import Membership, Notification, Preset, User, Where
from projects.permissions import can, visible
from projects.principal import Principal
from tests.catalog.test_loader import MODEL, write
from tests.conftest import Org
from tests.factories import engineer, lead, make_asset, make_version

pytestmark = [pytest.mark.django_db, pytest.mark.slow]  # as a whole: the quick suite has a minute
NOON = dt.datetime(2026, 11, 20, 12, tzinfo=dt.UTC)
DAY = dt.date(2026, 11, 30)
WHY = "The fraud desk tests it."


def today(days: int = 0) -> dt.date:
    return timezone.now().date() + dt.timedelta(days=days)


@pytest.fixture
def asset(org: Org) -> Asset:
    """An approved model that is only for those who are listed."""
    made = make_version(asset=make_asset("secret-model", name="Secret model")).asset
    collect_evidence(engineer(), made.versions.get())
    audience.list_only(lead(), made, "The licence names a few teams.")
    made.refresh_from_db()
    return made


def sees(by: Principal) -> bool:
    """Whether every way to the asset is open; they must agree."""
    rows = {
        "assets": Asset.objects.visible_to(by).filter(slug="secret-model").exists(),
        "versions": Version.objects.visible_to(by).filter(asset__slug="secret-model").exists(),
        "listings": Listing.objects.visible_to(by).filter(asset__slug="secret-model").exists(),
        "rule of assets": visible(by, Asset.objects.filter(slug="secret-model")).exists(),
        "rule of versions": visible(by, Version.objects.filter(asset__slug="secret-model")).exists(),
        "rule of evidence": visible(by, Evidence.objects.filter(version__asset__slug="secret-model")).exists(),
        "one asset": can(by, "view", Asset.objects.get(slug="secret-model")),
        "facets": facets.count(by, search.Filters(), [], facets.stamp(by)).total > 0,
        "facets of a search": facets.count(by, search.Filters(q="secret"), [], facets.stamp(by)).total > 0,
    }
    assert len(set(rows.values())) == 1, rows
    return rows["assets"]


def people(org: Org) -> set[str]:
    names = ("dana", "omar", "vic", "cy", "pat", "yasmine", "aud")
    return {name for name in names if sees(org.principal(getattr(org, name)))}


REVIEWERS = {"pat", "yasmine", "aud"}
FRAUD = {"dana", "omar", "vic"}


# --- Who sees it ------------------------------------------------------------------------------------------------------


def test_only_those_who_are_listed_see_it(org: Org, asset: Asset) -> None:
    assert people(org) == REVIEWERS
    audience.grant_project(lead(), asset, "fraud-detection", reason=WHY)
    assert people(org) == REVIEWERS | FRAUD
    audience.open_to_everyone(lead(), asset)
    assert people(org) == REVIEWERS | FRAUD | {"cy"}
    audience.list_only(lead(), asset, "Back to the list.")
    assert people(org) == REVIEWERS | FRAUD, "the grants were kept"


def test_a_group_and_a_person(org: Org, asset: Asset) -> None:
    group = Group.objects.create(name="risk analysts")
    org.vic.groups.add(group)
    audience.grant_group(lead(), asset, "risk analysts", reason=WHY)
    assert people(org) == REVIEWERS | {"vic"}
    audience.grant_person(lead(), asset, "cy", reason=WHY, ends_on=today(3))
    assert people(org) == REVIEWERS | {"vic", "cy"}
    org.vic.groups.clear()
    assert people(org) == REVIEWERS | {"cy"}


def test_the_listing_is_a_copy_of_the_access(asset: Asset) -> None:
    assert set(Listing.objects.filter(asset=asset).values_list("listed", flat=True)) == {True}
    audience.open_to_everyone(lead(), asset)
    assert set(Listing.objects.filter(asset=asset).values_list("listed", flat=True)) == {False}


def test_a_credential_of_a_project_has_what_the_project_has(org: Org, asset: Asset) -> None:
    """A person's and a group's grant do not travel in a key, nor does what another project was given."""
    Membership.objects.create(project=org.search, user=org.dana, role="developer")
    bound = {one: Principal.of(org.dana, via="key", project_id=one.pk) for one in (org.fraud, org.search)}
    audience.grant_person(lead(), asset, "dana", reason=WHY, ends_on=today(3))
    org.dana.groups.add(Group.objects.create(name="analysts"))
    audience.grant_group(lead(), asset, "analysts", reason=WHY)
    assert sees(org.principal(org.dana)) and sees(Principal.of(org.dana, via="token"))
    assert not sees(bound[org.fraud]) and not sees(bound[org.search])
    audience.grant_project(lead(), asset, "search-ranking", reason=WHY)
    assert sees(bound[org.search]) and not sees(bound[org.fraud])
    assert not sees(Principal.of(org.pat, via="token", project_id=org.fraud.pk)), (
        "no platform door in a project's token"
    )


def test_a_preset_may_review(org: Org, asset: Asset) -> None:
    """Reading the whole catalog is a permission, not a list of groups."""
    Preset.objects.create(slug="model-scout", name="Scout", where=Where.PLATFORM, permissions="catalog.version.review")
    org.cy.groups.add(Group.objects.create(name="model-scout"))
    assert sees(org.principal(org.cy))
    draft = make_version("draft", asset=asset, version="2.0")
    assert Version.objects.visible_to(org.principal(org.cy)).filter(pk=draft.pk).exists()
    with pytest.raises(Forbidden):
        audience.grant_project(org.principal(org.cy), asset, "fraud-detection", reason=WHY)


def test_an_own_proposal_is_not_a_way_around_the_list(org: Org) -> None:
    mine = make_version("draft", asset=make_asset("secret-model", proposed_by=org.dana), proposed_by=org.dana).asset
    by = org.principal(org.dana)
    assert Asset.objects.visible_to(by).count() == Listing.objects.visible_to(by).count() == 1
    audience.list_only(lead(), mine, "Not for everyone.")
    assert Asset.objects.visible_to(by).count() == Listing.objects.visible_to(by).count() == 0


def test_facets_count_what_a_grant_adds(org: Org, asset: Asset) -> None:
    """The groups of the whole audience are remembered; nobody's grants are among them."""
    make_version(asset=make_asset("open-model"))
    audience.grant_project(lead(), asset, "fraud-detection", reason=WHY)
    counts = {}
    for name in ("cy", "dana", "cy", "pat"):
        by = org.principal(getattr(org, name))
        counts[name] = facets.count(by, search.Filters(), [], facets.stamp(by)).total
    assert counts == {"cy": 1, "dana": 2, "pat": 2}


# --- The services -----------------------------------------------------------------------------------------------------


def test_grants_leave_a_row_and_tell_the_holder(org: Org, asset: Asset) -> None:
    audience.grant_project(org.principal(org.pat), asset, "fraud-detection", reason=f"  {WHY} ", ends_on=today(9))
    row = Row.objects.get(action="catalog.grant_project")
    assert (row.object_kind, row.object_id, row.project, row.reason) == ("asset", str(asset.pk), "fraud-detection", WHY)
    assert f'"ends_on":"{today(9)}"' in row.after and '"project":"fraud-detection"' in row.after
    told = Notification.objects.filter(kind="asset.granted")
    assert set(told.values_list("person__username", flat=True)) == {"dana", "omar"}, "who can ask; not the viewer"
    assert told[0].text == WHY and told[0].url == "/catalog/secret-model/"
    grant = AssetProjectGrant.objects.get()
    assert (last_day(grant), grant.granted_by) == (today(9), org.pat)
    audience.revoke(lead(), grant)
    assert not AssetProjectGrant.objects.exists() and Row.objects.filter(action="catalog.revoke").count() == 1
    assert Notification.objects.filter(kind="asset.ended", url="").count() == 2
    with pytest.raises(Conflict, match="no such grant any more"):
        audience.revoke(lead(), grant)


@pytest.mark.parametrize("person", ["dana", "omar", "aud", "cy"])
def test_only_stewards_decide(org: Org, asset: Asset, person: str) -> None:
    by = org.principal(getattr(org, person))
    grant = audience.grant_project(lead(), asset, "fraud-detection", reason=WHY)
    refusal = NotFound if person == "cy" else Forbidden
    for act in (
        partial(audience.open_to_everyone, by, asset),
        partial(audience.list_only, by, asset, WHY),
        partial(audience.grant_person, by, asset, "cy", reason=WHY, ends_on=today(1)),
        partial(audience.revoke, by, grant),
    ):
        with pytest.raises(refusal):
            act()
    assert Row.objects.filter(action__in=["catalog.revoke", "catalog.grant_person"]).count() == 0


@pytest.mark.parametrize(
    ("kind", "name", "more", "field", "words"),
    [
        ("project", "nobodys", {}, "project", "no such project"),
        ("project", "FRAUD\x00", {}, "project", "control character"),
        ("group", "nobodys", {}, "group", "no such group"),
        ("group", "x" * 5000, {}, "group", "150"),
        ("person", "nobody", {"ends_on": 1}, "person", "no such person"),
        ("person", "robot", {"ends_on": 1}, "person", "no such person"),
        ("person", "gone", {"ends_on": 1}, "person", "no such person"),
        ("person", "dana", {}, "ends_on", "365 days"),
        ("person", "dana", {"ends_on": 366}, "ends_on", "365 days from today"),
        ("person", "dana", {"ends_on": -1}, "ends_on", "has passed"),
        ("project", "fraud-detection", {"ends_on": 3651}, "ends_on", "3,650 days"),
        ("project", "fraud-detection", {"ends_on": dt.date.max}, "ends_on", "3,650 days"),
        ("project", "fraud-detection", {"reason": ""}, "reason", "at least 3"),
        ("project", "fraud-detection", {"reason": "x" * 301}, "reason", "301"),
        ("project", "fraud-detection", {"reason": "two\nlines"}, "reason", "control character"),
    ],
)
def test_what_is_wrong_is_said(
    org: Org, asset: Asset, kind: str, name: str, more: dict[str, Any], field: str, words: str
) -> None:
    User.objects.create_user("robot", is_service=True)
    User.objects.create_user("gone", is_active=False)
    days = more.get("ends_on")
    ends_on = today(days) if isinstance(days, int) else days
    with pytest.raises(Invalid, match=words) as caught:
        audience.GRANTS[kind](lead(), asset, name, reason=more.get("reason", WHY), ends_on=ends_on)
    assert list(caught.value.fields) == [field]
    assert not Row.objects.filter(action__startswith="catalog.grant").exists()


def test_twice_is_a_conflict(org: Org, asset: Asset) -> None:
    for kind, name in (("project", "fraud-detection"), ("group", "auditors"), ("person", "cy")):
        audience.GRANTS[kind](lead(), asset, name, reason=WHY, ends_on=today(2))
        with pytest.raises(Conflict, match=f"{name} has been granted secret-model until {today(2)} already") as caught:
            audience.GRANTS[kind](lead(), asset, name, reason=WHY, ends_on=today(3))
        assert caught.value.code == "already_granted"
    with pytest.raises(Conflict, match="only those who are listed already"):
        audience.list_only(lead(), asset, WHY)


# --- The end ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "name"), [("project", "fraud-detection"), ("group", "desk"), ("person", "vic")])
def test_an_expired_grant_never_counts_even_before_the_sweep(org: Org, asset: Asset, kind: str, name: str) -> None:
    org.vic.groups.add(Group.objects.create(name="desk"))
    with time_machine.travel(NOON, tick=False) as clock:
        audience.GRANTS[kind](lead(), asset, name, reason=WHY, ends_on=DAY)
        clock.move_to(dt.datetime(2026, 11, 30, 23, 59, 59, 999_999, dt.UTC))
        assert sees(org.principal(org.vic)), "the whole last day counts"
        clock.move_to(dt.datetime(2026, 12, 1, tzinfo=dt.UTC))
        assert not sees(org.principal(org.vic))
        assert not grants_seen(org.principal(org.pat), asset, kind).exists()
        again = audience.GRANTS[kind](lead(), asset, name, reason=WHY, ends_on=dt.date(2026, 12, 24))
        assert sees(org.principal(org.vic)) and last_day(again) == dt.date(2026, 12, 24)
    assert Row.objects.filter(action="catalog.expire").count() == 1, "the old one was tidied up on the way"


def test_the_sweep_takes_away_what_has_ended(org: Org, asset: Asset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audience, "BATCH", 2)
    with time_machine.travel(NOON, tick=False) as clock:
        for number in range(3):
            user = User.objects.create_user(f"guest-{number}")
            audience.grant_person(lead(), asset, user.username, reason=WHY, ends_on=DAY)
        audience.grant_project(lead(), asset, "fraud-detection", reason=WHY, ends_on=DAY + dt.timedelta(days=1))
        audience.grant_group(lead(), asset, "auditors", reason=WHY)
        assert audience.expire() == 0
        clock.move_to(dt.datetime(2026, 12, 1, tzinfo=dt.UTC))
        tasks.expire()
        assert audience.expire() == 0
    assert not AssetUserGrant.objects.exists()
    assert AssetProjectGrant.objects.count() == AssetGroupGrant.objects.count() == 1
    rows = Row.objects.filter(action="catalog.expire")
    assert rows.count() == 3 and rows[0].actor == "system:catalog" and '"reason":"The fraud desk' in rows[0].before
    told = Notification.objects.filter(kind="asset.ended")
    assert {note.person.username for note in told} == {"guest-0", "guest-1", "guest-2"}
    assert "until 2026-11-30" in told[0].title


# --- At the same instant ----------------------------------------------------------------------------------------------


def at_once(*works: Callable[[], object]) -> list[str]:
    """Run `works` at the same instant, each on a connection of its own; the outcomes, sorted."""
    barrier = threading.Barrier(len(works))

    def run(work: Callable[[], object]) -> str:
        barrier.wait(timeout=10)
        try:
            work()
        except GatehouseError as error:
            return error.code
        finally:
            connection.close()
        return "done"

    with ThreadPoolExecutor(len(works)) as pool:
        return sorted(task.result(timeout=60) for task in [pool.submit(run, work) for work in works])


@pytest.mark.django_db(transaction=True)
def test_two_grants_at_the_same_instant(org: Org, asset: Asset) -> None:
    acts = [
        partial(audience.grant_project, org.principal(user), asset, "fraud-detection", reason=WHY)
        for user in (org.pat, org.ravi, org.yasmine)
    ]
    assert at_once(*acts) == ["already_granted", "already_granted", "done"]
    assert AssetProjectGrant.objects.count() == 1 == Row.objects.filter(action="catalog.grant_project").count()


@pytest.mark.django_db(transaction=True)
def test_two_sweeps_and_a_revocation_at_the_same_instant(org: Org, asset: Asset) -> None:
    with time_machine.travel(NOON):
        grant = audience.grant_person(lead(), asset, "cy", reason=WHY, ends_on=DAY)
        AssetUserGrant.objects.update(ends_at=NOON - dt.timedelta(days=1))
        grant.refresh_from_db()
        outcomes = at_once(audience.expire, audience.expire, partial(audience.revoke, lead(), grant))
    assert set(outcomes) <= {"done", "already_so"} and not AssetUserGrant.objects.exists()
    rows = Row.objects.filter(action__in=["catalog.expire", "catalog.revoke"])
    assert rows.count() == 1 == Notification.objects.filter(kind="asset.ended").count()


# --- Catalog as code --------------------------------------------------------------------------------------------------


def test_a_document_lists_and_grants(org: Org, tmp_path: Path) -> None:
    pat = org.principal(org.pat)
    folder = write(tmp_path / "catalog", f"{MODEL}access: listed\nprojects: [fraud-detection]\ngroups: [auditors]\n")
    planned = {(change.kind, change.name): change.action for change in loader.plan(folder)}
    assert planned["grant", "tiny for project fraud-detection"] == "create" and not Asset.objects.exists()
    loader.apply(pat, folder)
    assert Asset.objects.get().access == Access.LISTED and AssetProjectGrant.objects.get().reason == "Catalog as code"
    rows = Row.objects.count()
    assert {change.action for change in loader.apply(pat, folder).changes} == {"same"} and Row.objects.count() == rows
    write(folder, MODEL)
    loader.apply(pat, folder)
    assert Asset.objects.get().access == Access.LISTED and AssetGroupGrant.objects.count() == 1, "unnamed: as it is"
    write(folder, f"{MODEL}projects: [nobodys]\n")
    with pytest.raises(Invalid, match="granted to the project 'nobodys', which does not exist"):
        loader.plan(folder)
