"""KServe's controllers for the API server in memory: out of each of their objects comes a Deployment, whose pods begin
when the Secret that they name is there, and goes when the object goes or is stopped.

They follow one call later, as real ones do: what was written is seen before anything came of it.
"""

from typing import Any

from endpoints.clusters.explaining.kserve import STOP
from endpoints.clusters.kubernetes.owned import annotation
from tests.endpoints.kubernetes_double import READY, Double, Key, _merged

INFERENCE_SERVICES, LLM = "inferenceservices", "llminferenceservices"
NOT_COPIED = "kubectl.kubernetes.io/last-applied-configuration"
Object = dict[str, Any]


class KServeDouble(Double):
    """A cluster with KServe."""

    def _merge(self, key: Key, body: Object) -> Object:
        """Take what is applied; of KServe's objects what is not in it any more goes."""
        old = self.objects.get(key)
        if old is not None and key[0] in (INFERENCE_SERVICES, LLM):
            kept = {
                name: old["metadata"][name] for name in ("uid", "creationTimestamp", "resourceVersion", "generation")
            }
            bare = {**old, "spec": {}, "metadata": kept}
            if _merged(bare, body) == old:
                return old
            self.objects[key] = bare
        return super()._merge(key, body)

    def _control(self) -> None:
        before = {key for key in self.objects if key[0] == "pods"}
        super()._control()
        for key, pod in self.objects.items():
            if key[0] == "pods" and (key not in before or pod["status"] != READY):
                pod["status"] = self._begun(pod)
        for kind in (INFERENCE_SERVICES, LLM):
            for service in self.of(kind):
                if annotation(service, STOP) != "true":
                    self._make(kind, service)
        wanted = {one["metadata"]["uid"] for one in self._services() if annotation(one, STOP) != "true"}
        for key, one in list(self.objects.items()):
            owners = {owner["uid"] for owner in one["metadata"].get("ownerReferences", ())}
            if owners and not owners & wanted:
                del self.objects[key]
        for service in self._services():
            self._tell(service)

    def _services(self) -> list[Object]:
        return self.of(INFERENCE_SERVICES) + self.of(LLM)

    def _begun(self, pod: Object) -> Object:
        """Return the status of a pod: ready, or that it waits for a Secret."""
        variables = [one for each in pod["spec"]["containers"] for one in each.get("env", ())]
        named = [found for one in variables if (found := (one.get("valueFrom") or {}).get("secretKeyRef"))]
        for one in named:
            if not one.get("optional") and ("secrets", pod["metadata"]["namespace"], one["name"]) not in self.objects:
                said = {"reason": "CreateContainerConfigError", "message": f'secret "{one["name"]}" not found'}
                waits = {"name": pod["spec"]["containers"][0]["name"], "restartCount": 0, "state": {"waiting": said}}
                return {"phase": "Pending", "containerStatuses": [waits]}
        return READY

    def _make(self, kind: str, service: Object) -> None:
        """Write the Deployment of an object of KServe's."""
        meta, spec = service["metadata"], service["spec"]
        owner = {"apiVersion": service["apiVersion"], "kind": service["kind"], "name": meta["name"], "uid": meta["uid"]}
        if kind == LLM:
            name, replicas, template = f"{meta['name']}-kserve", spec["replicas"], spec["template"]
            labels = {
                "app.kubernetes.io/name": meta["name"], "app.kubernetes.io/component": "llminferenceservice-workload"
            }  # fmt: skip
            own: Object = {"labels": labels}
            pods = {"labels": {**spec["labels"], **labels}, "annotations": spec["annotations"]}
        else:
            predictor = dict(spec["predictor"])
            name, replicas, template = f"{meta['name']}-predictor", predictor["minReplicas"], predictor
            notes = {key: value for key, value in meta["annotations"].items() if key != NOT_COPIED}
            own = pods = {"labels": {**meta["labels"], "component": "predictor"}, "annotations": notes}
        made = {**own, "name": name, "namespace": meta["namespace"], "ownerReferences": [owner]}
        body = {
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": made,
            "spec": {"replicas": replicas, "template": {"metadata": pods, "spec": template}},
        }  # fmt: skip
        live = self.objects.get(("deployments", meta["namespace"], name))
        if live is None or _merged(live, body) != live:
            self._merge(("deployments", meta["namespace"], name), body)

    def _tell(self, service: Object) -> None:
        """Say in the status whether its pods are ready."""
        uids, stopped = {service["metadata"]["uid"]}, annotation(service, STOP) == "true"
        made = [
            one["metadata"]["name"]
            for one in self.of("deployments")
            if uids & {owner["uid"] for owner in one["metadata"].get("ownerReferences", ())}
        ]
        pods = [one for one in self.of("pods") if one["metadata"]["name"].rsplit(".", 1)[0] in made]
        ready = bool(pods) and all(one["status"] == READY for one in pods) and not stopped
        service["status"] = {
            "conditions": [{"type": "Ready", "status": str(ready)}, {"type": "Stopped", "status": str(stopped)}],
            "url": f"http://{service['metadata']['name']}.models.example.com",
        }
