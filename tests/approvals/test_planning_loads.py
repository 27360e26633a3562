"""Three levels of load: the cost of a million tokens, where somebody measured the throughput, and never without."""

import datetime as dt
from decimal import Decimal
from typing import Any

import pytest
from django.utils import timezone

from approvals.planning.loads import Measured, loads, measured
from approvals.policies.facts import with_evidence
from catalog.models import Evidence
from tests.conftest import Org
from tests.factories import make_profile, make_version

pytestmark = pytest.mark.django_db


def row(profile: str, calls: int, rate: float) -> dict[str, Any]:
    return {
        "hardware_profile": profile, "engine": "vllm", "measured_on": "2026-11-01", "concurrency": calls,
        "tokens_per_second": rate, "ttft_p50_ms": 100, "cold_start_seconds": 30,
    }  # fmt: skip


def version_with(*rows: dict[str, Any]) -> Any:
    version = make_version()
    Evidence.objects.create(
        version=version, kind="performance", verdict="pass", summary="Measured.", tool="test",
        report={"measurements": list(rows)}, collected_at=timezone.now() + dt.timedelta(seconds=1),
    )  # fmt: skip
    return version


def test_every_number_follows_from_its_inputs() -> None:
    """1,000 tokens/s at peak for 3.60 an hour are 1.00 for a million; a quarter of the load costs four times that."""
    profile = make_profile(gpus=1, slug="gpu", price="3.60")
    plan = loads(Measured(1000.0, 8, "vllm", "2026-11-01"), profile, replicas=1, calls=8)
    levels = {one["name"]: one for one in plan["levels"]}
    assert [one["calls"] for one in plan["levels"]] == [2, 4, 8]
    assert levels["peak"]["tokens_per_day"] == 86_400_000 and levels["peak"]["per_million"] == "1.00"
    assert levels["quiet"]["tokens_per_day"] == 21_600_000 and levels["quiet"]["per_million"] == "4.00"
    assert "25 % of 1,000 tokens/s × 86,400 s" in levels["quiet"]["inputs"] and "gpu" in plan["sentence"]


def test_replicas_share_the_load_and_the_price() -> None:
    """Twice the replicas, twice the tokens, the same cost of a million."""
    profile = make_profile(gpus=1, slug="gpu", price="3.60")
    plan = loads(Measured(1000.0, 8, "vllm", "2026-11-01"), profile, replicas=2, calls=8)
    assert plan["levels"][2]["tokens_per_day"] == 172_800_000 and plan["levels"][2]["per_million"] == "1.00"


def test_fewer_calls_than_measured_are_scaled_and_more_are_not() -> None:
    """Nobody is promised more than was measured."""
    found = Measured(1000.0, 8, "vllm", "2026-11-01")
    assert found.rate(4) == 500 and found.rate(16) == 1000
    profile = make_profile(gpus=1, slug="gpu")
    assert "4/8" in loads(found, profile, replicas=1, calls=4)["sentence"]


def test_without_a_measurement_no_number_is_made_up() -> None:
    """It says so, and what the calls would be."""
    plan = loads(None, make_profile(slug="bare"), replicas=2, calls=4)
    assert plan["measured"] is None and {one["per_million"] for one in plan["levels"]} == {None}
    assert plan["levels"][0]["calls"] == 2 and "not known" in plan["sentence"]


def test_a_free_profile_costs_nothing() -> None:
    """A price of zero divides by nothing."""
    profile = make_profile(slug="free", price="0")
    plan = loads(Measured(10.0, 8, "vllm", "2026-11-01"), profile, replicas=1, calls=8)
    assert Decimal(plan["levels"][2]["per_million"]) == 0


def test_the_nearest_measurement_on_the_same_profile_counts(org: Org, django_assert_num_queries: Any) -> None:
    """Those of other profiles say nothing; what was measured comes along with the findings."""
    gpu, other = make_profile(gpus=1, slug="gpu"), make_profile(gpus=1, slug="other")
    version = version_with(row("gpu", 4, 400), row("gpu", 32, 2000), row("big", 8, 9999))
    with_evidence([version])
    with django_assert_num_queries(0):
        found = measured(version, gpu, 8)
        assert found is not None and (found.calls, found.tokens_per_second) == (4, 400.0)
        assert measured(version, other, 8) is None
