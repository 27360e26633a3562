"""A Sigstore of the tests' own: certificate authority, certificate log and transparency log, all in one process.

It signs as the public one does, so that the real verifier has everything to verify, and needs no network.
"""

import base64
import datetime as dt
import hashlib
import json
import struct
from pathlib import Path
from typing import Any

import rfc8785
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID

from tests.catalog import signing_kit as kit
from tests.catalog.signing_kit import Key

ISSUER = "https://sso.example.com"
_ISSUER_OID = x509.ObjectIdentifier("1.3.6.1.4.1.57264.1.1")
_SCT_OID = x509.ObjectIdentifier("1.3.6.1.4.1.11129.2.4.2")
_VALID = {"start": "2020-01-01T00:00:00Z"}


def _b64(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


def _der(key: Key) -> bytes:
    return key.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


def _id(key: Key) -> bytes:
    return hashlib.sha256(_der(key)).digest()


def _sign(key: Key, data: bytes) -> bytes:
    return key.sign(data, ec.ECDSA(hashes.SHA256()))


class Sigstore:
    """One instance with its keys."""

    def __init__(self) -> None:
        self.root, self.certificates, self.log = kit.new_key(), kit.new_key(), kit.new_key()
        self.now = dt.datetime.now(dt.UTC).replace(microsecond=0)
        usage = x509.KeyUsage(False, False, False, False, False, True, True, False, False)
        self.authority = (
            x509.CertificateBuilder()
            .subject_name(kit.name("Example Fulcio"))
            .issuer_name(kit.name("Example Fulcio"))
            .public_key(self.root.public_key())
            .serial_number(1)
            .not_valid_before(self.now - dt.timedelta(days=1))
            .not_valid_after(self.now + dt.timedelta(days=300))
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(usage, critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(self.root.public_key()), critical=False)
            .sign(self.root, hashes.SHA256())
        )

    def trust_config(self) -> dict[str, Any]:
        """What a client is given to trust this instance."""
        authority = self.authority.public_bytes(serialization.Encoding.DER)
        return {
            "mediaType": "application/vnd.dev.sigstore.clienttrustconfig.v0.1+json",
            "trustedRoot": {
                "mediaType": "application/vnd.dev.sigstore.trustedroot+json;version=0.1",
                "tlogs": [_log(self.log, "https://rekor.example.com")],
                "ctlogs": [_log(self.certificates, "https://ctlog.example.com")],
                "certificateAuthorities": [
                    {
                        "subject": {"organization": "example", "commonName": "Example Fulcio"},
                        "uri": "https://fulcio.example.com",
                        "certChain": {"certificates": [{"rawBytes": _b64(authority)}]},
                        "validFor": _VALID,
                    }
                ],
            },
            "signingConfig": {"mediaType": "application/vnd.dev.sigstore.signingconfig.v0.2+json"},
        }

    def sign(self, statement: dict[str, Any], identity: str, path: Path, *, issuer: str = ISSUER) -> None:
        """Write the bundle of a keyless signature by `identity` over `statement`."""
        key = kit.new_key()
        signer = self._certificate(key, identity, issuer)
        sealed = kit.envelope(key, json.dumps(statement).encode())
        bundle = {
            "mediaType": kit.BUNDLE,
            "verificationMaterial": {
                "certificate": {"rawBytes": _b64(signer.public_bytes(serialization.Encoding.DER))},
                "tlogEntries": [self._entry(sealed, signer)],
            },
            "dsseEnvelope": sealed,
        }
        path.write_text(json.dumps(bundle))

    def _certificate(self, key: Key, identity: str, issuer: str) -> x509.Certificate:
        usage = x509.KeyUsage(True, False, False, False, False, False, False, False, False)
        builder = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([]))
            .issuer_name(self.authority.subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(self.now - dt.timedelta(minutes=1))
            .not_valid_after(self.now + dt.timedelta(minutes=9))
            .add_extension(usage, critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CODE_SIGNING]), critical=False)
            .add_extension(x509.SubjectAlternativeName([x509.RFC822Name(identity)]), critical=True)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self.root.public_key()), critical=False)
            .add_extension(x509.UnrecognizedExtension(_ISSUER_OID, issuer.encode()), critical=False)
        )
        before = builder.sign(self.root, hashes.SHA256()).tbs_certificate_bytes
        stamped = x509.UnrecognizedExtension(_SCT_OID, self._timestamp(before))
        return builder.add_extension(stamped, critical=False).sign(self.root, hashes.SHA256())

    def _timestamp(self, certificate: bytes) -> bytes:
        """The extension by which the certificate log promises to hold a certificate (RFC 6962, 3.3)."""
        moment = int(self.now.timestamp() * 1000)
        entry = _id(self.root) + len(certificate).to_bytes(3, "big") + certificate
        signature = _sign(self.certificates, struct.pack("!BBQH", 0, 0, moment, 1) + entry + b"\0\0")
        stamp = b"\0" + _id(self.certificates) + struct.pack("!QHBBH", moment, 0, 4, 3, len(signature)) + signature
        listed = struct.pack("!HH", len(stamp) + 2, len(stamp)) + stamp
        return b"\x04" + (bytes([len(listed)]) if len(listed) < 128 else b"\x81" + bytes([len(listed)])) + listed

    def _entry(self, sealed: dict[str, Any], signer: x509.Certificate) -> dict[str, Any]:
        """The only entry of the transparency log, with promise, proof and checkpoint."""
        payload = base64.b64decode(sealed["payload"])
        body: dict[str, Any] = {
            "apiVersion": "0.0.1",
            "kind": "dsse",
            "spec": {
                "envelopeHash": {
                    "algorithm": "sha256",
                    "value": hashlib.sha256(json.dumps(sealed).encode()).hexdigest(),
                },
                "payloadHash": {"algorithm": "sha256", "value": hashlib.sha256(payload).hexdigest()},
                "signatures": [{"signature": sealed["signatures"][0]["sig"], "verifier": _b64(kit.pem_of(signer))}],
            },
        }
        raw, moment = rfc8785.dumps(body), int(self.now.timestamp())
        root = hashlib.sha256(b"\0" + raw).digest()
        note = f"rekor.example.com - 1\n1\n{_b64(root)}\n"
        signed_note = f"{note}\n— rekor.example.com {_b64(_id(self.log)[:4] + _sign(self.log, note.encode()))}\n"
        promise: dict[str, Any] = {
            "body": _b64(raw),
            "integratedTime": moment,
            "logID": _id(self.log).hex(),
            "logIndex": 0,
        }
        return {
            "logIndex": "0",
            "logId": {"keyId": _b64(_id(self.log))},
            "kindVersion": {"kind": "dsse", "version": "0.0.1"},
            "integratedTime": str(moment),
            "inclusionPromise": {"signedEntryTimestamp": _b64(_sign(self.log, rfc8785.dumps(promise)))},
            "inclusionProof": {
                "logIndex": "0", "rootHash": _b64(root), "treeSize": "1", "hashes": [],
                "checkpoint": {"envelope": signed_note},
            },
            "canonicalizedBody": _b64(raw),
        }  # fmt: skip


def _log(key: Key, url: str) -> dict[str, Any]:
    return {
        "baseUrl": url,
        "hashAlgorithm": "SHA2_256",
        "publicKey": {"rawBytes": _b64(_der(key)), "keyDetails": "PKIX_ECDSA_P256_SHA_256", "validFor": _VALID},
        "logId": {"keyId": _b64(_id(key))},
    }
