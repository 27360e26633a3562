"""Calls through a real gateway to a scripted engine: who may call, what a body may be, what reaches the engine and what
comes back.
"""

import json
import logging
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from endpoints.gateways.builtin import app as gateway_app
from tests.endpoints.gateway_kit import (
    DONE,
    Engine,
    MemorySource,
    Received,
    Running,
    Stage,
    completion,
    plain,
    staged,
    until,
)

CHAT = {"model": "scoring", "messages": [{"role": "user", "content": "Say hello."}]}


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with staged(tmp_path_factory.mktemp("gateway")) as made:
        yield made


@pytest.fixture(autouse=True)
def _swept(stage: Stage) -> None:
    stage.sweep()


@pytest.fixture
def engine(stage: Stage) -> Engine:
    return stage.engine


@pytest.fixture
def source(stage: Stage) -> MemorySource:
    return stage.source


@pytest.fixture
def gateway(stage: Stage) -> Running:
    return stage.gateway


def test_it_works(gateway: Running, source: MemorySource, engine: Engine) -> None:
    answer = gateway.request(source.add_key(), CHAT, x_request_id="trace-1")
    assert answer.status == 200
    assert answer.json["choices"][0]["message"]["content"] == "Hello."
    assert answer.headers["x-request-id"] == "trace-1"
    record = gateway.record()
    assert {
        name: record[name]
        for name in (
            "endpoint",
            "person",
            "operation",
            "status",
            "outcome",
            "input_tokens",
            "output_tokens",
            "cached_tokens",
            "estimated",
            "stream",
            "request_id",
            "purpose",
            "ttft_ms",
        )
    } == {
        "endpoint": "scoring",
        "person": "dana",
        "operation": "chat",
        "status": 200,
        "outcome": "ok",
        "input_tokens": 7,
        "output_tokens": 3,
        "cached_tokens": 4,
        "estimated": False,
        "stream": False,
        "request_id": "trace-1",
        "purpose": "api",
        "ttft_ms": None,
    }
    assert record["latency_ms"] > 0
    (start,) = gateway.records("start")
    assert start["estimated_input"] == len(json.dumps(CHAT)) // 4


def test_no_query_on_the_hot_path(gateway: Running, source: MemorySource) -> None:
    secret = source.add_key()
    for _ in range(20):
        assert gateway.request(secret, CHAT).status == 200
    assert source.reads.count("key") == source.reads.count("endpoints") == 1


@pytest.mark.parametrize(
    ("path", "operation"),
    [("/v1/completions", "completions"), ("/v1/embeddings", "embeddings"), ("/v1/responses", "responses")],
)
def test_every_operation_is_forwarded_to_its_own_path(
    gateway: Running, source: MemorySource, engine: Engine, path: str, operation: str
) -> None:
    body = {"model": "scoring", "prompt": "x", "input": "x", "future_field": {"kept": [1, None, "ü"]}}
    assert gateway.request(source.add_key(), body, path=path).status == 200
    assert engine.requests[0].line == f"POST {path} HTTP/1.1"
    assert engine.requests[0].json == body
    assert gateway.record()["operation"] == operation


def test_model_is_rewritten_and_everything_else_kept(gateway: Running, source: MemorySource, engine: Engine) -> None:
    source.projects[1]["scoring"] = replace(source.projects[1]["scoring"], served_name="granite")
    body = CHAT | {
        "model": "fraud-detection/scoring",
        "temperature": 0.1,
        "seed": 2**70,
        "stop": ["😀", "\ud800", "\u0000"],
    }
    assert gateway.request(source.add_key(), body).json["model"] == "granite"
    assert engine.requests[0].json == body | {"model": "granite"}
    assert "stream_options" not in engine.requests[0].json


