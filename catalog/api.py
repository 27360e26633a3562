"""REST API of the catalog: assets with versions and evidence, hardware profiles, admission and life cycle."""

from typing import Any, Literal

from django.db import transaction
from django.db.models import Exists, OuterRef, Prefetch, Q, TextField
from django.db.models.functions import Cast
from django.http import HttpResponse
from ninja import Query, Router
from pydantic import Field, StrictBool

from catalog import audience, collecting, proposing, services, standing
from catalog.locking import hold
from catalog.mcp import definitions, publishing
from catalog.models import (
    CARD_FIELDS,
    STATE_ORDER,
    Asset,
    AssetQuerySet,
    Evidence,
    HardwareProfile,
    Kind,
    Version,
    VersionState,
    is_asset_slug,
    with_pins,
)
from catalog.specs import AssetSpec, CardSpec, Line, VersionSpec
from portal.errors import Invalid, NotFound
from portal.http import cursor_page, require_match
from projects.api import Body, answer, idempotent, scope
from projects.permissions import require
from projects.principal import PortalRequest, Principal

router = Router(tags=["catalog"])
READ, WRITE = "catalog:read", "catalog:write"


# --- Shapes -----------------------------------------------------------------------------------------------------------


class AssetFilters(Body):
    """Filters of the list of assets."""

    kind: Line | None = Field(default=None, max_length=40)
    state: Line | None = Field(default=None, max_length=40)
    task: Line | None = Field(default=None, max_length=40)
    licence: Line | None = Field(default=None, max_length=80)
    q: Line = Field(default="", max_length=200)
    limit: int | None = None
    cursor: str | None = Field(default=None, max_length=2000)


class AssetPatch(CardSpec):
    """What the card says, whom the asset is for, and whether anybody may read of an MCP server in the public registry.
    What is missing or null stays; to list it and to publish it needs a reason.
    """

    access: Literal["everyone", "listed"] | None = None
    registry_public: StrictBool | None = None
    reason: str = Field("", max_length=2000)

    @property
    def card(self) -> CardSpec:
        """The part that is about the card."""
        return CardSpec(**{name: value for name in CARD_FIELDS if (value := getattr(self, name)) is not None})


def evidence_json(item: Evidence, *, report: bool = False) -> dict[str, Any]:
    """Return a finding as the API shows it."""
    body = {
        "kind": item.kind,
        "verdict": item.verdict,
        "summary": item.summary,
        "tool": item.tool,
        "digest": item.digest,
        "collected_at": item.collected_at,
        "expires_at": item.expires_at,
    }
    return {**body, "report": item.report} if report else body


def version_json(version: Version, *, full: bool = False, reader: Principal | None = None) -> dict[str, Any]:
    """Return a version as the API shows it; `full` adds runtime, facts and the raw reports, and the successor that
    `reader` sees.
    """
    body: dict[str, Any] = {
        "version": version.version,
        "state": version.state,
        "state_reason": version.state_reason,
        "licence": version.licence,
        "source": version.source,
        "digest": version.digest,
        "needs": version.needs,
        "created_at": version.created_at,
        "approved_at": version.approved_at,
        "evidence": [evidence_json(item, report=full) for item in version.latest_evidence()],
    }
    if full:
        successor = version.successor_for(reader)
        body |= {
            "retires_on": version.retires_on,
            "problems": standing.problems(version),
            "jobs": [line.json() for line in collecting.progress(version)],
            "successor": f"{successor.asset.slug}@{successor.version}" if successor else None,
            "runtime": version.runtime,
            "runtimes": version.runtimes,
            "facts": version.facts,
            **({"tools": _tools(version)} if version.asset.kind == Kind.MCP_SERVER else {}),
        }
    return body


def _tools(version: Version) -> list[dict[str, Any]]:
    """Return the pinned tools of an MCP server: name, digest and hints."""
    rows = version.tools.all()
    return [{"name": row.name, "digest": row.digest, **definitions.hints(row.definition)} for row in rows]


