"""How soon a row is looked at again when the last look changed nothing."""

import random

from endpoints.clusters.rbac import GRANTS
from endpoints.facts import Facts
from endpoints.models import Endpoint, Phase

PATIENT = frozenset({Phase.PENDING, Phase.PROVISIONING, Phase.DEGRADED, Phase.DELETING})
SHARE = 10  # what has been as it is for ten seconds is looked at once a second
LONGEST = 10.0
LONGEST_ERROR = 30.0
ADOPTED_SECONDS = 20.0  # no watch follows what bears none of the portal's labels
CALM = (45.0, 75.0)  # while a cluster is away, for what answered calls; never all at the same moment


def paced(row: Endpoint, facts: Facts, seconds: float | None) -> float | None:
    """Return in how many seconds a look follows: on a cluster with an API every one costs calls there, and what changes
    is told by its watch, so that whatever lasts is asked about less and less.
    """
    if seconds is None and row.revision is not None and row.revision.adopted:
        return ADOPTED_SECONDS
    if seconds is None or row.cluster.driver not in GRANTS:
        return seconds
    lasts = (facts.now - facts.phase_since).total_seconds() / SHARE
    if facts.error is not None:
        calm = random.uniform(*CALM) if row.phase == Phase.READY else min(LONGEST_ERROR, lasts)  # noqa: S311 - no secret
        return max(seconds, calm)
    if row.rolling_out or row.drain_until is not None or row.phase not in PATIENT:
        return seconds
    return max(seconds, min(LONGEST, lasts))
