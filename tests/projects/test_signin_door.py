"""The door: limits and lockout, and that nothing at it tells a stranger which accounts there are."""

import re
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.hashers import PBKDF2PasswordHasher
from django.test import Client

from audit.models import Row
from portal import sso
from projects.models import User
from tests.conftest import Org

pytestmark = pytest.mark.slow
PASSWORD = "correct horse battery"
LOCKED = "Too many attempts failed"
WRONG = "do not belong together"
Clients = Callable[..., Client]


def knock(name: str, password: str, **more: Any) -> Any:
    """One attempt by a browser that was never here."""
    return Client(**more).post("/accounts/login/", {"login": name, "password": password})


def telling(response: Any) -> tuple[int, str, list[str]]:
    """Everything a stranger sees of an answer, without what differs by chance and the name that was typed."""
    text = re.sub(r'value="[^"]*"|[0-9a-f]{32}', "", response.content.decode())
    headers = sorted(name for name in response.headers if name != "X-Request-Id")
    return response.status_code, text, headers


@pytest.fixture
def strangers(org: Org) -> dict[str, str]:
    """Names that cannot come in with any password, and the password that would be right."""
    User.objects.create_user("left", password=PASSWORD, is_active=False)
    User.objects.create_user("robot", password=PASSWORD, is_service=True)
    User.objects.create_user("from-sso")  # no usable password
    return {"nobody": "x", "dana": "wrong", "left": PASSWORD, "robot": PASSWORD, "from-sso": "x"}


def test_every_refusal_is_the_same(strangers: dict[str, str]) -> None:
    """Unknown, wrong password, inactive, service account, account of the identity provider: one answer."""
    answers = {name: telling(knock(name, password)) for name, password in strangers.items()}
    assert len(set(map(str, answers.values()))) == 1
    assert answers["dana"][0] == 200 and WRONG in answers["dana"][1]
    assert Row.objects.filter(action="people.sign_in_refused").count() == len(strangers)
    assert not Row.objects.filter(action="people.sign_in").exists()
    assert not any("nobody" in row.after or "robot" in row.after for row in Row.objects.all())


def test_lockout_by_name(strangers: dict[str, str]) -> None:
    """After five failures under a name the right password is refused as well; the text is that for unknown names."""
    for name in ("dana", "nobody"):
        for _ in range(5):
            assert WRONG in knock(name, "wrong").content.decode()
    locked = [telling(knock(name, PASSWORD)) for name in ("dana", "nobody")]
    assert locked[0] == locked[1] and LOCKED in locked[0][1] and "five minutes" in locked[0][1]
    assert LOCKED in knock(" DANA ", PASSWORD).content.decode()  # the same name, however it is typed
    assert knock("omar", PASSWORD).status_code == 302  # a colleague behind the same address
    codes = [row.after for row in Row.objects.filter(action="people.sign_in_refused")]
    assert sum('"code":"locked"' in code for code in codes) == 3


def test_lockout_does_not_hang_on_the_host(org: Org) -> None:
    """The Host header is the client's choice, port included; it opens no new five attempts."""
    for number in range(5):
        knock("dana", "wrong", SERVER_NAME="localhost", SERVER_PORT=str(9000 + number))
    locked = knock("dana", PASSWORD, SERVER_NAME="localhost", SERVER_PORT="9999")
    assert locked.status_code == 200 and LOCKED in locked.content.decode()


def test_lockout_by_address(org: Org) -> None:
    """Twenty failures a minute from one address, under whatever names; another address is another one."""
    for number in range(20):
        assert WRONG in knock(f"name-{number}", "wrong").content.decode()
    assert LOCKED in knock("dana", PASSWORD).content.decode()
    assert knock("dana", PASSWORD, REMOTE_ADDR="198.51.100.9").status_code == 302


def test_success_does_not_count(org: Org) -> None:
    """Nor does it wipe the failures: a guesser with an account of their own gains nothing."""
    for _ in range(8):
        assert knock("omar", PASSWORD).status_code == 302
    for _ in range(5):
        knock("dana", "wrong")
    assert knock("omar", PASSWORD).status_code == 302 and LOCKED in knock("dana", PASSWORD).content.decode()


