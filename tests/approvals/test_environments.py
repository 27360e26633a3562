"""dev, staging and prod of one model side by side: each planted difference is found; foreign projects are hidden."""

import csv
import io
import re
import uuid
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from approvals.environments.strands import ENVIRONMENTS, FACETS, Spot, strands
from approvals.models import Request
from catalog.models import Version
from endpoints.differences.models import DriftLook, LiveDifference
from endpoints.models import Endpoint, Revision
from quotas.models import Quota
from tests import factories
from tests.conftest import Org

IMAGE = f"registry.example.com/vllm@sha256:{'a' * 64}"


def spot(environment: str, name: str = "", **fields: Any) -> Spot:
    """One endpoint in the matrix."""
    given: dict[str, Any] = {
        "pk": uuid.uuid4(), "name": name or f"scoring-{environment}", "project": "fraud", "asset": 1,
        "environment": environment, "cluster": "lab", "phase": "ready", "number": 1, "version": "1.0",
    }  # fmt: skip
    return Spot(**{**given, **fields})


def test_endpoints_of_one_name_stand_in_one_row() -> None:
    found = strands(
        [spot("prod"), spot("dev", "scoring"), spot("staging"), spot("dev", "chat"), spot("prod", "chat-prod")]
    )
    assert [(one.name, [one.spots[env].name for env in ENVIRONMENTS if env in one.spots]) for one in found] == [
        ("chat", ["chat", "chat-prod"]), ("scoring", ["scoring", "scoring-staging", "scoring-prod"]),
    ]  # fmt: skip


def test_promotion_counts_more_than_a_name_and_a_model_more_than_nothing() -> None:
    source = spot("dev", "chat")
    found = strands([source, spot("dev", "scoring"), spot("staging", "scoring-staging", source=source.pk)])
    assert [one.spots["staging"].name for one in found if "staging" in one.spots and one.name == "chat"]
    (one,) = strands([spot("dev", "alpha"), spot("staging", "beta"), spot("prod", "gamma")])
    assert set(one.spots) == set(ENVIRONMENTS)
    assert len(strands([spot("dev"), spot("prod", project="search")])) == 2


def test_very_many_of_one_model_are_put_together_in_no_time() -> None:
    many = [spot("prod", f"m{number}-prod") for number in range(3000)]
    assert len(strands([*many, *(spot("dev", f"m{number}") for number in range(3000))])) == 3000
    loop = uuid.uuid4(), uuid.uuid4()
    both = [spot("dev", "a", pk=loop[0], source=loop[1]), spot("prod", "b", pk=loop[1], source=loop[0])]
    assert len(strands(both)) == 1


@pytest.mark.parametrize("facet", FACETS)
def test_each_facet_is_compared_with_prod_or_with_the_left(facet: str) -> None:
    same = dict.fromkeys(FACETS, "x")
    (one,) = strands([spot("dev", facets=same), spot("staging", facets=same | {facet: "y"}), spot("prod", facets=same)])
    assert one.differs("prod") == {"dev": (), "staging": (facet,), "prod": ()}
    assert one.differs("left") == {"dev": (), "staging": (facet,), "prod": (facet,)}
    (two,) = strands([spot("dev", facets=same), spot("staging", facets=same | {facet: "y"})])
    assert two.differs("prod") == {"dev": (facet,), "staging": ()}, "the last one, where there is no prod"


@pytest.fixture
def trio(org: Org) -> list[Endpoint]:
    """One model in dev, staging and prod of fraud-detection, all the same."""
    version = factories.make_version(asset=factories.make_asset("granite"))
    version.runtime = {**version.runtime, "image": IMAGE}
    version.save(update_fields=["runtime"])
    profile = factories.make_profile()
    return [
        factories.make_endpoint(
            org.dana, version=version, profile=profile, environment=one, name=f"scoring-{one}", replicas=2
        )
        for one in ENVIRONMENTS
    ]


def body(response: Any) -> str:
    assert response.status_code == 200, response.status_code
    return re.sub(r"\s+", " ", response.content.decode())


def framed(html: str) -> int:
    return html.count("pf-m-framed")


pytestmark = [pytest.mark.slow, pytest.mark.django_db]


def test_the_same_everywhere_is_in_step(trio: list[Endpoint], org: Org, client_for: Any) -> None:
    html = body(client_for(org.dana).get("/environments/"))
    assert framed(html) == 0 and "3 of 3" in html and "scoring-staging" in html
    assert "Nothing differs here" in body(client_for(org.dana).get("/environments/?drift=1"))


def _image(endpoint: Endpoint) -> None:
    runtime = endpoint.revision.runtime | {"image": f"registry.example.com/vllm@sha256:{'b' * 64}"}  # type: ignore[union-attr]
    Revision.objects.filter(endpoint=endpoint).update(runtime=runtime)


