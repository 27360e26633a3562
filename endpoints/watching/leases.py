"""Which watcher follows which cluster: a lease in a row, taken by compare-and-set and renewed by its holder."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import Q, QuerySet
from django.utils import timezone

from endpoints.clusters.rbac import GRANTS
from endpoints.models import Cluster, Watch

LEASE = timedelta(seconds=10)
QUIET = timedelta(seconds=90)  # a stream without a sign for longer tells nothing; servers give one each minute


@dataclass(frozen=True)
class State:
    """How well a cluster is followed: since when every stream is open, when the quietest of them gave a sign last, and
    why one is not open.
    """

    live_since: datetime | None = None
    sign_at: datetime | None = None
    problem: str = ""


def followed() -> QuerySet[Cluster]:
    """Return the registered clusters whose driver can follow them."""
    return Cluster.objects.filter(driver__in=GRANTS)


def prepare(clusters: Iterable[int]) -> None:
    """Make the rows that are missing."""
    Watch.objects.bulk_create([Watch(cluster_id=pk) for pk in clusters], ignore_conflicts=True)


def free(clusters: Collection[int]) -> list[int]:
    """Return which of these nobody holds."""
    return list(Watch.objects.filter(_free(timezone.now()), pk__in=clusters).values_list("pk", flat=True))


def take(cluster: int, holder: str) -> bool:
    """Take a lease that is free, or an own one; False when somebody else was faster."""
    now = timezone.now()
    rows = Watch.objects.filter(_free(now) | Q(holder=holder), pk=cluster)
    return rows.update(holder=holder, until=now + LEASE, live_since=None, sign_at=None, problem="") > 0


def renew(holder: str) -> set[int]:
    """Renew all leases of `holder` that nobody else has taken meanwhile; return whose they are."""
    mine = Watch.objects.filter(holder=holder)
    mine.update(until=timezone.now() + LEASE)
    return set(mine.values_list("pk", flat=True))


def give_back(holder: str, clusters: Collection[int] | None = None) -> None:
    """End the leases of `holder`, or some of them, at once."""
    mine = Watch.objects.filter(holder=holder)
    if clusters is not None:
        mine = mine.filter(pk__in=clusters)
    mine.update(holder="", until=None, live_since=None, sign_at=None, problem="")


def write(cluster: int, holder: str, state: State) -> None:
    """Write how well a cluster is followed, unless somebody else follows it by now."""
    columns = {"live_since": state.live_since, "sign_at": state.sign_at, "problem": state.problem[:500]}
    Watch.objects.filter(pk=cluster, holder=holder).update(**columns)


def is_live(watch: Watch | None, now: datetime) -> bool:
    """Whether whatever changes on a cluster is told at once."""
    if watch is None or watch.live_since is None or watch.sign_at is None or watch.until is None:
        return False
    return watch.until > now and now - watch.sign_at < QUIET


def _free(now: datetime) -> Q:
    return Q(until=None) | Q(until__lte=now)
