"""One example for every case of the explainer, at least: the table of docs/troubleshooting-clusters.md is written
from them. Objects that were recorded on a real control plane come first; the rest has the shape that kubelet, scheduler
and controllers write.

Messages stand as the cluster writes them, on one line.
"""

# ruff: noqa: E501

from endpoints.clusters.explaining import Seen
from tests.endpoints.explaining_kit import (
    Example,
    answer,
    deployment,
    event,
    load_failure,
    over,
    placed,
    pod,
    recorded,
    refused,
    running,
    service,
    status_object,
    unschedulable,
    waiting,
)

PULL = 'Failed to pull image "registry.example.com/vllm:1": '
QUOTA = "exceeded quota: gpu, requested: requests.nvidia.com/gpu=2, used: requests.nvidia.com/gpu=4, limited: requests.nvidia.com/gpu=4"
LLM_DOWN = ("False", "MinimumReplicasUnavailable", "Deployment does not have minimum availability.")
LOST = [{"type": "Ready", "status": "False"}, {"type": "PodScheduled", "status": "True"}]


def _of(name: str) -> Seen:
    return Seen(deployment=deployment(recorded(name)))


def _pod_of(name: str) -> Seen:
    return Seen(pods=[pod(recorded(name))])


def _free(used: str) -> dict[str, object]:
    key = "requests.nvidia.com/gpu"
    return {"metadata": {"name": "gpu"}, "status": {"hard": {key: "4"}, "used": {key: used}}}


def _moved(**status: object) -> Seen:
    return Seen(deployment=deployment(), pods=[pod({"phase": "Failed", **status})])


def _in_kueue(reason: str, message: str) -> Seen:
    """A pod as Kueue's webhook leaves it, and its Workload as Kueue's controller writes it."""
    condition = {"type": "PodScheduled", "status": "False", "reason": "SchedulingGated"}
    held = pod(
        {"phase": "Pending", "conditions": [condition]}, node="",
        meta={"uid": "uid-1", "labels": {"kueue.x-k8s.io/queue-name": "engines", "kueue.x-k8s.io/managed": "true"}},
        schedulingGates=[{"name": "kueue.x-k8s.io/admission"}],
    )  # fmt: skip
    told = [{"type": "QuotaReserved", "status": "False", "reason": reason, "message": message}] if reason else []
    owner = {"apiVersion": "v1", "kind": "Pod", "name": held["metadata"]["name"], "uid": "uid-1"}
    workload = {
        "metadata": {"ownerReferences": [owner]},
        "spec": {"queueName": "engines"},
        "status": {"conditions": told},
    }
    return Seen(pods=[held], workloads=[{"metadata": {}}, workload])


def _prepared(name: str, message: str) -> Seen:
    init = {"name": name, "restartCount": 2, "state": {"terminated": {"exitCode": 1, "message": message}}}
    return Seen(pods=[placed(waiting("PodInitializing"), initContainerStatuses=[init])])


