"""From rows to what a driver is told."""

from pathlib import Path
from typing import Any

import pytest

from catalog.models import HardwareProfile, Pin, PinState, Version
from endpoints.clusters import ClusterError, Workload
from endpoints.clusters.local import LocalDriver
from endpoints.drivers import driver_for, place, workload
from endpoints.fleet.credentials import Credential, seal
from endpoints.models import Authentication, Cluster, Endpoint
from quotas.models import Pool, Quota, QuotaKind
from tests import factories
from tests.conftest import Org
from tests.endpoints.endpoint_kit import open_demo
from tests.endpoints.kubernetes_kit import IMAGE

pytestmark = pytest.mark.django_db


def told(endpoint: Endpoint, **profile: Any) -> Workload:
    """What a driver is told of an endpoint whose profile was changed."""
    revision = endpoint.revision
    assert revision is not None
    HardwareProfile.objects.filter(pk=revision.profile_id).update(**profile)
    fresh = type(revision).objects.select_related("version", "profile").get(pk=revision.pk)
    return workload(endpoint, fresh, 1)


def test_the_row_of_a_cluster_says_where_it_is_and_how_to_get_in(settings: Any, tmp_path: Path) -> None:
    settings.STATE_DIR = tmp_path
    cluster = Cluster.objects.create(
        slug="east", name="East", driver="local", server="https://10.0.0.1:6443", ca="pem", options={"a": "b"},
        authentication=Authentication.TOKEN, credential=seal(Credential(token="very-secret")),
    )  # fmt: skip
    found = place(cluster)
    assert (found.slug, found.server, found.ca, found.token) == ("east", cluster.server, "pem", "very-secret")
    assert found.settings == {"a": "b", "admission": "off"} and not found.in_cluster and found.state_dir == tmp_path
    assert "very-secret" not in repr(found)
    assert isinstance(driver_for(cluster), LocalDriver)
    cluster.authentication, cluster.credential = Authentication.IN_CLUSTER, ""
    assert place(cluster).in_cluster
    cluster.driver = "nothing"
    with pytest.raises(ClusterError) as caught:
        driver_for(cluster)
    assert caught.value.code == "driver_missing"


def test_the_local_driver_is_told_what_it_always_was(org: Org) -> None:
    found = told(open_demo(org.fraud))
    assert (found.memory_bytes, found.accelerators, found.resource, found.arguments) == (4 * 2**30, 0, "", ())
    assert found.accelerator_limit is None and found.host_memory_bytes == 4 * 2**30
    assert (found.environment_name, found.approval) == ("dev", "R-1")


def test_the_profile_says_what_a_node_calls_it(org: Org) -> None:
    endpoint = open_demo(org.fraud, gpus=2)
    plain = told(endpoint)
    assert (plain.resource, plain.accelerators, plain.memory_bytes) == ("nvidia.com/gpu", 2, None)
    assert plain.host_memory_bytes == 2 * 4 * 2**30
    taint = {"key": "gpu", "operator": "Exists", "value": "", "effect": "NoSchedule"}
    found = told(
        endpoint, resource="nvidia.com/mig-1g.10gb", node_selector={"a": "b"}, tolerations=[taint], cpu_millis=2500,
        host_memory_bytes=2**34,
    )  # fmt: skip
    assert (found.resource, found.node_selector, found.tolerations) == ("nvidia.com/mig-1g.10gb", {"a": "b"}, (taint,))
    assert (found.cpu_millis, found.host_memory_bytes) == (2500, 2**34)


def test_the_namespace_is_bounded_by_the_quota_or_by_the_pools(org: Org) -> None:
    endpoint = open_demo(org.fraud, gpus=1)
    assert told(endpoint).accelerator_limit == 0
    Pool.objects.create(slug="gpu", name="GPU", cluster=endpoint.cluster.slug, limit=8, observed=8)
    Pool.objects.create(slug="other", name="Other", cluster="elsewhere", limit=4, observed=4)
    assert told(endpoint).accelerator_limit == 8
    Quota.objects.create(project=org.fraud, kind=QuotaKind.GPUS, hard=3)
    assert told(endpoint).accelerator_limit == 3


def test_what_runs_is_what_was_pinned(org: Org) -> None:
    version = factories.make_version()
    runtime = {"engine": "vllm", "model": "acme/granite", "image": IMAGE, "command": ["vllm", "serve", "{model}"]}
    Version.objects.filter(pk=version.pk).update(runtime=runtime, source="hf://acme/granite@main")
    version.refresh_from_db()
    endpoint = open_demo(org.fraud, gpus=2, version=version)
    assert told(endpoint).arguments == ("--revision", "main", "--tensor-parallel-size", "2")
    Pin.objects.update_or_create(version=version, defaults={"state": PinState.RESOLVED, "revision": "0123abcd"})
    found = told(endpoint)
    assert found.source == "hf://acme/granite@0123abcd" and found.arguments[:2] == ("--revision", "0123abcd")
    assert found.image == IMAGE
