"""Reading what engines count: our line parser against the official one, every engine's names, and a real engine."""

import http.server
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from endpoints import numbers
from endpoints.metrics import adapters, exposition, scrape
from endpoints.models import Endpoint, EngineCount, Phase
from portal import crypto
from tests.conftest import Org
from tests.endpoints.endpoint_kit import is_in, kill, open_demo, pids, until

pytestmark = pytest.mark.slow

NAMES = (
    "vllm:prompt_tokens_total",
    "vllm:generation_tokens_total",
    "vllm:num_requests_running",
    "other_total",
    "absent_total",
)


def official(page: str, names: tuple[str, ...]) -> dict[str, float]:
    """The same sums by the official parser."""
    sums: dict[str, float] = {}
    for family in text_string_to_metric_families(page):
        for sample in family.samples:
            if sample.name in names:
                sums[sample.name] = sums.get(sample.name, 0.0) + sample.value
    return sums


LABELS = st.text(
    st.characters(codec="utf-8", exclude_categories=("Cs", "Cc")) | st.sampled_from('{}"\\,= #\n'), max_size=12
)
VALUES = st.floats(0, 2**52, allow_nan=False) | st.integers(0, 2**52).map(float)


@given(st.lists(st.tuples(st.sampled_from(NAMES[:2]), LABELS, VALUES), max_size=12), VALUES, LABELS)
def test_equals_the_official_parser_on_generated_pages(
    rows: list[tuple[str, str, float]], running: float, help_text: str
) -> None:
    registry = CollectorRegistry()
    counters = {
        name: Counter(name.removesuffix("_total"), help_text, ["model_name", "engine"], registry=registry)
        for name in NAMES[:2]
    }
    for name, label, value in rows:
        counters[name].labels(model_name=label, engine="0").inc(value)
    Gauge(NAMES[2], "gauge", registry=registry).set(running)
    Histogram("other", "a name that begins like a counter's", ["le_like"], registry=registry).labels(
        le_like='a"b'
    ).observe(3)
    page = generate_latest(registry).decode()
    found, expected = exposition.read(page, NAMES), official(page, NAMES)
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert found[name] == pytest.approx(value, rel=1e-12)


@pytest.mark.parametrize(
    "line",
    [
        "other_total 3",
        "other_total{} 3",
        'other_total{a="}",b="\\"{"} 3',
        "  other_total\t3  ",
        "other_total 3 1700000000000",
        'other_total{a="x"}3',
        "other_total 3e0",
        "other_total +3",
    ],
)
def test_forms_of_one_sample(line: str) -> None:
    assert exposition.read(line, NAMES) == {"other_total": 3.0}


@pytest.mark.parametrize(
    "line",
    ["other_total", "other_total{ 3", "other_total NaN", "other_total x", "# other_total 3", "other_total_x 3", ""],
)
def test_what_is_no_sample_is_left_out(line: str) -> None:
    assert exposition.read(f"{line}\nvllm:prompt_tokens_total 1\n", NAMES) == {"vllm:prompt_tokens_total": 1.0}


@pytest.mark.parametrize(
    ("page", "expected"),
    [
        (
            'vllm:prompt_tokens_total{engine="0"} 10\nvllm:prompt_tokens_total{engine="1"} 5\n'
            "vllm:generation_tokens_total 7\n"
            'vllm:request_success_total{finished_reason="stop"} 2\n'
            'vllm:request_success_total{finished_reason="length"} 1\n'
            "vllm:prompt_tokens_cached_total 4\nvllm:kv_cache_usage_perc 0.5\n"
            "vllm:time_to_first_token_seconds_sum 1.5\n"
            "vllm:time_to_first_token_seconds_count 3\nvllm:num_requests_running 2\n",
            adapters.Counts(15, 7, 4, 3, 2.0, 0.0, 0.5, 1.5, 3),
        ),
        (
            'sglang:prompt_tokens_total{is_streaming="true"} 3\nsglang:prompt_tokens_total{is_streaming="false"} 4\n'
            "sglang:generation_tokens_total 9\nsglang:num_requests_total 2\n"
            "sglang:num_queue_reqs 1\nsglang:token_usage 0.25\n",
            adapters.Counts(7, 9, 0, 2, 0.0, 1.0, 0.25),
        ),
        (
            "llamacpp:prompt_tokens_total 3\nllamacpp:tokens_predicted_total 9\nllamacpp:prompt_tokens_seconds 700\n"
            "llamacpp:n_decode_total 44\nllamacpp:requests_processing 1\n",
            adapters.Counts(3, 9, running=1.0),
        ),
        (
            "tgi_request_input_length_sum 12\ntgi_request_generated_tokens_sum 5\n"
            "tgi_request_count 3\ntgi_request_success 2\ntgi_queue_size 4\n",
            adapters.Counts(12, 5, requests=2, waiting=4.0),
        ),
    ],
    ids=["vllm", "sglang", "llama.cpp", "tgi"],
)
def test_each_engine_by_its_own_names(page: str, expected: adapters.Counts) -> None:
    assert adapters.counts(page) == expected


