"""What the portal wrote into a directory, in a file that nobody else can make: by it an edit is told from a commit of
the portal, on any machine and without a memory.
"""

import hmac
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

from endpoints.clusters.gitops.layout import SEAL
from endpoints.clusters.gitops.snapshot import Entry

MOST = 65_536  # bytes


@dataclass(frozen=True)
class Sealed:
    """The content of a directory as the portal left it. `files`: git's ids by name; `wants`: replicas by revision."""

    path: str
    installation: str
    files: Mapping[str, str]
    endpoint: str = ""  # of a directory that endpoints share: none
    project: str = ""
    environment: str = ""
    wants: Mapping[int, int] = field(default_factory=dict)
    approvals: Mapping[int, tuple[str, str]] = field(default_factory=dict)  # reference and digest by revision


def written(sealed: Sealed, key: str) -> bytes:
    """Return `sealed` as its file."""
    body: dict[str, Any] = {
        "path": sealed.path, "installation": sealed.installation, "files": dict(sorted(sealed.files.items())),
    }  # fmt: skip
    if sealed.endpoint:
        body |= {
            "endpoint": sealed.endpoint, "project": sealed.project, "environment": sealed.environment,
            "revisions": {
                str(number): {
                    "replicas": count,
                    "request": sealed.approvals.get(number, ("", ""))[0],
                    "decision": sealed.approvals.get(number, ("", ""))[1],
                }
                for number, count in sorted(sealed.wants.items())
            },
        }  # fmt: skip
    body["seal"] = _mark(body, key)
    return (json.dumps(body, indent=2, sort_keys=True) + "\n").encode()


def opened(content: bytes | None, path: str, keys: Sequence[str]) -> Sealed | None:
    """Return what the portal wrote into the directory `path`; None when this is not from it, or of another place."""
    if not content or len(content) > MOST:
        return None
    try:
        body = json.loads(content)
        seal = str(body.pop("seal"))
        if body["path"] != path or not any(hmac.compare_digest(seal, _mark(body, key)) for key in keys):
            return None
        revisions = {int(number): one for number, one in body.get("revisions", {}).items()}
        return Sealed(
            path, str(body["installation"]), dict(body["files"]), str(body.get("endpoint", "")),
            str(body.get("project", "")), str(body.get("environment", "")),
            {number: int(one["replicas"]) for number, one in revisions.items()},
            {number: (str(one["request"]), str(one["decision"])) for number, one in revisions.items()},
        )  # fmt: skip
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None


def edited(entries: Mapping[str, Entry], sealed: Sealed | None) -> list[str]:
    """Return the files of a directory, by name, that are not as the portal left them."""
    if sealed is None:
        return [SEAL]
    there = {name: one.blob for name, one in entries.items() if name != SEAL}
    odd = {name for name, one in entries.items() if not one.plain}
    return sorted(
        odd | {name for name in there.keys() | sealed.files.keys() if there.get(name) != sealed.files.get(name)}
    )


def _mark(body: Mapping[str, Any], key: str) -> str:
    return hmac.new(key.encode(), json.dumps(body, sort_keys=True).encode(), sha256).hexdigest()
