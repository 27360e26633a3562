"""Pin check: does the source name one immutable content, and was that content read?"""

import re
from typing import Any

from catalog.evidence.case import Case
from catalog.evidence.content import has_content
from catalog.evidence.finding import Finding
from catalog.models import PinState, Verdict, Version

KIND, TITLE, CONTENT, DAYS = "pin", "Pin", False, None
TOOL = "gatehouse pin check 2"
_COMMIT = re.compile(r"[0-9a-f]{40}")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


def applies(version: Version) -> bool:
    """Every version has a source."""
    return True


def check(case: Case) -> Finding:
    """Judge the pin: content that was read and is still there passes; without content the name of the source counts,
    a 40-hex commit, a sha256 digest, or code that ships with the portal.
    """
    version, pin = case.version, case.pin
    scheme, _, rest = version.source.partition("://")
    revision = rest.rpartition("@")[2] if "@" in rest.lstrip("@") else ""
    report: dict[str, Any] = {"source": version.source, "revision": revision, "specification": version.digest}
    if scheme == "builtin":
        return _finding(Verdict.PASS, "Ships with this installation; nothing is downloaded.", report)
    if pin is not None and pin.digest:
        report |= {"pinned": pin.revision, "content": pin.digest, "files": len(pin.files), "bytes": pin.total_bytes}
        if pin.state == PinState.DRIFTED:
            return _finding(Verdict.FAIL, pin.sentence, report | {"drift": pin.drift})
        count, name = len(pin.files), pin.revision[:19] or pin.digest[:19]
        return _finding(Verdict.PASS, f"Pinned to {name}…: {count:,} files, every one hashed.", report)
    if pin is not None and pin.state == PinState.FAILED:
        return _finding(Verdict.FAIL, pin.sentence, report)
    if has_content(version):
        waits = f" {pin.sentence}" if pin is not None and pin.sentence else ""
        return _finding(Verdict.FAIL, f"The content of the source was not read yet.{waits}", report)
    if _COMMIT.fullmatch(revision) or _DIGEST.fullmatch(revision):
        return _finding(Verdict.PASS, f"Pinned to {revision[:19]}….", report)
    what = f"The revision “{revision[:60]}” is a name" if revision else "The source names no revision"
    text = f"{what}: its publisher can change what it stands for. Load a version with a commit or digest."
    return _finding(Verdict.WARN, text, report)


def _finding(verdict: Verdict, summary: str, report: dict[str, Any]) -> Finding:
    return Finding(KIND, verdict, summary[:300], TOOL, report)
