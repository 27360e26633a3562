"""KServe's own resource definitions accept what the driver writes, and refuse a field that they do not know."""

from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest
import yaml

from endpoints.clusters.kserve import manifests
from tests.cluster.binaries import find_kserve
from tests.cluster.fixtures import needed
from tests.endpoints.kubernetes_kit import KEY, place, workload

pytestmark = pytest.mark.slow
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
KINDS = (("", "inferenceservices", "v1beta1"), ("llm", "llminferenceservices", "v1alpha2"))


def strict(schema: Any) -> Any:
    """Return the schema of a definition as an API server reads it: fields that it does not name are refused."""
    if isinstance(schema, list):
        return [strict(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    found = {key: strict(value) for key, value in schema.items() if key != "format"}
    if schema.get("x-kubernetes-int-or-string"):
        found["type"] = ["integer", "string"]
    closed = "properties" in schema and not schema.get("x-kubernetes-preserve-unknown-fields")
    if closed and isinstance(schema["properties"], dict) and schema.get("type") == "object":
        found.setdefault("additionalProperties", False)
    return found


@pytest.fixture(scope="module")
def definitions() -> Path:
    return needed(find_kserve())


@pytest.mark.parametrize(("api", "plural", "version"), KINDS)
def test_the_definition_accepts_it(definitions: Path, api: str, plural: str, version: str) -> None:
    (path,) = definitions.rglob(f"serving.kserve.io_{plural}.yaml")
    definition = yaml.load(path.read_text(encoding="utf-8"), LOADER)
    served = next(one for one in definition["spec"]["versions"] if one["name"] == version)
    schema = strict(served["schema"]["openAPIV3Schema"])
    schema["properties"]["metadata"] = {"type": "object"}
    judge = jsonschema.Draft4Validator(schema)
    for wanted in (
        workload(),
        workload(weight=10),
        workload(replicas=0),
        workload(replicas=2, tolerations=({"key": "a", "operator": "Exists"},)),
    ):
        written = manifests.objects(place(settings={"serving_api": api}), wanted, KEY)
        found = next(one for one in written if "serving.kserve.io" in one["apiVersion"])
        assert [f"{list(one.absolute_path)}: {one.message[:200]}" for one in judge.iter_errors(found)] == []
        assert not judge.is_valid({**found, "spec": {**found["spec"], "surprise": 1}})
