"""Webhooks: signed calls to a real HTTP server, retries, dead letters, replay, and neighbours that stay unharmed."""

import base64
import datetime as dt
import hashlib
import hmac
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import time_machine
from django.db import connection, transaction
from django.utils import timezone

from audit.models import Row
from portal import outbound
from portal.errors import Conflict, Forbidden, Invalid, NotFound
from projects.models import Delivery, DeliveryState, Notification, Webhook
from projects.notify import calls, signing, webhooks
from projects.notify.services import tell
from projects.principal import Principal
from tests.conftest import Org
from tests.projects.notify_kit import Calls, receiver

pytestmark = pytest.mark.slow

START = dt.datetime(2026, 11, 21, 9, 0, tzinfo=dt.UTC)
SECOND = dt.timedelta(seconds=1)


@pytest.fixture(autouse=True)
def _allowed(settings: Any) -> None:
    settings.OUTBOUND_ALLOW = {"webhook": ["127.0.0.0/8"]}


@pytest.fixture
def there(db: None) -> Iterator[Calls]:
    with receiver() as found:
        yield found


def make_hook(org: Org, url: str, **fields: Any) -> tuple[Webhook, str]:
    wanted: dict[str, Any] = {"project": org.fraud, "name": f"hook {Webhook.objects.count()}", **fields}
    by = Principal.of(org.omar if wanted["project"] == org.fraud else org.pat)
    return webhooks.create(by, url=url, **wanted)


def say(org: Org, **fields: Any) -> None:
    wanted: dict[str, Any] = {"title": "scoring is ready.", "project": org.fraud, **fields}
    with transaction.atomic():
        tell(wanted.pop("kind", "endpoint.ready"), [], **wanted)


def verify(secret: str, headers: dict[str, str], body: bytes) -> bool:
    """As the receiver's library does it (Standard Webhooks), without our code."""
    content = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    key = base64.b64decode(secret.removeprefix("whsec_"))
    wanted = base64.b64encode(hmac.new(key, content, hashlib.sha256).digest()).decode()
    return any(hmac.compare_digest(part, f"v1,{wanted}") for part in headers["webhook-signature"].split(" "))


def states(hook: Webhook) -> list[str]:
    return sorted(Delivery.objects.filter(webhook=hook).values_list("state", flat=True))


def test_the_signature_of_the_standards_own_example() -> None:
    """The test vector of the Standard Webhooks reference libraries."""
    secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    body = b'{"test": 2432232314}'
    assert (
        signing.sign(secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, body)
        == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    )


def test_a_call_says_what_happened_and_is_signed(org: Org, there: Calls) -> None:
    _, secret = make_hook(org, there.url)
    say(org, text="It answers.", url="/endpoints/7/", about=("endpoint", "7"), data={"replicas": 2, "title": "no"})
    assert calls.deliver() == 1
    headers, body = there.seen[0]
    row = Delivery.objects.get()
    document = there.bodies[0]
    assert verify(secret, headers, body)
    assert not verify(secret, headers, body + b" ")
    assert (headers["webhook-id"], headers["content-type"]) == (str(row.pk), "application/json")
    assert abs(int(headers["webhook-timestamp"]) - timezone.now().timestamp()) < 60
    assert document["type"] == "endpoint.ready"
    assert dt.datetime.fromisoformat(document["timestamp"]).tzinfo is not None
    assert document["data"] == {
        "title": "scoring is ready.",
        "text": "It answers.",
        "url": "http://127.0.0.1:8000/endpoints/7/",
        "project": "fraud-detection",
        "about": {"kind": "endpoint", "id": "7"},
        "replicas": 2,
    }
    assert (row.state, row.attempts, row.last_status, row.last_error) == ("sent", 1, 204, "")
    assert calls.deliver() == 0 and len(there.seen) == 1


def test_the_secret_is_stored_encrypted_only(org: Org, there: Calls) -> None:
    hook, secret = make_hook(org, there.url)
    assert secret.startswith("whsec_") and len(base64.b64decode(secret[6:])) == 32
    assert secret not in hook.signing and secret[6:] not in hook.signing
    assert all(secret[6:] not in (row.after + row.before) for row in Row.objects.all())


