"""Setting, raising and reading quotas: who may, what is refused, what is left, and which one binds."""

import datetime as dt
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from django.utils import timezone

from audit.models import Row
from portal.errors import Conflict, Forbidden, Invalid, NotFound
from projects import epoch, keys
from projects.models import ApiKey, Notification
from projects.principal import Principal
from quotas.bounds import Bound, Raise, bounds, window_end
from quotas.gpus import gpu_limit
from quotas.grants import set_quotas
from quotas.limits import Limit, applying, binding, document, limits, names, overview
from quotas.models import Quota, QuotaRaise, Reservation, ReservationState, UsageDay
from quotas.raises import raise_quota
from quotas.services import release, reserve
from quotas.spent import spent
from tests.conftest import Org
from tests.factories import make_pool

pytestmark = pytest.mark.django_db
ENDPOINTS = {"scoring": str(uuid.UUID(int=1)), "summaries": str(uuid.UUID(int=2))}
TODAY = {"target": "project", "name": "", "window": "day", "soft": 2000, "hard": 5000}
Queries = Callable[..., Any]


@pytest.fixture
def pat(org: Org) -> Principal:
    return Principal.of(org.pat)


@pytest.fixture
def key(org: Org) -> ApiKey:
    return keys.issue(Principal.of(org.dana), project=org.fraud, name="k", scopes=["inference:invoke"])[0]