def test_behind_a_proxy_the_last_address_counts(org: Org, settings: Any) -> None:
    """What a client writes itself into X-Forwarded-For stands before the proxy's own entry, and does not count."""
    settings.ALLAUTH_TRUSTED_PROXY_COUNT = 1
    for number in range(20):
        knock(f"name-{number}", "wrong", HTTP_X_FORWARDED_FOR=f"203.0.113.{number}, 198.51.100.7")
    assert LOCKED in knock("dana", PASSWORD, HTTP_X_FORWARDED_FOR="203.0.113.99, 198.51.100.7").content.decode()
    assert knock("dana", PASSWORD, HTTP_X_FORWARDED_FOR="198.51.100.8").status_code == 302


def test_a_flood_is_refused_as_a_whole(org: Org) -> None:
    """Sixty posts a minute from one address; then a page with 429, for everybody alike."""
    client, answers = Client(), []
    for _ in range(61):
        answers.append(client.post("/accounts/login/", {"login": "", "password": ""}).status_code)
    assert answers == [200] * 60 + [429]


class CountingHasher(PBKDF2PasswordHasher):
    """A hash that says how often it was computed."""

    algorithm, iterations = "counting", 2
    computed = 0

    def encode(self, *args: Any, **kwargs: Any) -> str:
        """Count one, whether a password is stored or compared."""
        CountingHasher.computed += 1
        return super().encode(*args, **kwargs)


def test_every_refusal_costs_one_hash(strangers: dict[str, str], settings: Any) -> None:
    """The hash is what takes time: with as many for every name, time tells nothing about it."""
    settings.PASSWORD_HASHERS = [f"{__name__}.CountingHasher"]
    for person in User.objects.filter(username__in=["dana", "left", "robot"]):
        person.set_password(PASSWORD)
        person.save()
    costs = {}
    for name, password in [*strangers.items(), *((name, "wrong") for name in strangers)]:
        before = CountingHasher.computed
        knock(name, password)
        costs[name, password] = CountingHasher.computed - before
    assert set(costs.values()) == {1}, costs


def test_a_long_name_and_a_nul_are_no_error(org: Org) -> None:
    for name in ("x" * 500, "da\0na", "日本", "' OR 1=1 --"):
        assert knock(name, "wrong").status_code == 200


def test_nobody_signs_up(org: Org) -> None:
    """The page says whom to ask, for GET and POST, and no account is made."""
    before = User.objects.count()
    form = {"username": "eve", "password1": "long enough 1234", "password2": "long enough 1234", "email": "e@e.example"}
    for answer in (Client().get("/accounts/signup/"), Client().post("/accounts/signup/", form)):
        assert answer.status_code == 200 and "Nobody signs up here" in answer.content.decode()
    assert User.objects.count() == before


def test_the_back_office_has_no_door_of_its_own(org: Org, client_for: Clients, settings: Any) -> None:
    """Its sign-in would know neither lockout nor second factor; without one, staff is led to the set-up."""
    User.objects.filter(username="pat").update(is_staff=True, is_superuser=True)
    path = f"/{settings.ADMIN_PATH}/login/"
    for answer in (Client().get(path), Client().post(path, {"username": "pat", "password": PASSWORD})):
        assert answer.status_code == 302 and answer["Location"].startswith("/accounts/login/?next=")
    settings.REQUIRE_MFA = True
    assert client_for(org.pat).get(f"/{settings.ADMIN_PATH}/").status_code == 200
    led = client_for(org.pat, factor="").get(f"/{settings.ADMIN_PATH}/")
    assert led["Location"].startswith("/accounts/2fa/?next=")


def test_the_way_in_through_the_provider(org: Org, settings: Any) -> None:
    """A form, since a link could be followed by a picture; it carries the way back. None where there is no provider."""
    settings.SSO = sso.Provider("https://sso.example", "gatehouse", "x", name="Example ID")
    page = Client().get("/accounts/login/?next=/catalog/").content.decode()
    assert "Continue with Example ID" in page and 'action="/accounts/oidc/keycloak/login/"' in page
    assert page.count('name="next" value="/catalog/"') == 2
    settings.SSO = None
    assert "Continue with" not in Client().get("/accounts/login/").content.decode()
