"""What the request form offers, narrowed by what is chosen already. Loaded once per page; no query after that."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from django.conf import settings
from django.db.models import Prefetch

from approvals.bodies import EndpointBody
from approvals.kinds.endpoint import Resolved
from approvals.policies import document as documents
from approvals.sizing import Line, lines_of, place, queued
from catalog import fit
from catalog.holders import open_where
from catalog.models import HardwareProfile, Kind, Version, VersionState, with_pins
from endpoints.models import Cluster, Environment
from portal.templatetags.gatehouse import bytes_h, money
from projects.middleware import offered_on
from projects.models import Project
from projects.permissions import can
from projects.principal import PortalRequest, Principal
from quotas.models import Pool

Choice = tuple[str, str, bool]  # value, label, disabled
NOTHING: Choice = ("", "Choose …", False)


@dataclass(frozen=True)
class Offer:
    """Everything that `principal` may ask for."""

    projects: Sequence[Project]
    versions: Sequence[Version]
    profiles: Sequence[HardwareProfile]
    clusters: Sequence[Cluster]
    roles: Mapping[int, str]
    lines: Mapping[int, Line]  # pool id → room and queue
    open: Mapping[int, frozenset[int]]  # asset id → the projects in which it may be asked for
    elsewhere: frozenset[str] = frozenset()  # assets that are on offer in other projects only

    @classmethod
    def load(cls, principal: Principal, projects: Sequence[Project], *, placed: bool = True) -> "Offer":
        """Read what is on offer in `projects`: approved models, profiles with their pools, clusters (four queries,
        one where a model is not for everyone, one where somebody waits for a pool). `placed` False: without clusters,
        for what stays where it is.
        """
        rows = with_pins(Version.objects.visible_to(principal))
        rows = rows.filter(state=VersionState.APPROVED, asset__kind=Kind.MODEL)
        versions = list(rows.select_related("asset").order_by("asset__name", "-approved_at", "-id"))
        where = open_where(principal, [project.pk for project in projects], [version.asset for version in versions])
        pools = Prefetch("pools", queued(Pool.objects.all()))
        profiles = list(HardwareProfile.objects.filter(enabled=True).prefetch_related(pools))
        return cls(
            projects=projects,
            versions=[version for version in versions if where[version.asset_id] or not projects],
            profiles=profiles,
            clusters=list(Cluster.objects.all()) if placed else [],
            roles=principal.roles,
            lines=lines_of(pool for profile in profiles for pool in profile.pools.all()),
            open=where,
        )

    def within(self, slug: str) -> "Offer":
        """Return what is on offer in one project; all of it as long as none is chosen."""
        project = self.project(slug)
        if project is None:
            return self
        fitting = [version for version in self.versions if project.pk in self.open[version.asset_id]]
        here = {version.asset.slug for version in fitting}
        others = frozenset(version.asset.slug for version in self.versions) - here
        return replace(self, versions=fitting, elsewhere=others)

    def home_of(self, asset: str) -> str:
        """Return the first project in which an asset may be asked for; the first of all where there is none."""
        found = self.versions_of(asset)
        fitting = [project for project in self.projects if found and project.pk in self.open[found[0].asset_id]]
        return next((project.slug for project in [*fitting, *self.projects]), "")

    def versions_of(self, asset: str) -> list[Version]:
        """Return the approved versions of an asset, newest first."""
        return [version for version in self.versions if version.asset.slug == asset]

    def version(self, asset: str, name: str) -> Version | None:
        """Return the chosen version when it is on offer."""
        return next((version for version in self.versions_of(asset) if version.version == name), None)

    def profile(self, slug: str) -> HardwareProfile | None:
        """Return the chosen profile when it is on offer."""
        return next((profile for profile in self.profiles if profile.slug == slug), None)

    def project(self, slug: str) -> Project | None:
        """Return the chosen project when the person may ask there."""
        return next((project for project in self.projects if project.slug == slug), None)

    def resolve(self, body: EndpointBody) -> Resolved | None:
        """Return what a body names, or None when some of it is not on offer (the plan says why). One query at most for
        all versions of an asset: what is known about them.
        """
        project = self.project(body.project or "")
        version = self.version(body.asset or "", body.version or "")
        profile = self.profile(body.hardware_profile or "")
        if project is None or version is None or profile is None:
            return None
        documents.with_evidence(self.versions_of(version.asset.slug))
        pool, cluster = place(profile, profile.pools.all(), self.clusters, body.environment or "")
        line = self.lines.get(pool.pk) if pool else None
        return Resolved(project, version, profile, pool, cluster, line, body.name or "", body.environment or "")


def own_projects(request: PortalRequest) -> list[Project]:
    """Return the projects in which the person may send requests, by slug, and leave what was read for the frame."""
    return [one for one in offered_on(request) if can(request.principal, "request", one)]


def narrow(offer: Offer, typed: dict[str, str]) -> dict[str, str]:
    """Return `typed` with what follows from it: the newest version, the first profile that fits."""
    values = dict(typed)
    versions = offer.versions_of(values.get("asset", ""))
    if versions and values.get("version", "") not in {version.version for version in versions}:
        values["version"] = versions[0].version
    if not values.get("hardware_profile") and versions:
        version = offer.version(values["asset"], values["version"])
        fitting = [profile for profile in offer.profiles if version and not why_not(version, profile, values)]
        if fitting:
            values["hardware_profile"] = fitting[0].slug
    return values


def asset_choices(offer: Offer, value: str) -> list[Choice]:
    """Return the models with an approved version; a chosen one that is none any more stays readable."""
    names = dict.fromkeys((version.asset.slug, version.asset.name) for version in offer.versions)
    reason = "not open to this project" if value in offer.elsewhere else "not approved"
    return [NOTHING, *_kept([(slug, name, False) for slug, name in names], value, reason)]


def version_choices(offer: Offer, asset: str, value: str) -> list[Choice]:
    """Return the approved versions of the chosen asset."""
    found = [
        (
            item.version,
            f"{item.version} (approved {item.approved_at:%-d %b %Y})" if item.approved_at else item.version,
            False,
        )
        for item in offer.versions_of(asset)
    ]
    reason = "not open to this project" if asset in offer.elsewhere else "not approved"
    return _kept(found, value, reason) if found or value else [("", "Choose a model first", False)]


def profile_choices(offer: Offer, typed: dict[str, str]) -> list[Choice]:
    """Return all profiles with their price; those that are too small say why, and cannot be chosen."""
    version = offer.version(typed.get("asset", ""), typed.get("version", ""))
    found: list[Choice] = [NOTHING]
    for profile in offer.profiles:
        price = money(profile.price_per_hour, profile.currency)
        reason = why_not(version, profile, typed) if version else ""
        # The chosen one stays enabled, else the browser would not send it: the plan beside it says what is wrong.
        disabled = bool(reason) and profile.slug != typed.get("hardware_profile")
        label = f"{profile.name} · {price} / h"
        found.append((profile.slug, f"{label} · {reason}" if reason else label, disabled))
    return _kept(found, typed.get("hardware_profile", ""), "no longer offered")


def environment_choices(offer: Offer, typed: dict[str, str]) -> list[Choice]:
    """Return the environments; one without a cluster for the chosen profile cannot be chosen."""
    profile = offer.profile(typed.get("hardware_profile", ""))
    found = []
    for environment in Environment.values:
        served = cluster_of(offer, profile, environment) is not None
        disabled = not served and environment != typed.get("environment")
        found.append((environment, environment if served else f"{environment} · no cluster serves it", disabled))
    return found


def cluster_of(offer: Offer, profile: HardwareProfile | None, environment: str) -> Cluster | None:
    """Return the cluster that would run it, without a query."""
    if profile is None:
        return next((cluster for cluster in offer.clusters if environment in cluster.environments), None)
    return place(profile, profile.pools.all(), offer.clusters, environment)[1]


def why_not(version: Version, profile: HardwareProfile, typed: dict[str, str]) -> str:
    """Return why a version cannot run on a profile with the typed context and calls, in few words; "" when it can."""
    if profile.accelerator_count and not profile.pools.all():
        return "no pool offers it"
    if not version.needs:
        return ""
    context = min(_whole(typed.get("context_tokens"), fit.DEFAULT_CONTEXT), int(version.needs["max_context_tokens"]))
    calls = _whole(typed.get("concurrency"), fit.DEFAULT_CONCURRENCY)
    plan = fit.memory(version.needs, profile, context, calls, settings.GPU_MEMORY_UTILISATION)
    if plan.fits:
        return ""
    if plan.weights > plan.limit:
        return f"too small: weights alone need {bytes_h(plan.weights)}"
    return f"too small: needs {bytes_h(plan.needed)} of {bytes_h(plan.limit)}"


def _whole(text: Any, default: int) -> int:
    text = str(text or "")
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 9 and int(text) else default


def _kept(found: Iterable[Choice], value: str, reason: str) -> list[Choice]:
    choices = list(found)
    if value and value not in {choice[0] for choice in choices}:
        choices.append((value, f"{value} · {reason}", False))
    return choices
