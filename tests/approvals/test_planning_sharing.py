"""Share first: what runs already and has room is offered before new accelerators, and nothing else is told."""

import datetime as dt
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from approvals import services
from approvals.planning import sharing
from approvals.planning.loads import Measured
from catalog.models import HardwareProfile
from endpoints import services as endpoint_services
from endpoints.models import Endpoint, EngineCount, Phase
from projects.principal import Principal
from quotas.models import UsageHour
from tests.conftest import Org
from tests.factories import make_endpoint, make_pool, make_profile, make_version, request_body

pytestmark = pytest.mark.slow


def ready(endpoint: Endpoint, replicas: int = 1) -> Endpoint:
    """As the reconciler leaves it when its engines answer."""
    upstreams = [{"instance": f"{number}-1-2"} for number in range(replicas)]
    Endpoint.objects.filter(pk=endpoint.pk).update(phase=Phase.READY, upstreams=upstreams)
    endpoint.refresh_from_db()
    return endpoint


def offered(org: Org, version: Any, name: str = "answers", **fields: Any) -> Endpoint:
    """An endpoint of search-ranking that its owner offers."""
    made = ready(make_endpoint(org.cy, project="search-ranking", version=version, name=name, **fields))
    return endpoint_services.set_shareable(org.principal(org.cy), made, True)


def used(
    endpoint: Endpoint, *, hours_ago: int, calls: int, tokens: int, latency: dict[str, int], key: str = "k"
) -> None:
    start = (timezone.now() - dt.timedelta(hours=hours_ago)).replace(minute=0, second=0, microsecond=0)
    UsageHour.objects.create(
        project_id=endpoint.project_id, start=start, endpoint_id=str(endpoint.pk), endpoint=endpoint.name, key_id=key,
        key="gth_1", person="cy", requests=calls, input_tokens=tokens, output_tokens=0, latency=latency,
    )  # fmt: skip


def check(org: Org, version: Any, **fields: Any) -> dict[str, Any]:
    """The plan of dana's new endpoint."""
    names = {"asset": version.asset.slug, "version": version.version}
    profile = HardwareProfile.objects.filter(slug="own").first() or make_profile(slug="own")
    return services.check(Principal.of(org.dana), request_body(**names, hardware_profile=profile.slug, **fields))


def test_what_owners_offer_stands_in_the_plan_with_the_body_that_asks_for_it(org: Org) -> None:
    """The others of that project are not told of."""
    version = make_version()
    endpoint = offered(org, version)
    ready(make_endpoint(org.cy, project="search-ranking", version=version, name="kept-quiet"))
    plan = check(org, version, name="mine")
    [row] = plan["sharing"]["offers"]
    assert (row["name"], row["way"], row["spare"]) == ("search-ranking/answers", "ask", 8)
    assert "kept-quiet" not in str(plan)
    made = services.send(Principal.of(org.dana), row["request"] | {"purpose": "Instead of a new one."})
    assert made.kind == "access" and made.endpoint == endpoint


def test_an_endpoint_that_is_not_shareable_any_more_is_not_named(org: Org) -> None:
    """Not even as one that the project may call, since everybody who sees the request reads the plan."""
    version = make_version()
    endpoint_services.set_shareable(org.principal(org.cy), offered(org, version), False)
    plan = check(org, version, name="mine")
    assert plan["sharing"] == {"offers": [], "sentence": sharing.NOTHING_RUNS}


def test_an_endpoint_of_another_own_project_stays_out_of_the_plan(org: Org) -> None:
    """The form may offer it to the person; the project that reads the plan may not know it."""
    version = make_version()
    hidden = ready(make_endpoint(org.cy, project="search-ranking", version=version, name="hidden"))
    found = sharing.running(version, [org.fraud.pk, org.search.pk], org.fraud)
    assert [one.endpoint for one in found] == [hidden] and found[0].own
    shared = sharing.shared(
        found, org.fraud, make_profile(slug="x"), replicas=1, calls=8, classification="", ends_on=None
    )
    assert shared["offers"] == []


