"""Why an engine ended: its exit status and its own last words."""

import re
import signal
from collections.abc import Mapping
from typing import Any

from endpoints.clusters.explaining.cases import say
from endpoints.clusters.explaining.reading import at, clip, last_line, line, mapping, number, objects, text
from endpoints.clusters.explaining.seen import Explanation, Seen

# The first that matches tells the cause; the last line alone often tells only that a worker is gone.
_WORDS = (
    ("gpu_out_of_memory", r"CUDA out of memory|CUDA error: out of memory|HIP out of memory|OutOfMemoryError"
     r"|CUBLAS_STATUS_ALLOC_FAILED|[Nn]o available memory for the cache blocks"
     r"|Free memory on device .{0,120}less than desired"),
    ("context_too_long", r"larger than the maximum number of tokens that can be stored in KV cache"
     r"|KV cache is needed, which is larger than the available KV cache"
     r"|max_model_len.{0,80}(?:is greater|greater than|larger than)"),
    ("gpu_not_visible", r"[Nn]o CUDA GPUs are available|CUDA driver version is insufficient|no CUDA-capable device"
     r"|Failed to infer device type|Found no NVIDIA driver|nvidia-container-cli: .{0,80}error|no HIP GPUs"),
    ("gpu_link", r"NCCL (?:error|WARN.{0,60}(?:fail|timed out))|ncclSystemError|ncclInternalError|NCCL timeout"
     r"|[Bb]us error.{0,80}shared memory|No space left on device.{0,60}/dev/shm|unable to mmap.{0,60}shm"),
    ("model_refused", r"GatedRepoError|gated repo|401 Client Error|403 Client Error|Access to model .{0,160}restricted"
     r"|AccessDenied|InvalidAccessKeyId|SignatureDoesNotMatch"),
    ("model_not_found", r"RepositoryNotFoundError|RevisionNotFoundError|404 Client Error|NoSuchKey|NoSuchBucket"
     r"|No model found in|LocalEntryNotFoundError|does not appear to have a file named"
     r"|Can't load the configuration of"),
    ("model_unsupported", r"Model architectures .{0,200}(?:are not|not) supported|trust_remote_code"
     r"|does not recognize this architecture|Unknown quantization method|is only supported on GPUs"
     r"|Bfloat16 is only supported"),
    ("arguments_refused", r"unrecognized arguments|error: argument |invalid choice:"
     r"|the following arguments are required"
     r"|unexpected keyword argument"),
    ("port_taken", r"[Aa]ddress already in use"),
    ("disk_full", r"No space left on device|Disk quota exceeded"),
)  # fmt: skip
_CAUSES = tuple((code, re.compile(pattern)) for code, pattern in _WORDS)
_FETCHERS = frozenset({"storage-initializer", "modelcar-init", "fetch-model", "download-model", "model-download"})


def ended(pod: Any, container: Mapping[str, Any], seen: Seen) -> Explanation | None:
    """Return why a container's last life ended; None when it has not ended before."""
    end = last_end(container)
    if not end:
        return None
    tried = times(container)
    if end.get("reason") == "OOMKilled":
        return say("out_of_memory", tried=tried, limit=memory(pod, container, seen))
    words = f"{text(end.get('message'))}\n{text(seen.logs)}"
    node = line(at(pod, "spec", "nodeName"), 80) or "that it runs on"
    found = cause(words)
    if found:
        return say(found[0], tried=tried, detail=found[1], node=node)
    code = number(end.get("exitCode"))
    reason = line(end.get("reason"), 40)
    if code in {126, 127} or reason == "ContainerCannotRun" or (code == 128 and reason == "StartError"):
        return say("program_missing", tried=tried, detail=last_line(words) or f"exit code {code}")
    if not text(words) and code is None and not reason:
        return None
    return say("crashed", tried=tried, exit="unknown" if code is None else code, hint=_hint(code, words))


def cause(words: str) -> tuple[str, str] | None:
    """Return the code of what an engine's output tells, and the line that tells it; None when nothing is known."""
    for code, pattern in _CAUSES:
        for one in reversed(words.splitlines()):
            if found := pattern.search(one):
                start = max(0, found.start() - 60) if len(one) > 140 else 0
                return code, line(one[start:], 150)
    return None


def last_end(container: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return how the container ended last: now, or in the life before this one."""
    now = mapping(at(container, "state", "terminated"))
    return now or mapping(at(container, "lastState", "terminated"))


def times(container: Mapping[str, Any]) -> str:
    """Return how often the cluster started a container again, as a sentence; "" for never."""
    count = number(container.get("restartCount")) or 0
    if count < 1:
        return ""
    often = {1: "once", 2: "twice"}.get(count, f"{count} times")
    return f"The cluster has started it again {often} and goes on trying."


def memory(pod: Any, container: Mapping[str, Any], seen: Seen) -> str:
    """Return the memory limit of a container as words, from the pod or from what it is made from."""
    places = (at(pod, "spec", "containers"), at(seen.deployment, "spec", "template", "spec", "containers"))
    for place in places:
        for one in objects(place):
            limit = line(at(one, "resources", "limits", "memory"), 30)
            if one.get("name") == container.get("name") and limit:
                return limit
    return "limit"


def prepared(pod: Any, container: Mapping[str, Any], seen: Seen) -> Explanation | None:
    """Return why an init container failed; None when it has not."""
    end = last_end(container)
    code = number(end.get("exitCode"))
    if not end or code == 0:
        return None
    title = line(container.get("name"), 60) or "container"
    tried = times(container)
    if end.get("reason") == "OOMKilled":
        return say("out_of_memory", tried=tried, limit=memory(pod, container, seen))
    told = last_line(end.get("message")) or f"it ended with exit code {'unknown' if code is None else code}"
    if title not in _FETCHERS:
        return say("init_failed", tried=tried, container=title, detail=told)
    found = cause(text(end.get("message")))
    if found and found[0] in {"model_refused", "disk_full"}:
        return say(found[0], tried=tried, detail=found[1])
    return say("weights_unavailable", tried=tried, detail=told)


def fetches(container: Mapping[str, Any]) -> bool:
    """Whether an init container brings the model's files."""
    return text(container.get("name")) in _FETCHERS


def _hint(code: int | None, words: str) -> str:
    said = last_line(words)
    if said:
        return f", its last words: {clip(said, 150)}"
    if code == 0:
        return ": it ended by itself, though it should serve"
    if code == 137:
        return ": it was killed; when nobody did it by hand, memory or a failed health check is the reason"
    if code is not None and 128 < code < 160:
        try:
            return f": it was ended by {signal.Signals(code - 128).name}"
        except ValueError:
            return ""
    return " and said nothing"
