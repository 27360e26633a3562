"""The device flow: a code typed by a person, one token, no forged yes."""

import re
import threading
from typing import Any

import pytest
from allauth.idp.oidc.internal.oauthlib import device_codes
from django.core.cache import cache
from django.db import connection
from django.test import Client

from projects.models import Application
from tests.conftest import Org, prove
from tests.projects.oauth_kit import DEVICE, DEVICE_GRANT, TOKEN, me, post, register, register_public

pytestmark = pytest.mark.slow


@pytest.fixture
def tool(org: Org) -> Application:
    return register_public(org.omar, org.fraud, scopes=["requests:read", "catalog:read", "approvals:decide"])


def begin(application: Application, **fields: Any) -> dict[str, Any]:
    answer = post("/identity/o/api/device/code", client_id=application.client_id, **fields)
    assert answer.status_code == 200, answer.content
    body: dict[str, Any] = answer.json()
    return body


def poll(application: Application, begun: dict[str, Any], client: Client | None = None) -> Any:
    """Poll, as a program that has waited long enough."""
    key = device_codes.cache_device_code_key(begun["device_code"])
    kept = cache.get(key)
    if kept:
        device_codes.update_device_state(begun["device_code"], kept | {"last_poll_at": 0})
    return post(
        TOKEN, client=client, grant_type=DEVICE_GRANT, client_id=application.client_id, device_code=begun["device_code"]
    )


def answer(browser: Client, begun: dict[str, Any], action: str = "confirm", scopes: tuple[str, ...] = ()) -> Any:
    form = {"action": action, "scopes": list(scopes) or ["requests:read"]}
    return browser.post(f"{DEVICE}?code={begun['user_code']}", form)


def test_a_person_approves_and_the_program_gets_one_token(org: Org, tool: Application, client_for: Any) -> None:
    begun = begin(tool, scope="requests:read catalog:read")
    assert begun["verification_uri"].endswith("/identity/o/device") and begun["interval"] == 5
    assert poll(tool, begun).json()["error"] == "authorization_pending"
    browser = client_for(org.dana)
    page = browser.get(DEVICE, {"code": begun["user_code"].lower().replace("-", " ")})
    text = page.content.decode()
    assert "Connect Tool?" in text and "Read the catalog" in text and begun["user_code"] in text and "omar" in text
    assert "is connected" in answer(browser, begun, scopes=("requests:read",)).content.decode()
    body = poll(tool, begun).json()
    assert body["scope"] == "requests:read", "what was not ticked is not granted"
    assert me(body["access_token"]).json()["principal"]["user"] == "dana"
    assert poll(tool, begun).json()["error"] == "invalid_grant"
    assert "not right" in browser.get(DEVICE, {"code": begun["user_code"]}).content.decode()


def test_no_is_an_answer(org: Org, tool: Application, client_for: Any) -> None:
    begun = begin(tool)
    assert "gets nothing" in answer(client_for(org.dana), begun, "deny").content.decode()
    assert poll(tool, begun).json()["error"] == "access_denied"


def test_polling_too_fast_is_slowed_down(tool: Application) -> None:
    begun = begin(tool)
    poll(tool, begun)
    fields: dict[str, Any] = {
        "grant_type": DEVICE_GRANT,
        "client_id": tool.client_id,
        "device_code": begun["device_code"],
    }
    assert post(TOKEN, **fields).json()["error"] == "slow_down"


def test_a_forged_yes_is_refused(org: Org, tool: Application) -> None:
    """Upstream's page takes a POST without a token; ours does not."""
    begun = begin(tool)
    browser = Client(enforce_csrf_checks=True)
    browser.force_login(org.dana)
    prove(browser, org.dana)
    assert answer(browser, begun).status_code == 403
    assert poll(tool, begun).json()["error"] == "authorization_pending"
    page = browser.get(DEVICE, {"code": begun["user_code"]}).content.decode()
    token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', page)
    assert token
    form = {"action": "confirm", "scopes": ["requests:read"], "csrfmiddlewaretoken": token[1]}
    assert browser.post(f"{DEVICE}?code={begun['user_code']}", form).status_code == 200
    assert poll(tool, begun).status_code == 200


