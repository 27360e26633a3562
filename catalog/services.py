"""Writing the catalog: loading and proposing specifications, evidence, hardware profiles. The life cycle of versions
stands in catalog/life.py and is called from here, too.
"""

from collections.abc import Mapping
from typing import Any

from django.conf import settings
from django.db import IntegrityError, transaction

from audit.services import record
from catalog import asking, audience, collecting, proposing
from catalog.engine_templates import DEMO_ENGINE
from catalog.holders import holding
from catalog.life import approve, block, deprecate, reject, retire, retire_due, submit, take_back
from catalog.listings import refresh
from catalog.locking import hold
from catalog.models import CARD_FIELDS, Asset, Evidence, HardwareProfile, Version, with_pins
from catalog.specs import AssetSpec, CardSpec, ProfileSpec, VersionSpec, fingerprint, misfit, stored
from catalog.standing import pinned
from portal.errors import Conflict, Invalid
from portal.http import digest
from projects.permissions import require, require_anywhere
from projects.principal import Principal

__all__ = [
    "add_version",
    "approve",
    "block",
    "change_asset",
    "collect_evidence",
    "create_asset",
    "deprecate",
    "load_asset",
    "reject",
    "retire",
    "retire_due",
    "save_profile",
    "submit",
    "take_back",
]

FROM_THE_CARD = ("ml-bom",)  # what a worker makes of the card, beside what is judged at once
AS_CODE = "Catalog as code"  # the reason of grants that a document gives


# --- Loading ----------------------------------------------------------------------------------------------------------


def load_asset(by: Principal, spec: AssetSpec) -> tuple[Asset, list[Version]]:
    """Create or update the asset that `spec` describes and add its new versions as drafts; return it with the added
    versions.

    Idempotent: what is there already stays. Raises Forbidden, and Invalid when a loaded version, or the kind, would
    change.
    """
    with transaction.atomic():
        asset = Asset.objects.filter(slug=spec.slug).first()
        if asset is None:
            asset = _create(by, spec)
        else:
            asset = hold(asset.pk)
            _update(by, asset, spec)
        added = [found for item in reversed(spec.versions) if (found := _add_version(by, asset, item)) is not None]
        _give(by, asset, spec)
        refresh(asset)
        return asset, added


def create_asset(by: Principal, spec: AssetSpec) -> Asset:
    """Create an asset with draft versions. Raises Forbidden, and Conflict: `name_taken`, `too_many_proposals`."""
    with transaction.atomic():
        proposing.require_propose(by)
        proposing.require_room(by, len(spec.versions) or 1)
        for item in spec.versions:
            _refuse_false_demo(item)
        if Asset.objects.filter(slug=spec.slug).exists():
            raise _taken(spec.slug)
        return load_asset(by, spec)[0]


def add_version(by: Principal, asset: Asset, spec: VersionSpec) -> Version:
    """Add a draft version to `asset`. Raises NotFound, Forbidden, Invalid when it does not fit the kind, and Conflict:
    `name_taken`, `too_many_proposals`.
    """
    with transaction.atomic():
        require(by, "view", asset)
        proposing.require_propose(by)
        proposing.require_room(by, 1)
        _refuse_false_demo(spec)
        hold(asset.pk)  # two of one name at once: the second one is told
        if asset.versions.filter(version=spec.version).exists():
            raise Conflict(
                f"{asset.slug} has a version {spec.version} already, and versions never change. "
                "Choose another version name.",
                code="name_taken",
            )
        added = _add_version(by, asset, spec)
        assert added is not None  # noqa: S101 - only an existing version gives None
        refresh(asset)
        return added


def _refuse_false_demo(spec: VersionSpec) -> None:
    """What loads nothing has no content to check, so nobody may say so of another command than the demo engine's."""
    runtime = spec.runtime
    if runtime is None or runtime.command[: len(DEMO_ENGINE)] == DEMO_ENGINE:
        return
    if runtime.demo or spec.source.startswith("builtin://"):
        field = "runtime.demo" if runtime.demo else "source"
        raise Invalid.field(
            field,
            f"{field} says that nothing is loaded, but the command does not begin with {' '.join(DEMO_ENGINE)}. "
            "Name the source of the weights and leave runtime.demo out, so that they are checked.",
        )


def _taken(slug: str) -> Conflict:
    return Conflict(
        f"An asset named {slug} exists already. Choose another slug or add a version to it.", code="name_taken"
    )


def _create(by: Principal, spec: AssetSpec) -> Asset:
    proposing.require_propose(by)
    text = {field: getattr(spec, field) for field in CARD_FIELDS}
    try:
        with transaction.atomic():
            asset = Asset.objects.create(slug=spec.slug, kind=spec.kind, proposed_by=by.user, **text)
    except IntegrityError as error:  # somebody else was faster by an instant
        raise _taken(spec.slug) from error
    record("catalog.create_asset", by=by, obj=asset, after={"slug": spec.slug, "kind": spec.kind, **text})
    return asset


def _update(by: Principal, asset: Asset, spec: AssetSpec) -> None:
    if asset.kind != spec.kind:
        raise Invalid.field(
            "kind", f"{asset.slug} is a {asset.kind} and cannot become a {spec.kind}. Give the new asset another slug."
        )
    wanted = {field: getattr(spec, field) for field in CARD_FIELDS}
    if wanted != asset.card():
        proposing.require_change(by, asset)
        _change(by, asset, wanted)


