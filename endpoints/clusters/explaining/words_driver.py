"""What drivers say by themselves, without a word of a cluster; the columns are those of `cases.Case`. What stays is not
tried again.
"""

from endpoints.clusters import Turn

_WORKLOAD = "What was approved, before anything is written"
_REGISTRATION = "The registration of the cluster, before it is called"
_FAULT = "A platform engineer reports it as a fault of the portal."

DRIVER: tuple[tuple[str, Turn, bool, str, str, str], ...] = (
    (
        "driver_missing", "platform", True, _REGISTRATION,
        "The cluster {cluster} wants the driver '{driver}', which this installation does not have.",
        "A platform engineer registers the cluster with another one, or installs what brings it.",
    ),
    (
        "credential_closed", "platform", True, _REGISTRATION,
        "No key in GATEHOUSE_ENCRYPTION_KEYS opens the credential of {cluster}.",
        "A platform engineer puts the old key back, or gives the cluster a new credential.",
    ),
    (
        "credential_invalid", "platform", True, _REGISTRATION,
        "The CA or the client certificate of the cluster {cluster} cannot be read.",
        "A platform engineer gives it new ones.",
    ),
    (
        "server_invalid", "platform", True, _REGISTRATION,
        "The address of the cluster {cluster} does not begin with https://.",
        "A platform engineer corrects its registration.",
    ),
    (
        "no_service_account", "platform", True, _REGISTRATION,
        "The cluster {cluster} is registered as the one that the portal runs in, but this process has no service "
        "account.",
        "A platform engineer registers it with a token.",
    ),
    (
        "address_refused", "platform", True, "Where the portal may call",
        "{detail}.",
        "{way}.",
    ),
    (
        "autoscaler_unset", "platform", True, _REGISTRATION,
        "KEDA needs the address of Prometheus, and the registration of the cluster names none.",
        "A platform engineer sets the option prometheus of the cluster.",
    ),
    (
        "approvals_missing", "platform", False, "404 of the kind that says what was approved",
        "The cluster is to refuse what was not approved, and the kind that says what was is missing there.",
        "A platform engineer applies the manifest of the admission policy, or goes back to the mode audit.",
    ),
    (
        "name_collision", "platform", False, "Labels of the object that is there",
        "{thing}{where} exists on the cluster and is not the portal's, so it is left alone.",
        "A platform engineer renames or removes it.",
    ),
    (
        "answer_too_large", "platform", False, "An answer beyond what the portal reads",
        "{what} of the cluster has more than {limit} bytes, the limit.",
        "A platform engineer removes objects that nobody needs, or gives the portal a cluster of its own.",
    ),
    (
        "runtime_missing", "you", True, _WORKLOAD,
        "The version does not say how its engine is started.",
        "Choose a version with a runtime.",
    ),
    (
        "invalid_workload", "you", True, _WORKLOAD,
        "The workload {detail}.",
        "Correct the runtime of the version or the number of replicas.",
    ),
    (
        "adopted_gone", "you", False, "The object whose uid was adopted is not there",
        "The {thing} that this endpoint adopted was deleted, or another one stands in its place.",
        "Ask for a new revision, which the portal runs itself, or delete the endpoint.",
    ),
    (
        "invalid_endpoint", "platform", True, _WORKLOAD,
        "The id of the endpoint {detail}.",
        _FAULT,
    ),
    (
        "image_missing", "you", True, _WORKLOAD,
        "The version names no container image, and this cluster runs containers.",
        "Choose a version with an image.",
    ),
    (
        "image_not_pinned", "platform", True, _WORKLOAD,
        "The image {image} is not pinned by a digest, so nobody knows what would run.",
        "A platform engineer loads a version whose image ends in @sha256: and the digest.",
    ),
    (
        "resource_invalid", "platform", True, _WORKLOAD,
        "The hardware profile calls its accelerator '{resource}', which is no resource of a cluster.",
        "A platform engineer writes nvidia.com/gpu, for example.",
    ),
    (
        "engine_unsupported", "you", True, _WORKLOAD,
        "The cluster runs LLMInferenceServices, which are for vLLM only.",
        "Choose a version with vLLM.",
    ),
    (
        "engine_missing", "platform", True, "The machine that runs the portal",
        "`{program}` {detail} on this machine.",
        "A platform engineer installs it, or choose a version with the demo engine.",
    ),
    (
        "start_unconfirmed", "nobody", False, "The machine that runs the portal",
        "The start was not confirmed within {seconds} s: the machine is overloaded.",
        "It is tried again by itself.",
    ),
    (
        "replica_locked", "nobody", False, "The machine that runs the portal",
        "An earlier process of this replica still holds its lock.",
        "The next attempt follows by itself when it has ended; it is tried again until then.",
    ),
    (
        "machine_disk_full", "platform", False, "The machine that runs the portal",
        "The disk that holds the state of the engines is full ({detail}).",
        "A platform engineer frees some space.",
    ),
    (
        "state_not_writable", "platform", False, "The machine that runs the portal",
        "The state directory of the engines cannot be written ({detail}).",
        "A platform engineer corrects its owner and mode.",
    ),
    (
        "machine_exhausted", "platform", False, "The machine that runs the portal",
        "The machine cannot start another process ({detail}).",
        "A platform engineer stops something, or raises its limits.",
    ),
    (
        "machine_error", "platform", False, "The machine that runs the portal",
        "The machine refused: {detail}.",
        "A platform engineer looks at the machine.",
    ),
)  # fmt: skip
