"""Marking rows that want a look, then telling a worker: the mark survives a lost message, for the next sweep."""

from collections.abc import Iterable
from uuid import UUID

from django.utils import timezone

from endpoints.models import Endpoint, Phase
from endpoints.nudge import send

BATCH = 200


def press(cluster: int, ids: Iterable[UUID], expires: float | None = None) -> int:
    """Have these endpoints looked at, as far as they are of this cluster; return how many were marked or have a look
    ahead of them. `expires` is in seconds. Without a broker the marks wait for the next sweep.
    """
    wanted, count, sending = list(ids), 0, True
    for start in range(0, len(wanted), BATCH):
        rows = Endpoint.objects.filter(cluster_id=cluster, pk__in=wanted[start : start + BATCH]).exclude(
            phase=Phase.DELETED
        )
        known = list(rows.values_list("pk", flat=True))
        Endpoint.objects.filter(pk__in=known, due_at=None).update(due_at=timezone.now())
        count += len(known)
        for endpoint_id in known:
            sending = sending and send(endpoint_id, expires=expires)
    return count
