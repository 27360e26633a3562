"""What is said about KServe's own objects; the columns are those of `cases.Case`."""

from endpoints.clusters import Turn

_FAILURE = "InferenceService `status.modelStatus.lastFailureInfo`"
_LLM = "LLMInferenceService condition "

KSERVE: tuple[tuple[str, Turn, bool, str, str, str], ...] = (
    (
        "stopped", "nobody", False, "Condition `Stopped=True`, annotation `serving.kserve.io/stop`",
        "It is stopped: nothing runs, and its address stays.",
        "Resume starts it again.",
    ),
    (
        "no_serving_runtime", "platform", True, _FAILURE + " `NoSupportingRuntime`",
        "The cluster has no serving runtime for the model format {format}.",
        "A platform engineer installs one (ClusterServingRuntime), or names another in the runtime of the version.",
    ),
    (
        "runtime_not_recognised", "platform", True, _FAILURE + " `RuntimeNotRecognized`",
        "The cluster has no serving runtime called {runtime}.",
        "A platform engineer installs it, or corrects the runtime of the version.",
    ),
    (
        "runtime_disabled", "platform", True, _FAILURE + " `RuntimeDisabled`",
        "The serving runtime {runtime} is switched off on this cluster.",
        "A platform engineer switches it on, or names another in the runtime of the version.",
    ),
    (
        "predictor_invalid", "platform", True, _FAILURE + " `InvalidPredictorSpec`",
        "KServe does not accept how the model is described: {detail}.",
        "A platform engineer corrects the runtime of the version.",
    ),
    (
        "runtime_unhealthy", "platform", False, _FAILURE + " `RuntimeUnhealthy`",
        "KServe says that the model server is not healthy: {detail}.",
        "Read the log; the cluster tries again by itself.",
    ),
    (
        "model_load_failed", "you", True, _FAILURE + " `ModelLoadFailed`",
        "The model could not be loaded{exit}: {detail}.",
        "Read the log; choose another version or a larger profile.",
    ),
    (
        "kserve_silent", "platform", False, "Object without `status` of its generation, after two minutes",
        "KServe has not looked at it for {since}: its controller does not run, or waits.",
        "A platform engineer looks at the controller of KServe on this cluster.",
    ),
    (
        "kserve_error", "platform", False, "Event `InternalError`, `Error`; condition with a reason `…Error`",
        "KServe could not go on: {detail}.",
        "A platform engineer corrects what it names; KServe tries again by itself.",
    ),
    (
        "predictor_not_ready", "platform", False, "Condition `PredictorReady=False`",
        "The model server does not run yet: {detail}.",
        "A platform engineer looks at its Deployment when it lasts.",
    ),
    (
        "address_not_ready", "platform", False, "Conditions `IngressReady`, `HTTPRoutesReady`",
        "The engine runs, but the cluster has made no address for it yet: {detail}.",
        "A platform engineer looks at the gateway and at the route.",
    ),
    (
        "gateway_not_ready", "platform", False, _LLM + "`GatewaysReady=False`",
        "The gateway that should lead to it is not ready: {detail}.",
        "A platform engineer looks at the Gateway.",
    ),
    (
        "pool_not_ready", "platform", False, _LLM + "`InferencePoolReady=False`",
        "The inference pool that should spread its calls is not ready: {detail}.",
        "A platform engineer looks at the InferencePool and at the gateway's support for it.",
    ),
    (
        "router_not_ready", "platform", False, _LLM + "`SchedulerWorkloadReady=False`, `RouterReady=False`",
        "The scheduler that chooses a replica for each call does not run yet: {detail}.",
        "A platform engineer looks at its Deployment (…-router-scheduler); an approval policy must exempt it.",
    ),
    (
        "preset_missing", "platform", True, _LLM + "`PresetsCombined=False`",
        "A preset that the object builds on is not there: {detail}.",
        "A platform engineer installs it (LLMInferenceServiceConfig), or corrects the runtime of the version.",
    ),
    (
        "model_uri_invalid", "platform", True, _LLM + "`MainWorkloadReady=False`, event `Error`",
        "KServe does not understand where the model is: {detail}.",
        "A platform engineer corrects the source of the version: hf://, s3://, oci:// or pvc://.",
    ),
    (
        "model_name_taken", "you", False, "Event `ModelNameCollision` on the LLMInferenceService",
        "Another endpoint of the namespace serves the same model name, and calls may reach either: {detail}.",
        "Give this one another name, or delete the other.",
    ),
    (
        "workload_not_ready", "platform", False, _LLM + "`MainWorkloadReady`, `WorkerWorkloadReady`, `Prefill…`",
        "Its engines do not run yet: {detail}.",
        "A platform engineer looks at its Deployments when it lasts.",
    ),
)  # fmt: skip
