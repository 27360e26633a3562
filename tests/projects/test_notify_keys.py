"""Reminders of API keys that end soon."""

import datetime as dt

import pytest
import time_machine
from django.utils import timezone

from projects import keys, tasks
from projects.models import Notification, User
from projects.notify.key_reminders import remind
from projects.principal import Principal
from tests.conftest import Org


def make_key(org: Org, *, days: int, person: User | None = None, name: str = "scoring") -> None:
    by = Principal.of(person or org.dana)
    keys.issue(by, project=org.fraud, name=name, scopes=["inference:invoke"], days=days)


def told() -> list[tuple[str, str]]:
    rows = Notification.objects.order_by("pk").values_list("person__username", "once")
    return sorted((name, once.split(":")[1]) for name, once in rows)


@pytest.mark.slow
def test_fourteen_and_three_days_before_each_once(org: Org) -> None:
    make_key(org, days=90)
    start = timezone.now()
    with time_machine.travel(start) as clock:
        for day in range(90):
            clock.move_to(start + dt.timedelta(days=day, hours=1))
            tasks.expire()
            tasks.expire()
            if day == 75:
                assert told() == []
            if day == 76:
                assert told() == [("dana", "14")]
    assert told() == [("dana", "14"), ("dana", "3"), ("omar", "3")]
    row = Notification.objects.get(person=org.omar)
    assert row.title.startswith("The key scoring of fraud-detection expires on ")
    assert (row.kind, row.url, row.project) == ("key.expiring", "/projects/fraud-detection/keys/", org.fraud)


def test_a_portal_that_slept_tells_the_nearest_step_only(org: Org) -> None:
    make_key(org, days=90)
    with time_machine.travel(timezone.now() + dt.timedelta(days=88)):
        remind()
    assert told() == [("dana", "3"), ("omar", "3")]


def test_short_lived_and_ended_keys_are_not_announced(org: Org) -> None:
    make_key(org, days=2, name="short")
    make_key(org, days=10, name="ten")  # shorter than fourteen: only the last step
    make_key(org, days=90, name="revoked")
    for key in org.fraud.keys.filter(name="revoked"):
        keys.revoke(Principal.of(org.dana), key)
    assert remind() == 0
    with time_machine.travel(timezone.now() + dt.timedelta(days=8)):
        assert remind() == 1
    with time_machine.travel(timezone.now() + dt.timedelta(days=88)):
        remind()
    assert {row.title.split()[2] for row in Notification.objects.all()} == {"ten"}


def test_the_owners_hear_for_those_who_left(org: Org) -> None:
    make_key(org, days=90)
    User.objects.filter(pk=org.dana.pk).update(is_active=False)
    with time_machine.travel(timezone.now() + dt.timedelta(days=80)):
        remind()
    assert told() == [("omar", "14")]


def test_an_owner_who_holds_the_key_hears_once(org: Org) -> None:
    make_key(org, days=90, person=org.omar)
    with time_machine.travel(timezone.now() + dt.timedelta(days=88)):
        remind()
    assert told() == [("omar", "3")]