CREATION = [
    Example(
        "gpu_quota_exceeded",
        ("allows 4 GPUs (nvidia.com/gpu)", "4 are in use", "needs 2 more"),
        _of("deployment-quota-exceeded-status"),
    ),
    Example("gpu_quota_exceeded", ("quota 'gpu'", "needs 1 more"), _of("deployment-progressdeadline-status")),
    Example(
        "gpu_quota_exceeded",
        ("needs 2 more",),
        Seen(replica_sets=[{"status": recorded("replicaset-quota-exceeded-status")}]),
    ),
    Example(
        "gpu_quota_exceeded",
        ("needs 2 more",),
        Seen(
            replica_sets=[{"metadata": {"name": "m1-78bc7f889f"}, "spec": {"replicas": 3}, "status": {"replicas": 2}}],
            events=recorded("event-quota-failedcreate"),
        ),
    ),
    Example("gpu_quota_exceeded", ("3 are in use",), refused(QUOTA, quota=_free("3"))),
    Example("quota_free_again", ("2 of 4",), refused(QUOTA, quota=_free("2"))),
    Example("quota_too_small", ("allows 4", "needs 8"), error=answer("err-quota-pod-403")),
    Example("quota_exceeded", ("deployments.apps", "3"), error=answer("err-quota-object-count-403")),
    Example(
        "quota_wants_limits",
        ("limits.memory for: vllm",),
        refused("failed quota: team: must specify limits.memory for: vllm"),
    ),
    Example(
        "limit_range",
        ("maximum memory usage per Container is 8Gi",),
        refused('pods "x" is forbidden: [maximum memory usage per Container is 8Gi, but limit is 32Gi]'),
    ),
    Example("pod_security", ("restricted:latest", "runAsNonRoot != true"), _of("deployment-podsecurity-status")),
    Example(
        "security_constraint",
        ("runAsUser",),
        refused(
            'pods "x" is forbidden: unable to validate against any security context constraint: [provider restricted-v2: .containers[0].runAsUser: Invalid value: 0]'
        ),
    ),
    Example("policy_denied", ("portal-approval", "no portal approval label"), error=answer("err-vap-denied")),
    Example("policy_denied", ("no portal approval label",), error=answer("err-vap-denied-isvc")),
    Example(
        "webhook_denied",
        ("'MinReplicas' cannot be greater than MaxReplicas",),
        error=answer("err-kserve-real-isvc-min-gt-max"),
    ),
    Example("webhook_denied", ("index out of range",), error=answer("err-kserve-isvc-no-predictor")),
    Example(
        "webhook_unreachable",
        ("validate.kyverno.svc", "connection refused"),
        error=status_object(
            500,
            'Internal error occurred: failed calling webhook "validate.kyverno.svc": failed to call webhook: Post "https://kyverno:443": dial tcp 10.0.0.9:443: connect: connection refused',
        ),
    ),
    Example(
        "service_account_missing",
        ("ep-1",),
        refused('pods "x" is forbidden: error looking up service account gh/ep-1: serviceaccount "ep-1" not found'),
    ),
    Example(
        "namespace_terminating",
        ("tenant-b",),
        Seen(deployment=deployment(), namespace=recorded("namespace-terminating")),
    ),
    Example(
        "namespace_terminating",
        ("tenant-b",),
        error=status_object(
            403,
            'pods "x" is forbidden: unable to create new content in namespace tenant-b because it is being terminated',
            "Forbidden",
        ),
    ),
    Example("creation_refused", ("no such luck",), refused('pods "x" is forbidden: no such luck')),
]

