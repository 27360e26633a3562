"""Whom this installation trusts to sign: the files of one directory, which an operator fills.

name.pub, name.pem     a public key (elliptic curve)
name.crt, name.ca      certificates: who is certified by one of them
name.json              {"identity", "issuer", "trust_config"}: a Sigstore identity; trust_config is a file beside it
"""

import json
from pathlib import Path
from typing import Any

from django.conf import settings

MOST_SIGNERS = 100
_METHODS = {".pub": "key", ".pem": "key", ".crt": "certificate", ".ca": "certificate", ".json": "sigstore"}


def directory() -> Path | None:
    """Return the directory of signers, None where there is none."""
    place: Path = settings.SIGNERS_DIR
    return place if place.is_dir() else None


def signers() -> tuple[list[dict[str, Any]], list[str]]:
    """Return whom the installation trusts, by name, and what in the directory cannot be used, one sentence each."""
    place = directory()
    if place is None:
        return [], []
    found, problems = [], []
    for path in sorted(place.iterdir())[:MOST_SIGNERS]:
        method = _METHODS.get(path.suffix.lower())
        if method is None or not path.is_file():
            continue
        signer: dict[str, Any] = {"name": path.stem, "method": method, "path": str(path)}
        if method == "sigstore":
            identity = _identity(path)
            if identity is None:
                continue  # the trust configuration of another one
            if identity.pop("problem", ""):
                problems.append(f"{path.name} needs identity, issuer and trust_config, the name of a file beside it.")
                continue
            signer |= identity
        elif path.suffix.lower() == ".pem" and b"BEGIN CERTIFICATE" in path.read_bytes():
            signer["method"] = "certificate"
        found.append(signer)
    return found, problems


def keys() -> list[tuple[str, bytes]]:
    """Return name and PEM of each trusted public key."""
    return [(item["name"], Path(item["path"]).read_bytes()) for item in signers()[0] if item["method"] == "key"]


def _identity(path: Path) -> dict[str, str] | None:
    try:
        said = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {"problem": "unreadable"}
    if not isinstance(said, dict) or not said.keys() & {"identity", "issuer"}:
        return None
    names = ("identity", "issuer", "trust_config")
    if not all(isinstance(said.get(name), str) and said[name] for name in names):
        return {"problem": "incomplete"}
    beside = path.parent / Path(said["trust_config"]).name
    if not beside.is_file():
        return {"problem": "no trust configuration"}
    return {"identity": said["identity"], "issuer": said["issuer"], "trust_config": str(beside)}
