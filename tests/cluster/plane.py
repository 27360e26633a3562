"""A real control plane of the tests: etcd, API server, controller manager and scheduler on free ports of the loopback,
in a directory of its own. It has no kubelet; tests/cluster/kubelet.py plays one.
"""

import base64
import json
import os
import secrets
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any, Self

import requests
import yaml

from tests.cluster import kserve
from tests.cluster.api import Api, Object, Refused
from tests.cluster.binaries import Missing, find_control_plane, find_kserve, find_kserve_controllers
from tests.cluster.certificates import Authority, service_account_key
from tests.cluster.component import Component
from tests.stack.conftest import free_port, wait_for

START_SECONDS = 240  # for a machine that compiles and tests beside us; alone it takes ten
NODE_GRACE_SECONDS = 16  # a node without a heartbeat for that long is lost; a real cluster takes 50
HASTE = (
    "--kube-api-qps=400",
    "--kube-api-burst=800",
)  # by default many pods at once wait for the controllers' own limits
AUDIT_POLICY = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived"],
    "rules": [{"level": "Metadata"}],
}


class NoPlane(Exception):
    """There is no control plane on this machine; the sentence says what to do."""


def _there(found: Path | Missing) -> Path:
    if isinstance(found, Missing):
        raise NoPlane(found.sentence)
    return found


