"""Registering clusters."""

from django.conf import settings
from django.db import transaction

from audit.services import record
from endpoints.models import Cluster, Environment
from portal.errors import Conflict, Invalid
from portal.http import clean_text
from projects.models import is_slug, slug_validator
from projects.permissions import require_anywhere
from projects.principal import Principal


def create_cluster(
    by: Principal, *, slug: str, name: str, driver: str, environments: list[str], simulated: bool = False
) -> Cluster:
    """Register a cluster that `driver` (a key of settings.CLUSTER_DRIVERS) steers and that serves `environments`.

    Raises Forbidden, Invalid naming the field, and Conflict for a slug that is taken.
    """
    require_anywhere(by, "create", Cluster)
    label = clean_text(name, field="name", low=1, high=80)
    if not is_slug(slug):
        raise Invalid.field("slug", f"slug is {slug[:60]!r}. {slug_validator.message}")
    if driver not in settings.CLUSTER_DRIVERS:
        raise Invalid.field(
            "driver", f"driver is {driver[:40]!r}; choose one of {', '.join(settings.CLUSTER_DRIVERS)}."
        )
    if not environments or not set(environments) <= set(Environment.values):
        raise Invalid.field("environments", f"environments must name some of {', '.join(Environment.values)}.")
    with transaction.atomic():
        if Cluster.objects.filter(slug=slug).exists():
            raise Conflict(f"A cluster named {slug} exists already.", code="name_taken")
        cluster = Cluster.objects.create(
            slug=slug, name=label, driver=driver, environments=environments, simulated=simulated
        )
        after = {"slug": slug, "driver": driver, "environments": environments, "simulated": simulated}
        record("clusters.create", by=by, obj=cluster, after=after)
    return cluster
