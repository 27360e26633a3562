"""The conditions of the policies in CEL, as an API server from 1.30 on evaluates them.

What is approved is compared with what would run, field by field: a name, a label or an annotation that somebody copies
proves nothing. CEL has no digests, and needs none: the approval holds the whole template.
"""

import json

from endpoints.clusters.admission.terms import NAME, PLURAL
from endpoints.clusters.kubernetes import owned

STOP = "serving.kserve.io/stop"
# Annotations and labels that tools set for themselves, and that change nothing about what runs.
_HARMLESS = ("kubectl.kubernetes.io/", "argocd.argoproj.io/", "opendatahub.io/", "openshift.io/")
_POD_METADATA = ("labels", "annotations", "creationTimestamp")  # a finalizer in a template would outlive everything
_OWN = (owned.APPLIED, STOP)
_CORE = "system:serviceaccount:kube-system:"
_MANAGER = "system:kube-controller-manager"  # all of them, where they share one account


def text(value: str) -> str:
    """Return a text in CEL, whatever stands in it: names of accounts are the cluster's own."""
    return json.dumps(value, ensure_ascii=False)


def texts(values: tuple[str, ...]) -> str:
    """Return a list of texts in CEL."""
    return "[" + ", ".join(map(text, values)) + "]"


def _labels(of: str, which: str = "labels") -> str:
    return f"(has({of}.metadata) && has({of}.metadata.{which}) ? dyn({of}.metadata.{which}) : dyn({{}}))"


def _same(now: str, wanted: str, apart: str) -> str:
    """Return whether two maps are equal, but for the keys in the list `apart`."""
    return (
        f"{now}.all(k, k in {apart} || (k in {wanted} && {now}[k] == {wanted}[k]))"
        f" && {wanted}.all(k, k in {apart} || k in {now})"
    )


def _marks(now: str, wanted: str) -> str:
    """Return whether labels or annotations are those that were approved, but for harmless ones."""
    harmless = f"k in {texts(_OWN)} || {texts(_HARMLESS)}.exists(p, k.startsWith(p))"
    return (
        f"{now}.all(k, (k in {wanted} && {now}[k] == {wanted}[k]) || {harmless})"
        f" && {wanted}.all(k, k in {now} && {now}[k] == {wanted}[k])"
    )


# Something that runs would change. Labels and annotations of KServe's objects reach the pods.
CHANGES = (
    "request.operation == 'CREATE' || dyn(object).spec != dyn(oldObject).spec || (request.resource.group =="
    f" 'serving.kserve.io' && ({_labels('dyn(object)')} != {_labels('dyn(oldObject)')}"
    f" || {_labels('dyn(object)', 'annotations')} != {_labels('dyn(oldObject)', 'annotations')}))"
)


def not_asking(account: str) -> str:
    """Return the condition that leaves out the portal's dry runs: by them it learns what it approves, with all defaults
    of this cluster.
    """
    return f"!(has(request.dryRun) && request.dryRun && request.userInfo.username == {text(account)})"


def not_child(controllers: tuple[str, ...]) -> str:
    """Return the condition that leaves out what KServe's controllers make of KServe's objects."""
    owners = "dyn(object).metadata.ownerReferences"
    owned_by = f"has({owners}) && {owners}.exists(o, o.apiVersion.startsWith('serving.kserve.io/'))"
    return f"!(request.userInfo.username in {texts(controllers)} && {owned_by})"


