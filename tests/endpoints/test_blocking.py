"""Blocking a version in use: counted first, suspended as chosen, told once, and nothing of it is started again."""

import datetime as dt
import json
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import time_machine
from django.db import connection

from audit.models import Row
from catalog import services as catalog
from catalog.models import Version, VersionState
from endpoints import blocking, services
from endpoints.blocking import affected, block, settle
from endpoints.models import Desired, Endpoint, Event, Phase
from endpoints.services import Authorization
from portal.errors import Conflict, Forbidden, GatehouseError, Invalid
from projects.models import Notification
from projects.principal import Principal
from tests.conftest import Org
from tests.endpoints.endpoint_kit import Script, open_demo, replica, work
from tests.factories import make_asset, make_profile, make_version

pytestmark = [pytest.mark.slow, pytest.mark.django_db(transaction=True)]
START = dt.datetime(2026, 11, 21, 9, tzinfo=dt.UTC)


@pytest.fixture
def clock() -> Any:
    with time_machine.travel(START, tick=False) as traveller:
        yield traveller


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Script:
    made = Script((replica(),))
    monkeypatch.setattr("endpoints.reconcile.driver_for", lambda cluster: made)
    return made


@pytest.fixture
def endpoint(org: Org, script: Script) -> Endpoint:
    made = work(open_demo(org.fraud))
    Endpoint.objects.filter(pk=made.pk).update(contact=org.dana)
    made.refresh_from_db()
    assert made.phase == Phase.READY
    return made


def version_of(endpoint: Endpoint) -> Version:
    assert endpoint.revision is not None
    return Version.objects.select_related("asset").get(pk=endpoint.revision.version_id)


def let_in_again(org: Org, version: Version) -> None:
    version.refresh_from_db()
    catalog.submit(org.principal(org.pat), version)
    catalog.approve(org.principal(org.yasmine), version)


def now(endpoint: Endpoint) -> Endpoint:
    return Endpoint.objects.get(pk=endpoint.pk)


def test_what_a_block_concerns_is_counted_before_it_happens(org: Org, endpoint: Endpoint) -> None:
    version, dana = version_of(endpoint), Principal.of(org.dana)
    other = open_demo(org.search, version=version)
    open_demo(org.search, version=make_version())
    services.issue_key(dana, org.fraud, "one", [endpoint.name], None, 30)
    services.issue_key(dana, org.fraud, "whole", [], None, 30)
    services.issue_key(Principal.of(org.cy), org.search, "theirs", [other.name], None, 30)
    services.suspend(Principal.of(org.cy), other)
    counts = affected(version).counts()
    assert counts == {"endpoints": 2, "running": 1, "suspended": 1, "projects": 2, "keys": 3, "grants": 0}
    assert Version.objects.get(pk=version.pk).state == VersionState.APPROVED


def test_by_default_what_runs_goes_on_and_is_not_started_again(org: Org, endpoint: Endpoint, script: Script) -> None:
    version = version_of(endpoint)
    block(org.principal(org.yasmine), version, "A finding.")
    assert work(endpoint).phase == Phase.READY and now(endpoint).desired == Desired.RUNNING
    script.replicas = (replica("failed"),)
    script.asked.clear()
    broken = work(endpoint)
    assert broken.reason_code == "version_blocked" and "apply" not in script.asked
    # neither by hand, nor after suspending, nor while it is looked at again
    services.retry(Principal.of(org.dana), broken)
    assert work(endpoint).reason_code == "version_blocked" and "apply" not in script.asked
    catalog.submit(org.principal(org.pat), Version.objects.get(pk=version.pk))
    services.retry(Principal.of(org.dana), now(endpoint))
    assert work(endpoint).reason_code == "version_blocked" and "apply" not in script.asked
    catalog.approve(org.principal(org.yasmine), Version.objects.get(pk=version.pk))
    services.retry(Principal.of(org.dana), now(endpoint))
    work(endpoint)
    assert "apply" in script.asked


def test_suspended_now_under_a_hold_that_the_catalog_takes_back(org: Org, endpoint: Endpoint, script: Script) -> None:
    version = version_of(endpoint)
    concerned = block(org.principal(org.yasmine), version, "A finding.", suspend="now")
    assert concerned.running == 1
    row = now(endpoint)
    assert (row.desired, row.hold_by) == (Desired.SUSPENDED, "the catalog") and "A finding." in row.hold_reason
    assert row.upstreams == [], "calls are refused at once"
    with pytest.raises(Conflict) as caught:
        services.resume(Principal.of(org.dana), row)
    assert caught.value.code == "on_hold" and "another version" in caught.value.sentence
    script.replicas = ()
    assert work(endpoint).phase == Phase.SUSPENDED
    assert settle() == 0
    let_in_again(org, version)
    assert (settle(), settle()) == (1, 0)
    row = now(endpoint)
    assert (row.desired, row.hold_by, row.hold_reason) == (Desired.RUNNING, "", "")
    script.replicas = (replica(),)
    assert work(endpoint).phase == Phase.READY


