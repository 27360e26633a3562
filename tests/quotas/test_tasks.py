"""Background work: the tasks, and what they delete when."""

import datetime as dt

import pytest
from django.utils import timezone

from audit.services import system
from quotas import retention, services, tasks
from quotas.journal import Journal
from quotas.models import JournalOffset, Pool, UsageDay, UsageEvent, UsageHour
from tests.conftest import Org
from tests.quotas.conftest import call

pytestmark = pytest.mark.django_db


def test_ingest_reads_the_journals_of_the_state_directory(state_dir):
    with Journal(state_dir / "journal") as journal:
        call(journal)
        tasks.ingest()
        tasks.ingest()
    assert UsageEvent.objects.count() == 1


def test_check_pools_serves_who_fits(org: Org):
    pool = Pool.objects.create(slug="shared-gpu", name="Shared", cluster="local", limit=1, observed=1)
    for name in ("a", "b"):
        services.reserve(system("t"), pool, 1, holder=("endpoint", name), project=org.fraud)
    Pool.objects.update(limit=2, observed=2)
    tasks.check_pools()
    pool.refresh_from_db()
    assert pool.held == 2


def test_purge_keeps_what_is_young(state_dir, settings, monkeypatch):
    monkeypatch.setattr(retention, "BATCH", 2)
    settings.USAGE_EVENT_DAYS = 90
    now = timezone.now()
    with Journal(state_dir / "journal") as journal:
        for days in (0, 89, 91, 92, 93, 94, 95, 397, 2558):
            call(journal, start={"at": now - dt.timedelta(days=days)})
        tasks.ingest()
    tasks.ingest()
    tasks.purge()
    assert UsageEvent.objects.count() == 2
    assert UsageHour.objects.count() == 7
    assert UsageDay.objects.count() == 8
    assert JournalOffset.objects.filter(finished=True).count() == 1


def test_purge_forgets_a_finished_journal_only_when_its_file_is_gone(state_dir):
    for name in ("gw-gone", "gw-there", "gw-open"):
        JournalOffset.objects.create(gateway=name, finished=name != "gw-open")
    JournalOffset.objects.update(updated_at=timezone.now() - dt.timedelta(days=91))
    (state_dir / "journal" / "gw-there.jsonl").touch()
    tasks.purge()
    assert set(JournalOffset.objects.values_list("gateway", flat=True)) == {"gw-there", "gw-open"}