def asset_json(asset: Any, *, full: bool = False) -> dict[str, Any]:
    """Return an asset (as `visible_to` annotates it, versions prefetched) as the API shows it."""
    return {
        "slug": asset.slug,
        "kind": asset.kind,
        "name": asset.name,
        "access": asset.access,
        **({"registry_public": asset.registry_public} if asset.kind == Kind.MCP_SERVER else {}),
        "state": VersionState.DRAFT if asset.rank is None else STATE_ORDER[asset.rank],
        "publisher": asset.publisher,
        "summary": asset.summary,
        **({"description": asset.description} if full else {}),
        "tasks": asset.tasks,
        "languages": asset.languages,
        "homepage": asset.homepage,
        "created_at": asset.created_at,
        "versions": [version_json(version) for version in asset.versions.all()],
    }


def profile_json(profile: HardwareProfile) -> dict[str, Any]:
    """Return a hardware profile as the API shows it."""
    return {
        "slug": profile.slug,
        "name": profile.name,
        "accelerator": profile.accelerator or None,
        "accelerator_count": profile.accelerator_count,
        "memory_bytes": profile.memory_bytes,
        "price_per_hour": f"{profile.price_per_hour:.4f}",
        "currency": profile.currency,
    }


# --- Reading ----------------------------------------------------------------------------------------------------------


def _assets(principal: Principal) -> AssetQuerySet:
    findings = Prefetch("evidence", queryset=Evidence.objects.defer("report"))  # reports may take megabytes
    versions = Version.objects.visible_to(principal).prefetch_related(findings)
    return Asset.objects.visible_to(principal).prefetch_related(Prefetch("versions", queryset=versions))


def _choice(name: str, value: str, choices: list[str]) -> str:
    if value not in choices:
        raise Invalid.field(name, f"{name} is {value!r}; choose one of {', '.join(choices)}.")
    return value


def _filtered(assets: AssetQuerySet, principal: Principal, wanted: AssetFilters) -> AssetQuerySet:
    if wanted.kind is not None:
        assets = assets.filter(kind=_choice("kind", wanted.kind, Kind.values))
    if wanted.state is not None:
        rank = STATE_ORDER.index(VersionState(_choice("state", wanted.state, VersionState.values)))
        empty = Q(rank__isnull=True) if wanted.state == VersionState.DRAFT else Q()
        assets = assets.filter(Q(rank=rank) | empty)
    if wanted.task is not None:
        # Tasks are plain labels, so the quoted word is found in the JSON text on every database.
        assets = assets.annotate(task_text=Cast("tasks", TextField())).filter(task_text__contains=f'"{wanted.task}"')
    if wanted.licence is not None:
        versions = Version.objects.visible_to(principal).filter(asset=OuterRef("pk"), licence=wanted.licence)
        assets = assets.filter(Exists(versions))
    for word in wanted.q.split()[:10]:
        matches = Q(name__icontains=word) | Q(slug__icontains=word) | Q(publisher__icontains=word)
        assets = assets.filter(matches | Q(summary__icontains=word))
    return assets


def asset_or_404(principal: Principal, slug: str) -> Any:
    """Return an asset as `asset_json` wants it; raises NotFound when there is none or the caller may not see it."""
    found = _assets(principal).filter(slug=slug).first() if is_asset_slug(slug) else None
    if found is None:
        raise NotFound(f"There is no asset {slug[:40]} in the catalog, or you may not see it.")
    return found


def version_or_404(principal: Principal, slug: str, name: str) -> Version:
    """Return a version with its asset; raises NotFound when there is none or the caller may not see it."""
    versions = with_pins(Version.objects.visible_to(principal).select_related("asset", "successor__asset"))
    sane = is_asset_slug(slug) and name.isprintable()
    found = versions.filter(asset__slug=slug, version=name).first() if sane else None
    if found is None:
        raise NotFound(f"There is no version {name[:40]} of {slug[:40]}, or you may not see it.")
    return found


