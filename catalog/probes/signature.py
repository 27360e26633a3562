"""OpenSSF model signing: who signed, judged by the verifiers of model_signing, and what the signature says it covers.

The model itself is not read here: the statement is held against the pinned manifest by catalog/evidence/signature.py.
"""

import base64
import hashlib
import json
from pathlib import Path
from typing import IO, Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from model_signing._signing import sign_certificate, sign_ec_key, sign_sigstore, sign_sigstore_pb, signing

_HERE = Path("/proc/self/fd/0")  # the signature, under a name that the library can open


def answer(content: IO[bytes], question: dict[str, Any]) -> dict[str, Any]:
    """Return {"signer", "statement"} when one of question["signers"] made the signature, else {"problems"}."""
    try:
        bundle = json.loads(content.read())
        envelope = bundle["dsseEnvelope"]
        statement = json.loads(base64.b64decode(envelope["payload"]))
        predicate = statement["predicate"]
        if len(envelope["signatures"]) != 1:
            return {"problems": ["it holds not exactly one signature"]}
    except (ValueError, KeyError, TypeError) as error:
        return {"problems": [f"it is no bundle of a model signature ({type(error).__name__})"]}
    problems = []
    for signer in question["signers"]:
        try:
            manifest = _verifier(signer).verify(_signature(signer))
        except Exception as error:  # the libraries raise whatever they stumble over; none of it is a valid signature
            problems.append(f"{signer['name']}: {type(error).__name__}: {str(error)[:150]}")
            continue
        signed = {(item.identifier, item.digest.digest_hex) for item in manifest.resource_descriptors()}
        resources = [[item["name"], item["algorithm"], item["digest"]] for item in predicate["resources"]]
        if signed != {(name, digest) for name, _, digest in resources} or len(signed) != len(resources):
            return {"problems": ["it names a file twice"]}
        return {
            "signer": _told(signer, bundle),
            "statement": {
                "root": statement["subject"][0]["digest"]["sha256"],
                "method": manifest.serialization_type["method"],
                "hash_type": manifest.serialization_type["hash_type"],
                "ignore_paths": list(manifest.serialization_type.get("ignore_paths", [])),
                "resources": resources,
            },
        }
    return {"problems": problems}


def _verifier(signer: dict[str, Any]) -> signing.Verifier:
    path = Path(signer["path"])
    if signer["method"] == "key":
        return sign_ec_key.Verifier(path)
    if signer["method"] == "certificate":
        return sign_certificate.Verifier([path])
    # Without a trust configuration the library would ask the internet for one.
    return sign_sigstore.Verifier(
        identity=signer["identity"], oidc_issuer=signer["issuer"], trust_config=Path(signer["trust_config"])
    )


def _signature(signer: dict[str, Any]) -> signing.Signature:
    if signer["method"] == "sigstore":
        return sign_sigstore.Signature.read(_HERE)
    return sign_sigstore_pb.Signature.read(_HERE)


def _told(signer: dict[str, Any], bundle: dict[str, Any]) -> dict[str, str]:
    """Return who signed, so that a person can compare it."""
    said = {"name": signer["name"], "method": signer["method"]}
    if signer["method"] == "sigstore":
        return said | {"identity": signer["identity"], "issuer": signer["issuer"]}
    if signer["method"] == "key":
        key = serialization.load_pem_public_key(Path(signer["path"]).read_bytes())
        raw = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
        return said | {"fingerprint": "sha256:" + hashlib.sha256(raw).hexdigest()}
    chain = bundle["verificationMaterial"]["x509CertificateChain"]["certificates"]
    certificate = x509.load_der_x509_certificate(base64.b64decode(chain[0]["rawBytes"]))
    return said | {
        "subject": certificate.subject.rfc4514_string(),
        "issuer": certificate.issuer.rfc4514_string(),
        "fingerprint": "sha256:" + certificate.fingerprint(hashes.SHA256()).hex(),
    }
