"""REST API of interchange: the ML-BOM of a version, and the catalog as a file for Backstage or Open Data Hub."""

from django.http import HttpResponse, StreamingHttpResponse
from ninja import Router

from catalog.api import READ, asset_or_404, version_or_404
from catalog.interchange import bom, exporting
from catalog.models import Version
from portal.errors import Invalid, NotFound
from projects.api import scope
from projects.principal import PortalRequest

router = Router(tags=["catalog"])


@router.get("/catalog/assets/{slug}/versions/{version}/ml-bom", auth=scope(READ))
def get_ml_bom(request: PortalRequest, slug: str, version: str, source: str = "generated") -> HttpResponse:
    """The ML-BOM of a version (CycloneDX 1.7); `source=vendor` answers the one that its publisher gave, as it came."""
    return file_of(version_or_404(request.principal, slug, version), source)


@router.get("/catalog/export", auth=scope(READ))
def export(request: PortalRequest, format: str = "backstage", asset: str = "") -> StreamingHttpResponse:
    """What you see of the catalog as a file: `format` is backstage (catalog-info.yaml) or odh (a model catalog source);
    `asset` narrows it to one.
    """
    name = exporting.checked(format)
    if asset:
        asset_or_404(request.principal, asset)
    pieces = exporting.export(request.principal, name, asset)
    response = StreamingHttpResponse(pieces, content_type=exporting.MEDIA_TYPE)
    response["Content-Disposition"] = f'attachment; filename="{exporting.FILES[name]}"'
    response["Cache-Control"] = "no-store"
    return response


def file_of(version: Version, source: str) -> HttpResponse:
    """Return the ML-BOM of `version` as a file, for the API and the page alike.

    Raises Invalid for an unknown `source`, and NotFound when no vendor's document was added.
    """
    if source not in {"generated", "vendor"}:
        raise Invalid.field("source", f"source is {source[:20]!r}; choose generated or vendor.")
    added = bom.vendors(version) if source == "vendor" else None
    if source == "vendor" and added is None:
        raise NotFound(f"Nobody has added an ML-BOM of the publisher to {version.asset.slug} {version.version}.")
    response = HttpResponse(added.content if added else bom.text_of(version), content_type=bom.MEDIA_TYPE)
    response["Content-Disposition"] = f'attachment; filename="{version.asset.slug}-{version.version}.cdx.json"'
    response["Cache-Control"] = "no-store"
    return response