def change_asset(by: Principal, asset: Asset, wanted: CardSpec, *, seen: str = "") -> Asset:
    """Change what the card of `asset` says, and have every version's card judged again. What a proposer changes counts
    like asking for evidence. `seen`: the digest of the card that the caller has read.

    Raises NotFound, Forbidden, RateLimited, and Conflict `changed_meanwhile` when it says something else by now.
    """
    with transaction.atomic():
        current = hold(asset.pk)  # a decision holds them too: nobody lets in a card that changes at the same moment
        proposing.require_change(by, current)
        if seen and current.card_digest() != seen:
            raise Conflict(
                f"The card of {current.slug} was changed by somebody else since you opened it. Open it again in "
                "another window, and take over what you want to keep.",
                code="changed_meanwhile",
            )
        _change(by, current, wanted.model_dump(exclude_none=True))
        refresh(current)
        return current


def _change(by: Principal, asset: Asset, wanted: Mapping[str, Any]) -> None:
    """Write those of `wanted` that differ; the findings about the text go with it."""
    before = asset.card()
    changed = {field: value for field, value in wanted.items() if before[field] != value}
    if not changed:
        return
    asking.count(by)
    for field, value in changed.items():
        setattr(asset, field, value)
    asset.save(update_fields=list(changed))
    record("catalog.change_asset", by=by, obj=asset, before={field: before[field] for field in changed}, after=changed)
    for version in with_pins(asset.versions.all()):
        version.asset = asset
        _collect(by, version)
        if pinned(version):
            collecting.schedule(version, FROM_THE_CARD, by=by)


def _give(by: Principal, asset: Asset, spec: AssetSpec) -> None:
    """Open or list the asset and grant it, as far as `spec` says so; what it does not name stays."""
    if spec.access is not None and spec.access != asset.access:
        act = audience.list_only if spec.access == "listed" else audience.open_to_everyone
        act(by, asset, AS_CODE)
    for kind, names in (("project", spec.projects), ("group", spec.groups)):
        present = holding(asset.slug, kind) if names else set()
        for name in dict.fromkeys(names):
            if name not in present:
                audience.GRANTS[kind](by, asset, name, reason=AS_CODE)


def _add_version(by: Principal, asset: Asset, spec: VersionSpec) -> Version | None:
    """Add `spec`, or return None when exactly this content is loaded already."""
    fresh = digest(fingerprint(asset.slug, spec))
    present = asset.versions.filter(version=spec.version).first()
    if present is not None:
        if present.digest != fresh:
            raise Invalid.field(
                f"versions.{spec.version}",
                f"Version {spec.version} of {asset.slug} is loaded with other content, and versions never change. "
                "Give the new content another version name.",
            )
        return None
    proposing.require_propose(by)
    problem = misfit(asset.kind, spec)
    if problem:
        raise Invalid.field(f"versions.{spec.version}", problem)
    version = Version.objects.create(
        asset=asset,
        version=spec.version,
        source=spec.source,
        digest=fresh,
        licence=spec.licence,
        runtime=stored(spec.runtime),
        runtimes={name: stored(item) for name, item in spec.runtimes.items()},
        needs=stored(spec.needs),
        facts=stored(spec.facts),
        proposed_by=by.user,
    )
    after = {
        "asset": asset.slug,
        "version": spec.version,
        "digest": fresh,
        "source": spec.source,
        "state": version.state,
    }
    record("catalog.create_version", by=by, obj=version, after=after)
    collecting.begin(by, version)
    return version


# --- Evidence ---------------------------------------------------------------------------------------------------------


def collect_evidence(by: Principal, version: Version) -> list[Evidence]:
    """Run every check on `version` and keep each finding that differs from the last one of its kind; return the new
    rows.
    """
    require(by, "collect_evidence", version)
    with transaction.atomic():
        rows = _collect(by, version)
        refresh(version.asset)
        return rows


def _collect(by: Principal, version: Version) -> list[Evidence]:
    return collecting.instantly(by, version)


# --- Hardware ---------------------------------------------------------------------------------------------------------


def save_profile(by: Principal, spec: ProfileSpec) -> HardwareProfile:
    """Create or change a hardware profile; without a currency it takes the installation's. Raises Forbidden."""
    fields = spec.model_dump(exclude={"slug"})
    fields["currency"] = fields["currency"] or settings.CURRENCY
    with transaction.atomic():
        profile = HardwareProfile.objects.select_for_update().filter(slug=spec.slug).first()
        if profile is None:
            require_anywhere(by, "create", HardwareProfile)
            profile = HardwareProfile.objects.create(slug=spec.slug, **fields)
            record("catalog.create_profile", by=by, obj=profile, after={"slug": spec.slug, **fields})
            return profile
        before = {name: getattr(profile, name) for name in fields}
        changed = {name: value for name, value in fields.items() if before[name] != value}
        if changed:
            require(by, "change", profile)
            HardwareProfile.objects.filter(pk=profile.pk).update(**changed)
            profile.refresh_from_db()
            past = {name: before[name] for name in changed}
            record("catalog.change_profile", by=by, obj=profile, before=past, after=changed)
        return profile
