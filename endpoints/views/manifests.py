"""The manifests of an endpoint: what is written into its cluster, and where that stands in Git."""

from uuid import UUID

from django.http import HttpResponse
from django.views.decorators.http import require_GET

from endpoints import manifests, why
from endpoints.clusters import ClusterError
from endpoints.reading import endpoint_or_404
from endpoints.views.head import head
from portal.http import page
from projects.principal import PortalRequest


@require_GET
def endpoint_manifests(request: PortalRequest, endpoint_id: UUID) -> HttpResponse:
    """The objects of the revision that runs and of the one that follows, to read and to copy."""
    row = endpoint_or_404(request.principal, endpoint_id)
    found, problem = manifests.Manifests(), dict[str, str]()
    try:
        found = manifests.of(row)
    except ClusterError as error:
        problem = {"sentence": error.sentence, "help_url": why.help_url(error.code)}
    context = head(request, row, "Manifests") | {
        "commit": found.commit,
        "whole": "---\n".join(one.yaml for one in found.items),
        "objects": [
            {"title": f"{one.kind} {one.name}", "yaml": one.yaml, "where": one.namespace, "revision": one.revision}
            for one in found.items
        ],
        "problem": problem,
    }
    return page(request, "endpoints/manifests.html", context)
