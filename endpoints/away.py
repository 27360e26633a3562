"""What is known of endpoints while nobody can ask their cluster: what answered calls is left as it was."""

from django.utils import timezone

from endpoints.models import Desired, Endpoint, Phase
from endpoints.stepper import clock
from portal.templatetags.gatehouse import relative

AWAY = frozenset({"reachable", "certificate", "credential"})  # checks without which a cluster tells nothing
ANSWERING = {Phase.READY, Phase.DEGRADED}


def last_seen(row: Endpoint) -> str:
    """Return since when nobody knows how an endpoint is that answers calls, "" where its cluster can be asked; wants
    the cluster selected.
    """
    cluster = row.cluster
    if cluster.problem_code not in AWAY or row.phase not in ANSWERING or row.desired != Desired.RUNNING:
        return ""
    fault = "does not let the portal in" if cluster.problem_code == "credential" else "does not answer"
    seen = cluster.last_seen_at
    if seen is None:
        return f"Never seen: the cluster {cluster.slug} {fault}."
    return f"Last seen {relative(seen, timezone.now())}: the cluster {cluster.slug} {fault} since {clock(seen)}."
