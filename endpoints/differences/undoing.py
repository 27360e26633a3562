"""Noting what the reconciler is about to write over, before it is lost: the portal takes back at once what bears on an
approval, and everything when a person asks for it. An object is written as a whole or not at all.
"""

import logging
from collections.abc import Sequence

from endpoints.clusters import ClusterDriver, ClusterError, Difference, Observation, Workload
from endpoints.differences import keeping
from endpoints.models import Endpoint

log = logging.getLogger(__name__)


def find(driver: ClusterDriver, row: Endpoint, made: Workload, seen: Observation) -> Sequence[Difference]:
    """Return what writing `made` takes back; nothing where the last look saw no change. Never raises: what is approved
    is written, whether or not it is known what it was before.
    """
    ours = row.revision is not None and made.revision == row.revision.number and not row.revision.adopted
    if not ours or not (seen.changed or row.rewrite_at is not None):
        return ()
    everything = made.rewrite or row.cluster.options.get("drift") == "revert"
    try:
        found = driver.compare(made)
        written = {_object(one) for one in found if everything or one.guarded or one.own}
        return [one for one in found if _object(one) in written]
    except ClusterError as error:
        log.warning("endpoints.compare_failed endpoint=%s error=%s", row.pk, error.sentence)
        return ()


def _object(one: Difference) -> tuple[str, str, str]:
    return one.kind, one.namespace, one.name


def keep(row: Endpoint, found: Sequence[Difference]) -> None:
    """Write down what was taken back."""
    if found:
        keeping.taken_back(row, found, row.rewrite_by)