PLACEMENT = [
    Example("no_nodes", (), Seen(pods=[pod(recorded("pod-unschedulable-status"), node="")])),
    Example(
        "no_nodes",
        (),
        Seen(pods=[pod(node="", meta={"name": "m1-78bc7f889f-hhpcl"})], events=recorded("event-failedscheduling")),
    ),
    Example(
        "no_node_with_gpus",
        ("None of the 2 nodes", "2 GPUs (nvidia.com/gpu)"),
        Seen(pods=[pod(node="", meta={"name": "big-574cd6777c-kxb7z"})], events=recorded("event-failedscheduling-gpu")),
    ),
    Example(
        "no_free_gpu",
        ("3 of 5 nodes", "for the 2 that", "2 reserved by a taint"),
        unschedulable(
            "0/5 nodes are available: 2 node(s) had untolerated taint(s), 3 Insufficient nvidia.com/gpu. preemption: 0/5 nodes are available: 2 Preemption is not helpful for scheduling, 3 No preemption victims found for incoming pod."
        ),
    ),
    Example(
        "no_room_on_nodes", ("2 of 2 nodes", "memory"), unschedulable("0/2 nodes are available: 2 Insufficient memory.")
    ),
    Example(
        "no_node_large_enough",
        ("memory",),
        unschedulable(
            "0/2 nodes are available: 2 Insufficient memory. preemption: 0/2 nodes are available: 2 Preemption is not helpful for scheduling."
        ),
    ),
    Example(
        "taints_not_tolerated",
        ("nvidia.com/gpu: true",),
        unschedulable(
            "0/3 nodes are available: 3 node(s) had untolerated taint {nvidia.com/gpu: true}. preemption: 0/3 nodes are available: 3 Preemption is not helpful for scheduling."
        ),
    ),
    Example(
        "nodes_not_ready",
        ("2 of 3",),
        unschedulable(
            "0/3 nodes are available: 1 node(s) were unschedulable, 1 node(s) had untolerated taint {node.kubernetes.io/unreachable: }, 1 node(s) didn't match Pod's node affinity/selector."
        ),
    ),
    Example(
        "no_matching_node",
        ("gpu=l40s", "3 nodes"),
        unschedulable("0/3 nodes are available: 3 node(s) didn't match Pod's node affinity/selector."),
    ),
    Example("volume_claim_missing", ("models",), unschedulable('persistentvolumeclaim "models" not found')),
    Example(
        "volume_not_bound",
        (),
        unschedulable(
            "0/2 nodes are available: pod has unbound immediate PersistentVolumeClaims. preemption: 0/2 nodes are available: 2 Preemption is not helpful for scheduling."
        ),
    ),
    Example(
        "volume_elsewhere", (), unschedulable("0/2 nodes are available: 2 node(s) had volume node affinity conflict.")
    ),
    Example("gated", (), unschedulable("Scheduling is blocked due to non-empty scheduling gates", "SchedulingGated")),
    Example(
        "kueue_waiting",
        ("queue 'engines'", "insufficient unused quota for nvidia.com/gpu in flavor l40s, 1 more needed"),
        _in_kueue(
            "Pending",
            "couldn't assign flavors to pod set main: insufficient unused quota for nvidia.com/gpu in flavor l40s, 1 more needed",
        ),
    ),
    Example("kueue_waiting", ("has not said yet",), _in_kueue("", "")),
    Example(
        "kueue_refuses",
        ("queue 'engines'", "LocalQueue engines doesn't exist"),
        _in_kueue("Inadmissible", "LocalQueue engines doesn't exist"),
    ),
    Example(
        "device_claim",
        ("claims: 2 cannot allocate all claims. A platform",),
        unschedulable(
            "0/2 nodes are available: 2 cannot allocate all claims. still not schedulable, preemption: 0/2 nodes are available: 2 Preemption is not helpful for scheduling."
        ),
    ),
    Example(
        "device_claim",
        ("device class nope does not exist. A platform",),
        unschedulable(
            "0/3 nodes are available: request r: device class nope does not exist. no new claims to deallocate, preemption: 0/3 nodes are available: 3 Preemption is not helpful for scheduling."
        ),
    ),
    Example(
        "device_claim",
        ("gpu-claim", "for 11 min"),
        Seen(pods=[{**recorded("pod-claim-missing"), "metadata": pod()["metadata"]}]),
    ),
    Example(
        "device_claim",
        ("gpu-template", "not found"),
        Seen(
            pods=[{**pod({"phase": "Pending"}, node=""), "metadata": {"name": "template"}}],
            events=recorded("event-failedclaim"),
        ),
    ),
    Example(
        "unschedulable",
        ("topology spread",),
        unschedulable("0/2 nodes are available: 2 node(s) didn't match pod topology spread constraints."),
    ),
    Example("scheduling", (), Seen(pods=[pod({"phase": "Pending"}, node="")])),
    Example(
        "evicted",
        ("low on resource: memory",),
        _moved(reason="Evicted", message="The node was low on resource: memory."),
    ),
    Example(
        "preempted",
        (),
        _moved(conditions=[{"type": "DisruptionTarget", "status": "True", "reason": "PreemptionByScheduler"}]),
    ),
    Example("node_lost", ("gpu-1",), _moved(reason="NodeLost")),
    Example(
        "node_lost",
        ("gpu-1",),
        Seen(
            pods=[
                pod({"phase": "Running", "conditions": LOST, "containerStatuses": [{"name": "vllm", "ready": True}]})
            ],
            events=[event("NodeNotReady", "Node is not ready")],
        ),
    ),
    Example(
        "node_stopped",
        ("gpu-1",),
        _moved(reason="Terminated", message="Pod was terminated in response to imminent node shutdown."),
    ),
    Example(
        "device_unavailable",
        ("Available: 0",),
        _moved(
            reason="UnexpectedAdmissionError",
            message="Allocate failed due to requested number of devices unavailable for nvidia.com/gpu. Requested: 1, Available: 0",
        ),
    ),
    Example(
        "volume_not_mounted",
        ('secret "hub" not found',),
        Seen(
            pods=[placed(waiting("ContainerCreating"))],
            events=[event("FailedMount", 'MountVolume.SetUp failed for volume "hub" : secret "hub" not found')],
        ),
    ),
    Example(
        "sandbox_failed",
        ("gpu-1", "no IP"),
        Seen(
            pods=[placed(waiting("ContainerCreating"))],
            events=[event("FailedCreatePodSandBox", "Failed to create pod sandbox: no IP addresses available")],
        ),
    ),
    Example(
        "stuck_ending",
        ("gpu-1", "10 min"),
        Seen(deployment=deployment(), pods=[pod(meta={"deletionTimestamp": "2026-11-20T15:50:00Z"})]),
    ),
    Example(
        "ending", (), Seen(deployment=deployment(), pods=[pod(meta={"deletionTimestamp": "2026-11-20T16:00:20Z"})])
    ),
]

