"""Alerts: each threshold once per quota and window, the highest of several, and the pace of a month."""

import datetime as dt
from collections.abc import Callable
from typing import Any

import pytest

from projects import keys
from projects.models import ApiKey, Notification
from projects.principal import Principal
from quotas import alerts, tasks
from quotas.alerts import PROJECTED, SOFT_PASSED, check
from quotas.grants import set_quotas
from quotas.models import Quota, QuotaAlert, UsageDay
from quotas.raises import raise_quota
from tests.conftest import Org

pytestmark = pytest.mark.django_db
NOW = dt.datetime(2026, 11, 21, 15, 30, tzinfo=dt.UTC)
ENDPOINT = "5f0c6f3e-0000-4000-8000-000000000001"


def use(org: Org, tokens: int, *, days_ago: int = 0, key: str = "k", now: dt.datetime = NOW) -> None:
    """Let the ledger hold `tokens` in all for that day."""
    day = now.replace(hour=0, minute=0) - dt.timedelta(days=days_ago)
    UsageDay.objects.update_or_create(
        start=day, project_id=org.fraud.pk, endpoint_id=ENDPOINT, key_id=key,
        defaults={"endpoint": "scoring", "key": "gth_abcdefgh", "person": "dana", "requests": 1,
                  "input_tokens": tokens, "output_tokens": 0},
    )  # fmt: skip


def quota(org: Org, hard: int | None = 1000, soft: int | None = None, window: str = "day", **fields: Any) -> Quota:
    body = {"target": "project", "name": "", "window": window, "soft": soft, "hard": hard} | fields
    set_quotas(Principal.of(org.pat), org.fraud, {"tokens": [body]}, endpoints={"scoring": ENDPOINT})
    return Quota.objects.get(kind="tokens")


def told(person: str = "omar") -> list[str]:
    """The titles that a person has got, oldest first."""
    rows = Notification.objects.filter(person__username=person, kind__startswith="quota.").order_by("id")
    return list(rows.values_list("title", flat=True))


def rows() -> list[int]:
    return sorted(QuotaAlert.objects.values_list("threshold", flat=True))


def test_nothing_is_asked_more_than_once_while_nobody_has_a_quota(
    org: Org, django_assert_num_queries: Callable[..., Any]
) -> None:
    with django_assert_num_queries(1):
        assert check(NOW) == 0


def test_each_threshold_is_told_once_per_window(org: Org) -> None:
    quota(org)
    seen = []
    for tokens in (0, 499, 500, 500, 799, 800, 999, 1000, 5000):
        use(org, tokens)
        seen.append(check(NOW))
    assert seen == [0, 0, 1, 0, 0, 1, 0, 1, 0] and rows() == [50, 80, 100]
    assert (
        told()
        == told("dana")
        == [
            "fraud-detection: 50 % of the daily token quota of 1,000 tokens is used.",
            "fraud-detection: 80 % of the daily token quota of 1,000 tokens is used.",
            "fraud-detection: the daily token quota of 1,000 tokens is used up. Calls are refused.",
        ]
    )
    assert not told("vic") and not told("cy")
    row = Notification.objects.filter(person=org.omar).earliest("id")
    assert (
        row.url == "/projects/fraud-detection/limits/"
        and row.text == "The count starts anew on 22 Nov 2026, 00:00 UTC."
    )
    tomorrow = NOW + dt.timedelta(days=1)
    assert check(tomorrow) == 0
    use(org, 600, now=tomorrow)
    assert check(tomorrow) == 1 and len(told()) == 4 and QuotaAlert.objects.count() == 4


def test_a_jump_over_several_tells_the_highest(org: Org) -> None:
    quota(org)
    use(org, 1200)
    assert check(NOW) == 1
    assert len(told()) == 1 and "used up" in told()[0] and rows() == [50, 80, 100]
    assert check(NOW) == 0


def test_soft_limits(org: Org) -> None:
    """Alone a soft limit is what the thresholds are of; beside a hard one passing it is told too."""
    quota(org, hard=None, soft=100)
    use(org, 100)
    assert check(NOW) == 1
    assert told() == ["fraud-detection: the daily token quota of 100 tokens is used up."]
    quota(org, hard=1000, soft=300)
    use(org, 350)
    assert check(NOW) == 1
    assert told()[-1] == "fraud-detection: 350 used of the daily token quota, past the 300 tokens that warn."
    assert rows() == [SOFT_PASSED]
    use(org, 500)
    assert check(NOW) == 1 and "50 %" in told()[-1]