def test_nothing_of_the_clients_credentials_reaches_the_engine(
    gateway: Running, source: MemorySource, engine: Engine
) -> None:
    secret = source.add_key()
    smuggled = {
        "Cookie": "gatehouse_session=1",
        "X_Forwarded_For": "10.0.0.1",
        "Forwarded": "for=1",
        "Connection": "keep-alive, x-hop",
        "X_Hop": "1",
        "Te": "trailers",
        "Proxy_Authorization": "Basic eA==",
        "X_Api_Key": secret,
        "Upgrade": "h2c",
        "Expect": "",
        "Traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    }
    assert gateway.request(secret, CHAT, x_request_id="r-1", **smuggled).status == 200
    names = [name.lower() for name, _ in engine.requests[0].headers]
    assert sorted(names) == sorted(
        ["host", "authorization", "content-type", "accept", "x-request-id", "traceparent", "content-length"]
    )
    assert engine.requests[0].header("authorization") == ["Bearer engine-key"]
    assert secret not in str(engine.requests[0])


def test_only_harmless_headers_of_the_engine_reach_the_client(
    gateway: Running, source: MemorySource, engine: Engine
) -> None:
    async def script(engine: Engine, request: Received, writer: Any) -> None:
        writer.write(
            plain(
                200,
                completion(request),
                "set-cookie: a=b",
                "server: vllm",
                "x-internal: 10.0.0.7",
                "keep-alive: 5",
                "x-request-id: other",
            )
        )

    engine.script = script
    answer = gateway.request(source.add_key(), CHAT, x_request_id="mine")
    assert answer.headers["x-request-id"] == "mine"
    assert not {"set-cookie", "x-internal", "keep-alive"} & set(answer.headers)
    assert "vllm" not in str(answer.headers)


@pytest.mark.parametrize("given", ["", "a b", "x" * 65, "line\tbreak", "<script>"])
def test_an_odd_request_id_is_replaced(gateway: Running, source: MemorySource, given: str) -> None:
    answer = gateway.request(source.add_key(), CHAT, x_request_id=given)
    assert answer.headers["x-request-id"] != given
    assert len(answer.headers["x-request-id"]) == 32


# --- Keys


def _other(letter: str) -> str:
    return "A" if letter != "A" else "B"


def test_a_key_with_any_one_character_changed_is_refused_without_a_query(
    gateway: Running, source: MemorySource
) -> None:
    secret = source.add_key()
    for position in range(4, len(secret), 7):
        changed = secret[:position] + _other(secret[position]) + secret[position + 1 :]
        answer = gateway.request(changed, CHAT)
        assert (answer.status, answer.code) == (401, "invalid_api_key")
    assert "key" not in source.reads


def test_unknown_keys_are_asked_for_once_a_second(gateway: Running, source: MemorySource) -> None:
    secret = source.add_key()
    source.keys.clear()
    for _ in range(10):
        assert gateway.request(secret, CHAT).code == "invalid_api_key"
    assert source.reads.count("key") <= 2


@pytest.mark.parametrize(
    "header", [None, "Basic eA==", "Bearer", "Bearer ", "Bearer gtt_token", "Bearer \xff\xfe", "gth_x"]
)
def test_a_missing_or_odd_authorization_is_401(gateway: Running, source: MemorySource, header: str | None) -> None:
    headers = {} if header is None else {"Authorization": header}
    answer = gateway.request(None, CHAT, **headers)
    assert (answer.status, answer.code) == (401, "invalid_api_key")
    assert answer.json["error"]["type"] == "authentication_error"
    assert answer.headers["www-authenticate"] == "Bearer"


def test_two_authorization_headers_are_401(gateway: Running, source: MemorySource) -> None:
    secret = source.add_key()
    connection = gateway.connect()
    connection.putrequest("POST", "/v1/chat/completions")
    for value in (f"Bearer {secret}", "Bearer other"):
        connection.putheader("Authorization", value)
    connection.putheader("Content-Length", "2")
    connection.endheaders(b"{}")
    assert connection.getresponse().status == 401
    connection.close()


def test_expiry_is_read_from_the_clock(gateway: Running, source: MemorySource) -> None:
    end = time.time() + 0.3
    secret = source.add_key(expires_at=end)
    assert gateway.request(secret, CHAT).status == 200
    until(lambda: time.time() > end)
    answer = gateway.request(secret, CHAT)
    assert (answer.status, answer.code) == (401, "invalid_api_key")
    assert "expired" in answer.json["error"]["message"]
    assert source.reads.count("key") == 1


def test_an_ended_key_says_why(gateway: Running, source: MemorySource) -> None:
    answer = gateway.request(source.add_key(ended="The key gth_x was revoked."), CHAT)
    assert (answer.status, answer.code) == (401, "invalid_api_key")
    assert "revoked" in answer.json["error"]["message"]


def test_a_key_without_the_scope_is_403(gateway: Running, source: MemorySource) -> None:
    answer = gateway.request(source.add_key(scopes=frozenset({"usage:read"})), CHAT)
    assert (answer.status, answer.code) == (403, "insufficient_scope")
    assert "inference:invoke" in answer.json["error"]["message"]


def test_foreign_unknown_and_untargeted_endpoints_look_the_same(
    gateway: Running, source: MemorySource, engine: Engine
) -> None:
    source.add_endpoint("ranking", engine.url, project_id=2)
    source.add_endpoint("other", engine.url)
    secret = source.add_key(targets=frozenset({source.projects[1]["scoring"].id}))
    answers = [
        gateway.request(secret, CHAT | {"model": model})
        for model in (
            "search-ranking/ranking",
            "search-ranking/nothing",
            "fraud-detection/other",
            "other",
            "nothing",
            "/",
            "a/b/c",
            "fraud-detection/",
            "scoring/",
        )
    ]
    assert {(answer.status, answer.code) for answer in answers} == {(404, "model_not_found")}
    assert len({answer.json["error"]["message"].split("'")[2] for answer in answers}) == 1
    assert gateway.request(secret, CHAT).status == 200
    assert len(engine.requests) == 1


def test_models_lists_what_the_key_may_call(gateway: Running, source: MemorySource, engine: Engine) -> None:
    source.add_endpoint("ranking", engine.url, project_id=2)
    everything, one = source.add_key(), source.add_key(targets=frozenset({source.projects[1]["scoring"].id}))
    listed = gateway.request(everything, method="GET", path="/v1/models").json
    assert [model["id"] for model in listed["data"]] == ["fraud-detection/alpha", "fraud-detection/scoring"]
    assert listed["data"][1] == {
        "id": "fraud-detection/scoring",
        "object": "model",
        "created": 1_790_000_000,
        "owned_by": "fraud-detection",
        "max_model_len": 4096,
    }
    assert [model["id"] for model in gateway.request(one, method="GET", path="/v1/models").json["data"]] == [
        "fraud-detection/scoring"
    ]
    for name in ("scoring", "fraud-detection/scoring"):
        assert gateway.request(one, method="GET", path=f"/v1/models/{name}").json["id"] == "fraud-detection/scoring"
    assert gateway.request(one, method="GET", path="/v1/models/alpha").code == "model_not_found"
    assert gateway.request(None, method="GET", path="/v1/models").status == 401


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"phase": "provisioning", "reason": "The model is loading."}, "provisioning: The model is loading."),
        ({"phase": "pending", "reason": "It waits for 2 GPUs."}, "pending: It waits for 2 GPUs."),
        ({"running": False, "phase": "ready", "reason": "Omar suspended it."}, "suspended: Omar suspended it."),
        ({"phase": "failed", "reason": "Out of memory."}, "failed: Out of memory."),
    ],
)
def test_an_endpoint_that_is_not_ready_says_why(
    gateway: Running, source: MemorySource, engine: Engine, fields: dict[str, Any], says: str
) -> None:
    source.add_endpoint("scoring", engine.url, **fields)
    answer = gateway.request(source.add_key(), CHAT)
    assert (answer.status, answer.code) == (503, "endpoint_not_ready")
    assert says in answer.json["error"]["message"]
    assert int(answer.headers["retry-after"]) > 0
    assert not engine.requests
    assert not gateway.records("start")


