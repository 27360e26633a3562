"""hf://: the hub's list and files, through redirects and in parts, and a hub that lies or fails."""

import json
from typing import Any

import pytest

from catalog.sources import follows, open_tree
from catalog.sources.tree import NotResumed, SourceDenied, SourceError, SourceMissing, SourceRefused, Tree
from tests.catalog.source_kit import COMMIT, OTHER_COMMIT, Remote, hub_server, sha256

pytestmark = pytest.mark.slow

WEIGHTS = bytes(range(256)) * 64
FILES = {"config.json": b'{"a": 1}', "model.safetensors": WEIGHTS, "onnx/a b.txt": b"text"}
API = "/api/models/org/model/revision/main"


@pytest.fixture
def hub(settings: Any) -> Any:
    with hub_server(files=dict(FILES)) as remote:
        settings.HUB_URL, settings.OUTBOUND_HTTP = remote.url, False
        settings.OUTBOUND_ALLOW = {**settings.OUTBOUND_ALLOW, "hub": ["127.0.0.1"]}
        yield remote


def read(tree: Tree, path: str, start: int = 0) -> bytes:
    with tree.open(path, start) as stream:
        return stream.read()


def test_the_files_of_a_commit(hub: Remote) -> None:
    tree = open_tree("hf://org/model@main")
    assert tree.revision == COMMIT
    found = {entry.path: entry for entry in tree.entries()}
    assert {path: entry.bytes for path, entry in found.items()} == {path: len(body) for path, body in FILES.items()}
    assert found["model.safetensors"].sha256 == sha256(WEIGHTS) and found["config.json"].sha256 == ""
    assert {path: read(tree, path) for path in FILES} == FILES
    assert read(tree, "model.safetensors", 1000) == WEIGHTS[1000:]
    assert hub.asked[1] == f"/org/model/resolve/{COMMIT}/config.json"  # the commit, whatever main is by now


def test_without_a_revision_it_is_main(hub: Remote) -> None:
    assert open_tree("hf://org/model").revision == COMMIT


def test_at_a_commit_that_main_has_left(hub: Remote) -> None:
    hub.commit = OTHER_COMMIT
    assert open_tree("hf://org/model@main").revision == OTHER_COMMIT
    assert open_tree("hf://org/model@main", revision=COMMIT).revision == COMMIT


def test_files_come_from_the_cdn(hub: Remote) -> None:
    hub.cdn = "/cdn"
    assert read(open_tree("hf://org/model"), "onnx/a b.txt") == b"text"


def test_the_token_goes_to_the_hub_and_not_to_the_cdn(hub: Remote, settings: Any) -> None:
    hub.secret = settings.HUB_TOKEN = "hub-secret"
    with hub_server(files=dict(FILES)) as cdn:
        hub.cdn = f"{cdn.url}/cdn"
        assert read(open_tree("hf://org/model"), "config.json") == FILES["config.json"]
        assert all("authorization" in headers for _, headers in hub.log)
        assert all("authorization" not in headers for _, headers in cdn.log)


def test_a_cdn_that_is_not_listed_is_refused(hub: Remote) -> None:
    hub.cdn = "https://cdn.evil.example.com"
    with pytest.raises(SourceDenied, match="GATEHOUSE_HUB_ALLOW"):
        read(open_tree("hf://org/model"), "config.json")


@pytest.mark.parametrize("target", ["http://169.254.169.254", "http://10.0.0.1:8080", "http://[::1]:9"])
def test_a_hub_that_leads_into_the_network_is_refused(hub: Remote, target: str) -> None:
    hub.cdn = target
    with pytest.raises(SourceDenied):
        read(open_tree("hf://org/model"), "config.json")


