"""Which MCP servers stand in the registry that anybody may read. None does unless a steward says so."""

from django.db import transaction

from audit.services import record
from catalog.models import Access, Asset, Kind
from portal.errors import Conflict, Invalid
from portal.http import clean_text
from projects.permissions import require
from projects.principal import Principal

MAX_REASON = 300


def publish(by: Principal, asset: Asset, reason: str) -> Asset:
    """Let anybody, signed in or not, read of an MCP server in the public registry view; `reason` has 3 to 300
    characters.

    Raises NotFound, Forbidden, Invalid for a model or an asset that is not for everyone, Conflict `already_so`.
    """
    return _turn(by, asset, True, clean_text(reason, field="reason", low=3, high=MAX_REASON))


def unpublish(by: Principal, asset: Asset, reason: str = "") -> Asset:
    """Take an MCP server out of the public registry view at once. Raises NotFound, Forbidden, Conflict `already_so`."""
    return _turn(by, asset, False, clean_text(reason, field="reason", high=MAX_REASON))


def _turn(by: Principal, asset: Asset, public: bool, reason: str) -> Asset:
    require(by, "open", asset)
    with transaction.atomic():
        current = Asset.objects.select_for_update().get(pk=asset.pk)
        if public and current.kind != Kind.MCP_SERVER:
            raise Invalid.field("registry_public", f"{current.slug} is a model; the registry lists MCP servers.")
        if public and current.access != Access.EVERYONE:
            raise Invalid.field(
                "registry_public", f"{current.slug} is only for those who are listed. Open it to everyone first."
            )
        if current.registry_public == public:
            words = "stands in the public registry already" if public else "does not stand in the public registry"
            raise Conflict(f"{current.slug} {words}.", code="already_so")
        current.registry_public = public
        current.save(update_fields=["registry_public"])
        verb = "publish_server" if public else "unpublish_server"
        facts = {"asset": current.slug, "registry_public": public}
        record(
            f"catalog.{verb}", by=by, obj=current, before={"registry_public": not public}, after=facts, reason=reason
        )
    asset.registry_public = public
    return current
