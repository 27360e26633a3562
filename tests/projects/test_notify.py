"""Telling people: who hears what, once, in the transaction of the change; the pages and preferences."""

import datetime as dt
import threading
from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection, transaction
from django.test import Client
from django.utils import timezone

from audit.models import Row
from portal import celery as broker
from portal.errors import Invalid
from projects.models import Delivery, DeliveryState, MailMode, Notification, Preference, Role, User
from projects.notify import audience, preferences, retention
from projects.notify.kinds import KINDS
from projects.notify.services import mark_read, tell, unread_count
from projects.principal import Principal
from tests.conftest import Org

pytestmark = pytest.mark.slow

Clients = Callable[[User | None], Client]


def say(people: list[User], **fields: Any) -> None:
    """Tell in a transaction, as callers do."""
    kind = fields.pop("kind", "endpoint.ready")
    with transaction.atomic():
        tell(kind, people, **({"title": "scoring is ready."} | fields))


def give_addresses(org: Org) -> None:
    for user in User.objects.all():
        user.email = f"{user.username}@example.com"
        user.save()
    for name in ("dana", "omar", "pat"):
        getattr(org, name).refresh_from_db()


def test_each_person_hears_it_once_with_what_was_said(org: Org) -> None:
    give_addresses(org)
    say(
        [org.dana, org.omar, org.dana],
        text="It answers calls.",
        url="/endpoints/1/",
        project=org.fraud,
        about=("endpoint", "1"),
    )
    rows = Notification.objects.order_by("person__username")
    assert [row.person.username for row in rows] == ["dana", "omar"]
    first = rows[0]
    assert (first.kind, first.title, first.text, first.url) == (
        "endpoint.ready",
        "scoring is ready.",
        "It answers calls.",
        "/endpoints/1/",
    )
    assert (first.project, first.about_kind, first.about_id, first.read_at) == (org.fraud, "endpoint", "1", None)
    assert Delivery.objects.filter(channel="mail", state=DeliveryState.WAITING).count() == 2


def test_a_storm_is_one_row_and_one_mail(org: Org) -> None:
    give_addresses(org)
    for _ in range(1000):
        say([org.dana], kind="quota.threshold", title="80 % of the quota is used.", once="quota:1:80:2026-11")
    assert Notification.objects.count() == 1
    assert Delivery.objects.count() == 1


def test_once_is_per_person(org: Org) -> None:
    say([org.dana], once="cause")
    say([org.dana, org.omar], once="cause")
    assert sorted(Notification.objects.values_list("person__username", flat=True)) == ["dana", "omar"]
    say([org.dana], once="another cause")
    say([org.dana])
    say([org.dana])
    assert Notification.objects.filter(person=org.dana).count() == 4


def test_a_long_cause_is_still_one(org: Org) -> None:
    for _ in range(2):
        say([org.dana], once="x" * 500)
    assert Notification.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_two_that_tell_at_the_same_moment_write_one_row(org: Org) -> None:
    give_addresses(org)
    start, failures = threading.Barrier(4), []

    def run() -> None:
        try:
            start.wait()
            say([org.dana, org.omar], once="cause")
        except Exception as error:
            failures.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert (Notification.objects.count(), Delivery.objects.count()) == (2, 2)


