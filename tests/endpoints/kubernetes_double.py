"""A tiny API server in memory for what a real one cannot do on demand: fail at each single call. It knows objects,
label selectors, server-side apply as a merge, and a controller that makes ready pods of Deployments.

What a cluster really does is tested in tests/cluster.
"""

import copy
import functools
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from endpoints.clusters.kubernetes import errors
from tests.endpoints.kubernetes_kit import Said, recorded

PATH = re.compile(r"/(api/v1|apis/[^/]+/[^/]+)(?:/namespaces/([^/]+))?/([a-z]+)(?:/([^/]+))?")
READY = {
    "phase": "Running", "podIP": "127.0.0.1", "conditions": [{"type": "Ready", "status": "True"}],
    "containerStatuses": [{"name": "engine", "restartCount": 0, "state": {"running": {}}}],
}  # fmt: skip
FAILED = json.dumps({"kind": "Status", "message": "it failed", "code": 500}).encode()
Key = tuple[str, str, str]  # plural, namespace, name


class Double:
    """Objects by kind, namespace and name. `fails` says of each call, by its number from 0, whether it fails: "before"
    or "after" it had its effect.
    """

    def __init__(self) -> None:
        self.objects: dict[Key, dict[str, Any]] = {}
        self.calls, self.writes = 0, list[str]()
        self.fails: dict[int, str] = {}
        self._counted = {"uid": 0, "version": 0}

    def exchange(self, method: str, path: str, query: Mapping[str, str], body: Any, kind: str) -> bytes:
        """Answer one call as the connection of a client would; raises ClusterError."""
        how = self.fails.get(self.calls, "")
        self.calls += 1
        if how == "before":
            raise errors.answered(500, FAILED, {})
        said = self._answer(method, path, query, body)
        self._control()
        if how == "after":
            raise errors.answered(500, FAILED, {})
        data = json.dumps(said.body).encode()
        if said.status >= 400:
            raise errors.answered(said.status, data, {})
        return data

    def snapshot(self) -> Any:
        """Return what `restore` takes: everything that is there now."""
        return copy.deepcopy((self.objects, self._counted))

    def restore(self, snapshot: Any) -> None:
        """Be again as at the time of a snapshot."""
        self.objects, self._counted = copy.deepcopy(snapshot)

    def of(self, plural: str) -> list[dict[str, Any]]:
        """Return all objects of one kind."""
        return [one for key, one in self.objects.items() if key[0] == plural]

    def _answer(self, method: str, path: str, query: Mapping[str, str], body: Any) -> Said:
        found = PATH.fullmatch(path)
        if found is None:
            return Said(404, recorded("err-not-found-404")["body"])
        _, namespace, plural, name = found.groups()
        key = (plural, namespace or "", name or "")
        if method == "POST":
            return self._create((plural, namespace or "", body["metadata"].get("name", "")), query, body)
        if not name:
            return Said(200, {"items": list(self._chosen(plural, namespace or "", query))})
        if method == "PATCH" and "dryRun" in query:
            return self._dry(key, query, body)
        if method == "PATCH" and isinstance(body, list):
            return self._operate(key, body)
        if method == "PATCH":
            return Said(200, self._merge(key, body))
        if key not in self.objects:
            return Said(404, recorded("err-not-found-404")["body"])
        if method == "DELETE":
            self.writes.append(f"DELETE {plural}")
            del self.objects[key]
            return Said(200, {"kind": "Status", "status": "Success"})
        return Said(200, self.objects[key])

    def _chosen(self, plural: str, namespace: str, query: Mapping[str, str]) -> Iterator[dict[str, Any]]:
        wanted = [part.partition("=") for part in query.get("labelSelector", "").split(",") if part]
        for key, one in self.objects.items():
            labels = one["metadata"].get("labels") or {}
            fits = all(name in labels and (not equals or labels[name] == value) for name, equals, value in wanted)
            if key[0] == plural and namespace in ("", key[1]) and fits:
                yield one

    def _create(self, key: Key, query: Mapping[str, str], body: dict[str, Any]) -> Said:
        if "dryRun" in query:
            return Said(201, body)
        if key in self.objects:
            return Said(409, recorded("err-already-exists-409")["body"])
        return Said(201, self._merge(key, body))

    def _dry(self, key: Key, query: Mapping[str, str], body: dict[str, Any]) -> Said:
        """Say what an apply would make of an object; one that takes nothing from anybody fails at what others hold."""
        old = self.objects.get(key)
        if old and old["metadata"].get("managedFields") and query.get("force") == "false":
            holder = old["metadata"]["managedFields"][-1]["manager"]
            cause = {"reason": "FieldManagerConflict", "message": f'conflict with "{holder}"', "field": ".data.key"}
            said = {"kind": "Status", "reason": "Conflict", "code": 409, "details": {"causes": [cause]}}
            return Said(409, said)
        return Said(200, _merged(old or {}, body))

    def _operate(self, key: Key, operations: list[dict[str, Any]]) -> Said:
        """Do the operations of a JSON patch, all or none."""
        found = copy.deepcopy(self.objects.get(key))
        for one in operations:
            *way, last = [part.replace("~1", "/").replace("~0", "~") for part in one["path"].split("/")[1:]]
            place = functools.reduce(lambda there, part: (there or {}).get(part), way, found)
            if place is None or (one["op"] != "add" and last not in place):
                return Said(422, {"kind": "Status", "reason": "Invalid", "message": f"no {one['path']}", "code": 422})
            if one["op"] == "test" and place[last] != one["value"]:
                return Said(422, {"kind": "Status", "reason": "Invalid", "message": "the test failed", "code": 422})
            if one["op"] == "remove":
                del place[last]
            elif one["op"] != "test":
                place[last] = one["value"]
        if found is None:
            return Said(404, recorded("err-not-found-404")["body"])
        self.writes.append(f"PATCH {key[0]}")
        self.objects[key] = found
        return Said(200, found)

    def _merge(self, key: Key, body: dict[str, Any]) -> dict[str, Any]:
        old = self.objects.get(key)
        new = _merged(old or {}, body)
        if new != old:
            self.writes.append(f"PATCH {key[0]}")
            born = {
                "uid": f"uid-{self._next('uid')}", "creationTimestamp": f"2026-11-29T10:00:{len(self.objects):02}Z"
            }  # fmt: skip
            version = self._next("version")
            changed = {"resourceVersion": str(version), "generation": version}
            new["metadata"] = born | new["metadata"] | changed
            self.objects[key] = new
        return self.objects[key]

    def _next(self, what: str) -> int:
        self._counted[what] += 1
        return self._counted[what]

    def _control(self) -> None:
        """Make the pods that Deployments want, end those that none wants, and say so."""
        deployments = {(one["metadata"]["namespace"], one["metadata"]["name"]): one for one in self.of("deployments")}
        for key in [key for key in self.objects if key[0] == "pods"]:
            owner, place = key[2].rsplit(".", 1)
            if (key[1], owner) not in deployments or int(place) >= deployments[key[1], owner]["spec"]["replicas"]:
                del self.objects[key]
        for (namespace, name), one in deployments.items():
            for number in range(one["spec"]["replicas"]):
                template, pod = one["spec"]["template"], f"{name}.{number}"
                if ("pods", namespace, pod) not in self.objects:
                    born = {"uid": f"uid-{self._next('uid')}", "creationTimestamp": f"2026-11-29T10:01:{number:02}Z"}
                    meta = {**template["metadata"], "name": pod, "namespace": namespace, **born}
                    self.objects["pods", namespace, pod] = {"metadata": meta, "spec": template["spec"], "status": READY}
            one["status"] = {"observedGeneration": one["metadata"]["generation"], "replicas": one["spec"]["replicas"]}


def _merged(old: Any, new: Any) -> Any:
    if not isinstance(old, dict) or not isinstance(new, dict):
        return copy.deepcopy(new)
    # A selector is one value to a real server, too.
    whole = {key: copy.deepcopy(value) for key, value in new.items() if key.lower().endswith("selector")}
    return {**old, **{key: _merged(old.get(key), value) for key, value in new.items()}, **whole}
