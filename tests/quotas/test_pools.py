"""Creating, changing and checking pools."""

import logging
from typing import Any

import pytest
from django.db import connection

from audit.models import Row
from audit.services import system
from portal.errors import Conflict, Forbidden, Invalid
from projects.principal import Principal
from quotas import pools, services
from quotas.models import Pool
from tests.conftest import Org
from tests.factories import make_profile

GOOD: dict[str, Any] = {"slug": "shared-gpu", "name": "Shared", "cluster": "local", "limit": 8}


@pytest.fixture
def pat(org: Org) -> Principal:
    return org.principal(org.pat)


def test_create_pool(pat):
    profile = make_profile(gpus=1)
    pool = pools.create_pool(pat, **GOOD, simulated=True, profiles=[profile.slug])
    assert (pool.limit, pool.observed, pool.held, pool.simulated) == (8, 8, 0, True)
    assert list(pool.profiles.all()) == [profile]
    row = Row.objects.get(action="quotas.create_pool")
    assert row.actor == pat.key and profile.slug in row.after
    with pytest.raises(Conflict, match="exists already"):
        pools.create_pool(pat, **GOOD)


def test_only_platform_engineers_create_and_change(org, pat):
    pool = pools.create_pool(pat, **GOOD)
    for user in (org.dana, org.omar, org.yasmine, org.aud):
        with pytest.raises(Forbidden, match="platform engineer"):
            pools.create_pool(org.principal(user), **(GOOD | {"slug": "mine"}))
        with pytest.raises(Forbidden, match="platform engineer"):
            pools.change_pool(org.principal(user), pool, limit=9)
    assert list(Pool.objects.values_list("slug", "limit")) == [("shared-gpu", 8)]


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"slug": "Bad Slug"}, "slug"), ({"slug": "x" * 41}, "slug"), ({"slug": 3}, "slug"),
        ({"cluster": ""}, "cluster"),
        ({"name": ""}, "name"), ({"name": "x" * 81}, "name"), ({"name": "a\0b"}, "name"), ({"limit": 0}, "limit"),
        ({"limit": 100_001}, "limit"), ({"limit": "8"}, "limit"), ({"limit": True}, "limit"), ({"limit": 1.5}, "limit"),
        ({"observed": -1}, "observed"), ({"simulated": "yes"}, "simulated"), ({"profiles": ["nope"]}, "profiles"),
        ({"profiles": "gpu"}, "profiles"), ({"profiles": [1]}, "profiles"), ({"held": 1}, "held"),
    ],
)  # fmt: skip
def test_bounds_name_the_field_and_change_nothing(pat, change, field):
    with pytest.raises(Invalid) as caught:
        pools.create_pool(pat, **(GOOD | change))
    assert list(caught.value.fields) == [field]
    assert not Pool.objects.exists() and not Row.objects.exists()


def test_a_pool_needs_name_cluster_and_limit(pat):
    with pytest.raises(Invalid, match="cluster, limit, name"):
        pools.create_pool(pat, slug="a")


def test_change_pool_audits_what_changed_and_promotes(org, pat):
    pool = pools.create_pool(pat, **GOOD)
    for name in ("a", "b"):
        services.reserve(system("t"), pool, 8, holder=("endpoint", name), project=org.fraud)
    changed = pools.change_pool(pat, pool, limit=16, observed=16)
    assert (changed.limit, changed.held) == (16, 16)
    row = Row.objects.get(action="quotas.change_pool")
    assert (row.before, row.after) == ('{"limit":8,"observed":8}', '{"limit":16,"observed":16}')
    pools.change_pool(pat, pool, limit=16)
    assert Row.objects.filter(action="quotas.change_pool").count() == 1


def test_the_limit_never_falls_below_what_is_held(org, pat):
    pool = pools.create_pool(pat, **GOOD)
    services.reserve(system("t"), pool, 6, holder=("endpoint", "a"), project=org.fraud)
    with pytest.raises(Conflict, match="6 accelerators are held"):
        pools.change_pool(pat, pool, limit=5)
    pool.refresh_from_db()
    assert pool.limit == 8


def test_check_pools_says_what_is_wrong_once_and_repairs_nothing(org, pat, caplog):
    pool = pools.create_pool(pat, **GOOD)
    services.reserve(system("t"), pool, 2, holder=("endpoint", "a"), project=org.fraud)
    assert pools.check_pools() == []
    with connection.cursor() as cursor:
        cursor.execute("UPDATE quotas_pool SET held = 5")
    with caplog.at_level(logging.ERROR):
        for _ in range(3):
            (finding,) = pools.check_pools()
    assert (finding.pool, finding.code) == ("shared-gpu", "counter_differs")
    assert "counts 5 held, its reservations add up to 2" in finding.sentence
    assert caplog.text.count("counter_differs") == 3
    pool.refresh_from_db()
    assert pool.held == 5
    with connection.cursor() as cursor:
        cursor.execute("UPDATE quotas_pool SET held = 2")
    assert pools.check_pools() == []
    services.observe(system("t"), pool, 1)
    assert [one.code for one in pools.check_pools()] == ["below_held"]
    codes = Row.objects.filter(action="quotas.check_pools").order_by("id").values_list("after", flat=True)
    assert [code.split('"')[3] for code in codes] == ["counter_differs", "", "below_held"]
