"""Shares of pools: who may agree on them, within which bounds, and who sees what of them; promotion by share, also when
many come and go at once.
"""

import datetime as dt
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.utils import timezone

from audit.models import Row
from audit.services import system
from endpoints import giving_back
from portal.errors import Conflict, Forbidden, Invalid
from projects.models import Preset, User
from projects.principal import Principal
from quotas import fairness, lines, pools, services, shares
from quotas.fairness import Terms
from quotas.models import GiveBack, Node, Pool, Reservation, Share
from tests import factories
from tests.conftest import Org
from tests.endpoints.endpoint_kit import open_demo

pytestmark = [pytest.mark.slow, pytest.mark.django_db]
BY = system("test")


@pytest.fixture
def pool(org: Org) -> Pool:
    return Pool.objects.create(slug="shared-gpu", name="Shared", cluster="local", limit=8, observed=8)


def reserve(pool: Pool, project: Any, name: str, amount: int = 1) -> Reservation:
    return services.reserve(BY, pool, amount, holder=("endpoint", name), project=project)


def held(pool: Pool, project: Any) -> int:
    return sum(pool.reservations.filter(project=project, state="held").values_list("amount", flat=True))


def check(pool: Pool) -> None:
    pool.refresh_from_db()
    assert pool.held == sum(pool.reservations.filter(state="held").values_list("amount", flat=True)) <= pool.limit


def test_the_second_project_gets_its_turn(org: Org, pool: Pool) -> None:
    for number in range(20):
        reserve(pool, org.fraud, f"a{number}")
    for number in range(6):
        reserve(pool, org.search, f"b{number}")
    assert held(pool, org.search) == 0
    first = pool.reservations.filter(project=org.search, state="waiting").first()
    assert first is not None and services.position(first) == 1, "though twelve came before it"
    for number in range(4):
        services.release(BY, ("endpoint", f"a{number}"))
    assert (held(pool, org.fraud), held(pool, org.search)) == (4, 4)
    services.release(BY, ("endpoint", "a4"))
    assert (held(pool, org.fraud), held(pool, org.search)) == (4, 4), "it fell below its half"
    check(pool)


def test_weights_and_numbers_decide(org: Org, pool: Pool) -> None:
    pools.change_pool(org.principal(org.pat), pool, shares=[{"project": org.search.slug, "nominal": 6}])
    assert lines.read([pool.pk]) == {}
    for number in range(8):
        reserve(pool, org.fraud, f"a{number}")
    for number in range(8):
        reserve(pool, org.search, f"b{number}")
    line = lines.read([pool.pk])[pool.pk]
    assert fairness.shares(line) == {org.fraud.pk: 2, org.search.pk: 6} and line.terms == {org.search.pk: Terms(1, 6)}
    assert fairness.borrowed(line) == {org.fraud.pk: 6}
    for number in range(6):
        services.release(BY, ("endpoint", f"a{number}"))
    assert (held(pool, org.fraud), held(pool, org.search)) == (2, 6)


def test_a_large_one_gets_its_turn_after_its_patience(org: Org, pool: Pool) -> None:
    reserve(pool, org.search, "b", 5)
    large = reserve(pool, org.fraud, "large", 8)
    assert reserve(pool, org.search, "small").state == "held"
    Reservation.objects.filter(pk=large.pk).update(created_at=timezone.now() - dt.timedelta(hours=24))
    assert reserve(pool, org.search, "later").state == "waiting", "what is free is kept now"
    for name in ("b", "small"):
        services.release(BY, ("endpoint", name))
    large.refresh_from_db()
    assert large.state == "held"


