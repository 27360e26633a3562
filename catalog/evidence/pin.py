"""Pin check: does the source name one immutable content, or something that its publisher can still change?"""

import re

from catalog.evidence.finding import Finding
from catalog.models import Verdict, Version

TOOL = "gatehouse pin check 1"
_COMMIT = re.compile(r"[0-9a-f]{40}")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


def check(version: Version) -> Finding:
    """Judge `source`: a 40-hex commit, a sha256 digest, or code that ships with the portal is pinned; anything else
    can change.
    """
    scheme, _, rest = version.source.partition("://")
    revision = rest.rpartition("@")[2] if "@" in rest.lstrip("@") else ""
    report = {"source": version.source, "revision": revision, "specification": version.digest}
    if scheme == "builtin":
        return Finding("pin", Verdict.PASS, "Ships with this installation; nothing is downloaded.", TOOL, report)
    if _COMMIT.fullmatch(revision) or _DIGEST.fullmatch(revision):
        return Finding("pin", Verdict.PASS, f"Pinned to {revision[:19]}….", TOOL, report)
    what = f"The revision “{revision[:60]}” is a name" if revision else "The source names no revision"
    text = f"{what}: its publisher can change what it stands for. Load a version with a commit or digest."
    return Finding("pin", Verdict.WARN, text, TOOL, report)
