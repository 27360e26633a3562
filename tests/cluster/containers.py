"""Runs the containers of pods as processes of this machine, each on a loopback address of its own, for the kubelet that
is played: what the portal calls is then what its manifest started, with the key of the pod's Secret.

There are no images: a command finds this repository's Python and code, and stands for an image that holds them.
"""

import base64
import itertools
import os
import sys
import threading
from dataclasses import dataclass, field
from pathlib import Path

from tests.cluster.api import Api, Object
from tests.cluster.component import Component
from tests.stack.conftest import ROOT

EVERY_ADDRESS = "0.0.0.0"
_places = itertools.count(2)


@dataclass
class Containers:
    """The processes of pods whose namespace begins with `prefix`, one for the first container of each."""

    api: Api
    directory: Path
    prefix: str
    _processes: dict[str, Component] = field(default_factory=dict)  # by the pod's uid
    _addresses: dict[str, str] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def takes(self, pod: Object) -> bool:
        """Whether the containers of a pod really run."""
        return str(pod["metadata"]["namespace"]).startswith(self.prefix)

    def address(self, pod: Object) -> str:
        """The pod's own address: every one of 127.0.0.0/8 is this machine."""
        with self._lock:
            uid = pod["metadata"]["uid"]
            if uid not in self._addresses:
                number = next(_places)
                self._addresses[uid] = f"127.64.{number // 250}.{number % 250 + 1}"
            return self._addresses[uid]

    def start(self, pod: Object) -> bool:
        """Start the command of a pod; False while a Secret that it wants is not there. A second start does nothing."""
        meta, container = pod["metadata"], pod["spec"]["containers"][0]
        if meta["uid"] in self._processes:
            return True
        environment = self._environment(pod, container)
        if environment is None:
            return False
        command = [str(one) for one in (*container.get("command", ()), *container.get("args", ()))]
        found = Path(sys.executable).with_name(command[0])
        arguments = [self.address(pod) if one == EVERY_ADDRESS else one for one in command[1:]]
        log = self.log(meta["namespace"], meta["name"])
        process = Component(found, arguments, log, environment | {"PYTHONPATH": str(ROOT), "PATH": os.environ["PATH"]})
        process.start()
        self._processes[meta["uid"]] = process
        return True

    def log(self, namespace: str, name: str) -> Path:
        """Where the output of a pod goes."""
        self.directory.mkdir(parents=True, exist_ok=True)
        return self.directory / f"{namespace}.{name}.log"

    def ended(self, pod: Object) -> bool:
        """Ask a pod's process to end; whether it has."""
        found = self._processes.get(pod["metadata"]["uid"])
        if found is None or not found.alive or found.process is None:
            return True
        found.process.terminate()
        return False

    def stop(self) -> None:
        """End what is left."""
        for uid in list(self._processes):
            self._processes.pop(uid).stop(kill=True)

    def _environment(self, pod: Object, container: Object) -> dict[str, str] | None:
        meta, found = pod["metadata"], dict[str, str]()
        fields = {
            "metadata.name": meta["name"], "status.podIP": self.address(pod), "spec.nodeName": pod["spec"]["nodeName"],
        }  # fmt: skip
        for one in container.get("env", []):
            source = one.get("valueFrom", {})
            if "secretKeyRef" in source:
                wanted = source["secretKeyRef"]
                secret = self.api.find(f"/api/v1/namespaces/{meta['namespace']}/secrets/{wanted['name']}")
                if secret is None and not wanted.get("optional"):
                    return None
                if secret is not None:
                    found[one["name"]] = base64.b64decode(secret["data"][wanted["key"]]).decode()
            elif "fieldRef" in source:
                found[one["name"]] = str(fields[source["fieldRef"]["fieldPath"]])
            else:
                found[one["name"]] = str(one.get("value", ""))
        return found
