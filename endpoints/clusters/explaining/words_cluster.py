"""What is said about admission, quota and placement; the columns are those of `cases.Case`."""

from endpoints.clusters import Turn

_CREATE = "Deployment and ReplicaSet condition `ReplicaFailure`, their event `FailedCreate`, answer 403"
_PLACE = "Pod condition `PodScheduled=False`, event `FailedScheduling`"
_KUEUE = "Pod `spec.schedulingGates`, condition `QuotaReserved` of its Workload"
_POD = "Pod `status.reason`, condition `DisruptionTarget`"

CLUSTER: tuple[tuple[str, Turn, bool, str, str, str], ...] = (
    (
        "gpu_quota_exceeded", "you", False, _CREATE,
        "The GPU quota '{quota}' of its namespace is used up: it allows {limit} {resource}, {used} are in use and "
        "this needs {asked} more.",
        "It starts by itself when enough are free: suspend or scale down another endpoint of the project, or ask for "
        "a larger quota.",
    ),
    (
        "quota_exceeded", "you", False, _CREATE,
        "The quota '{quota}' of its namespace is used up: it allows {limit} {resource}, {used} are in use and this "
        "needs {asked} more.",
        "It starts by itself when enough is free: suspend another endpoint of the project, or ask for a larger quota.",
    ),
    (
        "quota_too_small", "you", True, _CREATE,
        "The quota '{quota}' of its namespace allows {limit} {resource} in all and one replica needs {asked}: it can "
        "never start.",
        "Choose a smaller hardware profile, or ask for a larger quota.",
    ),
    (
        "quota_free_again", "nobody", False, _CREATE + ", `status` of the ResourceQuota",
        "The quota '{quota}' was used up, and has room again: {used} of {limit} {resource} are in use and this needs "
        "{asked}.",
        "The cluster tries again by itself within minutes.",
    ),
    (
        "quota_wants_limits", "platform", True, _CREATE,
        "The quota '{quota}' of its namespace demands values that the engine does not state: {missing}.",
        "A platform engineer adds defaults for them to the namespace (a LimitRange) or to the hardware profile.",
    ),
    (
        "limit_range", "you", True, _CREATE,
        "Its namespace limits what one container may ask for, and the hardware profile asks for more: {detail}.",
        "Choose a smaller hardware profile, or ask a platform engineer to raise the LimitRange.",
    ),
    (
        "pod_security", "platform", True, _CREATE,
        "The cluster's Pod Security level {level} forbids the engine as it is described: {detail}.",
        "A platform engineer corrects the runtime of the version; the level of the namespace should stay.",
    ),
    (
        "security_constraint", "platform", True, _CREATE,
        "No security context constraint of OpenShift admits the engine: {detail}.",
        "A platform engineer corrects the user or the volumes of the runtime, or grants a constraint to its service "
        "account.",
    ),
    (
        "policy_denied", "platform", True, _CREATE,
        "The cluster's policy {policy} refuses it: {detail}.",
        "Ask for it again when it was changed after its approval; else a platform engineer corrects the policy.",
    ),
    (
        "webhook_denied", "platform", True, _CREATE,
        "The admission webhook {webhook} of the cluster refuses it: {detail}.",
        "A platform engineer corrects what it names, or the rule behind it.",
    ),
    (
        "webhook_unreachable", "platform", False, _CREATE + ", answer 500",
        "The admission webhook {webhook} of the cluster does not answer, so nothing that it checks can be created: "
        "{detail}.",
        "A platform engineer repairs it; it goes on by itself then.",
    ),
    (
        "service_account_missing", "platform", False, _CREATE,
        "The service account {account} that the engine runs under is not there.",
        "The next round creates it again; when it stays away, a platform engineer looks who removes it.",
    ),
    (
        "namespace_terminating", "platform", False, _CREATE + ", `status.phase` of the Namespace",
        "The namespace {namespace} is being deleted, so nothing can be created in it.",
        "A platform engineer finds out who deletes it; it is made again when it is gone.",
    ),
    (
        "creation_refused", "platform", False, _CREATE,
        "The cluster refuses to create the engine: {detail}.",
        "A platform engineer corrects what it names; the cluster tries again by itself.",
    ),
    (
        "no_free_gpu", "nobody", False, _PLACE,
        "It waits for a free GPU: {short} of {nodes} nodes have too few {resource} free for the {asked} that one "
        "replica needs{others}.",
        "It starts by itself when enough are free on one node.",
    ),
    (
        "no_node_with_gpus", "platform", False, _PLACE,
        "None of the {nodes} nodes that it may use has {asked} {resource}{others}; waiting does not help.",
        "Choose a hardware profile with fewer accelerators, or ask a platform engineer for a larger node.",
    ),
    (
        "no_room_on_nodes", "nobody", False, _PLACE,
        "It waits for room: {short} of {nodes} nodes have too little {resource} free{others}.",
        "It starts by itself when a node has room; a platform engineer can add one.",
    ),
    (
        "no_node_large_enough", "platform", False, _PLACE,
        "None of the {nodes} nodes that it may use has as much {resource} in all as one replica needs{others}; waiting "
        "does not help.",
        "Choose a smaller hardware profile, or ask a platform engineer for a larger node.",
    ),
    (
        "taints_not_tolerated", "platform", False, _PLACE,
        "All of the {nodes} nodes that it may use are reserved by a taint{detail} that the hardware profile does not "
        "tolerate.",
        "A platform engineer adds the toleration to the hardware profile, or frees the nodes.",
    ),
    (
        "nodes_not_ready", "platform", False, _PLACE,
        "No node can take it: {count} of {nodes} nodes are not ready, cordoned or under pressure{others}.",
        "A platform engineer brings them back; it starts by itself then.",
    ),
    (
        "no_matching_node", "platform", False, _PLACE,
        "None of the {nodes} nodes of the cluster has the labels that the hardware profile asks for{detail}.",
        "A platform engineer corrects the node selector of the profile, or labels a node.",
    ),
    (
        "no_nodes", "platform", False, _PLACE,
        "The cluster has no node at all that could run it.",
        "A platform engineer adds one; it starts by itself then.",
    ),
    (
        "volume_claim_missing", "platform", False, _PLACE,
        "The volume claim {claim} that should hold the model is not there.",
        "A platform engineer creates it in the namespace, or the source of the version is corrected.",
    ),
    (
        "volume_not_bound", "platform", False, _PLACE,
        "The volume that should hold the model is not provided: {detail}.",
        "A platform engineer looks at the claim and at its storage class; it starts when the volume is bound.",
    ),
    (
        "volume_elsewhere", "platform", False, _PLACE,
        "The volume of the model can only be used on nodes that cannot take the engine: {detail}.",
        "A platform engineer moves the volume, or frees a node beside it.",
    ),
    (
        "gated", "nobody", False, _PLACE + " with reason `SchedulingGated`",
        "The queue of the cluster (Kueue, for example) holds it back until there is room.",
        "It starts by itself when the queue admits it.",
    ),
    (
        "kueue_waiting", "nobody", False, _KUEUE,
        "It waits in Kueue's queue '{queue}' until there is quota for it: {detail}.",
        "It starts by itself when Kueue admits it.",
    ),
    (
        "kueue_refuses", "platform", False, _KUEUE,
        "Kueue's queue '{queue}' cannot admit it as things are: {detail}.",
        "A platform engineer corrects the LocalQueue of its namespace, the quota of its ClusterQueue, or the queue "
        "that the cluster's options name.",
    ),
    (
        "device_claim", "platform", False, _PLACE + ", event `FailedResourceClaimCreation`, or none",
        "The cluster cannot assign the device that it claims: {detail}.",
        "A platform engineer looks at the ResourceClaim and at the driver of the device.",
    ),
    (
        "unschedulable", "platform", False, _PLACE,
        "No node can take it: {detail}.",
        "A platform engineer looks at the nodes; it starts by itself when one fits.",
    ),
    (
        "evicted", "nobody", False, _POD,
        "The node pushed the engine out: {detail}.",
        "The cluster starts it again elsewhere by itself; when it happens again, choose a profile with more memory.",
    ),
    (
        "preempted", "nobody", False, _POD,
        "The engine had to make room for something of higher priority.",
        "The cluster starts it again by itself when there is room.",
    ),
    (
        "node_lost", "platform", False, _POD + ", event `NodeNotReady`",
        "The node {node} does not report any more, so its engine cannot be reached.",
        "The cluster starts it on another node after about 5 minutes when one has room; nothing of the reservation "
        "changes.",
    ),
    (
        "node_stopped", "nobody", False, _POD,
        "The node {node} was shut down or emptied for maintenance, and its engine with it.",
        "The cluster starts it on another node by itself when one has room.",
    ),
    (
        "device_unavailable", "platform", False, _POD + " `UnexpectedAdmissionError`, `OutOf…`",
        "The node {node} accepted the engine and then had no device for it: {detail}.",
        "The cluster tries again by itself; when it stays, a platform engineer looks at the GPUs and the device plugin "
        "of that node.",
    ),
    (
        "volume_not_mounted", "platform", False, "Event `FailedMount`, `FailedAttachVolume` on the Pod",
        "A volume of the engine cannot be mounted: {detail}.",
        "A platform engineer repairs the volume, or creates what it names; the cluster tries again by itself.",
    ),
    (
        "sandbox_failed", "platform", False, "Event `FailedCreatePodSandBox` on the Pod",
        "The node {node} cannot give the engine a network or a sandbox: {detail}.",
        "A platform engineer looks at the network plugin and at the container runtime of the node.",
    ),
    (
        "stuck_ending", "platform", False, "Pod `metadata.deletionTimestamp`",
        "The engine should have ended {since} ago and its node does not confirm it; its GPUs are not free until then.",
        "A platform engineer looks at the node {node}.",
    ),
)  # fmt: skip