def test_a_row_that_somebody_else_just_wrote_is_left_out(org: Org, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a concurrent teller meets: the look before saw nothing, the unique constraint does."""
    give_addresses(org)
    say([org.dana], once="cause")
    original = Notification.objects.filter
    blind = lambda *args, **fields: original(pk=0) if "once" in fields else original(*args, **fields)  # noqa: E731
    monkeypatch.setattr(Notification.objects, "filter", blind)
    say([org.dana, org.omar], once="cause")
    monkeypatch.undo()
    assert sorted(Notification.objects.values_list("person__username", flat=True)) == ["dana", "omar"]
    assert Delivery.objects.count() == 2


def test_it_is_part_of_the_change(org: Org) -> None:
    with transaction.atomic():
        say([org.dana], title="Never happened.")
        transaction.set_rollback(True)
    assert not Notification.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_it_needs_a_transaction(org: Org) -> None:
    with pytest.raises(RuntimeError, match="transaction"):
        tell("endpoint.ready", [org.dana], title="No.")


@pytest.mark.django_db(transaction=True)
def test_a_worker_is_nudged_on_commit_and_a_dead_broker_is_no_error(org: Org, monkeypatch: pytest.MonkeyPatch) -> None:
    give_addresses(org)
    sent = []
    monkeypatch.setattr(
        "projects.notify.nudge.current_app",
        type("Broker", (), {"send_task": lambda self, name, **fields: sent.append(name)})(),
    )
    with transaction.atomic():
        tell("endpoint.ready", [org.dana], title="Ready.")
        assert sent == []
    assert sent == ["projects.tasks.deliver"]

    def away(self: object, name: str, **fields: object) -> None:
        raise ConnectionRefusedError

    monkeypatch.setattr("projects.notify.nudge.current_app", type("Broker", (), {"send_task": away})())
    say([org.dana])
    assert Delivery.objects.count() == 2


def test_unknown_kinds_and_secrets_are_mistakes_of_the_caller(org: Org) -> None:
    with pytest.raises(LookupError):
        say([org.dana], kind="endpoint.exploded")
    with pytest.raises(ValueError, match="secret"):
        say([org.dana], data={"key_secret": "x"})
    assert not Notification.objects.exists()


def test_those_who_left_and_machines_hear_nothing(org: Org) -> None:
    User.objects.filter(pk=org.omar.pk).update(is_active=False)
    org.omar.refresh_from_db()
    robot = User.objects.create(username="robot", is_service=True)
    say([org.omar, robot])
    assert not Notification.objects.exists()


def test_long_texts_are_cut_and_foreign_addresses_left_out(org: Org) -> None:
    say([org.dana], title="t" * 300, text="x" * 2000, url="https://evil.example.com/")
    row = Notification.objects.get()
    assert (len(row.title), len(row.text), row.url) == (200, 1000, "")


@pytest.mark.parametrize(
    ("mode", "muted", "address", "channels"),
    [
        (MailMode.AT_ONCE, [], "dana@example.com", ["mail"]),
        (MailMode.DAILY, [], "dana@example.com", ["digest"]),
        (MailMode.NEVER, [], "dana@example.com", []),
        (MailMode.AT_ONCE, ["endpoint.ready"], "dana@example.com", []),
        (MailMode.AT_ONCE, ["endpoint.failed"], "dana@example.com", ["mail"]),
        (MailMode.AT_ONCE, [], "", []),
    ],
)
def test_mail_follows_the_preferences(org: Org, mode: str, muted: list[str], address: str, channels: list[str]) -> None:
    org.dana.email = address
    org.dana.save()
    Preference.objects.create(person=org.dana, mail=mode, muted=muted)
    say([org.dana])
    assert Notification.objects.count() == 1
    assert list(Delivery.objects.values_list("channel", flat=True)) == channels


def test_without_a_mail_server_nothing_is_queued(org: Org, settings: Any) -> None:
    give_addresses(org)
    settings.MAIL_ON = False
    say([org.dana])
    assert Notification.objects.count() == 1
    assert not Delivery.objects.exists()


def test_telling_many_costs_the_same_as_telling_one(org: Org, django_assert_max_num_queries: Any) -> None:
    people = [User.objects.create_user(username=f"p{number}", email=f"p{number}@example.com") for number in range(50)]
    with django_assert_max_num_queries(12):
        say(people, once="cause", project=org.fraud)
    assert Delivery.objects.count() == 50


def test_audiences(org: Org) -> None:
    org.fraud.memberships.create(user=org.cy, role=Role.OWNER)
    User.objects.filter(pk=org.cy.pk).update(is_active=False)
    names = lambda people: sorted(person.username for person in people)  # noqa: E731
    assert names(audience.owners(org.fraud)) == ["omar"]
    assert names(audience.builders(org.fraud)) == ["dana", "omar"]
    assert names(audience.platform_engineers()) == ["pat", "ravi"]
    assert names(audience.governance_leads()) == ["yasmine"]


def test_unread_and_read(org: Org) -> None:
    for _ in range(3):
        say([org.dana, org.omar])
    ids = list(Notification.objects.filter(person=org.dana).values_list("pk", flat=True))
    theirs = Notification.objects.filter(person=org.omar).values_list("pk", flat=True)[0]
    assert unread_count(org.dana) == 3
    assert mark_read(org.dana, [ids[0], theirs]) == 1
    assert (unread_count(org.dana), unread_count(org.omar)) == (2, 3)
    assert mark_read(org.dana) == 2
    assert unread_count(org.dana) == 0


def test_the_count_ends_at_a_hundred(org: Org, django_assert_num_queries: Any) -> None:
    Notification.objects.bulk_create(
        [Notification(person=org.dana, kind="endpoint.ready", title="x", once=str(number)) for number in range(130)]
    )
    with django_assert_num_queries(1):
        assert unread_count(org.dana) == 100


# --- Pages


def test_the_page_shows_own_ones_newest_first(org: Org, client_for: Clients) -> None:
    say([org.dana], title="First.")
    say([org.dana], title="<b>Second</b>", url="/endpoints/")
    say([org.omar], title="Somebody else's.")
    page = client_for(org.dana).get("/notifications/").content.decode()
    assert page.index("&lt;b&gt;Second&lt;/b&gt;") < page.index("First.")
    assert "Somebody else" not in page and "<b>Second" not in page
    assert "Mark all as read" in page


def test_the_empty_page_says_what_comes(org: Org, client_for: Clients) -> None:
    page = client_for(org.dana).get("/notifications/").content.decode()
    assert "Nothing happened yet" in page and "Mark all as read" not in page


def test_opening_marks_it_and_goes_there(org: Org, client_for: Clients) -> None:
    say([org.dana], url="/endpoints/")
    say([org.omar])
    row, other = Notification.objects.get(person=org.dana), Notification.objects.get(person=org.omar)
    client = client_for(org.dana)
    response = client.post(f"/notifications/{row.pk}/open/")
    assert (response.status_code, response["Location"]) == (302, "/endpoints/")
    assert unread_count(org.dana) == 0
    assert client.post(f"/notifications/{other.pk}/open/").status_code == 404
    assert client.post(f"/notifications/{10**30}/open/").status_code == 404
    assert unread_count(org.omar) == 1


def test_filter_of_unread_ones_and_marking_all(org: Org, client_for: Clients) -> None:
    say([org.dana], title="Old.")
    mark_read(org.dana)
    say([org.dana], title="New.")
    client = client_for(org.dana)
    shown = client.get("/notifications/?unread=1").content.decode()
    assert "New." in shown and "Old." not in shown
    assert client.post("/notifications/read/", {"id": "x"}).status_code in {400, 422}
    assert unread_count(org.dana) == 1
    client.post("/notifications/read/")
    assert unread_count(org.dana) == 0


def test_the_page_costs_the_same_with_many(org: Org, client_for: Clients, django_assert_max_num_queries: Any) -> None:
    for number in range(60):
        say([org.dana], title=f"Number {number}.", project=org.fraud)
    client = client_for(org.dana)
    with django_assert_max_num_queries(15):
        assert client.get("/notifications/").status_code == 200


# --- Preferences


FORM = {"mail": "daily", "digest_hour": "7", "zone": "Europe/Berlin", "heard": list(KINDS)}


def test_preferences_are_saved_and_audited(org: Org, client_for: Clients) -> None:
    client = client_for(org.dana)
    heard = [kind for kind in KINDS if kind != "endpoint.idle"]
    response = client.post("/preferences/", FORM | {"heard": heard})
    assert response.status_code == 302
    row = Preference.objects.get(person=org.dana)
    org.dana.refresh_from_db()
    assert (row.mail, row.digest_hour, row.muted, org.dana.zone) == ("daily", 7, ["endpoint.idle"], "Europe/Berlin")
    assert Row.objects.filter(action="people.change_preferences").count() == 1
    client.post("/preferences/", FORM | {"heard": heard})
    assert Row.objects.filter(action="people.change_preferences").count() == 1  # nothing changed
    page = client.get("/preferences/").content.decode()
    assert '<option value="daily" selected>' in page


@pytest.mark.parametrize(
    ("field", "value"),
    [("mail", "hourly"), ("digest_hour", "24"), ("digest_hour", "-1"), ("digest_hour", "³"), ("zone", "Mars/Base")],
)
def test_bad_preferences_change_nothing(org: Org, client_for: Clients, field: str, value: str) -> None:
    response = client_for(org.dana).post("/preferences/", FORM | {field: value})
    assert response.status_code == 422
    assert f"id_{field}_help" in response.content.decode()
    assert not Preference.objects.exists() and not Row.objects.filter(action="people.change_preferences").exists()


def test_unknown_kinds_are_refused(org: Org) -> None:
    with pytest.raises(Invalid, match="muted"):
        preferences.change(Principal.of(org.dana), mail="daily", digest_hour=7, muted=["nonsense"], zone="UTC")


def test_what_waits_follows_the_new_mode(org: Org) -> None:
    give_addresses(org)
    dana = Principal.of(org.dana)
    change = lambda mode: preferences.change(dana, mail=mode, digest_hour=7, muted=[], zone="UTC")  # noqa: E731
    change("daily")
    say([org.dana])
    change("at_once")
    assert list(Delivery.objects.values_list("channel", flat=True)) == ["mail"]
    say([org.dana, org.omar])
    change("never")
    assert list(Delivery.objects.values_list("notification__person__username", flat=True)) == ["omar"]
    assert Notification.objects.filter(person=org.dana).count() == 2


def test_the_page_says_when_no_mail_comes(org: Org, client_for: Clients, settings: Any) -> None:
    client = client_for(org.dana)
    assert "You have no mail address here" in client.get("/preferences/").content.decode()
    settings.MAIL_ON = False
    assert "This portal sends no mail" in client.get("/preferences/").content.decode()


def test_pages_show_the_persons_own_time(org: Org, client_for: Clients) -> None:
    say([org.dana])
    Notification.objects.update(created_at=dt.datetime(2026, 11, 20, 22, 30, tzinfo=dt.UTC))
    client = client_for(org.dana)
    assert "20 Nov 2026, 22:30" in client.get("/notifications/").content.decode()
    User.objects.filter(pk=org.dana.pk).update(zone="Asia/Kolkata")
    page = client.get("/notifications/").content.decode()
    assert "21 Nov 2026, 04:00" in page
    assert timezone.get_current_timezone_name() == "UTC"  # nothing leaks into the next request


def test_old_rows_go(org: Org) -> None:
    give_addresses(org)
    long_ago = timezone.now() - dt.timedelta(days=400)
    say([org.dana, org.omar])
    Notification.objects.filter(person=org.omar).update(created_at=long_ago)
    retention.purge()
    assert list(Notification.objects.values_list("person__username", flat=True)) == ["dana"]
    Delivery.objects.update(created_at=long_ago, due_at=long_ago)
    retention.purge()
    assert Delivery.objects.count() == 1  # it waits still


def test_the_schedule_knows_the_tasks() -> None:
    broker.app.loader.import_default_modules()
    for name in ("projects.tasks.deliver", "projects.tasks.digest", "projects.tasks.expire"):
        assert name in broker.app.tasks
