"""Background work: each task calls one service. Overlapping runs are harmless."""

from celery import shared_task
from django.conf import settings

from quotas import alerts, pools, retention, services
from quotas import ingest as ledger


@shared_task
def ingest() -> None:
    """Read what the gateways have written since the last time."""
    ledger.ingest(settings.STATE_DIR / "journal")


@shared_task
def check_pools() -> None:
    """Serve who waits and fits, and compare the counters with the sums."""
    services.promote_all()
    pools.check_pools()


@shared_task
def alert() -> None:
    """Tell people whose quota is nearly used."""
    alerts.check()


@shared_task
def purge() -> None:
    """Delete what is older than its retention."""
    retention.purge(settings.STATE_DIR / "journal")
