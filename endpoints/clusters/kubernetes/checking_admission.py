"""The part of the connection test that asks whether a cluster's policies are those that the portal would render."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from endpoints.clusters.admission import terms
from endpoints.clusters.checks import Check, Verdict

POLICY, BINDING = "ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding"
_PATHS = {POLICY: "validatingadmissionpolicies", BINDING: "validatingadmissionpolicybindings"}
APPLY = "Download the admission policy here and apply it: kubectl apply --server-side -f gatehouse-admission.yaml"
# What API servers add to what was applied.
_DEFAULTS: tuple[tuple[str, Any], ...] = (
    ("matchPolicy", "Equivalent"), ("namespaceSelector", {}), ("objectSelector", {}),
)  # fmt: skip
Answer = tuple[Mapping[str, Any], str]  # the body, and why there is none
Begin = Callable[[str], Callable[[], Answer]]


def check(begin: Begin, prefix: str, mode: str, expected: Sequence[Mapping[str, Any]]) -> Check:
    """Return what the cluster has of `expected`; `begin` asks for a path and returns what waits for the answer. `state`
    of the check: none, audit or enforce, with " stale" behind it where something is not as it should be.
    """
    names = [(POLICY, terms.name(prefix, part)) for part in terms.POLICIES]
    names += [(BINDING, terms.name(prefix, part)) for part in terms.BINDINGS]
    asked = [(one, begin(f"/apis/admissionregistration.k8s.io/v1/{_PATHS[one[0]]}/{one[1]}")) for one in names]
    kind = begin(f"/apis/{terms.GROUP}/{terms.VERSION}")
    live: dict[tuple[str, str], Mapping[str, Any]] = {}
    for one, wait in asked:
        body, code = wait()
        if code and code not in {"not_found", "kind_missing"}:
            sentence = "Not known: the account may not read the policies, or the cluster did not say."
            fix = "Download the manifest of the account again and apply it; the admission mode adds lines to it."
            return Check("admission", "skip", sentence, fix)
        if not code:
            live[one] = body
    served = {str(one.get("name")) for one in kind()[0].get("resources") or [] if isinstance(one, Mapping)}
    return _verdict(live, terms.PLURAL in served, prefix, mode, expected)


def _verdict(
    live: Mapping[tuple[str, str], Mapping[str, Any]],
    served: bool,
    prefix: str,
    mode: str,
    expected: Sequence[Mapping[str, Any]],
) -> Check:
    wanted = {(one["kind"], one["metadata"]["name"]): one["spec"] for one in expected if one["kind"] in _PATHS}
    bad: Verdict = "fail" if mode == "enforce" else "warn"
    if not live:
        doing = "refuses" if mode == "enforce" else "records"
        return Check("admission", bad, f"No policy is installed, so nothing {doing}.", APPLY, state="none")
    binding = live.get((BINDING, terms.name(prefix, "approved")), {})
    actions = (binding.get("spec") or {}).get("validationActions") or []
    seen = "enforce" if "Deny" in actions else "audit"
    missing = sorted(name for _, name in wanted.keys() - live.keys())
    if missing or not served:
        what = ", ".join(missing) or f"the kind {terms.KIND}"
        return Check("admission", bad, f"Not installed: {what}.", APPLY, state=f"{seen} stale")
    if seen != mode:
        sentence = f"It is installed in the mode {seen}; chosen is {mode}."
        return Check("admission", "warn", sentence, APPLY, state=f"{seen} stale")
    other = sorted({name for one, spec in wanted.items() if not same(live[one].get("spec"), spec) for name in one[1:]})
    other += sorted({name for _, name in live.keys() - wanted.keys()})
    if other:
        sentence = f"It differs from what the portal would render: {', '.join(other)}."
        return Check("admission", "warn", sentence, APPLY, state=f"{seen} stale")
    doing = "refuses what was not approved" if seen == "enforce" else "records what it would refuse"
    return Check("admission", "pass", f"The cluster {doing}, by the policies of today.", state=seen)


def same(live: Any, wanted: Any) -> bool:
    """Whether a spec on the cluster is the one that was rendered, but for what API servers add."""
    if isinstance(wanted, Mapping):
        if not isinstance(live, Mapping) or not wanted.keys() <= live.keys():
            return False
        added = [(key, value) for key, value in live.items() if key not in wanted]
        return all(one in _DEFAULTS for one in added) and all(same(live[key], value) for key, value in wanted.items())
    if isinstance(wanted, list | tuple):
        return (
            isinstance(live, list)
            and len(live) == len(wanted)
            and all(same(*pair) for pair in zip(live, wanted, strict=True))
        )
    return bool(live == wanted)
