"""List-price cost of accelerators that were held."""

import datetime as dt
from decimal import Decimal

import pytest

from audit.services import system
from projects.principal import Principal
from quotas import costs, services
from quotas.costs import Cost
from quotas.ingest import ingest
from quotas.journal import Journal
from quotas.models import Pool, Reservation
from tests.conftest import Org
from tests.factories import make_endpoint, make_pool, make_profile
from tests.quotas.conftest import NOON, call

pytestmark = pytest.mark.django_db
HOUR = dt.timedelta(hours=1)
DAY = NOON.replace(hour=0)


@pytest.fixture
def pool(org: Org) -> Pool:
    return Pool.objects.create(slug="shared-gpu", name="Shared", cluster="local", limit=8, observed=8)


def hold(
    org: Org, pool: Pool, name: str, *, begin: dt.datetime, end: dt.datetime | None = None, amount: int = 2,
    price: str | None = "1.25", currency: str = "EUR", project=None,
) -> Reservation:  # fmt: skip
    """Reserve through the service, then set the clock of what it wrote."""
    made = services.reserve(
        system("t"), pool, amount, holder=("endpoint", name), project=project or org.fraud,
        price=None if price is None else Decimal(price), currency=currency,
    )  # fmt: skip
    if end:
        services.release(system("t"), ("endpoint", name))
    Reservation.objects.filter(pk=made.pk).update(held_at=begin, released_at=end)
    return made


def spent(org: Org, start: dt.datetime, end: dt.datetime, *, user=None, **fields) -> Cost:
    by = Principal.of(user or org.dana)
    return costs.total(costs.held(by, start, end, now=NOON, **fields))


def test_cost_is_amount_times_price_times_hours_within_the_range(org, pool):
    hold(org, pool, "e1", begin=DAY - 10 * HOUR, end=DAY + 3 * HOUR)
    hold(org, pool, "e2", begin=DAY + 2 * HOUR, amount=1, price="0.5000")
    found = spent(org, DAY, DAY + 24 * HOUR)
    # 2 × 1.25 × 3 h, and 1 × 0.50 × 10 h: until noon, which is now.
    assert (found.amount, found.currency, found.words) == (Decimal("12.5"), "EUR", "€\u00a012.50")
    assert spent(org, DAY, DAY + 24 * HOUR, endpoint="e2").amount == Decimal(5)
    assert spent(org, DAY + 3 * HOUR, DAY + 4 * HOUR).amount == Decimal("0.5")
    assert spent(org, DAY - 30 * HOUR, DAY - 20 * HOUR).amounts == {}


def test_the_cost_of_one_holder_alone(org, pool):
    hold(org, pool, "e1", begin=DAY - 10 * HOUR, end=DAY + 3 * HOUR)
    hold(org, pool, "e2", begin=DAY, amount=1, price="0.5000")
    assert costs.of_holder("e1", DAY, DAY + 24 * HOUR).amount == Decimal("7.5")  # 2 × 1.25 × 3 h
    assert costs.of_holder("e2", DAY, DAY + 4 * HOUR).amount == Decimal(2)
    assert costs.of_holder("e3", DAY, DAY + 4 * HOUR).amount is None


def test_waiting_costs_nothing_and_minutes_count(org, pool):
    hold(org, pool, "e1", begin=DAY, end=DAY + dt.timedelta(minutes=7, seconds=12), amount=8, price="3")
    services.reserve(system("t"), pool, 8, holder=("endpoint", "big"), project=org.fraud, price=Decimal(9))
    waiting = services.reserve(system("t"), pool, 1, holder=("endpoint", "w"), project=org.fraud, price=Decimal(9))
    assert waiting.held_at is None
    Reservation.objects.filter(holder_id="big").update(held_at=NOON)
    assert spent(org, DAY, DAY + 24 * HOUR).text == "2.8800"


def test_what_has_no_price_is_said_and_not_counted_as_nothing(org, pool):
    hold(org, pool, "e1", begin=DAY, price=None)
    assert spent(org, DAY, NOON).words == "not priced"
    assert (spent(org, DAY, NOON).text, spent(org, DAY, NOON).currency) == (None, "")
    hold(org, pool, "e2", begin=DAY, amount=1, price="1")
    assert spent(org, DAY, NOON).words == "€\u00a012.00 + not priced"


def test_currencies_are_never_added_up(org, pool):
    hold(org, pool, "e1", begin=NOON - HOUR)
    hold(org, pool, "e2", begin=NOON - HOUR, currency="USD")
    found = spent(org, DAY, NOON)
    assert (found.text, found.currency) == (None, "EUR+USD")
    assert found.words == "€\u00a02.50 + $\u00a02.50"


def test_only_what_one_may_see(org, pool):
    hold(org, pool, "e1", begin=NOON - HOUR)
    hold(org, pool, "e2", begin=NOON - HOUR, project=org.search)
    assert spent(org, DAY, NOON).text == "2.5000"
    assert spent(org, DAY, NOON, user=org.pat).text == "5.0000"
    assert spent(org, DAY, NOON, user=org.pat, project="search-ranking").text == "2.5000"
    assert spent(org, DAY, NOON, user=org.cy, project="fraud-detection").words == "not priced"


def test_a_holder_is_called_as_its_last_call_was(org, pool, tmp_path):
    hold(org, pool, "e1", begin=DAY)
    hold(org, pool, "e2", begin=DAY)
    with Journal(tmp_path / "journal") as journal:
        for days, name in ((2, "old-name"), (1, "scoring")):
            at = DAY - dt.timedelta(days=days)
            call(journal, start={"project_id": org.fraud.pk, "endpoint_id": "e1", "endpoint": name, "at": at})
        ingest(tmp_path / "journal")
    assert [one.name for one in costs.held(Principal.of(org.dana), DAY, NOON, now=NOON)] == [
        "scoring",
        "never called (e2)",
    ]


def test_the_price_of_one_accelerator_is_its_part_of_the_profile(org):
    assert costs.unit_price(make_profile(gpus=4, price="10.00")) == Decimal("2.5")
    assert costs.unit_price(make_profile(gpus=3, price="1.00")) == Decimal("0.3333")
    assert costs.unit_price(make_profile(price="0.10")) is None


def test_an_approved_endpoint_holds_at_the_list_price_of_its_profile(org):
    profile = make_profile(gpus=2, memory_gib=48, price="3.00")
    make_pool(limit=8, profiles=[profile])
    endpoint = make_endpoint(org.dana, profile=profile, replicas=2)
    held = Reservation.objects.get(holder_kind="endpoint", holder_id=str(endpoint.pk))
    assert (held.amount, held.price_per_hour, held.currency) == (4, Decimal("1.5"), profile.currency)
