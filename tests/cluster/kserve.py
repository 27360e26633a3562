"""KServe and the Gateway API on the tests' control plane: their resource definitions, and when they are built, KServe's
real controllers with the few things that they want to find.

There is no gateway: `Gateways` says of every Gateway, HTTPRoute and InferencePool what a gateway's controller would.
"""

import base64
import json
import re
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import requests
import yaml

from tests.cluster.api import Api, Object, Refused
from tests.cluster.certificates import Authority
from tests.cluster.component import Component
from tests.stack.conftest import free_port, wait_for

DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
NAMESPACE = "kserve"
ROUTES = "gateway.networking.k8s.io/v1"
POOLS = "inference.networking.k8s.io/v1"
CONVERTED = ("llminferenceservices", "llminferenceserviceconfigs")  # stored as v1alpha2, served as v1alpha1 too
# Every definition makes the server build its description of everything anew, so only what KServe asks for.
LEFT_OUT = re.compile(
    r"backendtlspolicies|grpcroutes|listenersets|tcproutes|tlsroutes|inferencemodelrewrites|inferencepoolimports|localmodel"
)
START_SECONDS = 240


def define(api: Api, manifests: Path) -> None:
    """Create the resource definitions and wait until all are served; those that are there already stay as they are."""
    names = []
    for path in sorted((manifests / "crds").rglob("*.yaml")):
        if LEFT_OUT.search(path.stem):
            continue
        group, _, plural = path.stem.partition("_")
        names.append(f"{plural}.{group}")
        wait_for(partial(_create, api, path.read_bytes()), START_SECONDS, f"the server to take {path.name}")

    def served(name: str) -> bool:
        conditions = api.get(f"{DEFINITIONS}/{name}").get("status", {}).get("conditions") or []
        return any(found["type"] == "Established" and found["status"] == "True" for found in conditions)

    wait_for(lambda: all(served(name) for name in names), START_SECONDS, "the resource definitions to be served")


def _create(api: Api, text: bytes) -> bool:
    """Create a definition from its YAML, which is not read here: it has megabytes. To create costs the server half of
    what an apply does, and a busy one may not be through in its minute.
    """
    try:
        api.call("POST", DEFINITIONS, text, kind="application/yaml", fieldManager="tests")
    except Refused as error:
        if error.status >= 500:
            raise OSError(str(error)) from error
        if error.status != 409:
            raise
    return True


def _documents(folder: Path) -> list[Object]:
    return [
        found
        for path in sorted(folder.glob("*.yaml"))
        for found in yaml.safe_load_all(path.read_text(encoding="utf-8"))
        if found
    ]


class Controllers:
    """KServe's manager and its controller of LLMInferenceServices, started by `start`."""

    def __init__(self, api: Api, manifests: Path, programs: Path, directory: Path, kubeconfig: Path) -> None:
        self.api, self.manifests, self.programs, self.directory = api, manifests, programs, directory
        directory.mkdir(parents=True, exist_ok=True)
        self.authority = Authority(directory / "certificates")
        self.kubeconfig = kubeconfig
        self.components: dict[str, Component] = {}
        self.gateways = Gateways(api)

    def start(self) -> None:
        """Lay out what the controllers want, start them, and let the API server ask their webhooks."""
        self._furnish()
        ports = {name: (free_port(), free_port()) for name in ("manager", "llmisvc")}
        for name, (webhooks, probes) in ports.items():
            self.components[name] = self._component(name, webhooks, probes)
            self.components[name].start()
        self.gateways.start()
        for name, (_, probes) in ports.items():
            address = f"http://127.0.0.1:{probes}/readyz"
            ready = _answers(address)
            wait_for(ready, START_SECONDS, f"KServe's {name} to be ready; {self.components[name].complaint()}")
        self._register("webhook", ports["manager"][0])
        self._register("llmisvc", ports["llmisvc"][0])
        self._convert(ports["llmisvc"][0])
        # Presets and runtimes pass the webhooks, so they come after them.
        for thing in _documents(self.manifests / "llmisvcconfig"):
            self._apply_soon(thing)
        for thing in _documents(self.manifests / "runtimes"):
            if thing["metadata"]["name"] == "kserve-vllmserver":
                self._apply_soon(thing)

    def stop(self) -> None:
        """End them; their webhooks stay registered and would refuse everything, so this is for the end of a plane."""
        self.gateways.stop()
        for component in self.components.values():
            component.stop(kill=True)

    def _furnish(self) -> None:
        self.api.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
        (config,) = _documents(self.manifests / "configmap")
        config["data"].pop("_example", None)
        ingress = json.loads(config["data"]["ingress"]) | {"enableGatewayApi": True}
        config["data"] |= {
            "ingress": json.dumps(ingress),
            "deploy": json.dumps({"defaultDeploymentMode": "Standard"}),
        }
        listener = {"name": "http", "protocol": "HTTP", "port": 80, "allowedRoutes": {"namespaces": {"from": "All"}}}
        gateway_class = {
            "apiVersion": ROUTES, "kind": "GatewayClass", "metadata": {"name": "fake"},
            "spec": {"controllerName": Gateways.NAME},
        }  # fmt: skip
        gateway = {
            "apiVersion": ROUTES, "kind": "Gateway",
            "metadata": {"name": "kserve-ingress-gateway", "namespace": NAMESPACE},
            "spec": {"gatewayClassName": "fake", "listeners": [listener]},
        }  # fmt: skip
        self.api.apply([config, gateway_class, gateway])

    def _component(self, name: str, webhooks: int, probes: int) -> Component:
        home = self.directory / name
        serving = home / "k8s-webhook-server" / "serving-certs"  # below TMPDIR, where controller-runtime looks
        serving.mkdir(parents=True)
        pair = self.authority.issue(name)
        (serving / "tls.crt").write_bytes(pair.certificate.read_bytes())
        (serving / "tls.key").write_bytes(pair.key.read_bytes())
        arguments = [
            f"--webhook-port={webhooks}",
            f"--health-probe-addr=127.0.0.1:{probes}",
            "--metrics-addr=0",
            "--zap-log-level=error",
        ]
        environment = {"KUBECONFIG": str(self.kubeconfig), "TMPDIR": str(home), "POD_NAMESPACE": NAMESPACE}
        return Component(self.programs / name, arguments, self.directory / f"{name}.log", environment)

    def _client(self, port: int, path: str) -> Object:
        ca = base64.b64encode(self.authority.certificate.read_bytes()).decode()
        return {"url": f"https://127.0.0.1:{port}{path}", "caBundle": ca}

    def _register(self, which: str, port: int) -> None:
        """Apply the webhook configurations with addresses of this machine in place of services."""
        for thing in yaml.safe_load_all((self.manifests / "webhook" / f"{which}-manifests.yaml").read_text("utf-8")):
            if thing is None:
                continue
            thing["metadata"].pop("creationTimestamp", None)
            for hook in thing["webhooks"]:
                hook["clientConfig"] = self._client(port, hook["clientConfig"]["service"]["path"])
            self.api.apply(thing)

    def _convert(self, port: int) -> None:
        webhook = {"clientConfig": self._client(port, "/convert"), "conversionReviewVersions": ["v1", "v1beta1"]}
        for plural in CONVERTED:
            body = {"spec": {"conversion": {"strategy": "Webhook", "webhook": webhook}}}
            self.api.patch(f"{DEFINITIONS}/{plural}.serving.kserve.io", body)

    def _apply_soon(self, thing: Object) -> None:
        """Apply once the webhook listens to the API server."""

        def done() -> Any:
            try:
                return self.api.apply(thing, NAMESPACE)
            except Refused as error:
                if error.status < 500:
                    raise
                raise OSError(str(error)) from error

        wait_for(done, START_SECONDS, f"KServe to take {thing['metadata']['name']}")


