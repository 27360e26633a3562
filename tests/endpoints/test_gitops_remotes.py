"""Real Git servers, by HTTPS and SSH: who gets in, what a server that misbehaves makes the portal say, and that no
secret is seen on the way.
"""

import os
import pickle
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from endpoints.clusters import ClusterError, Place
from endpoints.clusters.gitops import program, remote, repository
from endpoints.clusters.gitops.checking import _repository
from endpoints.clusters.gitops.writing import Writer
from endpoints.clusters.kubernetes import manifests
from tests.cluster.certificates import Authority
from tests.endpoints.git_kit import HttpServer, Remote, SshServer, http_server, new_key, ssh_server
from tests.endpoints.kubernetes_kit import place, workload

pytestmark = pytest.mark.slow
TOKEN = "the-token-of-the-portal"


@pytest.fixture
def bare(tmp_path: Path) -> Remote:
    """The repository."""
    return Remote(tmp_path)


@pytest.fixture
def https(tmp_path: Path, bare: Remote) -> Iterator[tuple[HttpServer, Place]]:
    """A server by HTTPS, and the cluster that is registered with it."""
    (tmp_path / "ca").mkdir()
    authority = Authority(tmp_path / "ca")
    with http_server(tmp_path / "srv", TOKEN, authority) as server:
        ca = authority.certificate.read_text(encoding="ascii")
        yield (
            server,
            place(state_dir=tmp_path / "state", repository=server.url(), repository_secret=TOKEN, repository_ca=ca),
        )


@pytest.fixture
def ssh(tmp_path: Path, bare: Remote) -> Iterator[tuple[SshServer, Place]]:
    """A server by SSH, and the cluster that is registered with it."""
    with ssh_server(tmp_path / "sshd") as server:
        found = place(
            state_dir=tmp_path / "state", repository=server.url(bare.path), repository_secret=server.key,
            known_hosts=server.known_hosts,
        )  # fmt: skip
        yield server, found


def write(where: Place, **fields: Any) -> str:
    """Commit an endpoint."""
    wanted = workload(**fields)
    return Writer(where).write(wanted, manifests.objects(where, wanted, "key"))


def refused(where: Place) -> ClusterError:
    """Return why an endpoint cannot be committed."""
    with pytest.raises(ClusterError) as caught:
        write(where)
    assert caught.value.retry, "it is tried again when that is mended"
    assert caught.value.next and caught.value.next in caught.value.sentence
    return caught.value


def test_https_with_a_token_and_an_own_authority(https: tuple[HttpServer, Place], bare: Remote) -> None:
    _, where = https
    assert write(where) and write(where, name="second")
    assert bare.count() == 3
    assert [one.verdict for one in _repository(where, 5.0, whole=True)] == ["pass", "pass"]
    assert bare.branches() == ["main"], "the test pushed nothing"


def test_https_that_is_not_as_it_should_be(https: tuple[HttpServer, Place], tmp_path: Path) -> None:
    server, where = https
    fresh = [replace(where, slug=f"try-{number}") for number in range(4)]
    assert refused(replace(fresh[0], repository_secret="wrong-token")).code == "git_credential"
    (tmp_path / "other").mkdir()
    other = Authority(tmp_path / "other").certificate.read_text(encoding="ascii")
    assert refused(replace(fresh[1], repository_ca=other)).code == "git_certificate"
    assert refused(replace(fresh[2], repository=server.url("none.git"))).code == "git_repository_missing"
    server.status = 503
    assert refused(fresh[3]).code == "git_unreachable"


def test_a_slow_server_costs_its_deadline_and_then_nothing(
    https: tuple[HttpServer, Place], monkeypatch: pytest.MonkeyPatch
) -> None:
    server, where = https
    monkeypatch.setattr(repository, "FIRST_SECONDS", 0.6)
    server.pause = 2.0
    begun = time.monotonic()
    assert refused(where).code == "git_slow"
    assert time.monotonic() - begun < 2.0
    asked, begun = len(server.asked), time.monotonic()
    assert refused(where).code == "git_slow" and time.monotonic() - begun < 0.3
    assert len(server.asked) == asked, "it is left alone for a moment"


