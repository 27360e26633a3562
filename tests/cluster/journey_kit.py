"""The hands of the journey: a portal and a real control plane, brought together as an engineer would by the guide."""

import http.cookiejar
import secrets
import time
import urllib.parse
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from tests.cluster.api import Object
from tests.cluster.machines import GPU
from tests.cluster.plane import Plane
from tests.stack.conftest import PASSWORD, ROOT, Stack, wait_for

PROJECT, ASSET, MODEL = "fraud-detection", "granite-in-a-container", "ibm-granite/granite-3.3-2b-instruct"
IMAGE = f"registry.example.com/gatehouse/demo-engine@sha256:{'7' * 64}"
SECONDS = 180  # generous: other tests compile and measure beside
ASKS = (
    "catalog:read", "requests:read", "requests:write", "endpoints:read", "endpoints:write", "usage:read",
    "inference:invoke",
)  # fmt: skip
DECIDES = ("requests:read", "approvals:decide", "endpoints:read", "endpoints:write", "admin")


def introduce(stack: Stack) -> dict[str, str]:
    """Tokens of the two people."""
    return {"dana": stack.token("dana", *ASKS), "pat": stack.token("pat", *DECIDES)}


@dataclass
class Meeting:
    """A portal with a cluster that was connected to it, a pool there, a profile in it and a model with an image."""

    stack: Stack
    plane: Plane
    driver: str
    people: Mapping[str, str]  # tokens by name
    user: str = ""  # whom the cluster takes the portal for
    rules: list[Object] = field(default_factory=list)  # of the generated ClusterRole
    times: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        mark = secrets.token_hex(3)
        self.slug, self.prefix, self.since = f"{self.driver}-{mark}", f"j{mark}", self.plane.mark()

    def call(self, method: str, path: str, person: str, body: Any = None) -> Any:
        """One call of the REST API that must work."""
        status, answer = self.stack.call(method, f"/api/v1{path}", self.people[person], body)
        assert status < 300, (method, path, status, answer)
        return answer

    # What the engineer does

    def connect(self, folder: Path) -> None:
        """Download the manifest, apply it as the cluster's administrator, register the cluster with the token."""
        account = f"gatehouse-{self.prefix}"
        made = list(yaml.safe_load_all(self.manifest()))
        for one in made:  # the tests share a control plane: an account of this one's own, else as it was written
            one["metadata"]["name"] = account
            if "namespace" in one["metadata"]:
                one["metadata"]["namespace"] = account
            if one["kind"] == "ClusterRole":
                self.rules = one["rules"]
            if one["kind"] == "ClusterRoleBinding":
                one["roleRef"]["name"] = account
                one["subjects"][0] |= {"name": account, "namespace": account}
        token = self.plane.token_for(account, account, made)
        self.user = f"system:serviceaccount:{account}:{account}"
        self.plane.wait(lambda: self._counts(token), "the role to count")
        access = {"authentication": "token", "server": self.plane.server, "ca": self.plane.ca, "token": token}
        self.call("POST", "/clusters", "pat", {
            "slug": self.slug, "name": f"Test {self.driver}", "driver": self.driver, "environments": ["dev"],
            "access": access, "options": {"namespace_prefix": self.prefix},
        })  # fmt: skip
        self.tested()
        self.load(folder)
        self.call("POST", "/pools", "pat", {
            "slug": f"pool-{self.prefix}", "name": f"GPUs of {self.slug}", "cluster": self.slug, "limit": 8,
            "profiles": [self.profile],
        })  # fmt: skip

    def _counts(self, token: str) -> bool:
        """Whether the role of `token` counts already: the API server hears of it a moment after it was applied."""
        review = {
            "apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": {"verb": "list", "resource": "nodes"}},
        }  # fmt: skip
        path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
        return bool(self.plane.as_token(token).post(path, review)["status"]["allowed"])

    def tested(self) -> None:
        """The connection test finds nothing missing."""

        def good() -> bool:
            health = self.call("GET", f"/clusters/{self.slug}/health", "pat")
            return bool(health["checks"]) and not health["testing"]

        wait_for(good, SECONDS, f"a connection test of {self.slug}")
        checks = self.call("GET", f"/clusters/{self.slug}/health", "pat")["checks"]
        assert not [check for check in checks if check["verdict"] == "fail"], checks

    def manifest(self) -> str:
        """The manifest that the page offers, downloaded by the engineer in a browser session."""
        session = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(jar := http.cookiejar.CookieJar()))
        page = f"{self.stack.url}/accounts/login/"
        session.open(page, timeout=30).close()
        token = next(cookie.value or "" for cookie in jar if cookie.name == "gatehouse_csrf")
        form = {"login": "pat", "password": PASSWORD, "csrfmiddlewaretoken": token}
        request = urllib.request.Request(page, urllib.parse.urlencode(form).encode(), {"Referer": page})
        session.open(request, timeout=30).close()
        with session.open(f"{self.stack.url}/clusters/access/{self.driver}/", timeout=30) as response:
            return str(response.read().decode())

    @property
    def profile(self) -> str:
        """The hardware profile of this cluster's GPUs."""
        return f"h100-{self.prefix}"

    def load(self, folder: Path) -> None:
        """Load the profile and a model with an image by digest into the catalog, as code."""
        shipped = ROOT / "examples" / "catalog" / "models" / "granite-3.3-2b-instruct.yaml"
        model = yaml.safe_load(shipped.read_text(encoding="utf-8"))
        (version,) = model["versions"]
        version.pop("runtimes")
        version["runtime"]["image"] = IMAGE
        model |= {"slug": ASSET, "name": "Granite in a container"}
        profile = {
            "slug": self.profile, "name": f"H100 of {self.slug}", "accelerator": "nvidia-h100-80gb",
            "accelerator_count": 1, "memory_bytes": 85520809984, "price_per_hour": "2.94", "resource": GPU,
            "cpu_millis": 100, "host_memory_bytes": 2**30,
        }  # fmt: skip
        (folder / "models").mkdir(parents=True)
        (folder / "hardware-profiles.yaml").write_text(yaml.safe_dump({"profiles": [profile]}), encoding="utf-8")
        (folder / "models" / f"{ASSET}.yaml").write_text(yaml.safe_dump(model), encoding="utf-8")
        self.stack.manage("catalog", "load", str(folder), "--as", "pat", "--approve-as", "yasmine")

    # What dana does

    def body(self, name: str, **more: Any) -> Object:
        """What she asks for."""
        asked = {
            "kind": "endpoint", "project": PROJECT, "name": name, "asset": ASSET, "version": "1.0",
            "hardware_profile": self.profile, "environment": "dev", "replicas": 1, "concurrency": 8,
            "context_tokens": 4096, "purpose": "Explain a held payment.", "data_classification": "internal",
            "ends_on": time.strftime("%Y-%m-%d", time.gmtime(time.time() + 30 * 86400)),
        }  # fmt: skip
        return asked | more

    def ask(self, body: Object) -> Object:
        """Plan, request, approval: as far as the endpoint. The moment of the approval is kept."""
        plan = self.call("POST", "/requests/check", "dana", body)
        assert not [check for check in plan["checks"] if check["verdict"] == "fail"], plan["checks"]
        made = self.call("POST", "/requests", "dana", body)
        self.times.setdefault("approved", time.time())
        self.call("POST", f"/requests/{made['id']}/decisions", "pat", {"decision": "approve", "reason": "Small."})
        return dict(self.call("GET", f"/requests/{made['id']}", "dana"))

    def see(self, endpoint: str) -> Object:
        """The endpoint as the API tells it."""
        return dict(self.call("GET", f"/endpoints/{endpoint}", "dana"))

    def until(self, endpoint: str, phase: str, revision: int = 0) -> Object:
        """Wait for a phase, and for a revision where one is named."""
        seen: Object = {}

        def there() -> bool:
            nonlocal seen
            seen = self.see(endpoint)
            assert seen["phase"] != "failed" or phase == "failed", seen["reason"]
            return seen["phase"] == phase and revision in {0, seen["revision"]}

        wait_for(there, SECONDS, f"{endpoint} to be {phase}")
        return seen

    def chat(self, secret: str, name: str) -> Object:
        """One call through the gateway; the tokens that the client was told."""
        body = {
            "model": f"{PROJECT}/{name}", "max_tokens": 30,
            "messages": [{"role": "user", "content": "Why does a bank review card payments?"}],
        }  # fmt: skip
        status, answer = self.stack.call("POST", "/v1/chat/completions", secret, body, timeout=60)
        assert status == 200 and answer["choices"][0]["message"]["content"].strip(), (status, answer)
        return dict(answer["usage"])

    # What the API server has written down

    def granted(self) -> set[tuple[str, str, str]]:
        """(verb, group, resource) of the generated role."""
        return {
            (verb, group, resource)
            for rule in self.rules for verb in rule["verbs"]
            for group in rule["apiGroups"] for resource in rule["resources"]
        }  # fmt: skip

    def asked(self) -> list[Object]:
        """The requests of the portal's account."""
        return self.plane.audited(self.user, since=self.since)


def used(entries: list[Object]) -> set[tuple[str, str, str]]:
    """(verb, group, resource) of requests about objects; what everybody may ask of an API server is left out. An apply
    that made the object needed `create` beside `patch`.
    """
    found = set()
    for entry in entries:
        about = entry.get("objectRef") or {}
        if not about.get("resource") or "review" in about["resource"]:
            continue
        resource = "/".join(part for part in (about["resource"], about.get("subresource", "")) if part)
        verbs = [entry["verb"], *(["create"] if entry.get("responseStatus", {}).get("code") == 201 else [])]
        found |= {(verb, about.get("apiGroup", ""), resource) for verb in verbs}
    return found