def test_who_hears_what(org: Org, there: Calls) -> None:
    project, _ = make_hook(org, there.url, name="project")
    picky, _ = make_hook(org, there.url, name="picky", kinds=["quota.raised"])
    off, _ = make_hook(org, there.url, name="off", enabled=False)
    other, _ = webhooks.create(Principal.of(org.cy), project=org.search, name="other", url=there.url)
    platform, _ = make_hook(org, there.url, name="platform", project=None)
    say(org)
    say(org, kind="quota.raised")
    say(org, project=None, kind="quota.raised")
    heard = {hook.name: hook.deliveries.count() for hook in (project, picky, off, other, platform)}
    assert heard == {"project": 2, "picky": 1, "off": 0, "other": 0, "platform": 3}


def test_a_storm_is_one_call(org: Org, there: Calls) -> None:
    make_hook(org, there.url)
    for _ in range(200):
        say(org, once="quota:1:80")
    calls.deliver()
    assert len(there.seen) == 1


@pytest.mark.parametrize("status", [301, 302, 400, 404, 429, 500, 503])
def test_only_2xx_is_success(org: Org, there: Calls, status: int) -> None:
    there.status = status
    make_hook(org, there.url)
    with time_machine.travel(START):
        say(org)
        assert calls.deliver() == 0
        row = Delivery.objects.get()
    assert (row.state, row.attempts, row.last_status, row.claimed_until) == ("waiting", 1, status, None)
    assert str(status) in row.last_error
    assert 3 * SECOND < row.due_at - START < 6 * SECOND


def test_a_redirect_is_not_followed(org: Org, there: Calls) -> None:
    with receiver() as elsewhere:
        there.status, there.headers = 307, {"Location": elsewhere.url}
        make_hook(org, there.url)
        say(org)
        calls.deliver()
        assert elsewhere.seen == []
    assert "Redirects are not followed" in Delivery.objects.get().last_error


def test_nobody_there_is_said_in_one_sentence(org: Org) -> None:
    make_hook(org, "http://127.0.0.1:9/hook")
    say(org)
    calls.deliver()
    row = Delivery.objects.get()
    assert (row.last_status, row.last_error) == (None, "127.0.0.1 could not be called: nothing listens there.")


def test_a_day_of_500s_then_the_receiver_is_back(org: Org, there: Calls) -> None:
    there.status = 500
    make_hook(org, there.url)
    with time_machine.travel(START) as clock:
        say(org)
        for _ in range(24 * 60):
            calls.deliver()
            clock.shift(60 * SECOND)
        assert Delivery.objects.get().state == DeliveryState.WAITING
        tries = len(there.seen)
        assert 6 <= tries <= calls.ATTEMPTS
        there.status = 200
        clock.shift(dt.timedelta(hours=10))
        assert calls.deliver() == 1
    assert len({headers["webhook-id"] for headers, _ in there.seen}) == 1  # the receiver knows it is the same one
    stamps = [int(headers["webhook-timestamp"]) for headers, _ in there.seen]
    assert stamps == sorted(set(stamps))  # signed anew each time


def test_it_is_given_up_after_more_than_a_day_and_can_be_replayed(org: Org, there: Calls) -> None:
    there.status = 500
    hook, _ = make_hook(org, there.url)
    omar = Principal.of(org.omar)
    with time_machine.travel(START) as clock:
        say(org)
        say(org)
        while "waiting" in states(hook):
            clock.move_to(max(row.due_at for row in Delivery.objects.filter(state="waiting")) + SECOND)
            calls.deliver()
        assert timezone.now() - START > dt.timedelta(hours=22)
        assert [row.attempts for row in Delivery.objects.all()] == [calls.ATTEMPTS] * 2
        assert Delivery.objects.all()[0].last_error == "The receiver answered 500."
        there.status = 204
        first = Delivery.objects.order_by("created_at")[0]
        assert webhooks.replay(omar, hook, [first.pk]) == 1
        assert calls.deliver() == 1
        assert states(hook) == ["dead", "sent"]
        assert webhooks.replay(omar, hook) == 1
        assert webhooks.replay(omar, hook) == 0
        assert calls.deliver() == 1
        assert webhooks.replay(omar, hook, [first.pk]) == 1  # what came through may go again
        assert calls.deliver() == 1
    assert states(hook) == ["sent", "sent"]
    assert there.seen[-1][0]["webhook-id"] == str(first.pk)
    assert Row.objects.filter(action="webhooks.replay").count() == 3


