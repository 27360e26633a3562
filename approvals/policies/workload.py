"""The rules about manifests in the bundle that counts, for those who take them to a cluster."""

from approvals.policies.active import active
from endpoints.clusters.admission.terms import Rule


def rules() -> tuple[str, tuple[Rule, ...]]:
    """Return name and version of the bundle, and its rules for `workload` in their order (one query)."""
    found = active()
    taken = (
        Rule(one.id, one.title, one.severity, one.expression, one.message, one.fix, one.when)
        for one in found.bundle.rules
        if one.applies_to == "workload"
    )
    return f"{found.bundle.name} {found.version}", tuple(taken)
