"""The admission policy as it is rendered: by mode, for one installation, and what of a bundle a cluster can judge. What
an API server then refuses stands in tests/cluster/test_admission.py.
"""

from dataclasses import replace
from typing import Any

import pytest
import yaml

from approvals.policies.active import baseline
from endpoints.clusters import rbac
from endpoints.clusters.admission import expressions, objects, rules, terms
from endpoints.clusters.kubernetes import owned
from endpoints.clusters.kubernetes.checking_admission import same

POD = "object.spec.template.spec.containers.all(c, has(c.resources))"
DENY = terms.Rule("wrk-1", "Limits", "deny", POD, "No limits on {object.metadata.name}.\nNone.", "Set {x}.")
WARN = terms.Rule("wrk-2", "Digest", "warn", POD, "No digest.")
PLAN = terms.Plan("gatehouse", "gatehouse", "audit", rbac.USER, terms.controllers("kserve"), (DENY, WARN), "team 3")


def named(rendered: terms.Rendered, kind: str) -> dict[str, dict[str, Any]]:
    """Return the specs of one kind by name."""
    return {one["metadata"]["name"]: one["spec"] for one in rendered.objects if one["kind"] == kind}


POLICY, BINDING = "ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding"


def test_audit_refuses_nothing_whatever_is_missing_and_enforce_does() -> None:
    audit, enforce = objects.render(PLAN), objects.render(replace(PLAN, mode="enforce"))
    for made, actions in ((audit, ["Audit", "Warn"]), (enforce, ["Deny", "Audit"])):
        bindings = named(made, BINDING)
        assert set(bindings) == {terms.name("gatehouse", part) for part in terms.BINDINGS}
        assert set(named(made, POLICY)) == {terms.name("gatehouse", part) for part in terms.POLICIES}
        for part in ("approved", "approved-changes", "rules"):
            assert bindings[f"gatehouse-{part}"]["validationActions"] == actions
        assert bindings["gatehouse-guard"]["validationActions"] == ["Deny", "Audit"], (
            "no approval is prepared meanwhile"
        )
        assert bindings["gatehouse-advice"]["validationActions"] == ["Warn", "Audit"]
    missing = {
        made.digest: [named(made, BINDING)[f"gatehouse-{part}"]["paramRef"]["parameterNotFoundAction"]
                      for part in ("approved", "approved-changes")]
        for made in (audit, enforce)
    }  # fmt: skip
    assert missing == {audit.digest: ["Allow", "Allow"], enforce.digest: ["Deny", "Allow"]}
    assert named(audit, POLICY)["gatehouse-approved"]["failurePolicy"] == "Ignore"
    assert {spec["failurePolicy"] for spec in named(enforce, POLICY).values()} == {"Fail"}
    assert objects.render(replace(PLAN, mode="off")).digest == audit.digest, "the first step is audit"


def test_only_namespaces_of_the_installation_are_meant() -> None:
    made = objects.render(replace(PLAN, prefix="blue", installation="blue-1a2b", mode="enforce"))
    labels = {owned.MANAGED_BY: owned.MANAGER, owned.INSTALLATION: "blue-1a2b"}
    for name, spec in named(made, BINDING).items():
        assert name.startswith("blue-")
        if name != "blue-guard":  # labels of namespaces choose nothing there: the expressions do
            assert spec["matchResources"]["namespaceSelector"] == {"matchLabels": labels}
    for name, spec in named(made, POLICY).items():
        for rule in spec["matchConstraints"]["resourceRules"]:  # objects of a cluster would pass any selector
            assert rule["scope"] == ("Cluster" if rule["resources"] == ["namespaces"] else "Namespaced"), name
    compared = named(made, POLICY)["blue-approved"]["matchConstraints"]["resourceRules"]
    covered = {resource for rule in compared for resource in rule["resources"]}
    assert covered >= {
        "deployments", "deployments/scale", "replicasets", "replicasets/scale", "statefulsets", "daemonsets", "pods",
        "pods/ephemeralcontainers", "pods/resize", "replicationcontrollers", "jobs", "cronjobs",
    }  # fmt: skip


def test_the_digest_tells_what_differs_and_the_file_says_what_the_objects_say() -> None:
    plans = [PLAN, replace(PLAN, mode="enforce"), replace(PLAN, rules=()), replace(PLAN, account="another"),
             replace(PLAN, prefix="blue"), replace(PLAN, controllers=())]  # fmt: skip
    digests = {objects.render(plan).digest for plan in plans}
    assert len(digests) == len(plans) and objects.render(PLAN).digest in digests, "the same again is the same"
    made = objects.render(PLAN)
    text = objects.text(made, PLAN, "lab")
    assert list(yaml.safe_load_all(text)) == [dict(one) for one in made.objects]
    assert "&id" not in text and made.digest in text and "team 3" in text
    marks = [one["metadata"].get("annotations", {}).get(terms.DIGEST) for one in made.objects]
    assert marks == [None, *[made.digest] * (len(marks) - 1)], "the kind may belong to two portals"


def test_a_name_with_quotes_stays_a_name() -> None:
    odd = 'o\'brien" || true || "x'
    literal = '"o\'brien\\" || true || \\"x"'
    guard = named(objects.render(replace(PLAN, account=odd)), POLICY)["gatehouse-guard"]["validations"]
    assert all(f"request.userInfo.username == {literal}" in one["expression"] for one in guard)
    assert expressions.texts(("a", "it's")) == '["a", "it\'s"]'


