"""A small identity provider over real HTTP, which says whatever a test wants, true or not."""

import base64
import json
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from django.test import Client

from portal.sso import Provider

LOGIN, CALLBACK = "/accounts/oidc/keycloak/login/", "/accounts/oidc/keycloak/login/callback/"
LOGOUT = "/sso/keycloak/backchannel-logout/"
EVENT = "http://schemas.openid.net/event/backchannel-logout"
KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
OTHER_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
EC_KEY = ec.generate_private_key(ec.SECP256R1())
PUBLIC_PEM = KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def jwk(key: Any, kid: str, algorithm: str) -> dict[str, Any]:
    """The public half of a key as an issuer publishes it."""
    kind = jwt.algorithms.get_default_algorithms()[algorithm]
    return {**json.loads(kind.to_jwk(key.public_key())), "kid": kid, "use": "sig", "alg": algorithm}


def unsigned(claims: dict[str, Any]) -> str:
    """A token with `alg: none`."""
    parts = [json.dumps({"alg": "none", "typ": "JWT"}), json.dumps(claims)]
    return ".".join(base64.urlsafe_b64encode(part.encode()).decode().rstrip("=") for part in parts) + "."


class Issuer:
    """What the provider says. Tests change its attributes; everything is read at the moment of the call."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.keys = [jwk(KEY, "k1", "RS256")]
        self.sub, self.sid, self.groups = "sub-dana", "sid-1", ["fraud-developers"]
        self.person: dict[str, Any] = {
            "preferred_username": "dana", "name": "Dana Okafor", "email": "dana@idp.example", "email_verified": True,
        }  # fmt: skip
        self.claims: dict[str, Any] = {"amr": ["pwd"], "auth_time": int(time.time())}  # added to the id token
        self.info: dict[str, Any] = {}  # added to userinfo
        self.drop: set[str] = set()  # claims that neither has
        self.nonce: str | None = None  # None: the one that was asked for
        self.mint: Any = None  # makes the id token out of its claims; None: signs them
        self.refresh_error: dict[str, Any] | None = None
        self.refreshes, self.down = 0, False
        self.calls: list[tuple[str, str, dict[str, str], dict[str, str]]] = []  # method, path, form, headers
        self.codes: dict[str, dict[str, str]] = {}
        self.raw: dict[str, tuple[int, bytes]] = {}  # path → answer of the test's own

    @property
    def provider(self) -> Provider:
        """The settings that lead here."""
        return Provider(
            issuer=self.url,
            client_id="gatehouse",
            client_secret="the secret",
            groups=(("fraud-developers", "fraud-detection:developer"), ("ml-platform", "platform-engineers")),
            mfa_amr=frozenset({"otp", "hwk"}),
            mfa_acr=frozenset({"mfa"}),
        )

    def identity(self, nonce: str = "") -> dict[str, Any]:
        """The claims of an id token."""
        now = int(time.time())
        base = {
            "iss": self.url, "aud": "gatehouse", "azp": "gatehouse", "sub": self.sub, "sid": self.sid, "iat": now,
            "exp": now + 300, "nonce": nonce if self.nonce is None else self.nonce, "groups": self.groups,
        }  # fmt: skip
        return {name: value for name, value in {**base, **self.person, **self.claims}.items() if name not in self.drop}

    def userinfo(self) -> dict[str, Any]:
        """What userinfo says."""
        base = {"sub": self.sub, "groups": self.groups, **self.person, **self.info}
        return {name: value for name, value in base.items() if name not in self.drop}

    def sign(self, claims: dict[str, Any], *, key: Any = KEY, alg: str = "RS256", **header: Any) -> str:
        """A signed token."""
        return jwt.encode(claims, key, algorithm=alg, headers={"kid": "k1", **header})

    def logout_claims(self, **changes: Any) -> dict[str, Any]:
        """The claims of a logout token; a change to None leaves the claim out."""
        now = int(time.time())
        base = {
            "iss": self.url, "aud": "gatehouse", "sub": self.sub, "sid": self.sid, "iat": now, "exp": now + 120,
            "jti": str(uuid.uuid4()), "events": {EVENT: {}},
        }  # fmt: skip
        return {name: value for name, value in {**base, **changes}.items() if value is not None}

    def answer(self, method: str, path: str, form: dict[str, str]) -> tuple[int, Any]:
        """Answer one call."""
        if path in self.raw:
            return self.raw[path]
        if path.endswith("/.well-known/openid-configuration"):
            names = {"authorization": "auth", "token": "token", "userinfo": "userinfo", "end_session": "logout"}
            found = {f"{name}_endpoint": f"{self.url}/{path}" for name, path in names.items()}
            return 200, {"issuer": self.url, "jwks_uri": f"{self.url}/keys", **found}
        if path == "/keys":
            return 200, {"keys": self.keys}
        if path == "/userinfo":
            return 200, self.userinfo()
        if path == "/token" and form.get("grant_type") == "refresh_token":
            self.refreshes += 1
            if self.refresh_error is not None:
                return 400, self.refresh_error
            return 200, self._tokens("")
        asked = self.codes.pop(form.get("code", ""), None)
        if path == "/token" and asked is not None:
            return 200, self._tokens(asked.get("nonce", ""))
        return 400, {"error": "invalid_grant"}

    def _tokens(self, nonce: str) -> dict[str, Any]:
        claims = self.identity(nonce)
        token = self.mint(claims) if self.mint else self.sign(claims)
        return {"access_token": "at", "refresh_token": f"rt-{self.refreshes}", "id_token": token, "expires_in": 300}


@contextmanager
def issuing() -> Iterator[Issuer]:
    """Run an issuer on a free port."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.reply("GET", {})

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
            self.reply("POST", {name: values[0] for name, values in parse_qs(body).items()})

        def reply(self, method: str, form: dict[str, str]) -> None:
            path = urlsplit(self.path).path
            issuer.calls.append((method, path, form, dict(self.headers)))
            if issuer.down:
                self.send_error(503)
                return
            status, body = issuer.answer(method, path, form)
            data = body if isinstance(body, bytes) else json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *args: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    issuer = Issuer(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield issuer
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def begin(client: Client, **form: str) -> dict[str, str]:
    """Post the sign-in form and return what the identity provider is asked for."""
    response = client.post(LOGIN, form)
    assert response.status_code == 302, response.content[:300]
    return asked_of(response)


def asked_of(response: Any) -> dict[str, str]:
    """What an answer asks the identity provider for."""
    return {name: values[0] for name, values in parse_qs(urlsplit(response.headers["Location"]).query).items()}


def come_back(issuer: Issuer, client: Client, asked: dict[str, str], **query: str) -> Any:
    """Come back from the provider with a code for what was asked."""
    code = uuid.uuid4().hex
    issuer.codes[code] = asked
    return client.get(CALLBACK, {"code": code, "state": asked["state"], **query})


def sign_in(issuer: Issuer, client: Client | None = None, **form: str) -> tuple[Client, Any]:
    """Sign in over the provider; returns the browser and the last answer."""
    client = client or Client()
    return client, come_back(issuer, client, begin(client, **form))
