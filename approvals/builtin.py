"""The portal's own checks of a plan: what must hold for a request to be carried out at all, whatever the policies say.

They run in the form, at submission and at approval. What an organisation demands beyond them stands in its policy
bundle (approvals/policies/).
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from approvals.verdicts import FAIL, PASS, WARN, Check, ordered
from catalog.models import HardwareProfile, Version, VersionState, drift_of
from projects.models import User
from quotas.gpus import GpuLimit
from quotas.models import Pool


@dataclass(frozen=True)
class Case:
    """What the rules look at. `quota` None: no accelerator is asked for; `own_gpus` the endpoint has already;
    `containers`: engines of the cluster run from images.
    """

    version: Version
    profile: HardwareProfile
    pool: Pool | None
    replicas: int
    concurrency: int
    context_tokens: int
    environment: str
    data_classification: str
    memory: dict[str, Any]
    name_taken: bool
    cluster: str | None
    project: str = ""
    quota: GpuLimit | None = None
    own_gpus: int = 0
    containers: bool = False


Rule = Callable[[Case], Check]


def only_approved(case: Case) -> Check:
    """Catalog first: only an approved version can be requested, and only while its source holds what was approved."""
    state = VersionState(case.version.state)
    if drifted := drift_of(case.version):
        return _drifted("cat-001", "Version is approved", FAIL, case.version, drifted, "version")
    ok = state == VersionState.APPROVED
    label = f"{case.version.asset.slug} {case.version.version}"
    return Check(
        "cat-001",
        "Version is approved",
        PASS if ok else FAIL,
        f"{label} is {state.label.lower()}.",
        "" if ok else "Choose an approved version in the catalog.",
        "version",
    )


def _drifted(code: str, title: str, verdict: str, version: Version, drifted: str, field: str) -> Check:
    """Nothing of it would be started, whatever is approved; what runs already goes on."""
    why = f"The content of {version.asset.slug} {version.version} has drifted: {drifted}"
    return Check(code, title, verdict, why, "Choose another version, or wait until it is verified again.", field)


def only_models(case: Case) -> Check:
    """Endpoints serve models; an MCP server is granted, not provisioned. In a cluster a model comes with an image."""
    title, version, image = "Asset can be served", case.version, str(case.version.runtime.get("image") or "")
    if version.asset.kind != "model":
        sentence = f"{version.asset.name} is an MCP server, which runs elsewhere."
        return Check("cat-002", title, FAIL, sentence, "Choose a model.", "asset")
    if case.containers and "@sha256:" not in image:
        which = "names an image without a digest" if image else "names no image"
        sentence = f"{case.cluster} runs containers, and {version.asset.slug} {version.version} {which}."
        return Check("cat-002", title, FAIL, sentence, "Choose a version whose image ends in @sha256:….", "version")
    return Check("cat-002", title, PASS, "The asset is a model.", "", "asset")


def fits_memory(case: Case) -> Check:
    """Weights, cache and overhead must fit the profile."""
    memory = case.memory
    if memory["fits"]:
        tight = (
            memory["limit_bytes"] and (memory["limit_bytes"] - memory["needed_bytes"]) / memory["limit_bytes"] < 0.05
        )
        return Check(
            "cap-001",
            "Fits the memory",
            WARN if tight else PASS,
            memory["sentence"],
            "Lower context_tokens or concurrency for more headroom." if tight else "",
            "hardware_profile",
        )
    return Check("cap-001", "Fits the memory", FAIL, memory["sentence"], memory["fix"], "hardware_profile")


def within_context(case: Case) -> Check:
    """The model's own context length is the limit."""
    limit = int(case.version.needs.get("max_context_tokens") or 0)
    ok = not limit or case.context_tokens <= limit
    return Check(
        "cap-002",
        "Context within the model's limit",
        PASS if ok else FAIL,
        f"{case.context_tokens:,} of {limit:,} tokens." if limit else "The model names no limit.",
        "" if ok else f"Set context_tokens to {limit} or less.",
        "context_tokens",
    )


def pool_can_hold(case: Case) -> Check:
    """A request that no empty pool could ever hold would wait forever."""
    wanted = case.profile.accelerator_count * case.replicas
    if not wanted:
        return Check("cap-003", "Pool is large enough", PASS, "No accelerator is needed.", "", "replicas")
    if case.pool is None:
        return Check(
            "cap-003",
            "Pool is large enough",
            FAIL,
            f"No pool offers {case.profile.slug}.",
            "Choose another hardware profile.",
            "hardware_profile",
        )
    ok = wanted <= case.pool.limit
    most = case.pool.limit // case.profile.accelerator_count
    return Check(
        "cap-003",
        "Pool is large enough",
        PASS if ok else FAIL,
        f"{wanted} of the {case.pool.limit} GPUs in {case.pool.slug}.",
        "" if ok else f"Set replicas to {most} or less." if most else "Choose a smaller hardware profile.",
        "replicas",
    )


