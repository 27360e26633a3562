"""Second factors: set up, used, removed; encrypted at rest; demanded where settings.REQUIRE_MFA."""

import base64
import hashlib
import hmac
import io
import json
import struct
import time
from collections.abc import Callable
from typing import Any

import pytest
from allauth.mfa.models import Authenticator
from allauth.mfa.recovery_codes.internal.auth import RecoveryCodes
from allauth.mfa.totp.internal.auth import TOTP
from django.contrib.sessions.models import Session
from django.contrib.sessions.serializers import JSONSerializer
from django.core import signing
from django.core.management import CommandError, call_command
from django.db import connection
from django.test import Client
from django.utils import timezone

from audit.models import Row
from endpoints.models import Endpoint
from portal import crypto
from portal.errors import Forbidden, Invalid
from projects.models import SsoSession, User, Webhook
from projects.notify import signing as webhook_signing
from projects.principal import Principal
from projects.signin import factors, proof
from tests.conftest import Org
from tests.factories import make_endpoint, make_profile, make_version

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow]  # allauth tells of a new factor on commit
SECRET = base64.b32encode(b"twenty bytes of salt").decode()
PASSWORD = "correct horse battery"
Clients = Callable[..., Client]


def code_of(secret: str, ahead: int = 0) -> str:
    """The code of an authenticator app, by RFC 6238 and by hand; `ahead` half minutes from now."""
    counter = struct.pack(">Q", int(time.time()) // 30 + ahead)
    digest = hmac.new(base64.b32decode(secret), counter, hashlib.sha1).digest()
    offset = digest[-1] & 15
    number = struct.unpack(">I", digest[offset : offset + 4])[0] & 0x7FFFFFFF
    return f"{number % 1_000_000:06}"


def give_app(person: User) -> list[str]:
    """Give somebody an authenticator app and recovery codes; return the codes."""
    TOTP.activate(person, SECRET)
    codes: list[str] = RecoveryCodes.activate(person).generate_codes()
    return codes


class Bare(JSONSerializer):
    """What stands in the row under Django's signature."""

    def loads(self, data: bytes) -> Any:
        """As it is."""
        return data


def sign_in(client: Client, name: str, **more: str) -> Any:
    return client.post("/accounts/login/", {"login": name, "password": PASSWORD, **more})


def test_set_up_an_app(org: Org, client_for: Clients) -> None:
    """The first code is a proof: the session has the factor at once. Codes are shown once; all of it is audited."""
    client = client_for(org.dana, factor="")
    page = client.get("/accounts/2fa/totp/activate/")
    secret = client.session["mfa.totp.secret"]
    assert secret in page.content.decode() and page.status_code == 200
    assert client.post("/accounts/2fa/totp/activate/", {"code": "000000"}).status_code == 200
    assert not Authenticator.objects.exists()
    done = client.post("/accounts/2fa/totp/activate/", {"code": code_of(secret)})
    assert done.status_code == 302 and proof.second_factor(client.session) == "totp"
    codes = Authenticator.objects.get(type="recovery_codes").wrap().generate_codes()
    first, second = client.get(done["Location"]), client.get(done["Location"])
    assert all(code in first.content.decode() for code in codes)
    assert not any(code in second.content.decode() for code in codes)
    assert Row.objects.filter(action="people.add_factor").count() == 2  # the app, and the codes that came with it


def test_a_half_finished_set_up_is_ciphertext_too(org: Org, client_for: Clients) -> None:
    """allauth keeps the secret in the session until the first code has come."""
    client = client_for(org.dana, factor="")
    client.get("/accounts/2fa/totp/activate/")
    secret = client.session["mfa.totp.secret"]
    stored = Session.objects.get(session_key=client.session.session_key)
    salt = "django.contrib.sessions.SessionStore"
    plain = signing.loads(stored.session_data, salt=salt, serializer=Bare)
    assert stored.get_decoded()["mfa.totp.secret"] == secret and secret.encode() not in plain
    assert secret in crypto.decrypt(plain.decode())


def test_what_the_database_holds_is_ciphertext(org: Org, client_for: Clients) -> None:
    """Neither the key of the app nor the seed of the codes can be read where the database can."""
    codes = give_app(org.dana)
    with connection.cursor() as cursor:
        cursor.execute("SELECT type, data FROM mfa_authenticator")
        stored = {kind: data if isinstance(data, dict) else json.loads(data) for kind, data in cursor.fetchall()}
    assert SECRET not in str(stored) and crypto.decrypt(stored["totp"]["secret"]) == SECRET
    seed = crypto.decrypt(stored["recovery_codes"]["seed"])
    assert len(seed) == 80 and seed not in str(stored) and not any(code in str(stored) for code in codes)


def test_sign_in_with_a_code(org: Org) -> None:
    """A password alone opens nothing; a code works once; the way back survives both steps."""
    give_app(org.dana)
    client = Client()
    assert sign_in(client, "dana", next="/catalog/")["Location"] == "/accounts/2fa/authenticate/"
    assert client.get("/").status_code == 302 and "_auth_user_id" not in client.session
    code = code_of(SECRET)
    assert client.post("/accounts/2fa/authenticate/", {"code": "12345"}).status_code == 200
    done = client.post("/accounts/2fa/authenticate/", {"code": code})
    assert done["Location"] == "/catalog/" and proof.second_factor(client.session) == "totp"
    other = Client()
    sign_in(other, "dana")
    assert other.post("/accounts/2fa/authenticate/", {"code": code}).status_code == 200
    assert "_auth_user_id" not in other.session


def test_sign_in_with_a_recovery_code(org: Org) -> None:
    """It works once, and the session says which factor it was."""
    codes = give_app(org.dana)
    for expected in ("recovery_codes", ""):
        client = Client()
        sign_in(client, "dana")
        client.post("/accounts/2fa/authenticate/", {"code": codes[0]})
        assert proof.second_factor(client.session) == expected


def test_codes_cannot_be_guessed(org: Org) -> None:
    """After five wrong ones even the right one is refused for a while."""
    give_app(org.dana)
    client = Client()
    sign_in(client, "dana")
    for _ in range(5):
        client.post("/accounts/2fa/authenticate/", {"code": "000000"})
    page = client.post("/accounts/2fa/authenticate/", {"code": code_of(SECRET)})
    assert page.status_code == 200 and "Wait five minutes" in page.content.decode()
    assert "_auth_user_id" not in client.session


def test_without_a_factor_nothing_but_the_set_up_is_open(org: Org, client_for: Clients, settings: Any) -> None:
    """And it says why; afterwards one goes on where one was."""
    settings.REQUIRE_MFA = True
    client = client_for(org.dana, factor="")
    for path in ("/", "/catalog/", "/account/", "/accounts/sessions/", "/accounts/password/change/", "/audit/"):
        answer = client.get(path)
        assert answer.status_code == 302 and answer["Location"].startswith("/accounts/2fa/?next="), path
    assert client.post("/projects/fraud-detection/remove/", {"user": "vic"}).status_code == 302
    fragment = client.get("/catalog/", headers={"HX-Request": "true"})
    assert fragment["HX-Redirect"] == "/accounts/2fa/?next=%2F" and not fragment.content
    client.get("/catalog/?kind=model")
    page = client.get("/accounts/2fa/?next=/catalog/").content.decode()
    assert "Set up a second factor" in page and "Gatehouse asks everyone" in page
    for path in ("/help/", "/accounts/2fa/totp/activate/", "/accounts/2fa/webauthn/add/", "/accounts/logout/"):
        assert client.get(path).status_code == 200, path
    assert client.post("/theme/", {"theme": "dark"}).status_code == 302
    client.get("/accounts/2fa/totp/activate/")
    done = client.post(
        "/accounts/2fa/totp/activate/", {"code": code_of(client.session["mfa.totp.secret"])}, follow=True
    )
    assert 'href="/catalog/?kind=model"' in done.content.decode()
    assert client.get("/catalog/").status_code == 200


def test_who_has_a_factor_must_use_it(org: Org, client_for: Clients, settings: Any) -> None:
    """A session that did not pass it cannot set up another: a stolen password would be enough."""
    settings.REQUIRE_MFA = True
    give_app(org.dana)
    client = client_for(org.dana, factor="")
    for path in (
        "/catalog/",
        "/accounts/2fa/",
        "/accounts/2fa/webauthn/add/",
        "/accounts/2fa/recovery-codes/generate/",
    ):
        answer = client.get(path)
        assert answer["Location"].startswith("/accounts/2fa/reauthenticate/?next="), path
    assert client.post("/accounts/2fa/totp/deactivate/").status_code == 302 and Authenticator.objects.count() == 2
    done = client.post("/accounts/2fa/reauthenticate/?next=/catalog/", {"code": code_of(SECRET)})
    assert done["Location"] == "/catalog/" and client.get("/catalog/").status_code == 200


@pytest.mark.parametrize("factor", ["totp", "webauthn", "recovery_codes", "sso"])
def test_each_factor_counts(org: Org, client_for: Clients, settings: Any, factor: str) -> None:
    """Also the one that the identity provider saw."""
    settings.REQUIRE_MFA = True
    assert client_for(org.dana, factor=factor).get("/catalog/").status_code == 200


def test_the_api_has_its_own_rule(org: Org, api_for: Any, settings: Any) -> None:
    """Tokens are issued after a second factor; each call is not asked again."""
    settings.REQUIRE_MFA = True
    assert api_for(org.dana).get("/me").status_code == 200
    assert Client().get("/health/live").status_code == 200


def test_the_last_factor_stays_where_one_is_demanded(org: Org, client_for: Clients, settings: Any) -> None:
    """The sentence says what to do instead; where none is demanded it goes, with the codes."""
    settings.REQUIRE_MFA = True
    give_app(org.dana)
    client = client_for(org.dana)
    refused = client.post("/accounts/2fa/totp/deactivate/")
    assert refused.status_code == 200 and "this is your last one" in refused.content.decode()
    assert Authenticator.objects.count() == 2
    settings.REQUIRE_MFA = False
    assert client.post("/accounts/2fa/totp/deactivate/").status_code == 302
    assert not Authenticator.objects.exists()
    assert Row.objects.filter(action="people.remove_factor").exists()


def test_the_last_key_stays_too(org: Org, client_for: Clients, settings: Any) -> None:
    """allauth asks its adapter for the app alone; the rule holds for keys as well."""
    settings.REQUIRE_MFA = True
    key = Authenticator.objects.create(user=org.dana, type="webauthn", data={"name": "Blue key", "credential": {}})
    client = client_for(org.dana, factor="webauthn")
    refused = client.post(f"/accounts/2fa/webauthn/keys/{key.pk}/remove/")
    assert "this is your last one" in refused.content.decode() and Authenticator.objects.filter(pk=key.pk).exists()
    give_app(org.dana)
    assert client.post(f"/accounts/2fa/webauthn/keys/{key.pk}/remove/").status_code == 302
    assert not Authenticator.objects.filter(pk=key.pk).exists()


def test_changing_factors_asks_for_a_recent_proof(org: Org, client_for: Clients) -> None:
    """Also for people who have no password here: allauth would let them pass."""
    client = client_for(org.dana, seconds_ago=16 * 60)
    asked = client.get("/accounts/2fa/totp/activate/")
    assert asked["Location"].startswith("/accounts/reauthenticate/?next=%2Faccounts%2F2fa%2Ftotp%2Factivate%2F")
    assert "You change how you sign in." in client.get(asked["Location"]).content.decode()
    done = client.post(asked["Location"], {"password": PASSWORD})
    assert done["Location"] == "/accounts/2fa/totp/activate/" and client.get(done["Location"]).status_code == 200
    org.omar.set_unusable_password()
    org.omar.save()
    alone = client_for(org.omar, seconds_ago=16 * 60)
    assert alone.get("/accounts/2fa/totp/activate/").status_code == 403


def test_a_factor_of_the_provider_is_not_asked_for_twice(org: Org, rf: Any) -> None:
    """Who passed one there is not asked for the one here; who did not, is."""
    from allauth.account.internal.flows.login import record_authentication
    from allauth.account.models import Login
    from allauth.account.stages import LoginStageController
    from django.contrib.sessions.backends.db import SessionStore

    from projects.signin.stages import SecondFactorStage

    give_app(org.dana)
    for seen in (True, False):
        request = rf.get("/")
        request.session = SessionStore()
        login = Login(user=org.dana)
        record_authentication(request, org.dana, method="socialaccount", provider="keycloak", second_factor=seen)
        stage = SecondFactorStage(LoginStageController(request, login), request, login)
        assert (stage.handle()[0] is None) is seen


def test_factors_that_were_lost_are_taken_away(org: Org) -> None:
    """By a platform engineer or on the host, with a reason that stays; afterwards the password leads to the set-up."""
    give_app(org.dana)
    with pytest.raises(Forbidden):
        factors.take_away(Principal.of(org.omar), org.dana, "Because.")
    with pytest.raises(Invalid):
        factors.take_away(Principal.of(org.pat), org.dana, " ")
    assert Authenticator.objects.count() == 2
    assert factors.take_away(Principal.of(org.pat), org.dana, "Lost the phone.") == 2
    assert Row.objects.get(action="people.take_factors").reason == "Lost the phone."
    give_app(org.dana)
    call_command("take_factors", "dana", reason="Once more.", stdout=io.StringIO())
    assert not Authenticator.objects.exists() and sign_in(Client(), "dana")["Location"] == "/"
    with pytest.raises(CommandError, match="no user"):
        call_command("take_factors", "nobody", reason="x", stdout=io.StringIO())


def test_reencrypt_puts_everything_under_the_newest_key(org: Org, settings: Any) -> None:
    """Afterwards the old key can go; what no key opens is counted and stays, with exit code 1."""
    old, new = crypto.new_encryption_key(), crypto.new_encryption_key()
    settings.GATEHOUSE_ENCRYPTION_KEYS = [old]
    codes = give_app(org.dana)
    key = Authenticator.objects.create(user=org.dana, type="webauthn", data={"name": "Blue", "credential": {"id": "x"}})
    hook = Webhook.objects.create(name="h", url="https://h.example", signing=webhook_signing.keep("whsec_c2VjcmV0"))
    SsoSession.objects.create(
        person=org.dana, provider="k", subject="s", session_key="k", checked_at=timezone.now(),
        id_token=crypto.encrypt("id"), refresh_token="",
    )  # fmt: skip
    upstreams = [{"url": "http://127.0.0.1:9", "key": crypto.encrypt("engine"), "instance": "0"}]
    endpoint = make_endpoint(org.dana, version=make_version(), profile=make_profile(), name="e")
    Endpoint.objects.filter(pk=endpoint.pk).update(upstreams=upstreams)
    settings.GATEHOUSE_ENCRYPTION_KEYS = [new, old]
    said = io.StringIO()
    call_command("reencrypt", stdout=said)
    assert "Endpoint.upstreams: 1 re-encrypted" in said.getvalue()
    settings.GATEHOUSE_ENCRYPTION_KEYS = [new]
    assert Authenticator.objects.get(type="totp").wrap().validate_code(code_of(SECRET))
    assert Authenticator.objects.get(type="recovery_codes").wrap().generate_codes() == codes
    assert Authenticator.objects.get(pk=key.pk).data == {"name": "Blue", "credential": {"id": "x"}}
    hook.refresh_from_db()
    assert webhook_signing.living(hook.signing, timezone.now()) == ["whsec_c2VjcmV0"]
    assert crypto.decrypt(SsoSession.objects.get().id_token) == "id"
    endpoint.refresh_from_db()
    assert crypto.decrypt(endpoint.upstreams[0]["key"]) == "engine"
    assert endpoint.upstreams[0] | {"key": ""} == upstreams[0] | {"key": ""}
    assert Row.objects.filter(action="portal.reencrypt").count() == 1
    settings.GATEHOUSE_ENCRYPTION_KEYS = [crypto.new_encryption_key()]
    with pytest.raises(SystemExit):
        call_command("reencrypt", stdout=said, stderr=said)
    assert Webhook.objects.get().signing == hook.signing