def test_a_page_of_something_else_is_an_error_not_zero() -> None:
    with pytest.raises(ValueError, match="no token counter"):
        adapters.counts("<html>hello</html>")


# --- Storing
# --------------------------------------------------------------------------------------------------------------


@pytest.fixture
def engine() -> Iterator[Any]:
    """A page of numbers that the test sets."""

    class Handler(http.server.BaseHTTPRequestHandler):
        page, status, seen = b"", 200, ""

        def do_GET(self) -> None:
            Handler.seen = self.headers.get("Authorization", "")
            self.send_response(Handler.status)
            self.send_header("Content-Length", str(len(Handler.page)))
            self.end_headers()
            self.wfile.write(Handler.page)

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Handler.url = f"http://127.0.0.1:{server.server_port}"  # type: ignore[attr-defined]
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield Handler
    server.shutdown()
    server.server_close()


def serve(endpoint: Endpoint, url: str, instance: str = "0-1-1") -> None:
    """Route the endpoint's calls to `url`."""
    routes = [{"url": url, "key": crypto.encrypt("engine-key"), "instance": instance}]
    Endpoint.objects.filter(pk=endpoint.pk).update(phase=Phase.READY, upstreams=routes)
    endpoint.refresh_from_db()


def page(prompt: int, generated: int) -> bytes:
    return f"vllm:prompt_tokens_total {prompt}\nvllm:generation_tokens_total {generated}\n".encode()


@pytest.mark.django_db
def test_counts_are_summed_over_restarts_and_a_failure_is_written_down(org: Org, engine: Any, state_dir: Path) -> None:
    endpoint = open_demo(org.fraud)
    serve(endpoint, engine.url)
    engine.page = page(100, 10)
    assert scrape.scrape() == 1 and engine.seen == "Bearer engine-key"
    engine.page = page(150, 20)
    scrape.scrape()
    serve(endpoint, engine.url, instance="0-2-2")  # restarted: it counts from zero again
    engine.page = page(5, 1)
    scrape.scrape()
    found = numbers.engines(endpoint)
    assert (found.input_tokens, found.output_tokens, found.error) == (155, 21, "")
    engine.status = 500
    assert scrape.scrape() == 0
    found = numbers.engines(endpoint)
    assert (found.input_tokens, found.error) == (155, "The engine answered 500 to /metrics.")
    assert EngineCount.objects.count() == 2


@pytest.mark.django_db
def test_one_dead_engine_does_not_keep_the_others_from_being_read(org: Org, engine: Any, state_dir: Path) -> None:
    dead, alive = open_demo(org.fraud), open_demo(org.fraud)
    serve(dead, "http://127.0.0.1:1")
    serve(alive, engine.url)
    engine.page = page(3, 4)
    assert scrape.scrape() == 1
    assert "ClientConnectorError" in EngineCount.objects.get(endpoint=dead).error
    assert EngineCount.objects.get(endpoint=alive).prompt_tokens == 3


@pytest.mark.django_db
@pytest.mark.parametrize(
    "body",
    [b"\xff\xfe garbage", b"x" * (scrape.MAX_BYTES + 1), b"vllm:prompt_tokens_total inf\n"],
    ids=["garbage", "huge", "inf"],
)
def test_nonsense_is_an_error_on_the_row(org: Org, engine: Any, state_dir: Path, body: bytes) -> None:
    endpoint = open_demo(org.fraud)
    serve(endpoint, engine.url)
    engine.page = body
    assert scrape.scrape() == 0
    assert EngineCount.objects.get(endpoint=endpoint).error


@pytest.mark.django_db
def test_nothing_to_read_is_fine(org: Org, state_dir: Path) -> None:
    open_demo(org.fraud)
    assert scrape.scrape() == 0


@pytest.mark.slow
@pytest.mark.processes
@pytest.mark.django_db(transaction=True)
def test_a_real_engine_counts_what_it_answered_also_across_a_kill(org: Org, home: Path) -> None:
    endpoint = until(open_demo(org.fraud), is_in(Phase.READY))
    said = [_ask(endpoint), _ask(endpoint)]
    text = requests.get(f"{endpoint.upstreams[0]['url']}/metrics", timeout=10).text
    assert exposition.read(text, adapters._NAMES) == pytest.approx(official(text, tuple(adapters._NAMES)))
    assert scrape.scrape() == 1
    kill(pids(home, endpoint)[0])
    old = endpoint.upstreams
    until(endpoint, lambda row: row.phase == Phase.READY and row.upstreams != old)
    said.append(_ask(endpoint))
    scrape.scrape()
    found = numbers.engines(endpoint)
    assert found.requests == 3 and found.output_tokens == sum(one["completion_tokens"] for one in said)
    assert found.input_tokens == sum(one["prompt_tokens"] for one in said)


def _ask(endpoint: Endpoint) -> Any:
    [route] = endpoint.upstreams
    body: Any = {"model": endpoint.name, "messages": [{"role": "user", "content": "Hello engine"}], "max_tokens": 5}
    headers = {"Authorization": f"Bearer {crypto.decrypt(route['key'])}"}
    return requests.post(f"{route['url']}/v1/chat/completions", json=body, headers=headers, timeout=20).json()["usage"]
