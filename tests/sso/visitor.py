"""Somebody at Keycloak's real forms, without a browser."""

import base64
import hashlib
import html
import re
import secrets
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

import requests

from tests.keycloak_kit import Keycloak, Person, claims


class _Cookies(requests.Session):
    """Keycloak marks its cookies Secure. A browser sends them to loopback all the same, and so does this."""

    def __init__(self) -> None:
        super().__init__()
        self.trust_env = False

    def prepare_request(self, request: requests.Request) -> requests.PreparedRequest:
        for cookie in self.cookies:
            cookie.secure = False
        return super().prepare_request(request)


@dataclass
class Visitor:
    """One browser profile at one Keycloak, and what its last page said."""

    keycloak: Keycloak
    client: str = "http://127.0.0.1:8000"  # what the registered callback belongs to
    http: requests.Session = field(default_factory=_Cookies)
    page: requests.Response = field(default_factory=requests.Response)
    verifier: str = ""

    @property
    def callback(self) -> str:
        """Where Keycloak sends the code."""
        return f"{self.client}/accounts/oidc/keycloak/login/callback/"

    @property
    def fields(self) -> set[str]:
        """The names of the fields on the page."""
        return set(re.findall(r'<input[^>]*\bname="(\w+)"', self.page.text))

    @property
    def answer(self) -> dict[str, str]:
        """What Keycloak sent to the callback; empty while it still shows a page."""
        query = urlsplit(self.page.headers.get("Location", "")).query
        return {name: values[0] for name, values in parse_qs(query).items()}

    def open(self, **more: str) -> None:
        """Ask for a sign-in as the portal does; `more` are further parameters, or others in their place."""
        self.verifier = secrets.token_urlsafe(48)
        challenge = base64.urlsafe_b64encode(hashlib.sha256(self.verifier.encode()).digest()).rstrip(b"=").decode()
        self.page = self.http.get(f"{self.keycloak.issuer}/protocol/openid-connect/auth", params={
            "client_id": self.keycloak.client_id, "response_type": "code", "scope": "openid profile email",
            "redirect_uri": self.callback, "state": "s", "nonce": "n",
            "code_challenge": challenge, "code_challenge_method": "S256",
        } | more, allow_redirects=False, timeout=30)  # fmt: skip

    def send(self, **fields: str) -> None:
        """Fill the form of the page and send it."""
        action = re.search(r'<form[^>]*\baction="([^"]+)"', self.page.text)
        assert action, self.page.text
        self.page = self.http.post(html.unescape(action.group(1)), data=fields, allow_redirects=False, timeout=30)

    def exchange(self) -> dict[str, Any]:
        """The tokens for the code that came to the callback."""
        answer = self.keycloak.grant(
            grant_type="authorization_code", code=self.answer["code"], redirect_uri=self.callback,
            code_verifier=self.verifier,
        )  # fmt: skip
        assert answer.ok, answer.text
        return dict(answer.json())

    def sign_in(self, person: Person, **more: str) -> dict[str, Any]:
        """Go through the forms, the authenticator app's included, and return the tokens."""
        self.open(**more)
        if "password" in self.fields:
            self.send(username=person.username, password=person.password)
        if "otp" in self.fields:
            self.send(otp=person.code)
        return self.exchange()

    def id_token(self, person: Person, **more: str) -> dict[str, Any]:
        """Sign in and return the claims of the id token."""
        return claims(self.sign_in(person, **more)["id_token"])
