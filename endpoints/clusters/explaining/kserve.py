"""What InferenceService and LLMInferenceService tell themselves, and where they hide it."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from endpoints.clusters.explaining import ends
from endpoints.clusters.explaining.admission import creation
from endpoints.clusters.explaining.cases import say
from endpoints.clusters.explaining.reading import (
    at,
    condition,
    duration,
    events_of,
    is_false,
    is_true,
    line,
    name,
    number,
    objects,
    since,
    text,
)
from endpoints.clusters.explaining.seen import Explanation, Seen

STOP = "serving.kserve.io/stop"
_PATIENCE = timedelta(minutes=2)
_SPEC = {
    "NoSupportingRuntime": "no_serving_runtime",
    "RuntimeNotRecognized": "runtime_not_recognised",
    "RuntimeDisabled": "runtime_disabled",
    "InvalidPredictorSpec": "predictor_invalid",
}
# From the workload outwards: what stands behind is not ready because of what stands before it.
_LLM_PARTS = (
    ("MainWorkloadReady", "workload_not_ready"),
    ("WorkerWorkloadReady", "workload_not_ready"),
    ("PrefillWorkloadReady", "workload_not_ready"),
    ("PrefillWorkerWorkloadReady", "workload_not_ready"),
    ("ScalingReady", "workload_not_ready"),
    ("SchedulerWorkloadReady", "router_not_ready"),
    ("InferencePoolReady", "pool_not_ready"),
    ("GatewaysReady", "gateway_not_ready"),
    ("HTTPRoutesReady", "address_not_ready"),
    ("RouterReady", "router_not_ready"),
)


def stopped(seen: Seen) -> Explanation | None:
    """Return that it is stopped on purpose; None when it is not."""
    for one in (seen.inference_service, seen.llm_inference_service):
        asked = at(one, "metadata", "annotations", STOP) == "true"
        if asked or is_true(one, "Stopped") or condition(one, "Ready").get("reason") == "Stopped":
            return say("stopped")
    return None


def healthy(service: Any) -> bool:
    """Whether KServe says that it answers calls."""
    return is_true(service, "Ready")


def cause(seen: Seen) -> Explanation | None:
    """Return what is wrong with the object itself: with this, nothing of it is ever started."""
    return _invalid(seen.inference_service) or _presets(seen)


def symptom(seen: Seen, now: datetime) -> Explanation | None:
    """Return what KServe says when neither pods nor Deployment tell more."""
    isvc = _load(seen.inference_service) or _predictor(seen) or _errors(seen, "InferenceService")
    return isvc or _errors(seen, "LLMInferenceService") or _parts(seen) or _silent(seen, now)


def collision(seen: Seen) -> Explanation | None:
    """Return that another object serves the same model name; None when none does."""
    title = name(seen.llm_inference_service)
    event = next(events_of(seen.events, "LLMInferenceService", title, "ModelNameCollision"), None)
    return say("model_name_taken", detail=line(event.get("message"))) if event is not None else None


def _invalid(service: Any) -> Explanation | None:
    failure = at(service, "status", "modelStatus", "lastFailureInfo")
    code = _SPEC.get(text(at(failure, "reason")))
    if code is None:
        return None
    model = at(service, "spec", "predictor", "model")
    return say(
        code,
        format=line(at(model, "modelFormat", "name"), 60) or "of the version",
        runtime=line(at(model, "runtime"), 80) or "of the version",
        detail=line(at(failure, "message")) or "it gives no reason",
    )


def _presets(seen: Seen) -> Explanation | None:
    service = seen.llm_inference_service
    if is_false(service, "PresetsCombined"):
        return say("preset_missing", detail=_words(condition(service, "PresetsCombined")))
    main = condition(service, "MainWorkloadReady")
    told = [
        text(main.get("message")),
        *(text(one.get("message")) for one in _error_events(seen, "LLMInferenceService")),
    ]
    broken = [one for one in told if "invalid model uri" in one.lower() or "unsupported schema" in one.lower()]
    return say("model_uri_invalid", detail=line(broken[0])) if broken else None


def _load(service: Any) -> Explanation | None:
    status = at(service, "status", "modelStatus")
    failure = at(status, "lastFailureInfo")
    if text(at(status, "transitionStatus")) not in ("", "BlockedByFailedLoad"):
        return None  # KServe keeps what it said last, while the next engine loads
    reason, message = text(at(failure, "reason")), text(at(failure, "message"))
    if reason == "RuntimeUnhealthy":
        return say("runtime_unhealthy", detail=line(message) or "it gives no reason")
    if reason != "ModelLoadFailed":
        return None
    found = ends.cause(message)
    if found is not None and found[0] != "model_not_found":
        return say(found[0], detail=found[1], node="that it runs on")
    if found is not None or "fetch" in message.lower() or "download" in message.lower():
        return say("weights_unavailable", detail=line(message))
    code = number(at(failure, "exitCode"))
    exit_code = f" (exit code {code})" if code is not None else ""
    return say("model_load_failed", exit=exit_code, detail=line(message) or "KServe gives no reason")


def _predictor(seen: Seen) -> Explanation | None:
    service = seen.inference_service
    if is_false(service, "PredictorReady"):
        found = condition(service, "PredictorReady")
        if found.get("reason") == "FailedCreate":
            return creation(found.get("message"), seen)
        return say("predictor_not_ready", detail=_words(found))
    for kind in ("PredictorConfigurationReady", "TransformerReady", "ExplainerReady", "CanaryPredictorReady"):
        if is_false(service, kind):
            return say("predictor_not_ready", detail=_words(condition(service, kind)))
    for kind in ("IngressReady", "PredictorRouteReady", "RoutesReady"):
        if is_false(service, kind):
            return say("address_not_ready", detail=_words(condition(service, kind)))
    return None


def _error_events(seen: Seen, kind: str) -> list[Mapping[str, Any]]:
    service = seen.inference_service if kind == "InferenceService" else seen.llm_inference_service
    return list(events_of(seen.events, kind, name(service), "InternalError", "Error", "ReconcileError", "UpdateFailed"))


def _errors(seen: Seen, kind: str) -> Explanation | None:
    for event in _error_events(seen, kind)[:1]:
        return say("kserve_error", detail=line(event.get("message")) or "it gives no reason")
    service = seen.llm_inference_service if kind == "LLMInferenceService" else None
    for one in objects(at(service, "status", "conditions")):
        if one.get("status") == "False" and text(one.get("reason")).endswith("Error"):
            return say("kserve_error", detail=_words(one))
    return None


def _parts(seen: Seen) -> Explanation | None:
    for kind, code in _LLM_PARTS:
        if is_false(seen.llm_inference_service, kind):
            return say(code, detail=_words(condition(seen.llm_inference_service, kind)))
    return None


def _silent(seen: Seen, now: datetime) -> Explanation | None:
    service = seen.inference_service or seen.llm_inference_service
    if not service or objects(at(service, "status", "conditions")):
        return None
    spent = since(at(service, "metadata", "creationTimestamp"), now)
    return say("kserve_silent", since=duration(spent)) if spent is not None and spent > _PATIENCE else None


def _words(found: Mapping[str, Any]) -> str:
    """Return what a condition says, its reason where it has no message."""
    return line(found.get("message")) or line(found.get("reason")) or "KServe gives no reason"
