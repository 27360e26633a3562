"""Keys, certificates and signatures of models, made for the tests by cryptography and signed by model_signing."""

import base64
import datetime as dt
import hashlib
import json
from pathlib import Path
from typing import Any

import model_signing
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from catalog.evidence.dsse import pae

Key = ec.EllipticCurvePrivateKey
IN_TOTO = "application/vnd.in-toto+json"
BUNDLE = "application/vnd.dev.sigstore.bundle.v0.3+json"


def new_key() -> Key:
    return ec.generate_private_key(ec.SECP256R1())


def private_pem(key: Key, path: Path) -> Path:
    raw = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path.write_bytes(raw)
    return path


def public_pem(key: Key) -> bytes:
    return key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


def certificate(key: Key, common: str, *, by: tuple[x509.Certificate, Key] | None = None) -> x509.Certificate:
    """A certificate of `key`: its own authority, or a signer that `by` certifies."""
    now = dt.datetime.now(dt.UTC)
    usage = x509.KeyUsage(
        digital_signature=by is not None, key_cert_sign=by is None, crl_sign=by is None, content_commitment=False,
        key_encipherment=False, data_encipherment=False, key_agreement=False, encipher_only=False, decipher_only=False,
    )  # fmt: skip
    builder = (
        x509.CertificateBuilder()
        .subject_name(name(common))
        .issuer_name(by[0].subject if by else name(common))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=30))
        .add_extension(x509.BasicConstraints(ca=by is None, path_length=None), critical=True)
        .add_extension(usage, critical=True)
    )
    if by:
        builder = builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CODE_SIGNING]), critical=False)
    return builder.sign(by[1] if by else key, hashes.SHA256())


def pem_of(made: x509.Certificate) -> bytes:
    return made.public_bytes(serialization.Encoding.PEM)


def sign(folder: Path, key: Key, scratch: Path, *, target: Path | None = None, **hashing: Any) -> Path:
    """Sign `folder` with the library, into model.sig inside it or `target`."""
    config = model_signing.hashing.Config()
    if "shard_size" in hashing:
        config.use_shard_serialization(hashing_algorithm="sha256", shard_size=hashing["shard_size"])
    elif "algorithm" in hashing:
        config.use_file_serialization(hashing_algorithm=hashing["algorithm"])
    out = target or folder / "model.sig"
    config.set_ignored_paths(paths=[*hashing.get("ignore", []), "model.sig"], ignore_git_paths=True)
    signer = model_signing.signing.Config().use_elliptic_key_signer(private_key=private_pem(key, scratch / "key.pem"))
    signer.set_hashing_config(config).sign(folder, out)
    return out


def statement_of(path: Path) -> dict[str, Any]:
    """What a signature says."""
    found: dict[str, Any] = json.loads(base64.b64decode(json.loads(path.read_text())["dsseEnvelope"]["payload"]))
    return found


def envelope(key: Key, payload: bytes, kind: str = IN_TOTO) -> dict[str, Any]:
    """A DSSE envelope signed with `key`."""
    signature = key.sign(pae(kind, payload), ec.ECDSA(hashes.SHA256()))
    return {
        "payload": base64.b64encode(payload).decode(),
        "payloadType": kind,
        "signatures": [{"sig": base64.b64encode(signature).decode(), "keyid": ""}],
    }


def resigned(path: Path, key: Key, statement: dict[str, Any]) -> None:
    """Write a signature of `key` over any statement: what a signer could make who does not use the library."""
    bundle = {
        "mediaType": BUNDLE,
        "verificationMaterial": {
            "publicKey": {"hint": hashlib.sha256(public_pem(key)).hexdigest()}, "tlogEntries": [],
        },
        "dsseEnvelope": envelope(key, json.dumps(statement).encode()),
    }  # fmt: skip
    path.write_text(json.dumps(bundle))