def _argument(endpoint: Endpoint) -> None:
    Revision.objects.filter(endpoint=endpoint).update(context_tokens=8192)


def _quota(endpoint: Endpoint) -> None:
    Quota.objects.create(
        project=endpoint.project, kind="tokens", target_kind="endpoint", target_id=str(endpoint.pk), window="day",
        hard=1000,
    )  # fmt: skip


def _bundle(endpoint: Endpoint) -> None:
    request = Request.objects.get(pk=int(endpoint.revision.authorization_reference[2:]))  # type: ignore[union-attr]
    request.plan = {**request.plan, "bundle": {**request.plan["bundle"], "digest": "sha256:other", "version": "old"}}
    request.save(update_fields=["plan"])


def _version(endpoint: Endpoint) -> None:
    now = endpoint.revision.version  # type: ignore[union-attr]
    other = factories.make_version(asset=now.asset, version="0.9")
    Version.objects.filter(pk=other.pk).update(runtime=now.runtime)
    Revision.objects.filter(endpoint=endpoint).update(version=other)


@pytest.mark.parametrize(
    ("plant", "word"),
    [(_image, "image"), (_argument, "arguments"), (_quota, "quota"), (_bundle, "policies"), (_version, "version")],
)
def test_a_planted_difference_is_framed(trio: list[Endpoint], org: Org, client_for: Any, plant: Any, word: str) -> None:
    plant(trio[1])
    html = body(client_for(org.aud).get("/environments/?drift=1"))
    assert framed(html) == 1 and "1 value differs" in html
    assert re.findall(r"<dt[^>]*>([a-z]+)</dt><dd class=\"gh-strong\">", html) == [word]
    rows = list(csv.DictReader(io.StringIO(client_for(org.aud).get("/environments/?format=csv").getvalue().decode())))
    assert [row["staging_differs"] for row in rows] == [word] and rows[0]["prod_differs"] == rows[0][
        "dev_differs"
    ] == ""
    assert framed(body(client_for(org.aud).get("/environments/?against=left"))) == 2


def test_what_was_changed_by_hand_frames_too_and_leads_there(trio: list[Endpoint], org: Org, client_for: Any) -> None:
    now = timezone.now()
    LiveDifference.objects.create(
        endpoint=trio[2], revision=1, mark="m", kind="Deployment", name="x", field="spec.replicas", wanted="2",
        found="1", first_seen=now, last_seen=now,
    )  # fmt: skip
    html = body(client_for(org.dana).get("/environments/"))
    assert framed(html) == 1 and "1 field changed by hand" in html and f"/endpoints/{trio[2].pk}/drift/" in html


def test_a_request_that_waits_is_said_to_be_planned(trio: list[Endpoint], org: Org, client_for: Any) -> None:
    _argument(trio[1])
    made = factories.make_request(
        org.dana, kind="revision", endpoint=Endpoint.objects.get(pk=trio[1].pk), context_tokens=2048
    )
    assert f"planned as {made.number}" in body(client_for(org.dana).get("/environments/"))


def test_nobody_sees_what_runs_in_foreign_projects(trio: list[Endpoint], org: Org, client_for: Any) -> None:
    assert "scoring" not in body(client_for(org.cy).get("/environments/"))
    assert "Clusters" in body(client_for(org.pat).get("/environments/"))
    assert 'id="clusters"' not in body(client_for(org.dana).get("/environments/"))


def test_a_cluster_that_is_away_is_said(trio: list[Endpoint], org: Org, client_for: Any) -> None:
    place = factories.make_place(org.pat)
    place.problem_code, place.problem_sentence = "reachable", "The cluster cannot be reached."
    place.save()
    Endpoint.objects.filter(pk=trio[2].pk).update(cluster=place)
    DriftLook.objects.create(cluster=place, failures=3, problem="It does not answer.")
    html = body(client_for(org.pat).get("/environments/"))
    assert "The cluster cannot be reached." in html and "It does not answer." in html
    html = body(client_for(org.dana).get("/environments/"))
    assert f"The cluster {place.slug} does not answer." in html
    assert "cannot be reached" not in html, "addresses are for those who steer clusters"


def test_queries_stay_the_same_however_much_runs(trio: list[Endpoint], org: Org, client_for: Any) -> None:
    def queries(client: Client, address: str) -> int:
        client.get(address)
        with CaptureQueriesContext(connection) as found:
            assert client.get(address).status_code == 200
        return len(found)

    pat, addresses = client_for(org.pat), ("/environments/", "/environments/?drift=1")
    few = [queries(pat, one) for one in addresses]
    for number in range(6):
        version = factories.make_version(asset=factories.make_asset(f"model-{number}"))
        for one in ENVIRONMENTS:
            _argument(factories.make_endpoint(org.dana, version=version, environment=one, replicas=2))
    assert [queries(pat, one) for one in addresses] == few
    assert max(few) <= 15