def variables(controllers: tuple[str, ...]) -> dict[str, str]:
    """Return the variables of the policy that compares with what was approved, in their order."""
    return {
        "now": "dyn(object)",
        "what": "request.resource.resource + (has(request.subResource) && request.subResource != '' ?"
        " '/' + request.subResource : '')",
        "user": "request.userInfo.username",
        "approved": "has(params.spec) && has(params.spec.approved) ? dyn(params.spec.approved) : dyn({})",
        "owners": "has(variables.now.metadata.ownerReferences) ? variables.now.metadata.ownerReferences"
        ".filter(o, has(o.controller) && o.controller) : dyn([])",
        "kind": "{'deployments': 'Deployment', 'deployments/scale': 'Deployment', 'inferenceservices':"
        " 'InferenceService', 'llminferenceservices': 'LLMInferenceService'}[?variables.what].orValue('')",
        "name": "has(request.name) ? request.name : ''",
        "known": "variables.kind != '' && variables.name in variables.approved"
        " && variables.approved[variables.name].kind == variables.kind",
        "entry": "variables.known ? variables.approved[variables.name] : dyn({})",
        "child": f"variables.what == 'deployments' && variables.user in {texts(controllers)}"
        " && variables.owners.exists(o, o.apiVersion.startsWith('serving.kserve.io/')"
        " && o.name in variables.approved && variables.approved[o.name].kind == o.kind)",
        "compared": "variables.known && !variables.child && variables.what != 'deployments/scale'",
        "apart": "variables.kind == 'Deployment' ? ['replicas', 'template'] : variables.kind == 'InferenceService' ?"
        " ['predictor'] : ['replicas']",
        "marked": "variables.kind == 'Deployment' ? variables.now.spec.template : variables.now",
        "labels": _labels("variables.marked"),
        "annotations": _labels("variables.marked", "annotations"),
        "most": "variables.known ? variables.entry.replicas : 0",
        # KServe's objects stop by an annotation, whatever number stands in them.
        "idle": "variables.known && variables.most == 0 && variables.kind != 'Deployment'",
    }


def _scaled() -> str:
    count = "(has({0}.spec.replicas) ? {0}.spec.replicas : 0)"
    now, before = count.format("variables.now"), count.format("dyn(oldObject)")
    return f"!variables.what.endsWith('/scale') || {now} <= {before} || (variables.known && {now} <= variables.most)"


def _by(controller: str, kind: str) -> str:
    users = texts((_CORE + controller, _MANAGER))
    return f"variables.user in {users} && variables.owners.exists(o, o.kind == '{kind}')"


def _unchanged_containers() -> str:
    pairs = []
    for which in ("containers", "initContainers", "ephemeralContainers"):
        now, before = f"variables.now.spec.{which}", f"dyn(oldObject).spec.{which}"
        pairs.append(f"(has({now}) ? {now} : dyn([])) == (has({before}) ? {before} : dyn([]))")
    return " && ".join(pairs)


def validations() -> list[tuple[str, str]]:
    """Return each condition that must hold, with the sentence for when it does not."""
    wanted = "variables.entry"
    spec, entry = "variables.now.spec", f"{wanted}.spec"
    return [
        (
            "variables.kind == '' || variables.known || variables.child || variables.what == 'deployments/scale'",
            "Gatehouse has approved nothing of this kind and name here. Ask for it there.",
        ),
        (
            "request.resource.group != 'serving.kserve.io' || variables.kind == ''"
            " || request.resource.version == {'InferenceService': 'v1beta1', 'LLMInferenceService': 'v1alpha2'}"
            "[variables.kind]",
            "What Gatehouse approved is written in another version of this API.",
        ),
        (
            f"!variables.compared || ({_same(spec, entry, 'variables.apart')})",
            "It differs from what Gatehouse approved under this name, in its spec.",
        ),
        (
            f"!variables.compared || variables.kind != 'Deployment' || ({spec}.template.spec == {entry}.template.spec"
            f" && (!has({spec}.template.metadata) || {spec}.template.metadata.all(k, k in {texts(_POD_METADATA)})))",
            "Its pods differ from what Gatehouse approved under this name.",
        ),
        (
            "!variables.compared || variables.kind != 'InferenceService' || ("
            + _same(f"{spec}.predictor", f"{entry}.predictor", "['minReplicas', 'maxReplicas']")
            + ")",
            "Its predictor differs from what Gatehouse approved under this name.",
        ),
        (
            f"!variables.compared || ({_marks('variables.labels', f'{wanted}.labels')})",
            "Labels that reach its pods differ from what Gatehouse approved under this name.",
        ),
        (
            f"!variables.compared || ({_marks('variables.annotations', f'{wanted}.annotations')})",
            "Annotations that reach its pods differ from what Gatehouse approved under this name.",
        ),
        (
            f"!variables.compared || variables.idle || !has({spec}.replicas) || {spec}.replicas <= variables.most",
            "It wants more replicas than Gatehouse approved.",
        ),
        (
            "!variables.compared || variables.idle || variables.kind != 'InferenceService'"
            f" || (has({spec}.predictor.maxReplicas) && {spec}.predictor.maxReplicas <= variables.most"
            f" && has({spec}.predictor.minReplicas) && {spec}.predictor.minReplicas <= variables.most)",
            "It wants more replicas than Gatehouse approved.",
        ),
        (
            f"!variables.compared || !variables.idle || ('{STOP}' in variables.annotations"
            f" && variables.annotations['{STOP}'] == 'true')",
            "It is suspended in Gatehouse. Resume it there.",
        ),
        (_scaled(), "It wants more replicas than Gatehouse approved."),
        (
            f"variables.what != 'replicasets' || ({_by('deployment-controller', 'Deployment')})",
            "Only the cluster's own controllers make and change ReplicaSets here. Ask in Gatehouse.",
        ),
        (
            "variables.what != 'pods' || request.operation != 'CREATE'"
            f" || ({_by('replicaset-controller', 'ReplicaSet')})",
            "Pods come here only from what Gatehouse approved. Ask for it there.",
        ),
        (
            "!(variables.what in ['pods', 'pods/ephemeralcontainers', 'pods/resize'])"
            f" || request.operation != 'UPDATE' || ({_unchanged_containers()})",
            "Containers of a pod that runs cannot be added or changed here.",
        ),
        (
            "!(variables.what in ['statefulsets', 'daemonsets', 'jobs', 'cronjobs', 'replicationcontrollers'])",
            "Gatehouse approves nothing of this kind. Use another namespace.",
        ),
        (
            "request.resource.group != 'serving.kserve.io' || variables.kind != ''",
            "Gatehouse approves nothing of this kind. Use another namespace.",
        ),
    ]


