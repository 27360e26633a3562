"""oci://: manifest, token, layers, and a registry that lies or leads elsewhere."""

from typing import Any

import pytest

from catalog.sources import open_tree
from catalog.sources.tree import SourceDenied, SourceError, SourceMissing, SourceRefused, Tree
from tests.catalog.source_kit import Remote, registry_server, sha256

pytestmark = pytest.mark.slow

FILES = {"model.gguf": bytes(range(256)) * 64, "LICENSE": b"Apache", "-untitled": b"no title"}


@pytest.fixture
def registry(settings: Any) -> Any:
    with registry_server(files=dict(FILES)) as remote:
        settings.OUTBOUND_HTTP = False
        settings.OUTBOUND_ALLOW = {**settings.OUTBOUND_ALLOW, "registry": ["127.0.0.1", "registry.example.com"]}
        yield remote


def place(remote: Remote) -> str:
    return f"oci://{remote.url.removeprefix('http://')}/org/model"


def digest_of(remote: Remote) -> str:
    return open_tree(place(remote)).revision


def read(tree: Tree, path: str, start: int = 0) -> bytes:
    with tree.open(path, start) as stream:
        return stream.read()


def test_the_layers_of_a_manifest(registry: Remote) -> None:
    digest = digest_of(registry)
    untitled = f"sha256-{sha256(b'no title')}"
    for source in (f"{place(registry)}:v1", f"{place(registry)}@{digest}", f"{place(registry)}:v1@{digest}"):
        tree = open_tree(source)
        assert tree.revision == digest
        found = {entry.path: (entry.bytes, entry.sha256) for entry in tree.entries()}
        assert found == {
            "model.gguf": (16_384, sha256(FILES["model.gguf"])), "LICENSE": (6, sha256(b"Apache")),
            untitled: (8, sha256(b"no title")),
        }  # fmt: skip
        assert read(tree, "model.gguf", 100) == FILES["model.gguf"][100:] and read(tree, untitled) == b"no title"


def test_a_tag_that_has_moved_is_still_read_by_digest(registry: Remote) -> None:
    source, digest = f"{place(registry)}:v1", digest_of(registry)
    assert open_tree(source, revision=digest).revision == digest
    registry.files["LICENSE"] = b"MIT"
    assert open_tree(source).revision != digest
    with pytest.raises(SourceMissing):  # this registry has forgotten it
        open_tree(source, revision=digest)


def test_a_registry_that_answers_with_another_manifest_is_refused(registry: Remote) -> None:
    digest = digest_of(registry)
    registry.answers[f"/v2/org/model/manifests/{digest}"] = (200, {}, b'{"layers": []}')
    with pytest.raises(SourceRefused, match="was asked for"):
        open_tree(f"{place(registry)}@{digest}")


def test_a_token_is_fetched_once_and_sent_to_the_registry(registry: Remote) -> None:
    registry.secret = "registry-secret"
    tree = open_tree(place(registry))
    assert read(tree, "LICENSE") == b"Apache" and read(tree, "model.gguf") == FILES["model.gguf"]
    tokens = [path for path in registry.asked if path.startswith("/token")]
    assert tokens == ["/token?service=test&scope=repository%3Aorg%2Fmodel%3Apull"]


@pytest.mark.parametrize(
    "realm", ["http://169.254.169.254/token", "https://evil.example.com/t", "http://10.0.0.1/", "x"]
)
def test_a_realm_is_an_address_like_any_other(registry: Remote, realm: str) -> None:
    """The registry says where the token is; that must not lead into the network, nor to a host that is not listed."""
    registry.secret = "registry-secret"
    registry.answers["realm"] = (0, {}, realm.encode())
    with pytest.raises(SourceDenied):
        open_tree(place(registry))


@pytest.mark.parametrize("challenge", ["", 'Basic realm="x"', "Bearer", 'Bearer service="x"', "Negotiate abc"])
def test_another_way_of_signing_in_is_not_for_us(registry: Remote, challenge: str) -> None:
    registry.answers["/v2/org/model/manifests/latest"] = (401, {"WWW-Authenticate": challenge}, b"")
    with pytest.raises(SourceDenied, match="bearer token"):
        open_tree(place(registry))


