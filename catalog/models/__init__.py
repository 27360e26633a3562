"""What may be asked for: assets with versions and evidence, whom they are for, how they stand in lists, hardware."""

from catalog.models.assets import (
    ASSET_SLUG,
    REVIEWERS,
    STATE_ORDER,
    Access,
    Asset,
    AssetQuerySet,
    Evidence,
    Kind,
    Verdict,
    Version,
    VersionQuerySet,
    VersionState,
    asset_slug_validator,
    is_asset_slug,
    rank_of_state,
)
from catalog.models.grants import (
    USE,
    AssetGroupGrant,
    AssetProjectGrant,
    AssetUserGrant,
    living,
)
from catalog.models.hardware import (
    HardwareProfile,
)
from catalog.models.listings import (
    Audience,
    Listing,
    ListingQuerySet,
)

__all__ = [
    "ASSET_SLUG",
    "REVIEWERS",
    "STATE_ORDER",
    "USE",
    "Access",
    "Asset",
    "AssetGroupGrant",
    "AssetProjectGrant",
    "AssetQuerySet",
    "AssetUserGrant",
    "Audience",
    "Evidence",
    "HardwareProfile",
    "Kind",
    "Listing",
    "ListingQuerySet",
    "Verdict",
    "Version",
    "VersionQuerySet",
    "VersionState",
    "asset_slug_validator",
    "is_asset_slug",
    "living",
    "rank_of_state",
]
