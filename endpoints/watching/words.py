"""How a cluster is followed, in words for its page."""

from datetime import datetime

from django.conf import settings

from endpoints.models import Cluster, Watch
from endpoints.watching.leases import is_live


def words(cluster: Cluster, now: datetime) -> str:
    """Return whether changes on a cluster are seen at once, and if not, why and how soon else."""
    watch = Watch.objects.filter(pk=cluster.pk).first()
    if watch is not None and is_live(watch, now) and watch.sign_at is not None:
        return f"watched, last sign {max(0, round((now - watch.sign_at).total_seconds()))} s ago"
    otherwise = f"not watched; a look every {settings.SWEEP_SECONDS} s or later"
    if watch is None or not watch.holder or watch.until is None or watch.until <= now:
        return f"{otherwise}; no watcher runs"
    return f"{otherwise}; {watch.problem}" if watch.problem else "a watch begins"
