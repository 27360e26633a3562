"""The words of the help on the pages of drift, environments, manifests, use, and what was there before."""

from collections.abc import Mapping

_DRIFT = (
    "drift",
    "What the cluster holds against what was approved, field by field, and who changed it there. What bears on the "
    "approval is written again at once; the rest is shown until somebody decides.",
    "Write what was approved puts everything back. Ask for what was found opens a filled-in request: nothing stays "
    "without an approval. Promote takes the settings to the next environment.",
)

_ROGUE = (
    "brownfield",
    "A scan lists what holds accelerators, runs a known inference image, or is an object of KServe, and compares it "
    "with what was approved here. Labels are no proof: only the object that the portal wrote or adopted counts.",
    "Nothing is touched. Tell its owner, adopt it by a request while it keeps running, or leave it until a day.",
)
_IMPORT = (
    "brownfield",
    "What your clusters had before: running models, hardware profiles of OpenShift AI, data science projects. Each is "
    "a proposal until somebody takes it.",
    "Taking one changes nothing in the cluster. Memory and price of a profile stand nowhere there; you fill them in.",
)

TEXTS: Mapping[str, tuple[str, ...]] = {
    **dict.fromkeys(
        ("rogue_list", "rogue_detail", "rogue_adopt", "rogue_notify", "rogue_waive", "rogue_revoke", "rogue_scan"),
        _ROGUE,
    ),
    **dict.fromkeys(("proposal_list", "proposal_take", "proposal_dismiss"), _IMPORT),
    "endpoint_drift": _DRIFT,
    "endpoint_drift_reapply": _DRIFT,
    "endpoint_drift_accept": _DRIFT,
    "endpoint_drift_look": _DRIFT,
    "endpoint_promote": _DRIFT,
    "environment_list": (
        "drift",
        "dev, staging and prod of each model side by side: version, image, arguments, quota, and the policies under "
        "which each was approved. A framed cell is not the same as in prod, or as its neighbour to the left.",
        "Promoting opens a filled-in request with the difference. What was changed by hand in a cluster stands on the "
        "page of the endpoint, with both values.",
    ),
    "endpoint_manifests": (
        "gitops",
        "The objects by which the endpoint runs in its cluster, as YAML; secrets are left out. Engines that are "
        "processes of the portal's machine have none.",
        "Where others apply them from Git, the page says the commit. What somebody changes there by hand is shown and "
        "never written over.",
    ),
    "pool_shares": (
        "capacity",
        "A nominal number is a project's own; the rest is divided by weight among the others that hold or wait. "
        "What a project holds beyond its share is borrowed, up to its borrowing limit.",
        "Give back says from which environments what was borrowed is asked back, grace hours how long their people "
        "have before it is suspended. The change counts at once; who fits then is served.",
    ),
    "endpoint_usage": (
        "usage",
        "The same plots as on the usage page, of this endpoint alone: tokens by key, times, errors. Drag over a plot "
        "to look closer; the range stands in the address.",
        "The gateway's count is what quotas count. The engines' own count stands beside it: they differ by calls that "
        "were cut off.",
    ),
}
