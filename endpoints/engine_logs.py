"""The output of engines as people may read it: the last lines, with tokens and passwords left out."""

from endpoints.clusters.explaining.reading import masked
from endpoints.drivers import driver_for
from endpoints.models import Endpoint


def tail(row: Endpoint, lines: int, *, replica: int | None = None, previous: bool = False) -> str:
    """Return the last `lines` lines of each replica or of one, of the run before this one when it is `previous`; wants
    the cluster selected. Raises ClusterError.
    """
    return masked(driver_for(row.cluster).logs(str(row.pk), lines, replica=replica, previous=previous))