def test_an_outage_passes(https: tuple[HttpServer, Place], bare: Remote) -> None:
    server, where = https
    write(where)
    server.status = 502
    assert refused(where).code == "git_unreachable"
    stand = Writer(where)
    server.status = 0
    repository._health.clear()  # the moment of rest is over
    assert write(where, name="second") and stand.repository.problem is None
    assert bare.count() == 3


def test_ssh_with_a_key_and_known_hosts(ssh: tuple[SshServer, Place], bare: Remote, tmp_path: Path) -> None:
    server, where = ssh
    assert write(where) and write(where, name="second")
    assert bare.count() == 3
    assert [one.verdict for one in _repository(where, 8.0, whole=True)] == ["pass", "pass"]
    kept = [path for path in (tmp_path / "state").rglob("*") if path.is_file()]
    secret = server.key.split("\n")[2].encode()
    assert kept and not [path for path in kept if secret in path.read_bytes()], "the key is never on a disk"


def test_another_host_key_is_never_accepted(ssh: tuple[SshServer, Place]) -> None:
    server, where = ssh
    _, other = new_key()
    error = refused(replace(where, known_hosts=f"[127.0.0.1]:{server.port} {other}\n"))
    assert error.code == "git_host_key" and "somebody could stand in between" in error.sentence
    error = refused(replace(where, slug="unknown", known_hosts=f"elsewhere {server.host_key}\n"))
    assert error.code == "git_host_key"


def test_a_key_that_was_revoked(ssh: tuple[SshServer, Place]) -> None:
    _, where = ssh
    private, _ = new_key()
    assert refused(replace(where, repository_secret=private)).code == "git_credential"


def test_nobody_listens(tmp_path: Path, bare: Remote) -> None:
    private, public = new_key()
    where = place(
        state_dir=tmp_path / "state", repository="ssh://git@127.0.0.1:9/fleet.git", repository_secret=private,
        known_hosts=f"[127.0.0.1]:9 {public}",
    )  # fmt: skip
    error = refused(where)
    assert error.code == "git_unreachable" and private.split("\n")[2] not in error.sentence
    assert [one.verdict for one in _repository(replace(where, slug="b"), 5.0, whole=True)] == ["fail", "skip"]


def test_a_push_that_the_server_takes_only_by_pull_request(ssh: tuple[SshServer, Place], bare: Remote) -> None:
    bare.hook('while read old new name; do test "$name" != refs/heads/main || { echo "protected" >&2; exit 1; }; done')
    _, where = ssh
    error = refused(where)
    assert error.code == "git_rejected" and "protected" in error.sentence and "pull request" in error.next
    assert write(replace(where, settings={"git_flow": "pull_request"}))
    assert len(bare.branches()) == 2


def test_a_killed_worker_lets_the_next_one_in(ssh: tuple[SshServer, Place], bare: Remote, tmp_path: Path) -> None:
    """A worker is killed in the middle of a push; the lock goes with it and with the git that it started."""
    bare.hook(
        f"touch {tmp_path}/inside; while test -e {tmp_path}/hold; do read -t 0.05 x < /dev/null || sleep 0.05; done"
    )
    (tmp_path / "hold").touch()
    _, where = ssh
    script = (
        "import os, sys, pickle; os.environ['DJANGO_SETTINGS_MODULE'] = 'portal.settings'\n"
        "import django; django.setup()\n"
        "where, wanted = pickle.load(open(sys.argv[1], 'rb'))\n"
        "from endpoints.clusters.gitops.writing import Writer; from endpoints.clusters.kubernetes import manifests\n"
        "Writer(where).write(wanted, manifests.objects(where, wanted, 'key'))\n"
    )
    (tmp_path / "args").write_bytes(pickle.dumps((where, workload())))
    child = subprocess.Popen([sys.executable, "-c", script, str(tmp_path / "args")], env={**os.environ, "TESTING": "1"})
    ends = time.monotonic() + 30
    while not (tmp_path / "inside").exists():
        assert child.poll() is None and time.monotonic() < ends
        time.sleep(0.02)
    child.kill()
    child.wait()
    threading.Timer(0.3, (tmp_path / "hold").unlink).start()
    assert write(where, name="second")
    assert any("second" in path for path in bare.files())


