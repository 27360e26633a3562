"""What may be asked for: assets with versions and evidence, whom they are for, how they stand in lists, hardware."""

from catalog.models.assets import (
    ASSET_SLUG,
    CARD_FIELDS,
    STATE_ORDER,
    Asset,
    AssetQuerySet,
    Evidence,
    Kind,
    Verdict,
    Version,
    VersionQuerySet,
    VersionState,
    asset_audience,
    asset_slug_validator,
    evidence_audience,
    is_asset_slug,
    rank_of_state,
    reviews,
    version_audience,
)
from catalog.models.collecting import Attachment, Job
from catalog.models.grants import (
    USE,
    Access,
    AssetGroupGrant,
    AssetProjectGrant,
    AssetUserGrant,
    granted_to,
    living,
    naming,
)
from catalog.models.hardware import (
    HardwareProfile,
)
from catalog.models.listings import (
    Audience,
    Listing,
    ListingQuerySet,
)
from catalog.models.pins import Pin, PinState, drift_of, with_pins
from catalog.models.servers import ServerGrant, Tool
from catalog.models.terms import Acknowledgement

__all__ = [
    "ASSET_SLUG",
    "CARD_FIELDS",
    "STATE_ORDER",
    "USE",
    "Access",
    "Acknowledgement",
    "Asset",
    "AssetGroupGrant",
    "AssetProjectGrant",
    "AssetQuerySet",
    "AssetUserGrant",
    "Attachment",
    "Audience",
    "Evidence",
    "HardwareProfile",
    "Job",
    "Kind",
    "Listing",
    "ListingQuerySet",
    "Pin",
    "PinState",
    "ServerGrant",
    "Tool",
    "Verdict",
    "Version",
    "VersionQuerySet",
    "VersionState",
    "asset_audience",
    "asset_slug_validator",
    "drift_of",
    "evidence_audience",
    "granted_to",
    "is_asset_slug",
    "living",
    "naming",
    "rank_of_state",
    "reviews",
    "version_audience",
    "with_pins",
]
