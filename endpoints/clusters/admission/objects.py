"""The objects that an administrator applies: the kind that holds what was approved, policies and their bindings."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from endpoints.clusters.admission import expressions
from endpoints.clusters.admission.rules import Condition, taken
from endpoints.clusters.admission.terms import (
    DIGEST,
    GROUP,
    KIND,
    NAME,
    PLURAL,
    VERSION,
    LeftOut,
    Plan,
    Rendered,
    name,
)
from endpoints.clusters.kubernetes import owned
from endpoints.clusters.manifest_text import Flat

Object = dict[str, Any]
_ADMISSION = "admissionregistration.k8s.io/v1"
_COMPARED = (
    {"apiGroups": ["apps"], "apiVersions": ["v1"],
     "resources": ["deployments", "deployments/scale", "replicasets", "replicasets/scale", "statefulsets",
                   "statefulsets/scale", "daemonsets"]},
    {"apiGroups": [""], "apiVersions": ["v1"],
     "resources": ["pods", "pods/ephemeralcontainers", "pods/resize", "replicationcontrollers",
                   "replicationcontrollers/scale"]},
    {"apiGroups": ["batch"], "apiVersions": ["*"], "resources": ["jobs", "cronjobs"]},
    {"apiGroups": ["serving.kserve.io"], "apiVersions": ["*"], "resources": ["*", "*/scale"]},
)  # fmt: skip
_JUDGED = (
    {"apiGroups": ["apps"], "apiVersions": ["v1"], "resources": ["deployments"]},
    {"apiGroups": ["serving.kserve.io"], "apiVersions": ["v1beta1"], "resources": ["inferenceservices"]},
    {"apiGroups": ["serving.kserve.io"], "apiVersions": ["v1alpha2"], "resources": ["llminferenceservices"]},
)
_REFUSES = (
    "Deployments, InferenceServices and LLMInferenceServices that were not approved, or that differ from what was",
    "more replicas than were approved, by whatever way they are asked for",
    "pods, jobs, stateful sets and other workloads beside what was approved, and changed containers of pods that run",
    "what was approved, written by anybody but the portal; and other labels on the portal's namespaces",
)


def render(plan: Plan) -> Rendered:
    """Return everything for `plan`; with the mode off, what its first step (audit) needs."""
    judged = {severity: list(taken(plan.rules, severity)) for severity in ("deny", "warn", "info")}
    denying, advising = _conditions(judged["deny"]), _conditions([*judged["warn"], *judged["info"]])
    left_out = [one for found in judged.values() for one in found if isinstance(one, LeftOut)]
    made = [definition(), *_approved(plan), *_guard(plan)]
    if denying:
        made += _judging(plan, "rules", denying, _actions(plan))
    if advising:
        made += _judging(plan, "advice", advising, ["Warn", "Audit"])
    digest = "sha256:" + hashlib.sha256(json.dumps(made, sort_keys=True).encode()).hexdigest()
    for one in made[1:]:  # the kind may be shared with another installation
        one["metadata"]["annotations"] = {DIGEST: digest}
    return Rendered(
        tuple(made), digest, (*_REFUSES, *(_words(one) for one in denying)), tuple(_words(one) for one in advising),
        tuple(left_out),
    )  # fmt: skip


def text(rendered: Rendered, plan: Plan, cluster: str) -> str:
    """Return what `kubectl apply -f` takes, with what it does and what is left out as comments."""
    mode = "enforce" if plan.mode == "enforce" else "audit"
    lines = [
        f"What Gatehouse makes the cluster {cluster} refuse by itself, in the mode {mode}.",
        f"{rendered.digest}; policies {plan.version or 'of nobody'}. The administrator of the cluster applies it:",
        "kubectl apply --server-side -f gatehouse-admission.yaml",
        *(f"Not in it: {one.id}, since {one.why}" for one in rendered.left_out),
    ]
    head = "".join(f"# {' '.join(line.split())}\n" for line in lines)
    return head + "---\n".join(yaml.dump(one, Dumper=_Plain, sort_keys=False, width=120) for one in rendered.objects)


def definition() -> Object:
    """Return the kind that holds what was approved: one object for each namespace, an entry for each workload."""
    texts = {"type": "object", "additionalProperties": {"type": "string"}}
    entry = {
        "type": "object",
        "required": ["kind", "replicas", "spec", "labels", "annotations"],
        "properties": {
            "kind": {"type": "string", "enum": ["Deployment", "InferenceService", "LLMInferenceService"]},
            "approval": {"type": "string"},
            "written": {"type": "string", "description": "Digest of what the portal writes."},
            "replicas": {"type": "integer", "minimum": 0},
            "labels": texts,
            "annotations": texts,
            "spec": {"type": "object", "x-kubernetes-preserve-unknown-fields": True,
                     "description": "What was approved, with the defaults of this cluster."},
        },
    }  # fmt: skip
    spec = {
        "type": "object",
        "required": ["approved"],
        "properties": {"approved": {"type": "object", "additionalProperties": entry}},
    }
    what = {"description": "What Gatehouse approved to run in a namespace.", "type": "object", "required": ["spec"]}
    names = {"kind": KIND, "listKind": f"{KIND}List", "plural": PLURAL, "singular": KIND.lower()}
    version = {
        "name": VERSION, "served": True, "storage": True,
        "schema": {"openAPIV3Schema": what | {"properties": {"spec": spec}}},
    }  # fmt: skip
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{PLURAL}.{GROUP}"},
        "spec": {"group": GROUP, "names": names, "scope": "Namespaced", "versions": [version]},
    }


def _actions(plan: Plan) -> list[str]:
    return ["Deny", "Audit"] if plan.mode == "enforce" else ["Audit", "Warn"]


def _approved(plan: Plan) -> list[Object]:
    """Return the policy that compares, and its bindings.

    New objects are refused while nothing is known of the namespace. Changes are not: a namespace that is being deleted
    has lost what was approved in it, and the finalizers of the rest must still go. While it only records, nothing that
    is missing or broken may refuse.
    """
    enforce = plan.mode == "enforce"
    values = expressions.variables(plan.controllers)
    spec = {
        "failurePolicy": "Fail" if enforce else "Ignore",
        "paramKind": {"apiVersion": f"{GROUP}/{VERSION}", "kind": KIND},
        "matchConstraints": {"resourceRules": [_rule(one) for one in _COMPARED]},
        "matchConditions": [
            {"name": "something-would-change", "expression": expressions.CHANGES},
            {"name": "the-portal-does-not-only-ask", "expression": expressions.not_asking(plan.account)},
        ],
        "variables": [{"name": key, "expression": value} for key, value in values.items()],
        "validations": _validations(expressions.validations()),
        "auditAnnotations": [
            {"key": "approval", "valueExpression": "variables.known && has(variables.entry.approval) ?"
             " string(variables.entry.approval) : ''"},
        ],
    }  # fmt: skip
    own = name(plan.prefix, "approved")
    made = [_object("ValidatingAdmissionPolicy", own, spec)]
    for suffix, operation, missing in (("", "CREATE", "Deny"), ("-changes", "UPDATE", "Allow")):
        rules = [_rule(one, operation) for one in _COMPARED]
        made.append(
            _binding(plan, own, _actions(plan), own + suffix, rules=rules, paramRef={
                "name": NAME, "parameterNotFoundAction": missing if enforce else "Allow",
            })
        )  # fmt: skip
    return made


def _judging(plan: Plan, part: str, conditions: Sequence[Condition], actions: list[str]) -> list[Object]:
    own = name(plan.prefix, part)
    spec = {
        "failurePolicy": "Fail",  # a rule that gives no answer counts as failed, as in the portal
        "matchConstraints": {"resourceRules": [_rule(one) for one in _JUDGED]},
        "matchConditions": [
            {"name": "something-would-change", "expression": expressions.CHANGES},
            {"name": "not-made-by-kserve", "expression": expressions.not_child(plan.controllers)},
        ],
        "variables": [{"name": "manifest", "expression": expressions.manifest()}],
        "validations": _validations([(one.expression, one.message) for one in conditions]),
    }
    return [_object("ValidatingAdmissionPolicy", own, spec), _binding(plan, own, actions)]


def _guard(plan: Plan) -> list[Object]:
    """Return the policy that always refuses: what was approved while others only record must not be forged either."""
    own = name(plan.prefix, "guard")
    rules = [
        {"apiGroups": [GROUP], "apiVersions": ["*"], "operations": ["CREATE", "UPDATE", "DELETE"],
         "resources": [PLURAL], "scope": "Namespaced"},
        {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["UPDATE"], "resources": ["namespaces"],
         "scope": "Cluster"},
    ]  # fmt: skip
    spec = {
        "failurePolicy": "Fail",
        "matchConstraints": {"resourceRules": rules},
        "validations": _validations(expressions.guard(plan.installation, plan.account)),
    }
    binding = {"policyName": own, "validationActions": ["Deny", "Audit"]}  # labels of namespaces choose nothing here
    made = [_object("ValidatingAdmissionPolicy", own, spec), _object("ValidatingAdmissionPolicyBinding", own, binding)]
    return made


def _binding(
    plan: Plan, policy: str, actions: list[str], own: str = "", *, rules: list[Object] | None = None, **more: Any
) -> Object:
    labels = {owned.MANAGED_BY: owned.MANAGER, owned.INSTALLATION: plan.installation}
    where: Object = {"namespaceSelector": {"matchLabels": labels}}
    if rules:
        where["resourceRules"] = rules
    spec = {"policyName": policy, "validationActions": actions, **more, "matchResources": where}
    return _object("ValidatingAdmissionPolicyBinding", own or policy, spec)


def _rule(one: Mapping[str, Any], *operations: str) -> Object:
    # Objects of a whole cluster would pass every selector of namespaces.
    return {**one, "operations": list(operations or ("CREATE", "UPDATE")), "scope": "Namespaced"}


def _validations(found: Sequence[tuple[str, str]]) -> list[Object]:
    return [{"expression": holds, "message": words, "reason": "Forbidden"} for holds, words in found]


def _object(kind: str, own: str, spec: Mapping[str, Any]) -> Object:
    return {"apiVersion": _ADMISSION, "kind": kind, "metadata": {"name": own}, "spec": dict(spec)}


def _conditions(found: Sequence[Condition | LeftOut]) -> list[Condition]:
    return [one for one in found if isinstance(one, Condition)]


def _words(condition: Condition) -> str:
    return f"{condition.rule.id}: {condition.rule.title}"


class _Plain(Flat):
    """Writes texts of several lines as such."""


def _block(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style="|" if "\n" in value else None)


_Plain.add_representer(str, _block)