ENGINES = [
    Example("image_pull_failed", ("registry.local/vllm:1",), _pod_of("pod-imagepull-status")),
    Example("image_not_found", ("registry.example.com/vllm:1",), Seen(pods=[placed(waiting("ErrImagePull", PULL + "rpc error: code = NotFound desc = failed to resolve reference: registry.example.com/vllm:1: not found"))])),
    Example("image_refused", ("pull secret",), Seen(pods=[placed(waiting("ImagePullBackOff", "Back-off pulling image"))], events=[event("Failed", PULL + "pull access denied, repository does not exist or may require authorization")])),
    Example("image_rate_limited", ("too many",), Seen(pods=[placed(waiting("ErrImagePull", PULL + "toomanyrequests: You have reached your pull rate limit"))])),
    Example("registry_unreachable", ("i/o timeout",), Seen(pods=[placed(waiting("ErrImagePull", PULL + "dial tcp 10.0.0.1:443: i/o timeout"))])),
    Example("image_platform", (), Seen(pods=[placed(waiting("ErrImagePull", PULL + "no match for platform in manifest: not found"))])),
    Example("image_signature", (), Seen(pods=[placed(waiting("SignatureValidationFailed", "image signature validation failed"))])),
    Example("image_name_invalid", (), Seen(pods=[placed(waiting("InvalidImageName", "couldn't parse image name"))])),
    Example("image_not_present", (), Seen(pods=[placed(waiting("ErrImageNeverPull", "Container image is not present with pull policy of Never"))])),
    Example("node_disk_full", ("gpu-1",), Seen(pods=[placed(waiting("ErrImagePull", PULL + "write /var/lib/x: no space left on device"))])),
    Example("config_missing", ('secret "hub" not found',), Seen(pods=[placed(waiting("CreateContainerConfigError", 'secret "hub" not found'))])),
    Example("runs_as_root", (), Seen(pods=[placed(waiting("CreateContainerConfigError", "container has runAsNonRoot and image will run as root"))])),
    Example("program_missing", ("vllm",), Seen(pods=[placed(waiting("RunContainerError", 'failed to create task: exec: "vllm": executable file not found in $PATH'))])),
    Example("container_not_started", ("context deadline",), Seen(pods=[placed(waiting("CreateContainerError", "context deadline exceeded"))])),
    Example("out_of_memory", ("32Gi", "not GPU memory", "again once"), _pod_of("pod-oom-status")),
    Example("gpu_out_of_memory", ("Tried to allocate 2.00 GiB",), Seen(pods=[placed(over(1, "INFO start\ntorch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB\nEngine core failed"))])),
    Example("gpu_out_of_memory", ("cache blocks",), Seen(pods=[placed(over(1))], logs="ValueError: No available memory for the cache blocks. Try increasing gpu_memory_utilization")),
    Example("context_too_long", ("131072",), Seen(pods=[placed(over(1, "ValueError: The model's max seq len (131072) is larger than the maximum number of tokens that can be stored in KV cache (40960)."))])),
    Example("gpu_not_visible", ("gpu-1",), Seen(pods=[placed(over(1, "RuntimeError: No CUDA GPUs are available"))])),
    Example("gpu_link", (), Seen(pods=[placed(over(1, "RuntimeError: NCCL error: unhandled system error"))])),
    Example("model_refused", ("terms",), Seen(pods=[placed(over(1, "GatedRepoError: 401 Client Error. Access to model org/x is restricted."))])),
    Example("model_not_found", (), Seen(pods=[placed(over(1, "RepositoryNotFoundError: 404 Client Error: org/x"))])),
    Example("model_unsupported", ("FooForCausalLM",), Seen(pods=[placed(over(1, "ValueError: Model architectures ['FooForCausalLM'] are not supported for now."))])),
    Example("arguments_refused", ("--frobnicate",), Seen(pods=[placed(over(2, "vllm: error: unrecognized arguments: --frobnicate"))])),
    Example("port_taken", (), Seen(pods=[placed(over(1, "OSError: [Errno 98] Address already in use"))])),
    Example("disk_full", (), Seen(pods=[placed(over(1, "OSError: [Errno 28] No space left on device"))])),
    Example("crashed", ("exit code 1", "again 3 times"), _pod_of("pod-crashloop-status")),
    Example("crashed", ("exit code 139", "SIGSEGV"), Seen(pods=[placed(over(139))])),
    Example("crashed", ("exit code 3", "boom"), Seen(pods=[placed(over(3, "RuntimeError: boom"))])),
    Example("init_failed", ("copy-config", "no such bucket"), _prepared("copy-config", "no such bucket")),
    Example("weights_unavailable", ("No model found in s3://bucket/x",), _prepared("storage-initializer", "RuntimeError: Failed to fetch model. No model found in s3://bucket/x")),
    Example("start_timeout", ("30 min",), Seen(pods=[placed(over(137))], events=[event("Killing", "Container vllm failed startup probe, will be restarted")])),
    Example("not_answering", ("Liveness",), Seen(pods=[placed(over(137))], events=[event("Unhealthy", "Liveness probe failed: HTTP probe failed with statuscode: 500")])),
    Example("progress_deadline", ("10 min",), Seen(deployment=deployment({"conditions": [{"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded"}]}))),
    Example("not_ready", ("10 min",), _pod_of("pod-notready-status")),
    Example("slow_start", ("12 min", "30 min"), Seen(pods=[placed(running("2026-11-20T15:48:00Z"))])),
    Example("loading", ("100 s",), Seen(pods=[placed(running())])),
    Example("fetching_weights", ("5 min",), Seen(pods=[placed(waiting("PodInitializing"), initContainerStatuses=[{"name": "storage-initializer", "state": {"running": {"startedAt": "2026-11-20T15:55:00Z"}}}])])),
    Example("pulling_image", ("gpu-1", "60 s"), Seen(pods=[placed(waiting("ContainerCreating"))], events=[event("Pulling", "Pulling image")])),
    Example("starting", (), Seen(deployment=deployment())),
    Example("paused_rollout", (), Seen(deployment=deployment(paused=True))),
    Example("scaled_to_nothing", (), Seen(deployment=deployment(replicas=0))),
    Example(
        "autoscaler_blind", ("unable to get metrics",),
        Seen(
            deployment=deployment(recorded("deployment-available-status")),
            hpa={"status": {"conditions": [{"type": "ScalingActive", "status": "False", "reason": "FailedGetResourceMetric", "message": "unable to get metrics for resource cpu"}]}},
        ),
    ),
]  # fmt: skip

