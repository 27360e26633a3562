"""Finding endpoints and keys for a reader: what pages and the REST API share."""

from collections.abc import Iterable
from uuid import UUID

from django.db.models import QuerySet

from catalog.models import with_pins
from endpoints.keys import TARGET_KIND
from endpoints.models import Endpoint
from portal.errors import NotFound
from projects.api import project_or_404
from projects.models import ApiKey
from projects.permissions import visible
from projects.principal import Principal


def whole(rows: QuerySet[Endpoint]) -> QuerySet[Endpoint]:
    """Return `rows` with everything selected that an endpoint shows about itself."""
    rows = rows.select_related(
        "project", "cluster", "contact", "revision__version__asset", "revision__profile", "next_revision", "fallback"
    )
    return with_pins(rows, "revision__version")


def endpoint_or_404(principal: Principal, endpoint_id: UUID, action: str = "inspect") -> Endpoint:
    """Return the endpoint; raises NotFound when it does not exist or the caller may not see it.

    "inspect" is for those who see everything of it; with "view" also for those with whom it is shared, who may know
    its state and address and nothing of purpose, people, events, logs and revisions.
    """
    rows = whole(visible(principal, Endpoint.objects.all(), action))
    row: Endpoint | None = rows.filter(pk=endpoint_id).first()
    if row is None:
        raise NotFound("There is no such endpoint, or you may not see it.")
    return row


def names_of(keys: Iterable[ApiKey]) -> dict[str, str]:
    """Return the names of the endpoints that `keys` are bound to, by id (one query); wants targets prefetched. One of
    another project has its full name, as calls use it.
    """
    known = list(keys)
    ids = {target.target_id for key in known for target in key.targets.all() if target.kind == TARGET_KIND}
    own = {key.project_id for key in known}
    rows = Endpoint.objects.filter(pk__in=ids).values_list("pk", "name", "project_id", "project__slug")
    # Keys of several projects stand in one list only where projects are told apart by full names.
    short = len(own) == 1
    return {str(pk): name if project_id in own and short else f"{slug}/{name}" for pk, name, project_id, slug in rows}


def key_or_404(principal: Principal, slug: str, key_id: UUID) -> ApiKey:
    """Return the key; raises NotFound when the project has no such key or the caller may not see it."""
    project = project_or_404(principal, slug)
    rows = visible(principal, ApiKey.objects.filter(project=project)).select_related("person", "project")
    key: ApiKey | None = rows.prefetch_related("targets").filter(pk=key_id).first()
    if key is None:
        raise NotFound(f"There is no such key in {project.slug}, or you may not see it.")
    return key
