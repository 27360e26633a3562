"""An application and its program: what a client of the OAuth provider does, in a few lines."""

import base64
import hashlib
import re
import secrets
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

from django.test import Client
from django.utils.html import escape

from projects.models import Application, Project, User
from projects.oauth import applications
from projects.principal import Principal

TOKEN, AUTHORIZE, DEVICE = "/identity/o/api/token", "/identity/o/authorize", "/identity/o/device"
FORM = "application/x-www-form-urlencoded"
BACK = "https://app.example.com/callback"
DEVICE_GRANT = "urn:ietf:params:oauth:grant-type:device_code"


def register(by: User, project: Project | None, **fields: Any) -> tuple[Application, str]:
    """An application, made through the service."""
    return applications.create(
        Principal.of(by),
        project=project,
        **{
            "name": "Pipeline", "grants": ["client_credentials"], "scopes": ["requests:read", "catalog:read"],
            "owner": by.username, **fields,
        },
    )  # fmt: skip


def register_public(by: User, project: Project | None, **fields: Any) -> Application:
    """A public application for people, by code and by device."""
    made, _ = register(
        by, project,
        **{
            "name": "Tool", "kind": "public", "grants": ["code", "device"], "redirect_uris": [BACK],
            "scopes": ["openid", "requests:read", "catalog:read"], **fields,
        },
    )  # fmt: skip
    return made


def post(path: str, basic: tuple[str, str] | None = None, client: Client | None = None, **fields: Any) -> Any:
    """What a program sends to an endpoint of the protocol."""
    headers = {}
    if basic:
        headers["Authorization"] = "Basic " + base64.b64encode(":".join(basic).encode()).decode()
    return (client or Client()).post(path, urlencode(fields, doseq=True), content_type=FORM, headers=headers)


def verifier() -> tuple[str, str]:
    """A PKCE verifier and its challenge."""
    word = secrets.token_urlsafe(48)
    return word, base64.urlsafe_b64encode(hashlib.sha256(word.encode()).digest()).decode().rstrip("=")


def question(application: Application, challenge: str, **fields: str) -> dict[str, str]:
    """The parameters of an authorization request."""
    return {
        "response_type": "code", "client_id": application.client_id, "redirect_uri": BACK, "state": "abc",
        "scope": "requests:read", "code_challenge": challenge, "code_challenge_method": "S256", **fields,
    }  # fmt: skip


def consent(browser: Client, asked: dict[str, str], *, action: str = "grant", scopes: list[str] | None = None) -> Any:
    """Open the consent page and answer it; returns the answer to the form."""
    page = browser.get(AUTHORIZE, asked)
    assert page.status_code == 200, page.content
    signed = re.search(r'name="request" value="([^"]+)"', page.content.decode())
    assert signed, page.content
    ticked = scopes if scopes is not None else asked["scope"].split()
    assert escape(signed[1]) == signed[1]
    return browser.post(AUTHORIZE, {"request": signed[1], "action": action, "scopes": ticked})


def code_of(response: Any) -> str:
    """The code that an answer sends to the application."""
    assert response.status_code == 302, response.content
    found: dict[str, list[str]] = parse_qs(urlsplit(response["Location"]).query)
    assert found["state"] == ["abc"] and "code" in found, response["Location"]
    return found["code"][0]


def exchange(application: Application, code: str, word: str, **fields: Any) -> Any:
    """Exchange a code as a public application."""
    return post(
        TOKEN, grant_type="authorization_code", client_id=application.client_id, code=code, redirect_uri=BACK,
        code_verifier=word, **fields,
    )  # fmt: skip


def by_code(browser: Client, application: Application, scope: str = "requests:read") -> dict[str, Any]:
    """The tokens that a person gives an application."""
    word, challenge = verifier()
    code = code_of(consent(browser, question(application, challenge, scope=scope)))
    answer = exchange(application, code, word)
    assert answer.status_code == 200, answer.content
    body: dict[str, Any] = answer.json()
    return body


def by_credentials(application: Application, secret: str, **fields: Any) -> Any:
    """The answer to client credentials."""
    return post(TOKEN, (application.client_id, secret), grant_type="client_credentials", **fields)


def me(token: str) -> Any:
    """What the API says to a token."""
    return Client(headers={"Authorization": f"Bearer {token}"}).get("/api/v1/me")
