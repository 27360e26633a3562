"""Adopting what runs already: the part of a request for an endpoint that is about the running object.

What runs is compared with what is asked for; a reviewer sees both. Whoever sends the request first has the object until
the answer.
"""

from collections.abc import Iterable
from typing import Any

from approvals.models import Request
from approvals.verdicts import FAIL, PASS, WARN, Check
from catalog.models import HardwareProfile, Version
from endpoints.models import Cluster
from endpoints.rogue import adopt
from endpoints.rogue import services as rogue
from endpoints.rogue.images import known, repository
from endpoints.rogue.models import RogueState, RogueWorkload
from projects.permissions import visible
from projects.principal import Principal
from quotas.models import Pool

RELATED = ("cluster", "project", "owner")


def find(by: Principal, pk: int | None, problems: dict[str, str]) -> RogueWorkload | None:
    """Return the workload that a request adopts, or add to `problems` that there is none which the caller may see."""
    if pk is None:
        return None
    rows = RogueWorkload.objects.select_related(*RELATED)
    found: RogueWorkload | None = visible(by, rows).filter(pk=pk).first()
    if found is None and by.is_authenticated:
        found = rows.filter(pk=pk, owner=by.person).first()  # who was told may ask
    if found is None:
        problems["adopts"] = (
            f"adopts is {pk}, and you may see no workload of that number. Choose one from the list of workloads "
            "without approval."
        )
    return found


def place(
    row: RogueWorkload, profile: HardwareProfile, pools: Iterable[Pool], environment: str
) -> tuple[Pool | None, Cluster | None]:
    """Return where it runs: its cluster where that serves the environment, and the first pool there of the profile."""
    pool = next((one for one in sorted(pools, key=lambda one: one.slug) if one.cluster == row.cluster.slug), None)
    here = row.cluster.removed_at is None and environment in row.cluster.environments
    return pool, row.cluster if here else None


def facts(row: RogueWorkload) -> dict[str, Any]:
    """Return what the plan keeps of the object: it is bound to its uid."""
    return {
        **adopt.reference(row), "id": row.pk, "cluster": row.cluster.slug, "images": row.images, "engine": row.engine,
        "model": row.facts.get("model", ""), "accelerators": row.accelerators, "pods": row.facts.get("pods", 0),
    }  # fmt: skip


def checks(by: Principal, row: RogueWorkload, version: Version, profile: HardwareProfile, replicas: int) -> list[Check]:
    """Return what has to hold so that what runs may be what is asked for."""
    return [_adoptable(by, row), _same_engine(row, version), _same_size(row, profile, replicas)]


def sent(by: Principal, request: Request, row: RogueWorkload) -> None:
    """Let the request be the one that adopts `row`; raises Conflict when another one was faster."""
    rogue.claim(by, row, request.pk, str(request))


def ended(by: Principal, request: Request) -> None:
    """Let somebody else adopt what `request` did not."""
    rogue.release(by, request.pk, str(request))


def _adoptable(by: Principal, row: RogueWorkload) -> Check:
    title = "Can be adopted"
    if row.state in (RogueState.GONE, RogueState.ADOPTED):
        fix = "Ask for a new endpoint, without adopts."
        return Check("adp-001", title, FAIL, rogue.taken(row).sentence, fix, "adopts")
    why = adopt.why_not(row, row.cluster)
    if why:
        return Check("adp-001", title, FAIL, why, "", "adopts")
    if row.state == RogueState.ADOPTING and not _own(by, row):
        return Check("adp-001", title, WARN, rogue.taken(row).sentence, "", "adopts")
    what = f"{row.kind} {row} on {row.cluster.slug} goes on running; its pods are not touched."
    return Check("adp-001", title, PASS, what, "", "adopts")


def _own(by: Principal, row: RogueWorkload) -> bool:
    return row.request is not None and Request.objects.filter(pk=row.request, requester=by.person).exists()


def _same_engine(row: RogueWorkload, version: Version) -> Check:
    """What runs is what the version says, as far as names tell: nobody has verified the running bytes."""
    title, differ = "Runs what the version says", []
    runs, wanted = str(row.facts.get("image") or ""), str(version.runtime.get("image") or "")
    engine, family = str(version.runtime.get("engine") or ""), known(runs)
    if family is not None and engine and family.engine != engine:
        differ.append(f"it runs {family.name}, and the version wants {engine}")
    elif wanted and repository(runs) != repository(wanted):
        differ.append(f"its image is {repository(runs) or 'unknown'}, and the version's is {repository(wanted)}")
    elif wanted and wanted.rpartition("@")[2] not in runs:
        differ.append("its image is not pinned to the digest of the version")
    model = str(row.facts.get("model") or "")
    source = version.source.partition("://")[2].partition("@")[0] or version.source
    if model and model.partition("://")[2].partition("@")[0] != source and model != source:
        differ.append(f"it serves {model}, and the version is {source}")
    if not differ:
        return Check("adp-002", title, PASS, "Image, engine and model are those of the version.", "", "version")
    sentence = f"{'; '.join(differ)}."
    fix = "Choose the version that fits, or ask for a revision afterwards: that one the portal runs itself."
    return Check("adp-002", title, WARN, sentence[:1].upper() + sentence[1:], fix, "version")


def _same_size(row: RogueWorkload, profile: HardwareProfile, replicas: int) -> Check:
    title, each, pods = "Is as large as what is asked for", int(row.facts.get("per_pod") or 0), row.facts.get("pods")
    if each != profile.accelerator_count:
        have = f"Each of its pods takes {each} accelerators, and {profile.slug} has {profile.accelerator_count}."
        fix = f"Choose a hardware profile with {each} accelerators, or add one that is like it."
        return Check("adp-003", title, FAIL, have, fix, "hardware_profile")
    resource = str(row.facts.get("resource") or "")
    if each and (profile.resource or "nvidia.com/gpu") != resource:
        other = profile.resource or "nvidia.com/gpu"
        have = f"It takes {resource or 'accelerators by claim'}, and {profile.slug} is {other}."
        return Check("adp-003", title, WARN, have, "Choose a profile of that resource.", "hardware_profile")
    wants = int(row.facts.get("replicas") or pods or 1)
    if wants != replicas:
        have = f"It wants {wants} replicas, and {replicas} are asked for: approval changes that."
        return Check("adp-003", title, WARN, have, f"Set replicas to {wants} to leave it.", "replicas")
    return Check("adp-003", title, PASS, f"{wants} × {each} accelerators, as it runs now.", "", "replicas")
