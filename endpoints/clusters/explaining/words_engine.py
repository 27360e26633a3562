"""What is said about images, containers and engines; the columns are those of `cases.Case`."""

from endpoints.clusters import Turn

_PULL = "Container `waiting.reason` `ErrImagePull`, `ImagePullBackOff`, event `Failed`"
_CONFIG = "Container `waiting.reason` `CreateContainerConfigError`"
_START = "Container `waiting.reason` `RunContainerError`, `CreateContainerError`"
_END = "Container `lastState.terminated` and its message, end of the log"

ENGINE: tuple[tuple[str, Turn, bool, str, str, str], ...] = (
    (
        "image_not_found", "platform", True, _PULL,
        "The server image {image} does not exist in its registry.",
        "A platform engineer corrects image or digest of the version, or copies the image there.",
    ),
    (
        "image_refused", "platform", True, _PULL,
        "The registry refuses the server image {image}: the cluster may not read it.",
        "A platform engineer adds or renews the pull secret of the namespace.",
    ),
    (
        "image_rate_limited", "platform", False, _PULL,
        "The registry has had too many downloads from this cluster and refuses the server image {image} for now.",
        "The cluster tries again by itself; a pull secret with an account or a mirror of the registry ends it.",
    ),
    (
        "registry_unreachable", "platform", False, _PULL,
        "The registry of the server image {image} cannot be reached from the node: {detail}.",
        "The cluster tries again by itself; a platform engineer looks at name, network and certificate.",
    ),
    (
        "image_platform", "platform", True, _PULL,
        "The server image {image} is not built for the processor of the node.",
        "A platform engineer chooses an image for it, or pins the profile to other nodes.",
    ),
    (
        "image_signature", "platform", True, _PULL,
        "The node refuses the server image {image}: its signature does not verify.",
        "A platform engineer has it signed, or corrects the policy of the node; do not switch the check off.",
    ),
    (
        "image_name_invalid", "platform", True, "Container `waiting.reason` `InvalidImageName`",
        "The name of the server image, {image}, is not valid.",
        "A platform engineer corrects the image in the runtime of the version.",
    ),
    (
        "image_not_present", "platform", True, "Container `waiting.reason` `ErrImageNeverPull`",
        "The server image {image} is not on the node, and it may not be downloaded (pull policy Never).",
        "A platform engineer loads it onto the node, or changes the pull policy.",
    ),
    (
        "node_disk_full", "platform", False, _PULL + ", " + _START,
        "The disk of the node {node} is full, so the server image or its files do not fit.",
        "A platform engineer frees space on it; the cluster tries again by itself.",
    ),
    (
        "image_pull_failed", "platform", False, _PULL,
        "The server image {image} cannot be downloaded: {detail}.",
        "The cluster tries again by itself; a platform engineer looks at image and registry.",
    ),
    (
        "config_missing", "platform", True, _CONFIG,
        "Something that the engine is configured with is not there: {detail}.",
        "A platform engineer creates it in the namespace; the cluster goes on by itself then.",
    ),
    (
        "runs_as_root", "platform", True, _CONFIG,
        "The server image {image} runs as root, and the cluster forbids that.",
        "A platform engineer chooses an image with a numeric user, or sets the user in the runtime.",
    ),
    (
        "program_missing", "platform", True, _START + ", exit code 127",
        "The program that should start the engine is not in the image: {detail}.",
        "A platform engineer corrects command or image of the version's runtime.",
    ),
    (
        "container_not_started", "platform", False, _START,
        "The node cannot start the engine's container: {detail}.",
        "The cluster tries again by itself; a platform engineer looks at the runtime of the version and at the node.",
    ),
    (
        "out_of_memory", "you", True, _END + ", reason `OOMKilled`",
        "The engine was ended because it used more than its {limit} of main memory (not GPU memory).",
        "Choose a hardware profile with more memory, or a shorter context.",
    ),
    (
        "gpu_out_of_memory", "you", True, _END,
        "The GPU's memory is too small for the model: {detail}.",
        "Choose a profile with more GPU memory or more GPUs, a shorter context or less concurrency.",
    ),
    (
        "context_too_long", "you", True, _END,
        "The context does not fit beside the model in GPU memory: {detail}.",
        "Ask for a shorter context, or for a profile with more GPU memory.",
    ),
    (
        "gpu_not_visible", "platform", True, _END,
        "The engine finds no usable GPU in its container: {detail}.",
        "A platform engineer looks at the driver and the device plugin of the node {node}, and at the profile.",
    ),
    (
        "gpu_link", "platform", True, _END,
        "The GPUs of the engine cannot talk to each other: {detail}.",
        "A platform engineer looks at shared memory, NCCL and the links of the node {node}.",
    ),
    (
        "model_refused", "you", True, _END,
        "The model's source refuses the download: {detail}.",
        "Accept the model's terms where it is published, and let a platform engineer renew the token of the project.",
    ),
    (
        "model_not_found", "you", True, _END,
        "The model's files are not where the version says: {detail}.",
        "Choose another version, or let a platform engineer correct its source.",
    ),
    (
        "model_unsupported", "platform", True, _END,
        "The engine cannot run this model: {detail}.",
        "A platform engineer chooses a newer image or another engine for the version.",
    ),
    (
        "arguments_refused", "platform", True, _END,
        "The engine does not accept its arguments: {detail}.",
        "A platform engineer corrects the runtime of the version.",
    ),
    (
        "port_taken", "platform", True, _END,
        "The engine's port is already in use in its pod: {detail}.",
        "A platform engineer corrects the port in the runtime of the version.",
    ),
    (
        "disk_full", "you", True, _END,
        "The engine ran out of disk space: {detail}.",
        "Choose a hardware profile with more disk, or a model that needs less.",
    ),
    (
        "crashed", "platform", True, _END + ", reason `CrashLoopBackOff`",
        "The engine ended with exit code {exit}{hint}.",
        "Read the log of the endpoint; a platform engineer corrects the runtime of the version.",
    ),
    (
        "init_failed", "platform", True, "Init container `terminated`, `waiting`",
        "The preparation {container} failed before the engine started: {detail}.",
        "A platform engineer corrects the runtime of the version.",
    ),
    (
        "weights_unavailable", "you", True, "Init container `storage-initializer`, `modelStatus.lastFailureInfo`",
        "The model's files cannot be fetched: {detail}.",
        "Check that the source of the version exists and that the project's credentials may read it.",
    ),
    (
        "start_timeout", "platform", True, "Event `Killing`, `Unhealthy` (start-up probe)",
        "The engine was not healthy within {budget} of its start, so the cluster ended it.",
        "Read the log; a large model needs a longer start time in the runtime of its version.",
    ),
    (
        "not_answering", "platform", False, "Event `Unhealthy`, `Killing` (liveness probe)",
        "The engine stopped answering its health check and the cluster ended it: {detail}.",
        "Read the log when it happens again.",
    ),
    (
        "progress_deadline", "platform", True, "Deployment condition `Progressing=False`",
        "The rollout made no progress for {budget}, and the cluster gave up waiting.",
        "Read log and events; a large model needs a longer start time in the runtime of its version.",
    ),
    (
        "not_ready", "platform", False, "Pod condition `Ready=False`, event `Unhealthy` (readiness probe)",
        "The engine runs, but its health check has failed{since}{hint}.",
        "It gets no calls until it is healthy again; read the log when it lasts.",
    ),
    (
        "slow_start", "nobody", False, "Container `running`, not `started`",
        "The engine has been loading the model for {since}; it may take {budget}.",
        "Nothing is to be done yet.",
    ),
    (
        "loading", "nobody", False, "Container `running`, not `started`",
        "The engine has been loading the model for {since}.",
        "It answers calls when that is done.",
    ),
    (
        "fetching_weights", "nobody", False, "Init container `running`",
        "The model's files are being fetched, for {since} now.",
        "Nothing is to be done; large models take many minutes.",
    ),
    (
        "pulling_image", "nobody", False, "Container `waiting.reason` `ContainerCreating`, event `Pulling`",
        "The node {node} is downloading the server image{since}.",
        "Nothing is to be done; the first time takes some minutes.",
    ),
    (
        "scheduling", "nobody", False, "Pod without `PodScheduled`",
        "The cluster is looking for a node.",
        "Nothing is to be done.",
    ),
    (
        "starting", "nobody", False, "Deployment, ReplicaSet and Pods before a node reports",
        "The cluster is creating the engine.",
        "Nothing is to be done.",
    ),
    (
        "ending", "nobody", False, "Pod `metadata.deletionTimestamp`",
        "An engine is ending; it finishes its calls first.",
        "Nothing is to be done.",
    ),
    (
        "paused_rollout", "platform", True, "Deployment `spec.paused`",
        "The rollout was paused by hand in the cluster, so nothing of a change is started.",
        "A platform engineer resumes it (kubectl rollout resume), or presses Retry.",
    ),
    (
        "scaled_to_nothing", "nobody", False, "Deployment `spec.replicas` is 0",
        "It is scaled to nothing in the cluster.",
        "The next round sets the number of replicas that is wanted.",
    ),
    (
        "autoscaler_blind", "platform", False, "HorizontalPodAutoscaler conditions `ScalingActive`, `AbleToScale`",
        "It answers calls, but the autoscaler cannot read its measure, so it does not scale: {detail}.",
        "A platform engineer looks at the metrics server or adapter of the cluster.",
    ),
)  # fmt: skip
