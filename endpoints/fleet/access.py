"""How the portal gets into a cluster, checked before it is kept: server, authority, credential."""

import base64
import binascii
import contextlib
import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import urlsplit

from endpoints.clusters.rbac import GRANTS
from endpoints.fleet import kubeconfig
from endpoints.fleet.credentials import MOST_PEM, Credential, authorities, check, ends, seal
from endpoints.fleet.repository import Repository
from endpoints.models import Authentication, Cluster
from portal import outbound
from portal.errors import Invalid
from portal.http import clean_text

PURPOSE = "cluster"  # in settings.OUTBOUND_ALLOW
IN_CLUSTER_SERVER = "https://kubernetes.default.svc"
# What people choose: a kubeconfig is read once, and ends as a token or certificate.
WAYS: Mapping[str, str] = {
    "token": "A token of a ServiceAccount",
    "kubeconfig": "A kubeconfig that I paste",
    "in_cluster": "The portal runs in this cluster",
}


@dataclass(frozen=True)
class Access:
    """What is kept of a way in; `ca` is PEM, "" for the authorities that this machine trusts."""

    authentication: str
    server: str
    ca: str
    credential: Credential = field(repr=False)
    repository: Repository = field(default_factory=Repository, repr=False)

    def columns(self, now: dt.datetime) -> dict[str, Any]:
        """Return the columns of a cluster that is entered this way from `now` on."""
        return {
            "authentication": self.authentication,
            "server": self.server,
            "ca": self.ca,
            "credential": self._sealed(),
            "credential_since": now,
            "credential_ends": ends(self.credential) if self.credential.kind != Authentication.IN_CLUSTER else None,
            **self.repository.columns,
        }

    def _sealed(self) -> str:
        secret = replace(self.credential, repository=self.repository.secret)
        return seal(secret) if secret != Credential() else ""


def read(*, authentication: str, server: str = "", ca: str = "", token: str = "", kubeconfig_text: str = "") -> Access:
    """Return the way in that `authentication` (a key of WAYS) and the fields that belong to it describe.

    Raises Invalid naming the field; its sentences never repeat what could be secret.
    """
    if authentication not in WAYS:
        raise Invalid.field(
            "authentication", f"authentication is {authentication[:20]!r}; choose one of {', '.join(WAYS)}."
        )
    if authentication == "kubeconfig":
        found = kubeconfig.read(kubeconfig_text)
        if found.ca:
            authorities(found.ca, field="kubeconfig")
        check(found.credential, field="kubeconfig")
        return Access(found.credential.kind, clean_server(found.server, field="kubeconfig"), found.ca, found.credential)
    authority = _authority(ca)
    if authentication == "in_cluster":
        return Access(Authentication.IN_CLUSTER, clean_server(server or IN_CLUSTER_SERVER), authority, Credential())
    secret = Credential(token=token.strip())
    if not secret.token:
        raise Invalid.field("token", "The token is missing. The connection guide says how to make one.")
    check(secret, field="token")
    return Access(Authentication.TOKEN, clean_server(server), authority, secret)


def clean_server(server: str, *, field: str = "server") -> str:
    """Return the address of an API server without a slash at its end; raises Invalid, naming `field`, for what the
    portal never calls.
    """
    url = clean_text(server, field=field, high=outbound.MAX_URL).rstrip("/")
    example = "Write it like https://api.example.com:6443."
    if not url:
        raise Invalid.field(field, f"The address of the API server is missing. {example}")
    if not url.startswith("https://"):
        raise Invalid.field(field, f"The address of the API server must begin with https://. {example}")
    try:
        parts = urlsplit(url)
    except ValueError:
        raise Invalid.field(field, f"The address of the API server is none. {example}") from None
    if parts.query or parts.fragment:
        raise Invalid.field(field, f"The address of the API server must end before “?” and “#”. {example}")
    try:
        outbound.check(url, purpose=PURPOSE)
    except outbound.OutboundRefused as error:
        raise Invalid.field(field, str(error)) from None
    return url


def _authority(text: str) -> str:
    """Return the PEM in `text`, which may be wrapped in base64 as kubeconfigs have it."""
    pem = text.strip()
    if not pem:
        return ""
    if len(pem) > 2 * MOST_PEM:
        raise Invalid.field("ca", f"The authority has {len(pem):,} characters; the limit is {MOST_PEM:,}.")
    if "-----BEGIN" not in pem:
        with contextlib.suppress(binascii.Error, ValueError):  # said below, in the words for what is no certificate
            pem = base64.b64decode("".join(pem.split()), validate=True).decode("ascii").strip()
    authorities(pem, field="ca")
    return pem + "\n"


def has_api(cluster: Cluster) -> bool:
    """Whether the portal talks to an API of the cluster, and not to processes of its own machine."""
    return cluster.driver in GRANTS
