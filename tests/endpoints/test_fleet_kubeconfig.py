"""Reading a pasted kubeconfig: the usual ones of providers, and those that want to run, read or skip something."""

import base64
import json
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from endpoints.fleet import kubeconfig
from portal.errors import Invalid

CA = base64.b64encode(b"-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n").decode()
ONE = "kind: Config\ncontexts: [{name: a, context: {cluster: a, user: b}}]"
SECRET = "s3cr3t-t0ken-value"


def config(*, cluster: dict[str, Any] | None = None, user: dict[str, Any] | None = None, **top: Any) -> dict[str, Any]:
    """A kubeconfig as kubectl prints it."""
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "preferences": {},
        "current-context": "lab",
        "clusters": [{"name": "lab", "cluster": cluster or {"server": "https://10.0.0.1:6443"}}],
        "users": [{"name": "me", "user": user or {"token": SECRET}}],
        "contexts": [{"name": "lab", "context": {"cluster": "lab", "user": "me", "namespace": "x"}}],
    } | top


def refused(text: str | dict[str, Any]) -> str:
    """The sentence with which `text` is refused; it never repeats a secret."""
    whole = text if isinstance(text, str) else yaml.safe_dump(text)
    with pytest.raises(Invalid) as raised:
        kubeconfig.read(whole)
    assert list(raised.value.fields) == ["kubeconfig"]
    sentence = raised.value.sentence
    assert SECRET not in sentence and len(sentence) < 400 and sentence.endswith(".")
    assert raised.value.__cause__ is None, "a chained error would put the text into a log"
    return sentence


def test_a_token_with_an_authority() -> None:
    found = kubeconfig.read(
        yaml.safe_dump(config(cluster={"server": "https://a:6443", "certificate-authority-data": CA}))
    )
    assert found.server == "https://a:6443" and found.ca.startswith("-----BEGIN CERTIFICATE")
    assert found.credential.token == SECRET and SECRET not in repr(found)


def test_a_client_certificate_as_kind_has_it() -> None:
    data = {name: base64.b64encode(b"pem").decode() for name in ("client-certificate-data", "client-key-data")}
    found = kubeconfig.read(yaml.safe_dump(config(user=data)))
    assert (found.credential.certificate, found.credential.key, found.credential.token) == ("pem", "pem", "")
    assert "pem" not in repr(found.credential)
    assert kubeconfig.read(yaml.safe_dump(config(user=data | {"token": SECRET}))).credential.certificate == ""


def test_json_is_read_too_and_the_only_context_needs_no_choice() -> None:
    found = kubeconfig.read(json.dumps(config() | {"current-context": ""}))
    assert found.server == "https://10.0.0.1:6443"


def test_the_current_context_counts_among_several() -> None:
    many = config(
        clusters=[{"name": f"c{n}", "cluster": {"server": f"https://c{n}"}} for n in range(3)],
        users=[{"name": "old", "user": {"exec": {"command": "aws"}}}, {"name": "me", "user": {"token": "t"}}],
        contexts=[{"name": "lab", "context": {"cluster": "c2", "user": "me"}},
                  {"name": "old", "context": {"cluster": "c0", "user": "old"}}],
    )  # fmt: skip
    assert kubeconfig.read(yaml.safe_dump(many)).server == "https://c2"


@pytest.mark.parametrize(
    ("user", "word"),
    [
        (
            {"exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": "/bin/sh", "args": ["-c", "id"]}},
            "exec",
        ),
        ({"auth-provider": {"name": "gcp", "config": {"cmd-path": "/bin/sh"}}}, "plugin"),
        ({"tokenFile": "/var/run/secrets/kubernetes.io/serviceaccount/token"}, "tokenFile"),
        ({"client-certificate": "/etc/passwd", "client-key": "/etc/shadow"}, "client-certificate"),
        ({"client-key": "/root/key"}, "client-key"),
        ({"username": "admin", "password": SECRET}, "password"),
        ({"token": SECRET, "as": "system:admin"}, "somebody else"),
        ({"token": SECRET, "as-groups": ["system:masters"]}, "somebody else"),
        ({"token": SECRET, "exec": {"command": "id"}}, "exec"),
        ({}, "neither a token"),
        ({"token": [SECRET]}, "no text"),
        ({"client-certificate-data": "AAAA"}, "only one"),
        ({"client-certificate-data": f"!{SECRET}!", "client-key-data": "AAAA"}, "base64"),
        ({"client-certificate-data": "/////w==", "client-key-data": "AAAA"}, "base64"),
    ],
)
def test_users_that_are_refused(user: dict[str, Any], word: str) -> None:
    text = config()
    text["users"][0]["user"] = user
    assert word in refused(text)


