"""Counters under the names, types and buckets that vLLM 0.33 exposes, written by hand: the client library would cost
a third of the memory."""

from bisect import bisect_left
from collections.abc import Iterator

TTFT_BUCKETS = (
    0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0, 80.0,
    160.0, 640.0, 2560.0,
)  # fmt: skip
ITL_BUCKETS = (
    0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0, 80.0,
)  # fmt: skip
REQUEST_BUCKETS = (
    0.3, 0.5, 0.8, 1.0, 1.5, 2.0, 2.5, 5.0, 10.0, 15.0, 20.0, 30.0, 40.0, 50.0, 60.0, 120.0, 240.0, 480.0,
    960.0, 1920.0, 7680.0,
)  # fmt: skip
REASONS = ("stop", "length", "abort", "error")


class Histogram:
    """Counts per bucket, and the sum."""

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def observe(self, value: float) -> None:
        """Count one value, in seconds."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.sum += value


class Metrics:
    """What this engine has done since it started."""

    def __init__(self, model_name: str) -> None:
        escaped = model_name.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
        self._labels = f'engine="0",model_name="{escaped}"'
        self.running = 0
        self.waiting = 0
        self.kv_cache_usage = 0.0
        self.prompt_tokens = 0
        self.generation_tokens = 0
        self.cached_tokens = 0
        self.success = dict.fromkeys(REASONS, 0)
        self.ttft = Histogram(TTFT_BUCKETS)
        self.itl = Histogram(ITL_BUCKETS)
        self.e2e = Histogram(REQUEST_BUCKETS)

    def text(self) -> str:
        """Return the exposition in Prometheus' text format 0.0.4."""
        return "\n".join(self._lines()) + "\n"

    def _lines(self) -> Iterator[str]:
        yield from self._plain("num_requests_running", "gauge", "Requests in generation.", self.running)
        yield from self._plain("num_requests_waiting", "gauge", "Requests that wait for a place.", self.waiting)
        yield from self._plain(
            "kv_cache_usage_perc", "gauge", "Used share of the KV cache, 0 to 1.", self.kv_cache_usage
        )
        yield from self._plain("prompt_tokens_total", "counter", "Prompt tokens processed.", self.prompt_tokens)
        yield from self._plain("generation_tokens_total", "counter", "Tokens generated.", self.generation_tokens)
        yield from self._plain(
            "prompt_tokens_cached_total", "counter", "Prompt tokens found in the cache.", self.cached_tokens
        )
        yield from _head("request_success_total", "counter", "Finished requests by reason.")
        for reason, count in self.success.items():
            yield f'vllm:request_success_total{{{self._labels},finished_reason="{reason}"}} {float(count)}'
        yield from self._histogram("time_to_first_token_seconds", "Time to the first token.", self.ttft)
        yield from self._histogram("inter_token_latency_seconds", "Time between two tokens.", self.itl)
        yield from self._histogram("e2e_request_latency_seconds", "Time from arrival to the last token.", self.e2e)

    def _plain(self, name: str, kind: str, text: str, value: float) -> Iterator[str]:
        yield from _head(name, kind, text)
        yield f"vllm:{name}{{{self._labels}}} {float(value)}"

    def _histogram(self, name: str, text: str, histogram: Histogram) -> Iterator[str]:
        yield from _head(name, "histogram", text)
        total = 0
        for bound, count in zip((*map(str, histogram.bounds), "+Inf"), histogram.counts, strict=True):
            total += count
            yield f'vllm:{name}_bucket{{{self._labels},le="{bound}"}} {float(total)}'
        yield f"vllm:{name}_count{{{self._labels}}} {float(total)}"
        yield f"vllm:{name}_sum{{{self._labels}}} {histogram.sum}"


def _head(name: str, kind: str, text: str) -> Iterator[str]:
    yield f"# HELP vllm:{name} {text}"
    yield f"# TYPE vllm:{name} {kind}"
