"""Secrets at rest: random tokens, their hashes, and encryption under GATEHOUSE_ENCRYPTION_KEYS (newest first)."""

import base64
import hashlib
import hmac
import secrets
import zlib

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from django.conf import settings

ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


def random_text(length: int) -> str:
    """Return `length` random characters of [0-9A-Za-z] (5.95 bits each) from the system's generator."""
    return "".join(secrets.choice(ALPHABET) for _ in range(length))


def checksum(text: str) -> str:
    """Return six base-62 digits of CRC-32, so that secret scanners can tell a real key from a look-alike offline."""
    value = zlib.crc32(text.encode())
    digits = ""
    for _ in range(6):
        value, digit = divmod(value, 62)
        digits = ALPHABET[digit] + digits
    return digits


def digest(data: bytes | str) -> str:
    """Return the SHA-256 of `data` in hex. Plain SHA-256 is right only for secrets of ≥ 256 random bits."""
    return hashlib.sha256(data.encode() if isinstance(data, str) else data).hexdigest()


def same(left: str, right: str) -> bool:
    """Compare two secrets in constant time."""
    return hmac.compare_digest(left.encode(), right.encode())


def _fernet() -> MultiFernet:
    return MultiFernet([Fernet(key) for key in settings.GATEHOUSE_ENCRYPTION_KEYS])


def new_encryption_key() -> str:
    """Return a fresh value for GATEHOUSE_ENCRYPTION_KEYS (32 random bytes, URL-safe base64)."""
    return base64.urlsafe_b64encode(secrets.token_bytes(32)).decode()


def encrypt(text: str) -> str:
    """Return `text` encrypted under the newest key."""
    return _fernet().encrypt(text.encode()).decode()


def decrypt(token: str) -> str:
    """Return what `encrypt` was given; raises ValueError when no configured key fits."""
    try:
        return _fernet().decrypt(token.encode()).decode()
    except InvalidToken as error:
        raise ValueError(
            "No key in GATEHOUSE_ENCRYPTION_KEYS opens this value; was a key removed too early?"
        ) from error


def derived(purpose: str) -> list[str]:
    """Return the secret for `purpose` that follows from each encryption key, newest first: nobody has to store it."""
    found = [
        hmac.new(base64.urlsafe_b64decode(key), f"gatehouse derived: {purpose}".encode(), hashlib.sha256).digest()
        for key in settings.GATEHOUSE_ENCRYPTION_KEYS
    ]
    return [base64.urlsafe_b64encode(secret).decode().rstrip("=") for secret in found]


def rotate(token: str) -> str:
    """Return `token` re-encrypted under the newest key; raises ValueError when no configured key fits."""
    try:
        return _fernet().rotate(token.encode()).decode()
    except InvalidToken as error:
        raise ValueError(
            "No key in GATEHOUSE_ENCRYPTION_KEYS opens this value; was a key removed too early?"
        ) from error