@router.get("/catalog/assets", auth=scope(READ))
def list_assets(request: PortalRequest, wanted: Query[AssetFilters]) -> HttpResponse:
    """The catalog, by name."""
    principal: Principal = request.principal
    assets = _filtered(_assets(principal), principal, wanted)
    rows, following = cursor_page(assets, limit=wanted.limit, cursor=wanted.cursor, order=("name", "id"))
    return answer(request, {"items": [asset_json(row) for row in rows], "next": following})


@router.get("/catalog/assets/{slug}", auth=scope(READ))
def get_asset(request: PortalRequest, slug: str) -> HttpResponse:
    """One asset with its versions."""
    return answer(request, asset_json(asset_or_404(request.principal, slug), full=True))


@router.get("/catalog/assets/{slug}/versions/{version}", auth=scope(READ))
def get_version(request: PortalRequest, slug: str, version: str) -> HttpResponse:
    """One version with runtime, facts and raw evidence."""
    found = version_or_404(request.principal, slug, version)
    return answer(request, version_json(found, full=True, reader=request.principal))


@router.get("/hardware-profiles", auth=scope(READ))
def list_profiles(request: PortalRequest, limit: int | None = None, cursor: str | None = None) -> HttpResponse:
    """What a replica may run on."""
    profiles = HardwareProfile.objects.filter(enabled=True)
    rows, following = cursor_page(profiles, limit=limit, cursor=cursor, order=("order", "slug"))
    return answer(request, {"items": [profile_json(row) for row in rows], "next": following})


# --- Writing ----------------------------------------------------------------------------------------------------------


@router.post("/catalog/assets", auth=scope(WRITE))
@idempotent
def create_asset(request: PortalRequest, body: AssetSpec) -> HttpResponse:
    """Propose an asset; its versions start as drafts."""
    asset = services.create_asset(request.principal, body)
    return answer(request, asset_json(asset_or_404(request.principal, asset.slug), full=True), status=201)


@router.patch("/catalog/assets/{slug}", auth=scope(WRITE))
def change_asset(request: PortalRequest, slug: str, body: AssetPatch) -> HttpResponse:
    """Change the card, open an asset to everyone or keep it for those who are listed, put an MCP server into the public
    registry or take it out; needs If-Match. The card is its proposer's, too, until a version was approved.
    """
    by, card = request.principal, body.card
    with transaction.atomic():
        asset = asset_or_404(by, slug)
        if card.model_fields_set:
            proposing.require_change(by, asset)
        if not card.model_fields_set or body.access is not None or body.registry_public is not None:
            require(by, "open", asset)
        hold(asset.pk)  # nobody changes it between the tag and the change
        asset = asset_or_404(by, slug)
        require_match(request, asset_json(asset, full=True))
        if card.model_fields_set:
            services.change_asset(by, asset, card)
        if body.access not in (None, asset.access):
            _turn(by, asset, body)
        if body.registry_public not in (None, asset.registry_public):
            act = publishing.publish if body.registry_public else publishing.unpublish
            act(by, asset, body.reason)
        changed = asset_or_404(by, slug)
    return answer(request, asset_json(changed, full=True))


def _turn(by: Principal, asset: Asset, body: AssetPatch) -> None:
    act = audience.list_only if body.access == "listed" else audience.open_to_everyone
    act(by, asset, body.reason)


@router.post("/catalog/assets/{slug}/versions", auth=scope(WRITE))
@idempotent
def create_version(request: PortalRequest, slug: str, body: VersionSpec) -> HttpResponse:
    """Propose a version of an asset; it starts as a draft."""
    version = services.add_version(request.principal, asset_or_404(request.principal, slug), body)
    return answer(request, version_json(version, full=True), status=201)
