"""From what a running object says to what the catalog has: a best guess for the form, in which a person chooses."""

from catalog.models import HardwareProfile, Version, VersionState
from endpoints.rogue.images import known, repository
from endpoints.rogue.models import RogueWorkload
from projects.principal import Principal
from quotas.models import Pool

MOST = 500  # versions that are looked at


def guess(by: Principal, row: RogueWorkload) -> dict[str, str]:
    """Return asset, version, hardware profile and environment that fit best, as far as any does (three queries)."""
    found = _version(by, row)
    profile = _profile(row)
    values = {
        "asset": found.asset.slug if found else "",
        "version": found.version if found else "",
        "hardware_profile": profile.slug if profile else "",
    }
    served = row.cluster.environments
    if len(served) == 1:
        values["environment"] = str(served[0])
    return {name: value for name, value in values.items() if value}


def _version(by: Principal, row: RogueWorkload) -> Version | None:
    model = _plain(str(row.facts.get("model") or row.facts.get("served") or ""))
    image = str(row.facts.get("image") or "")
    rows = Version.objects.visible_to(by).filter(state=VersionState.APPROVED, asset__kind="model")
    ranked = [(_rank(one, model, image), one) for one in rows.select_related("asset").order_by("-pk")[:MOST]]
    best = max(ranked, key=lambda pair: pair[0], default=None)
    return best[1] if best is not None and best[0] >= 4 else None


def _rank(version: Version, model: str, image: str) -> int:
    """Return how well a version fits: the model above all, then the digest, then the engine."""
    source = _plain(version.source)
    same = bool(model) and (
        model == source or model.rpartition("/")[2] in {source.rpartition("/")[2], version.asset.slug}
    )
    wanted = str(version.runtime.get("image") or "")
    digest = wanted.rpartition("@")[2]
    family = known(image)
    return (
        8 * (bool(model) and model == source) + 4 * same + 2 * (bool(digest) and "@" in wanted and digest in image)
        + (bool(wanted) and repository(wanted) == repository(image))
        + (family is not None and family.engine == version.runtime.get("engine"))
    )  # fmt: skip


def _plain(source: str) -> str:
    """Return the name of a model without scheme, revision and case."""
    return source.rpartition("://")[2].partition("@")[0].strip("/").lower()


def _profile(row: RogueWorkload) -> HardwareProfile | None:
    """Return a profile with as many accelerators of the same resource; one of a pool of the cluster first, and the one
    that the dashboard of OpenShift AI names before all.
    """
    each, resource = int(row.facts.get("per_pod") or 0), str(row.facts.get("resource") or "")
    found = [
        one for one in HardwareProfile.objects.filter(enabled=True, accelerator_count=each)
        if not each or (one.resource or "nvidia.com/gpu") == resource
    ]  # fmt: skip
    pools = Pool.objects.filter(cluster=row.cluster.slug, profiles__in=found)
    here = set(pools.values_list("profiles__slug", flat=True))
    named = str(row.facts.get("profile") or "")
    return max(found, key=lambda one: (one.slug == named, one.slug in here, -one.order), default=None)
