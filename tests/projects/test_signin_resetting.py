"""A forgotten password: the answer never tells whether there is such an account, and the secret is only in the mail."""

import re
from typing import Any

import pytest
from django.core import mail
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from audit.models import Row
from projects import tasks
from projects.models import User
from projects.signin import resetting
from tests.conftest import Org
from tests.projects.test_signin_door import PASSWORD, telling

pytestmark = pytest.mark.slow

Sent = list[tuple[str, list[str]]]


@pytest.fixture
def sent(org: Org, monkeypatch: pytest.MonkeyPatch, settings: Any) -> Sent:
    """What was handed to the workers; dana has an address, omar one without a password, vic is inactive."""
    settings.EMAIL_BACKEND = "django.core.mail.backends.locmem.EmailBackend"
    messages: Sent = []
    broker = type("Broker", (), {"send_task": lambda self, name, args: messages.append((name, args))})()
    monkeypatch.setattr(resetting, "current_app", broker)
    for name in ("dana", "omar", "vic"):
        User.objects.filter(username=name).update(email=f"{name}@example.com", is_active=name != "vic")
    org.omar.refresh_from_db()
    org.omar.set_unusable_password()
    org.omar.save()
    User.objects.create_user("robot", email="robot@example.com", password=PASSWORD, is_service=True)
    return messages


def ask(address: str) -> Any:
    return Client().post("/accounts/password/reset/", {"email": address})


def work(sent: Sent) -> None:
    for name, args in sent:
        assert name == "projects.tasks.reset_password"
        tasks.reset_password(*args)


def test_every_address_gets_the_same_answer(sent: Sent) -> None:
    """Status, words, headers and the questions to the database: the same for all, and no mail before the answer."""
    answers, asked = [], []
    for address in ("dana@example.com", "omar@example.com", "vic@example.com", "robot@example.com", "no@example.com"):
        with CaptureQueriesContext(connection) as queries:
            answer = ask(address)
        answers.append((telling(answer), answer["Location"]))
        asked.append([re.sub(r"'[^']*'|\d+", "?", query["sql"]) for query in queries])
    assert all(answer == answers[0] for answer in answers) and answers[0][1] == "/accounts/password/reset/done/"
    assert all(queries == asked[0] for queries in asked)
    assert mail.outbox == [] and len(sent) == 5
    assert "When the address belongs to an account" in Client().get("/accounts/password/reset/done/").content.decode()


def test_the_mail_holds_a_link_that_works_once(sent: Sent, org: Org, settings: Any) -> None:
    """To the configured address of the portal, not to that of the request; all sessions end; a row stays."""
    settings.BASE_URL = "https://gatehouse.example.com"
    old = Client()
    old.force_login(org.dana)
    Client().post("/accounts/password/reset/", {"email": "DANA@example.com"}, headers={"host": "localhost"})
    work(sent)
    (message,) = mail.outbox
    assert message.to == ["dana@example.com"] and "dana" in message.body
    link = re.search(r"https://gatehouse\.example\.com(/accounts/password/reset/key/\S+/)", str(message.body))
    assert link and link[1] not in str(sent)
    client = Client()
    form = client.get(link[1])
    assert form.status_code == 302 and "set-password" in form["Location"]
    weak = client.post(form["Location"], {"password1": "short", "password2": "short"})
    assert weak.status_code == 200
    new = "a staple for the battery"
    assert client.post(form["Location"], {"password1": new, "password2": new}).status_code == 302
    assert old.get("/account/").status_code == 302
    assert Row.objects.filter(action="people.reset_password").exists()
    assert Client().post("/accounts/login/", {"login": "dana", "password": new})["Location"] == "/"
    assert "This link does not work" in Client().get(link[1]).content.decode()


def test_who_gets_no_link(sent: Sent) -> None:
    """People of the identity provider read where to go; inactive people, service accounts and strangers get nothing."""
    for address in ("omar@example.com", "vic@example.com", "robot@example.com", "no@example.com"):
        ask(address)
    work(sent)
    (message,) = mail.outbox
    assert message.to == ["omar@example.com"] and "no password here" in message.body and "/key/" not in message.body


def test_without_mail_the_page_says_whom_to_ask(sent: Sent, settings: Any) -> None:
    """And does nothing, whatever is posted."""
    settings.MAIL_ON = False
    page = Client().get("/accounts/password/reset/").content.decode()
    assert "Ask the platform team" in page and 'name="email"' not in page
    assert ask("dana@example.com").status_code == 302 and sent == []
    assert resetting.mail_link("dana@example.com") == 0 and mail.outbox == []


def test_asking_is_limited_per_address(sent: Sent) -> None:
    """Five a minute for one mail address, whoever asks; equal for one that nobody has."""
    for address in ("dana@example.com", "no@example.com"):
        answers = [ask(address).status_code for _ in range(6)]
        assert answers == [302] * 5 + [429]


def test_a_link_of_nobody_and_a_wrong_one_look_alike(sent: Sent, org: Org) -> None:
    """Neither words nor questions to the database tell whether the number in the link is that of somebody."""
    answers, asked = [], []
    for number in (org.dana.pk, 987654):
        digits = ""
        while number:
            number, digit = divmod(number, 36)
            digits = "0123456789abcdefghijklmnopqrstuvwxyz"[digit] + digits
        with CaptureQueriesContext(connection) as queries:
            answer = Client().get(f"/accounts/password/reset/key/{digits}-abcdef-{'0' * 32}/")
        answers.append(telling(answer)[:2])
        asked.append(len(queries))
    assert answers[0] == answers[1] and asked[0] == asked[1]


def test_a_broker_that_is_away_changes_nothing(sent: Sent, monkeypatch: pytest.MonkeyPatch) -> None:
    """The answer is the same; the person asks again."""

    def away(self: Any, name: str, args: list[str]) -> None:
        raise OSError("no broker")

    monkeypatch.setattr(resetting, "current_app", type("Broker", (), {"send_task": away})())
    assert ask("dana@example.com")["Location"] == "/accounts/password/reset/done/"