def test_the_whole_schedule_is_longer_than_a_day() -> None:
    assert sum(calls.WAITS) * 0.75 > 22 * 3600 and sum(calls.WAITS) > 24 * 3600


def test_a_broken_receiver_keeps_nobody_waiting(org: Org, there: Calls) -> None:
    """One answers 500 for a day and one holds its calls; the third hears everything in its turn."""
    release = threading.Event()
    with receiver(status=500) as broken, receiver(hold=release) as slow:
        for name, calls_to in (("broken", broken), ("slow", slow), ("good", there)):
            make_hook(org, calls_to.url, name=name)
        for number in range(15):
            say(org, title=f"Number {number}.")
        # What a thread of the lanes does, without the database: the good lane is through while the slow one holds.
        claimed = [calls._claim(hook.pk, timezone.now()) for hook in Webhook.objects.all()]
        lanes = {lane.webhook.name: lane for lane in claimed if lane}
        done: dict[str, list[Any]] = {}
        threads = {
            name: threading.Thread(target=lambda name=name: done.update({name: calls.run(lanes[name])[1]}))
            for name in lanes
        }
        for thread in threads.values():
            thread.start()
        for name in ("broken", "good"):
            threads[name].join(10)
        assert (len(done["good"]), len(done["broken"]), "slow" in done) == (calls.PER_LANE, 1, False)
        release.set()
        for thread in threads.values():
            thread.join(10)
    assert [body["data"]["title"] for body in there.bodies] == [f"Number {number}." for number in range(calls.PER_LANE)]


def _deliver_and_close() -> None:
    try:
        calls.deliver()
    finally:
        connection.close()


def test_what_waits_behind_a_failure_is_not_counted_as_tried(org: Org, there: Calls) -> None:
    there.status = 500
    make_hook(org, there.url)
    with time_machine.travel(START) as clock:
        for _ in range(5):
            say(org)
        calls.deliver()
        assert sorted(Delivery.objects.values_list("attempts", flat=True)) == [0, 0, 0, 0, 1]
        assert len(there.seen) == 1
        there.status = 204
        clock.shift(6 * SECOND)
        assert calls.deliver() == 5


@pytest.mark.django_db(transaction=True)
def test_one_call_at_a_time_per_webhook_however_many_workers(org: Org, monkeypatch: pytest.MonkeyPatch) -> None:
    """Four workers at once: the receiver never has two calls inside, and gets each delivery once."""
    broker = type("Broker", (), {"send_task": lambda *args, **fields: None})()
    monkeypatch.setattr("projects.notify.nudge.current_app", broker)
    with receiver() as there:
        make_hook(org, there.url)
        for _ in range(30):
            say(org)
        for _ in range(6):
            workers = [threading.Thread(target=_deliver_and_close) for _ in range(4)]
            for worker in workers:
                worker.start()
            for worker in workers:
                worker.join(30)
        assert there.most == 1
        assert len(there.seen) == len({headers["webhook-id"] for headers, _ in there.seen}) == 30
    assert set(Delivery.objects.values_list("state", flat=True)) == {"sent"}


def test_a_lane_that_another_worker_holds_is_left_alone(org: Org, there: Calls) -> None:
    hook, _ = make_hook(org, there.url)
    with time_machine.travel(START) as clock:
        for _ in range(12):
            say(org)
        assert calls._claim(hook.pk, timezone.now()) is not None  # this worker dies here
        assert calls.deliver() == 0
        clock.shift(91 * SECOND)
        assert calls.deliver() == 10
        assert calls.deliver() == 2