class Plane:
    """A control plane and the hands of its administrator."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.server, self.admin_token, self.ca_file = "", "", Path()
        self.components: dict[str, Component] = {}
        self.external = False
        self.api: Api
        self._defined = False
        self._kserve: kserve.Controllers | None = None

    @property
    def ca(self) -> str:
        """The certificate authority of the API server, as PEM."""
        return self.ca_file.read_text(encoding="ascii")

    def __enter__(self) -> Self:
        self.directory.mkdir(parents=True, exist_ok=True)
        try:
            if named := os.environ.get("GATEHOUSE_TEST_KUBECONFIG"):
                self._attach(Path(named))
            else:
                self._start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()

    def stop(self) -> None:
        """End what was started, the last first."""
        if self._kserve is not None:
            self._kserve.stop()
        for component in reversed(self.components.values()):
            component.stop(kill=True)  # nobody reads its data again

    # Starting

    def _start(self) -> None:
        found = _there(find_control_plane())
        authority = Authority(self.directory / "certificates")
        self.ca_file, self.admin_token = authority.certificate, secrets.token_hex(16)
        self.authority = authority
        etcd, port = free_port(), free_port()
        self.server = f"https://127.0.0.1:{port}"
        self.api = Api(self.server, self.ca_file, self.admin_token)
        self._add("etcd", found, self._etcd(etcd))
        self._add("kube-apiserver", found, self._apiserver(etcd, port))
        own = self.kubeconfig(self.directory / "admin.kubeconfig")
        self._add("kube-controller-manager", found, self._controller_manager(own))
        self._add("kube-scheduler", found, self._scheduler(own))
        self.components["etcd"].start()
        self.components["kube-apiserver"].start()
        self.wait_ready()
        self.components["kube-controller-manager"].start()
        self.components["kube-scheduler"].start()
        account = "/api/v1/namespaces/default/serviceaccounts/default"
        self.wait(lambda: self.api.find(account), "the controller manager to make the default ServiceAccount")

    def _add(self, name: str, programs: Path, arguments: list[str]) -> None:
        self.components[name] = Component(programs / name, arguments, self.directory / f"{name}.log")

    def _etcd(self, port: int) -> list[str]:
        address = f"http://127.0.0.1:{port}"
        return [
            f"--data-dir={self.directory / 'etcd'}", f"--listen-client-urls={address}", "--unsafe-no-fsync",
            f"--advertise-client-urls={address}", "--listen-peer-urls=http://127.0.0.1:0", "--log-level=warn",
        ]  # fmt: skip

    def _apiserver(self, etcd: int, port: int) -> list[str]:
        serving = self.authority.issue("kube-apiserver", "kubernetes", "kubernetes.default", "kubernetes.default.svc")
        key = service_account_key(self.directory)
        tokens = self.directory / "tokens.csv"
        tokens.touch(mode=0o600)
        tokens.write_text(f'{self.admin_token},admin,admin,"system:masters"\n', encoding="ascii")
        policy = self.directory / "audit-policy.json"
        policy.write_text(json.dumps(AUDIT_POLICY), encoding="ascii")
        return [
            f"--etcd-servers=http://127.0.0.1:{etcd}", "--bind-address=127.0.0.1", f"--secure-port={port}",
            # A loopback address may not be an endpoint of the service `kubernetes`.
            "--advertise-address=127.0.0.1", "--endpoint-reconciler-type=none",
            f"--tls-cert-file={serving.certificate}", f"--tls-private-key-file={serving.key}",
            f"--cert-dir={self.directory}", f"--token-auth-file={tokens}", "--authorization-mode=RBAC",
            f"--client-ca-file={self.ca_file}", "--service-cluster-ip-range=10.96.0.0/16",
            f"--service-account-key-file={key}", f"--service-account-signing-key-file={key}",
            "--service-account-issuer=https://kubernetes.default.svc", "--anonymous-auth=true",
            # Without these the controllers complain once a second that the authenticating proxy is not configured.
            f"--requestheader-client-ca-file={self.ca_file}", "--requestheader-allowed-names=nobody",
            "--requestheader-username-headers=X-Remote-User", "--requestheader-group-headers=X-Remote-Group",
            "--requestheader-extra-headers-prefix=X-Remote-Extra-", "--kubelet-preferred-address-types=InternalIP",
            f"--audit-policy-file={policy}", f"--audit-log-path={self.directory / 'audit.jsonl'}",
            "--audit-log-mode=blocking", "--shutdown-delay-duration=0s", "--profiling=false",
        ]  # fmt: skip

    def _controller_manager(self, kubeconfig: Path) -> list[str]:
        return [
            f"--kubeconfig={kubeconfig}", "--secure-port=0", "--leader-elect=false",
            "--use-service-account-credentials=true", f"--root-ca-file={self.ca_file}",
            f"--service-account-private-key-file={self.directory / 'service-accounts.key'}",
            *HASTE, "--node-monitor-period=1s", f"--node-monitor-grace-period={NODE_GRACE_SECONDS}s",
        ]  # fmt: skip

    def _scheduler(self, kubeconfig: Path) -> list[str]:
        return [f"--kubeconfig={kubeconfig}", "--secure-port=0", "--leader-elect=false", *HASTE]

    def wait(self, probe: Any, what: str, seconds: float = START_SECONDS) -> Any:
        """Poll until `probe` answers something true; fails with the ends of the logs."""

        def careful() -> Any:
            dead = [component.complaint() for component in self.components.values() if component.process]
            try:
                return probe()
            except (requests.RequestException, Refused) as error:
                gone = [text for text in dead if "(ended)" in text]
                raise OSError(f"{error}; {gone}") from error

        return wait_for(careful, seconds, what)

    def wait_ready(self) -> None:
        """Wait until the API server is ready to serve."""
        self.wait(lambda: self.api.raw("GET", "/readyz", timeout=5).status_code == 200, f"{self.server}/readyz")

    def _attach(self, kubeconfig: Path) -> None:
        """Use a cluster that somebody runs; it has no audit log for us, and nothing of it can be stopped."""
        text = yaml.safe_load(kubeconfig.read_text(encoding="utf-8"))
        context = next(item["context"] for item in text["contexts"] if item["name"] == text["current-context"])
        cluster = next(item["cluster"] for item in text["clusters"] if item["name"] == context["cluster"])
        user = next(item["user"] for item in text["users"] if item["name"] == context["user"])

        def file(entry: Object, name: str) -> str:
            if data := entry.get(f"{name}-data"):
                path = self.directory / name
                path.touch(mode=0o600)
                path.write_bytes(base64.b64decode(data))
                return str(path)
            return str(kubeconfig.parent / entry[name]) if entry.get(name) else ""

        self.external, self.server = True, cluster["server"]
        self.ca_file, self.admin_token = Path(file(cluster, "certificate-authority")), user.get("token", "")
        certificate = (file(user, "client-certificate"), file(user, "client-key"))
        self.api = Api(self.server, self.ca_file, self.admin_token, certificate if all(certificate) else None)
        self.wait_ready()

    # Identities

    def kubeconfig(self, path: Path, token: str = "") -> Path:
        """Write a kubeconfig of the administrator, or of whom `token` belongs to."""
        user: Object = {"token": token or self.admin_token}
        if self.external and not token and (pair := self.api.client_certificate):
            user = {"client-certificate": pair[0], "client-key": pair[1]}
        cluster = {"server": self.server, "certificate-authority-data": base64.b64encode(self.ca.encode()).decode()}
        text = {
            "apiVersion": "v1", "kind": "Config", "current-context": "tests",
            "clusters": [{"name": "tests", "cluster": cluster}], "users": [{"name": "tests", "user": user}],
            "contexts": [{"name": "tests", "context": {"cluster": "tests", "user": "tests"}}],
        }  # fmt: skip
        path.touch(mode=0o600)
        path.write_text(yaml.safe_dump(text), encoding="utf-8")
        return path

    def token_for(
        self, namespace: str, account: str, manifests: str | Object | Iterable[Object] = (), *, seconds: int = 3600
    ) -> str:
        """A token of a ServiceAccount, after applying the manifests that make it; at least ten minutes of life."""
        self.api.apply(manifests, namespace)
        asked = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "spec": {"expirationSeconds": seconds},
        }
        path = f"/api/v1/namespaces/{namespace}/serviceaccounts/{account}/token"
        return str(self.api.post(path, asked)["status"]["token"])

    def as_token(self, token: str) -> Api:
        """The API as the owner of `token` sees it."""
        return Api(self.server, self.ca_file, token)

    # KServe

    def with_kserve(self, *, controllers: bool = False) -> None:
        """Add the resource definitions of KServe and the Gateway API, and KServe's real controllers when asked; what is
        there already stays. Raises NoPlane where they are missing.
        """
        manifests = _there(find_kserve())
        if not self._defined:
            kserve.define(self.api, manifests)
            self._defined = True
        if controllers and self._kserve is None:
            programs = _there(find_kserve_controllers())
            kubeconfig = self.kubeconfig(self.directory / "admin.kubeconfig")
            started = kserve.Controllers(self.api, manifests, programs, self.directory / "kserve", kubeconfig)
            self._kserve = started
            started.start()

    # Leaving

    def remove_namespaces(self, names: Iterable[str]) -> None:
        """Delete namespaces and wait until their pods have gone, so that the next test finds the GPUs free."""
        names = list(names)
        for name in names:
            self.api.delete(f"/api/v1/namespaces/{name}")
            self.api.delete(f"/api/v1/namespaces/{name}/pods")  # at once; the namespace begins only after five seconds
        for name in names:
            pods = partial(self.api.items, f"/api/v1/namespaces/{name}/pods")
            wait_for(lambda pods=pods: not pods(), 60, f"the pods of {name} to go")  # type: ignore[misc]

    # What was asked of the server

    def mark(self) -> int:
        """A place in the audit log, for `audited`."""
        log = self.directory / "audit.jsonl"
        return log.stat().st_size if log.exists() else 0

    def audited(self, user: str = "", *, since: int = 0) -> list[Object]:
        """The finished requests of `user` (all when empty) that the server logged after `since`, at metadata level."""
        assert not self.external, "the audit log of a foreign cluster is not ours to read"
        with (self.directory / "audit.jsonl").open("rb") as log:
            log.seek(since)
            lines = [line for line in log.read().split(b"\n")[:-1] if line]
        entries = [json.loads(line) for line in lines]
        return [entry for entry in entries if not user or entry["user"].get("username") == user]

    def verbs(self, user: str, *, since: int = 0) -> set[tuple[str, str, str]]:
        """What `user` asked for: (verb, API group, resource or resource/subresource)."""
        found = set()
        for entry in self.audited(user, since=since):
            about = entry.get("objectRef") or {}
            name = "/".join(part for part in (about.get("resource", ""), about.get("subresource", "")) if part)
            found.add((entry["verb"], about.get("apiGroup", ""), name or entry["requestURI"].partition("?")[0]))
        return found

    # Faults

    @property
    def apiserver(self) -> Component:
        """The API server, to stop, start, freeze and thaw; `wait_ready` after a start."""
        return self.components["kube-apiserver"]