@pytest.mark.parametrize(
    ("wanted", "says"),
    [
        ("x", "list"), ([1], "names its project"), ([{"project": "no-such"}], "no project no-such"),
        ([{"project": "fraud-detection", "weight": 101}], "between 0 and 100"),
        ([{"project": "fraud-detection", "weight": True}], "whole number"),
        ([{"project": "fraud-detection", "nominal": -1}], "nominal"),
        ([{"project": "fraud-detection", "lent": 1}], "no lent"), ([{"weight": 1}], "names its project"),
        ([{"project": "fraud-detection"}, {"project": "fraud-detection"}], "twice"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_shares_is_said(org: Org, pool: Pool, wanted: Any, says: str) -> None:
    with pytest.raises(Invalid, match=says) as caught:
        pools.change_pool(org.principal(org.pat), pool, shares=wanted)
    assert all(name.startswith("shares") for name in caught.value.fields) and not Share.objects.exists()


def test_each_wrong_number_is_said_at_its_place(org: Org, pool: Pool) -> None:
    wanted = [{"project": org.fraud.slug, "weight": 101, "nominal": -1}, {"project": org.search.slug, "weight": 1.5}]
    with pytest.raises(Invalid, match="2 more in errors") as caught:
        pools.change_pool(org.principal(org.pat), pool, shares=wanted)
    assert sorted(caught.value.fields) == ["shares.0.nominal", "shares.0.weight", "shares.1.weight"]
    assert "weight of search-ranking is 1.5" in caught.value.fields["shares.1.weight"]


def test_a_limit_is_not_lowered_below_what_is_agreed(org: Org, pool: Pool) -> None:
    by = org.principal(org.pat)
    pools.change_pool(by, pool, shares=[{"project": org.fraud.slug, "nominal": 6}])
    with pytest.raises(Conflict, match="add up to 6, and shared-gpu has 5"):
        pools.change_pool(by, pool, limit=5)
    pool.refresh_from_db()
    assert pool.limit == 8
    pools.change_pool(by, pool, limit=5, shares=[{"project": org.fraud.slug, "nominal": 5}])


def test_agreements_with_projects_that_one_may_not_see_stay(org: Org, pool: Pool) -> None:
    """A preset may let somebody change pools who is a member of one project."""
    preset = Preset.objects.create(slug="pools", name="Pools", where="platform", permissions="quotas.pool.change")
    org.dana.groups.add(Group.objects.create(name=preset.slug))
    pools.change_pool(org.principal(org.pat), pool, shares=[{"project": org.search.slug, "nominal": 6}])
    by = Principal.of(User.objects.get(pk=org.dana.pk))
    pools.change_pool(by, pool, shares=[{"project": org.fraud.slug, "nominal": 2}])
    assert [(one["project"], one["nominal"]) for one in shares.agreed(pool)] == [
        ("fraud-detection", 2), ("search-ranking", 6),
    ]  # fmt: skip
    assert [one["project"] for one in pools.terms(by, pool)["shares"]] == ["fraud-detection"]
    with pytest.raises(Conflict, match="add up to 9"):
        pools.change_pool(by, pool, shares=[{"project": org.fraud.slug, "nominal": 3}])


def test_only_engineers_agree_on_shares_and_it_is_on_record(org: Org, pool: Pool) -> None:
    wanted = [{"project": org.fraud.slug, "weight": 3, "borrowing_limit": 1}]
    for person in (org.dana, org.omar, org.yasmine):
        with pytest.raises(Forbidden):
            pools.change_pool(org.principal(person), pool, shares=wanted)
    pools.change_pool(org.principal(org.pat), pool, shares=wanted, give_back="any", grace_hours=2)
    row = Row.objects.get(action="quotas.change_pool")
    assert '"weight":3' in row.after.replace(" ", "") and '"grace_hours":2' in row.after.replace(" ", "")
    with pytest.raises(Conflict, match="add up to 9"):
        pools.change_pool(org.principal(org.pat), pool, shares=[{"project": org.fraud.slug, "nominal": 9}])
    for wrong in ({"give_back": "prod"}, {"grace_hours": 721}, {"grace_hours": True}, {"from_nodes": 1}):
        with pytest.raises(Invalid):
            pools.change_pool(org.principal(org.pat), pool, **wrong)


def test_the_api_shows_shares_and_nodes_and_no_strangers(org: Org, pool: Pool, api_for: Any) -> None:
    reserve(pool, org.fraud, "a", 5)
    reserve(pool, org.search, "b", 4)
    api = api_for(org.pat, "admin", "usage:read")
    tag = api.get("/pools/shared-gpu")["ETag"]
    body = {"shares": [{"project": org.search.slug, "weight": 3}]}
    changed = api.patch("/pools/shared-gpu", body, If_Match=tag)
    assert changed.status_code == 200, changed.content
    assert [(one["project"], one["weight"], one["share"], one["held"], one["waiting"], one["borrowed"])
            for one in changed.json()["shares"]] == [
        ("fraud-detection", 1, 2.0, 5, 0, 3), ("search-ranking", 3, 6.0, 0, 4, 0),
    ]  # fmt: skip
    own = api_for(org.dana, "usage:read").get("/pools").json()["items"][0]
    assert [one["project"] for one in own["shares"]] == ["fraud-detection"] and own["nodes"] == []
    assert (own["observed"], own["held"], own["waiting"], own["available"]) == (8, 5, 4, 3)
    assert api_for(org.dana, "admin").patch(
        "/pools/shared-gpu", body, If_Match=changed["ETag"]
    ).status_code == 403  # fmt: skip


def test_reading_pools_costs_the_same_for_many(
    org: Org, pool: Pool, api_for: Any, django_assert_max_num_queries: Any
) -> None:
    api = api_for(org.pat, "usage:read")
    api.get("/pools")
    for number in range(20):
        more = Pool.objects.create(slug=f"p{number}", name="P", cluster=f"c{number}", limit=8, observed=8)
        reserve(more, org.fraud, f"x{number}")
        Share.objects.create(pool=more, project=org.fraud)
        Node.objects.create(
            cluster=f"c{number}", name="n", resource="nvidia.com/gpu", capacity=8, allocatable=8, condition="ready",
            since=timezone.now(),
        )  # fmt: skip
    with django_assert_max_num_queries(14):
        assert len(api.get("/pools").json()["items"]) == 21


@pytest.mark.django_db(transaction=True)
def test_many_at_once_never_break_pool_or_shares(
    org: Org, pool: Pool, file_database: None, in_threads: Callable[..., list[Any]]
) -> None:
    """Two projects come and go in sixteen threads: never more than there is, and what comes back makes halves."""

    def work(number: int) -> None:
        project = (org.fraud, org.search)[number % 2]
        for turn in range(3):
            reserve(pool, project, f"t{number}-{turn}")
            if turn:
                services.release(BY, ("endpoint", f"t{number}-{turn - 1}"))

    in_threads(16, work)
    check(pool)
    assert pool.held == 8 and pool.reservations.filter(state="waiting").count() == 8
    for project in (org.fraud, org.search):
        while held(pool, project) > 4:  # it had it while the other asked for nothing
            one = pool.reservations.filter(project=project, state="held").earliest("id")
            services.release(BY, (one.holder_kind, one.holder_id))
    assert (held(pool, org.fraud), held(pool, org.search)) == (4, 4)
    check(pool)


@pytest.mark.django_db(transaction=True)
def test_workers_at_once_ask_once_and_take_once(
    org: Org, file_database: None, in_threads: Callable[..., list[Any]]
) -> None:
    pool = factories.make_pool(limit=8)
    for _ in range(4):
        open_demo(org.fraud, gpus=2, pool=pool)
    open_demo(org.search, gpus=4, pool=pool)
    assert sum(in_threads(6, lambda _: giving_back.settle())) == 2
    assert GiveBack.objects.count() == GiveBack.objects.values("reservation").distinct().count() == 2
    GiveBack.objects.update(due_at=timezone.now())
    assert sum(in_threads(6, lambda _: giving_back.settle())) == 2
    assert Row.objects.filter(action="endpoints.suspend").count() == 2
    assert {one.outcome for one in GiveBack.objects.all()} == {"suspended"}