KSERVE = [
    Example("stopped", (), Seen(llm_inference_service=recorded("kserve-real-llmisvc-stopped"))),
    Example("no_serving_runtime", ("nope",), Seen(inference_service=recorded("kserve-real-isvc-noruntime"))),
    Example("runtime_not_recognised", ("our-vllm",), load_failure("RuntimeNotRecognized")),
    Example("runtime_disabled", ("our-vllm",), load_failure("RuntimeDisabled")),
    Example("predictor_invalid", ("two models",), load_failure("InvalidPredictorSpec", "two models")),
    Example("runtime_unhealthy", ("probe",), load_failure("RuntimeUnhealthy", "probe failed")),
    Example("model_load_failed", ("exit code 1",), Seen(inference_service=recorded("kserve-real-isvc-crashloop"))),
    Example("model_load_failed", ("exit code 3", "tensor"), load_failure("ModelLoadFailed", "a tensor is missing", exitCode=3)),
    Example("weights_unavailable", ("No model found in s3://bucket/x",), Seen(inference_service=recorded("kserve-real-isvc-initfail"))),
    Example("gpu_out_of_memory", (), load_failure("ModelLoadFailed", "CUDA out of memory. Tried to allocate", exitCode=1)),
    Example("predictor_not_ready", ("minimum availability",), Seen(inference_service=recorded("kserve-real-isvc-imagepull"))),
    Example("quota_too_small", ("allows 4", "needs 8"), Seen(inference_service=recorded("kserve-real-isvc-quota"))),
    Example("kserve_silent", ("10 min",), Seen(inference_service={"metadata": {"name": "ep-1", "creationTimestamp": "2026-11-20T15:50:00Z"}})),
    Example("kserve_error", ("fails to reconcile",), Seen(inference_service=service({}), events=[event("InternalError", "fails to reconcile predictor", "InferenceService", "ep-1")])),
    Example("address_not_ready", ("no gateway",), Seen(inference_service=service({"PredictorReady": ("True", "", ""), "IngressReady": ("False", "X", "no gateway")}))),
    Example("quota_too_small", ("needs 8",), Seen(llm_inference_service=recorded("kserve-real-llmisvc-quota"), deployment=deployment({"conditions": [{"type": "ReplicaFailure", "status": "True", "message": QUOTA.replace("=2", "=8")}]}))),
    Example("workload_not_ready", ("minimum availability",), Seen(llm_inference_service=recorded("kserve-real-llmisvc-quota"))),
    Example("gateway_not_ready", ("no class",), Seen(llm_inference_service=service({"GatewaysReady": ("False", "X", "no class")}))),
    Example("pool_not_ready", (), Seen(llm_inference_service=service({"InferencePoolReady": LLM_DOWN}))),
    Example("router_not_ready", ("router-scheduler",), Seen(llm_inference_service=service({"SchedulerWorkloadReady": LLM_DOWN}))),
    Example("preset_missing", ("my-config",), Seen(llm_inference_service=service({"PresetsCombined": ("False", "ConfigNotFound", "my-config not found")}))),
    Example("model_uri_invalid", ("ftp://x",), Seen(llm_inference_service=service({"MainWorkloadReady": ("False", "ReconcileSingleNodeWorkloadError", "invalid model URI ftp://x")}))),
    Example("model_name_taken", ("llama",), Seen(llm_inference_service=recorded("kserve-real-llmisvc-ready"), events=[event("ModelNameCollision", "llama is served by other", "LLMInferenceService", "llama")])),
]  # fmt: skip