def use(
    org: Org, tokens: int, *, days_ago: int = 0, endpoint: str = "scoring", key: str = "k", project: int = 0
) -> None:
    """Let the ledger hold one call."""
    day = timezone.now().replace(hour=0, minute=0, second=0, microsecond=0) - dt.timedelta(days=days_ago)
    UsageDay.objects.update_or_create(
        start=day, project_id=project or org.fraud.pk, endpoint_id=ENDPOINTS[endpoint], key_id=key,
        defaults={"endpoint": endpoint, "key": "gth_x", "person": "dana", "requests": 1,
                  "input_tokens": tokens - tokens // 3, "output_tokens": tokens // 3},
    )  # fmt: skip


def entry(**fields: Any) -> dict[str, Any]:
    return {"target": "project", "name": "", "window": "day", "soft": None, "hard": 100} | fields


def only(found: list[Limit], kind: str = "tokens") -> Limit:
    (one,) = [limit for limit in found if limit.kind == kind]
    return one


# --- Setting ---------------------------------------------------------------------------------------------------------


def test_set_quotas_writes_audits_and_moves_the_epoch(org: Org, pat: Principal, key: ApiKey) -> None:
    before = epoch.current()
    body = {"gpus": {"limit": 6}, "tokens": [
        TODAY, entry(target="endpoint", name="scoring", window="month"), entry(target="key", name=key.prefix),
    ]}  # fmt: skip
    assert set_quotas(pat, org.fraud, body, endpoints=ENDPOINTS) == []
    known = names(org.fraud, endpoints=[(pk, name) for name, pk in ENDPOINTS.items()], keys=[key])
    assert document(bounds(projects=[org.fraud.pk], kind=None), known) == {
        "gpus": {"limit": 6},
        "tokens": [
            TODAY,
            entry(target="endpoint", name="scoring", window="month"),
            entry(target="key", name=key.prefix),
        ],
    }
    row = Row.objects.get(action="quotas.set_quotas")
    assert (row.object_id, row.project) == (str(org.fraud.pk), "fraud-detection") and '"hard":5000' in row.after
    assert epoch.current() > before


def test_set_quotas_changes_in_place_and_says_nothing_of_what_stays(org: Org, pat: Principal) -> None:
    set_quotas(pat, org.fraud, {"gpus": {"limit": 4}, "tokens": [TODAY, entry(window="month", hard=9000)]})
    raised = raise_quota(pat, org.fraud, kind="tokens", target_kind="project", target_id="", window="day", soft=None,
                         hard=6000, ends_on=timezone.now().date(), reference="R-1")  # fmt: skip
    set_quotas(pat, org.fraud, {"gpus": {"limit": 4}, "tokens": [TODAY | {"soft": 1000}]})
    assert QuotaRaise.objects.get().pk == raised.pk  # its quota was changed, not made anew
    assert list(Quota.objects.filter(kind="tokens").values_list("window", "soft", "hard")) == [("day", 1000, 5000)]
    last = Row.objects.filter(action="quotas.set_quotas").latest("id")
    assert "gpus" not in last.after and "month" in last.after
    count = Row.objects.count()
    set_quotas(pat, org.fraud, {"tokens": [TODAY | {"soft": 1000}]})
    assert Row.objects.count() == count


def test_a_part_that_is_left_out_stays(org: Org, pat: Principal) -> None:
    set_quotas(pat, org.fraud, {"gpus": {"limit": 4}, "tokens": [TODAY]})
    set_quotas(pat, org.fraud, {"tokens": []})
    assert Quota.objects.get().hard == 4
    set_quotas(pat, org.fraud, {"gpus": {"limit": None}})
    assert not Quota.objects.exists()


@pytest.mark.parametrize(
    ("tokens", "field", "words"),
    [
        (entry(hard=-1), "tokens.0.hard", "the least is 0"),
        (entry(hard=10**30), "tokens.0.hard", "1000000000000000"),
        (entry(hard=10**15 + 1), "tokens.0.hard", "1000000000000000"),
        (entry(hard=1.5), "tokens.0.hard", "whole number"),
        (entry(hard=True), "tokens.0.hard", "whole number"),
        (entry(hard="12"), "tokens.0.hard", "whole number"),
        (entry(soft=101), "tokens.0.soft", "at most 100"),
        (entry(hard=None), "tokens.0.hard", "neither soft nor hard"),
        (entry(window="week"), "tokens.0.window", "'day'"),
        (entry(target="team"), "tokens.0.target", "'project'"),
        (entry(target="endpoint", name="nothing"), "tokens.0.name", "no such living endpoint"),
        (entry(target="key", name="gth_nothing"), "tokens.0.name", "no such key"),
        (entry(name="other-project"), "tokens.0.name", "leave it empty"),
        (entry(colour="red"), "tokens.0.colour", "not a field"),
    ],
)
def test_set_quotas_refuses_what_cannot_be(
    org: Org, pat: Principal, tokens: dict[str, Any], field: str, words: str
) -> None:
    set_quotas(pat, org.fraud, {"gpus": {"limit": 3}, "tokens": [TODAY]})
    with pytest.raises(Invalid) as caught:
        set_quotas(pat, org.fraud, {"gpus": {"limit": 1}, "tokens": [tokens]}, endpoints=ENDPOINTS)
    assert words in caught.value.fields[field] and "\n" not in caught.value.sentence
    assert sorted(Quota.objects.values_list("kind", "hard")) == [("gpus", 3), ("tokens", 5000)]


@pytest.mark.parametrize("limit", [-1, 100_001, 10**30, 2.0, True, "3", []])
def test_set_quotas_refuses_gpus_out_of_bounds(org: Org, pat: Principal, limit: Any) -> None:
    with pytest.raises(Invalid) as caught:
        set_quotas(pat, org.fraud, {"gpus": {"limit": limit}})
    assert list(caught.value.fields) == ["gpus.limit"]


def test_two_entries_for_one_target_are_refused(org: Org, pat: Principal) -> None:
    with pytest.raises(Invalid, match=r"tokens\.1 is the second entry"):
        set_quotas(pat, org.fraud, {"tokens": [entry(), entry(name="fraud-detection", hard=7)]})


def test_a_limit_below_what_is_used_is_set_and_said(org: Org, pat: Principal) -> None:
    use(org, 3000)
    (warning,) = set_quotas(pat, org.fraud, {"tokens": [entry(hard=100), entry(window="month", hard=9999)]})
    assert "100 tokens per day" in warning and "3,000" in warning
    assert Quota.objects.filter(hard=100).exists()


def test_who_sets_what(org: Org, pat: Principal) -> None:
    """An owner divides what the platform granted; others change nothing, and a stranger learns nothing."""
    set_quotas(pat, org.fraud, {"gpus": {"limit": 6}, "tokens": [TODAY]})
    omar = Principal.of(org.omar)
    divided = [TODAY | {"soft": 1}, entry(target="endpoint", name="scoring", hard=99)]
    set_quotas(omar, org.fraud, {"gpus": {"limit": 6}, "tokens": divided}, endpoints=ENDPOINTS)
    assert Quota.objects.get(target_kind="endpoint").hard == 99
    refused: tuple[dict[str, Any], ...] = (
        {"tokens": [TODAY | {"hard": 6000}]}, {"tokens": [TODAY | {"hard": 4000}]}, {"tokens": []},
        {"gpus": {"limit": 7}}, {"gpus": {"limit": None}}, {"tokens": [TODAY, entry(window="month")]},
    )  # fmt: skip
    for body in refused:
        with pytest.raises(Forbidden, match="Only a platform engineer"):
            set_quotas(omar, org.fraud, body)
    for person in (org.dana, org.vic, org.yasmine, org.aud):
        with pytest.raises(Forbidden):
            set_quotas(Principal.of(person), org.fraud, {"tokens": []})
    with pytest.raises(NotFound):
        set_quotas(Principal.of(org.cy), org.fraud, {"tokens": []})
    assert Quota.objects.get(target_kind="project", kind="tokens").hard == 5000


# --- GPUs ------------------------------------------------------------------------------------------------------------


def test_reserve_refuses_above_the_gpu_quota(org: Org, pat: Principal) -> None:
    pool = make_pool(limit=8)
    set_quotas(pat, org.fraud, {"gpus": {"limit": 3}})
    reserve(pat, pool, 2, holder=("endpoint", "a"), project=org.fraud)
    assert (gpu_limit(org.fraud).held, gpu_limit(org.fraud).left) == (2, 1)
    with pytest.raises(Conflict, match="may hold 3 accelerators; it holds 2, and this needs 2 more") as caught:
        reserve(pat, pool, 2, holder=("endpoint", "b"), project=org.fraud)
    assert caught.value.code == "gpu_quota" and not Reservation.objects.filter(holder_id="b").exists()
    reserve(pat, pool, 2, holder=("endpoint", "a"), project=org.fraud)  # a retry takes nothing more
    reserve(pat, pool, 5, holder=("endpoint", "c"), project=org.search)  # nobody limits the other project
    release(pat, ("endpoint", "a"))
    reserve(pat, pool, 3, holder=("endpoint", "b"), project=org.fraud)
    assert gpu_limit(org.fraud).left == 0


def test_what_waits_counts_against_the_gpu_quota(org: Org, pat: Principal) -> None:
    """Else a queue of waiters would be held beyond the quota as soon as the pool has room."""
    small, other = make_pool(limit=2), make_pool(limit=2)
    set_quotas(pat, org.fraud, {"gpus": {"limit": 4}})
    for holder in ("a", "b"):
        reserve(pat, small, 2, holder=("endpoint", holder), project=org.fraud)
    assert Reservation.objects.get(holder_id="b").state == ReservationState.WAITING
    with pytest.raises(Conflict, match="it holds 2 and waits for 2, and this needs 1 more"):
        reserve(pat, other, 1, holder=("endpoint", "c"), project=org.fraud)
    with pytest.raises(Invalid, match="holds 2 and waits for 2"):
        set_quotas(pat, org.fraud, {"gpus": {"limit": 3}})
    only_gpus = only(limits(org.fraud), "gpus")
    assert (only_gpus.used, only_gpus.left, only_gpus.percent) == (4, 0, 100.0)
    assert "holds 2 of its 4 GPUs and waits for 2; none is left. Ask for more" in only_gpus.sentence


@pytest.mark.django_db(transaction=True)
def test_sixteen_reservations_at_the_same_instant_stay_within_the_gpu_quota(
    org: Org, in_threads: Callable[[int, Callable[[int], Any]], list[Any]]
) -> None:
    """In pools of their own, so that only the quota can stop them."""
    pat = Principal.of(org.pat)
    set_quotas(pat, org.fraud, {"gpus": {"limit": 5}})
    pools = [make_pool(limit=8) for _ in range(4)]

    def take(number: int) -> str:
        try:
            reserve(pat, pools[number % 4], 1, holder=("endpoint", str(number)), project=org.fraud)
        except Conflict as error:
            return error.code
        return "held"

    results = in_threads(16, take)
    assert sorted(set(results)) == ["gpu_quota", "held"] and results.count("held") == 5
    assert gpu_limit(org.fraud).held == 5


# --- Raising ---------------------------------------------------------------------------------------------------------


def lift(by: Principal, org: Org, **fields: Any) -> QuotaRaise:
    return raise_quota(by, org.fraud, **(
        {"kind": "tokens", "target_kind": "project", "target_id": "", "window": "day", "soft": None, "hard": 8000,
         "ends_on": timezone.now().date() + dt.timedelta(days=3), "reference": "R-12"} | fields
    ))  # fmt: skip


def test_raise_quota_counts_until_its_last_day(org: Org, pat: Principal) -> None:
    set_quotas(pat, org.fraud, {"tokens": [TODAY]})
    before = epoch.current()
    made = lift(pat, org, soft=3000)
    now = only(limits(org.fraud))
    assert (now.soft, now.hard, now.raised_until) == (3000, 8000, made.ends_on)
    (bound,) = bounds()
    assert bound.on(made.ends_on).hard == 8000 and bound.on(made.ends_on + dt.timedelta(days=1)).hard == 5000
    assert epoch.current() > before and Row.objects.filter(action="quotas.raise_quota").exists()
    said = Notification.objects.get(kind="quota.raised", person=org.omar)
    assert "raised to 8,000 tokens until" in said.title and said.url == "/projects/fraud-detection/limits/"
    assert set(Notification.objects.values_list("person__username", flat=True)) == {"omar", "dana"}


def test_a_gpu_quota_can_be_raised_for_a_time(org: Org, pat: Principal) -> None:
    pool = make_pool(limit=8)
    set_quotas(pat, org.fraud, {"gpus": {"limit": 1}})
    lift(pat, org, kind="gpus", window="", hard=4)
    reserve(pat, pool, 4, holder=("endpoint", "a"), project=org.fraud)
    QuotaRaise.objects.update(ends_on=timezone.now().date() - dt.timedelta(days=1))
    assert (gpu_limit(org.fraud).limit, gpu_limit(org.fraud).left) == (1, 0)  # nothing is taken away
    with pytest.raises(Conflict, match="may hold 1 accelerator; it holds 4"):
        reserve(pat, pool, 1, holder=("endpoint", "b"), project=org.fraud)


@pytest.mark.parametrize(
    ("fields", "name"),
    [
        ({"hard": 5000}, "hard"), ({"hard": -1}, "hard"), ({"hard": 10**16}, "hard"), ({"hard": None}, "hard"),
        ({"hard": None, "soft": 6000}, "soft"), ({"window": "month"}, "quota"),
        ({"ends_on": dt.date(2020, 1, 1)}, "ends_on"), ({"target_kind": "endpoint", "target_id": "x"}, "quota"),
    ],
)  # fmt: skip
def test_raise_quota_refuses_what_raises_nothing(org: Org, pat: Principal, fields: dict[str, Any], name: str) -> None:
    set_quotas(pat, org.fraud, {"tokens": [TODAY]})
    with pytest.raises(Invalid) as caught:
        lift(pat, org, **fields)
    assert list(caught.value.fields) == [name] and not QuotaRaise.objects.exists()


def test_the_largest_of_several_raises_counts() -> None:
    day = dt.date(2026, 11, 21)
    raises = (Raise(None, 700, day), Raise(None, 900, day - dt.timedelta(days=1)), Raise(None, 600, day))
    bound = Bound(1, 1, "p", "tokens", "project", "", "day", None, 500, raises)
    assert (bound.on(day).hard, bound.on(day - dt.timedelta(days=1)).hard) == (700, 900)
    assert bound.on(day + dt.timedelta(days=1)).hard == 500


# --- Reading ---------------------------------------------------------------------------------------------------------


def test_what_is_used_is_the_ledgers_sum_of_the_window(org: Org, pat: Principal, key: ApiKey) -> None:
    """Input and output; a day is today, a month the whole month; others' count only for the endpoint."""
    this_month = timezone.now().day > 1
    body = [
        entry(),
        entry(window="month"),
        entry(target="endpoint", name="scoring"),
        entry(target="key", name=key.prefix),
    ]
    set_quotas(pat, org.fraud, {"tokens": body}, endpoints=ENDPOINTS)
    use(org, 30)
    use(org, 7, endpoint="summaries")
    use(org, 11, key=str(key.pk))
    use(org, 500, project=org.search.pk)
    use(org, 13, days_ago=1)
    use(org, 1000, days_ago=40)
    found = {(one.target_kind, one.window): one.used for one in
             limits(org.fraud, endpoint=(ENDPOINTS["scoring"], "scoring"), key=key)}  # fmt: skip
    assert found == {
        ("project", "day"): 48,
        ("project", "month"): 61 if this_month else 48,
        ("endpoint", "day"): 541,
        ("key", "day"): 11,
    }


def test_limits_cost_the_same_queries_however_many_there_are(
    org: Org, pat: Principal, key: ApiKey, django_assert_num_queries: Queries
) -> None:
    set_quotas(pat, org.fraud, {"gpus": {"limit": 2}, "tokens": [TODAY]})
    with django_assert_num_queries(3):
        limits(org.fraud, endpoint=(ENDPOINTS["scoring"], "scoring"), key=key)
    many = {f"e{number}": str(uuid.UUID(int=number + 10)) for number in range(50)}
    set_quotas(pat, org.fraud, {"tokens": [entry(target="endpoint", name=name) for name in many]}, endpoints=many)
    found = bounds(projects=[org.fraud.pk], kind=None)
    with django_assert_num_queries(2):
        assert len(overview(org.fraud, found, names(org.fraud, endpoints=[(pk, n) for n, pk in many.items()]))) == 51


def test_the_limit_with_the_smallest_share_left_binds(org: Org, pat: Principal, key: ApiKey) -> None:
    """Among those that refuse; what only warns binds where nothing refuses; other people's quotas never do."""
    body = [
        entry(hard=1000), entry(window="month", soft=10, hard=None), entry(target="endpoint", name="scoring", hard=200),
        entry(target="endpoint", name="summaries", hard=1),
    ]  # fmt: skip
    set_quotas(pat, org.fraud, {"gpus": {"limit": 0}, "tokens": body}, endpoints=ENDPOINTS)
    use(org, 150)
    scoring = (ENDPOINTS["scoring"], "scoring")
    first = binding(limits(org.fraud, endpoint=scoring))
    assert first is not None and (first.target_kind, first.left) == ("endpoint", 50)
    assert "The endpoint scoring has used 150 of its 200 tokens for today; 50 are left" in first.sentence
    alone = binding(limits(org.fraud))
    assert alone is not None and (alone.target_kind, alone.hard, alone.left) == ("project", 1000, 850)
    every = overview(org.fraud, bounds(projects=[org.fraud.pk], kind=None),
                     names(org.fraud, endpoints=[(pk, name) for name, pk in ENDPOINTS.items()]))  # fmt: skip
    assert len(every) == 5 and sum(limit.binds for limit in every) == 1
    chosen = applying(every, endpoint_id=scoring[0])
    assert [limit.target for limit in chosen if limit.binds] == ["scoring"]
    assert not [limit for limit in chosen if limit.target == "summaries"]


def test_sentences_of_used_up_and_of_soft_limits(org: Org, pat: Principal) -> None:
    set_quotas(pat, org.fraud, {"tokens": [entry(hard=100), entry(window="month", soft=10, hard=None)]})
    use(org, 100)
    day, month = limits(org.fraud)
    assert (day.left, day.percent, day.binds) == (0, 100.0, True)
    assert "calls are refused" in day.sentence and "Ask for more with a request of the kind quota." in day.sentence
    assert "past the 10 that warn. Nothing is refused" in month.sentence
    assert day.resets_at == window_end("day", timezone.now())


def test_windows_end_at_midnight_utc_and_at_the_first() -> None:
    late = dt.datetime(2026, 12, 31, 23, 59, 59, 999999, tzinfo=dt.UTC)
    first = dt.datetime(2027, 1, 1, tzinfo=dt.UTC)
    assert window_end("day", late) == window_end("month", late) == first
    assert window_end("month", first) == dt.datetime(2027, 2, 1, tzinfo=dt.UTC)


def test_spent_is_one_statement(org: Org, pat: Principal, key: ApiKey, django_assert_num_queries: Queries) -> None:
    """The gateway needs sums and offsets of one instant."""
    body = [entry(), entry(target="endpoint", name="scoring"), entry(target="key", name=key.prefix)]
    set_quotas(pat, org.fraud, {"tokens": body}, endpoints=ENDPOINTS)
    found = bounds()
    with django_assert_num_queries(1):
        assert spent(found, journals=["gw-1"]).sums == {}
    assert spent([]).targets == frozenset()
