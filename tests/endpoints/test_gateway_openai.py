"""The official client against the gateway and a real engine process: what people will run."""

import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest
from openai import OpenAI

from endpoints.gateways.builtin import app as gateway_app
from endpoints.gateways.builtin.upstream import Upstream
from tests.endpoints.gateway_kit import MemorySource, Running, free_port, serving, until

pytestmark = [pytest.mark.slow, pytest.mark.processes, pytest.mark.xdist_group("processes")]

QUESTION: Any = [{"role": "user", "content": "What does a gateway do?"}]


def healthy(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/health", timeout=1) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


@pytest.fixture(scope="module")
def engine_url() -> Iterator[str]:
    """The demo engine, guarded by a key of its own."""
    port = free_port()
    command = [sys.executable, "-m", "endpoints.engines.demo", "--host", "127.0.0.1", "--port", str(port)]
    command += ["--model", "demo", "--served-model-name", "scoring", "--max-model-len", "4096", "--token-delay-ms", "5"]
    environment = os.environ | {"GATEHOUSE_ENGINE_KEY": "engine-key"}
    process = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
    try:
        until(lambda: healthy(f"http://127.0.0.1:{port}"), 20)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(10)


@pytest.fixture
def source(engine_url: str, monkeypatch: pytest.MonkeyPatch) -> MemorySource:
    made = MemorySource()
    made.add_endpoint("scoring", upstreams=(Upstream.parse(engine_url, "engine-key"),))
    monkeypatch.setattr(gateway_app, "DatabaseSource", lambda: made)
    return made


@pytest.fixture
def gateway(source: MemorySource, state_dir: Path) -> Iterator[Running]:
    with serving(state_dir / "journal") as running:
        yield running


@pytest.fixture
def client(gateway: Running, source: MemorySource) -> Iterator[OpenAI]:
    with OpenAI(base_url=f"{gateway.url}/v1", api_key=source.add_key(), max_retries=0) as made:
        yield made


def test_a_completion_and_its_record(client: OpenAI, gateway: Running) -> None:
    answer = client.chat.completions.create(model="fraud-detection/scoring", messages=QUESTION, max_tokens=30, seed=1)
    assert answer.choices[0].message.content
    assert answer.usage is not None
    record = gateway.record()
    assert record["input_tokens"] == answer.usage.prompt_tokens
    assert record["output_tokens"] == answer.usage.completion_tokens
    assert record["request_id"] == answer._request_id


def test_a_stream_says_the_same_and_costs_the_same(client: OpenAI, gateway: Running) -> None:
    options: Any = {"model": "scoring", "messages": QUESTION, "max_tokens": 30, "seed": 1, "temperature": 0}
    whole = client.chat.completions.create(**options)
    stream = list(client.chat.completions.create(**options, stream=True, stream_options={"include_usage": True}))
    assert "".join(c.choices[0].delta.content or "" for c in stream if c.choices) == whole.choices[0].message.content
    assert stream[-1].usage is not None and whole.usage is not None
    assert stream[-1].usage.completion_tokens == whole.usage.completion_tokens
    first, second = until(lambda: len(gateway.records()) == 2 and gateway.records())
    for name in ("input_tokens", "output_tokens"):
        assert first[name] == second[name]
    assert (first["ttft_ms"], second["ttft_ms"] > 0) == (None, True)
    silent = list(client.chat.completions.create(**options, stream=True))
    assert all(c.usage is None for c in silent)
    assert all(c.choices for c in silent)
    assert gateway.records()[-1]["output_tokens"] == whole.usage.completion_tokens


def test_models_and_legacy_completions(client: OpenAI, gateway: Running) -> None:
    assert [model.id for model in client.models.list()] == ["fraud-detection/scoring"]
    assert client.models.retrieve("scoring").owned_by == "fraud-detection"
    answer = client.completions.create(model="scoring", prompt="A gateway", max_tokens=5)
    assert answer.usage is not None and answer.usage.completion_tokens <= 5
    assert gateway.record()["operation"] == "completions"


def test_a_client_that_stops_reading_is_cancelled(client: OpenAI, gateway: Running) -> None:
    stream = client.chat.completions.create(model="scoring", messages=QUESTION, max_tokens=2000, stream=True)
    for _ in range(3):
        next(iter(stream))
    stream.close()
    record = gateway.record()
    assert (record["outcome"], record["estimated"]) == ("cancelled", True)
    assert record["output_tokens"] < 2000


def test_errors_arrive_as_the_clients_own_exceptions(client: OpenAI, gateway: Running, source: MemorySource) -> None:
    with pytest.raises(openai.NotFoundError) as missing:
        client.chat.completions.create(model="nothing", messages=QUESTION)
    assert missing.value.code == "model_not_found"
    with pytest.raises(openai.AuthenticationError) as unknown:
        client.with_options(api_key="gth_wrong").chat.completions.create(model="scoring", messages=QUESTION)
    assert unknown.value.code == "invalid_api_key"
    with pytest.raises(openai.BadRequestError):
        client.chat.completions.create(model="scoring", messages=QUESTION, max_tokens=-1)
    source.add_endpoint("scoring", phase="provisioning", reason="The model is loading.")
    source.value += 1

    def not_ready() -> bool:
        try:
            client.chat.completions.create(model="scoring", messages=QUESTION, max_tokens=1)
        except openai.InternalServerError as error:
            return error.status_code == 503 and error.code == "endpoint_not_ready" and "is loading" in error.message
        return False

    until(not_ready)


def test_the_engine_refuses_whoever_goes_around_the_gateway(engine_url: str, source: MemorySource) -> None:
    direct = OpenAI(base_url=f"{engine_url}/v1", api_key=source.add_key(), max_retries=0)
    with direct, pytest.raises(openai.AuthenticationError):
        direct.chat.completions.create(model="scoring", messages=QUESTION)