ERRORS = [
    Example("certificate_expired", (), error=(0, "[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: certificate has expired (_ssl.c:1006)", None)),
    Example("certificate_untrusted", ("self-signed",), error=(0, "[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: self-signed certificate (_ssl.c:1006)", None)),
    Example("cluster_slow", (), error=(0, "Read timed out. (read timeout=5)", None)),
    Example("cluster_slow", (), error=status_object(504, "the server was unable to return a response in the time allotted", "Timeout")),
    Example("cluster_unreachable", ("nobody listens",), error=(0, "[Errno 111] Connection refused", None)),
    Example("token_refused", (), error=answer("err-unauthorized-401")),
    Example("not_signed_in", (), error=status_object(403, 'pods is forbidden: User "system:anonymous" cannot list resource "pods" in API group "" at the cluster scope', "Forbidden")),
    Example("permission_missing", ("portal may not create namespaces in the whole cluster",), error=answer("err-rbac-forbidden-create-ns")),
    Example("permission_missing", ("create configmaps in the namespace tenant-p",), error=answer("err-ssa-create-with-patch")),
    Example("permission_missing", ("gatehouse/portal", "patch deployments.apps in"), error=status_object(403, 'deployments.apps "x" is forbidden: User "system:serviceaccount:gatehouse:portal" cannot patch resource "deployments" in API group "apps" in the namespace "t"', "Forbidden")),
    Example("forbidden", ("not today",), error=status_object(403, "not today", "Forbidden")),
    Example("kind_missing", ("inferenceservices",), error=status_object(404, "the server could not find the requested resource", "NotFound", group="serving.kserve.io", kind="inferenceservices", name="ep-1")),
    Example("kind_missing", (), error=(404, "404 page not found\n", None)),
    Example("namespace_missing", ("gh-fraud-dev",), error=status_object(404, 'namespaces "gh-fraud-dev" not found', "NotFound", name="gh-fraud-dev", kind="namespaces")),
    Example("not_found", ("deployments.apps nope",), error=answer("err-not-found-404")),
    Example("already_exists", ("ok2",), error=answer("err-already-exists-409")),
    Example("field_conflict", ("spec.template.spec.containers", "image is held by human"), error=answer("err-ssa-conflict-409")),
    Example("changed_meanwhile", ("m3",), error=answer("err-stale-resourceversion-409")),
    Example("history_gone", (), error=status_object(410, "too old resource version: 1 (300)", "Expired")),
    Example("object_invalid", ("resources.requests", "must be equal to nvidia.com/gpu limit of 2"), error=answer("err-invalid-gpu-request-ne-limit")),
    Example("object_invalid", ("metadata.name",), error=answer("err-kserve-real-isvc-badname")),
    Example("object_invalid", ("mutually exclusive",), error=answer("err-kserve-llmisvc-replicas-and-scaling")),
    Example("object_invalid", ("spec.validations[0].expression",), error=answer("err-vap-bad-cel")),
    Example("field_unknown", ("resorces", "Deployment tenant-a/m1"), error=answer("err-strict-unknown-field")),
    Example("field_unknown", ("spec.predictor.modell", "InferenceService bad2"), error=answer("err-kserve-isvc-unknown-ssa")),
    Example("field_unknown", ("spec.foo",), error=status_object(400, 'strict decoding error: unknown field "spec.foo"', "BadRequest")),
    Example("object_too_large", (), error=status_object(413, "Request entity too large: limit is 3145728", "RequestEntityTooLarge")),
    Example("slow_down", ("after 7 s",), error=(429, {"kind": "Status", "message": "Too many requests"}, "7")),
    Example("slow_down", ("after 2 s",), error=status_object(429, "Too many requests", "TooManyRequests", retryAfterSeconds=2)),
    Example("cluster_unavailable", ("initializing", "after 1 s"), error=(429, {"kind": "Status", "message": "storage is (re)initializing"}, "1")),
    Example("cluster_unavailable", ("etcd",), error=status_object(503, "etcd leader changed", "ServiceUnavailable")),
    Example("cluster_error", ("500", "etcdserver: no leader"), error=status_object(500, "etcdserver: no leader", "InternalError")),
    Example("request_refused", ("415",), error=status_object(415, "the body of the request was in an unknown format", "UnsupportedMediaType")),
    Example("answer_not_understood", ("404",), error=(404, "<html>nginx</html>", None)),
]  # fmt: skip

EXAMPLES = [*CREATION, *PLACEMENT, *ENGINES, *KSERVE, *ERRORS]
# Recorded on the real control plane, and nothing is wrong with them, or they hold nothing.
QUIET = {
    "deployment-available-status", "endpointslice", "kserve-isvc-created", "kserve-real-isvc-ready",
    "kserve-real-llmisvc-ready", "resourcequota-empty", "resourcequota-used", "node-after-create",
    "kserve-llmisvc-created-v1alpha1", "kserve-llmisvc-created-v1alpha2", "kserve-real-isvc-created",
    "kserve-real-llmisvc-created",
}  # fmt: skip
