"""A real Keycloak with the realm that Gatehouse ships, on a free port, and the hands of its administrator."""

import base64
import hashlib
import hmac
import json
import os
import secrets
import shutil
import signal
import struct
import subprocess
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import requests

from tests import keycloak_dist
from tests.stack.conftest import ROOT, free_port, wait_for

REALM = ROOT / "deploy" / "keycloak" / "gatehouse-realm.json"
FIRST_START_SECONDS = 600  # with the build of the server, on a machine that is busy with other tests
START_SECONDS = 300
TOKEN_SECONDS = 30  # the administrator's token lives for 60
# The shell is the leader of a process group. Its standard input is a pipe from this process: when this process ends,
# by whatever signal, the pipe closes and the shell takes the whole group along.
GUARD = 'sh bin/kc.sh "$@" & cat >/dev/null; kill -KILL 0'


def totp(secret: str, at: float | None = None) -> str:
    """The digits of an authenticator app at `at`, in Unix seconds; `secret` as Keycloak stores it, not base32."""
    counter = struct.pack(">Q", int(time.time() if at is None else at) // 30)
    digest = hmac.new(secret.encode(), counter, hashlib.sha1).digest()
    start = digest[-1] & 15
    return f"{(int.from_bytes(digest[start : start + 4]) & 0x7FFFFFFF) % 10**6:06d}"


def claims(token: str, part: int = 1) -> dict[str, Any]:
    """The claims of a JWT, or its header with `part` 0; nothing is verified."""
    text = token.split(".")[part]
    return dict(json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))))


@dataclass(frozen=True)
class Person:
    """Somebody who can sign in."""

    id: str
    username: str
    password: str
    otp: str = ""  # secret of the authenticator app; "" = has none

    @property
    def code(self) -> str:
        """What the authenticator app shows now."""
        return totp(self.otp)


