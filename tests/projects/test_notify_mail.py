"""Mail through a real mail server: what it says, outages without loss or storm, digests at the right hour."""

import datetime as dt
import itertools
import zoneinfo
from collections.abc import Iterator
from typing import Any

import pytest
import time_machine
from django.db import transaction
from django.utils import timezone

from projects import tasks
from projects.models import Delivery, DeliveryState, Notification, Preference, User
from projects.notify import calls, digest, mail, preferences, queue
from projects.notify.services import tell
from projects.principal import Principal
from tests.conftest import Org
from tests.projects.notify_kit import Mailbox, free_port, mail_server

pytestmark = pytest.mark.slow

START = dt.datetime(2026, 11, 21, 9, 0, tzinfo=dt.UTC)
MINUTE = dt.timedelta(minutes=1)


@pytest.fixture
def addresses(org: Org, settings: Any) -> Org:
    """Everybody has a mail address; mail leaves by SMTP."""
    for name in ("dana", "omar", "pat", "yasmine"):
        User.objects.filter(username=name).update(email=f"{name}@example.com")
        getattr(org, name).refresh_from_db()
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    settings.EMAIL_HOST, settings.EMAIL_TIMEOUT = "127.0.0.1", 2
    settings.DEFAULT_FROM_EMAIL, settings.BASE_URL = (
        "Gatehouse <gatehouse@example.com>",
        "https://gatehouse.example.com",
    )
    return org


@pytest.fixture
def box(addresses: Org, settings: Any) -> Iterator[Mailbox]:
    """A mail server that is there."""
    with mail_server() as found:
        settings.EMAIL_PORT = found.port
        yield found


def say(people: list[User], title: str = "scoring is ready.", **fields: Any) -> None:
    with transaction.atomic():
        tell("endpoint.ready", people, title=title, **fields)


def states() -> list[str]:
    return sorted(Delivery.objects.values_list("state", flat=True))


def test_one_sentence_and_a_link(addresses: Org, box: Mailbox) -> None:
    say([addresses.dana], "scoring is ready.", text="It answers calls — grüezi.", url="/endpoints/1/")
    assert mail.deliver() == 1
    (found,) = box.mails
    text = found.get_content()
    assert (found["To"], found["Subject"], found["From"]) == (
        "dana@example.com",
        "scoring is ready.",
        "Gatehouse <gatehouse@example.com>",
    )
    assert "It answers calls — grüezi." in text
    assert "https://gatehouse.example.com/endpoints/1/" in text
    assert "https://gatehouse.example.com/preferences/" in text
    assert found["Auto-Submitted"] == "auto-generated"
    assert found["List-Unsubscribe"] == "<https://gatehouse.example.com/preferences/>"
    row = Delivery.objects.get()
    assert (row.state, row.attempts, row.claimed_until, str(row.pk) in found["Message-ID"]) == ("sent", 1, None, True)
    assert mail.deliver() == 0 and len(box.mails) == 1


def test_three_are_three_mails_and_four_are_one(addresses: Org, box: Mailbox) -> None:
    for number in range(3):
        say([addresses.dana], f"Dana {number}.")
    for number in range(4):
        say([addresses.omar], f"Omar {number}.", url=f"/endpoints/{number}/")
    assert mail.deliver() == 4
    assert sorted(found["Subject"] for found in box.to("dana@example.com")) == ["Dana 0.", "Dana 1.", "Dana 2."]
    (together,) = box.to("omar@example.com")
    assert together["Subject"] == "Gatehouse: 4 notifications"
    assert all(f"Omar {number}." in together.get_content() for number in range(4))
    assert all(f"/endpoints/{number}/" in together.get_content() for number in range(4))
    assert states() == ["sent"] * 7


