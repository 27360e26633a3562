"""The input document: every field is there for every kind, says the truth, and costs no query per endpoint."""

import datetime as dt
from collections.abc import Mapping
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from approvals import services
from approvals.kinds.base import living
from approvals.policies import document as documents
from approvals.policies import sample
from catalog.models import Evidence
from endpoints.models import Endpoint
from quotas.limits import set_quotas
from quotas.models import UsageDay
from tests.approvals.test_kinds import ask
from tests.conftest import Org
from tests.factories import (
    engineer,
    make_asset,
    make_endpoint,
    make_pool,
    make_profile,
    make_request,
    make_version,
)

pytestmark = pytest.mark.slow
KINDS = ("revision", "renewal", "access", "quota")


def same_shape(document: Mapping[str, Any], whole: Mapping[str, Any] = sample.SAMPLE, path: str = "") -> None:
    """A document has exactly the fields of the sample, each of its type."""
    assert set(document) == set(whole) or path == "evidence.", (path, set(document) ^ set(whole))
    for name, value in document.items():
        known = whole.get(name, sample.FOUND)
        assert type(value) is type(known), (path, name, value)
        if isinstance(known, Mapping) and known:
            same_shape(value, known, f"{path}{name}.")


def test_an_endpoint_is_described_as_it_is_asked_for(org: Org) -> None:
    """Facts of request, project, version, evidence, profile and plan."""
    profile = make_profile(gpus=1, price="1.42", memory_gib=48)
    make_pool(limit=4, profiles=[profile])
    set_quotas(engineer(), org.fraud, {"gpus": {"limit": 4}})
    made = make_request(org.dana, profile=profile, replicas=2, data_classification="confidential", environment="prod")
    found = made.plan["document"]
    same_shape(found)
    assert found["request"]["kind"] == "endpoint" and found["request"]["replicas"] == 2
    assert (found["request"]["data_level"], found["request"]["days"], found["request"]["running"]) == (2, 60, False)
    assert found["requester"] == {"username": "dana", "role": "developer", "groups": [], "service_account": False}
    assert found["project"] == {
        "slug": "fraud-detection", "cost_centre": "CC-4711", "owner_team": "Risk", "gpu_quota": 4, "gpus_held": 0,
        "gpus_waiting": 0,
    }  # fmt: skip
    assert found["version"]["licence"] == "Apache-2.0" and not found["version"]["pinned"] and found["version"]["demo"]
    newest = {one.kind: one for one in Evidence.objects.filter(version=made.version)}
    assert found["evidence"]["licence"]["verdict"] == "pass" == newest["licence"].verdict
    assert found["evidence"]["licence"]["digest"] == newest["licence"].digest != ""
    assert found["evidence"]["signature"] == sample.MISSING
    plan = found["plan"]
    assert (plan["gpus"], plan["pool_gpus"], plan["pool_share_percent"], plan["quota_share_percent"]) == (
        2,
        4,
        50.0,
        50.0,
    )
    assert (plan["cost_hour"], plan["cost_month"], plan["cost_month_more"]) == (2.84, 2073.2, 2073.2)
    assert plan["starts_at_once"] and plan["fits"]


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_has_every_field(org: Org, kind: str) -> None:
    """What does not apply is empty, and never missing."""
    found = ask(org, kind).plan["document"]
    same_shape(found)
    assert found["request"]["kind"] == kind and found["request"]["days"] > 0
    assert bool(found["endpoint"]["name"]) == (kind != "quota") and bool(found["quota"]["kind"]) == (kind == "quota")
    assert found["endpoint"]["calls"] == (0 if kind == "renewal" else -1)


def test_an_admission_is_judged_by_the_rules_for_assets(org: Org) -> None:
    """With what its tools may do; the version is that which is asked for."""
    version = make_version("draft", asset=make_asset(publisher=""))
    by = org.principal(org.yasmine)
    body = {"kind": "admission", "asset": version.asset.slug, "version": version.version}
    plan = services.check(by, body)
    same_shape(plan["document"])
    said = {check["id"]: check["verdict"] for check in plan["checks"] if check["source"] == "policy"}
    assert said["ast-007"] == "warn" and not any(key.startswith("life-") for key in said)


def test_what_runs_is_described_as_if_it_were_asked_for_today(org: Org) -> None:
    """With what was called in the last 30 days; never a field less than a request has."""
    endpoint = make_endpoint(org.dana, replicas=2)
    day = timezone.now().replace(hour=0, minute=0, second=0, microsecond=0)
    for back, calls in ((0, 7), (29, 5), (31, 100)):
        UsageDay.objects.create(
            project_id=org.fraud.pk, start=day - dt.timedelta(days=back), endpoint_id=str(endpoint.pk), requests=calls,
            input_tokens=10, output_tokens=1,
        )  # fmt: skip
    Endpoint.objects.filter(pk=endpoint.pk).update(shareable=True)
    found = documents.of_endpoint(endpoint)
    same_shape(found)
    assert found["request"]["running"] and found["request"]["exposure"] == "shared"
    assert (found["endpoint"]["calls"], found["endpoint"]["tokens"]) == (12, 22)
    assert found["requester"]["username"] == "dana" and found["endpoint"]["replicas"] == 2
    assert found["plan"]["cost_month"] == found["endpoint"]["cost_month"] == 146.0
    asked = endpoint.requests.get().plan["document"]
    assert found["version"] == asked["version"] and found["evidence"].keys() == asked["evidence"].keys()


def test_many_cost_as_many_queries_as_one(org: Org) -> None:
    """In bulk, and for rows that were read already."""
    version, profile, counts = make_version(), make_profile(), []
    for size in (1, 6):
        for _ in range(size):
            make_endpoint(org.dana, version=version, profile=profile)
        make_endpoint(org.dana)  # another version
        with CaptureQueriesContext(connection) as bulk:
            rows = list(documents.of_endpoints(Endpoint.objects.order_by("pk")))
        loaded = list(living().order_by("pk"))
        with CaptureQueriesContext(connection) as read:
            again = list(documents.of_endpoints(loaded))
        assert [paper for _, paper in rows] == [paper for _, paper in again] and len(rows) == Endpoint.objects.count()
        counts.append((len(bulk), len(read)))
    assert counts[0] == counts[1] and max(counts[0]) <= 4, counts


def test_an_endpoint_without_anything_has_a_document(org: Org) -> None:
    """No revision, no end, no class of data: a row that a rule must not stumble over."""
    endpoint = make_endpoint(org.dana)
    Endpoint.objects.filter(pk=endpoint.pk).update(revision=None, ends_on=None, data_classification="", created_by=None)
    found = documents.of_endpoint(endpoint)
    same_shape(found)
    assert found["request"]["ends_on"] == "" and found["version"]["version"] == ""


def test_a_plan_that_is_built_again_reads_no_findings_again(org: Org) -> None:
    """Several plans of one page share what is known."""
    version = make_version()
    documents.with_evidence([version])
    with CaptureQueriesContext(connection) as seen:
        documents.with_evidence([version])
        documents.of_version(version)
    assert not [query for query in seen if "catalog_evidence" in query["sql"]]