def test_rules_become_conditions_by_severity() -> None:
    made = objects.render(replace(PLAN, rules=(*PLAN.rules, replace(WARN, id="wrk-3", severity="info"))))
    policies = named(made, POLICY)
    [denying] = policies["gatehouse-rules"]["validations"]
    assert denying["expression"] == POD.replace("object", "variables.manifest")
    assert denying["message"] == "wrk-1: No limits on …. None. Set …." and denying["reason"] == "Forbidden"
    assert [one["message"] for one in policies["gatehouse-advice"]["validations"]] == [
        "wrk-2: No digest.", "wrk-3: No digest."
    ]  # fmt: skip
    assert "wrk-1: Limits" in made.refuses and made.advises == ("wrk-2: Digest", "wrk-3: Digest")
    bare = named(objects.render(replace(PLAN, rules=())), POLICY)
    assert set(bare) == {"gatehouse-approved", "gatehouse-guard"}


def test_the_bundle_that_ships_is_rendered_whole() -> None:
    shipped = [one for one in baseline().rules if one.applies_to == "workload"]
    taken = [terms.Rule(one.id, one.title, one.severity, one.expression, one.message) for one in shipped]
    assert len(taken) >= 4 and objects.render(replace(PLAN, rules=tuple(taken))).left_out == ()


@pytest.mark.parametrize(
    ("expression", "rendered"),
    [
        ("has(object.spec)", "has(variables.manifest.spec)"),
        ("object . spec.x == 1", "variables.manifest . spec.x == 1"),
        ("\"object\" == r'object' // object", "\"object\" == r'object' // object"),
        ("x.object == object.object", "x.object == variables.manifest.object"),
        ("object.a.all(now, now.version)", "variables.manifest.a.all(now, now.version)"),
        ('object["spec"].exists(c, c.contains("plan"))', 'variables.manifest["spec"].exists(c, c.contains("plan"))'),
        ("'request' in object && objects", "'request' in variables.manifest && objects"),
    ],
)
def test_expressions_read_the_manifest_of_the_cluster(expression: str, rendered: str) -> None:
    assert rules.adapted(expression) == rendered


@pytest.mark.parametrize(
    ("expression", "why"),
    [
        ("version.pinned", "it reads version"),
        ('object.a == request["name"]', "it reads request"),
        ("now.weekday > 1 || has(object.spec)", "it reads now"),
        ("math.greatest(object.a, 1) > 2", "it calls math.greatest()"),
        ("cel.bind(o, object.spec, o.a)", "it calls cel.bind()"),
        ("object.a.reverse() == 'b'", "it calls reverse()"),
        ("object.a.exists(object, object.b)", "it gives the name object"),
    ],
)
def test_what_a_cluster_cannot_judge_is_named(expression: str, why: str) -> None:
    rule = replace(DENY, expression="has(object.spec)", when=expression)
    made = objects.render(replace(PLAN, rules=(rule,)))
    [left] = made.left_out
    assert (left.id, left.title) == ("wrk-1", "Limits") and left.why.startswith(why)
    assert f"# Not in it: wrk-1, since {why}" in objects.text(made, PLAN, "lab")
    assert "gatehouse-rules" not in named(made, POLICY) and "wrk-1: Limits" not in made.refuses


def test_a_condition_with_a_when_holds_where_it_does_not_apply() -> None:
    rule = replace(DENY, when="object.kind == 'Deployment' // theirs", expression="has(object.spec) // ours")
    [found] = rules.taken([rule], "deny")
    assert isinstance(found, rules.Condition)
    assert found.expression == (
        "!(variables.manifest.kind == 'Deployment' // theirs\n) || (has(variables.manifest.spec) // ours\n)"
    )


def test_the_account_gets_three_lines_and_reads_its_own_policies_only() -> None:
    plain = rbac.grants("kubernetes", {})
    more = [one for one in rbac.grants("kubernetes", {"admission": "audit", "namespace_prefix": "blue"})
            if one not in plain]  # fmt: skip
    assert [(one.resource, one.verbs) for one in more] == [
        ("approvedworkloads", ("get", "list", "create", "patch")),
        ("validatingadmissionpolicies", ("get",)),
        ("validatingadmissionpolicybindings", ("get",)),
    ]
    assert not more[0].names and all(name.startswith("blue-") for one in more[1:] for name in one.names)
    assert rbac.grants("kubernetes", {"admission": "off"}) == plain
    settings = {"admission": "enforce"}
    [role] = [one for one in yaml.safe_load_all(rbac.manifest("kserve", settings)) if one["kind"] == "ClusterRole"]
    assert role == rbac.objects("kserve", settings)[2]
    assert role["rules"][-1]["resourceNames"] == [f"gatehouse-{part}" for part in terms.BINDINGS]
    asked = [one for one in rbac.asks("kserve", settings) if one.name]
    assert len(asked) == len(terms.POLICIES) + len(terms.BINDINGS)
    assert asked[0].words == "get validatingadmissionpolicies.admissionregistration.k8s.io gatehouse-approved"


def test_what_api_servers_add_is_no_drift_and_everything_else_is() -> None:
    wanted = named(objects.render(PLAN), POLICY)["gatehouse-approved"]
    match = wanted["matchConstraints"]
    live = wanted | {"matchConstraints": match | {"matchPolicy": "Equivalent", "objectSelector": {},
                                                  "namespaceSelector": {}}}  # fmt: skip
    assert same(live, wanted)
    assert not same(live | {"failurePolicy": "Fail"}, wanted)
    assert not same(live | {"validations": wanted["validations"][:-1]}, wanted)
    out = {"excludeResourceRules": [{"resources": ["pods"]}]}
    assert not same(live | {"matchConstraints": match | out}, wanted), "somebody left something out"
    assert not same(live | {"matchConstraints": match | {"objectSelector": {"matchLabels": {"a": "b"}}}}, wanted)
    assert not same({}, wanted) and not same(None, wanted)