def test_an_hour_without_a_mail_server_loses_nothing_and_ends_without_a_storm(addresses: Org, settings: Any) -> None:
    settings.EMAIL_PORT = free_port()
    people = [addresses.dana, addresses.omar, addresses.pat]
    with time_machine.travel(START) as clock:
        for minute in range(60):
            say(people, f"Minute {minute}.")
            for _ in range(4):  # the sweep of every 15 s
                mail.deliver()
                clock.shift(dt.timedelta(seconds=15))
        assert states() == ["waiting"] * 180
        row = Delivery.objects.order_by("created_at")[0]
        assert "The mail server is not there" in row.last_error
        assert 7 <= row.attempts <= 14  # 15 s, 30 s, 1, 2, 4, 8 min, then every 11 to 15
        assert row.due_at <= timezone.now() + 15 * MINUTE
        with mail_server(settings.EMAIL_PORT) as box:
            for _ in range(61):
                mail.deliver()
                clock.shift(dt.timedelta(seconds=15))
            assert len(box.mails) == 3  # one each
            text = box.to("dana@example.com")[0].get_content()
            assert all(f"Minute {minute}." in text for minute in range(60))
    assert states() == ["sent"] * 180


def test_the_distance_of_attempts_grows_to_a_quarter_of_an_hour() -> None:
    for attempts in range(200):
        low, high = mail.wait(attempts), mail.wait(attempts)
        assert max(low, high) <= 15 * MINUTE
        assert min(low, high) >= min(15 * 2 ** min(attempts, 10), 900) * 0.75 * dt.timedelta(seconds=1)
    assert len({mail.wait(20) for _ in range(20)}) > 1  # spread, so that they do not come back together


def test_after_a_day_it_is_given_up_and_said(addresses: Org, settings: Any, client_for: Any) -> None:
    settings.EMAIL_PORT = free_port()
    with time_machine.travel(START) as clock:
        say([addresses.dana])
        tries = 0
        while Delivery.objects.get().state == DeliveryState.WAITING and tries < 500:
            clock.move_to(Delivery.objects.get().due_at)
            mail.deliver()
            tries += 1
        assert timezone.now() - START > dt.timedelta(hours=24)
        row = Delivery.objects.get()
        assert (row.state, row.attempts) == ("dead", mail.ATTEMPTS)
        page = client_for(addresses.dana).get("/preferences/").content.decode()
        assert "was given up" in page


def test_a_mailbox_that_is_no_more_holds_nobody_up(addresses: Org, box: Mailbox) -> None:
    box.refuse["dana@example.com"] = 550
    say([addresses.dana, addresses.omar])
    mail.deliver()
    assert [found["To"] for found in box.mails] == ["omar@example.com"]
    row = Delivery.objects.get(notification__person=addresses.dana)
    assert (row.state, row.last_error) == ("dead", "The mail server does not take mail for this address (550).")


def test_a_full_mailbox_is_tried_again(addresses: Org, box: Mailbox) -> None:
    box.refuse["dana@example.com"] = 452
    with time_machine.travel(START) as clock:
        say([addresses.dana])
        mail.deliver()
        row = Delivery.objects.get()
        assert (row.state, row.attempts, row.claimed_until) == ("waiting", 1, None)
        mail.deliver()
        assert Delivery.objects.get().attempts == 1  # not yet
        box.refuse.clear()
        clock.shift(MINUTE)
        assert mail.deliver() == 1
    assert states() == ["sent"]


def test_a_mail_that_the_server_dislikes_does_not_stop_the_others(addresses: Org, box: Mailbox) -> None:
    box.bad_words["viagra"] = 554
    say([addresses.dana], "An endpoint named viagra is ready.")
    say([addresses.omar])
    mail.deliver()
    assert [found["To"] for found in box.mails] == ["omar@example.com"]
    assert Delivery.objects.get(notification__person=addresses.dana).state == DeliveryState.WAITING


def test_an_address_that_no_header_can_hold(addresses: Org, box: Mailbox) -> None:
    say([addresses.dana, addresses.omar])
    User.objects.filter(pk=addresses.dana.pk).update(email="dana@example.com\nBcc: all@example.com")
    mail.deliver()
    assert [found["To"] for found in box.mails] == ["omar@example.com"]
    assert Delivery.objects.get(notification__person=addresses.dana).state == DeliveryState.DEAD