def manifest() -> str:
    """Return what rules read as `object`: the pod is at spec.template.spec, whatever the kind."""
    pod = (
        "request.resource.resource == 'inferenceservices' ? dyn(object).spec.predictor :"
        " has(object.spec.template) ? dyn(object).spec.template : dyn({})"
    )
    made = (
        "dyn({'apiVersion': dyn(object).apiVersion, 'kind': dyn(object).kind, 'metadata': dyn(object).metadata,"
        " 'spec': dyn({'template': dyn({'metadata': dyn(object).metadata, 'spec': dyn(" + pod + ")})})})"
    )
    return f"request.resource.resource == 'deployments' ? dyn(object) : {made}"


def guard(installation: str, account: str) -> list[tuple[str, str]]:
    """Return what must hold so that nobody but the portal says what is approved, and nobody takes a namespace out."""
    space = f"has(namespaceObject.metadata.labels) && '{owned.INSTALLATION}' in namespaceObject.metadata.labels"
    ours = f"({space} && namespaceObject.metadata.labels['{owned.INSTALLATION}'] == '{installation}')"
    enders = texts((f"{_CORE}namespace-controller", f"{_CORE}generic-garbage-collector", _MANAGER))
    kept = " && ".join(
        f"('{key}' in {_labels('dyn(object)')} && {_labels('dyn(object)')}['{key}'] =="
        f" {_labels('dyn(oldObject)')}['{key}'])"
        for key in (owned.MANAGED_BY, owned.INSTALLATION, owned.PROJECT, owned.ENVIRONMENT)
    )
    before = _labels("dyn(oldObject)")
    theirs = f"'{owned.INSTALLATION}' in {before} && {before}['{owned.INSTALLATION}'] == '{installation}'"
    return [
        (
            f"request.resource.resource != '{PLURAL}' || !{ours} || request.userInfo.username == {text(account)}"
            f" || (request.operation == 'DELETE' && request.userInfo.username in {enders})",
            f"Only Gatehouse writes what it approved ({PLURAL} {NAME}).",
        ),
        (
            "request.resource.resource != 'namespaces' || request.userInfo.username == "
            f"{text(account)} || !({theirs}) || ({kept})",
            "The labels of a namespace of Gatehouse stay as they are: by them its workloads are guarded.",
        ),
    ]
