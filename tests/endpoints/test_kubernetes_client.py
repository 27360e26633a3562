"""Calls of an API server: what goes wrong becomes one sentence, and nothing waits, leaks or is called twice."""

import datetime as dt
import json
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest
from kubernetes import client as models
from kubernetes.client.exceptions import ApiException
from urllib3.exceptions import ReadTimeoutError

from endpoints.clusters import ClusterError
from endpoints.clusters.kubernetes import client as calling
from endpoints.clusters.kubernetes import connecting, errors, kinds
from endpoints.clusters.kubernetes.client import Client, client_of
from tests.cluster import certificates
from tests.endpoints.kubernetes_kit import ApiServer, Said, place, recorded

Serve = Callable[[Callable[[str, str], Said]], ApiServer]
CONFIG = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "a", "namespace": "n", "labels": {}}}
RECORDED = {
    "err-unauthorized-401": ("token_refused", True),
    "err-rbac-forbidden-create-ns": ("permission_missing", True),
    "err-ssa-create-with-patch": ("permission_missing", True),
    "err-ssa-conflict-409": ("field_conflict", False),
    "err-stale-resourceversion-409": ("changed_meanwhile", True),
    "err-invalid-gpu-request-ne-limit": ("object_invalid", False),
    "err-strict-unknown-field": ("field_unknown", False),
    "err-kserve-isvc-unknown-ssa": ("field_unknown", False),
    "err-quota-object-count-403": ("quota_exceeded", True),
    "err-vap-denied": ("policy_denied", False),
    "err-kserve-real-isvc-min-gt-max": ("webhook_denied", False),
}


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    running: list[ApiServer] = []

    def start(answer: Callable[[str, str], Said]) -> ApiServer:
        running.append(ApiServer(tmp_path / str(len(running)), answer).__enter__())
        return running[-1]

    yield start
    for server in running:
        server.__exit__()


def always(said: Said) -> Callable[[str, str], Said]:
    return lambda method, path: said


def refused(client: Client, call: Callable[[Client], Any] | None = None) -> ClusterError:
    with pytest.raises(ClusterError) as caught:
        (call or (lambda one: one.apply(CONFIG, force=False)))(client)
    assert caught.value.sentence.endswith((".", "…")) and len(caught.value.sentence) <= 500
    return caught.value


@pytest.mark.parametrize("name", RECORDED)
def test_what_a_real_server_refused_is_told(serve: Serve, name: str) -> None:
    found = recorded(name)
    error = refused(Client(serve(always(Said(found["http_status"], found["body"]))).place()))
    assert (error.code, error.retry) == RECORDED[name]


def test_what_is_not_there_is_none(serve: Serve) -> None:
    client = Client(serve(always(Said(404, recorded("err-not-found-404")["body"]))).place())
    assert client.get(kinds.DEPLOYMENT, "nope", "n") is None
    client.delete({**CONFIG, "metadata": {"name": "a", "namespace": "n", "uid": "1"}})
    assert client.text("/api/v1/namespaces/n/pods/a/log", {}) == ""


def test_what_took_the_place_of_an_object_is_not_deleted(serve: Serve) -> None:
    server = serve(always(Said(409, recorded("err-stale-resourceversion-409")["body"])))
    Client(server.place()).delete({**CONFIG, "metadata": {"name": "a", "namespace": "n", "uid": "1"}})
    assert json.loads(server.asked[0][3])["preconditions"] == {"uid": "1"}


def test_the_portal_shows_itself_and_says_what_it_wants(serve: Serve) -> None:
    server = serve(always(Said(200, CONFIG)))
    Client(server.place()).apply(CONFIG, force=True)
    ((method, path, headers, body),) = server.asked
    assert (method, path.partition("?")[0]) == ("PATCH", "/api/v1/namespaces/n/services/a")
    query = dict(part.split("=") for part in path.partition("?")[2].split("&"))
    assert query == {"fieldManager": "gatehouse", "fieldValidation": "Strict", "force": "true"}
    assert headers["Authorization"] == "Bearer a-token" and headers["Content-Type"] == "application/apply-patch+yaml"
    assert json.loads(body) == CONFIG


