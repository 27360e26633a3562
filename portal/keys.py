"""The portal's own keys: from the environment, or (embedded only) generated once into the state directory."""

import contextlib
import os
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from django.utils.crypto import get_random_string

from portal import env
from portal.crypto import new_encryption_key


def _kept(state: Path, name: str, make: str) -> str:
    """Return the content of keys/`name`, after storing `make` there if it is new. Two processes may race: the first
    file wins.
    """
    folder = state / "keys"
    folder.mkdir(mode=0o700, exist_ok=True)
    path = folder / name
    if not path.exists():
        temporary = folder / f".{name}.{os.getpid()}"
        temporary.touch(mode=0o600)
        temporary.write_text(make, encoding="utf-8")
        with contextlib.suppress(FileExistsError):
            os.link(temporary, path)
        temporary.unlink()
    return path.read_text(encoding="utf-8").strip()


def secret_key(state: Path, *, generate: bool) -> str:
    """Return GATEHOUSE_SECRET_KEY; raises EnvError when it is missing or shorter than 50 characters and must not be
    generated.
    """
    value = env.text("GATEHOUSE_SECRET_KEY", "")
    if value and len(value) < 50:
        raise env.EnvError("GATEHOUSE_SECRET_KEY is shorter than 50 characters; make one with: openssl rand -base64 48")
    if value:
        return value
    if generate:
        return _kept(state, "secret_key", get_random_string(64))
    raise env.EnvError("GATEHOUSE_SECRET_KEY is not set; make one with: openssl rand -base64 48")


def encryption_keys(state: Path, *, generate: bool) -> list[str]:
    """Return GATEHOUSE_ENCRYPTION_KEYS, newest first; raises EnvError when missing (unless generated) or not Fernet
    keys.
    """
    values = env.words("GATEHOUSE_ENCRYPTION_KEYS")
    if not values and generate:
        values = [_kept(state, "encryption_key", new_encryption_key())]
    if not values or any(len(value) != 44 for value in values):
        raise env.EnvError(
            "GATEHOUSE_ENCRYPTION_KEYS must list keys of 32 bytes in URL-safe base64, newest first; "
            "make one with: openssl rand -base64 32 | tr '+/' '-_'"
        )
    return values


def oidc_private_key(state: Path, *, generate: bool) -> str:
    """Return GATEHOUSE_OIDC_PRIVATE_KEY (PEM, RSA); raises EnvError when missing (unless generated)."""
    value = env.text("GATEHOUSE_OIDC_PRIVATE_KEY", "")
    if value:
        return value
    if not generate:
        raise env.EnvError("GATEHOUSE_OIDC_PRIVATE_KEY is not set; make one with: openssl genrsa 3072")
    path = state / "keys" / "oidc.pem"
    return _kept(state, "oidc.pem", "" if path.exists() else _new_rsa())


def _new_rsa() -> str:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()