def test_more_sensitive_data_are_not_sent_there(org: Org) -> None:
    """The rule of a request for access, before it is asked."""
    version = make_version()
    offered(org, version, data_classification="internal")
    assert check(org, version, name="a", data_classification="internal")["sharing"]["offers"]
    assert not check(org, version, name="b", data_classification="confidential")["sharing"]["offers"]


def test_a_full_endpoint_is_not_offered(org: Org) -> None:
    """Full now, or in its busiest hour of the last days: 8 calls of an hour each, all at once."""
    version = make_version()
    now_full, was_full, free = (offered(org, version, name=name) for name in ("now", "was", "free"))
    EngineCount.objects.create(endpoint=now_full, instance="0-1-2", at=timezone.now(), running=7, waiting=1)
    hour = {"301": 8}  # the bucket of about an hour, in milliseconds
    used(was_full, hours_ago=30, calls=8, tokens=5000, latency=hour)
    used(was_full, hours_ago=2, calls=8, tokens=100, latency={})
    used(free, hours_ago=24 * 9, calls=8, tokens=9000, latency=hour)  # before the days that count
    names = [one.endpoint.name for one in sharing.running(version, [org.fraud.pk], org.fraud)]
    assert names == ["free"]


def test_tokens_of_the_busiest_hour_count_against_what_was_measured(org: Org) -> None:
    """Half of the measured tokens take half of the calls; keys of the same hour add up."""
    version = make_version()
    endpoint = offered(org, version)
    for key in ("one", "two"):
        used(endpoint, hours_ago=5, calls=10, tokens=900_000, latency={}, key=key)
    [found] = sharing.running(version, [org.fraud.pk], org.fraud)
    assert found.peak_tokens == 500 and found.spare == 8
    judged = sharing.Running(**{**found.__dict__, "measured": Measured(1000.0, 8, "vllm", "2026-11-01")})
    assert (
        judged.most_tokens == 1000
        and judged.used == 4
        and "of the 1,000 that were measured" in sharing.room_words(judged)
    )


def test_break_even_is_the_share_of_the_running_one(org: Org) -> None:
    """4.00 an hour for 8 calls; half of them for an own one of 1.00: cheaper from 12 hours a day."""
    version, dear = make_version(), make_profile(gpus=1, slug="dear", price="4.00")
    own, pricey = make_profile(gpus=1, slug="cheap", price="1.00"), make_profile(gpus=1, slug="pricey", price="9.00")
    make_pool(limit=8, profiles=[dear, own, pricey])
    offered(org, version, profile=dear)
    [found] = sharing.running(version, [org.fraud.pk], org.fraud)
    even = sharing.break_even(found, own, replicas=1, calls=4)
    assert (even["hours_per_day"], even["own_per_day"], even["share_per_hour"]) == (12.0, "24.00", "2.00")
    assert even["tokens_per_day"] is None and "own: 1 × 1.00 × 24 h" in even["inputs"]
    never = sharing.break_even(found, pricey, replicas=1, calls=8)
    assert never["hours_per_day"] is None and "however many hours" in never["sentence"]
    fast = sharing.Running(**{**found.__dict__, "measured": Measured(1000.0, 8, "vllm", "2026-11-01")})
    assert sharing.break_even(fast, own, replicas=1, calls=4)["tokens_per_day"] == 12 * 3600 * 1000 // 2


def test_queries_do_not_grow_with_what_runs(org: Org) -> None:
    """Two, for one endpoint with one hour as for many with many."""
    version = make_version()
    counts = []
    for number in range(4):
        endpoint = offered(org, version, name=f"one-{number}")
        for hour in range(3):
            used(endpoint, hours_ago=hour + 1, calls=1, tokens=10, latency={"10": 1})
        version.refresh_from_db()
        sharing.running(version, [org.fraud.pk], org.fraud)
        with CaptureQueriesContext(connection) as asked:
            sharing.running(version, [org.fraud.pk], org.fraud)
        counts.append(len(asked))
    assert set(counts) == {2}, counts