def test_gone_switches_it_off_and_tells_the_owner(org: Org, there: Calls) -> None:
    there.status = 410
    hook, _ = make_hook(org, there.url)
    say(org)
    say(org)
    calls.deliver()
    hook.refresh_from_db()
    assert hook.enabled is False
    row = Notification.objects.get(person=org.omar)
    assert (row.kind, row.url) == ("webhook.disabled", f"/webhooks/{hook.pk}/")
    assert Row.objects.filter(action="webhooks.disable", object_id=str(hook.pk)).count() == 1
    assert states(hook) == ["dead", "waiting"]
    calls.deliver()
    assert len(there.seen) == 1
    there.status = 204
    webhooks.change(Principal.of(org.omar), hook, enabled=True)
    with time_machine.travel(timezone.now() + 6 * SECOND):
        assert calls.deliver() == 1  # what waited was kept


def test_a_receiver_may_ask_for_time(org: Org, there: Calls) -> None:
    there.status, there.headers = 429, {"Retry-After": "900"}
    make_hook(org, there.url)
    with time_machine.travel(START):
        say(org)
        calls.deliver()
        assert Delivery.objects.get().due_at - START >= 900 * SECOND


@pytest.mark.parametrize("asked", ["soon", "-1", "99999999999", "Wed, 21 Oct 2026 07:28:00 GMT", "²"])
def test_odd_wishes_of_a_receiver_change_nothing(org: Org, there: Calls, asked: str) -> None:
    there.status, there.headers = 503, {"Retry-After": asked.encode().decode("latin-1")}
    make_hook(org, there.url)
    with time_machine.travel(START):
        say(org)
        calls.deliver()
        assert Delivery.objects.get().due_at - START <= 6 * SECOND


