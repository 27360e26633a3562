"""What strangers send to the endpoints of the protocol: errors in its own form, never a trace, never a 500."""

import base64
from typing import Any
from urllib.parse import urlencode

import pytest
from django.test import Client

from projects.models import Application
from tests.conftest import Org
from tests.projects.oauth_kit import DEVICE_GRANT, FORM, register, register_public

pytestmark = pytest.mark.slow
ENDPOINTS = ("token", "revoke", "introspect", "device/code", "userinfo")
VALUES = ["", "x", "\0", "a\nb", "é", "\u202e", "x" * 5000, "{}", "null", "-1", "%00", "' OR 1=1 --", "../..", "ey.a.b"]
NAMES = (
    "grant_type", "client_id", "client_secret", "code", "code_verifier", "redirect_uri", "refresh_token", "scope",
    "token", "token_type_hint", "device_code", "resource", "username", "request", "_known_client", "user", "client",
)  # fmt: skip
GRANTS = ["authorization_code", "refresh_token", "client_credentials", DEVICE_GRANT, "password", "openid", "x"]


def judged(response: Any) -> None:
    """An answer as RFC 6749 wants its errors."""
    assert response.status_code < 500, response.content
    assert response["Cache-Control"] == "no-store" and response["Content-Type"].startswith("application/json")
    if response.status_code >= 400:
        body = response.json()
        assert isinstance(body["error"], str) and "Traceback" not in response.content.decode()


@pytest.fixture
def both(org: Org) -> tuple[Application, str, Application]:
    made, secret = register(org.omar, org.fraud)
    return made, secret, register_public(org.omar, org.fraud)


@pytest.mark.parametrize("name", ENDPOINTS)
def test_whatever_stands_in_a_parameter(both: tuple[Application, str, Application], name: str) -> None:
    made, secret, tool = both
    client, path = Client(raise_request_exception=False), f"/identity/o/api/{name}"
    basic = {"Authorization": "Basic " + base64.b64encode(f"{made.client_id}:{secret}".encode()).decode()}
    for field in NAMES:
        for value in VALUES:
            fields = {"client_id": tool.client_id, "grant_type": "refresh_token", "token": "t", field: value}
            judged(client.post(path, urlencode(fields), content_type=FORM))
    for grant in GRANTS:
        judged(client.post(path, urlencode({"grant_type": grant, "code": "c"}), content_type=FORM, headers=basic))
        judged(client.post(path, urlencode({"grant_type": grant, "client_id": tool.client_id}), content_type=FORM))


@pytest.mark.parametrize("name", ENDPOINTS)
@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"{}", "application/json"),
        (b"grant_type=client_credentials", "text/plain"),
        (b"grant_type=client_credentials", ""),
        (
            b'--x\r\nContent-Disposition: form-data; name="grant_type"\r\n\r\na\r\n--x--',
            "multipart/form-data; boundary=x",
        ),
        (b"--x", "multipart/form-data"),
        (b"grant_type=a&grant_type=b", FORM),
        (b"client_id=a&client_id=b", FORM),
        (b"grant_type=client_credentials&scope=a&scope=b", FORM),
        (b"x" * 1_200_000, FORM),
        (b"&".join(b"a%d=1" % n for n in range(600)), FORM),
        (b"\xff\xfe=\xff", FORM),
        (b"grant_type=%ff%fe", FORM),
        (b"grant_type=%ED%A0%80", FORM),
        (b"=&=&;;", FORM),
        (b"", FORM),
        (b"grant_type=client_credentials", f"{FORM}; charset=utf-16"),
        (b"grant_type=client_credentials", f"{FORM}; charset=nonsense"),
    ],
)
def test_whatever_the_body_is(both: Any, name: str, body: bytes, kind: str) -> None:
    client = Client(raise_request_exception=False)
    response = client.generic("POST", f"/identity/o/api/{name}", body, content_type=kind)
    judged(response)
    assert response.status_code >= 400


@pytest.mark.parametrize("name", ENDPOINTS)
@pytest.mark.parametrize(
    "header",
    ["Basic", "Basic ", "Basic !!!", "Basic " + "A" * 9000, "Basic " + base64.b64encode(b"\xff\xfe:x").decode(),
     "Basic " + base64.b64encode(b"a\0b:c").decode(), "Basic " + base64.b64encode(b"x" * 300 + b":y").decode(),
     "Basic " + base64.b64encode(b":").decode(), "Bearer", "Bearer \x00", "Bearer " + "x" * 9000, "Negotiate x"],
)  # fmt: skip
def test_whatever_the_header_is(both: Any, name: str, header: str) -> None:
    client = Client(raise_request_exception=False, headers={"Authorization": header})
    body = urlencode({"grant_type": "client_credentials", "token": "t"})
    response = client.post(f"/identity/o/api/{name}", body, content_type=FORM)
    judged(response)
    assert response.status_code >= 400


def test_other_methods_are_named(both: Any) -> None:
    for name in ENDPOINTS:
        response = Client().delete(f"/identity/o/api/{name}")
        assert response.status_code == 405 and "POST" in response["Allow"]
        judged(response)
    for name in ("token", "revoke", "introspect", "device/code"):
        assert Client().get(f"/identity/o/api/{name}").status_code == 405


def test_a_token_in_the_address_is_no_token(both: tuple[Application, str, Application]) -> None:
    made, secret, _ = both
    client = Client(raise_request_exception=False)
    fields = {"grant_type": "client_credentials", "client_id": made.client_id, "client_secret": secret}
    token = client.post("/identity/o/api/token", urlencode(fields), content_type=FORM).json()["access_token"]
    judged(client.get("/identity/o/api/userinfo", {"access_token": token}))
    assert client.get("/identity/o/api/userinfo", {"access_token": token}).status_code == 401
    in_address = client.post(f"/identity/o/api/token?{urlencode(fields)}", "", content_type=FORM)
    assert in_address.status_code >= 400, "credentials in an address stand in every log on the way"
