"""Drafts: saving themselves, two windows, beginning one from another request, and their end."""

import datetime as dt
import json
from typing import Any

import pytest
import time_machine
from django.utils import timezone

from approvals import drafts, services, tasks
from approvals.models import Request, RequestState
from audit.models import Row
from endpoints import services as endpoint_services
from portal.errors import Conflict, Invalid, NotFound
from tests.conftest import Org
from tests.factories import living_body, make_endpoint, make_request, make_version

pytestmark = pytest.mark.slow


def rows(request: Request) -> list[str]:
    found = Row.objects.filter(object_kind="request", object_id=str(request.pk)).order_by("id")
    return [row.action for row in found]


def test_autosave_is_cheap_and_does_not_fill_the_audit_log(org: Org, django_assert_max_num_queries: Any) -> None:
    """A hundred saves in ten minutes are one row beside the draft's own; later ones are recorded again."""
    dana = org.principal(org.dana)
    with time_machine.travel(timezone.now(), tick=False) as clock:
        made = services.draft(dana, {"project": "fraud-detection"})
        for number in range(1, 30):
            clock.shift(15)
            services.change(dana, made, {"project": "fraud-detection", "name": f"scoring-{number}"}, autosaved=True)
        assert rows(made) == ["approvals.draft"]
        clock.shift(600)
        services.change(dana, made, {"project": "fraud-detection", "name": "scoring"}, autosaved=True)
        assert rows(made) == ["approvals.draft", "approvals.change"]
        last = Row.objects.get(action="approvals.change")
        assert json.loads(last.before) == {"name": "scoring-29"} and json.loads(last.after) == {"name": "scoring"}
        services.change(dana, made, {"project": "fraud-detection", "name": "by-hand"})
        assert rows(made).count("approvals.change") == 2  # who presses Save is recorded each time
    made.refresh_from_db()
    assert made.body["name"] == made.name == "by-hand"
    with django_assert_max_num_queries(8):
        services.change(dana, made, {"project": "fraud-detection", "name": "more"}, autosaved=True)


def test_the_same_body_changes_nothing(org: Org) -> None:
    """A form that saves itself again and again leaves no trace, and the draft ages."""
    made = make_request(org.dana, state="draft")
    before = made.updated_at
    again = services.change(org.principal(org.dana), made, made.body)
    assert again.updated_at == before and rows(made) == ["approvals.draft"]


def test_what_was_sent_once_is_always_recorded(org: Org) -> None:
    """Nothing is coalesced after a reviewer has read it."""
    made = make_request(org.dana, state="changes_requested")
    for replicas in (2, 3):
        made = services.change(org.principal(org.dana), made, made.body | {"replicas": replicas}, autosaved=True)
    assert rows(made).count("approvals.change") == 2


def test_two_windows_do_not_overwrite_each_other(org: Org) -> None:
    """The later one says when it has seen the draft; it is told that it is older."""
    made, dana = make_request(org.dana, state="draft"), org.principal(org.dana)
    seen = made.updated_at
    first = services.change(dana, made, made.body | {"replicas": 2}, seen=seen)
    with pytest.raises(Conflict) as caught:
        services.change(dana, made, made.body | {"replicas": 3}, seen=seen)
    assert caught.value.code == "changed_meanwhile"
    made.refresh_from_db()
    assert made.body["replicas"] == 2
    assert services.change(dana, made, made.body | {"replicas": 3}, seen=first.updated_at).body["replicas"] == 3


@pytest.mark.parametrize("kind", ["revision", "renewal", "access", "quota"])
def test_a_draft_of_every_kind_may_lack_everything_but_its_project(org: Org, kind: str) -> None:
    """Revision and renewal learn it from the endpoint."""
    endpoint = make_endpoint(org.dana)
    own = {"endpoint": str(endpoint.pk)} if kind in {"revision", "renewal"} else {"project": "fraud-detection"}
    dana = org.principal(org.dana)
    made = services.draft(dana, {"kind": kind, **own})
    assert (made.kind, made.project, made.state, made.plan) == (kind, org.fraud, RequestState.DRAFT, {})
    with pytest.raises(Invalid, match="missing"):
        services.submit(dana, made)
    with pytest.raises(Invalid, match="missing"):
        services.draft(dana, {"kind": kind})
    with pytest.raises(Invalid):
        services.draft(org.principal(org.vic), {"kind": kind, **own})


# --- One like another -----------------------------------------------------------------------------