def test_an_address_that_turns_private_is_not_called(
    org: Org, there: Calls, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Public when the webhook was made, this machine when it is called."""
    settings.OUTBOUND_ALLOW, settings.OUTBOUND_HTTP = {"webhook": []}, True
    answers = [["93.184.215.14"], ["127.0.0.1"]]
    monkeypatch.setattr(outbound, "resolve", lambda host, port: answers.pop(0))
    port = there.url.split(":")[2].split("/")[0]
    make_hook(org, f"http://hooks.example.com:{port}/")
    say(org)
    calls.deliver()
    assert there.seen == [] and answers == []
    assert "GATEHOUSE_WEBHOOK_ALLOW" in Delivery.objects.get().last_error


def test_a_key_that_was_removed_is_said_and_retried(org: Org, there: Calls, settings: Any) -> None:
    make_hook(org, there.url)
    say(org)
    settings.GATEHOUSE_ENCRYPTION_KEYS = ["WmVybyBvbmUgdHdvIHRocmVlIGZvdXIgZml2ZSBzaXg="]
    assert calls.deliver() == 0
    row = Delivery.objects.get()
    assert "GATEHOUSE_ENCRYPTION_KEYS" in row.last_error and row.attempts == 1


# --- Creating and changing


@pytest.mark.parametrize(
    "url", ["http://10.0.0.1/", "https://192.168.1.1/x", "https://[::1]/", "https://169.254.169.254/"]
)
def test_private_addresses_are_refused_when_it_is_made(org: Org, url: str) -> None:
    with pytest.raises(Invalid) as caught:
        make_hook(org, url)
    assert list(caught.value.fields) == ["url"]
    assert "GATEHOUSE_WEBHOOK_ALLOW" in caught.value.sentence or "never calls" in caught.value.sentence
    assert not Webhook.objects.exists()


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"name": ""}, "name"),
        ({"name": "x" * 81}, "name"),
        ({"name": "a\0b"}, "name"),
        ({"kinds": ["nonsense"]}, "kinds"),
    ],
)
def test_bounds(org: Org, there: Calls, fields: dict[str, Any], field: str) -> None:
    with pytest.raises(Invalid) as caught:
        make_hook(org, there.url, **fields)
    assert list(caught.value.fields) == [field]


def test_names_are_unique_per_project_and_for_the_platform(org: Org, there: Calls) -> None:
    for project in (org.fraud, None):
        hook, _ = make_hook(org, there.url, name="chat", project=project)
        with pytest.raises(Conflict, match="chat"):
            make_hook(org, there.url, name="chat", project=project)
        other, _ = make_hook(org, there.url, name="tickets", project=project)
        with pytest.raises(Conflict):
            webhooks.change(Principal.of(org.pat), other, name="chat")
        webhooks.change(Principal.of(org.pat), hook, name="chat")  # its own name is free for it


def test_twenty_are_enough(org: Org, there: Calls) -> None:
    for number in range(webhooks.LIMIT):
        make_hook(org, there.url, name=f"number {number}")
    with pytest.raises(Conflict) as caught:
        make_hook(org, there.url, name="one more")
    assert caught.value.code == "too_many"
    make_hook(org, there.url, project=None, name="the platform's own")


def test_owners_and_engineers_only(org: Org, there: Calls) -> None:
    hook, _ = make_hook(org, there.url)
    platform, _ = make_hook(org, there.url, project=None)
    for user, expected in ((org.dana, Forbidden), (org.vic, Forbidden), (org.aud, Forbidden), (org.cy, NotFound)):
        with pytest.raises(expected):
            webhooks.create(Principal.of(user), project=org.fraud, name="mine", url=there.url)
    for user in (org.dana, org.omar, org.cy, org.aud, org.yasmine):
        by = Principal.of(user)
        with pytest.raises(Forbidden):
            webhooks.create(by, project=None, name="mine", url=there.url)
        for verb in (webhooks.delete, webhooks.rotate, webhooks.test, webhooks.replay):
            with pytest.raises((Forbidden, NotFound)):
                verb(by, platform)
            if user != org.omar:
                with pytest.raises((Forbidden, NotFound)):
                    verb(by, hook)
    bound = Principal.of(org.pat, project_id=org.fraud.pk)
    with pytest.raises(Forbidden):
        webhooks.create(bound, project=None, name="mine", url=there.url)
    assert Webhook.objects.count() == 2


def test_every_change_leaves_a_row_without_the_path_of_the_address(org: Org, there: Calls) -> None:
    hook, _ = make_hook(org, f"{there.url}/T000/B000/chat-secret")
    omar = Principal.of(org.omar)
    webhooks.change(omar, hook, url=f"{there.url}/another-secret", kinds=["quota.raised"], enabled=False)
    webhooks.change(omar, hook, enabled=False)  # nothing changes
    webhooks.rotate(omar, hook)
    webhooks.delete(omar, hook)
    rows = list(Row.objects.filter(object_kind="webhook").order_by("pk"))
    assert [row.action for row in rows] == ["webhooks.create", "webhooks.change", "webhooks.rotate", "webhooks.delete"]
    assert all(row.project == "fraud-detection" for row in rows)
    assert not any("secret" in row.before + row.after for row in rows)
    assert '"address"' in rows[1].after and '"name"' not in rows[1].after


def test_rotation_has_no_gap(org: Org, there: Calls) -> None:
    with time_machine.travel(START) as clock:
        hook, old = make_hook(org, there.url)
        new = webhooks.rotate(Principal.of(org.omar), hook)
        assert new != old
        say(org)
        calls.deliver()
        assert verify(old, *there.seen[-1]) and verify(new, *there.seen[-1])
        clock.shift(signing.OVERLAP + SECOND)
        say(org)
        calls.deliver()
        assert verify(new, *there.seen[-1]) and not verify(old, *there.seen[-1])


def test_a_test_reaches_a_picky_webhook_and_only_it(org: Org, there: Calls) -> None:
    hook, _ = make_hook(org, there.url, kinds=["quota.raised"])
    make_hook(org, there.url)
    webhooks.test(Principal.of(org.omar), hook)
    assert calls.deliver() == 1
    assert there.bodies[0]["type"] == "webhook.test"
    webhooks.change(Principal.of(org.omar), hook, enabled=False)
    with pytest.raises(Conflict, match="switched off"):
        webhooks.test(Principal.of(org.omar), hook)


def test_a_paused_webhook_keeps_what_waits(org: Org, there: Calls) -> None:
    hook, _ = make_hook(org, there.url)
    say(org)
    webhooks.change(Principal.of(org.omar), hook, enabled=False)
    say(org)
    assert calls.deliver() == 0
    webhooks.change(Principal.of(org.omar), hook, enabled=True)
    assert calls.deliver() == 1