def test_who_left_in_the_meantime_gets_nothing(addresses: Org, box: Mailbox) -> None:
    say([addresses.dana])
    User.objects.filter(pk=addresses.dana.pk).update(is_active=False)
    mail.deliver()
    assert box.mails == [] and states() == ["dead"]


def test_a_subject_is_one_line(addresses: Org, box: Mailbox) -> None:
    say([addresses.dana], "Ready.\nBcc: all@example.com")
    mail.deliver()
    assert box.mails[0]["Subject"] == "Ready. Bcc: all@example.com"
    assert box.mails[0]["Bcc"] is None


def test_a_worker_that_dies_gives_its_rows_back(addresses: Org, box: Mailbox) -> None:
    with time_machine.travel(START) as clock:
        say([addresses.dana])
        now = timezone.now()
        assert len(queue.claim(queue.due("mail", now), now, 10)) == 1  # and never comes back
        assert mail.deliver() == 0
        clock.shift(queue.LEASE)
        assert mail.deliver() == 1
    assert len(box.mails) == 1


def test_two_workers_never_take_the_same_row(addresses: Org) -> None:
    say([addresses.dana])
    now = timezone.now()
    assert [len(queue.claim(queue.due("mail", now), now, 10)) for _ in range(2)] == [1, 0]


def test_mail_that_is_off_leaves_the_rows(addresses: Org, box: Mailbox, settings: Any) -> None:
    say([addresses.dana])
    settings.MAIL_ON = False
    assert mail.deliver() == 0 and states() == ["waiting"]


