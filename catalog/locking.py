"""Holding an asset and its versions, in the one order in which everybody takes them."""

from catalog.models import Asset, Version


def hold(asset: int) -> Asset:
    """Return the asset with this id, held with all of its versions until the transaction ends.

    The versions come first: whoever moves one goes on to the asset, whose listings are written anew. Findings and jobs
    can still be added meanwhile.
    """
    list(Version.objects.select_for_update(no_key=True).filter(asset=asset).order_by("pk").values_list("pk"))
    found: Asset = Asset.objects.select_for_update().get(pk=asset)
    return found
