"""Is an endpoint at rest? A quick answer for thousands: `False` only means that a real look decides. Pure, but for the
keys that open what rows keep.
"""

from endpoints.clusters import Observation
from endpoints.models import Endpoint, Phase
from endpoints.routes import identities, stored


def at_rest(row: Endpoint, seen: Observation) -> bool:
    """Whether a settled row says what was seen, so that a look would change nothing; wants the revision selected."""
    if row.phase != Phase.READY:
        return not seen.present  # what failed or was suspended, and of which nothing runs
    if row.revision is None or seen.drifted or seen.hold is not None:
        return False
    number = row.revision.number
    if seen.weights.get(number) is not None:  # of a canary that is no more
        return False
    wanted = min(row.wanted_replicas, max(1, seen.scaled.get(number, row.wanted_replicas)))
    left, applied = seen.lowered.get(number, (wanted, wanted))
    if applied == row.wanted_replicas:
        wanted = min(wanted, left)
    if len(seen.replicas) != wanted:
        return False
    if seen.weights.get(number) is not None:
        return False  # the cluster still shares the calls as a canary wanted
    if any(one.state != "ready" or one.revision != number for one in seen.replicas):
        return False
    return identities(seen.replicas) == stored(row)
