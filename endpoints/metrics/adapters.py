"""What each engine calls its numbers. Per concept the first name that the page has wins; prefixes keep the engines
apart.

vLLM 0.33 first, then its older names, SGLang, llama.cpp and TGI, which has no token counters but histograms with
sums.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from endpoints.metrics import exposition

COUNTERS: Mapping[str, tuple[str, ...]] = {
    "prompt_tokens": (
        "vllm:prompt_tokens_total",
        "sglang:prompt_tokens_total",
        "llamacpp:prompt_tokens_total",
        "tgi_request_input_length_sum",
    ),
    "generation_tokens": (
        "vllm:generation_tokens_total",
        "sglang:generation_tokens_total",
        "llamacpp:tokens_predicted_total",
        "tgi_request_generated_tokens_sum",
    ),
    "cached_tokens": ("vllm:prompt_tokens_cached_total", "sglang:cached_tokens_total"),
    # llama.cpp counts decode steps, not requests: it has no name here.
    "requests": ("vllm:request_success_total", "sglang:num_requests_total", "tgi_request_success", "tgi_request_count"),
    "ttft_count": ("vllm:time_to_first_token_seconds_count", "sglang:time_to_first_token_seconds_count"),
}
GAUGES: Mapping[str, tuple[str, ...]] = {
    "running": (
        "vllm:num_requests_running",
        "sglang:num_running_reqs",
        "llamacpp:requests_processing",
        "tgi_batch_current_size",
    ),
    "waiting": (
        "vllm:num_requests_waiting",
        "sglang:num_queue_reqs",
        "llamacpp:requests_deferred",
        "tgi_queue_size",
    ),
    "kv_cache_usage": ("vllm:kv_cache_usage_perc", "vllm:gpu_cache_usage_perc", "sglang:token_usage"),
    "ttft_sum": ("vllm:time_to_first_token_seconds_sum", "sglang:time_to_first_token_seconds_sum"),
}
_NAMES = frozenset(name for table in (COUNTERS, GAUGES) for names in table.values() for name in names)


@dataclass(frozen=True)
class Counts:
    """The numbers of one engine since its start; `ttft_sum` in seconds, `kv_cache_usage` 0 to 1 or None where it is
    not told.
    """

    prompt_tokens: int = 0
    generation_tokens: int = 0
    cached_tokens: int = 0
    requests: int = 0
    running: float = 0.0
    waiting: float = 0.0
    kv_cache_usage: float | None = None
    ttft_sum: float = 0.0
    ttft_count: int = 0


def counts(page: str) -> Counts:
    """Return what `page` says; raises ValueError when it has none of the names, so that a wrong address never reads
    as zero.
    """
    found = exposition.read(page, _NAMES)
    values: dict[str, float] = {}
    for table in (COUNTERS, GAUGES):
        for concept, names in table.items():
            name = next((one for one in names if one in found), None)
            if name is not None:
                values[concept] = found[name]
    if "prompt_tokens" not in values:
        raise ValueError("the page has no token counter of a known engine")
    return Counts(**{name: int(value) if name in COUNTERS else value for name, value in values.items()})  # type: ignore[arg-type]
