"""Where a request would run, before anybody decided, and whether it can there."""

from typing import Any

import pytest

from approvals import services
from approvals.sizing import place
from catalog.models import HardwareProfile
from endpoints.models import Cluster
from quotas.models import Pool
from tests.conftest import Org
from tests.factories import make_profile, make_version, request_body

CPU = HardwareProfile(slug="cpu", accelerator_count=0)


def clusters(*pairs: tuple[str, str]) -> list[Cluster]:
    """Clusters by slug and driver that serve dev."""
    return [Cluster(slug=slug, driver=driver, environments=["dev"]) for slug, driver in pairs]


def test_without_accelerators_this_machine_comes_before_clusters_that_want_images() -> None:
    """Connecting a cluster does not move the demo's endpoints there, whatever it is called."""
    known = clusters(("aachen", "kubernetes"), ("local", "local"), ("zwickau", "kserve"))
    assert place(CPU, [], known, "dev") == (None, known[1])
    assert place(CPU, [], [known[0], known[2]], "dev") == (None, known[0])
    assert place(CPU, [], known, "prod") == (None, None)


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("runtime", "verdict", "words"),
    [
        ({}, "fail", "names no image"),
        ({"image": "registry.example.com/vllm:1"}, "fail", "names an image without a digest"),
        ({"image": f"registry.example.com/vllm@sha256:{'a' * 64}"}, "pass", "is a model"),
    ],
)
def test_a_cluster_wants_an_image_by_digest(org: Org, runtime: dict[str, Any], verdict: str, words: str) -> None:
    """The plan says what would fail right after the approval."""
    Cluster.objects.create(slug="far", name="Far", driver="kubernetes", environments=["dev"])
    profile, version = make_profile(gpus=1), make_version()
    Pool.objects.create(slug="far", name="Far", cluster="far", limit=8, observed=8).profiles.add(profile)
    version.runtime |= runtime
    version.save(update_fields=["runtime"])
    body = request_body(asset=version.asset.slug, hardware_profile=profile.slug)
    plan = services.check(org.principal(org.dana), body)
    (check,) = [check for check in plan["checks"] if check["id"] == "cat-002"]
    assert (plan["cluster"], check["verdict"]) == ("far", verdict)
    assert words in check["reason"]
