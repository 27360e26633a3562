"""Signatures as in Standard Webhooks: HMAC-SHA-256 over "id.timestamp.body" with the bytes behind `whsec_`.

After a rotation the old secret signs beside the new one for a day, so that the receiver can change without a gap.
"""

import base64
import datetime as dt
import hashlib
import hmac
import json
import secrets
from collections.abc import Mapping

from portal import crypto

PREFIX = "whsec_"
OVERLAP = dt.timedelta(hours=24)


def new_secret() -> str:
    """Return a fresh secret of 256 random bits."""
    return PREFIX + base64.b64encode(secrets.token_bytes(32)).decode()


def keep(secret: str) -> str:
    """Return what is stored for a webhook with one secret, encrypted."""
    return crypto.encrypt(json.dumps([[secret, None]]))


def replace(stored: str, secret: str, now: dt.datetime) -> str:
    """Return what is stored after a rotation: the new secret, and the newest old one for OVERLAP."""
    newest = json.loads(crypto.decrypt(stored))[0][0]
    return crypto.encrypt(json.dumps([[secret, None], [newest, (now + OVERLAP).timestamp()]]))


def living(stored: str, now: dt.datetime) -> list[str]:
    """Return the secrets that sign now, newest first; raises ValueError when no configured key opens them."""
    pairs = json.loads(crypto.decrypt(stored))
    return [secret for secret, until in pairs if until is None or until > now.timestamp()]


def sign(secret: str, identifier: str, timestamp: int, body: bytes) -> str:
    """Return "v1,<base64>", one signature; `timestamp` in Unix seconds."""
    key = base64.b64decode(secret.removeprefix(PREFIX))
    mac = hmac.new(key, f"{identifier}.{timestamp}.".encode() + body, hashlib.sha256)
    return f"v1,{base64.b64encode(mac.digest()).decode()}"


def headers(found: list[str], identifier: str, now: dt.datetime, body: bytes) -> Mapping[str, str]:
    """Return the headers of one call, signed by each of `found`."""
    timestamp = int(now.timestamp())
    return {
        "Content-Type": "application/json",
        "webhook-id": identifier,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(sign(secret, identifier, timestamp, body) for secret in found),
    }