def test_nothing_of_the_environment_counts(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    monkeypatch.setenv("KUBECONFIG", "/nowhere")
    models.Configuration.set_default(models.Configuration(host="https://elsewhere", api_key={"authorization": "x"}))
    try:
        server = serve(always(Said(200, CONFIG)))
        assert Client(server.place()).ask("GET", "/version") == CONFIG
        assert server.asked[0][2]["Authorization"] == "Bearer a-token"
    finally:
        models.Configuration.set_default(None)


def test_a_pod_reads_its_token_for_each_call(serve: Serve, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    server = serve(always(Said(200, CONFIG)))
    monkeypatch.setattr(connecting, "ACCOUNT", tmp_path)
    (tmp_path / "ca.crt").write_text(server.place().ca)
    own = server.place(in_cluster=True, token="", ca="")
    for token in ("first", "second"):
        (tmp_path / "token").write_text(f"{token}\n")
        client_of(own).ask("GET", "/version")
        assert server.asked[-1][2]["Authorization"] == f"Bearer {token}"
    (tmp_path / "token").unlink()
    assert refused(client_of(own)).code == "no_service_account"


def test_a_long_list_comes_in_pages(serve: Serve) -> None:
    def answer(method: str, path: str) -> Said:
        more = {} if "continue=next" in path else {"continue": "next"}
        return Said(200, {"metadata": more, "items": [{"metadata": {"name": "b" if not more else "a"}}]})

    server = serve(answer)
    found = Client(server.place()).list(kinds.POD, labels="a=b")
    assert [one["metadata"]["name"] for one in found] == ["a", "b"] and found[0]["kind"] == "Pod"
    assert len(server.asked) == 2 and "limit=500" in server.asked[0][1]


def test_a_list_that_was_forgotten_half_way_is_begun_again(serve: Serve) -> None:
    forgotten = [True]

    def answer(method: str, path: str) -> Said:
        if "continue=next" not in path:
            return Said(200, {"metadata": {"continue": "next"}, "items": [{"metadata": {"name": "a"}}]})
        if forgotten.pop() if forgotten else False:
            return Said(410, {"kind": "Status", "reason": "Expired", "message": "too old", "code": 410})
        return Said(200, {"items": [{"metadata": {"name": "b"}}]})

    found = Client(serve(answer).place()).list(kinds.POD)
    assert [one["metadata"]["name"] for one in found] == ["a", "b"]


def test_a_busy_server_is_left_alone_for_as_long_as_it_asks(serve: Serve) -> None:
    server = serve(always(Said(429, {"kind": "Status", "message": "slow"}, {"Retry-After": "7"})))
    client = Client(server.place())
    error = refused(client)
    assert (error.code, error.retry, error.wait_seconds) == ("slow_down", True, 7.0) and "7 s" in error.sentence
    assert refused(client).code == "slow_down" and len(server.asked) == 1


def test_a_dead_server_costs_one_deadline_and_comes_back(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calling, "REST_SECONDS", (3600.0,))
    state = {"dead": True}
    server = serve(lambda method, path: Said(503, {"message": "down"}) if state["dead"] else Said(200, CONFIG))
    client = Client(server.place())
    assert {refused(client).code for _ in range(5)} == {"cluster_unavailable"} and len(server.asked) == 1
    state["dead"] = False
    client._rests_until = 0.0
    assert client.ask("GET", "/version") == CONFIG
    state["dead"] = True
    assert refused(client).code == "cluster_unavailable" and len(server.asked) == 3


def test_nobody_listens() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    error = refused(Client(place(server=f"https://127.0.0.1:{port}")))
    assert (error.code, error.turn, error.retry) == ("cluster_unreachable", "platform", True)


def test_a_silent_server_has_a_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calling, "CONNECT_SECONDS", 0.2)
    monkeypatch.setattr(calling, "READ_SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        error = refused(Client(place(server=f"https://127.0.0.1:{silent.getsockname()[1]}")))
    assert error.code == "cluster_slow"


def test_an_answer_that_drips_has_a_deadline(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    class Dripping:
        def read1(self, amount: int) -> bytes:
            time.sleep(0.01)
            return b"x"

        def close(self) -> None:
            """Be closed."""

    with pytest.raises(TimeoutError):
        connecting.read(Dripping(), time.monotonic() + 0.05, 10**6)
    with pytest.raises(ClusterError) as caught:
        connecting.read(Dripping(), time.monotonic() + 60, 3)
    assert caught.value.code == "answer_too_large"


def test_another_authority_is_not_trusted_and_an_expired_certificate_is_told(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    server, other = serve(always(Said())), serve(always(Said()))
    strange = server.place(ca=other.place().ca)
    assert refused(Client(strange)).code == "certificate_untrusted"
    assert server.asked == []
    monkeypatch.setattr(certificates, "LIFE", dt.timedelta(minutes=-1))
    assert refused(Client(serve(always(Said())).place())).code == "certificate_expired"


def test_only_the_registered_server_over_tls_and_no_metadata_service() -> None:
    for server in ("http://127.0.0.1:6443", "127.0.0.1", "ftp://x", ""):
        with pytest.raises(ClusterError) as caught:
            Client(place(server=server))
        assert caught.value.code == "server_invalid" and not caught.value.retry
    error = refused(Client(place(server="https://169.254.169.254:443")))
    assert error.code == "address_refused" and not error.retry


def test_a_redirect_is_not_followed(serve: Serve) -> None:
    elsewhere = serve(always(Said(200, CONFIG)))
    server = serve(always(Said(302, b"", {"Location": f"{elsewhere.place().server}/api"})))
    assert refused(Client(server.place())).code == "answer_not_understood"
    assert elsewhere.asked == []


@pytest.mark.parametrize("body", [b"<html>hello</html>", b"", b"[1]", b"\xff\xfe"])
def test_what_is_no_api_is_told(serve: Serve, body: bytes) -> None:
    assert refused(Client(serve(always(Said(200, body))).place())).code == "answer_not_understood"


def test_the_clock_is_the_servers(serve: Serve) -> None:
    ahead = dt.datetime.now(dt.UTC) + dt.timedelta(hours=2)
    server = serve(always(Said(200, CONFIG)))
    server.date = format_datetime(ahead, usegmt=True)
    client = Client(server.place())
    client.ask("GET", "/version")
    assert abs(client.now() - ahead) < dt.timedelta(minutes=5)
    server.date = "half past nine"
    client.ask("GET", "/version")
    assert abs(client.now() - ahead) < dt.timedelta(minutes=5)


def test_a_broken_credential_is_told_without_repeating_it() -> None:
    with pytest.raises(ClusterError) as caught:
        Client(place(certificate="not a certificate", key="very secret"))
    assert caught.value.code == "credential_invalid" and "secret" not in caught.value.sentence
    assert "a-token" not in repr(place(token="a-token")) and "very secret" not in repr(place(key="very secret"))


def test_errors_of_the_library_and_of_the_network_have_words() -> None:
    with pytest.raises(ValueError) as invalid:
        models.V1Service.model_validate({"metadata": {"name": 7}})
    body = json.dumps(recorded("err-unauthorized-401")["body"])
    cases: list[tuple[Exception, str]] = [
        (invalid.value, "object_invalid"),
        (ApiException(status=401, body=body), "token_refused"),
        (
            ApiException(status=0, reason="SSLError: certificate verify failed: certificate has expired"),
            "certificate_expired",
        ),
        (ReadTimeoutError(None, "", "Read timed out."), "cluster_slow"),  # type: ignore[arg-type]
        (ssl.SSLError("certificate verify failed: unable to get local issuer certificate"), "certificate_untrusted"),
        (ConnectionResetError("Connection reset by peer"), "cluster_unreachable"),
    ]
    for problem, code in cases:
        assert errors.told(problem).code == code
    with pytest.raises(KeyError):
        errors.told(KeyError("a bug of ours stays one"))


def test_one_client_for_a_place_and_another_for_new_credentials() -> None:
    assert client_of(place(token="a")) is client_of(place(token="a", settings={"x": 1}))
    assert client_of(place(token="a")) is not client_of(place(token="b"))