def project_gpu_quota(case: Case) -> Check:
    """A project holds and waits for no more accelerators than its quota; what an endpoint has counts as its own."""
    title, more = "Within the project's GPU quota", case.profile.accelerator_count * case.replicas - case.own_gpus
    limit = case.quota.limit if case.quota else None
    if case.quota is None or limit is None:
        reason = "No accelerator is needed." if case.quota is None else f"No GPU quota limits {case.project}."
        return Check("project-gpu-quota", title, PASS, reason, "", "replicas")
    left = max(0, limit - case.quota.held - case.quota.waiting)
    waits = f" and waits for {case.quota.waiting}" if case.quota.waiting else ""
    reason = f"{case.project} may hold {limit} GPUs; it holds {case.quota.held}{waits}."
    if more <= left:
        return Check("project-gpu-quota", title, PASS, reason, "", "replicas")
    most = (left + case.own_gpus) // case.profile.accelerator_count
    fewer = f"Set replicas to {most} or less" if most else "Suspend an endpoint"
    return Check(
        "project-gpu-quota",
        title,
        FAIL,
        f"{reason} This needs {more} more.",
        f"{fewer}, or ask for a larger GPU quota first.",
        "replicas",
    )


def may_go_on(version: Version) -> Check:
    """What runs may go on while its version is approved or deprecated; a retired or blocked one ends."""
    state = VersionState(version.state)
    if drifted := drift_of(version):
        return _drifted("cat-003", "Version may go on", WARN, version, drifted, "endpoint")
    good = {VersionState.APPROVED: PASS, VersionState.DEPRECATED: WARN}
    verdict = good.get(state, FAIL)
    return Check(
        "cat-003",
        "Version may go on",
        verdict,
        f"{version.asset.slug} {version.version} is {state.label.lower()}.",
        "" if verdict == PASS else "Ask for a revision with an approved version.",
        "endpoint",
    )


def profile_offered(case: Case) -> Check:
    """A profile that was switched off takes no new requests."""
    ok = case.profile.enabled
    return Check(
        "cap-004",
        "Hardware profile is offered",
        PASS if ok else FAIL,
        f"{case.profile.slug} is {'offered' if ok else 'no longer offered'}.",
        "" if ok else "Choose another profile.",
        "hardware_profile",
    )


def environment_served(case: Case) -> Check:
    """Some cluster must serve the environment."""
    ok = case.cluster is not None
    return Check(
        "env-001",
        "A cluster serves the environment",
        PASS if ok else FAIL,
        f"{case.environment} runs on {case.cluster}." if ok else f"No cluster serves {case.environment}.",
        "" if ok else "Choose another environment.",
        "environment",
    )


def name_free(case: Case) -> Check:
    """Names are unique per project among the living, and reserved for 30 days after deletion."""
    return Check(
        "name-001",
        "Name is free",
        FAIL if case.name_taken else PASS,
        "Another endpoint of the project has this name, or had it in the last 30 days."
        if case.name_taken
        else "The name is free.",
        "Choose another name." if case.name_taken else "",
        "name",
    )


def prod_has_two(case: Case) -> Check:
    """One replica in prod means that each restart is an outage."""
    ok = case.environment != "prod" or case.replicas >= 2
    return Check(
        "avl-001",
        "prod runs two replicas",
        PASS if ok else WARN,
        f"{case.replicas} replica{'s' if case.replicas != 1 else ''} in {case.environment}.",
        "" if ok else "Set replicas to 2 or more.",
        "replicas",
    )


def no_demo_for_secrets(case: Case) -> Check:
    """The demo engine is for trying the portal, not for data that matters."""
    return no_demo_for(case.version, case.data_classification)


def no_demo_for(version: Version, classification: str) -> Check:
    """As `no_demo_for_secrets`, for an endpoint that runs already."""
    demo = bool(version.runtime.get("demo"))
    engine = "the demo engine" if demo else version.runtime.get("engine", "its engine")
    bad = demo and classification in {"confidential", "restricted"}
    return Check(
        "data-001",
        "Engine suits the data class",
        WARN if bad else PASS,
        f"{classification} data on {engine}.",
        "Use a version with a production engine." if bad else "",
        "data_classification",
    )


RULES: tuple[Rule, ...] = (
    only_approved,
    only_models,
    profile_offered,
    fits_memory,
    within_context,
    pool_can_hold,
    project_gpu_quota,
    environment_served,
    name_free,
    prod_has_two,
    no_demo_for_secrets,
)


def run(case: Case, rules: Iterable[Rule] = RULES) -> list[Check]:
    """Return all verdicts of `rules`, worst first."""
    return ordered(rule(case) for rule in rules)


def is_own(reviewer: User, requester_id: int) -> bool:
    """Nobody decides on an own request: asked by the service, the view and the template flag; the database says it
    too.
    """
    return reviewer.pk == requester_id
