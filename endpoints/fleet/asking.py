"""Asking for a connection test by hand."""

from django.db import transaction

from audit.services import record
from endpoints.fleet.examining import want_test
from endpoints.models import Cluster
from projects.permissions import require
from projects.principal import Principal


def ask_for_test(by: Principal, cluster: Cluster) -> Cluster:
    """Ask a worker for a connection test; its findings stand in the row when it is done. Raises Forbidden."""
    require(by, "test", cluster)
    with transaction.atomic():
        want_test(cluster)
        record("clusters.test", by=by, obj=cluster)
    return cluster