@pytest.mark.parametrize("answer", [b"{}", b"[]", b"<html>", b'{"token": 5}', b'{"token": "a\\nb"}', b'{"token": ""}'])
def test_a_token_that_is_none(registry: Remote, answer: bytes) -> None:
    registry.secret = "registry-secret"
    registry.answers["/token"] = (200, {}, answer)
    with pytest.raises(SourceError, match=r"(?i)token"):
        open_tree(place(registry))


def test_a_token_that_does_not_help_ends(registry: Remote) -> None:
    registry.secret = "registry-secret"
    registry.answers["/token"] = (200, {}, b'{"token": "other"}')
    with pytest.raises(SourceDenied, match="not for us"):
        open_tree(place(registry))
    assert len([path for path in registry.asked if "manifests" in path]) == 2


@pytest.mark.parametrize(
    "layer",
    [
        {"digest": f"sha256:{'0' * 64}", "size": -1}, {"digest": "sha512:00", "size": 1},
        {"digest": 5, "size": 1}, {}, None,
        {"digest": f"sha256:{'0' * 64}", "size": True}, {"digest": f"sha256:{'0' * 64}", "size": 2**60},
        {"digest": f"sha256:{'0' * 64}", "size": 1, "annotations": {"org.opencontainers.image.title": "../x"}},
        {"digest": f"sha256:{'0' * 64}", "size": 1, "annotations": {"org.opencontainers.image.title": "/etc/x"}},
    ],
)  # fmt: skip
def test_a_manifest_that_cannot_be_right_is_refused(registry: Remote, layer: Any) -> None:
    registry.names = [layer]
    with pytest.raises(SourceRefused):
        list(open_tree(place(registry)).entries())


@pytest.mark.parametrize(
    "manifest", [b"[]", b"{}", b'{"layers": []}', b'{"manifests": [], "layers": [1]}', b'{"layers": 5}']
)
def test_what_is_no_manifest_of_one_artefact_is_refused(registry: Remote, manifest: bytes) -> None:
    registry.answers["/v2/org/model/manifests/latest"] = (200, {}, manifest)
    with pytest.raises(SourceRefused):
        open_tree(place(registry))


def test_two_layers_of_one_name_are_refused(registry: Remote) -> None:
    title = {"org.opencontainers.image.title": "x"}
    registry.names = [{"digest": f"sha256:{digit * 64}", "size": 1, "annotations": title} for digit in "01"]
    with pytest.raises(SourceRefused, match="twice"):
        open_tree(place(registry))


@pytest.mark.parametrize(
    "source",
    ["oci://", "oci://registry.example.com", "oci://registry.example.com/", "oci://registry.example.com/UPPER",
     "oci://registry.example.com/a/../b", "oci://registry.example.com/a@sha256:zz", "oci://registry.example.com/a@main",
     "oci://registry.example.com/a:b/c", "oci://user@registry.example.com/a", "oci://registry.example.com/a?x",
     "oci://registry.example.com/a:" + "x" * 200],
)  # fmt: skip
def test_odd_sources_are_refused(registry: Remote, source: str) -> None:
    with pytest.raises(SourceRefused, match="looks like"):
        open_tree(source)


@pytest.mark.parametrize("host", ["other.example.com", "10.0.0.1", "169.254.169.254", "[::1]", "localhost"])
def test_only_listed_registries_are_called(registry: Remote, host: str) -> None:
    with pytest.raises(SourceDenied, match="GATEHOUSE_REGISTRY_ALLOW"):
        open_tree(f"oci://{host}/org/model:v1")


def test_a_manifest_is_asked_for_by_its_type(registry: Remote) -> None:
    open_tree(place(registry))
    assert "application/vnd.oci.image.manifest.v1+json" in registry.log[0][1]["accept"]