def test_a_degraded_endpoint_still_answers(gateway: Running, source: MemorySource, engine: Engine) -> None:
    source.add_endpoint("scoring", engine.url, phase="degraded")
    assert gateway.request(source.add_key(), CHAT).status == 200


# --- Bodies


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'"x"',
        b"\xff\xfe",
        b'{"model": NaN}',
        b'{"model":"scoring","x":1e999}',
        b"[" * 100_000,
        '{"model":"scoring"}'.encode("utf-16"),
        b'{"model":"scoring","x":' + b"9" * 5000 + b"}",
    ],
)
def test_a_body_that_is_no_json_object_is_400(
    gateway: Running, source: MemorySource, engine: Engine, body: bytes
) -> None:
    answer = gateway.request(source.add_key(), body)
    assert (answer.status, answer.code) == (400, "invalid_request")
    assert not engine.requests
    assert not gateway.records("start")


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"model": None}, "model"),
        ({"model": 3}, "model"),
        ({"model": ""}, "model"),
        ({"model": "x" * 201}, "model"),
        ({"model": ["scoring"]}, "model"),
        ({"stream": "yes"}, "stream"),
        ({"stream": 1}, "stream"),
        ({"stream_options": "x"}, "stream_options"),
        ({"stream": True, "stream_options": {"include_usage": "no"}}, "stream_options"),
    ],
)
def test_a_wrong_field_is_named(gateway: Running, source: MemorySource, fields: dict[str, Any], param: str) -> None:
    answer = gateway.request(source.add_key(), CHAT | fields)
    assert (answer.status, answer.code, answer.json["error"]["param"]) == (400, "invalid_request", param)
    assert param in answer.json["error"]["message"]


def test_a_missing_model_is_named(gateway: Running, source: MemorySource) -> None:
    answer = gateway.request(source.add_key(), {"messages": []})
    assert (answer.status, answer.json["error"]["param"]) == (400, "model")


def test_of_a_name_given_twice_the_one_that_was_checked_reaches_the_engine(
    gateway: Running, source: MemorySource, engine: Engine
) -> None:
    assert gateway.request(source.add_key(), b'{"model":"other","model":"scoring"}').status == 200
    assert engine.requests[0].body.count(b'"model"') == 1