@pytest.mark.parametrize(
    "url",
    [
        "ext::sh -c evil", "git://127.0.0.1/x", "https://user:pass@127.0.0.1/x", "ssh://-oProxyCommand=evil/x",
        "https://127.0.0.1/x?y", "file://host/x", "file:///srv/../etc", "ssh://git@127.0.0.1/-x", "https://", "x",
        "https://127.0.0.1/a\nb", "ssh://gi t@127.0.0.1/x", "-u:x", "https://" + "a" * 600,
    ],
)  # fmt: skip
def test_addresses_that_are_none(url: str) -> None:
    with pytest.raises(remote.Unusable):
        remote.parse(url)


def test_addresses_in_their_forms() -> None:
    assert remote.parse("git@git.example.com:platform/fleet.git").url == "ssh://git.example.com/platform/fleet.git"
    assert remote.parse("https://bot@git.example.com:8443/fleet.git").user == "bot"
    assert remote.parse("ssh://[::1]:2222/fleet").url == "ssh://[::1]:2222/fleet"


def test_an_address_inside_is_refused_and_a_public_one_is_pinned(
    settings: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    settings.OUTBOUND_ALLOW = {**settings.OUTBOUND_ALLOW, "git": []}
    where = place(state_dir=tmp_path, repository="https://git.example.com/fleet.git", repository_secret=TOKEN)
    monkeypatch.setattr("portal.outbound.resolve", lambda host, port: ["169.254.169.254"])
    assert refused(where).code == "git_address_refused"
    monkeypatch.setattr("portal.outbound.resolve", lambda host, port: ["93.184.216.34"])
    with remote.way(where, tmp_path) as way:
        assert way.config["http.curloptResolve"] == "git.example.com:443:93.184.216.34"
        found = program.environment(tmp_path, way)
    assert found["GIT_ALLOW_PROTOCOL"] == "https" and TOKEN not in way.url + "".join(found)
    assert "HOME" in found and not {"SSH_AUTH_SOCK", "GIT_SSH", "HTTPS_PROXY"} & set(found)
    assert TOKEN not in repr(way) + repr(where)
    private, public = new_key()
    secure = replace(where, repository="ssh://git.example.com/fleet", repository_secret=private, known_hosts=public)
    with remote.way(secure, tmp_path) as way:
        command = way.environment["GIT_SSH_COMMAND"]
    assert "HostName='93.184.216.34'" in command and "StrictHostKeyChecking='yes'" in command
    assert not re.search("BEGIN|PRIVATE", command)


def test_git_is_ended_with_all_that_it_started(tmp_path: Path) -> None:
    (tmp_path / "git").write_text("#!/bin/sh\nsleep 60 &\necho $! > pid\nwait\n", encoding="ascii")
    (tmp_path / "git").chmod(0o755)
    found = dict(os.environ)
    os.environ["PATH"] = f"{tmp_path}:{found['PATH']}"
    try:
        ran = program.run(tmp_path, ["fetch"], seconds=0.5)
    finally:
        os.environ["PATH"] = found["PATH"]
    assert ran.late and not ran.well
    pid = int((tmp_path / "pid").read_text())
    ends = time.monotonic() + 5
    while Path(f"/proc/{pid}/stat").exists() and "Z" not in Path(f"/proc/{pid}/stat").read_text().split(")")[1][:3]:
        assert time.monotonic() < ends
        time.sleep(0.01)