@pytest.mark.parametrize(
    ("cluster", "word"),
    [
        ({"server": "https://a", "certificate-authority": "/etc/kubernetes/pki/ca.crt"}, "certificate-authority"),
        ({"server": "https://a", "insecure-skip-tls-verify": True}, "insecure-skip-tls-verify"),
        ({"server": "https://a", "insecure-skip-tls-verify": "true"}, "insecure-skip-tls-verify"),
        ({"server": "https://a", "proxy-url": "http://10.0.0.9:3128"}, "proxy"),
        ({"server": "https://a", "tls-server-name": "other"}, "tls-server-name"),
        ({"server": ""}, "no server"),
        ({"server": 7}, "no server"),
        ({"server": "https://a", "certificate-authority-data": "***"}, "base64"),
    ],
)
def test_clusters_that_are_refused(cluster: dict[str, Any], word: str) -> None:
    assert word in refused(config(cluster=cluster))


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("", "kind: Config"),
        ("null", "kind: Config"),
        ("[]", "kind: Config"),
        ("kind: Pod", "kind: Config"),
        ("kind: Config\nkind: Config", "twice"),
        ("kind: Config\nclusters: &a [1]\nusers: *a", "aliases"),
        ("a: &a [x,x]\nb: &b [*a,*a]\nc: &c [*b,*b]\nkind: Config", "aliases"),
        ("kind: !!python/object/apply:os.system ['touch /tmp/owned']", "plain YAML"),
        ("kind: !!python/name:os.system ''", "plain YAML"),
        (f"kind: Config\nx: {'[' * 40}{']' * 40}", "deeper"),
        ("kind: Config\nx: {a: b: c}", "plain YAML"),
        ("kind: Config\n? [a, b]\n: c", "plain YAML"),
        ("kind: Config\nx: 2026-13-45", "plain YAML"),
        ("kind: Config\n\x07", "plain YAML"),
        (f"{ONE}\nclusters: 7", "clusters must be a list"),
        (f"{ONE}\nclusters: [7]", "clusters must be a list"),
        ("kind: Config\ncontexts: 7", "contexts must be a list"),
        ("kind: Config\ncontexts: []", "no current context"),
        ("kind: Config\ncurrent-context: other", "none of that name"),
        ("---\nkind: Config\n---\nkind: Config", "plain YAML"),
        ("- " * 20_000, "deeper"),
    ],
    ids=range(21),
)  # fmt: skip
def test_texts_that_are_refused(text: str, word: str) -> None:
    assert word in refused(text)


def test_names_that_do_not_fit_each_other() -> None:
    twice = config(users=[{"name": "me", "user": {"token": SECRET}}, {"name": "me", "user": {}}])
    assert "several" in refused(twice)
    assert "no usable one" in refused(config(users=[{"name": "me", "user": "x"}]))
    long = config(contexts=[{"name": "lab", "context": {"cluster": "x" * 5000, "user": "me"}}])
    assert "xxx" in refused(long)


def test_the_size_is_bounded_before_anything_is_parsed() -> None:
    begun = time.process_time()
    assert "65,536" in refused("kind: Config\nx: " + "a" * 70_000)
    assert time.process_time() - begun < 1
    assert "deeper" in refused("kind: Config\nx: " + "{" * 30_000)


def test_nothing_was_run_or_read() -> None:
    assert not Path("/tmp/owned").exists()