def test_what_its_owner_had_suspended_stays_suspended(org: Org, endpoint: Endpoint) -> None:
    version = version_of(endpoint)
    services.suspend(Principal.of(org.dana), endpoint)
    block(org.principal(org.yasmine), version, "A finding.", suspend="now")
    let_in_again(org, version)
    settle()
    assert now(endpoint).desired == Desired.SUSPENDED and not now(endpoint).hold_by


def test_a_time_of_grace_ends_in_a_hold(org: Org, endpoint: Endpoint, script: Script, clock: Any) -> None:
    version = version_of(endpoint)
    block(org.principal(org.yasmine), version, "A finding.", suspend="later", grace_hours=24)
    assert now(endpoint).suspend_at == START + dt.timedelta(hours=24) and now(endpoint).desired == Desired.RUNNING
    assert Event.objects.filter(endpoint=endpoint, code="suspension_announced").exists()
    clock.move_to(START + dt.timedelta(hours=23))
    assert settle() == 0
    clock.move_to(START + dt.timedelta(hours=25))
    assert (settle(), settle()) == (1, 0)
    row = now(endpoint)
    assert (row.desired, row.hold_by, row.suspend_at) == (Desired.SUSPENDED, "the catalog", None)
    told = Notification.objects.filter(kind="endpoint.suspended").values_list("person__username", flat=True)
    assert sorted(told) == ["dana", "omar"]


def test_a_lifted_block_or_another_version_cancels_the_grace(org: Org, endpoint: Endpoint, clock: Any) -> None:
    version = version_of(endpoint)
    block(org.principal(org.yasmine), version, "A finding.", suspend="later", grace_hours=24)
    let_in_again(org, version)
    assert (settle(), settle()) == (1, 0) and now(endpoint).suspend_at is None
    block(org.principal(org.yasmine), Version.objects.get(pk=version.pk), "Again.", suspend="later", grace_hours=1)
    Endpoint.objects.filter(pk=endpoint.pk).update(desired=Desired.SUSPENDED)  # as its owner may
    clock.move_to(START + dt.timedelta(hours=2))
    settle()
    assert now(endpoint).suspend_at is None and not now(endpoint).hold_by


def test_a_revision_with_another_version_frees_a_held_endpoint(org: Org, endpoint: Endpoint, script: Script) -> None:
    version = version_of(endpoint)
    block(org.principal(org.yasmine), version, "A finding.", suspend="now")
    script.replicas = ()
    work(endpoint)
    other = make_version(asset=version.asset, version="2.0")
    services.open_revision(
        Principal.of(org.pat), now(endpoint), version=other, profile=make_profile(), replicas=1, concurrency=4,
        context_tokens=2048, authorization=Authorization("R-9", "sha256:new"),
    )  # fmt: skip
    assert settle() == 1 and now(endpoint).desired == Desired.RUNNING
    script.replicas = (replica(revision=2),)
    assert work(endpoint).phase == Phase.READY


def test_everybody_concerned_is_told_once(org: Org, endpoint: Endpoint) -> None:
    version = version_of(endpoint)
    open_demo(org.fraud, version=version)
    services.issue_key(Principal.of(org.dana), org.fraud, "one", [endpoint.name], None, 30)
    block(org.principal(org.yasmine), version, "Its loader runs code.", suspend="now")
    told = Notification.objects.filter(kind="asset.blocked").values_list("person__username", flat=True)
    assert sorted(told) == ["dana", "omar", "pat", "ravi", "yasmine"]
    words = Notification.objects.get(kind="asset.blocked", person=org.dana)
    assert "fraud-detection runs it" in words.title and "Its loader runs code." in words.text
    actions = list(
        Row.objects.filter(action__in=["catalog.block", "endpoints.suspend"]).values_list("action", flat=True)
    )
    assert sorted(actions) == ["catalog.block", "endpoints.suspend", "endpoints.suspend"]


@pytest.mark.parametrize(
    ("fields", "wrong"),
    [
        ({"suspend": "soon"}, "suspend"),
        ({"suspend": "later"}, "grace_hours"),
        ({"suspend": "later", "grace_hours": 0}, "grace_hours"),
        ({"suspend": "later", "grace_hours": 721}, "grace_hours"),
        ({"suspend": "now", "grace_hours": 5}, "grace_hours"),
        ({"reason": "x"}, "reason"),
    ],
)
def test_bad_wishes_change_nothing(org: Org, fields: dict[str, Any], wrong: str) -> None:
    version = make_version()
    reason = fields.pop("reason", "A finding.")
    with pytest.raises(Invalid) as caught:
        block(org.principal(org.pat), version, reason, **fields)
    assert list(caught.value.fields) == [wrong] and Version.objects.get().state == VersionState.APPROVED


