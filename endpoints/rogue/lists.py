"""The list of workloads without approval, written down as data."""

from typing import Any

from django.db.models import Q, QuerySet

from endpoints.models import Cluster
from endpoints.rogue.models import RUNNING, RogueState
from portal.listing import Column, Filter, Listing
from projects.principal import PortalRequest

UNAPPROVED = "unapproved"  # the state that shows unless another one is chosen: all that runs so
STATES = (
    (UNAPPROVED, "All that run without approval"),
    *((str(value), str(label)) for value, label in RogueState.choices),
)
REASONS = {
    "accelerators": Q(by_accelerators=True),
    "image": Q(by_image=True),
    "kserve": Q(by_kserve=True),
    "imitated": Q(claim="imitated"),
    "other-portal": Q(claim="other-portal"),
}
REASON_NAMES = (
    ("accelerators", "Holds accelerators"), ("image", "Runs an inference image"), ("kserve", "Object of KServe"),
    ("imitated", "Imitates the portal's labels"), ("other-portal", "Another portal's"),
)  # fmt: skip


def _matching(rows: QuerySet[Any], value: str, request: PortalRequest) -> QuerySet[Any]:
    words = Q(name__icontains=value) | Q(namespace__icontains=value) | Q(owner_name__icontains=value)
    return rows.filter(words | Q(owner__username__icontains=value) | Q(engine__icontains=value))


def in_state(rows: QuerySet[Any], value: str) -> QuerySet[Any]:
    """Return the rows of one state, or of all that run without approval."""
    return rows.filter(state__in=RUNNING) if value == UNAPPROVED else rows.filter(state=value)


def _clusters(request: PortalRequest) -> list[tuple[str, str]]:
    return [(one.slug, one.name) for one in Cluster.objects.filter(rogues__isnull=False).distinct()[:200]]


ROGUES = Listing(
    route="rogue_list",
    nouns=("workload", "workloads"),
    columns=(
        Column("workload", "Workload", ("name",), {"name": "name", "namespace": "namespace", "kind": "kind",
                                                    "uid": "uid"}, fixed=True),
        Column("cluster", "Cluster", ("cluster__slug",), {"cluster": "cluster_slug"}),
        Column("why", "Why", csv={"reasons": "reasons", "images": "images"}),
        Column("accelerators", "Held", ("accelerators",), {"accelerators": "accelerators"}, numeric=True,
               first="descending"),
        Column("hours", "Hours", ("device_seconds",), {"gpu_hours": "hours_number"}, numeric=True,
               first="descending"),
        Column("owner", "Probably of", ("owner_name",), {"owner": "owner", "owner_source": "owner_source",
                                                         "project": "project"}),
        Column("since", "Runs since", ("first_seen_at",), {"first_seen": "first_seen", "last_seen": "last_seen"},
               first="descending"),
        Column("state", "State", ("state",), {"state": "state"}),
    ),
    filters=(
        Filter("q", "Name, namespace or owner", _matching, kind="search"),
        Filter("cluster", "Cluster", lambda rows, value, request: rows.filter(cluster__slug=value), choices=_clusters,
               every="Every cluster"),
        Filter("state", "State", lambda rows, value, request: rows.filter(state=value),
               choices=[(value, str(label)) for value, label in RogueState.choices], every="All without approval"),
        Filter("reason", "Why", lambda rows, value, request: rows.filter(REASONS[value]), choices=REASON_NAMES,
               every="Any reason"),
    ),
    sort="-hours",
    file="workloads-without-approval",
)  # fmt: skip
assert set(REASONS) == {name for name, _ in REASON_NAMES}  # noqa: S101