def test_clone_makes_the_name_free(org: Org) -> None:
    """scoring, scoring-2, scoring-3; a long name is cut."""
    version, dana = make_version(), org.principal(org.dana)
    made = make_request(org.dana, name="scoring", version=version)
    assert services.clone(dana, made)["name"] == "scoring"  # nobody has it yet
    make_endpoint(org.dana, name="scoring", version=version)
    copy = services.clone(dana, made)
    assert copy["name"] == "scoring-2" and copy["asset"] == version.asset.slug and copy["kind"] == "endpoint"
    make_endpoint(org.dana, name="scoring-2", version=version)
    assert services.clone(dana, made)["name"] == "scoring-3"
    long = make_endpoint(org.dana, name="a" * 40, version=version)
    assert drafts.free_name(org.fraud, long.name) == "a" * 38 + "-2"
    assert services.send(dana, services.clone(dana, made)).state == RequestState.SUBMITTED


def test_clone_moves_an_end_that_has_passed(org: Org) -> None:
    """As many days from today as were asked for then; a later one stays."""
    dana = org.principal(org.dana)
    made = make_request(org.dana)
    assert services.clone(dana, made)["ends_on"] == made.body["ends_on"]
    ends_on = dt.date.fromisoformat(made.body["ends_on"])
    days = (ends_on - timezone.now().date()).days
    with time_machine.travel(timezone.now() + dt.timedelta(days=200)):
        copy = services.clone(dana, made)
        assert copy["ends_on"] == (timezone.now().date() + dt.timedelta(days=days)).isoformat()
        assert services.check(dana, copy | {"name": "other"})["checks"]


def test_clone_only_what_may_be_seen_into_where_one_may_ask(org: Org) -> None:
    """A stranger finds nothing; a platform engineer copies it without the project, where they may not ask."""
    made = make_request(org.dana)
    with pytest.raises(NotFound):
        services.clone(org.principal(org.cy), made)
    assert services.clone(org.principal(org.pat), made)["project"] is None
    assert services.clone(org.principal(org.omar), made)["project"] == "fraud-detection"


def test_clone_of_other_kinds(org: Org) -> None:
    """The fields of its own kind, and nothing else."""
    endpoint = make_endpoint(org.dana)
    made = make_request(org.dana, kind="renewal", endpoint=endpoint)
    copy = services.clone(org.principal(org.dana), made)
    assert copy == made.body and set(copy) == {"kind", "endpoint", "ends_on", "purpose"}


# --- The end of drafts ----------------------------------------------------------------------------


def test_purge_expires_old_drafts(org: Org, settings: Any) -> None:
    """Untouched for DRAFT_DAYS; younger ones, and what was sent, stay. By the system, in the audit log."""
    settings.DRAFT_DAYS = 30
    old = make_request(org.dana, state="draft")
    sent = make_request(org.dana, state="submitted")
    back = make_request(org.dana, state="changes_requested")
    with time_machine.travel(timezone.now() + dt.timedelta(days=29)):
        young = make_request(org.dana, state="draft")
        assert drafts.purge() == 0
    with time_machine.travel(timezone.now() + dt.timedelta(days=31)):
        tasks.purge()
        assert drafts.purge() == 0
    states = {item.pk: item.state for item in Request.objects.all()}
    assert states[old.pk] == RequestState.EXPIRED and states[young.pk] == RequestState.DRAFT
    assert (states[sent.pk], states[back.pk]) == (RequestState.SUBMITTED, RequestState.CHANGES_REQUESTED)
    row = Row.objects.get(action="approvals.expire")
    assert (row.object_id, row.actor, row.project) == (str(old.pk), "system:approvals", "fraud-detection")
    with pytest.raises(Conflict):
        services.submit(org.principal(org.dana), Request.objects.get(pk=old.pk))


def test_purge_works_in_batches(org: Org, settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """More than one batch, each draft once."""
    monkeypatch.setattr(drafts, "BATCH", 2)
    dana = org.principal(org.dana)
    for _ in range(5):
        services.draft(dana, {"project": "fraud-detection"})
    with time_machine.travel(timezone.now() + dt.timedelta(days=settings.DRAFT_DAYS + 1)):
        assert drafts.purge() == 5


def test_a_draft_about_a_deleted_endpoint_can_still_be_withdrawn(org: Org) -> None:
    """It cannot be sent, and it does not stay in the way."""
    endpoint, dana = make_endpoint(org.dana), org.principal(org.dana)
    made = services.draft(dana, living_body("renewal", endpoint=endpoint))
    endpoint_services.delete(dana, endpoint)
    with pytest.raises(Invalid):
        services.submit(dana, made)
    assert services.withdraw(dana, made).state == RequestState.WITHDRAWN
