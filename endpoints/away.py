"""What is known of endpoints while nobody can ask their cluster: what answered calls is left as it was."""

from django.utils import timezone

from endpoints.models import Desired, Endpoint, Phase
from endpoints.stepper import clock
from portal.templatetags.gatehouse import relative

AWAY = frozenset({"reachable", "certificate", "credential"})  # checks without which a cluster tells nothing
ANSWERING = {Phase.READY, Phase.DEGRADED}


def fault(problem_code: str) -> str:
    """Return what a cluster that tells nothing does, in words for everybody: its address is for who steers clusters. ""
    for one that can be asked.
    """
    if problem_code not in AWAY:
        return ""
    return "does not let the portal in" if problem_code == "credential" else "does not answer"


def last_seen(row: Endpoint) -> str:
    """Return since when nobody knows how an endpoint is that answers calls, "" where its cluster can be asked; wants
    the cluster selected.
    """
    cluster = row.cluster
    does = fault(cluster.problem_code)
    if not does or row.phase not in ANSWERING or row.desired != Desired.RUNNING:
        return ""
    seen = cluster.last_seen_at
    if seen is None:
        return f"Never seen: the cluster {cluster.slug} {does}."
    return f"Last seen {relative(seen, timezone.now())}: the cluster {cluster.slug} {does} since {clock(seen)}."
