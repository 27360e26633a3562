"""Reading what there is of a Deployment as a driver does, and waiting until it is explained."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from endpoints.clusters.explaining import Explanation, Seen, explain, explain_error
from tests.cluster.api import Api, Object, Refused
from tests.cluster.kubelet import Kubelet
from tests.cluster.plane import Plane

Told = Callable[[Object, str], Explanation]


def look(api: Api, namespace: str, name: str) -> Seen:
    """Return what there is of a Deployment, as a driver reads it."""
    apps, core = f"/apis/apps/v1/namespaces/{namespace}", f"/api/v1/namespaces/{namespace}"
    return Seen(
        deployment=api.find(f"{apps}/deployments/{name}"),
        replica_sets=api.items(f"{apps}/replicasets", labelSelector=f"app={name}"),
        pods=api.items(f"{core}/pods", labelSelector=f"app={name}"),
        events=api.items(f"{core}/events"),
        quota=next(iter(api.items(f"{core}/resourcequotas")), None),
        namespace=api.find(core),
    )


def told_as(plane: Plane, namespace: str, name: str, code: str) -> Explanation:
    """Return how a Deployment is explained, as soon as it is by `code`."""
    last: Explanation | None = None

    def explained() -> Explanation | None:
        nonlocal last
        last = explain(look(plane.api, namespace, name), datetime.now(UTC))
        return last if last is not None and last.code == code else None

    found: Explanation = plane.wait(explained, f"{code}, last: {last}")
    return found


def refused(api: Api, method: str, path: str, body: Any = None, **options: Any) -> Explanation:
    """Return what a call that fails means."""
    with pytest.raises(Refused) as error:
        api.call(method, path, body, **options)
    return explain_error(error.value.status, error.value.body)


@pytest.fixture
def told(plane: Plane, kubelet: Kubelet, namespace: str) -> Told:
    """Applies an object and waits until it is explained by the code that is expected."""

    def tell(wanted: Object, code: str) -> Explanation:
        plane.api.apply(wanted, namespace)
        return told_as(plane, namespace, wanted["metadata"]["name"], code)

    return tell