def _answers(address: str) -> Callable[[], bool]:
    return lambda: requests.get(address, timeout=5).status_code == 200


class Gateways:
    """Plays the controller of a gateway: all that is there is accepted and programmed."""

    NAME = "gatehouse.example/fake-gateway"

    def __init__(self, api: Api) -> None:
        self.api, self._ended = api, threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin to watch."""
        self._thread = threading.Thread(target=self._run, name="fake-gateway", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End."""
        self._ended.set()
        if self._thread is not None:
            self._thread.join(timeout=10)

    def _run(self) -> None:
        while not self._ended.wait(0.3):
            try:
                for thing in self.api.items(f"/apis/{ROUTES}/gateways"):
                    self._say(ROUTES, "gateways", thing, self._gateway(thing))
                for thing in self.api.items(f"/apis/{ROUTES}/httproutes"):
                    self._say(ROUTES, "httproutes", thing, self._route(thing))
                for thing in self.api.items(f"/apis/{POOLS}/inferencepools"):
                    self._say(POOLS, "inferencepools", thing, self._pool(thing))
            except (requests.RequestException, Refused):
                continue

    def _conditions(self, thing: Object, *kinds: str) -> list[Object]:
        number, at = thing["metadata"]["generation"], thing["metadata"]["creationTimestamp"]
        told = {"status": "True", "observedGeneration": number, "lastTransitionTime": at, "message": ""}
        return [{"type": kind, "reason": kind, **told} for kind in kinds]

    def _gateway(self, thing: Object) -> Object:
        status = {"conditions": self._conditions(thing, "Accepted", "Programmed")}
        return status | {"addresses": [{"type": "IPAddress", "value": "127.0.0.1"}]}

    def _route(self, thing: Object) -> Object:
        conditions = self._conditions(thing, "Accepted", "ResolvedRefs")
        parents = [
            {"parentRef": parent, "controllerName": self.NAME, "conditions": conditions}
            for parent in thing["spec"].get("parentRefs", [])
        ]
        return {"parents": parents}

    def _pool(self, thing: Object) -> Object:
        conditions = self._conditions(thing, "Accepted", "ResolvedRefs")
        parent = {"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "kserve-ingress-gateway"}
        return {"parents": [{"parentRef": parent | {"namespace": NAMESPACE}, "conditions": conditions}]}

    def _say(self, version: str, plural: str, thing: Object, status: Object) -> None:
        seen = thing.get("status", {})
        listed = [seen, *seen.get("parents", [])]
        known = [found for part in listed for found in part.get("conditions", []) if found["status"] == "True"]
        if any(found.get("observedGeneration") == thing["metadata"]["generation"] for found in known):
            return
        meta = thing["metadata"]
        path = f"/apis/{version}/namespaces/{meta['namespace']}/{plural}/{meta['name']}/status"
        self.api.patch(path, {"status": status})