def test_two_polls_at_once_get_one_token(org: Org, tool: Application, client_for: Any) -> None:
    """The code leaves the cache after the check, so the database says who was first."""
    begun = begin(tool)
    answer(client_for(org.dana), begun)
    key = device_codes.cache_device_code_key(begun["device_code"])
    kept = cache.get(key)
    assert poll(tool, begun).status_code == 200
    cache.set(key, kept, 60)  # as the slower of the two read it
    assert poll(tool, begun).json()["error"] == "invalid_grant"


@pytest.mark.parametrize("code", ["", "x", "AAAA-AAAA", "A" * 500, "\0", "<b>", "ＡＡＡＡ-ＡＡＡＡ", "../../etc"])
def test_a_wrong_code_is_one_sentence(org: Org, client_for: Any, code: str) -> None:
    page = client_for(org.dana).get(DEVICE, {"code": code})
    assert page.status_code == 422 and "is not right, or has expired" in page.content.decode()
    assert "<b>" not in page.content.decode()


def test_guessing_codes_is_slowed_down(org: Org, client_for: Any) -> None:
    browser = client_for(org.dana)
    pages = [browser.get(DEVICE, {"code": f"AAAA-AA{n:02d}"}).content.decode() for n in range(7)]
    assert "Too many tries" in pages[-1] and "Too many tries" not in pages[0]


def test_signed_out_people_sign_in_first() -> None:
    answer = Client().get(DEVICE, {"code": "AAAA-AAAA"})
    assert answer.status_code == 302 and answer["Location"].startswith("/accounts/login/?next=")


def test_deciding_needs_a_second_factor_that_is_recent(org: Org, tool: Application, client_for: Any) -> None:
    begun = begin(tool, scope="requests:read approvals:decide")
    weak = client_for(org.dana, factor="")
    assert "need a second factor" in weak.get(DEVICE, {"code": begun["user_code"]}).content.decode()
    assert answer(weak, begun, scopes=("approvals:decide",)).status_code == 403
    stale = answer(client_for(org.dana, seconds_ago=3600), begun, scopes=("approvals:decide",))
    assert stale.status_code == 302 and poll(tool, begun).json()["error"] == "authorization_pending"
    answer(client_for(org.dana), begun, scopes=("approvals:decide",))
    said = me(poll(tool, begun).json()["access_token"]).json()
    assert said["scopes"] == ["approvals:decide"] and said["credential"]["second_factor"] == "totp"


def test_who_may_not_begin(org: Org, tool: Application) -> None:
    secret_keeper, _ = register(org.omar, org.fraud)
    web = register_public(
        org.omar, org.fraud, name="Web", grants=["code"], redirect_uris=["https://app.example.com/callback"]
    )
    for client_id, error in ((secret_keeper.client_id, "unauthorized_client"), (web.client_id, "unauthorized_client"),
                             ("nothing", "invalid_client"), ("", "invalid_client")):  # fmt: skip
        assert post("/identity/o/api/device/code", client_id=client_id).json()["error"] == error
    wanted = post("/identity/o/api/device/code", client_id=tool.client_id, scope="usage:read")
    assert (wanted.status_code, wanted.json()["error"]) == (400, "invalid_scope")


def test_an_application_that_ended_meanwhile_gets_nothing(org: Org, tool: Application, client_for: Any) -> None:
    begun = begin(tool)
    answer(client_for(org.dana), begun)
    org.omar.is_active = False
    org.omar.save()
    refused = poll(tool, begun)
    assert refused.status_code in {400, 401} and refused.json()["error"] == "invalid_client"


def test_a_person_who_left_meanwhile_gets_nothing(org: Org, tool: Application, client_for: Any) -> None:
    begun = begin(tool)
    answer(client_for(org.dana), begun)
    org.dana.is_active = False
    org.dana.save()
    assert poll(tool, begun).json()["error"] == "access_denied"


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
def test_eight_polls_in_the_same_moment_get_one_token(org: Org, tool: Application, client_for: Any) -> None:
    begun = begin(tool)
    answer(client_for(org.dana), begun)
    kept = cache.get(device_codes.cache_device_code_key(begun["device_code"]))
    start, got = threading.Barrier(8), []

    def one() -> None:
        start.wait()
        device_codes.update_device_state(begun["device_code"], kept | {"last_poll_at": 0})
        fields: dict[str, Any] = {
            "grant_type": DEVICE_GRANT,
            "client_id": tool.client_id,
            "device_code": begun["device_code"],
        }
        got.append(post(TOKEN, **fields).status_code)
        connection.close()

    threads = [threading.Thread(target=one) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(got) == [200, *[400] * 7], got
