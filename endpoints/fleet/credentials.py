"""What the portal shows a cluster to be let in: kept encrypted, opened only to connect, never shown again."""

import base64
import binascii
import datetime as dt
import json
from dataclasses import dataclass, field

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from endpoints.clusters.explaining.cases import refused
from endpoints.models import Authentication, Cluster
from portal import crypto
from portal.errors import Invalid

MOST_TOKEN = 16_384  # characters
MOST_PEM = 65_536
MOST_AUTHORITIES = 50
CLOCKS = dt.timedelta(minutes=5)  # by which those of two machines may differ


@dataclass(frozen=True)
class Credential:
    """A token, or a client certificate (PEM, with those that lead to its authority) and its key (PEM); `repository` is
    the private key or token for the Git repository.
    """

    token: str = field(default="", repr=False)
    certificate: str = field(default="", repr=False)
    key: str = field(default="", repr=False)
    repository: str = field(default="", repr=False)

    @property
    def kind(self) -> str:
        """How the portal signs in with it."""
        if self.token:
            return Authentication.TOKEN
        return Authentication.CERTIFICATE if self.certificate else Authentication.IN_CLUSTER


def seal(credential: Credential) -> str:
    """Return `credential` as its column holds it."""
    names = ("token", "certificate", "key", "repository")
    parts = {name: getattr(credential, name) for name in names}
    return crypto.encrypt(json.dumps({name: value for name, value in parts.items() if value}))


def opened(cluster: Cluster) -> Credential:
    """Return the credential of `cluster`, empty where it needs none; raises ClusterError when no key opens it."""
    if not cluster.credential:
        return Credential()
    try:
        return Credential(**json.loads(crypto.decrypt(cluster.credential)))
    except (ValueError, TypeError) as error:
        raise refused("credential_closed", cluster=cluster.slug) from error


def check(credential: Credential, *, field: str) -> None:
    """Raise Invalid, naming `field`, for a token or certificate that no cluster can take."""
    token = credential.token
    if len(token) > MOST_TOKEN:
        raise Invalid.field(field, f"The token has {len(token):,} characters; the limit is {MOST_TOKEN:,}.")
    if token and not all("!" <= char <= "~" for char in token):
        raise Invalid.field(
            field, "The token holds spaces or characters that no token has. Copy it again, in one line."
        )
    if credential.certificate:
        _check_pair(credential, field)
    last = ends(credential)
    if last is not None and last < dt.datetime.now(dt.UTC) - CLOCKS:
        what = "client certificate" if credential.certificate else "token"
        raise Invalid.field(field, f"The {what} has ended on {last:%Y-%m-%d at %H:%M} UTC. Make a new one.")


def _check_pair(credential: Credential, field: str) -> None:
    bad = "Copy both again, in PEM, the key without a password."
    chain = authorities(credential.certificate, field=field, what="The client certificate")
    if len(credential.key) > MOST_PEM:
        raise Invalid.field(field, f"The key has {len(credential.key):,} characters; the limit is {MOST_PEM:,}.")
    try:
        key = load_pem_private_key(credential.key.encode(), password=None)
        own, certified = (
            public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
            for public in (key.public_key(), chain[0].public_key())
        )
    except (ValueError, TypeError, UnsupportedAlgorithm):  # their words could repeat the key
        raise Invalid.field(field, f"The key of the client certificate cannot be read. {bad}") from None
    if own != certified:
        raise Invalid.field(field, f"The key does not belong to the client certificate. {bad}")


def authorities(pem: str, *, field: str, what: str = "The authority") -> list[x509.Certificate]:
    """Return the certificates in `pem`; raises Invalid, naming `field`, for none, too many and broken ones."""
    fix = "Paste the text from -----BEGIN CERTIFICATE----- to -----END CERTIFICATE-----."
    if len(pem) > MOST_PEM:
        raise Invalid.field(field, f"{what} has {len(pem):,} characters; the limit is {MOST_PEM:,}. {fix}")
    if "PRIVATE KEY" in pem and what == "The authority":
        raise Invalid.field(field, f"{what} holds a private key, which does not belong there. {fix}")
    try:
        found = x509.load_pem_x509_certificates(pem.encode())
    except ValueError:
        raise Invalid.field(field, f"{what} is no certificate in PEM. {fix}") from None
    if len(found) > MOST_AUTHORITIES:
        raise Invalid.field(field, f"{what} has {len(found)} certificates; the limit is {MOST_AUTHORITIES}.")
    return found


def ends(credential: Credential) -> dt.datetime | None:
    """Return when the credential stops working by its own words: `exp` of a JSON Web Token, the last day of a
    certificate; None where it says nothing.
    """
    if credential.certificate:
        return x509.load_pem_x509_certificate(credential.certificate.encode()).not_valid_after_utc
    parts = credential.token.split(".")
    if len(parts) != 3:
        return None
    try:  # nobody trusts what it says: the cluster checks it
        claims = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
        return dt.datetime.fromtimestamp(int(claims["exp"]), dt.UTC)
    except (ValueError, KeyError, TypeError, OverflowError, OSError, binascii.Error, RecursionError):
        return None