class Keycloak:
    """One server with the realm `gatehouse`; every secret is made for it."""

    client_id, pipeline_id = "gatehouse", "gatehouse-pipeline"

    def __init__(self) -> None:
        self.port, self.management_port = free_port(), free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.issuer = f"{self.url}/realms/gatehouse"
        self.client_secret, self.pipeline_secret = secrets.token_urlsafe(32), secrets.token_urlsafe(32)
        self.password, self.mia_otp = secrets.token_urlsafe(12), secrets.token_hex(10)
        self.home = Path(tempfile.mkdtemp(prefix="gatehouse-keycloak-"))
        self.log = self.home / "keycloak-output.log"
        self._admin_password = secrets.token_urlsafe(24)
        self._token: tuple[float, str] = (0, "")
        self._process: subprocess.Popen[bytes] | None = None
        self.http = requests.Session()
        self.http.trust_env = False  # no proxy of the caller's shell between here and loopback

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException as error:
            if self.log.exists():
                error.add_note(self.log.read_text(errors="replace")[-3000:])
            self.stop()
            raise
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()

    def start(self) -> None:
        """Unpack when that is due, start, and wait until the server is ready and the realm answers."""
        java, source = keycloak_dist.needed()
        with keycloak_dist.unpacked(source) as distribution:
            at = keycloak_dist.home(distribution, self.home / "home")
            (at / "data" / "import" / REALM.name).write_text(json.dumps(self.realm()), encoding="utf-8")
            self._process = subprocess.Popen(
                ["sh", "-c", GUARD, "sh", "start-dev", "--import-realm", *self._options()],
                cwd=at,
                env=self._environment(java),
                stdin=subprocess.PIPE,
                stdout=self.log.open("ab"),
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            built = (distribution / keycloak_dist.BUILT).exists()
            wait_for(self._ready, START_SECONDS if built else FIRST_START_SECONDS, "Keycloak to answer")

    def _options(self) -> list[str]:
        return [
            "--db=dev-mem", "--health-enabled=true", "--cache=local", "--log-level=info",
            "--http-host=127.0.0.1", f"--http-port={self.port}",
            "--http-management-host=127.0.0.1", f"--http-management-port={self.management_port}",
        ]  # fmt: skip

    def _environment(self, java: Path) -> dict[str, str]:
        # Neither settings of another Keycloak nor values for the realm's placeholders reach this one.
        kept = {
            name: value for name, value in os.environ.items() if not name.startswith(("KC_", "GATEHOUSE_", "JAVA_"))
        }
        return kept | {
            "JAVA": str(java),
            # A short life: the first compiler is enough, and one thread to collect garbage.
            "JAVA_OPTS": "-Xms64m -Xmx512m -XX:MaxMetaspaceSize=256m -XX:TieredStopAtLevel=1 -XX:+UseSerialGC",
            "KC_BOOTSTRAP_ADMIN_USERNAME": "admin",
            "KC_BOOTSTRAP_ADMIN_PASSWORD": self._admin_password,
        }

    def _ready(self) -> bool:
        if self._process is None or self._process.poll() is not None:
            raise AssertionError("Keycloak ended while it started")
        health = self.http.get(f"http://127.0.0.1:{self.management_port}/health/ready", timeout=5)
        return health.ok and self.http.get(f"{self.issuer}/.well-known/openid-configuration", timeout=30).ok

    def stop(self) -> None:
        """End the server with all its processes and drop its data."""
        if self._process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait(timeout=30)
            if self._process.stdin is not None:
                self._process.stdin.close()
            self._process = None
        shutil.rmtree(self.home, ignore_errors=True)

    def realm(self) -> dict[str, Any]:
        """The realm of deploy/keycloak with this server's secrets in the place of the placeholders."""
        found: dict[str, Any] = json.loads(REALM.read_text(encoding="utf-8"))
        for client in found["clients"]:
            if "secret" in client:
                client["secret"] = {
                    self.client_id: self.client_secret, self.pipeline_id: self.pipeline_secret,
                }[client["clientId"]]  # fmt: skip
        for user in found["users"]:
            for credential in user["credentials"]:
                if credential["type"] == "password":
                    credential["value"] = self.password
                else:
                    credential["secretData"] = json.dumps({"value": self.mia_otp})
        # Tests sign the same person in twice within the 30 s of one code.
        found["otpPolicyCodeReusable"] = True
        assert "CHANGE-ME" not in json.dumps(found)
        return found

    # The administrator

    def admin(self, method: str, path: str, **options: Any) -> Any:
        """One call of the admin REST API below the realm: the JSON it answers, or None; raises when it refuses."""
        made, token = self._token
        if time.monotonic() - made > TOKEN_SECONDS:
            answer = self.http.post(
                f"{self.url}/realms/master/protocol/openid-connect/token",
                data={
                    "grant_type": "password",
                    "client_id": "admin-cli",
                    "username": "admin",
                    "password": self._admin_password,
                },
                timeout=30,
            )
            answer.raise_for_status()
            token = answer.json()["access_token"]
            self._token = (time.monotonic(), token)
        response = self.http.request(
            method, f"{self.url}/admin/realms/gatehouse{path}",
            headers={"Authorization": f"Bearer {token}"}, timeout=30, **options,
        )  # fmt: skip
        assert response.ok, f"{method} {path}: {response.status_code} {response.text}"
        return response.json() if response.content else None

    def person(self, username: str) -> Person:
        """One of the people of the realm's export; mia has an authenticator app."""
        otp = self.mia_otp if username == "mia" else ""
        return Person(self._user_id(username), username, self.password, otp)

    def create_user(self, username: str, *groups: str, otp: bool = False) -> Person:
        """Create somebody, in `groups` and with an authenticator app when asked."""
        person = Person("", username, secrets.token_urlsafe(12), secrets.token_hex(10) if otp else "")
        credentials = [{"type": "password", "value": person.password, "temporary": False}]
        if otp:
            data = {"subType": "totp", "digits": 6, "counter": 0, "period": 30, "algorithm": "HmacSHA1"}
            credentials.append(
                {"type": "otp", "secretData": json.dumps({"value": person.otp}), "credentialData": json.dumps(data)}
            )
        self.admin("POST", "/users", json={
            "username": username, "enabled": True, "email": f"{username}@example.com", "emailVerified": True,
            "firstName": username.title(), "lastName": "Tester", "credentials": credentials,
            "groups": [f"/{group}" for group in groups],
        })  # fmt: skip
        return Person(self._user_id(username), username, person.password, person.otp)

    def _user_id(self, username: str) -> str:
        (found,) = self.admin("GET", "/users", params={"username": username, "exact": "true"})
        return str(found["id"])

    def _group_id(self, name: str) -> str:
        """The id of a group, which is made when it is not there yet."""
        found = self.admin("GET", "/groups", params={"search": name, "exact": "true"})
        if not found:
            self.admin("POST", "/groups", json={"name": name})
            found = self.admin("GET", "/groups", params={"search": name, "exact": "true"})
        return str(found[0]["id"])

    def groups(self, person: Person) -> set[str]:
        """The names of the groups somebody is in."""
        return {group["name"] for group in self.admin("GET", f"/users/{person.id}/groups")}

    def set_groups(self, person: Person, *names: str) -> None:
        """Put somebody into exactly these groups."""
        have = self.groups(person)
        for name in have - set(names):
            self.leave(person, name)
        for name in set(names) - have:
            self.join(person, name)

    def join(self, person: Person, group: str) -> None:
        """Put somebody into a group."""
        self.admin("PUT", f"/users/{person.id}/groups/{self._group_id(group)}")

    def leave(self, person: Person, group: str) -> None:
        """Take somebody out of a group."""
        self.admin("DELETE", f"/users/{person.id}/groups/{self._group_id(group)}")

    def disable(self, person: Person) -> None:
        """Disable an account; its sessions stay, and no client hears of it."""
        self.admin("PUT", f"/users/{person.id}", json={"enabled": False})

    def enable(self, person: Person) -> None:
        """Enable an account again."""
        self.admin("PUT", f"/users/{person.id}", json={"enabled": True})

    def delete(self, person: Person) -> None:
        """Delete an account; no client hears of it."""
        self.admin("DELETE", f"/users/{person.id}")

    def set_password(self, person: Person, password: str) -> None:
        """Give somebody a new password."""
        self.admin("PUT", f"/users/{person.id}/reset-password", json={
            "type": "password", "value": password, "temporary": False,
        })  # fmt: skip

    def sessions(self, person: Person) -> list[str]:
        """The ids of somebody's living sessions: the `sid` of id tokens and logout tokens."""
        return [str(session["id"]) for session in self.admin("GET", f"/users/{person.id}/sessions")]

    def logout(self, person: Person) -> None:
        """End all sessions of somebody, as the administrator; clients get one back-channel logout per session."""
        self.admin("POST", f"/users/{person.id}/logout")

    def end_session(self, session: str) -> None:
        """End one session, as the administrator."""
        self.admin("DELETE", f"/sessions/{session}")

    def point_client_at(self, portal: str, *, logout_url: str = "") -> None:
        """Let the client `gatehouse` belong to the portal at `portal`, such as http://127.0.0.1:8123; its back-channel
        logout goes there too, unless to `logout_url`.
        """
        (client,) = self.admin("GET", "/clients", params={"clientId": self.client_id})
        client["rootUrl"] = portal
        client["redirectUris"] = [f"{portal}/accounts/oidc/keycloak/login/callback/"]
        client["attributes"] |= {
            "post.logout.redirect.uris": f"{portal}/*",
            "backchannel.logout.url": logout_url or f"{portal}/sso/keycloak/backchannel-logout/",
        }
        self.admin("PUT", f"/clients/{client['id']}", json=client)

    # The token endpoint

    def grant(self, **form: str) -> requests.Response:
        """One call of the token endpoint as the client `gatehouse`, unless the form names another."""
        form = {"client_id": self.client_id, "client_secret": self.client_secret} | form
        return self.http.post(f"{self.issuer}/protocol/openid-connect/token", data=form, timeout=30)

    def pipeline_token(self, *scopes: str) -> str:
        """An access token by client credentials, as a pipeline has it."""
        asked = {"scope": " ".join(scopes)} if scopes else {}
        answer = self.grant(
            grant_type="client_credentials", client_id=self.pipeline_id, client_secret=self.pipeline_secret, **asked
        )
        assert answer.ok, answer.text
        return str(answer.json()["access_token"])