def test_five_megabytes_are_refused_with_and_without_a_length(
    gateway: Running, source: MemorySource, engine: Engine
) -> None:
    secret = source.add_key()
    big = json.dumps(CHAT | {"user": "x" * 5_000_000}).encode()
    assert gateway.request(secret, big).code == "request_too_large"
    connection = gateway.connect()
    pieces = iter([big[start : start + 65_536] for start in range(0, len(big), 65_536)])
    headers = {"Authorization": f"Bearer {secret}"}
    connection.request("POST", "/v1/chat/completions", pieces, headers, encode_chunked=True)
    assert connection.getresponse().status == 413
    connection.close()
    assert engine.requests == []


def test_just_under_four_mebibytes_pass(gateway: Running, source: MemorySource, engine: Engine) -> None:
    body = CHAT | {"user": "x" * (4 * 1024 * 1024 - 500)}
    assert gateway.request(source.add_key(), body).status == 200
    assert engine.requests[0].json["user"] == body["user"]


def test_a_compressed_body_is_415(gateway: Running, source: MemorySource) -> None:
    assert gateway.request(source.add_key(), b"\x1f\x8b", content_encoding="gzip").status == 415


def test_wrong_methods_and_paths_answer_in_the_same_shape(gateway: Running, source: MemorySource) -> None:
    secret = source.add_key()
    answer = gateway.request(secret, method="GET")
    assert (answer.status, answer.code, answer.headers["allow"]) == (405, "method_not_allowed", "POST")
    assert gateway.request(secret, method="DELETE", path="/v1/models").status == 405
    for path in ("/v1", "/v1/", "/v1/files", "/v1/chat/completions/", "/v1/chat/../models", "/v1/models_"):
        assert gateway.request(secret, {}, path=path).code == "unknown_url"


# --- Metering and secrets


def test_a_full_journal_refuses_before_forwarding(
    gateway: Running, source: MemorySource, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> int:
        raise OSError(28, "No space left on device")

    instance = gateway_app._instance
    assert instance is not None
    monkeypatch.setattr(instance._journal, "start", full)
    answer = gateway.request(source.add_key(), CHAT)
    assert (answer.status, answer.code) == (503, "control_plane_unavailable")
    assert engine.requests == []


def test_no_secret_is_ever_logged(
    gateway: Running, source: MemorySource, engine: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    async def dies(engine: Engine, request: Received, writer: Any) -> None:
        writer.transport.abort()

    secret = source.add_key()
    with caplog.at_level(logging.DEBUG):
        gateway.request(secret, CHAT | {"user": "prompt-text"})
        engine.script = dies
        gateway.request(secret, CHAT | {"user": "prompt-text", "stream": True})
        gateway.request(secret[:-1], CHAT)
    assert "gateway.upstream_failed" in caplog.text
    kept = caplog.text + "".join(path.read_text() for path in gateway.journal.glob("*"))
    for hidden in (secret, secret[13:], "engine-key", "prompt-text", "Say hello"):
        assert hidden not in kept
    assert "engine-key" not in repr(source.projects) and secret not in repr(source.keys)


def test_a_bug_is_a_500_with_the_request_id(
    gateway: Running, source: MemorySource, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("endpoints.gateways.builtin.relay.from_answer", broken)
    answer = gateway.request(source.add_key(), CHAT, x_request_id="bug-1")
    assert (answer.status, answer.code) == (500, "internal_error")
    assert "bug-1" in answer.json["error"]["message"]
    assert gateway.record()["outcome"] == "error"


def test_metrics_count_calls_tokens_and_refusals(gateway: Running, source: MemorySource) -> None:
    from prometheus_client import generate_latest

    from endpoints.gateways.builtin.metrics import REGISTRY

    def value(line: str) -> float:
        found = [
            float(one.rsplit(" ", 1)[1])
            for one in generate_latest(REGISTRY).decode().splitlines()
            if one.startswith(line)
        ]
        return sum(found)

    place = 'endpoint="scoring",'
    names = [
        'gatehouse_gateway_refusals_total{code="invalid_api_key"}',
        f"gatehouse_gateway_requests_total{{{place}",
        f'gatehouse_gateway_tokens_total{{{place}kind="input"',
        f"gatehouse_gateway_time_to_first_token_seconds_count{{{place}",
    ]
    before = [value(name) for name in names]
    gateway.request("x", CHAT)
    gateway.request(source.add_key(), CHAT)
    assert DONE in gateway.request(source.add_key(), CHAT | {"stream": True}).body
    assert [value(name) - old for name, old in zip(names, before, strict=True)] == [1, 2, 14, 1]
    assert value("gatehouse_gateway_active_calls") == 0
