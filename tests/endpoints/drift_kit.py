"""Editing objects of the API server double by hand, as another field manager would."""

import itertools
from typing import Any

from endpoints.clusters.kubernetes.client import Client
from endpoints.models import Endpoint
from endpoints.services import Authorization, open_endpoint
from tests import factories
from tests.endpoints.endpoint_kit import is_in, until
from tests.endpoints.kubernetes_double import Double, Key
from tests.endpoints.kubernetes_kit import IMAGE

_numbers = itertools.count(1)
AT = "2026-11-29T12:00:00Z"


def connect(monkeypatch: Any) -> Double:
    """An API server in memory behind every client."""
    made = Double()
    monkeypatch.setattr(Client, "_exchange", lambda client, *call: made.exchange(*call))
    return made


def key_of(double: Double, plural: str, part: str = "") -> Key:
    """The object of a kind whose name holds `part`."""
    (found,) = [key for key in double.objects if key[0] == plural and part in key[2]]
    return found


def edit(
    double: Double, key: Key, path: str, value: Any, *, by: str = "kubectl-edit", at: str = AT, how: str = "Update"
) -> None:
    """Set what stands at `path` (a/b/name=engine/c; None takes it away) and note who did."""
    found = double.objects[key]
    node: Any = found
    fields: dict[str, Any] = {}
    inner = fields
    *way, last = path.split("/")
    for part in way:
        if isinstance(node, list):
            name, _, value_of = part.partition("=")
            node = node[int(part)] if part.isdigit() else next(one for one in node if one[name] == value_of)
            inner = inner.setdefault(f'k:{{"{name}":"{value_of}"}}', {})
        else:
            node = node.setdefault(part, {})
            inner = inner.setdefault(f"f:{part}", {})
    if value is None:
        del node[last]
    else:
        node[last] = value
        inner[f"f:{last}"] = {}
    entry = {"manager": by, "operation": how, "time": at, "fieldsType": "FieldsV1", "fieldsV1": fields}
    meta = found["metadata"]
    meta["managedFields"] = [*meta.get("managedFields", []), entry]
    meta["resourceVersion"] = str(int(meta["resourceVersion"]) + 1000)


def on_a_cluster(org: Any, *, cluster: Any = None, replicas: int = 2, seconds: float = 20, **fields: Any) -> Endpoint:
    """An endpoint that runs on a registered cluster, ready within so many seconds, as its worker left it."""
    asset = fields.pop("asset", None)
    version = fields.pop("version", None) or factories.make_version(asset=asset)
    runtime = {"engine": "vllm", "image": IMAGE, "command": None} | fields.pop("runtime", {})
    version.runtime = {name: value for name, value in runtime.items() if value is not None}
    version.save(update_fields=["runtime"])
    given: dict[str, Any] = {
        "project": org.fraud, "name": f"scoring-{next(_numbers)}", "environment": "dev",
        "cluster": cluster or factories.make_place(org.pat), "version": version, "replicas": replicas,
        "profile": factories.make_profile(), "concurrency": 8, "context_tokens": 4096, "purpose": "Score payments.",
        "data_classification": "internal", "created_by": org.dana, "authorization": Authorization("R-1", "sha256:abc"),
    } | fields  # fmt: skip
    return until(open_endpoint(factories.engineer(), **given), is_in("ready"), seconds)