def test_only_stewards_block_and_a_second_block_only_suspends(org: Org, endpoint: Endpoint) -> None:
    version = version_of(endpoint)
    for person in (org.dana, org.omar, org.aud):
        with pytest.raises(Forbidden):
            block(Principal.of(person), version, "A finding.", suspend="now")
    block(org.principal(org.pat), version, "A finding.")
    with pytest.raises(Conflict):
        block(org.principal(org.pat), version, "A finding.")
    block(org.principal(org.pat), version, "A finding.", suspend="now")
    assert now(endpoint).hold_by and Row.objects.filter(action="catalog.block").count() == 1
    rows = Row.objects.filter(action="endpoints.block").order_by("id")
    assert [json.loads(row.after)["suspend"] for row in rows] == ["none", "now"], "what was chosen is remembered"


def test_a_block_and_a_start_at_the_same_instant(org: Org, script: Script) -> None:
    """Whichever comes first: nothing runs on a version that was blocked with "now"."""
    for _ in range(3):
        version, barrier = make_version(asset=make_asset()), threading.Barrier(2)

        def opening(version: Version = version, barrier: threading.Barrier = barrier) -> str:
            try:
                barrier.wait(timeout=10)
                return str(open_demo(org.fraud, version=version).pk)
            except GatehouseError as error:
                return error.code
            finally:
                connection.close()

        def blocking_it(version: Version = version, barrier: threading.Barrier = barrier) -> str:
            try:
                barrier.wait(timeout=10)
                block(org.principal(org.yasmine), version, "At once.", suspend="now")
                return "blocked"
            finally:
                connection.close()

        with ThreadPoolExecutor(2) as pool:
            tasks = [pool.submit(opening), pool.submit(blocking_it)]
            opened, done = (task.result(timeout=60) for task in tasks)
        assert done == "blocked"
        rows = Endpoint.objects.filter(revision__version=version)
        assert (opened == "version_blocked" and not rows.exists()) or rows.get().desired == Desired.SUSPENDED
    assert blocking.affected(version).running == 0


# --- API and page -----------------------------------------------------------------------------------------------------


def test_by_api_counted_then_done(org: Org, endpoint: Endpoint, api_for: Any) -> None:
    version = version_of(endpoint)
    path = f"/catalog/assets/{version.asset.slug}/versions/{version.version}/block"
    api = api_for(org.yasmine, "catalog:read", "catalog:write")
    dry = api.post(path, {"dry_run": True})
    assert (dry.status_code, dry.json()["affected"]["running"]) == (200, 1)
    assert dry.json()["affected"]["items"][0]["name"] == endpoint.name
    assert Version.objects.get(pk=version.pk).state == "approved"
    assert api_for(org.dana, "catalog:write").post(path, {"dry_run": True}).status_code == 403
    wrong = api.post(path, {"reason": "A finding.", "suspend": "later"})
    assert (wrong.status_code, wrong.json()["errors"][0]["field"]) == (422, "grace_hours")
    done = api.post(path, {"reason": "A finding.", "suspend": "later", "grace_hours": 2}).json()
    assert (done["state"], done["state_reason"], done["affected"]["running"]) == ("blocked", "A finding.", 1)
    assert now(endpoint).suspend_at is not None


def test_the_page_counts_before_and_keeps_what_was_typed(org: Org, endpoint: Endpoint, client_for: Any) -> None:
    version, client = version_of(endpoint), client_for(org.yasmine)
    path = f"/catalog/{version.asset.slug}/versions/{version.version}/block/"
    page = client.get(path).content.decode()
    assert f"fraud-detection/{endpoint.name}" in page and "Running endpoints" in page
    refused = client.post(path, {"suspend": "later", "grace_hours": "999", "reason": "Its loader runs code."})
    assert refused.status_code == 422
    assert "Its loader runs code." in refused.content.decode() and "between 1 and 720" in refused.content.decode()
    assert client.post(path, {"suspend": "now", "reason": "Its loader runs code."}).status_code == 302
    assert now(endpoint).hold_by == "the catalog"
    shown = client_for(org.dana).get(f"/endpoints/{endpoint.pk}/").content.decode()
    assert "On hold by the catalog" in shown and "Its loader runs code." in shown
    assert client_for(org.dana).get(path).status_code == 403
    assert client_for(None).get(path).status_code == 302