def test_a_hub_by_another_name_that_leads_here_is_refused(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """DNS of the public hub answers with a private address."""
    settings.HUB_URL = "https://hub.example.com"
    settings.OUTBOUND_ALLOW = {**settings.OUTBOUND_ALLOW, "hub": ["hub.example.com"]}
    monkeypatch.setattr("portal.outbound.resolve", lambda host, port: ["10.1.2.3"])
    with pytest.raises(SourceDenied, match="not public"):
        open_tree("hf://org/model")


@pytest.mark.parametrize(
    "source",
    ["hf://", "hf://a/b/c", "hf://../x", "hf://org/..", "hf://org/model@../../api", "hf://org/model@a//b",
     "hf://org/mo del", "hf://org/model@", "hf://org/model?x=1", "hf://org/model#x", "hf://org/model@ma\nin",
     "hf://user:pw@evil/x", "hf:///x", "hf://org/a..b"],
)  # fmt: skip
def test_odd_sources_are_refused_before_anybody_is_asked(hub: Remote, source: str) -> None:
    if source == "hf://org/model@":
        assert open_tree(source).revision == COMMIT  # nothing after the @ is main
        return
    with pytest.raises(SourceRefused):
        open_tree(source)
    assert hub.log == []


@pytest.mark.parametrize(
    ("status", "headers", "error"),
    [
        (404, {}, SourceMissing), (401, {"X-Error-Code": "RepoNotFound"}, SourceMissing), (401, {}, SourceDenied),
        (403, {}, SourceDenied), (429, {}, SourceError), (500, {}, SourceError), (503, {}, SourceError),
        (400, {}, SourceRefused), (204, {}, SourceRefused),
    ],
)  # fmt: skip
def test_what_a_bad_answer_means(hub: Remote, status: int, headers: dict[str, str], error: type[SourceError]) -> None:
    hub.answers[API] = (status, headers, b"" if status == 204 else b"no")
    with pytest.raises(SourceError) as caught:
        open_tree("hf://org/model")
    assert type(caught.value) is error
    assert "org/model at main" in str(caught.value)


@pytest.mark.parametrize(
    "body",
    [b"<html>Sign in to the proxy</html>", b"", b"[]", b"null", b'{"sha": 5}', b'{"sha": "main"}', b'{"siblings": []}',
     b"[" * 100_000, b'{"sha": "' + b"A" * 40 + b'"}', b"\xff\xfe"],
    ids=["html", "empty", "list", "null", "number", "name", "no commit", "deep", "upper case", "no text"],
)  # fmt: skip
def test_an_answer_that_is_no_list_of_files_is_a_failure(hub: Remote, body: bytes) -> None:
    hub.answers[API] = (200, {}, body)
    with pytest.raises(SourceError) as caught:
        open_tree("hf://org/model")
    assert not isinstance(caught.value, SourceRefused)  # a proxy in between passes by itself


def test_another_commit_than_asked_for_is_refused(hub: Remote) -> None:
    hub.answers[f"/api/models/org/model/revision/{COMMIT}"] = (200, {}, json.dumps({"sha": OTHER_COMMIT}).encode())
    with pytest.raises(SourceRefused, match="was asked for"):
        open_tree(f"hf://org/model@{COMMIT}")


@pytest.mark.parametrize(
    "line",
    [
        {"rfilename": "../x", "size": 1}, {"rfilename": "/etc/passwd", "size": 1}, {"rfilename": "a//b", "size": 1},
        {"rfilename": "a\\b", "size": 1}, {"rfilename": "a\nb", "size": 1}, {"rfilename": "", "size": 1},
        {"rfilename": "x", "size": -1}, {"rfilename": "x", "size": True}, {"rfilename": "x", "size": "1"},
        {"rfilename": 5, "size": 1}, {"size": 1}, {}, None, "x", {"rfilename": "x", "size": 2**60},
        {"rfilename": "x" * 600, "size": 1}, {"rfilename": "d/" * 40 + "x", "size": 1},
        {"rfilename": "x", "size": 1, "lfs": {"sha256": "zz", "size": 1}}, {"rfilename": "config.json", "size": 1},
        {"rfilename": "config.json/x", "size": 1}, {"rfilename": "x", "size": 1, "lfs": {"sha256": 5, "size": 1}},
    ],
)  # fmt: skip
def test_a_list_that_cannot_be_right_is_refused(hub: Remote, line: Any) -> None:
    hub.names = [{"rfilename": "config.json", "size": 8}, line]
    with pytest.raises(SourceRefused):
        list(open_tree("hf://org/model").entries())


def test_too_many_files(hub: Remote, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("catalog.sources.paths.MAX_FILES", 10)
    hub.names = [{"rfilename": f"{number}.txt", "size": 1} for number in range(11)]
    with pytest.raises(SourceRefused, match="more than 10 files"):
        list(open_tree("hf://org/model").entries())


def test_a_list_of_many_megabytes_is_not_read(hub: Remote, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("catalog.sources.remote.MAX_DOCUMENT", 1000)
    hub.names = [{"rfilename": f"{number}.txt", "size": 1} for number in range(100)]
    with pytest.raises(SourceRefused, match="the limit is 1,000"):
        open_tree("hf://org/model")


def test_the_rest_of_another_file_is_refused(hub: Remote) -> None:
    """Between two parts the hub changed what it serves."""
    tree = open_tree("hf://org/model")
    assert read(tree, "model.safetensors") == WEIGHTS
    hub.served["model.safetensors"] = WEIGHTS[::-1]
    with pytest.raises(NotResumed, match="another file"):
        read(tree, "model.safetensors", 1000)


@pytest.mark.parametrize(
    ("source", "can"),
    [("hf://org/model@main", True), ("hf://org/model", True), (f"hf://org/model@{COMMIT}", False), ("file:///x", False),
     ("oci://r.example.com/x:v1", True), (f"oci://r.example.com/x@sha256:{'0' * 64}", False), ("s3://b/x", False)],
)  # fmt: skip
def test_which_names_can_lead_elsewhere_later(source: str, can: bool) -> None:
    assert follows(source) is can