def test_calls_do_not_wait_for_mail(addresses: Org, monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []
    monkeypatch.setattr(calls, "deliver", lambda: order.append("calls"))
    monkeypatch.setattr(mail, "deliver", lambda: order.append("mail"))
    tasks.deliver()
    assert order == ["calls", "mail"]


# --- The daily digest


def at(text: str, place: str) -> dt.datetime:
    return dt.datetime.fromisoformat(text).replace(tzinfo=zoneinfo.ZoneInfo(place)).astimezone(dt.UTC)


def daily(person: User, place: str, hour: int) -> None:
    preferences.change(Principal.of(person), mail="daily", digest_hour=hour, muted=[], zone=place)


def test_a_digest_is_one_mail_at_the_hour_in_the_zone(addresses: Org, box: Mailbox) -> None:
    with time_machine.travel(at("2026-11-20 12:00", "Asia/Kolkata")) as clock:  # half an hour beside the others
        daily(addresses.dana, "Asia/Kolkata", 8)
        say([addresses.dana], "Friday noon.")
        say([addresses.dana], "Friday noon too.")
        for moment, mails in (("2026-11-20 23:00", 0), ("2026-11-21 07:59", 0), ("2026-11-21 08:00", 1)):
            clock.move_to(at(moment, "Asia/Kolkata"))
            tasks.digest()
            mail.deliver()
            assert len(box.mails) == mails, moment
        found = box.mails[0]
        assert found["Subject"] == "Your day on Gatehouse: 2 notifications"
        assert "20 Nov 12:00  Friday noon." in found.get_content()  # the person's own time
        say([addresses.dana], "Saturday at nine.")
        for moment, mails in (("2026-11-21 09:00", 1), ("2026-11-21 23:59", 1), ("2026-11-22 08:01", 2)):
            clock.move_to(at(moment, "Asia/Kolkata"))
            tasks.digest()
            mail.deliver()
            assert len(box.mails) == mails, moment
        assert box.mails[1]["Subject"] == "Your day on Gatehouse: 1 notification"


def test_a_day_without_news_has_no_digest_and_the_hour_stays(addresses: Org, box: Mailbox) -> None:
    """What comes at ten waits for the next morning, although nothing went out this morning."""
    with time_machine.travel(at("2026-11-20 12:00", "UTC")) as clock:
        daily(addresses.dana, "UTC", 7)
        clock.move_to(at("2026-11-21 07:00", "UTC"))
        assert digest.release() == 0
        clock.move_to(at("2026-11-21 10:00", "UTC"))
        say([addresses.dana])
        assert digest.release() == 0
        clock.move_to(at("2026-11-22 07:00", "UTC"))
        assert digest.release() == 1


def test_a_changed_hour_or_zone_makes_no_second_digest_that_day(addresses: Org) -> None:
    with time_machine.travel(at("2026-11-20 12:00", "UTC")) as clock:
        daily(addresses.dana, "UTC", 7)
        say([addresses.dana])
        clock.move_to(at("2026-11-21 07:00", "UTC"))
        assert digest.release() == 1
        say([addresses.dana])
        daily(addresses.dana, "UTC", 9)
        clock.move_to(at("2026-11-21 09:00", "UTC"))
        assert digest.release() == 0
        daily(addresses.dana, "Pacific/Honolulu", 9)  # where it is still the day before
        clock.move_to(at("2026-11-21 09:30", "Pacific/Honolulu"))
        assert digest.release() == 0
        clock.move_to(at("2026-11-22 09:00", "Pacific/Honolulu"))
        assert digest.release() == 1


@pytest.mark.parametrize(
    ("day", "hour", "utc"),
    [
        ("2026-03-29", 2, "01:00"),  # Berlin's clock jumps from 02:00 to 03:00: the first moment after
        ("2026-03-28", 2, "01:00"),
        ("2026-03-30", 2, "00:00"),
        ("2026-10-25", 2, "00:00"),  # 02:00 comes twice: the first time
        ("2026-10-26", 2, "01:00"),
    ],
)
def test_the_hour_when_clocks_change(day: str, hour: int, utc: str) -> None:
    found = digest.moment(dt.date.fromisoformat(day), hour, zoneinfo.ZoneInfo("Europe/Berlin"))
    assert found == dt.datetime.fromisoformat(f"{day}T{utc}:00+00:00")


@pytest.mark.parametrize("place", ["Europe/Berlin", "Australia/Lord_Howe", "America/St_Johns", "Asia/Kathmandu", "UTC"])
def test_one_digest_on_every_day_of_a_year(place: str) -> None:
    """Walks a year in the steps of the schedule: each local day has its moment once, in order."""
    zone, now = zoneinfo.ZoneInfo(place), dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    last, days = digest.last_day(now, 2, zone), []
    for _ in range(365 * 96):
        now += dt.timedelta(minutes=15)
        day = digest.last_day(now, 2, zone)
        if day > last:
            days.append(day)
            last = day
    assert len(days) == len(set(days)) == 365
    assert all(after - before == dt.timedelta(days=1) for before, after in itertools.pairwise(days))


def test_a_missed_hour_is_made_up_for_once(addresses: Org, box: Mailbox) -> None:
    """The workers were down at seven."""
    with time_machine.travel(at("2026-11-20 12:00", "UTC")) as clock:
        daily(addresses.dana, "UTC", 7)
        say([addresses.dana])
        clock.move_to(at("2026-11-21 11:20", "UTC"))
        assert [digest.release(), digest.release()] == [1, 0]
        assert mail.deliver() == 1


def test_many_people_in_one_zone_cost_few_queries(addresses: Org, django_assert_max_num_queries: Any) -> None:
    people = [User.objects.create_user(username=f"p{number}", email=f"p{number}@example.com") for number in range(40)]
    Preference.objects.bulk_create([Preference(person=person, mail="daily") for person in people])
    say(people)
    with time_machine.travel(timezone.now() + dt.timedelta(days=1)), django_assert_max_num_queries(20):
        assert digest.release() == 40
    assert Delivery.objects.filter(channel="mail").count() == Notification.objects.count() == 40