def test_new_numbers_in_a_window_are_told_about(org: Org) -> None:
    """After a raise people hear when the larger number runs out too, and not again of the old one."""
    present = quota(org)
    use(org, 1000)
    check(NOW)
    raise_quota(Principal.of(org.pat), org.fraud, kind="tokens", target_kind="project", target_id="", window="day",
                soft=None, hard=2000, ends_on=dt.date(2100, 1, 1), reference="R-1")  # fmt: skip
    assert "raised to 2,000 tokens" in told()[-1]
    assert check(NOW) == 1 and "50 % of the daily token quota of 2,000" in told()[-1]
    use(org, 2000)
    assert check(NOW) == 1 and "2,000 tokens is used up" in told()[-1]
    assert QuotaAlert.objects.filter(quota=present).count() == 3


def test_a_quota_of_nothing_is_no_news(org: Org) -> None:
    quota(org, hard=0)
    assert check(NOW) == 0 and rows() == []
    use(org, 1)
    assert check(NOW) == 1 and rows() == [50, 80, 100]


def test_quotas_of_an_endpoint_and_of_a_key(org: Org) -> None:
    """Of an endpoint its project's builders hear, of a key its person and the owners."""
    key: ApiKey = keys.issue(Principal.of(org.dana), project=org.fraud, name="k", scopes=["inference:invoke"])[0]
    org.fraud.memberships.create(user=org.ravi, role="developer")
    quota(org, target="endpoint", name="scoring")
    use(org, 500, key=str(key.pk))
    check(NOW)
    title = "fraud-detection: 50 % of the daily token quota of the endpoint scoring of 1,000 tokens is used."
    assert told() == told("dana") == told("ravi") == [title]
    quota(org, target="key", name=key.prefix)
    check(NOW)
    assert "of the key gth_abcdefgh of 1,000" in told()[-1] and told() == told("dana") and told("ravi") == [title]


def test_two_checks_at_the_same_instant_tell_once(
    transactional_db: None, org: Org, in_threads: Callable[[int, Callable[[int], Any]], list[Any]]
) -> None:
    quota(org)
    use(org, 850)
    assert sorted(in_threads(6, lambda number: check(NOW))) == [0, 0, 0, 0, 0, 1]
    assert len(told()) == 1 and rows() == [50, 80]


def test_what_cannot_be_told_is_not_remembered(org: Org, monkeypatch: pytest.MonkeyPatch) -> None:
    """Row and notification stand or fall together: the next check tells what this one could not."""
    quota(org)
    use(org, 500)
    monkeypatch.setattr(alerts, "tell", lambda *args, **fields: (_ for _ in ()).throw(RuntimeError("no")))
    with pytest.raises(RuntimeError, match="no"):
        check(NOW)
    assert rows() == []
    monkeypatch.undo()
    assert check(NOW) == 1 and len(told()) == 1


def test_a_month_that_will_not_last_is_told_once(org: Org) -> None:
    """100 a day for five whole days: 1,000 that are left last ten days, and the month has 9.4 left."""
    quota(org, hard=1400, window="month")
    for days in range(1, 6):
        use(org, 80, days_ago=days)
    assert check(NOW) == 0  # 1,000 left at 80 a day outlast the month
    for days in range(1, 6):
        use(org, 120, days_ago=days)
    assert check(NOW) == 1 and check(NOW + dt.timedelta(days=1)) == 0
    assert told() == [
        "fraud-detection: at the pace of the last days the monthly token quota of 1,400 tokens is used up on 28 Nov, "
        "before the month ends."
    ]
    assert rows() == [PROJECTED]


def test_two_days_are_no_pace(org: Org) -> None:
    quota(org, hard=10_000, window="month")
    for days in (0, 1, 2):
        use(org, 1500, days_ago=days)
    assert check(NOW) == 0
    use(org, 100, days_ago=3)
    assert check(NOW) == 1 and rows() == [PROJECTED]


def test_a_month_that_is_used_up_is_not_projected(org: Org) -> None:
    quota(org, hard=100, window="month")
    for days in range(1, 6):
        use(org, 100, days_ago=days)
    assert check(NOW) == 1 and "used up. Calls are refused." in told()[0] and rows() == [50, 80, 100]


def test_the_task_checks(org: Org) -> None:
    quota(org)
    use(org, 600, now=dt.datetime.now(dt.UTC).replace(second=0, microsecond=0))
    tasks.alert()
    assert len(told()) == 1
