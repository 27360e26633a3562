"""Signatures of DSSE envelopes by public keys (https://github.com/secure-systems-lab/dsse)."""

from collections.abc import Iterable, Mapping
from typing import Any

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa

from catalog.evidence.attachments import decoded


def signer(envelope: Mapping[str, Any], keys: Iterable[tuple[str, bytes]]) -> str:
    """Return the name of the first of `keys` (name, PEM) that signed the envelope, or "". Raises Invalid."""
    message = pae(envelope["payloadType"], decoded(envelope, "payload"))
    signatures = [decoded(item, "sig") for item in envelope["signatures"]]
    for name, pem in keys:
        if any(_holds(pem, signature, message) for signature in signatures):
            return name
    return ""


def pae(kind: str, payload: bytes) -> bytes:
    """Return the bytes that are signed."""
    return b"DSSEv1 %d %s %d %s" % (len(kind.encode()), kind.encode(), len(payload), payload)


def _holds(pem: bytes, signature: bytes, message: bytes) -> bool:
    try:
        key = serialization.load_pem_public_key(pem)
        if isinstance(key, ed25519.Ed25519PublicKey):
            key.verify(signature, message)
        elif isinstance(key, ec.EllipticCurvePublicKey):
            key.verify(signature, message, ec.ECDSA(_hash(key.key_size)))
        elif isinstance(key, rsa.RSAPublicKey) and key.key_size >= 2048:
            key.verify(signature, message, padding.PKCS1v15(), hashes.SHA256())
        else:
            return False
    except (InvalidSignature, UnsupportedAlgorithm, ValueError):
        return False
    return True


def _hash(bits: int) -> hashes.HashAlgorithm:
    return hashes.SHA256() if bits <= 256 else hashes.SHA384() if bits <= 384 else hashes.SHA512()
